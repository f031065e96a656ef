# Masks to numpy arrays of pixels, and back.

cdef cnp.ndarray _plain(object array):
    """The array as a plain ndarray: a subclass may override its shape or dtype."""
    if cnp.PyArray_CheckExact(array):
        return array
    return np.asarray(array)


cdef bint _as_stack(cnp.ndarray array, km_stack *stack) noexcept:
    """Point `stack` at bytes (h, w) or (n, h, w).

    Returns False if neither the pixels of a row nor those of a column lie together.
    """
    cdef int axis = cnp.PyArray_NDIM(array) - 2
    cdef ptrdiff_t down = cnp.PyArray_STRIDE(array, axis)
    cdef ptrdiff_t across = cnp.PyArray_STRIDE(array, axis + 1)
    stack.pixels = <uint8_t *>cnp.PyArray_DATA(array)
    stack.n = cnp.PyArray_DIM(array, 0) if axis else 1
    stack.step = cnp.PyArray_STRIDE(array, 0) if axis else 0
    stack.stride = down
    stack.height = <uint32_t>cnp.PyArray_DIM(array, axis)
    stack.width = <uint32_t>cnp.PyArray_DIM(array, axis + 1)
    stack.columns = (
        (down == 1 or stack.height == 1) and (across == stack.height or stack.width == 1)
    )
    return stack.columns or across == 1 or stack.width == 1 or cnp.PyArray_SIZE(array) == 0


# ---- pixels out ----

cdef int _paint(const km_painting *how, const km_mask *masks, _Sources sources, size_t first,
                bint strict, _Interrupt interrupt, cnp.ndarray out) except -1:
    """Paint the masks into `out`, uint8 or bool of shape (h, w) or (n, h, w), of any strides.

    If `masks` is NULL, they are read from the sources, from `first` on. If `interrupt` is None,
    Ctrl-C is answered only after the call.
    """
    cdef km_stack stack
    cdef km_failure failure
    cdef _Memory runs = None
    cdef uint32_t *read = NULL
    cdef const km_rle *items = NULL
    cdef _Scratch scratch
    cdef km_watch watch
    cdef km_watch *watched = NULL
    cdef uint64_t work = cnp.PyArray_SIZE(out)
    cdef bint done
    cdef void *released
    if not _as_stack(out, &stack):
        contiguous = np.empty((<object>out).shape, out.dtype)
        _paint(how, masks, sources, first, strict, interrupt, contiguous)
        out[...] = contiguous
        return 0
    if interrupt is not None:
        watch = _watch(interrupt)
        watched = &watch
    if masks is NULL:
        items = sources.items + first
        runs = _new_memory(sources.batch.largest + KM_READ_SLACK, sizeof(uint32_t))
        read = runs.runs()
        work += sources.batch.total
    _reserve(&scratch, km_paint_scratch(&stack), sizeof(uint64_t))
    released = _release_gil(work)
    if masks is not NULL:
        done = km_paint(how, masks, &stack, scratch.data, watched)
    else:
        done = km_paint_rles(how, items, strict, &stack, read, scratch.data, &failure, watched)
    _take_gil(released)
    _release(&scratch)
    if not done:
        if masks is not NULL:
            _raise_stopped()
        if failure.fault != KM_STOPPED:
            failure.index += first
        sources.raise_defect(&failure)
    return 0


def _paint_part(MaskArray masks not None, uint8_t value, bint zeroed, uint64_t n_bytes,
                cnp.ndarray out not None, _Interrupt interrupt not None, part):
    """Paint a slice of the masks, as one of several threads."""
    cdef km_painting how = km_painting(value, zeroed, n_bytes)
    cdef MaskArray own = masks[part]
    _paint(&how, own.items(), None, 0, True, interrupt, out[part])


def _paint_sources_part(_Sources sources not None, bint strict, uint8_t value, bint zeroed,
                        uint64_t n_bytes, cnp.ndarray out not None,
                        _Interrupt interrupt not None, part):
    """Read and paint a slice of the sources, as one of several threads."""
    if part.stop > <object>sources.n:
        raise IndexError(f"there are {sources.n} sources")
    cdef km_painting how = km_painting(value, zeroed, n_bytes)
    _paint(&how, NULL, sources, part.start, strict, interrupt, out[part])


