# Functions that klingmask.overlay calls.

def _render(Mask mask not None, color):
    """The mask as RGBA pixels (h, w, 4): the color (4 numbers), all 0 elsewhere."""
    _check_pixel_limit(&mask.c)
    cdef uint8_t[4] channels = color
    cdef cnp.ndarray layer = np.empty((mask.c.height, mask.c.width, 4), np.uint8)
    cdef uint8_t *pixels = <uint8_t *>cnp.PyArray_DATA(layer)
    cdef _Memory scratch = _new_memory(km_render_scratch(&mask.c), sizeof(uint64_t))
    cdef uint64_t *bits = <uint64_t *>scratch.data
    cdef void *released = _release_gil(km_pixels(&mask.c))
    km_render(&mask.c, channels, pixels, bits)
    _take_gil(released)
    return layer


def _blend(cnp.ndarray pixels not None, list layers not None):
    """Blend layers (mask, (red, green, blue, alpha), opacity, outline) into the pixels, in place.

    The pixels are (h, w, 3 or 4) uint8 with contiguous rows. The caller has checked the sizes of
    the masks and all numbers.
    """
    layers = list(layers)  # of our own: converting a color may run the caller's code
    if cnp.PyArray_NDIM(pixels) != 3 or pixels.dtype != np.uint8:
        raise RLEError("the pixels must be uint8 of shape (h, w, 3) or (h, w, 4)")
    cdef size_t n = len(layers), i = 0, words
    cdef unsigned channels = cnp.PyArray_DIM(pixels, 2)
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef uint8_t *image = <uint8_t *>cnp.PyArray_DATA(pixels)
    cdef ptrdiff_t stride = cnp.PyArray_STRIDE(pixels, 0)
    cdef uint64_t *bits
    cdef void *released
    cdef bint done
    cdef km_layer *items = <km_layer *>_allocate(n, sizeof(km_layer))
    cdef _Memory scratch
    cdef Mask mask
    try:
        for mask, color, opacity, outline in layers:
            if mask is None or mask.size != (<object>pixels).shape[:2]:
                raise RLEError(f"layer {i} is not of the size of the pixels", index=i)
            items[i].mask = &mask.c
            items[i].color = color
            items[i].opacity = opacity
            items[i].outline = outline
            i += 1
        words = km_blend_scratch(items, n)
        scratch = _new_memory(words, sizeof(uint64_t))
        bits = <uint64_t *>scratch.data
        released = _release_gil(cnp.PyArray_SIZE(pixels))
        done = km_blend(items, n, channels, image, stride, bits, words, &watch)
        _take_gil(released)
        if not done:
            _raise_stopped()
    finally:
        PyMem_RawFree(items)


def _plurality(MaskArray masks not None, cnp.ndarray groups not None, uint32_t n_groups):
    """The pixels where each group has more masks than any other, as a MaskArray.

    `groups[i]` is the group of mask i (contiguous uint32). In a tie the larger number wins.
    """
    _require_one_size(masks.items(), masks.n)
    if masks.n == 0:
        return _new_mask_array(0)
    shape = (<object>groups).shape
    if groups.dtype != np.uint32 or shape != (masks.n,) or groups.max() >= n_groups:
        raise RLEError(f"each of {masks.n} masks needs a group below {n_groups}, as uint32")
    cdef const uint32_t *group = <const uint32_t *>cnp.PyArray_DATA(groups)
    cdef MaskArray winners = _new_mask_array(n_groups)
    cdef size_t capacity = km_plurality_capacity(masks.items(), masks.n, n_groups)
    cdef size_t words = km_plurality_scratch(masks.items(), masks.n, n_groups)
    cdef _Memory scratch = _new_memory(words, sizeof(uint64_t))
    winners.memory = _new_memory(capacity, sizeof(uint32_t))
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef km_mask *items = masks.items()
    cdef km_mask *won = winners.items()
    cdef uint32_t *runs = winners.memory.runs()
    cdef uint64_t *memory = <uint64_t *>scratch.data
    cdef size_t n = masks.n
    cdef void *released = _release_gil(capacity)
    cdef bint done = km_plurality(items, group, n, n_groups, runs, won, memory, &watch)
    _take_gil(released)
    if not done:
        _raise_stopped()
    return winners
