# The same on plain rles, without objects.

def decode(rle, *, order="C", dtype="uint8", value=1, out=None, threads=1, strict=True):
    """Decode one rle, or a list of one size, into pixels.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray
        As `Mask.from_rle` takes it.
    order, dtype, value, out
        As for `Mask.to_numpy`. For a list, `order` is that of each mask and `out` has the shape
        (n, h, w). If one of the rles cannot be read, some of the others may be in `out`.
    threads : int
        How many threads share the masks of a list; worth it for large batches only.
    strict : bool
        As for `Mask.from_rle`.

    Returns
    -------
    ndarray, shape (h, w), or (n, h, w) for a list

    Raises
    ------
    RLEError, TypeError
        As `Mask.from_rle` and `Mask.to_numpy` do; for a list, the message says which of the rles it
        is.

    Examples
    --------
    >>> klingmask.decode({"size": [2, 3], "counts": "222"})
    array([[0, 1, 0],
           [0, 1, 0]], dtype=uint8)
    """
    cdef km_mask mask
    cdef _Memory memory
    if _is_single(rle):
        memory = _read_one(rle, strict, &mask)
        return _decode(&mask, 1, None, None, order, dtype, value, out, threads, strict)
    if isinstance(rle, MaskArray):
        return rle.to_numpy(order=order, dtype=dtype, value=value, out=out, threads=threads)
    return _decode_list(rle, order, dtype, value, out, threads, strict)


def encode(array, threshold=None, *, threads=1):
    """Encode an image, or a stack of them; non-zero pixels, or high scores, are foreground.

    Parameters
    ----------
    array : array_like, shape (h, w) or (n, h, w)
        Of any bool, integer or float dtype, memory order and strides.
    threshold : float, optional
        Foreground is where ``array > threshold``: for scores.
    threads : int
        How many threads share the images of a stack; worth it for large batches only.

    Returns
    -------
    dict, or list of n dicts
        ``{"size": [h, w], "counts": str}``, the counts that pycocotools would write.

    Raises
    ------
    RLEError, TypeError
        As `Mask.from_numpy` and `MaskArray.from_numpy` do.

    Examples
    --------
    >>> klingmask.encode([[0, 1, 0], [0, 1, 0]])
    {'size': [2, 3], 'counts': '222'}
    """
    cdef cnp.ndarray pixels = _plain(array)
    cdef km_mask mask
    cdef _Memory memory
    if cnp.PyArray_NDIM(pixels) == 3:
        return MaskArray.from_numpy(pixels, threshold, threads=threads).to_rles()
    if cnp.PyArray_NDIM(pixels) != 2:
        raise RLEError(
            "the array must have the shape (height, width) or (n, height, width), got "
            f"{(<object>pixels).shape}"
        )
    _check_threads(threads)
    memory = _encode(_foreground(pixels, 2, threshold), &mask, _Interrupt())
    return _to_rle(&mask)


def area(rle):
    """Count the foreground pixels of one rle, or of each rle of a list.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray

    Returns
    -------
    int, or ndarray of shape (n,), int64

    Examples
    --------
    >>> klingmask.area({"size": [2, 3], "counts": "222"})
    2
    """
    cdef km_mask mask
    cdef _Memory memory
    if isinstance(rle, MaskArray):
        return rle.area
    if not _is_single(rle):
        return _measure(rle, True)
    memory = _read_one(rle, True, &mask)
    return _area(&mask)


def bbox(rle):
    """Return the bounding box of one rle, or of each rle of a list.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray

    Returns
    -------
    (int, int, int, int), or ndarray of shape (n, 4), int64
        ``(x, y, w, h)``, all 0 for an empty mask.

    Examples
    --------
    >>> klingmask.bbox({"size": [2, 3], "counts": "222"})
    (1, 0, 1, 2)
    """
    cdef km_mask mask
    cdef _Memory memory
    if isinstance(rle, MaskArray):
        return rle.bbox
    if not _is_single(rle):
        return _measure(rle, False)
    memory = _read_one(rle, True, &mask)
    return _bbox(&mask)


def union(rles):
    """Return the pixels in any of the rles, as an rle; see `MaskArray.union`.

    Examples
    --------
    >>> klingmask.union([{"size": [1, 3], "counts": "12"}, {"size": [1, 3], "counts": "012"}])
    {'size': [1, 3], 'counts': '03'}
    """
    return _as_array(rles).union().to_rle()


def intersection(rles):
    """Return the pixels in all of the rles, as an rle; see `MaskArray.intersection`.

    Examples
    --------
    >>> klingmask.intersection(
    ...     [{"size": [1, 3], "counts": "12"}, {"size": [1, 3], "counts": "021"}]
    ... )
    {'size': [1, 3], 'counts': '111'}
    """
    return _as_array(rles).intersection().to_rle()


def difference(a, b):
    """Return the pixels in rle `a` but not in rle `b`, as an rle.

    Examples
    --------
    >>> klingmask.difference({"size": [1, 3], "counts": "03"}, {"size": [1, 3], "counts": "12"})
    {'size': [1, 3], 'counts': '012'}
    """
    return (Mask.from_rle(a) - Mask.from_rle(b)).to_rle()


def symmetric_difference(a, b):
    """Return the pixels in exactly one of two rles, as an rle.

    Examples
    --------
    >>> klingmask.symmetric_difference(
    ...     {"size": [1, 3], "counts": "021"}, {"size": [1, 3], "counts": "12"}
    ... )
    {'size': [1, 3], 'counts': '0110'}
    """
    return (Mask.from_rle(a) ^ Mask.from_rle(b)).to_rle()


def complement(rle):
    """Return the pixels not in the rle, as an rle; a list gives a list.

    Examples
    --------
    >>> klingmask.complement({"size": [1, 3], "counts": "12"})
    {'size': [1, 3], 'counts': '012'}
    """
    if _is_single(rle):
        return (~Mask.from_rle(rle)).to_rle()
    return (~_as_array(rle)).to_rles()


def iou(rles_a, rles_b, *, threads=1):
    """Return the intersection over union; 0 where both masks are empty.

    Parameters
    ----------
    rles_a, rles_b : rle or list of rles
        n and m masks of one size.
    threads : int
        How many threads share the n masks; worth it for large batches only.

    Returns
    -------
    float or ndarray of float64
        Shape (n, m); a single rle leaves its axis out.

    Raises
    ------
    RLEError
        If the sizes differ.

    Examples
    --------
    >>> klingmask.iou({"size": [1, 3], "counts": "12"}, [{"size": [1, 3], "counts": "03"}])
    array([0.66666667])
    """
    table = _as_array(rles_a).iou(_as_array(rles_b), threads=threads)
    if _is_single(rles_a):
        table = table[0]
        return float(table[0]) if _is_single(rles_b) else table
    return table[:, 0] if _is_single(rles_b) else table
