# MaskArray: many masks in one block.

cdef MaskArray _new_mask_array(size_t n):
    """A MaskArray of uninitialised masks; the caller fills them."""
    cdef MaskArray masks = MaskArray.__new__(MaskArray)
    masks.block = _new_memory(n, sizeof(km_mask))
    masks.n = n
    return masks


cdef MaskArray _read_array(object rles, bint strict):
    cdef _Sources sources = _read_sources(rles)
    cdef MaskArray masks = _new_mask_array(sources.n)
    masks.memory = _read_all(sources, strict, masks.items())
    return masks


cdef bint _is_single(object rles):
    if type(rles) is list:  # asking it for Mapping takes as long as reading a mask
        return False
    return isinstance(rles, (dict, Mask, Mapping))


cdef MaskArray _as_array(object rles, bint strict=True):
    """Convert one rle, a list of rles or a MaskArray to a MaskArray."""
    if isinstance(rles, MaskArray):
        return rles
    cdef MaskArray masks
    if not _is_single(rles):
        return _read_array(rles, strict)
    masks = _new_mask_array(1)
    masks.memory = _read_one(rles, strict, masks.items())
    return masks


cdef MaskArray _copied(const km_mask *items, size_t n):
    """The masks with runs of their own."""
    cdef MaskArray masks = _new_mask_array(n)
    masks.memory = _new_memory(km_total_runs(items, n), sizeof(uint32_t))
    cdef km_mask *copies = masks.items()
    cdef uint32_t *runs = masks.memory.runs()
    cdef void *released = _release_gil(masks.memory.size)
    km_copy(items, n, copies, runs)
    _take_gil(released)
    return masks


cdef MaskArray _concatenate(list parts):
    """One MaskArray of the masks of all parts, with runs of its own."""
    cdef MaskArray part, all_ = _new_mask_array(sum(map(len, parts)))
    cdef size_t n = 0
    for part in parts:
        memcpy(all_.items() + n, part.items(), part.n * sizeof(km_mask))
        n += part.n
    return _copied(all_.items(), n)


cdef MaskArray _combine_pairs(km_operation operation, const km_mask *a, size_t n_a,
                              const km_mask *b, size_t n_b):
    """Combine mask i of `a` with mask i of `b`. A side with one mask is used for all."""
    cdef km_pairs pairs = km_pairs(a, b, n_a, n_b)
    cdef size_t n = km_count_pairs(&pairs), i = km_count_same_size_pairs(&pairs), n_runs = 0
    if i < n:
        left, right = a[0 if n_a == 1 else i], b[0 if n_b == 1 else i]
        raise RLEError(
            f"the masks of a pair must have one size: in pair {i} they have "
            f"({left.height}, {left.width}) and ({right.height}, {right.width})",
            index=i,
        )
    cdef size_t total = km_runs_of_pairs(&pairs)
    cdef MaskArray masks = _new_mask_array(n)
    cdef km_mask *items = masks.items()
    masks.memory = _new_memory(total, sizeof(uint32_t))
    cdef uint32_t *runs = masks.memory.runs()
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef void *released = _release_gil(total)
    cdef bint done = km_combine_pairs(operation, &pairs, runs, items, &n_runs, &watch)
    _take_gil(released)
    if not done:
        _raise_stopped()
    masks.memory.cut(n_runs, sizeof(uint32_t))
    km_lay_out(items, n, masks.memory.runs())
    return masks


cdef object _operate_all(km_operation operation, MaskArray masks, object other):
    """`masks <operator> other`."""
    if isinstance(other, Mask):
        return _combine_pairs(operation, masks.items(), masks.n, &(<Mask>other).c, 1)
    if isinstance(other, MaskArray):
        if len(other) != masks.n:
            raise RLEError(
                f"pairs need as many masks on both sides, got {masks.n} and {len(other)}; "
                "one Mask goes with any number"
            )
        return _combine_pairs(
            operation, masks.items(), masks.n, (<MaskArray>other).items(), masks.n
        )
    if isinstance(other, np.ndarray):
        raise TypeError(f"masks and an array do not go together{_FOR_PIXELS}")
    return NotImplemented


# ---- parts of a MaskArray, each in a thread of its own ----

