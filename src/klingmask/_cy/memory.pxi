# Blocks of memory for runs and for pixels, and the limit of pixels.

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #include <stdint.h>
    #endif
    /* Ask for huge pages: the first write to each small page is a page fault, which takes longer
     * than to read a text of masks into the page. */
    static void advise_huge_pages(void *memory, size_t size)
    {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const uintptr_t page = 4096;
        uintptr_t start = ((uintptr_t)memory + page - 1) / page * page;
        if (memory && size > page)
            (void)madvise((void *)start, size - (start - (uintptr_t)memory), MADV_HUGEPAGE);
    #else
        (void)memory;
        (void)size;
    #endif
    }
    """
    void advise_huge_pages(void *memory, size_t size) noexcept nogil


cdef enum:
    # Bytes. Smaller blocks seldom hold a whole huge page of 2 MiB; numpy has the same limit.
    HUGE_PAGES_FROM = 4 << 20

    # Bytes. From here on malloc may take a block from the system, by itself (glibc's mmap
    # threshold).
    SYSTEM_BLOCK_FROM = 128 << 10


cdef void *_resized(void *memory, size_t n, size_t item) noexcept nogil:
    """The block, or a new one, with room for n items, at least one; NULL if there is none."""
    if n > <size_t>INT64_MAX // item:
        return NULL
    cdef void *block = PyMem_RawRealloc(memory, max(n, 1) * item)
    if n * item >= HUGE_PAGES_FROM:
        advise_huge_pages(block, n * item)
    return block


cdef void *_allocate(size_t n, size_t item) except NULL:
    cdef void *memory = _resized(NULL, n, item)
    if memory is NULL:
        raise MemoryError(f"no memory for {n} items of {item} bytes")
    return memory


@cython.final
@cython.freelist(64)
cdef class _Memory:
    """A block that lives as long as the object."""

    cdef void *data
    cdef size_t size  # bytes

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    cdef uint32_t *runs(self) noexcept nogil:
        return <uint32_t *>self.data

    cdef bint try_resize(self, size_t n, size_t item) noexcept nogil:
        cdef void *moved = _resized(self.data, n, item)
        if moved is NULL:
            return False
        self.data = moved
        self.size = n * item
        return True

    cdef void cut(self, size_t n, size_t item) noexcept nogil:
        """Give back what is beyond the first n items, unless it is large and half of it is used.

        When a large block is cut and then freed, glibc asks the system for the next one again, and
        its page faults take several times as long as reading texts into it. A block that grew by
        doubling is never cut for that reason. If the block cannot be cut, it is kept.
        """
        if self.size < SYSTEM_BLOCK_FROM or n * item < self.size // 2:
            self.try_resize(n, item)


cdef _Memory _new_memory(size_t n, size_t item):
    cdef _Memory memory = _Memory.__new__(_Memory)
    memory.data = _allocate(n, item)
    memory.size = n * item
    return memory


cdef _Memory _NOTHING = _new_memory(0, 1)


# Working memory of one call. Up to 4 KiB of it lie on the stack: for a tiny mask, malloc takes a
# fifth of the time. Never copy one: `data` may point into the struct itself.
cdef struct _Scratch:
    uint64_t *data
    uint64_t[512] little


cdef inline int _reserve(_Scratch *scratch, size_t n, size_t item) except -1:
    scratch.data = &scratch.little[0]
    if n > sizeof(scratch.little) // item:
        scratch.data = <uint64_t *>_allocate(n, item)
    return 0


cdef inline void _release(_Scratch *scratch) noexcept nogil:
    if scratch.data is not &scratch.little[0]:
        PyMem_RawFree(scratch.data)


# ---- pixels of new arrays ----
#
# The pages of a new block are zero and do not exist before they are written to, so a mask is
# painted into its box alone and the rest of the image costs nothing. But in a loop that drops each
# array, a block that is still in the caches is faster than new pages. So a few blocks are kept when
# their arrays are freed, and new ones are asked for only when there is none.

cdef enum:
    PIXEL_BLOCK_FROM = 64 << 10        # bytes; for smaller arrays numpy's own memory is as fast
    KEPT_BLOCKS = 8
    KEPT_BYTES = 32 << 20              # of all kept blocks; glibc keeps as much at the most
    CACHE_LINE = 64

cdef struct _Block:
    void *data
    size_t size

cdef _Block[KEPT_BLOCKS] _kept         # the oldest first
cdef size_t _n_kept = 0
cdef size_t _kept_bytes = 0
cdef cython.pymutex _kept_lock


@cython.final
@cython.freelist(8)
cdef class _PixelBlock:
    """The memory of an array's pixels, and the base of that array."""

    cdef _Block block

    def __dealloc__(self):
        if self.block.data is not NULL:
            _keep_block(self.block)


