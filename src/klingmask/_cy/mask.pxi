# Mask: one mask, a value.

cdef Mask _new_mask(const km_mask *c, _Memory memory):
    """A mask whose runs live in `memory`."""
    cdef Mask mask = Mask.__new__(Mask)
    mask.c = c[0]
    mask.memory = memory
    return mask


cdef Mask _own(_Memory memory, size_t n_runs, uint32_t height, uint32_t width):
    """A mask of the first runs in `memory`, which is cut to them."""
    cdef km_mask c
    memory.cut(n_runs, sizeof(uint32_t))
    c.runs = memory.runs()
    c.n_runs = n_runs
    c.height = height
    c.width = width
    return _new_mask(&c, memory)


# ---- functions of one mask ----

cdef object _area(const km_mask *mask):
    cdef void *released = _release_gil(mask.n_runs)
    cdef uint64_t area = km_area(mask)
    _take_gil(released)
    return area


cdef tuple _bbox(const km_mask *mask):
    cdef void *released = _release_gil(mask.n_runs)
    cdef km_box box = km_bounds(mask)
    _take_gil(released)
    return box.x, box.y, box.width, box.height


cdef unicode _format(const km_mask *mask):
    """The counts text."""
    cdef size_t length
    cdef _Scratch scratch
    _reserve(&scratch, km_format_capacity(mask.n_runs), 1)
    cdef char *chars = <char *>scratch.data
    cdef void *released = _release_gil(mask.n_runs)
    length = km_format(mask.runs, mask.n_runs, chars)
    _take_gil(released)
    try:
        text = PyUnicode_New(length, 127)
        memcpy(PyUnicode_DATA(text), chars, length)
        return text
    finally:
        _release(&scratch)


cdef dict _to_rle(const km_mask *mask):
    return {"size": [mask.height, mask.width], "counts": _format(mask)}


cdef Mask _combine(km_operation operation, Mask a, Mask b):
    cdef km_mask[2] masks = [a.c, b.c]
    _require_same_size(masks)
    cdef _Memory memory = _new_memory(a.c.n_runs + b.c.n_runs, sizeof(uint32_t))
    cdef uint32_t *runs = memory.runs()
    cdef void *released = _release_gil(a.c.n_runs + b.c.n_runs)
    cdef size_t n = km_combine(operation, &masks[0], &masks[1], runs)
    _take_gil(released)
    return _own(memory, n, a.c.height, a.c.width)


cdef object _operate(km_operation operation, Mask mask, object other):
    """`mask <operator> other`."""
    if isinstance(other, Mask):
        return _combine(operation, mask, other)
    if isinstance(other, MaskArray):
        return _combine_pairs(operation, &mask.c, 1, (<MaskArray>other).items(), len(other))
    if isinstance(other, np.ndarray):
        raise TypeError(f"a mask and an array do not go together{_FOR_PIXELS}")
    return NotImplemented


# ---- transforms, of one mask or of many ----

cdef _Memory _transform(const km_transform *transform, tuple added, const km_mask *masks, size_t n,
                        km_mask *results, _Interrupt interrupt):
    """Fill `results`; the runs live in the memory that is returned.

    `added` is the growth in height and width as Python integers: an error message needs exact
    numbers.
    """
    cdef _Memory memory = _Memory.__new__(_Memory)
    cdef _Memory scratch_memory = _new_memory(km_most_runs(masks, n), sizeof(uint32_t))
    cdef uint32_t *scratch = scratch_memory.runs()
    cdef uint32_t *runs = NULL
    cdef size_t capacity = 0
    cdef km_position position = km_position(0, 0, 0)
    cdef km_progress progress = KM_NEEDS_ROOM
    cdef km_watch watch = _watch(interrupt)
    # Counting the runs that are needed takes a step for each run, or for each column.
    cdef uint64_t work = km_total_runs(masks, n) + (n * <uint64_t>masks.width if n else 0)
    cdef void *released
    while progress == KM_NEEDS_ROOM:
        released = _release_gil(work)
        progress = km_transform_all(
            transform, masks, n, scratch, &position, runs, capacity, results, &watch
        )
        _take_gil(released)
        if progress == KM_NEEDS_ROOM:
            _check_run_limit(position.room, masks[position.next].n_runs)
            capacity = max(position.used + position.room, 2 * capacity)
            if not memory.try_resize(capacity, sizeof(uint32_t)):
                raise MemoryError(f"no memory for {capacity} runs")
            runs = memory.runs()
            work = max(work, position.room)
    if progress == KM_WAS_STOPPED:
        _raise_stopped()
    if progress == KM_TOO_LARGE:
        raise _too_large(
            masks[position.next].height + added[0], masks[position.next].width + added[1]
        )
    if memory.data is NULL:  # no masks
        return _NOTHING
    memory.cut(position.used, sizeof(uint32_t))
    km_lay_out(results, n, memory.runs())
    return memory


