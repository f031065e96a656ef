# cython: language_level=3
# cython: freethreading_compatible=True, auto_pickle=False, autotestdict=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""Python objects <-> the C core.

Everything here checks its arguments, gets a pointer, calls the core without
the GIL and wraps what comes back. Loops over runs or pixels are in ``core/``.
"""

import operator
import os
from collections.abc import Mapping
from functools import partial

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport INT64_MAX, UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cnp.import_array()


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    unicode PyUnicode_New(Py_ssize_t length, Py_UCS4 largest)
    int64_t PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    void *PyErr_Occurred()
    int PyErr_CheckSignals() noexcept


cdef extern from *:
    """
    /* A reference of the caller's own, to what the dict has or to `missing`. */
    static PyObject *get_item(PyObject *dict, PyObject *key, PyObject *missing)
    {
        PyObject *value;
    #if PY_VERSION_HEX >= 0x030d0000
        if (PyDict_GetItemRef(dict, key, &value) < 0)
            return NULL;
        return value ? value : Py_NewRef(missing);
    #else
        value = PyDict_GetItemWithError(dict, key);
        if (!value && PyErr_Occurred())
            return NULL;
        value = value ? value : missing;
        Py_INCREF(value);
        return value;
    #endif
    }
    """
    object get_item(dict d, object key, object missing)


cdef extern from "klingmask.h" nogil:
    ctypedef struct km_mask:
        const uint32_t *runs
        size_t n_runs
        uint32_t height
        uint32_t width

    ctypedef enum km_fault:
        KM_BAD_CHARACTER
        KM_CUT_CODE
        KM_LONG_CODE
        KM_NEGATIVE_RUN
        KM_OVERSHOOT

    ctypedef struct km_source:
        const char *chars
        const uint32_t *lengths
        size_t length
        uint32_t height
        uint32_t width

    ctypedef struct km_failure:
        km_fault fault
        size_t source
        size_t position
        int64_t value

    ctypedef enum km_operation:
        KM_INTERSECTION
        KM_DIFFERENCE
        KM_SYMMETRIC_DIFFERENCE
        KM_UNION

    ctypedef struct km_box:
        uint32_t x
        uint32_t y
        uint32_t width
        uint32_t height

    ctypedef struct km_batch:
        size_t total
        size_t largest
        size_t same

    size_t KM_READ_SLACK

    ctypedef struct km_shape:
        pass

    ctypedef struct km_watch:
        bint (*stop)(void *context) noexcept nogil
        void *context
        uint64_t left

    uint64_t km_pixels(const km_mask *mask)
    size_t km_read_capacity(const km_source *source)
    km_batch km_survey(const km_source *sources, size_t n)
    size_t km_count_same_size(const km_mask *masks, size_t n)
    bint km_read(const km_source *source, bint strict, uint32_t *runs, km_mask *mask,
                 uint64_t *area, km_failure *failure)
    bint km_read_all(const km_source *sources, size_t n, bint strict, uint32_t *runs,
                     size_t *n_runs, km_mask *masks, km_failure *failure)
    void km_lay_out(km_mask *masks, size_t n, const uint32_t *runs)
    size_t km_format_capacity(size_t n_runs)
    size_t km_format(const uint32_t *runs, size_t n_runs, char *text)
    ctypedef enum km_target:
        KM_TO_CORE
        KM_TO_SHARED
        KM_TO_MEMORY

    void km_decode_columns(
        const km_mask *mask, uint8_t value, km_target target, uint8_t *pixels
    )
    size_t km_decode_rows_scratch(uint32_t height, uint32_t width)
    bint km_is_narrow(const km_mask *mask)
    void km_decode_rows(const km_mask *mask, uint8_t value, bint cleared, km_target target,
                        uint8_t *pixels, ptrdiff_t stride, uint64_t *scratch)
    size_t km_scan_columns_scratch(uint32_t height, uint32_t width)
    size_t km_scan_columns(const uint8_t *pixels, uint32_t height, uint32_t width,
                           uint64_t *scratch)
    void km_runs_columns(uint64_t *scratch, uint32_t height, uint32_t width,
                         uint32_t *runs)
    size_t km_scan_rows_scratch(uint32_t height, uint32_t width)
    size_t km_scan_rows(const uint8_t *pixels, ptrdiff_t stride, uint32_t height,
                        uint32_t width, uint64_t *scratch)
    void km_runs_rows(uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
    size_t km_combine(km_operation operation, const km_mask *a, const km_mask *b,
                      uint32_t *runs)
    size_t km_total_runs(const km_mask *masks, size_t n)
    size_t km_combine_all_scratch(const km_mask *masks, size_t n)
    size_t km_combine_all(km_operation operation, const km_mask *masks, size_t n,
                          uint32_t *runs, uint64_t *scratch)
    size_t km_complement(const km_mask *mask, uint32_t *runs)
    size_t km_box_runs(km_box box, uint32_t height, uint32_t width, uint32_t *runs)
    bint km_contains(const km_mask *mask, uint32_t x, uint32_t y)
    uint64_t km_area(const km_mask *mask)
    km_box km_bounds(const km_mask *mask)
    bint km_measure(const km_source *sources, size_t n, uint32_t *runs, int64_t *areas,
                    int64_t *boxes, km_failure *failure)
    size_t km_iou_prepare(const km_mask *a, size_t n_a, const km_mask *b, size_t n_b,
                          km_shape *shapes)
    bint km_iou(km_shape *shapes, size_t n_a, size_t n_b, uint64_t *scratch, double *iou,
                km_watch *watch)
    size_t km_plurality_scratch(const km_mask *masks, size_t n, uint32_t n_groups)
    size_t km_plurality_capacity(const km_mask *masks, size_t n, uint32_t n_groups)
    bint km_plurality(const km_mask *masks, const uint32_t *groups, size_t n, uint32_t n_groups,
                      uint32_t *runs, km_mask *winners, uint64_t *scratch, km_watch *watch)
    void km_centroid(const km_mask *mask, double *x, double *y)
    uint64_t km_box_capacity(km_box box, uint32_t height)
    uint64_t km_shift_capacity(const km_mask *mask, int64_t x, int64_t y, uint32_t height,
                               uint32_t width)
    size_t km_shift(const km_mask *mask, int64_t x, int64_t y, uint32_t height, uint32_t width,
                    uint32_t *runs)
    size_t km_turn(const km_mask *mask, uint32_t *runs)
    uint64_t km_flip_capacity(const km_mask *mask)
    size_t km_flip_rows(const km_mask *mask, uint32_t *runs, uint32_t *scratch)
    uint64_t km_resize_capacity(const km_mask *mask, uint32_t height, uint32_t width,
                                uint32_t *scratch)
    size_t km_resize(const km_mask *mask, uint32_t height, uint32_t width, uint32_t *runs,
                     uint32_t *scratch)

    ctypedef struct km_layer:
        const km_mask *mask
        uint8_t[4] color
        uint8_t opacity
        uint32_t outline

    size_t km_blend_scratch(const km_layer *layers, size_t n)
    size_t km_render_scratch(const km_mask *mask)
    void km_render(const km_mask *mask, const uint8_t *color, uint8_t *pixels, uint64_t *scratch)
    bint km_blend(const km_layer *layers, size_t n, unsigned channels, uint8_t *pixels,
                  ptrdiff_t stride, uint64_t *scratch, size_t words, km_watch *watch)


cdef extern from "simd/simd.h" nogil:
    ctypedef struct km_kernels:
        const char *name

    km_kernels km_simd
    bint km_simd_select(const char *level)


def _select_simd(level):
    """Pick the vector code: "scalar", "avx2", "avx512", or None for the best there is."""
    name = None if level is None else level.encode()
    if not km_simd_select(NULL if name is None else <const char *>name):
        raise ImportError(
            f"KLINGMASK_SIMD={level!r} is none of scalar, avx2, avx512, or not on this machine"
        )
    return km_simd.name.decode()


simd_level = _select_simd(os.environ.get("KLINGMASK_SIMD") or None)


class RLEError(ValueError):
    """A mask that cannot be read, or masks that do not go together.

    Attributes
    ----------
    position : int or None
        Where in the counts the defect shows: the byte of a text, the run of a
        list of run lengths.
    index : int or None
        Which rle of a list it is.
    """

    def __init__(self, message, position=None, index=None):
        super().__init__(message)
        self.position = position
        self.index = index

    def __reduce__(self):
        return type(self), (self.args[0], self.position, self.index)


# Letting go of the GIL and taking it again costs as much as so many bytes of
# work; what is smaller is done with the GIL held.
cdef enum:
    SMALL = 4096


# ---- memory ----

cdef enum:
    BIG = 128 << 10  # bytes; from here on a block may come from the system, by itself


cdef void *_resized(void *memory, size_t n, size_t item) noexcept nogil:
    """The block, or a new one, with room for n items, at least one; NULL if there is none."""
    return PyMem_RawRealloc(memory, max(n, 1) * item) if n <= <size_t>INT64_MAX // item else NULL


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
        """Gives back what is beyond the first n items, unless it is big and half of it is used.

        After a big one that is cut and then freed, glibc has the next one come from the system
        again, page by page, which takes several times as long as to read texts into it. A block
        that grew by doubling is never cut for that reason. What cannot be given back is kept.
        """
        if self.size < BIG or n * item < self.size // 2:
            self.try_resize(n, item)


cdef _Memory _new_memory(size_t n, size_t item):
    cdef _Memory memory = _Memory.__new__(_Memory)
    memory.data = _allocate(n, item)
    memory.size = n * item
    return memory


cdef _Memory _NOTHING = _new_memory(0, 1)


# Working memory of one call. Up to 4 KiB of it lie on the stack: for a tiny mask, asking for
# memory is a fifth of the time. Never copy one: `data` may point into the struct itself.
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


# ---- the pixel limit ----

cdef enum:
    DEFAULT_MAX_PIXELS = 1 << 28

cdef uint64_t _max_pixels = DEFAULT_MAX_PIXELS


def get_max_pixels():
    """The most pixels that one mask may have to be decoded, or None for no limit.

    Returns
    -------
    int or None
        268435456 (2**28) unless set_max_pixels() changed it.
    """
    return None if _max_pixels == <uint64_t>-1 else _max_pixels


def set_max_pixels(limit):
    """Set the most pixels that one mask may have to be decoded.

    A few bytes of counts can claim an image of gigabytes. Whatever allocates
    pixels (decode, to_numpy, to_png, render_layer) refuses a mask of more than
    `limit` pixels; what works on runs, or writes into the caller's `out`,
    does not need to. A box, or a mask that is moved, flipped or resized, may
    have many runs where there were few: up to about 2**28 (1 GiB), or `limit`
    if that is more.

    Parameters
    ----------
    limit : int or None
        Pixels, height x width, of a single mask; None for no limit. Holds for
        the whole process.

    Raises
    ------
    RLEError
        If `limit` is negative.
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