cdef _Block _take_kept(size_t i) noexcept:
    """Remove a kept block from the list; the lock is held."""
    global _n_kept, _kept_bytes
    cdef _Block block = _kept[i]
    _n_kept -= 1
    _kept_bytes -= block.size
    while i < _n_kept:
        _kept[i] = _kept[i + 1]
        i += 1
    return block


cdef void _keep_block(_Block block) noexcept:
    global _n_kept, _kept_bytes
    cdef _Block[KEPT_BLOCKS + 1] dropped
    cdef size_t n = 0
    if block.size > KEPT_BYTES:
        PyMem_RawFree(block.data)
        return
    with _kept_lock:
        while _n_kept == KEPT_BLOCKS or _kept_bytes + block.size > KEPT_BYTES:
            dropped[n] = _take_kept(0)
            n += 1
        _kept[_n_kept] = block
        _n_kept += 1
        _kept_bytes += block.size
    while n > 0:
        n -= 1
        PyMem_RawFree(dropped[n].data)


cdef bint _find_kept(size_t size, _Block *block) noexcept:
    """Take the latest kept block that has room for `size` bytes, but not more than twice that."""
    cdef size_t i
    with _kept_lock:
        i = _n_kept
        while i > 0:
            i -= 1
            if size <= _kept[i].size <= 2 * size:
                block[0] = _take_kept(i)
                return True
    return False


cdef _PixelBlock _new_pixel_block(size_t size, bint *zeroed):
    """A block for `size` bytes from a cache line on, and whether all of them are 0."""
    cdef _PixelBlock pixels = _PixelBlock.__new__(_PixelBlock)
    zeroed[0] = False
    if _find_kept(size + CACHE_LINE, &pixels.block):
        return pixels
    pixels.block.size = size + CACHE_LINE
    pixels.block.data = PyMem_RawCalloc(1, pixels.block.size)
    if pixels.block.data is NULL:
        raise MemoryError(f"no memory for {size} pixels")
    if size >= HUGE_PAGES_FROM:
        advise_huge_pages(pixels.block.data, pixels.block.size)
    zeroed[0] = True
    return pixels


# ---- the pixel limit ----

cdef enum:
    DEFAULT_MAX_PIXELS = 1 << 28

cdef uint64_t _max_pixels = DEFAULT_MAX_PIXELS


def get_max_pixels():
    """Return the most pixels that one mask may have to be decoded, or None for no limit.

    Returns
    -------
    int or None
        268435456 (2**28) unless `set_max_pixels` changed it.

    Examples
    --------
    >>> klingmask.get_max_pixels()
    268435456
    """
    return None if _max_pixels == <uint64_t>-1 else _max_pixels


def set_max_pixels(limit):
    """Set the most pixels that one mask may have to be decoded.

    A few bytes of counts can claim an image of gigabytes. Functions that allocate pixels (decode,
    to_numpy, to_png, render_layer) refuse a mask of more than `limit` pixels. Functions that work
    on runs, or that write into the caller's `out`, do not look at the limit. Masks that are moved,
    flipped or resized may need many more runs than before: up to 2**28 (1 GiB), or `limit` if that
    is more.

    Parameters
    ----------
    limit : int or None
        Pixels, height x width, of a single mask; None for no limit. It holds for the whole process.

    Raises
    ------
    RLEError
        If `limit` is negative.

    Examples
    --------
    >>> klingmask.set_max_pixels(2**28)
    """
    global _max_pixels
    if limit is None:
        _max_pixels = <uint64_t>-1
        return
    limit = _integer(limit, "limit")
    if limit < 0:
        raise RLEError(f"limit must not be negative, got {_shown(limit)}; None lifts it")
    _max_pixels = min(limit, INT64_MAX)


cdef int _check_pixel_limit(const km_mask *mask) except -1:
    if km_pixels(mask) > _max_pixels:
        raise RLEError(
            f"a mask of {mask.height} x {mask.width} = {km_pixels(mask)} pixels is over the "
            f"limit of {_max_pixels}; if you trust its source, raise the limit with "
            "klingmask.set_max_pixels(), or decode into an array of your own with out="
        )
    return 0


cdef int _check_run_limit(uint64_t n, uint64_t given) except -1:
    """Refuse a result that may have n runs, if they are too many and over twice those given.

    The limit is that of pixels: a mask has at most one run more than its image has pixels.
    """
    cdef uint64_t limit = max(_max_pixels, DEFAULT_MAX_PIXELS)
    if n > limit and n > 2 * given:
        raise RLEError(
            f"the result would have up to {n} runs, over the limit of {limit}; if you trust where "
            "they come from, raise the limit with klingmask.set_max_pixels()"
        )
    if n > <size_t>-1:
        raise MemoryError(f"no memory for {n} runs")
    return 0