cdef cnp.ndarray _new_pixels(const km_mask *masks, size_t n, bint stacked, bint columns, int type_,
                             bint *zeroed):
    """Allocate the pixels of one mask, or of n stacked, each in the given order.

    `zeroed` is set if all are 0; otherwise they are uninitialised.
    """
    cdef cnp.npy_intp[3] shape = [n, 0, 0]
    cdef cnp.ndarray pixels
    cdef size_t size = 0
    if n:
        _check_pixel_limit(masks)
        shape[1], shape[2] = masks.height, masks.width
        if km_pixels(masks) > <size_t>INT64_MAX // n:
            raise MemoryError(f"no memory for {n} masks of {masks.height} x {masks.width} pixels")
        size = n * km_pixels(masks)
    if not stacked:
        return _new_pixel_array(2, &shape[1], type_, columns, size, zeroed)
    if not columns:
        return _new_pixel_array(3, shape, type_, False, size, zeroed)
    shape[1], shape[2] = shape[2], shape[1]
    return _new_pixel_array(3, shape, type_, False, size, zeroed).swapaxes(1, 2)


cdef cnp.ndarray _check_out(object given, const km_mask *masks, size_t n, bint stacked):
    """The array to write to, as a view of our own: another thread may reshape the caller's."""
    if not isinstance(given, np.ndarray):
        raise TypeError(f"out must be a uint8 or bool array, got {type(given).__name__}")
    cdef object out = _plain(given).view()
    if out.dtype not in (np.uint8, np.bool_):
        raise TypeError(f"out must be a uint8 or bool array, got {out.dtype}")
    shape = out.shape[-2:]  # zero masks fit an array of any height and width
    if n:
        shape = (masks.height, masks.width)
    if stacked:
        shape = (n, *shape)
    if out.shape != shape:
        raise RLEError(f"out must have the shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise RLEError("out is read-only")
    return out


cdef object _checked_value(object value, cnp.dtype dtype):
    """The value of foreground as an int that fits the dtype."""
    value = _integer(value, "value")
    cdef object most = 255
    if dtype.type_num == cnp.NPY_BOOL:
        most = 1
    elif dtype.type_num != cnp.NPY_UINT8:
        most = np.iinfo(dtype).max if dtype.kind in "iu" else int(np.finfo(dtype).max)
    if not 0 <= value <= most:
        raise RLEError(f"value {_shown(value)} does not fit {dtype}")
    return value


cdef object _decode(const km_mask *masks, size_t n, MaskArray many, _Sources sources, object order,
                    object dtype, object value, object out, object threads, bint strict):
    """The pixels of one mask, or of n stacked, in a new array or in `out`.

    Exactly one of three: `sources`, and then `masks` need only have a size; or `many`, which owns
    the n masks; or one mask.
    """
    cdef bint columns = order == "F", new = out is None
    cdef bint stacked = many is not None or sources is not None
    cdef bint zeroed = False
    cdef km_painting how = km_painting(1, False, n * km_pixels(masks) if n else 0)
    threads = _check_threads(threads)
    if new and not columns and order != "C":
        raise ValueError(f"order must be 'C' or 'F', got {_shown(order)}")
    cdef object kind = None
    cdef cnp.ndarray pixels  # set last: code of the caller's (__index__, a dtype) may not run after
    if not new:
        value = _integer(value, "value")  # before the array is looked at
        pixels = _check_out(out, masks, n, stacked)
        how.value = _checked_value(value, pixels.dtype)
    elif dtype == "uint8":  # by far the most common
        how.value = _checked_value(value, _UINT8)
        pixels = _new_pixels(masks, n, stacked, columns, cnp.NPY_UINT8, &zeroed)
    else:
        kind = np.dtype(dtype)
        if kind.kind not in "biuf":
            raise TypeError(f"dtype must be bool, an integer or a float type, got {kind}")
        value = _checked_value(value, kind)
        if kind == _UINT8:
            how.value = value
            kind = None
        elif kind == np.bool_:
            how.value = value
        pixels = _new_pixels(
            masks, n, stacked, columns, cnp.NPY_UINT8 if kind is None else cnp.NPY_BOOL, &zeroed
        )
    how.zeroed = zeroed
    if stacked and threads != 1:
        if sources is not None:
            part = partial(_paint_sources_part, sources, strict, how.value, zeroed, how.bytes,
                           pixels)
        else:
            part = partial(_paint_part, many, how.value, zeroed, how.bytes, pixels)
        _in_threads(part, n, threads)
    else:
        _paint(&how, masks if sources is None else NULL, sources, 0, strict,
               _Interrupt() if stacked else None, pixels)
    if not new:
        return out
    if kind is None or kind == np.bool_:
        return pixels
    return _as_numbers(pixels, kind, value)


_UINT8 = np.dtype(np.uint8)


cdef object _as_numbers(object pixels, object dtype, object value):
    """Bool pixels as numbers of a dtype, `value` for foreground, in the same memory order."""
    numbers = pixels.astype(dtype)
    if value != 1:
        numbers *= dtype.type(value)
    return numbers


cdef object _decode_list(object rles, object order, object dtype, object value, object out,
                         object threads, bint strict):
    """A list of rles, stacked: each is read just before it is painted."""
    cdef _Sources sources = _read_sources(rles)
    cdef km_mask first
    cdef km_rle *other
    if sources.n:
        first.height, first.width = sources.items.height, sources.items.width
    if sources.batch.same < sources.n:
        other = &sources.items[sources.batch.same]
        raise _size_differs(&first, other.height, other.width, sources.batch.same)
    return _decode(&first, sources.n, None, sources, order, dtype, value, out, threads, strict)


# ---- pixels in ----

cdef cnp.ndarray _foreground(object array, int ndim, object threshold=None):
    """`array` with bytes that are non-zero for foreground, without a copy if it can be."""
    cdef cnp.ndarray pixels = _plain(array)
    if cnp.PyArray_NDIM(pixels) != ndim:
        shape = "(height, width)" if ndim == 2 else "(n, height, width)"
        raise RLEError(f"the array must have the shape {shape}, got {(<object>pixels).shape}")
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"the array must be of bool, integers or floats, got {pixels.dtype}")
    if threshold is not None:
        return _over(pixels, threshold)
    cdef int type_ = cnp.PyArray_TYPE(pixels)
    if type_ == cnp.NPY_BOOL or type_ == cnp.NPY_UINT8 or type_ == cnp.NPY_INT8:
        return pixels
    return pixels.astype(bool)


