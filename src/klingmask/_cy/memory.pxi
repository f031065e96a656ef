# Blocks of memory for runs and for pixels, and the limit of pixels.

cdef extern from *:
    """
    #if defined(__linux__)
    #include <stdint.h>
    #include <sys/mman.h>
    #include <unistd.h>
    #endif
    /* Ask for huge pages. The first write to a page is a page fault, which takes longer than
     * filling a page of 4 KiB with runs. If the system refuses, nothing changes. */
    static void advise_huge_pages(void *memory, size_t size)
    {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
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


cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept nogil
        void *(*calloc)(void *ctx, size_t n, size_t item) noexcept nogil
        void *(*realloc)(void *ctx, void *memory, size_t size) noexcept nogil
        void (*free)(void *ctx, void *memory, size_t size) noexcept nogil

    ctypedef struct PyDataMem_Handler:
        char[127] name
        uint8_t version
        PyDataMemAllocator allocator

    object PyDataMem_SetHandler(object handler)


cdef enum:
    # Bytes. Smaller blocks seldom hold a whole huge page of 2 MiB; numpy has the same limit.
    HUGE_PAGES_FROM = 4 << 20

    # Bytes. From this size on, malloc may use mmap for the block (glibc's M_MMAP_THRESHOLD).
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
        """Shrink the block to n items, unless it is large and at least half used.

        If a large block is shrunk and then freed, glibc maps the next one anew, and its page faults
        take several times as long as reading texts into it. If shrinking fails, nothing changes.
        """
        if self.size < SYSTEM_BLOCK_FROM or n * item < self.size // 2:
            self.try_resize(n, item)


cdef _Memory _new_memory(size_t n, size_t item):
    cdef _Memory memory = _Memory.__new__(_Memory)
    memory.data = _allocate(n, item)
    memory.size = n * item
    return memory


cdef _Memory _NOTHING = _new_memory(0, 1)


# Working memory of one call. Up to 4 KiB of it lie on the stack: for a tiny mask, malloc would be a
# fifth of the call. Never copy one: `data` may point into the struct itself.
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
# The system gives a page to a block of calloc at the first write. So painting only the mask's box
# leaves the rest of the image without memory. But if each array is dropped before the next is made,
# a block that is still in the caches is faster than new pages. So a few freed blocks are kept, and
# reused before new ones are asked for. numpy's interface for allocators (NEP 49) makes the arrays
# own such blocks as any other array owns its memory.

cdef enum:
    PIXEL_BLOCK_FROM = 64 << 10  # bytes; for smaller arrays numpy's own memory is as fast
    KEPT_BLOCKS = 8
    KEPT_BYTES = 32 << 20        # in all kept blocks; glibc's largest mmap threshold, too
    CACHE_LINE = 64

# Stands in the cache line before the pixels, which start at a cache line.
cdef struct _BlockHead:
    void *start  # of calloc's block
    size_t size  # bytes for pixels
    bint zeroed  # all pixels are 0

ctypedef void *_Pixels

cdef _Pixels[KEPT_BLOCKS] _kept  # the oldest first
cdef size_t _n_kept = 0
cdef size_t _kept_bytes = 0
cdef cython.pymutex _kept_lock


cdef _BlockHead *_head_of(void *pixels) noexcept nogil:
    return <_BlockHead *>(<char *>pixels - CACHE_LINE)


cdef void *_take_kept(size_t i) noexcept nogil:
    """Remove a kept block from the list; the lock is held."""
    global _n_kept, _kept_bytes
    cdef void *pixels = _kept[i]
    _n_kept -= 1
    _kept_bytes -= _head_of(pixels).size
    while i < _n_kept:
        _kept[i] = _kept[i + 1]
        i += 1
    return pixels


cdef void *_find_kept(size_t size) noexcept nogil:
    """The last freed block with room for `size` bytes, but not for over twice that; or NULL."""
    cdef size_t i
    with _kept_lock:
        i = _n_kept
        while i > 0:
            i -= 1
            if size <= _head_of(_kept[i]).size <= 2 * size:
                return _take_kept(i)
    return NULL


cdef void *_pixel_malloc(void *context, size_t size) noexcept nogil:
    cdef void *pixels = _find_kept(size)
    cdef void *start
    if pixels is not NULL:
        _head_of(pixels).zeroed = False
        return pixels
    if size > <size_t>INT64_MAX - 2 * CACHE_LINE:
        return NULL
    start = calloc(1, size + 2 * CACHE_LINE)
    if start is NULL:
        return NULL
    if size >= HUGE_PAGES_FROM:
        advise_huge_pages(start, size + 2 * CACHE_LINE)
    pixels = <void *>((<uintptr_t>start + 2 * CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    _head_of(pixels)[0] = _BlockHead(start, size, True)
    return pixels


cdef void _pixel_free(void *context, void *pixels, size_t size) noexcept nogil:
    global _n_kept, _kept_bytes
    cdef _Pixels[KEPT_BLOCKS + 1] dropped
    cdef size_t n = 0
    if pixels is NULL:
        return
    size = _head_of(pixels).size
    if size > KEPT_BYTES:
        free(_head_of(pixels).start)
        return
    with _kept_lock:
        while _n_kept == KEPT_BLOCKS or _kept_bytes + size > KEPT_BYTES:
            dropped[n] = _take_kept(0)
            n += 1
        _kept[_n_kept] = pixels
        _n_kept += 1
        _kept_bytes += size
    while n > 0:
        n -= 1
        free(_head_of(dropped[n]).start)


cdef void *_pixel_calloc(void *context, size_t n, size_t item) noexcept nogil:
    cdef void *pixels = NULL
    if item == 0 or n <= <size_t>INT64_MAX // item:
        pixels = _pixel_malloc(context, n * item)
    if pixels is not NULL and not _head_of(pixels).zeroed:
        memset(pixels, 0, n * item)
    return pixels


cdef void *_pixel_realloc(void *context, void *pixels, size_t size) noexcept nogil:
    """For ``array.resize``."""
    cdef void *moved = _pixel_malloc(context, size)
    if moved is not NULL and pixels is not NULL:
        memcpy(moved, pixels, min(size, _head_of(pixels).size))
        _pixel_free(context, pixels, 0)
    return moved


cdef PyDataMem_Handler _pixel_handler
memcpy(_pixel_handler.name, b"klingmask", 10)
_pixel_handler.version = 1
_pixel_handler.allocator.ctx = NULL
_pixel_handler.allocator.malloc = _pixel_malloc
_pixel_handler.allocator.calloc = _pixel_calloc
_pixel_handler.allocator.realloc = _pixel_realloc
_pixel_handler.allocator.free = _pixel_free
cdef object _pixel_memory = PyCapsule_New(&_pixel_handler, "mem_handler", NULL)


cdef cnp.ndarray _new_pixel_array(int nd, cnp.npy_intp *shape, int type_, bint columns, size_t size,
                                  bint *zeroed):
    """An array of so many bytes, and whether all of them are 0."""
    cdef object before
    cdef cnp.ndarray pixels
    zeroed[0] = False
    if size < PIXEL_BLOCK_FROM:
        return cnp.PyArray_EMPTY(nd, shape, type_, columns)
    before = PyDataMem_SetHandler(_pixel_memory)
    try:
        pixels = cnp.PyArray_EMPTY(nd, shape, type_, columns)
    finally:
        PyDataMem_SetHandler(before)
    zeroed[0] = _head_of(cnp.PyArray_DATA(pixels)).zeroed
    return pixels


# ---- the pixel limit ----

cdef enum:
    DEFAULT_MAX_PIXELS = 1 << 28

cdef uint64_t _max_pixels = DEFAULT_MAX_PIXELS


def get_max_pixels():
    """Return the pixel limit: the largest image, in pixels, that is decoded; None for no limit.

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
    """Set the pixel limit: the largest image, in pixels, that is decoded.

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
    """Refuse a result of up to n runs if n is over the limit and over twice the runs given.

    The limit is the pixel limit, or 2**28 if that is more: a mask has at most one run more than its
    image has pixels.
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