cdef _Memory _new_runs(uint64_t n, uint64_t given):
    """Room for n runs of a result, unless they are too many and more than twice those given.

    An image has as many pixels as a mask of it has runs, or nearly, so the limit is the same.
    """
    cdef uint64_t limit = max(_max_pixels, DEFAULT_MAX_PIXELS)
    if n > limit and n > 2 * given:
        raise RLEError(
            f"the result would have up to {n} runs, over the limit of {limit}; if you trust where "
            "they come from, raise the limit with klingmask.set_max_pixels()"
        )
    if n > <size_t>-1:
        raise MemoryError(f"no memory for {n} runs")
    return _new_memory(<size_t>n, sizeof(uint32_t))


# ---- reading ----

cdef inline object _integer(object value, str name):
    """`value` as an int; numpy integers too, bool and float not."""
    return value if type(value) is int else _other_integer(value, name)


cdef object _other_integer(object value, str name):
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {_shown(value)}")
    return int.__index__(operator.index(value))  # plain: a subclass could run code of its own


def _shown(value):
    """A value as error messages show it: its repr, but short.

    Python refuses to write integers of more than 4,300 digits; those are given as a power of 2.
    """
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return f"{'-' if value < 0 else ''}2**{abs(value).bit_length() - 1} or more"
    try:
        text = repr(value)
    except Exception:  # such an integer inside of a list, or a repr of the caller's own
        return f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:197]}..."


cdef object _too_large(object h, object w):
    return RLEError(
        f"size ({_shown(h)}, {_shown(w)}) has {_shown(h * w)} pixels; the format ends at 2**32 - 1"
    )


cdef int _read_size(object size, uint32_t *height, uint32_t *width) except -1:
    if type(size) is not list and not isinstance(size, (list, tuple, cnp.ndarray)):
        raise TypeError(f"size must be (height, width), got {_shown(size)}")
    if len(size) != 2:
        raise RLEError(f"size must be (height, width), got {_shown(size)}")
    h, w = size
    h, w = _integer(h, "height"), _integer(w, "width")
    cdef int too_high = 0, too_wide = 0
    cdef int64_t high = PyLong_AsLongLongAndOverflow(h, &too_high)
    cdef int64_t wide = PyLong_AsLongLongAndOverflow(w, &too_wide)
    if (high < 0 or wide < 0 or high > UINT32_MAX or wide > UINT32_MAX
            or <uint64_t>high * <uint64_t>wide > UINT32_MAX):  # any overflow is -1
        if h < 0 or w < 0:
            raise RLEError(f"size must not be negative, got ({_shown(h)}, {_shown(w)})")
        raise _too_large(h, w)
    height[0] = <uint32_t>high
    width[0] = <uint32_t>wide
    return 0


cdef object _run_lengths(object counts):
    """A list of run lengths as a contiguous uint32 array."""
    try:
        lengths = np.asarray(counts)
    except ValueError:
        lengths = np.empty((0, 0))  # ragged: more than one axis, whatever it is
    if lengths.ndim == 0:
        raise TypeError(
            f"counts must be a str, bytes or a list of run lengths, got {type(counts).__name__}"
        )
    if lengths.ndim > 1:
        raise RLEError("counts must be a flat list of run lengths")
    if lengths.size == 0:
        return np.empty(0, np.uint32)
    if lengths.dtype.kind not in "iu" or lengths.min() < 0 or lengths.max() > UINT32_MAX:
        for at, run in enumerate(counts):
            run = _integer(run, f"run {at}")
            if not 0 <= run <= UINT32_MAX:
                raise RLEError(f"run {at}: a run of {_shown(run)} pixels", position=at)
    return np.array(lengths, np.uint32)  # a copy: nobody else can change it meanwhile


cdef object _entry(object rle, str key):
    """What a mapping has under the key."""
    if type(rle) is dict:
        value = get_item(rle, key, None)
        if value is not None:
            return value
    try:
        return rle[key]
    except KeyError:
        hint = "; pass its 'rle_mask'" if "rle_mask" in rle else ""
        raise RLEError(
            f"an rle needs the keys 'size' and 'counts'; {key!r} is missing{hint}"
        ) from None


_FOR_PIXELS = "; Mask.from_numpy(array) and MaskArray.from_numpy(stack) take pixels"


cdef object _read_source(object rle, km_source *source):
    """Points `source` at the rle's counts, which live as long as what is returned."""
    cdef cnp.ndarray lengths
    source.chars = NULL
    source.lengths = NULL
    if isinstance(rle, Mask):
        source.lengths = (<Mask>rle).c.runs
        source.length = (<Mask>rle).c.n_runs
        source.height = (<Mask>rle).c.height
        source.width = (<Mask>rle).c.width
        return rle
    if type(rle) is not dict and not isinstance(rle, (dict, Mapping)):
        raise TypeError(
            "an rle is a dict with the keys 'size' and 'counts', or a Mask; "
            f"got {type(rle).__name__}{_FOR_PIXELS if isinstance(rle, np.ndarray) else ''}"
        )
    counts = _entry(rle, "counts")
    _read_size(_entry(rle, "size"), &source.height, &source.width)
    if isinstance(counts, str):
        if not PyUnicode_IS_ASCII(counts):
            at = next(i for i, character in enumerate(counts) if not character.isascii())
            raise RLEError(
                f"byte {at}: the character {counts[at]!r} is outside 48..111 ('0'..'o')",
                position=at,
            )
        source.chars = <const char *>PyUnicode_DATA(counts)
        source.length = PyUnicode_GET_LENGTH(counts)
        return counts
    if isinstance(counts, (bytearray, memoryview)):
        counts = bytes(counts)
    if isinstance(counts, bytes):
        source.chars = PyBytes_AS_STRING(counts)
        source.length = PyBytes_GET_SIZE(counts)
        return counts
    lengths = _run_lengths(counts)
    source.lengths = <const uint32_t *>cnp.PyArray_DATA(lengths)
    source.length = cnp.PyArray_DIM(lengths, 0)
    return lengths