def _transform_part(MaskArray masks not None, _Transform transform not None,
                    _Interrupt interrupt not None, part):
    """Transform the masks of a slice."""
    cdef MaskArray own = masks[part]
    cdef MaskArray results = _new_mask_array(own.n)
    results.memory = _transform(&transform.c, transform.added, own.items(), own.n,
                                results.items(), interrupt)
    return results


cdef MaskArray _transform_masks(MaskArray masks, _Transform transform, object threads):
    parts = _in_threads(partial(_transform_part, masks, transform), masks.n, threads)
    return parts[0] if len(parts) == 1 else _concatenate(parts)


def _encode_part(array, threshold, _Interrupt interrupt not None, part):
    """Encode the images of a slice."""
    cdef cnp.ndarray pixels = _foreground(array[part], 3, threshold)
    cdef MaskArray masks = _new_mask_array(cnp.PyArray_DIM(pixels, 0))
    masks.memory = _encode(pixels, masks.items(), interrupt)
    return masks


def _iou_part(MaskArray masks not None, MaskArray others not None, cnp.ndarray table not None,
              _Interrupt interrupt not None, part):
    """Write the intersection over union of the masks of a slice with the others to the table."""
    cdef MaskArray own = masks[part]
    cdef cnp.ndarray rows = table[part]
    cdef _Memory memory = _new_memory(own.n + others.n, sizeof(km_iou_mask)), scratch
    cdef km_iou_mask *shapes = <km_iou_mask *>memory.data
    cdef km_mask *a = own.items()
    cdef km_mask *b = others.items()
    cdef size_t n_a = own.n, n_b = others.n, words
    cdef double *iou = <double *>cnp.PyArray_DATA(rows)
    cdef uint64_t *bits
    cdef km_watch watch = _watch(interrupt)
    cdef uint64_t work = km_total_runs(a, n_a) + km_total_runs(b, n_b) + n_a * n_b
    cdef bint done
    cdef void *released = _release_gil(work)
    words = km_iou_prepare(a, n_a, b, n_b, shapes)
    _take_gil(released)
    scratch = _new_memory(words, sizeof(uint64_t))
    bits = <uint64_t *>scratch.data
    released = _release_gil(work)
    done = km_iou(shapes, n_a, n_b, bits, iou, &watch)
    _take_gil(released)
    if not done:
        _raise_stopped()


cdef enum:
    IOU_MASKS_A_THREAD = 16  # each thread prepares all of the other masks again


# ---- the type ----