@cython.final
cdef class _Transform:
    """The parameters of a transform."""

    cdef km_transform c
    cdef tuple added

    cdef Mask of_mask(self, const km_mask *mask):
        cdef km_mask result
        cdef _Memory memory = _transform(&self.c, self.added, mask, 1, &result, _Interrupt())
        return _new_mask(&result, memory)


cdef _Transform _new_transform(int kind):
    cdef _Transform transform = _Transform.__new__(_Transform)
    transform.c = km_transform(kind, 0, 0, 0, 0, False, False)
    transform.added = (0, 0)
    return transform


cdef _Transform _resize_to(object height, object width, object align):
    cdef _Transform transform = _new_transform(KM_RESIZE)
    cdef uint32_t high, wide
    if width is None:
        _read_size(height, &high, &wide)
    else:
        _read_size((height, width), &high, &wide)
    if align not in ("center", "corner"):
        raise ValueError(f"align must be 'center' or 'corner', got {_shown(align)}")
    transform.c.height, transform.c.width = high, wide
    transform.c.centers = align == "center"
    return transform


cdef _Transform _crop_to(object bbox):
    cdef _Transform transform = _new_transform(KM_FRAME)
    cdef uint32_t high, wide
    x, y, w, h = _read_box(bbox)
    _read_size((h, w), &high, &wide)
    transform.c.x, transform.c.y = _clamped(x, "x"), _clamped(y, "y")
    transform.c.height, transform.c.width = high, wide
    return transform


cdef _Transform _pad_by(object top, object bottom, object left, object right):
    cdef _Transform transform = _new_transform(KM_FRAME)
    sides = [_integer(side, "each side") for side in (top, bottom, left, right)]
    if min(sides) < 0:
        raise RLEError(
            f"pad must not be negative, got ({', '.join(map(_shown, sides))}); crop() takes away"
        )
    top, bottom, left, right = sides
    transform.added = (top + bottom, left + right)
    transform.c.added = True
    transform.c.x, transform.c.y = -_clamped(left, "left"), -_clamped(top, "top")
    transform.c.height = _clamped(top + bottom, "top + bottom")
    transform.c.width = _clamped(left + right, "left + right")
    return transform


cdef _Transform _shift_by(object dx, object dy):
    cdef _Transform transform = _new_transform(KM_FRAME)
    transform.c.x, transform.c.y = -_clamped(dx, "dx"), -_clamped(dy, "dy")
    transform.c.added = True
    return transform


cdef _Transform _flip_along(object axis):
    if _integer(axis, "axis") not in (0, 1):
        raise ValueError(f"axis must be 0 (upside down) or 1 (left to right), got {_shown(axis)}")
    return _new_transform(KM_FLIP_ROWS if axis == 0 else KM_FLIP_COLUMNS)


# ---- PNG ----

cdef object _read_png = None
cdef object _write_png = None


def _use_png(read, write):
    """Register the functions that read and write PNG files for `from_png` and `to_png`."""
    global _read_png, _write_png
    _read_png, _write_png = read, write