cdef cnp.ndarray _over(cnp.ndarray pixels, object threshold):
    """Whether each pixel is over the threshold: a bool array of the same shape."""
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.number)):
        raise TypeError(f"threshold must be a number, got {_shown(threshold)}")
    # Exact types: a subclass could answer the comparison by itself, with anything.
    if isinstance(threshold, (int, np.integer)):
        threshold = _integer(threshold, "threshold")
        if not -(1 << 63) <= threshold < 1 << 64:  # past all numbers of arrays of integers
            threshold = np.inf if threshold > 0 else -np.inf
    else:
        threshold = float(threshold)
    return np.greater(pixels, threshold)


cdef int _refuse_masks_last(cnp.ndarray stack) except -1:
    """Refuse the layout of pycocotools, (h, w, n) in F order, which looks like h masks of w x n."""
    cdef cnp.npy_intp n = cnp.PyArray_DIM(stack, 2)
    cdef bint columns = cnp.PyArray_ISFORTRAN(stack)  # F-contiguous and not C-contiguous
    if columns and n < cnp.PyArray_DIM(stack, 0) and n < cnp.PyArray_DIM(stack, 1):
        raise RLEError(
            f"an array {(<object>stack).shape} in F order looks like pycocotools' (h, w, n), and "
            "stacks are (n, h, w): if it is (h, w, n), pass np.moveaxis(array, -1, 0); if it is "
            "(n, h, w), pass np.ascontiguousarray(array)"
        )
    return 0


cdef _Memory _encode(cnp.ndarray array, km_mask *masks, _Interrupt interrupt):
    """Fill `masks` from bytes (h, w) or (n, h, w); the runs live in the memory that is returned."""
    cdef int axis = cnp.PyArray_NDIM(array) - 2
    cdef cnp.npy_intp high = cnp.PyArray_DIM(array, axis), wide = cnp.PyArray_DIM(array, axis + 1)
    if high > UINT32_MAX or wide > UINT32_MAX or <uint64_t>high * <uint64_t>wide > UINT32_MAX:
        raise _too_large(high, wide)
    cdef km_stack stack
    if not _as_stack(array, &stack):
        array = np.ascontiguousarray(array)
        _as_stack(array, &stack)
    cdef _Memory memory = _Memory.__new__(_Memory)
    cdef _Scratch scratch
    cdef km_position position = km_position(0, 0, 0)
    cdef km_progress progress = KM_NEEDS_ROOM
    cdef uint32_t *runs = NULL
    cdef size_t capacity = 0
    cdef uint64_t work = cnp.PyArray_SIZE(array)
    cdef km_watch watch = _watch(interrupt)
    cdef void *released
    _reserve(&scratch, km_encode_scratch(&stack), sizeof(uint64_t))
    while progress == KM_NEEDS_ROOM:
        released = _release_gil(work)
        progress = km_encode(&stack, scratch.data, &position, runs, capacity, masks, &watch)
        _take_gil(released)
        if progress == KM_NEEDS_ROOM:
            capacity = max(position.used + position.room, 2 * capacity)
            if not memory.try_resize(capacity, sizeof(uint32_t)):
                _release(&scratch)
                raise MemoryError("no memory for the runs of the masks")
            runs = memory.runs()
    _release(&scratch)
    if progress == KM_WAS_STOPPED:
        _raise_stopped()
    if memory.data is NULL and not memory.try_resize(0, sizeof(uint32_t)):  # no images
        raise MemoryError("no memory for the runs of the masks")
    memory.cut(position.used, sizeof(uint32_t))
    km_lay_out(masks, stack.n, memory.runs())
    return memory