@cython.final
cdef class MaskArray:
    """Many masks in one block of memory: a sequence with columns.

    A MaskArray is made by `from_rles`, `from_numpy` or `concatenate`. An integer index gives a
    `Mask` and a slice a MaskArray that share the array's memory: keeping one mask keeps the runs of
    all, and `copy` gives it runs of its own. An array of indices or bools gives a MaskArray with
    runs of its own. Sizes may differ, except in operations that combine masks. ``| & - ^`` go
    pairwise, or with one `Mask`; ``~`` goes over all.

    Examples
    --------
    >>> masks = klingmask.MaskArray.from_numpy([[[0, 1], [0, 1]], [[1, 1], [0, 0]]])
    >>> masks
    MaskArray(n=2, size=(2, 2))
    >>> masks.area
    array([2, 2])
    >>> (masks & masks[0]).area
    array([2, 1])
    """

    # Operators between masks and an array are an error: numpy would compute with pixels.
    __array_ufunc__ = None

    cdef _Memory block   # the km_masks
    cdef _Memory memory  # the runs they point at
    cdef size_t n

    cdef km_mask *items(self) noexcept nogil:
        return <km_mask *>self.block.data

    def __cinit__(self):
        self.block = self.memory = _NOTHING  # safe even if MaskArray.__new__ is called alone

    def __init__(self, *args, **kwargs):
        raise TypeError("a MaskArray is made by MaskArray.from_rles, from_numpy or concatenate")

    @staticmethod
    @cython.binding(True)
    def from_rles(rles, *, strict=True):
        """Read many masks.

        Parameters
        ----------
        rles : iterable of mappings or Masks
            As `Mask.from_rle` takes them.
        strict : bool
            As for `Mask.from_rle`.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError, TypeError
            As `Mask.from_rle` does; the message says which of the rles it is.

        Examples
        --------
        >>> rle = {"size": [2, 2], "counts": "112"}
        >>> klingmask.MaskArray.from_rles([rle, rle]).bbox
        array([[0, 1, 1, 1],
               [0, 1, 1, 1]])
        """
        return rles if isinstance(rles, MaskArray) else _read_array(rles, strict)

    @staticmethod
    @cython.binding(True)
    def from_numpy(array, threshold=None, *, threads=1):
        """Take the non-zero pixels, or the high scores, of a stack of images as foreground.

        Parameters
        ----------
        array : array_like, shape (n, h, w)
            As `Mask.from_numpy` takes it.
        threshold : float, optional
            As for `Mask.from_numpy`.
        threads : int
            How many threads share the images; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.from_numpy` does; and for an array that looks like pycocotools' (h, w, n).

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0.2, 0.7]], [[0.9, 0.6]]], 0.5).area
        array([1, 2])
        """
        _check_threads(threads)
        cdef cnp.ndarray stack = _plain(array)
        if cnp.PyArray_NDIM(stack) != 3:
            return _encode_part(stack, threshold, _Interrupt(), ...)  # which refuses it
        _refuse_masks_last(stack)
        parts = _in_threads(partial(_encode_part, stack, threshold), len(stack), threads)
        return parts[0] if len(parts) == 1 else _concatenate(parts)

    @staticmethod
    @cython.binding(True)
    def concatenate(parts):
        """Join masks into one MaskArray with runs of its own.

        Parameters
        ----------
        parts : iterable of MaskArrays, Masks or lists of rles

        Returns
        -------
        MaskArray

        Examples
        --------
        >>> one = klingmask.Mask.from_bbox((2, 3), (0, 0, 1, 2))
        >>> two = klingmask.MaskArray.from_rles([one, ~one])
        >>> klingmask.MaskArray.concatenate([two, one]).area
        array([2, 4, 2])
        """
        if _is_single(parts):
            raise TypeError(
                f"parts must be an iterable of MaskArrays, Masks or lists of rles, got one "
                f"{type(parts).__name__}"
            )
        return _concatenate([_as_array(part) for part in parts])

    def __len__(self):
        return self.n

    def __getitem__(self, key):
        """Return one mask for an integer, a MaskArray for a slice or an array as numpy takes it."""
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            index = int(key) + (self.n if key < 0 else 0)
            if not 0 <= index < self.n:
                raise IndexError(f"index {_shown(key)} is out of range for {self.n} masks")
            return _new_mask(&self.items()[<size_t>index], self.memory)
        # numpy knows the rules of all other indices, and checks them.
        chosen = np.arange(self.n)[key]
        if np.ndim(chosen) == 0:
            return self[int(chosen)]
        if np.ndim(chosen) != 1:
            raise IndexError(f"masks are indexed along one axis, got {_shown(key)}")
        cdef cnp.ndarray picked = np.ascontiguousarray(chosen, np.int64)
        cdef MaskArray masks = _new_mask_array(len(picked))
        km_pick(self.items(), <const int64_t *>cnp.PyArray_DATA(picked), masks.n, masks.items())
        masks.memory = self.memory
        return masks if isinstance(key, slice) or key is ... else _copied(masks.items(), masks.n)

    def __iter__(self):
        return map(self.__getitem__, range(self.n))

    def __array__(self, dtype=None, copy=None):
        if dtype is not None and np.dtype(dtype) != object:
            raise TypeError("a MaskArray becomes pixels by to_numpy(); np.asarray keeps the masks")
        if copy is False:
            raise ValueError("a MaskArray holds runs; an array of its masks is always a new one")
        held = np.empty(self.n, object)
        held[:] = list(self)
        return held

    @property
    def size(self):
        """ndarray, shape (n, 2), int64: height and width of each mask's image."""
        sizes = np.empty((self.n, 2), np.int64)
        km_sizes(self.items(), self.n, <int64_t *>cnp.PyArray_DATA(sizes))
        return sizes

    @property
    def area(self):
        """ndarray, shape (n,), int64: the number of foreground pixels of each mask."""
        areas = np.empty(self.n, np.int64)
        cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(areas)
        cdef km_mask *items = self.items()
        cdef size_t n = self.n
        cdef _Interrupt interrupt = _Interrupt()
        cdef km_watch watch = _watch(interrupt)
        cdef void *released = _release_gil(km_total_runs(items, n))
        cdef bint done = km_areas(items, n, row, &watch)
        _take_gil(released)
        if not done:
            _raise_stopped()
        return areas

    @property
    def bbox(self):
        """ndarray, shape (n, 4), int64: the bounding box (x, y, w, h) of each, all 0 if empty."""
        boxes = np.empty((self.n, 4), np.int64)
        cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(boxes)
        cdef km_mask *items = self.items()
        cdef size_t n = self.n
        cdef _Interrupt interrupt = _Interrupt()
        cdef km_watch watch = _watch(interrupt)
        cdef void *released = _release_gil(km_total_runs(items, n))
        cdef bint done = km_boxes(items, n, row, &watch)
        _take_gil(released)
        if not done:
            _raise_stopped()
        return boxes

    @property
    def centroid(self):
        """ndarray, shape (n, 2), float64: mean x and y of each mask, as `Mask.centroid` has it."""
        centers = np.empty((self.n, 2))
        cdef double *row = <double *>cnp.PyArray_DATA(centers)
        cdef km_mask *items = self.items()
        cdef size_t n = self.n
        cdef _Interrupt interrupt = _Interrupt()
        cdef km_watch watch = _watch(interrupt)
        cdef void *released = _release_gil(km_total_runs(items, n))
        cdef bint done = km_centroids(items, n, row, &watch)
        _take_gil(released)
        if not done:
            _raise_stopped()
        return centers

    def iou(self, other, *, threads=1):
        """Return the intersection over union of every mask with every other.

        Parameters
        ----------
        other : MaskArray or list of rles
            m masks of the same size.
        threads : int
            How many threads share the n masks; worth it for large batches only.

        Returns
        -------
        ndarray, shape (n, m), float64
            0 where both masks are empty.

        Raises
        ------
        RLEError
            If the sizes differ.

        Examples
        --------
        >>> masks = klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]])
        >>> masks.iou(masks)
        array([[1. , 0.5],
               [0.5, 1. ]])
        """
        cdef MaskArray others = _as_array(other)
        cdef km_mask[2] firsts
        _check_threads(threads)
        if self.n == 0 or others.n == 0:
            return np.zeros((self.n, others.n))
        _require_one_size(self.items(), self.n)
        _require_one_size(others.items(), others.n)
        firsts = [self.items()[0], others.items()[0]]
        _require_same_size(firsts)
        table = np.empty((self.n, others.n))
        _in_threads(partial(_iou_part, self, others, table), self.n, threads, IOU_MASKS_A_THREAD)
        return table

    cdef Mask fold(self, km_operation operation):
        if self.n == 0:
            raise RLEError("no masks: without one, the result has no size")
        _require_one_size(self.items(), self.n)
        cdef km_mask *items = self.items()
        cdef size_t n = self.n, n_runs, total = km_total_runs(items, n)
        cdef _Memory memory = _new_memory(total, sizeof(uint32_t))
        cdef _Memory scratch = _new_memory(km_combine_all_scratch(items, n), sizeof(uint64_t))
        cdef uint32_t *runs = memory.runs()
        cdef uint64_t *words = <uint64_t *>scratch.data
        cdef _Interrupt interrupt = _Interrupt()
        cdef km_watch watch = _watch(interrupt)
        cdef void *released = _release_gil(total)
        n_runs = km_combine_all(operation, items, n, runs, words, &watch)
        _take_gil(released)
        if n_runs == 0:
            _raise_stopped()
        return _own(memory, n_runs, items.height, items.width)

    def union(self):
        """Return the pixels in any of the masks.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the sizes differ or there is no mask.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1, 0]], [[1, 1, 0]]]).union().area
        2
        """
        return self.fold(KM_UNION)

    def intersection(self):
        """Return the pixels in all of the masks.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the sizes differ or there is no mask.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1, 0]], [[1, 1, 0]]]).intersection().area
        1
        """
        return self.fold(KM_INTERSECTION)

    def to_numpy(self, *, order="C", dtype="uint8", value=1, out=None, threads=1):
        """Decode all masks, which must have one size.

        Parameters
        ----------
        order, dtype, value
            As for `Mask.to_numpy`; `order` is that of each mask.
        out : ndarray, shape (n, h, w), optional
            As for `Mask.to_numpy`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        ndarray, shape (n, h, w)

        Raises
        ------
        RLEError
            If the sizes differ, or as `Mask.to_numpy` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).to_numpy(dtype=bool)
        array([[[False,  True]],
        <BLANKLINE>
               [[ True,  True]]])
        """
        _require_one_size(self.items(), self.n)
        return _decode(self.items(), self.n, self, None, order, dtype, value, out, threads, True)

    def to_rles(self):
        """Return every mask as `Mask.to_rle` gives it.

        Returns
        -------
        list of dict

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).to_rles()
        [{'size': [1, 2], 'counts': '11'}, {'size': [1, 2], 'counts': '02'}]
        """
        cdef size_t i = 0
        rles = []
        while i < self.n:
            rles.append(_to_rle(&self.items()[i]))
            i += 1
            if i % 4096 == 0:
                _check_signals()
        return rles

    def copy(self):
        """Return the same masks with runs of their own.

        A slice of a MaskArray keeps the runs of all its masks in memory; its copy does not.
        ``copy.copy`` and ``copy.deepcopy`` do the same.

        Returns
        -------
        MaskArray

        Examples
        --------
        >>> masks = klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]])
        >>> masks[1:].copy() == masks[1:]
        True
        """
        if self.memory.size == km_total_runs(self.items(), self.n) * sizeof(uint32_t):
            return self
        return _copied(self.items(), self.n)

    def resize(self, height, width=None, *, align="center", threads=1):
        """Return all masks on a grid of another size; see `Mask.resize`.

        Parameters
        ----------
        height, width, align
            As for `Mask.resize`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.resize` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).resize(2, 4).area
        array([4, 8])
        """
        return _transform_masks(self, _resize_to(height, width, align), threads)

    def crop(self, bbox, *, threads=1):
        """Return the part of each mask that lies in one box; see `Mask.crop`.

        Parameters
        ----------
        bbox : (int, int, int, int)
            As for `Mask.crop`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.crop` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).crop((1, 0, 1, 1)).area
        array([1, 1])
        """
        return _transform_masks(self, _crop_to(bbox), threads)

    def pad(self, top, bottom, left, right, *, threads=1):
        """Return all masks with more background on each side; see `Mask.pad`.

        Parameters
        ----------
        top, bottom, left, right : int
            Pixels to add.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.pad` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).pad(1, 0, 2, 0).bbox
        array([[3, 1, 1, 1],
               [2, 1, 2, 1]])
        """
        return _transform_masks(self, _pad_by(top, bottom, left, right), threads)

    def shift(self, dx, dy, *, threads=1):
        """Return all masks moved to the right by `dx` and down by `dy`; see `Mask.shift`.

        Parameters
        ----------
        dx, dy : int
            As for `Mask.shift`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.shift` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).shift(1, 0).area
        array([0, 1])
        """
        return _transform_masks(self, _shift_by(dx, dy), threads)

    def flip(self, axis, *, threads=1):
        """Return each mask mirrored; see `Mask.flip`.

        Parameters
        ----------
        axis : {0, 1}
            0 turns each mask upside down, 1 swaps left and right.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.flip` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).flip(1).bbox
        array([[0, 0, 1, 1],
               [0, 0, 2, 1]])
        """
        return _transform_masks(self, _flip_along(axis), threads)

    def __or__(self, other):
        """Return the unions, pairwise or with one Mask: ``masks | other``."""
        return _operate_all(KM_UNION, self, other)

    def __and__(self, other):
        """Return the intersections, pairwise or with one Mask: ``masks & other``."""
        return _operate_all(KM_INTERSECTION, self, other)

    def __sub__(self, other):
        """Return the pixels not in the other, pairwise or with one Mask: ``masks - other``."""
        return _operate_all(KM_DIFFERENCE, self, other)

    def __xor__(self, other):
        """Return the pixels in exactly one, pairwise or with one Mask: ``masks ^ other``."""
        return _operate_all(KM_SYMMETRIC_DIFFERENCE, self, other)

    def __invert__(self):
        """Return the complement of each mask: ``~masks``."""
        return _transform_masks(self, _new_transform(KM_COMPLEMENT), 1)

    def __eq__(self, other):
        if not isinstance(other, MaskArray):
            return NotImplemented
        return self.n == (<MaskArray>other).n and km_equal(
            self.items(), (<MaskArray>other).items(), self.n
        )

    def __hash__(self):
        return hash(tuple(self))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return MaskArray.from_rles, (self.to_rles(),)

    def __repr__(self):
        cdef const km_mask *first = self.items()
        if self.n == 0 or km_count_same_size(first, self.n) < self.n:
            return f"MaskArray(n={self.n})"
        return f"MaskArray(n={self.n}, size=({first.height}, {first.width}))"