# ---- the type ----

cdef uint32_t _NO_RUN = 0


@cython.final
cdef class Mask:
    """One binary mask, kept as run lengths: an immutable value.

    A mask is made by `from_rle`, `from_numpy`, `from_bbox`, `from_png` or `zeros`. Masks of one
    size combine with ``| & - ^ ~``. ``==``, ``hash``, pickle and copy work as on any value;
    ``(x, y) in mask`` is whether a pixel is foreground, and ``bool(mask)`` whether any is.
    ``np.asarray(mask)`` is bool, so ``frame[mask] = 0`` blackens the foreground.

    Examples
    --------
    >>> mask = klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2))
    >>> mask
    Mask(size=(4, 6), area=6, bbox=(1, 1, 3, 2))
    >>> (2, 1) in mask
    True
    >>> (~mask).area
    18
    """

    # Operators between a mask and an array are an error: numpy would compute with pixels.
    __array_ufunc__ = None

    cdef km_mask c
    cdef _Memory memory

    def __cinit__(self):
        self.c.runs = &_NO_RUN  # safe even if Mask.__new__ is called alone
        self.c.n_runs = 1

    def __init__(self, *args, **kwargs):
        raise TypeError("a Mask is made by Mask.from_rle, from_numpy, from_bbox, from_png or zeros")

    @staticmethod
    @cython.binding(True)
    def from_rle(rle, *, strict=True):
        """Read a compressed or plain run-length mask.

        Parameters
        ----------
        rle : mapping or Mask
            ``{"size": [h, w], "counts": ...}``. The counts are the text of the COCO data set (str
            or bytes) or a list of run lengths, down the columns, background first.
        strict : bool
            False takes a missing tail as background and accepts codes that are longer than they
            need to be, as the sample code of Kling's API reference does.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the counts are not well-formed or do not fill the size; the message names the byte.
        TypeError
            If something is of the wrong type.

        Examples
        --------
        >>> klingmask.Mask.from_rle({"size": [2, 2], "counts": "112"}).runs.tolist()
        [1, 1, 2]
        """
        if isinstance(rle, Mask):
            return rle
        cdef km_mask c
        cdef _Memory memory = _read_one(rle, strict, &c)
        return _own(memory, c.n_runs, c.height, c.width)

    @staticmethod
    @cython.binding(True)
    def from_numpy(array, threshold=None):
        """Take the non-zero pixels of an image, or the high scores, as foreground.

        Parameters
        ----------
        array : array_like, shape (h, w)
            Of any bool, integer or float dtype, memory order and strides. Without a threshold, NaN
            is foreground.
        threshold : float, optional
            Foreground is where ``array > threshold``: for scores.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the array is not two-dimensional or has 2**32 pixels or more.
        TypeError
            If the array is of another dtype, or `threshold` is not a number.

        Examples
        --------
        >>> klingmask.Mask.from_numpy([[0.2, 0.7], [0.9, 0.4]], threshold=0.5).area
        2
        """
        cdef km_mask c
        cdef _Memory memory = _encode(_foreground(array, 2, threshold), &c, _Interrupt())
        return _new_mask(&c, memory)

    @staticmethod
    @cython.binding(True)
    def from_bbox(size, bbox):
        """Fill a box.

        Parameters
        ----------
        size : (int, int)
            Height and width of the image.
        bbox : (int, int, int, int)
            ``(x, y, w, h)`` in pixels. The part outside the image is cut off.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the size, or the width or height of the box, is negative, or the mask would have more
            runs than `set_max_pixels` allows.
        TypeError
            If anything is not an integer.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (4, 1, 9, 2)).bbox
        (4, 1, 2, 2)
        """
        cdef uint32_t height, width
        cdef km_box box
        _read_size(size, &height, &width)
        x, y, w, h = (_integer(value, "each of bbox (x, y, w, h)") for value in _read_box(bbox))
        if w < 0 or h < 0:
            raise RLEError(
                "bbox must not have a negative width or height, got "
                f"({', '.join(map(_shown, (x, y, w, h)))})"
            )
        left, right = min(max(x, 0), width), min(max(x + w, 0), width)
        top, bottom = min(max(y, 0), height), min(max(y + h, 0), height)
        box.x, box.y, box.width, box.height = left, top, right - left, bottom - top
        cdef uint64_t capacity = km_box_capacity(box, height)
        _check_run_limit(capacity, 0)
        cdef _Memory memory = _new_memory(<size_t>capacity, sizeof(uint32_t))
        cdef uint32_t *runs = memory.runs()
        cdef void *released = _release_gil(capacity)
        cdef size_t n = km_box_runs(box, height, width, runs)
        _take_gil(released)
        return _own(memory, n, height, width)

    @staticmethod
    @cython.binding(True)
    def zeros(size):
        """Make a mask without foreground.

        Parameters
        ----------
        size : (int, int)
            Height and width of the image.

        Returns
        -------
        Mask

        Examples
        --------
        >>> klingmask.Mask.zeros((4, 6)).area
        0
        """
        return Mask.from_bbox(size, (0, 0, 0, 0))

    @staticmethod
    @cython.binding(True)
    def from_png(source):
        """Read a PNG: pixels are foreground unless they are black or fully transparent.

        Needs the extra ``image``.

        Parameters
        ----------
        source : bytes or path
            The content of the PNG, or its path. Greyscale of any depth, palette (index 0 is
            background), RGB, and greyscale or RGB with an alpha channel.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If it is not a PNG, is damaged, or has more pixels than `set_max_pixels` allows.

        Examples
        --------
        >>> mask = klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2))
        >>> klingmask.Mask.from_png(mask.to_png()) == mask
        True
        """
        return Mask.from_numpy(_read_png(source))

    @property
    def size(self):
        """(int, int): height and width of the image."""
        return self.c.height, self.c.width

    @property
    def area(self):
        """int: the number of foreground pixels."""
        return _area(&self.c)

    @property
    def bbox(self):
        """(int, int, int, int): the bounding box (x, y, w, h), all 0 for an empty mask."""
        return _bbox(&self.c)

    @property
    def centroid(self):
        """(float, float): the mean x and y of the foreground; the first pixel's centre is at 0.5.

        (0.0, 0.0) for an empty mask.
        """
        cdef double[2] center
        cdef void *released = _release_gil(self.c.n_runs)
        km_centroids(&self.c, 1, center, NULL)
        _take_gil(released)
        return center[0], center[1]

    @property
    def runs(self):
        """Run lengths down the columns, background first: (n,) uint32, read-only."""
        cdef cnp.npy_intp length = self.c.n_runs
        cdef cnp.ndarray runs = cnp.PyArray_SimpleNewFromData(
            1, &length, cnp.NPY_UINT32, <void *>self.c.runs
        )
        cnp.set_array_base(runs, self.memory)
        cnp.PyArray_CLEARFLAGS(runs, cnp.NPY_ARRAY_WRITEABLE)
        return runs

    @property
    def counts(self):
        """str: the runs as compressed text, the same that pycocotools would write."""
        return _format(&self.c)

    def to_rle(self):
        """Return the mask as ``{"size": [h, w], "counts": str}``, ready for JSON.

        Returns
        -------
        dict

        Examples
        --------
        >>> klingmask.Mask.from_bbox((2, 2), (1, 0, 1, 1)).to_rle()
        {'size': [2, 2], 'counts': '211'}
        """
        return _to_rle(&self.c)

    def to_numpy(self, *, order="C", dtype="uint8", value=1, out=None):
        """Decode into pixels.

        Parameters
        ----------
        order : {"C", "F"}
            Memory order of the new array. "C": rows are contiguous; "F": columns are.
        dtype : dtype
            Of the new array: bool, an integer or a float type.
        value : int
            The value of foreground, which has to fit the dtype; background is 0.
        out : ndarray, shape (h, w), optional
            Decode into this uint8 or bool array, whatever its order and strides. `order` and
            `dtype` are ignored then.

        Returns
        -------
        ndarray, shape (h, w)
            `out` if it was given.

        Raises
        ------
        RLEError
            If the mask has more pixels than `set_max_pixels` allows (and `out` is not given), or
            `out` has the wrong shape or is read-only.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((2, 3), (1, 0, 1, 2)).to_numpy(value=255)
        array([[  0, 255,   0],
               [  0, 255,   0]], dtype=uint8)
        """
        return _decode(&self.c, 1, None, None, order, dtype, value, out, 1, True)

    def __array__(self, dtype=None, copy=None):
        kind = np.dtype(bool if dtype is None else dtype)
        if kind == object:  # np.array([mask, mask], dtype=object) keeps masks
            held = np.empty((), object)
            held[()] = self
            return held
        if copy is False:
            raise ValueError("a Mask holds runs; its pixels are always a new array")
        return self.to_numpy(dtype=kind)  # bool unless asked: frame[mask] picks the foreground

    def to_png(self):
        """Return the mask as a greyscale PNG, foreground 255.

        Needs the extra ``image``.

        Returns
        -------
        bytes

        Examples
        --------
        >>> klingmask.Mask.zeros((4, 6)).to_png()[1:4]
        b'PNG'
        """
        return _write_png(self.to_numpy(value=255))

    def _repr_png_(self):
        """What a notebook shows, or None (then it shows the repr)."""
        try:
            return self.to_png()
        except (ImportError, RLEError):
            return None

    def copy(self):
        """Return the same mask with runs of its own.

        A mask that was taken from a MaskArray keeps the runs of the whole array in memory; its copy
        keeps only its own. ``copy.copy`` and ``copy.deepcopy`` do the same.

        Returns
        -------
        Mask

        Examples
        --------
        >>> masks = klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]])
        >>> masks[1].copy() == masks[1]
        True
        """
        if self.memory is not None and self.memory.size == self.c.n_runs * sizeof(uint32_t):
            return self
        cdef _Memory memory = _new_memory(self.c.n_runs, sizeof(uint32_t))
        cdef km_mask c
        km_copy(&self.c, 1, &c, memory.runs())
        return _new_mask(&c, memory)

    def iou(self, Mask other not None):
        """Return the intersection over union with another mask; 0.0 if both are empty.

        Parameters
        ----------
        other : Mask
            Of the same size.

        Returns
        -------
        float

        Raises
        ------
        RLEError
            If the sizes differ.

        Examples
        --------
        >>> left = klingmask.Mask.from_bbox((2, 4), (0, 0, 2, 2))
        >>> left.iou(klingmask.Mask.from_bbox((2, 4), (1, 0, 2, 2)))
        0.3333333333333333
        """
        cdef km_mask[2] masks = [self.c, other.c]
        cdef km_iou_mask[2] shapes
        cdef double iou
        _require_same_size(masks)
        cdef void *released = _release_gil(self.c.n_runs + other.c.n_runs)
        km_iou_prepare(&masks[0], 1, &masks[1], 1, shapes)
        km_iou(shapes, 1, 1, NULL, &iou, NULL)
        _take_gil(released)
        return iou

    def resize(self, height, width=None, *, align="center"):
        """Return the mask on a grid of another size, by nearest neighbour.

        Parameters
        ----------
        height, width : int
            Or one pair (height, width).
        align : {"center", "corner"}
            "center": each pixel takes the value at its centre, column
            ``floor((x + 0.5) * w / width)`` of the mask and the row likewise, as Pillow's NEAREST,
            torch's "nearest-exact" and OpenCV's INTER_NEAREST_EXACT do. "corner": the value at its
            top left corner, column ``floor(x * w / width)``, as torch's "nearest" and OpenCV's
            INTER_NEAREST do.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If a size is negative or has 2**32 pixels or more, or the mask would have more runs than
            `set_max_pixels` allows.

        Examples
        --------
        >>> dot = klingmask.Mask.from_bbox((9, 9), (4, 4, 1, 1))
        >>> dot.resize(3, 3).bbox
        (1, 1, 1, 1)
        >>> dot.resize(3, 3, align="corner").area
        0
        """
        return _resize_to(height, width, align).of_mask(&self.c)

    def crop(self, bbox):
        """Return the part of the mask that lies in a box.

        Parameters
        ----------
        bbox : (int, int, int, int)
            ``(x, y, w, h)`` in pixels; outside the image is background.

        Returns
        -------
        Mask
            Of the size (h, w).

        Raises
        ------
        RLEError
            If `bbox` is not such a box, or the mask would have more runs than `set_max_pixels`
            allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2)).crop((0, 0, 2, 4)).area
        2
        """
        return _crop_to(bbox).of_mask(&self.c)

    def pad(self, top, bottom, left, right):
        """Return the mask with more background on each side.

        Parameters
        ----------
        top, bottom, left, right : int
            Pixels to add.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If a number is negative, or the mask would have more runs than `set_max_pixels` allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2)).pad(2, 0, 0, 1)
        Mask(size=(6, 7), area=6, bbox=(1, 3, 3, 2))
        """
        return _pad_by(top, bottom, left, right).of_mask(&self.c)

    def shift(self, dx, dy):
        """Return the mask moved to the right by `dx` and down by `dy` pixels, of the same size.

        Parameters
        ----------
        dx, dy : int
            Negative to the left and up. Foreground that leaves the image is lost.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the mask would have more runs than `set_max_pixels` allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2)).shift(3, -2).bbox
        (4, 0, 2, 1)
        """
        return _shift_by(dx, dy).of_mask(&self.c)

    def flip(self, axis):
        """Return the mask mirrored, as np.flip does it.

        Parameters
        ----------
        axis : {0, 1}
            0 turns it upside down, 1 swaps left and right.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the mask would have more runs than `set_max_pixels` allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (0, 0, 2, 1)).flip(1).bbox
        (4, 0, 2, 1)
        """
        return _flip_along(axis).of_mask(&self.c)

    def __or__(self, other):
        """Return the union: ``a | b``. With a MaskArray, one for each of its masks."""
        return _operate(KM_UNION, self, other)

    def __and__(self, other):
        """Return the intersection: ``a & b``. With a MaskArray, one for each of its masks."""
        return _operate(KM_INTERSECTION, self, other)

    def __sub__(self, other):
        """Return the pixels of this mask that are not in the other: ``a - b``."""
        return _operate(KM_DIFFERENCE, self, other)

    def __xor__(self, other):
        """Return the pixels that are in exactly one of the two: ``a ^ b``."""
        return _operate(KM_SYMMETRIC_DIFFERENCE, self, other)

    def __invert__(self):
        """Return the complement, foreground for background: ``~a``."""
        return _new_transform(KM_COMPLEMENT).of_mask(&self.c)

    def __contains__(self, point):
        """Return whether the pixel (x, y) is foreground; False outside the image."""
        x, y = (_integer(value, "each of a point (x, y)") for value in point)
        if not (0 <= x < self.c.width and 0 <= y < self.c.height):
            return False
        return km_contains(&self.c, x, y)

    def __bool__(self):
        """Return whether any pixel is foreground."""
        return self.c.n_runs > 1

    def __eq__(self, other):
        if not isinstance(other, Mask):
            return NotImplemented
        return km_equal(&self.c, &(<Mask>other).c, 1)

    def __hash__(self):
        runs = (<const char *>self.c.runs)[: self.c.n_runs * sizeof(uint32_t)]
        return hash((self.c.height, self.c.width, runs))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return Mask.from_rle, (self.to_rle(),)

    def __repr__(self):
        return f"Mask(size={self.size}, area={self.area}, bbox={self.bbox})"