cdef object _explain(const km_failure *failure, const km_source *source):
    """The RLEError for what km_read found."""
    pixels = f"{source.height} x {source.width} = {<uint64_t>source.height * source.width}"
    if failure.fault == KM_BAD_CHARACTER:
        reason = f"the character {chr(failure.value)!r} is outside 48..111 ('0'..'o')"
    elif failure.fault == KM_CUT_CODE:
        reason = "the text ends inside a code"
    elif failure.fault == KM_LONG_CODE:
        reason = "a code with more characters than its run needs"
    elif failure.fault == KM_NEGATIVE_RUN:
        reason = f"a run of {failure.value} pixels"
    elif failure.fault == KM_OVERSHOOT:
        reason = f"the runs add up to {failure.value}, past the {pixels} pixels of size"
    else:
        reason = (
            f"the counts end with {failure.value} of the {pixels} pixels of size; "
            "strict=False would take the missing tail as background"
        )
    unit = "run" if source.chars is NULL else "byte"
    return RLEError(f"{unit} {failure.position}: {reason}", position=failure.position)


cdef _Memory _read_one(object rle, bint strict, km_mask *mask):
    """Fills `mask` from the rle; the runs live in what is returned."""
    cdef km_source source
    cdef km_failure failure
    cdef uint64_t area
    cdef bint fine
    keep = _read_source(rle, &source)
    cdef _Memory memory = _new_memory(
        km_read_capacity(&source) + KM_READ_SLACK, sizeof(uint32_t)
    )
    if source.length <= SMALL:
        fine = km_read(&source, strict, memory.runs(), mask, &area, &failure)
    else:
        with nogil:
            fine = km_read(&source, strict, memory.runs(), mask, &area, &failure)
    if not fine:
        raise _explain(&failure, &source)
    return memory


@cython.final
cdef class _Sources:
    """The rles of a batch, as the core takes them; keeps their counts alive."""

    cdef km_source *items
    cdef list keep
    cdef size_t n
    cdef km_batch batch

    def __dealloc__(self):
        PyMem_RawFree(self.items)

    cdef object explain(self, const km_failure *failure):
        return _at(failure.source, _explain(failure, &self.items[failure.source]))


cdef object _at(size_t i, error):
    """The same error, said of an rle of a batch."""
    if isinstance(error, RLEError):
        return RLEError(f"rles[{i}]: {error}", position=error.position, index=i)
    return TypeError(f"rles[{i}]: {error}")


cdef _Sources _read_sources(object rles):
    if type(rles) is not list and (
        isinstance(rles, (str, bytes, Mapping)) or not hasattr(rles, "__iter__")
    ):
        raise TypeError(f"a list of rles was expected, got {type(rles).__name__}")
    cdef list items = list(rles)  # of our own: nobody else can change it meanwhile
    cdef _Sources sources = _Sources.__new__(_Sources)
    cdef size_t i = 0
    sources.items = <km_source *>_allocate(len(items), sizeof(km_source))
    sources.keep = items
    sources.n = len(items)
    try:
        for rle in items:
            items[i] = _read_source(rle, &sources.items[i])
            i += 1
    except (RLEError, TypeError) as error:
        raise _at(i, error) from None
    sources.batch = km_survey(sources.items, sources.n)
    return sources


cdef _Memory _read_all(_Sources sources, bint strict, km_mask *masks):
    """Fills `masks` from the sources; the runs live in what is returned."""
    cdef size_t n_runs = 0
    cdef km_failure failure
    cdef _Memory memory = _new_memory(sources.batch.total + KM_READ_SLACK, sizeof(uint32_t))
    cdef bint fine
    with nogil:
        fine = km_read_all(
            sources.items, sources.n, strict, memory.runs(), &n_runs, masks, &failure
        )
    if not fine:
        raise sources.explain(&failure)
    memory.cut(n_runs, sizeof(uint32_t))
    km_lay_out(masks, sources.n, memory.runs())
    return memory


cdef object _measure(object rles, bint areas):
    """The area or the bounding box of every rle, read one by one into the same memory."""
    cdef _Sources sources = _read_sources(rles)
    cdef cnp.npy_intp[2] shape = [sources.n, 4]
    cdef cnp.ndarray numbers = cnp.PyArray_EMPTY(1 if areas else 2, shape, cnp.NPY_INT64, False)
    cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(numbers)
    cdef _Memory memory = _new_memory(sources.batch.largest + KM_READ_SLACK, sizeof(uint32_t))
    cdef km_failure failure
    cdef bint fine
    with nogil:
        fine = km_measure(sources.items, sources.n, memory.runs(), row if areas else NULL,
                          NULL if areas else row, &failure)
    if not fine:
        raise sources.explain(&failure)
    return numbers


# ---- interrupts and threads ----

@cython.final
cdef class _Interrupt:
    """Whether the calls that share it are to stop: set when one of several threads fails."""

    cdef bint stopped


cdef bint _should_stop(void *interrupt) noexcept with gil:
    """What the core asks in long calls: whether Ctrl-C was pressed, or another thread failed."""
    return (<_Interrupt>interrupt).stopped or PyErr_CheckSignals() != 0


cdef km_watch _watch(_Interrupt interrupt):
    """What the core takes, for one call in one thread."""
    return km_watch(_should_stop, <void *>interrupt, 0)


cdef int _raise_stopped() except -1:
    """Raises what the signal's handler raised; in a thread that was told to stop, a plain error."""
    if PyErr_Occurred() is NULL:
        raise KeyboardInterrupt
    return -1


cdef object _check_threads(object threads):
    """The number as a plain int."""
    threads = _integer(threads, "threads")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {_shown(threads)}")
    return threads


cdef list _in_threads(object work, size_t n, object threads):
    """What `work(interrupt, part)` gives for each of the slices of range(n), one a thread."""
    from concurrent.futures import ThreadPoolExecutor  # a millisecond that few need

    shares = max(1, min(threads, n))
    ends = [n * share // shares for share in range(shares + 1)]
    cdef _Interrupt interrupt = _Interrupt()
    with ThreadPoolExecutor(shares) as pool:
        try:
            return list(pool.map(partial(work, interrupt), map(slice, ends[:-1], ends[1:])))
        except BaseException:
            interrupt.stopped = True  # so that the threads do not work on for nothing
            raise


# ---- stacks of images ----

# As the core takes them.
cdef struct _Stack:
    uint8_t *pixels
    size_t n
    ptrdiff_t step  # bytes from image to image
    ptrdiff_t down  # from row to row
    bint columns    # they are column-major
    uint32_t height
    uint32_t width


cdef bint _as_stack(cnp.ndarray array, _Stack *stack) noexcept:
    """Points `stack` at bytes (h, w) or (n, h, w); False if the core cannot walk through them."""
    cdef int axis = cnp.PyArray_NDIM(array) - 2
    cdef ptrdiff_t down = cnp.PyArray_STRIDE(array, axis)
    cdef ptrdiff_t across = cnp.PyArray_STRIDE(array, axis + 1)
    stack.pixels = <uint8_t *>cnp.PyArray_DATA(array)
    stack.n = cnp.PyArray_DIM(array, 0) if axis else 1
    stack.step = cnp.PyArray_STRIDE(array, 0) if axis else 0
    stack.down = down
    stack.height = <uint32_t>cnp.PyArray_DIM(array, axis)
    stack.width = <uint32_t>cnp.PyArray_DIM(array, axis + 1)
    stack.columns = (
        (down == 1 or stack.height == 1) and (across == stack.height or stack.width == 1)
    )
    return stack.columns or across == 1 or stack.width == 1 or cnp.PyArray_SIZE(array) == 0


# ---- pixels out ----

# What is painted: masks, or if that is NULL, sources that are still to be read. And how.
cdef struct _Painting:
    const km_mask *masks
    const km_source *sources
    bint strict
    uint8_t value
    bint cleared  # all pixels are 0 before
    km_target target


cdef bint _paint_stack(const _Painting *what, const _Stack *stack, uint32_t *runs,
                       uint64_t *scratch, km_failure *failure) noexcept nogil:
    """Paints a mask for each image; False if a source is not well-formed."""
    cdef uint8_t *pixels = stack.pixels
    cdef km_mask mask
    cdef uint64_t area
    cdef size_t i = 0
    while i < stack.n:
        if what.masks is not NULL:
            mask = what.masks[i]
        elif not km_read(&what.sources[i], what.strict, runs, &mask, &area, failure):
            failure.source = i
            return False
        if stack.columns:
            km_decode_columns(&mask, what.value, what.target, pixels)
        else:
            km_decode_rows(
                &mask, what.value, what.cleared, what.target, pixels, stack.down, scratch
            )
        pixels += stack.step
        i += 1
    return True


cdef int _paint(_Painting what, _Sources sources, size_t first, cnp.ndarray out) except -1:
    """Decodes into `out`, uint8 or bool of shape (h, w), or (n, h, w), any strides.

    Without masks, from the sources, from `first` on.
    """
    cdef _Stack stack
    cdef km_failure failure
    cdef bint fine
    cdef _Memory runs = None
    cdef uint32_t *read = NULL
    cdef _Scratch scratch
    cdef size_t size = cnp.PyArray_SIZE(out), work = size, words = 0
    if not _as_stack(out, &stack):
        contiguous = np.empty((<object>out).shape, out.dtype)
        _paint(what, sources, first, contiguous)
        out[...] = contiguous
        return 0
    if what.masks is NULL:
        what.sources = sources.items + first
        runs = _new_memory(sources.batch.largest + KM_READ_SLACK, sizeof(uint32_t))
        read = runs.runs()
        work += sources.batch.total
    if size > 0 and not stack.columns:
        words = km_decode_rows_scratch(stack.height, stack.width)
    _reserve(&scratch, words, sizeof(uint64_t))
    if work <= SMALL:
        fine = _paint_stack(&what, &stack, read, scratch.data, &failure)
    else:
        with nogil:
            fine = _paint_stack(&what, &stack, read, scratch.data, &failure)
    _release(&scratch)
    if not fine:
        failure.source += first
        raise sources.explain(&failure)
    return 0


def _paint_part(many, bint strict, uint8_t value, bint cleared, km_target target, cnp.ndarray out,
                interrupt, part):
    """Paints a slice of a MaskArray or of _Sources, as one of several threads."""
    cdef MaskArray own
    cdef _Sources sources = None
    cdef _Painting what = [NULL, NULL, strict, value, cleared, target]
    if isinstance(many, _Sources):
        sources = many
    else:
        own = many[part]
        what.masks = own.items()
    _paint(what, sources, part.start, out[part])


cdef object _other_size(const km_mask *first, uint32_t height, uint32_t width, size_t i):
    return RLEError(
        f"the masks must have one size: mask 0 has ({first.height}, {first.width}), "
        f"mask {i} has ({height}, {width})",
        index=i,
    )


cdef int _require_one_size(const km_mask *masks, size_t n) except -1:
    cdef size_t i = km_count_same_size(masks, n)
    if i < n:
        raise _other_size(masks, masks[i].height, masks[i].width, i)
    return 0


cdef int _pixel_type(object dtype) except -1:
    """The type number of uint8 or bool, however it is named."""
    if dtype == "uint8":  # by far the most common
        return cnp.NPY_UINT8
    dtype = np.dtype(dtype)
    if dtype == np.uint8:
        return cnp.NPY_UINT8
    if dtype == np.bool_:
        return cnp.NPY_BOOL
    raise TypeError(f"dtype must be uint8 or bool, got {dtype}")


cdef enum:
    NEAR = 512 << 10  # bytes that a core's own cache holds
    LARGE = 24 << 20  # bytes that fill its caches
    FRESH = 32 << 20  # bytes that come from the system each time: 0, and free until written to


cdef cnp.ndarray _new_pixels(const km_mask *masks, size_t n, bint stacked, bint columns, int type_,
                             bint cleared):
    """An array for the pixels of one mask, or of n stacked, each in the order."""
    cdef cnp.npy_intp[3] shape = [n, 0, 0]
    if n:
        _check_pixel_limit(masks)
        shape[1], shape[2] = masks.height, masks.width
    if not stacked:
        if cleared:
            return cnp.PyArray_ZEROS(2, &shape[1], type_, columns)
        return cnp.PyArray_EMPTY(2, &shape[1], type_, columns)
    if not columns:
        if cleared:
            return cnp.PyArray_ZEROS(3, shape, type_, False)
        return cnp.PyArray_EMPTY(3, shape, type_, False)
    shape[1], shape[2] = shape[2], shape[1]
    return cnp.PyArray_EMPTY(3, shape, type_, False).swapaxes(1, 2)


cdef cnp.ndarray _plain(object array):
    """An array as numpy's own kind of it: what a subclass says of itself is not believed."""
    if cnp.PyArray_CheckExact(array):
        return array
    return np.asarray(array)


cdef cnp.ndarray _check_out(object given, const km_mask *masks, size_t n, bint stacked):
    """The array to write to, as a view of our own: another thread may reshape the caller's."""
    if not isinstance(given, np.ndarray):
        raise TypeError(f"out must be a uint8 or bool array, got {type(given).__name__}")
    cdef object out = _plain(given).view()
    if out.dtype not in (np.uint8, np.bool_):
        raise TypeError(f"out must be a uint8 or bool array, got {out.dtype}")
    shape = out.shape[-2:]  # no masks go into any
    if n:
        shape = (masks.height, masks.width)
    if stacked:
        shape = (n, *shape)
    if out.shape != shape:
        raise RLEError(f"out must have the shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise RLEError("out is read-only")
    return out


cdef object _decode(const km_mask *masks, size_t n, object many, object order, object dtype,
                    object value, object out, object threads=1, bint strict=True):
    """The pixels of one mask, or of n stacked, in a new array or in `out`.

    `many` is the MaskArray of the n masks, or the _Sources to read them from, and then
    the first mask need only have a size; None for one mask.
    """
    cdef bint columns = order == "F", stacked = many is not None, new = out is None
    cdef uint64_t size = n * km_pixels(masks) if n else 0
    cdef bint fresh = new and size >= FRESH
    cdef _Painting what = [NULL, NULL, strict, 1, False, KM_TO_SHARED]
    if size <= NEAR:
        what.target = KM_TO_CORE
    elif size >= LARGE and not fresh:  # the system has just brought fresh pages into the caches
        what.target = KM_TO_MEMORY
    threads = _check_threads(threads)
    value = _integer(value, "value")
    if not columns and order != "C":
        raise ValueError(f"order must be 'C' or 'F', got {_shown(order)}")
    cdef cnp.ndarray pixels  # looked at last: from here on no code of the caller's runs
    if new:
        # What is near, the core clears faster than the system's memory comes cleared.
        what.cleared = not columns and (
            fresh if stacked else size > NEAR and km_is_narrow(masks)
        )
        pixels = _new_pixels(masks, n, stacked, columns, _pixel_type(dtype), what.cleared)
    else:
        pixels = _check_out(out, masks, n, stacked)
    what.value = _check_value(value, pixels)
    if stacked and threads != 1:
        part = partial(_paint_part, many, strict, what.value, what.cleared, what.target, pixels)
        _in_threads(part, n, threads)
    elif isinstance(many, _Sources):
        _paint(what, many, 0, pixels)
    else:
        what.masks = masks
        _paint(what, None, 0, pixels)
    return pixels if new else out


cdef object _decode_all(object rles, object order, object dtype, object value, object out,
                        object threads, bint strict):
    """A list of rles, stacked: each is read just before it is painted."""
    cdef _Sources sources = _read_sources(rles)
    cdef km_mask first
    cdef km_source *other
    if sources.n:
        first.height, first.width = sources.items.height, sources.items.width
    if sources.batch.same < sources.n:
        other = &sources.items[sources.batch.same]
        raise _other_size(&first, other.height, other.width, sources.batch.same)
    return _decode(&first, sources.n, sources, order, dtype, value, out, threads, strict)


cdef int _check_value(object value, cnp.ndarray out) except -1:
    if not 0 <= value <= (1 if cnp.PyArray_TYPE(out) == cnp.NPY_BOOL else 255):
        raise RLEError(f"value {_shown(value)} does not fit {out.dtype}")
    return value


# ---- pixels in ----

cdef cnp.ndarray _foreground(object array, int ndim):
    """`array` with bytes that are non-zero for foreground, without a copy if it can be."""
    cdef cnp.ndarray pixels = _plain(array)
    if cnp.PyArray_NDIM(pixels) != ndim:
        shape = "(height, width)" if ndim == 2 else "(n, height, width)"
        raise RLEError(f"the array must have the shape {shape}, got {(<object>pixels).shape}")
    cdef int type_ = cnp.PyArray_TYPE(pixels)
    if type_ == cnp.NPY_BOOL or type_ == cnp.NPY_UINT8 or type_ == cnp.NPY_INT8:
        return pixels
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"the array must be of bool, integers or floats, got {pixels.dtype}")
    return pixels.astype(bool)


cdef size_t _scratch_words(const _Stack *stack) noexcept nogil:
    if stack.columns:
        return km_scan_columns_scratch(stack.height, stack.width)
    return km_scan_rows_scratch(stack.height, stack.width)


cdef bint _encode_stack(const _Stack *stack, uint64_t *scratch, km_mask *masks,
                        _Memory memory) noexcept nogil:
    """Fills `masks` and `memory`; False if there is not memory enough."""
    cdef const uint8_t *pixels = stack.pixels
    cdef size_t used = 0, capacity = 0, n_runs, i = 0
    while i < stack.n:
        if stack.columns:
            n_runs = km_scan_columns(pixels, stack.height, stack.width, scratch)
        else:
            n_runs = km_scan_rows(pixels, stack.down, stack.height, stack.width, scratch)
        if used + n_runs > capacity:
            capacity = max(used + n_runs, 2 * capacity)
            if not memory.try_resize(capacity, sizeof(uint32_t)):
                return False
        if stack.columns:
            km_runs_columns(scratch, stack.height, stack.width, memory.runs() + used)
        else:
            km_runs_rows(scratch, stack.height, stack.width, memory.runs() + used)
        masks[i].n_runs = n_runs
        masks[i].height = stack.height
        masks[i].width = stack.width
        used += n_runs
        pixels += stack.step
        i += 1
    if memory.data is NULL and not memory.try_resize(0, sizeof(uint32_t)):  # no images
        return False
    memory.cut(used, sizeof(uint32_t))
    km_lay_out(masks, stack.n, memory.runs())
    return True


cdef _Memory _encode(cnp.ndarray array, km_mask *masks):
    """Fills `masks` from bytes (h, w) or (n, h, w); the runs live in what is returned."""
    cdef int axis = cnp.PyArray_NDIM(array) - 2
    cdef cnp.npy_intp high = cnp.PyArray_DIM(array, axis), wide = cnp.PyArray_DIM(array, axis + 1)
    if high > UINT32_MAX or wide > UINT32_MAX or <uint64_t>high * <uint64_t>wide > UINT32_MAX:
        raise _too_large(high, wide)
    cdef _Stack stack
    cdef bint fine
    if not _as_stack(array, &stack):
        array = np.ascontiguousarray(array)
        _as_stack(array, &stack)
    cdef _Memory memory = _Memory.__new__(_Memory)
    cdef _Scratch scratch
    _reserve(&scratch, _scratch_words(&stack), sizeof(uint64_t))
    if cnp.PyArray_SIZE(array) <= SMALL:
        fine = _encode_stack(&stack, scratch.data, masks, memory)
    else:
        with nogil:
            fine = _encode_stack(&stack, scratch.data, masks, memory)
    _release(&scratch)
    if not fine:
        raise MemoryError("no memory for the runs of the masks")
    return memory


# ---- one mask ----

cdef Mask _new_mask(const km_mask *c, _Memory memory):
    """A mask whose runs live in `memory`."""
    cdef Mask mask = Mask.__new__(Mask)
    mask.c = c[0]
    mask.memory = memory
    return mask


cdef Mask _own(_Memory memory, size_t n_runs, uint32_t height, uint32_t width):
    """A mask of the first runs in `memory`, which it cuts."""
    cdef km_mask c
    memory.cut(n_runs, sizeof(uint32_t))
    c.runs = memory.runs()
    c.n_runs = n_runs
    c.height = height
    c.width = width
    return _new_mask(&c, memory)


cdef object _area(const km_mask *mask):
    cdef uint64_t area
    if mask.n_runs <= SMALL:
        return km_area(mask)
    with nogil:
        area = km_area(mask)
    return area


cdef tuple _bbox(const km_mask *mask):
    cdef km_box box
    if mask.n_runs <= SMALL:
        box = km_bounds(mask)
    else:
        with nogil:
            box = km_bounds(mask)
    return box.x, box.y, box.width, box.height


cdef unicode _format(const km_mask *mask):
    """The counts text."""
    cdef size_t length
    cdef _Scratch scratch
    _reserve(&scratch, km_format_capacity(mask.n_runs), 1)
    cdef char *chars = <char *>scratch.data
    if mask.n_runs <= SMALL:
        length = km_format(mask.runs, mask.n_runs, chars)
    else:
        with nogil:
            length = km_format(mask.runs, mask.n_runs, chars)
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
    _require_one_size(masks, 2)
    cdef _Memory memory = _new_memory(a.c.n_runs + b.c.n_runs, sizeof(uint32_t))
    cdef size_t n
    with nogil:
        n = km_combine(operation, &masks[0], &masks[1], memory.runs())
    return _own(memory, n, a.c.height, a.c.width)


cdef object _operate(km_operation operation, Mask mask, object other):
    """`mask <operator> other`."""
    if isinstance(other, Mask):
        return _combine(operation, mask, other)
    if isinstance(other, np.ndarray):
        raise TypeError(f"a mask and an array do not go together{_FOR_PIXELS}")
    return NotImplemented


cdef int64_t _near(object value, str name) except? -1:
    """An integer, no further from 0 than an image can reach."""
    return min(max(_integer(value, name), -(1 << 33)), 1 << 33)


cdef Mask _shifted(Mask mask, object x, object y, object height, object width):
    """What a frame with its corner at (x, y) shows of the mask."""
    cdef uint32_t high, wide
    cdef int64_t left = _near(x, "x"), top = _near(y, "y")
    cdef size_t n
    cdef uint64_t capacity
    _read_size((height, width), &high, &wide)
    with nogil:
        capacity = km_shift_capacity(&mask.c, left, top, high, wide)
    cdef _Memory memory = _new_runs(capacity, mask.c.n_runs)
    with nogil:
        n = km_shift(&mask.c, left, top, high, wide, memory.runs())
    return _own(memory, n, high, wide)


def _render(Mask mask not None, color):
    """The mask as RGBA pixels (h, w, 4): the color (4 numbers), all 0 elsewhere."""
    _check_pixel_limit(&mask.c)
    cdef uint8_t[4] channels = color
    cdef cnp.ndarray layer = np.empty((mask.c.height, mask.c.width, 4), np.uint8)
    cdef _Memory scratch
    cdef size_t words
    with nogil:
        words = km_render_scratch(&mask.c)
    scratch = _new_memory(words, sizeof(uint64_t))
    with nogil:
        km_render(&mask.c, channels, <uint8_t *>cnp.PyArray_DATA(layer), <uint64_t *>scratch.data)
    return layer


def _blend(cnp.ndarray pixels not None, list layers not None):
    """Lays (mask, (red, green, blue, alpha), opacity, outline) over the pixels.

    They are (h, w, 3 or 4) uint8, each pixel's bytes and each row's pixels
    together; the masks are of that size, the numbers checked.
    """
    cdef size_t n = len(layers), i = 0, words
    cdef unsigned channels = cnp.PyArray_DIM(pixels, 2)
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef bint done
    cdef km_layer *items = <km_layer *>_allocate(n, sizeof(km_layer))
    cdef _Memory scratch
    cdef Mask mask
    try:
        for mask, color, opacity, outline in layers:
            items[i].mask = &mask.c
            items[i].color = color
            items[i].opacity = opacity
            items[i].outline = outline
            i += 1
        with nogil:
            words = km_blend_scratch(items, n)
        scratch = _new_memory(words, sizeof(uint64_t))
        with nogil:
            done = km_blend(items, n, channels, <uint8_t *>cnp.PyArray_DATA(pixels),
                            cnp.PyArray_STRIDE(pixels, 0), <uint64_t *>scratch.data, words, &watch)
        if not done:
            _raise_stopped()
    finally:
        PyMem_RawFree(items)


def _plurality(MaskArray masks not None, cnp.ndarray groups not None, uint32_t n_groups):
    """The pixels where each group has more masks than any other, as a MaskArray.

    `groups` has the group of each mask, uint32, one after the other in memory; of groups with as
    many masks, the one with the largest number wins.
    """
    _require_one_size(masks.items(), masks.n)
    cdef const uint32_t *group = <const uint32_t *>cnp.PyArray_DATA(groups)
    cdef MaskArray winners = _new_mask_array(n_groups)
    cdef size_t capacity = km_plurality_capacity(masks.items(), masks.n, n_groups)
    cdef size_t words = km_plurality_scratch(masks.items(), masks.n, n_groups)
    cdef _Memory scratch = _new_memory(words, sizeof(uint64_t))
    winners.memory = _new_memory(capacity, sizeof(uint32_t))
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef bint done
    with nogil:
        done = km_plurality(masks.items(), group, masks.n, n_groups, winners.memory.runs(),
                            winners.items(), <uint64_t *>scratch.data, &watch)
    if not done:
        _raise_stopped()
    return winners


cdef uint32_t _NO_RUN = 0


@cython.final
cdef class Mask:
    """One binary mask, kept as run lengths: an immutable value.

    Made by `from_rle`, `from_numpy`, `from_bbox`, `from_png` or `zeros`.
    Masks of one size combine with ``| & - ^ ~``; ``==``, ``hash``, pickle and
    copy work as on any value; ``(x, y) in mask`` tells a pixel's colour and
    ``bool(mask)`` whether there is any foreground.
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
            ``{"size": [h, w], "counts": ...}``, where counts is the text of
            the COCO data set (str or bytes) or a list of run lengths, going
            down the columns and starting with background.
        strict : bool
            False takes a missing tail as background and codes that are longer
            than need be, as the sample code of Kling's API reference does.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the counts are not well-formed or do not fill the size; the
            message names the byte.
        TypeError
            If something is of the wrong type.
        """
        if isinstance(rle, Mask):
            return rle
        cdef km_mask c
        cdef _Memory memory = _read_one(rle, strict, &c)
        return _own(memory, c.n_runs, c.height, c.width)

    @staticmethod
    @cython.binding(True)
    def from_numpy(array):
        """Take the non-zero pixels of an image as foreground.

        Parameters
        ----------
        array : array_like, shape (h, w)
            Of any bool, integer or float dtype, memory order and strides; NaN
            is foreground.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the array is not two-dimensional or has 2**32 pixels or more.
        TypeError
            If it is of another dtype.
        """
        cdef km_mask c
        cdef _Memory memory = _encode(_foreground(array, 2), &c)
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
            ``(x, y, w, h)`` in pixels; what lies outside the image is cut off.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the size, or the box's width or height, is negative, or the mask would have
            more runs than `set_max_pixels` allows.
        TypeError
            If anything is not an integer.
        """
        cdef uint32_t height, width
        cdef km_box box
        cdef size_t n
        _read_size(size, &height, &width)
        if len(bbox) != 4:
            raise RLEError(f"bbox must be (x, y, w, h), got {_shown(bbox)}")
        x, y, w, h = (_integer(value, "each of bbox (x, y, w, h)") for value in bbox)
        if w < 0 or h < 0:
            raise RLEError(
                "bbox must not have a negative width or height, got "
                f"({', '.join(map(_shown, (x, y, w, h)))})"
            )
        left, right = min(max(x, 0), width), min(max(x + w, 0), width)
        top, bottom = min(max(y, 0), height), min(max(y + h, 0), height)
        box.x, box.y, box.width, box.height = left, top, right - left, bottom - top
        cdef _Memory memory = _new_runs(km_box_capacity(box, height), 0)
        with nogil:
            n = km_box_runs(box, height, width, memory.runs())
        return _own(memory, n, height, width)

    @staticmethod
    @cython.binding(True)
    def zeros(size):
        """A mask without foreground.

        Parameters
        ----------
        size : (int, int)
            Height and width of the image.

        Returns
        -------
        Mask
        """
        return Mask.from_bbox(size, (0, 0, 0, 0))

    @staticmethod
    @cython.binding(True)
    def from_png(source):
        """Read a PNG; pixels that are neither black nor clear are foreground.

        Needs the extra ``image``.

        Parameters
        ----------
        source : bytes or path
            The PNG's content, or where it is. Greyscale of any depth, palette
            (index 0 is background), RGB, and either with an alpha channel.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If it is not a PNG, is damaged, or has more pixels than
            `set_max_pixels` allows.
        """
        from klingmask.png import read_png  # the one thing here that needs Pillow

        return Mask.from_numpy(read_png(source))

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
        """(float, float): the mean x and y of the foreground, pixel centres at 0.5.

        (0.0, 0.0) for an empty mask.
        """
        cdef double x, y
        with nogil:
            km_centroid(&self.c, &x, &y)
        return x, y

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
        """The mask as ``{"size": [h, w], "counts": str}``, ready for JSON.

        Returns
        -------
        dict
        """
        return _to_rle(&self.c)

    def to_numpy(self, order="C", dtype="uint8", value=1, out=None):
        """Decode into pixels.

        Parameters
        ----------
        order : {"C", "F"}
            Memory order of the new array: rows or columns together.
        dtype : {"uint8", "bool"}
            Of the new array.
        value : int
            What foreground becomes, up to 255 for uint8; background is 0.
        out : ndarray, shape (h, w), optional
            Decode into this uint8 or bool array instead, whatever its order
            and strides; `order` and `dtype` then say nothing.

        Returns
        -------
        ndarray, shape (h, w)
            `out` if it was given.

        Raises
        ------
        RLEError
            If the mask has more pixels than `set_max_pixels` allows (and `out`
            is not given), or `out` has the wrong shape or is read-only.
        """
        return _decode(&self.c, 1, None, order, dtype, value, out)

    def __array__(self, dtype=None, copy=None):
        kind = np.dtype(bool if dtype is None else dtype)
        if kind == object:  # np.array([mask, mask], dtype=object) keeps masks
            held = np.empty((), object)
            held[()] = self
            return held
        if copy is False:
            raise ValueError("a Mask holds runs; its pixels are always a new array")
        pixels = self.to_numpy(dtype="bool")  # so that frame[mask] picks the foreground
        return pixels.astype(kind, copy=False)

    def to_png(self):
        """The mask as a greyscale PNG, foreground 255.

        Needs the extra ``image``.

        Returns
        -------
        bytes
        """
        from klingmask.png import write_png

        return write_png(self.to_numpy(value=255))

    def _repr_png_(self):
        """What a notebook shows, or None (then it shows the repr)."""
        try:
            return self.to_png()
        except (ImportError, RLEError):
            return None

    def iou(self, Mask other not None):
        """Intersection over union; 0.0 if both masks are empty.

        Parameters
        ----------
        other : Mask
            Of the same size.

        Returns
        -------
        float
        """
        cdef km_mask[2] masks = [self.c, other.c]
        cdef km_shape[2] shapes
        cdef double iou
        _require_one_size(masks, 2)
        with nogil:
            km_iou_prepare(&masks[0], 1, &masks[1], 1, shapes)
            km_iou(shapes, 1, 1, NULL, &iou, NULL)
        return iou

    def resize(self, height, width):
        """The mask on a grid of another size, by nearest neighbour.

        Pixel (x, y) of the result shows pixel (x * w // width, y * h // height).

        Parameters
        ----------
        height, width : int

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If a size is negative or has 2**32 pixels or more, or the mask would have more runs
            than `set_max_pixels` allows.
        """
        cdef uint32_t high, wide
        cdef size_t n
        cdef uint64_t capacity
        _read_size((height, width), &high, &wide)
        cdef _Memory scratch = _new_memory(self.c.n_runs, sizeof(uint32_t))
        with nogil:
            capacity = km_resize_capacity(&self.c, high, wide, scratch.runs())
        cdef _Memory memory = _new_runs(capacity, self.c.n_runs)
        with nogil:
            n = km_resize(&self.c, high, wide, memory.runs(), scratch.runs())
        return _own(memory, n, high, wide)

    def crop(self, bbox):
        """What a box shows of the mask.

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
            If `bbox` is not such a box, or the mask would have more runs than
            `set_max_pixels` allows.
        """
        if len(bbox) != 4:
            raise RLEError(f"bbox must be (x, y, w, h), got {_shown(bbox)}")
        x, y, w, h = bbox
        return _shifted(self, x, y, h, w)

    def pad(self, top, bottom, left, right):
        """The mask with so many pixels of background more on each side.

        Parameters
        ----------
        top, bottom, left, right : int

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If a number is negative, or the mask would have more runs than
            `set_max_pixels` allows.
        """
        sides = [_integer(side, "each side") for side in (top, bottom, left, right)]
        if min(sides) < 0:
            raise RLEError(
                f"pad must not be negative, got ({', '.join(map(_shown, sides))}); "
                "crop() takes away"
            )
        top, bottom, left, right = sides
        return _shifted(
            self, -left, -top, self.c.height + top + bottom, self.c.width + left + right
        )

    def shift(self, dx, dy):
        """The mask moved to the right by `dx` and down by `dy` pixels, in an image of its size.

        Parameters
        ----------
        dx, dy : int
            Negative to the left and up. What leaves the image is lost.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the mask would have more runs than `set_max_pixels` allows.
        """
        dx, dy = _integer(dx, "dx"), _integer(dy, "dy")
        return _shifted(self, -dx, -dy, self.c.height, self.c.width)

    def flip(self, axis):
        """The mask mirrored, as np.flip does it.

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
        """
        if _integer(axis, "axis") not in (0, 1):
            raise ValueError(f"axis must be 0 (upside down) or 1 (left to right), got {_shown(axis)}")
        cdef uint64_t capacity
        with nogil:
            capacity = km_flip_capacity(&self.c)
        cdef _Memory memory = _new_runs(capacity, self.c.n_runs)
        cdef _Memory scratch = _new_memory(self.c.n_runs, sizeof(uint32_t))
        cdef Mask flipped
        cdef size_t n
        with nogil:
            n = km_flip_rows(&self.c, memory.runs(), scratch.runs())
        flipped = _own(memory, n, self.c.height, self.c.width)
        if axis == 0:
            return flipped
        memory = _new_memory(n + 1, sizeof(uint32_t))
        with nogil:
            n = km_turn(&flipped.c, memory.runs())
        return _own(memory, n, self.c.height, self.c.width)

    def __or__(self, other):
        return _operate(KM_UNION, self, other)

    def __and__(self, other):
        return _operate(KM_INTERSECTION, self, other)

    def __sub__(self, other):
        return _operate(KM_DIFFERENCE, self, other)

    def __xor__(self, other):
        return _operate(KM_SYMMETRIC_DIFFERENCE, self, other)

    def __invert__(self):
        cdef _Memory memory = _new_memory(self.c.n_runs + 1, sizeof(uint32_t))
        cdef size_t n
        with nogil:
            n = km_complement(&self.c, memory.runs())
        return _own(memory, n, self.c.height, self.c.width)

    def __contains__(self, point):
        x, y = (_integer(value, "each of a point (x, y)") for value in point)
        if not (0 <= x < self.c.width and 0 <= y < self.c.height):
            return False
        return km_contains(&self.c, x, y)

    def __bool__(self):
        return self.c.n_runs > 1

    def __eq__(self, other):
        if not isinstance(other, Mask):
            return NotImplemented
        cdef Mask o = other
        return (
            self.c.height == o.c.height
            and self.c.width == o.c.width
            and self.c.n_runs == o.c.n_runs
            and memcmp(self.c.runs, o.c.runs, self.c.n_runs * sizeof(uint32_t)) == 0
        )

    def __hash__(self):
        runs = (<const char *>self.c.runs)[: self.c.n_runs * sizeof(uint32_t)]
        return hash((self.c.height, self.c.width, runs))

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return Mask.from_rle, (self.to_rle(),)

    def __repr__(self):
        return f"Mask(size={self.size}, area={self.area}, bbox={self.bbox})"


# ---- many masks ----

cdef MaskArray _new_mask_array(size_t n):
    """A MaskArray whose masks are still to be filled in."""
    cdef MaskArray masks = MaskArray.__new__(MaskArray)
    masks.block = _new_memory(n, sizeof(km_mask))
    masks.n = n
    return masks


cdef MaskArray _read_array(object rles, bint strict):
    cdef _Sources sources = _read_sources(rles)
    cdef MaskArray masks = _new_mask_array(sources.n)
    masks.memory = _read_all(sources, strict, masks.items())
    return masks


cdef MaskArray _as_array(object rles, bint strict=True):
    """What the functions take: one rle, a list of them, or a MaskArray."""
    if isinstance(rles, MaskArray):
        return rles
    cdef MaskArray masks
    if not _is_single(rles):
        return _read_array(rles, strict)
    masks = _new_mask_array(1)
    masks.memory = _read_one(rles, strict, masks.items())
    return masks


cdef bint _is_single(object rles):
    if type(rles) is list:  # asking it for Mapping takes as long as reading a mask
        return False
    return isinstance(rles, (dict, Mask, Mapping))


@cython.final
cdef class MaskArray:
    """Many masks in one block of memory: a sequence with columns.

    Made by `from_rles` or `from_numpy`. An integer index gives a `Mask`; a
    slice, or an array of indices or bools, a MaskArray. Both share the runs,
    so one mask that is kept keeps those of all; what
    ``MaskArray.from_rles([mask])`` makes has its own.
    Sizes may differ, save where masks meet in one image.
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
        raise TypeError("a MaskArray is made by MaskArray.from_rles or from_numpy")

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
        """
        return rles if isinstance(rles, MaskArray) else _read_array(rles, strict)

    @staticmethod
    @cython.binding(True)
    def from_numpy(array, *, threads=1):
        """Take the non-zero pixels of a stack of images as foreground.

        Parameters
        ----------
        array : array_like, shape (n, h, w)
            As `Mask.from_numpy` takes it.
        threads : int
            How many threads share the images; starting them pays for large batches.

        Returns
        -------
        MaskArray
        """
        threads = _check_threads(threads)
        if threads != 1:
            array = np.asarray(array)
            if array.ndim == 3:
                return _concatenate(_in_threads(partial(_encode_part, array), len(array), threads))
        cdef cnp.ndarray pixels = _foreground(array, 3)
        cdef MaskArray masks = _new_mask_array(cnp.PyArray_DIM(pixels, 0))
        masks.memory = _encode(pixels, masks.items())
        return masks

    def __len__(self):
        return self.n

    def __getitem__(self, key):
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            index = int(key) + (self.n if key < 0 else 0)
            if not 0 <= index < self.n:
                raise IndexError(f"index {_shown(key)} is out of range for {self.n} masks")
            return _new_mask(&self.items()[<size_t>index], self.memory)
        # numpy knows the rules of all other indices, and checks them.
        picked = np.arange(self.n)[key]
        if picked.ndim != 1:
            raise IndexError(f"masks are indexed along one axis, got {_shown(key)}")
        cdef MaskArray masks = _new_mask_array(len(picked))
        cdef size_t i = 0
        for index in picked.tolist():
            masks.items()[i] = self.items()[<size_t>index]
            i += 1
        masks.memory = self.memory
        return masks

    def __iter__(self):
        return map(self.__getitem__, range(self.n))

    def __array__(self, dtype=None, copy=None):
        if dtype is not None and np.dtype(dtype) != object:
            raise TypeError("a MaskArray becomes pixels by to_numpy(), np.asarray keeps the masks")
        if copy is False:
            raise ValueError("a MaskArray holds runs; an array of its masks is always a new one")
        held = np.empty(self.n, object)
        held[:] = list(self)
        return held

    @property
    def size(self):
        """Height and width of each mask's image: (n, 2) int64."""
        sizes = np.empty((self.n, 2), np.int64)
        cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(sizes)
        cdef size_t i = 0
        while i < self.n:
            row[2 * i] = self.items()[i].height
            row[2 * i + 1] = self.items()[i].width
            i += 1
        return sizes

    @property
    def area(self):
        """The number of foreground pixels of each mask: (n,) int64."""
        areas = np.empty(self.n, np.int64)
        cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(areas)
        cdef size_t i = 0
        with nogil:
            while i < self.n:
                row[i] = km_area(&self.items()[i])
                i += 1
        return areas

    @property
    def bbox(self):
        """The bounding box (x, y, w, h) of each mask, all 0 if empty: (n, 4) int64."""
        boxes = np.empty((self.n, 4), np.int64)
        cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(boxes)
        cdef size_t i = 0
        cdef km_box box
        with nogil:
            while i < self.n:
                box = km_bounds(&self.items()[i])
                row[0], row[1], row[2], row[3] = box.x, box.y, box.width, box.height
                row += 4
                i += 1
        return boxes

    def iou(self, other, *, threads=1):
        """Intersection over union of every mask with every other.

        Parameters
        ----------
        other : MaskArray or list of rles
            m masks of the same size.
        threads : int
            How many threads share the n masks; starting them pays for large batches.

        Returns
        -------
        ndarray, shape (n, m), float64
            0 where both masks are empty.

        Raises
        ------
        RLEError
            If the sizes differ.
        """
        cdef MaskArray others = _as_array(other)
        _check_threads(threads)
        if threads == 1 or self.n == 0:
            return _iou_part(self, others, _Interrupt(), slice(None))
        threads = min(threads, max(1, self.n // 16))  # each prepares all of the others
        return np.concatenate(_in_threads(partial(_iou_part, self, others), self.n, threads))

    cdef Mask fold(self, km_operation operation):
        if self.n == 0:
            raise RLEError("no masks: without one, the result has no size")
        _require_one_size(self.items(), self.n)
        cdef size_t n_runs
        cdef _Memory runs = _new_memory(km_total_runs(self.items(), self.n), sizeof(uint32_t))
        cdef _Memory scratch = _new_memory(
            km_combine_all_scratch(self.items(), self.n), sizeof(uint64_t)
        )
        with nogil:
            n_runs = km_combine_all(operation, self.items(), self.n, runs.runs(),
                                    <uint64_t *>scratch.data)
        return _own(runs, n_runs, self.items().height, self.items().width)

    def union(self):
        """The pixels in any of the masks.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the sizes differ or there is no mask.
        """
        return self.fold(KM_UNION)

    def intersection(self):
        """The pixels in all of the masks.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the sizes differ or there is no mask.
        """
        return self.fold(KM_INTERSECTION)

    def to_numpy(self, order="C", dtype="uint8", value=1, out=None, *, threads=1):
        """Decode all masks, which must have one size.

        Parameters
        ----------
        order, dtype, value
            As for `Mask.to_numpy`; `order` is that of each mask.
        out : ndarray, shape (n, h, w), optional
            As for `Mask.to_numpy`.
        threads : int
            How many threads share the masks; starting them pays for large batches.

        Returns
        -------
        ndarray, shape (n, h, w)
        """
        _require_one_size(self.items(), self.n)
        return _decode(self.items(), self.n, self, order, dtype, value, out, threads)

    def to_rles(self):
        """Every mask as `Mask.to_rle` gives it.

        Returns
        -------
        list of dict
        """
        cdef size_t i = 0
        rles = []
        while i < self.n:
            rles.append(_to_rle(&self.items()[i]))
            i += 1
        return rles

    def __eq__(self, other):
        if not isinstance(other, MaskArray):
            return NotImplemented
        return self.n == (<MaskArray>other).n and all(a == b for a, b in zip(self, other))

    def __hash__(self):
        return hash(tuple(self))

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return MaskArray.from_rles, (self.to_rles(),)

    def __repr__(self):
        cdef const km_mask *first = self.items()
        if self.n == 0 or km_count_same_size(first, self.n) < self.n:
            return f"MaskArray(n={self.n})"
        return f"MaskArray(n={self.n}, size=({first.height}, {first.width}))"


def _iou_part(MaskArray masks not None, MaskArray others not None,
              _Interrupt interrupt not None, part):
    """Intersection over union of the masks of a slice with the others, in one thread."""
    cdef MaskArray own = masks if part == slice(None) else masks[part]
    cdef km_mask[2] firsts
    cdef cnp.ndarray table = np.zeros((own.n, others.n))
    if own.n == 0 or others.n == 0:
        return table
    _require_one_size(own.items(), own.n)
    _require_one_size(others.items(), others.n)
    firsts = [own.items()[0], others.items()[0]]
    _require_one_size(firsts, 2)
    cdef _Memory memory = _new_memory(own.n + others.n, sizeof(km_shape)), scratch
    cdef km_shape *shapes = <km_shape *>memory.data
    cdef km_watch watch = _watch(interrupt)
    cdef size_t words
    cdef bint done
    with nogil:
        words = km_iou_prepare(own.items(), own.n, others.items(), others.n, shapes)
    scratch = _new_memory(words, sizeof(uint64_t))
    with nogil:
        done = km_iou(shapes, own.n, others.n, <uint64_t *>scratch.data,
                      <double *>cnp.PyArray_DATA(table), &watch)
    if not done:
        _raise_stopped()
    return table


def _encode_part(array, interrupt, part):
    """Encodes the images of a slice, as one of several threads."""
    return MaskArray.from_numpy(array[part])


cdef MaskArray _concatenate(list parts):
    """One MaskArray of the masks of all."""
    cdef MaskArray part, masks = _new_mask_array(sum(map(len, parts)))
    cdef size_t n_runs = 0, n = 0, i
    for part in parts:
        i = 0
        while i < part.n:
            masks.items()[n] = part.items()[i]
            n_runs += part.items()[i].n_runs
            n += 1
            i += 1
    masks.memory = _new_memory(n_runs, sizeof(uint32_t))
    cdef uint32_t *runs = masks.memory.runs()
    i = 0
    while i < n:
        memcpy(runs, masks.items()[i].runs, masks.items()[i].n_runs * sizeof(uint32_t))
        runs += masks.items()[i].n_runs
        i += 1
    km_lay_out(masks.items(), n, masks.memory.runs())
    return masks


# ---- the same without objects ----

def decode(rle, order="C", dtype="uint8", out=None, *, value=1, strict=True, threads=1):
    """Decode one rle, or a list of one size, into pixels.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray
        As `Mask.from_rle` takes it.
    order, dtype, value, out
        As for `Mask.to_numpy`. For a list, `order` is that of each mask and
        `out` has the shape (n, h, w); if one of the rles cannot be read, there may be
        some of the others in it.
    strict : bool
        As for `Mask.from_rle`.
    threads : int
        How many threads share the masks of a list; starting them pays for large batches.

    Returns
    -------
    ndarray, shape (h, w), or (n, h, w) for a list
    """
    cdef km_mask mask
    cdef _Memory memory
    if _is_single(rle):
        memory = _read_one(rle, strict, &mask)
        return _decode(&mask, 1, None, order, dtype, value, out, threads)
    if isinstance(rle, MaskArray):
        return rle.to_numpy(order, dtype, value, out, threads=threads)
    return _decode_all(rle, order, dtype, value, out, threads, strict)


def encode(array, *, threads=1):
    """Encode an image, or a stack of them; non-zero is foreground.

    Parameters
    ----------
    array : array_like, shape (h, w) or (n, h, w)
        Of any bool, integer or float dtype, memory order and strides.
    threads : int
        How many threads share the images of a stack; starting them pays for large batches.

    Returns
    -------
    dict, or list of n dicts
        ``{"size": [h, w], "counts": str}``, the counts those that pycocotools
        would write.
    """
    cdef cnp.ndarray pixels = _plain(array)
    cdef km_mask mask
    cdef _Memory memory
    if cnp.PyArray_NDIM(pixels) == 3:
        return MaskArray.from_numpy(pixels, threads=threads).to_rles()
    _check_threads(threads)
    memory = _encode(_foreground(pixels, 2), &mask)
    return _to_rle(&mask)


def area(rle):
    """The number of foreground pixels of one rle (int), or of each ((n,) int64)."""
    cdef km_mask mask
    cdef _Memory memory
    if isinstance(rle, MaskArray):
        return rle.area
    if not _is_single(rle):
        return _measure(rle, True)
    memory = _read_one(rle, True, &mask)
    return _area(&mask)


def bbox(rle):
    """The bounding box (x, y, w, h) of one rle (tuple), or of each ((n, 4) int64)."""
    cdef km_mask mask
    cdef _Memory memory
    if isinstance(rle, MaskArray):
        return rle.bbox
    if not _is_single(rle):
        return _measure(rle, False)
    memory = _read_one(rle, True, &mask)
    return _bbox(&mask)


def union(rles):
    """The pixels in any of the rles, as an rle; see `MaskArray.union`."""
    return _as_array(rles).union().to_rle()


def intersection(rles):
    """The pixels in all of the rles, as an rle; see `MaskArray.intersection`."""
    return _as_array(rles).intersection().to_rle()


def difference(a, b):
    """The pixels in rle `a` but not in rle `b`, as an rle."""
    return (Mask.from_rle(a) - Mask.from_rle(b)).to_rle()


def symmetric_difference(a, b):
    """The pixels in exactly one of two rles, as an rle."""
    return (Mask.from_rle(a) ^ Mask.from_rle(b)).to_rle()


def complement(rle):
    """The pixels not in the rle, as an rle; a list gives a list."""
    if _is_single(rle):
        return (~Mask.from_rle(rle)).to_rle()
    return [(~mask).to_rle() for mask in _as_array(rle)]


def iou(rles_a, rles_b, *, threads=1):
    """Intersection over union; 0 where both masks are empty.

    Parameters
    ----------
    rles_a, rles_b : rle or list of rles
        n and m masks of one size.
    threads : int
        How many threads share the n masks; starting them pays for large batches.

    Returns
    -------
    float or ndarray of float64
        Shape (n, m); a single rle leaves its axis out.
    """
    table = _as_array(rles_a).iou(_as_array(rles_b), threads=threads)
    if _is_single(rles_a):
        table = table[0]
        return float(table[0]) if _is_single(rles_b) else table
    return table[:, 0] if _is_single(rles_b) else table
