# Convert the caller's numbers, sizes and rles to the core's structs.

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    unicode PyUnicode_New(Py_ssize_t length, Py_UCS4 largest)
    int64_t PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1


cdef extern from *:
    """
    /* A new reference to the value of the key, or to `missing`. */
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


# ---- numbers and sizes ----

cdef inline object _integer(object value, str name):
    """`value` as an int; numpy integers too, bool and float not."""
    return value if type(value) is int else _other_integer(value, name)


cdef object _other_integer(object value, str name):
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {_shown(value)}")
    # Exactly an int: methods of a subclass could run the caller's code.
    return int.__index__(operator.index(value))


cdef int64_t _clamped(object value, str name) except? -1:
    """Clamp an integer to -2**33 .. 2**33, twice the largest image."""
    return min(max(_integer(value, name), -(1 << 33)), 1 << 33)


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


cdef object _read_box(object bbox):
    """The four numbers of a box (x, y, w, h)."""
    if len(bbox) != 4:
        raise RLEError(f"bbox must be (x, y, w, h), got {_shown(bbox)}")
    return bbox


# ---- one rle ----

cdef object _run_lengths(object counts):
    """A list of run lengths as a contiguous uint32 array."""
    try:
        lengths = np.asarray(counts).view()  # code of the caller's may reshape the caller's array
    except ValueError:
        lengths = np.empty((0, 0))  # a ragged list: report it as not flat
    if lengths.ndim == 0:
        raise TypeError(
            f"counts must be a str, bytes or a list of run lengths, got {type(counts).__name__}"
        )
    if lengths.ndim > 1:
        raise RLEError("counts must be a flat list of run lengths")
    if lengths.size == 0:
        return np.empty(0, np.uint32)
    if lengths.dtype.kind not in "iu" or lengths.min() < 0 or lengths.max() > UINT32_MAX:
        checked = []
        runs = lengths.tolist() if isinstance(counts, np.ndarray) else list(counts)
        for at, run in enumerate(runs):  # as the caller has them: numpy made floats of all
            run = _integer(run, f"run {at}")
            if not 0 <= run <= UINT32_MAX:
                raise RLEError(f"run {at}: a run of {_shown(run)} pixels", position=at)
            checked.append(run)
        return np.array(checked, np.uint32)
    return np.array(lengths, np.uint32)  # a copy: nobody else can change it meanwhile


cdef object _entry(object rle, str key):
    """Return the value of the key."""
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


cdef object _read_source(object rle, km_rle *source):
    """Point `source` at the rle's counts, which live as long as the object that is returned."""
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


cdef _Memory _read_one(object rle, bint strict, km_mask *mask):
    """Fill `mask` from the rle; the runs live in the memory that is returned."""
    cdef km_rle source
    cdef km_failure failure
    cdef uint64_t area
    keep = _read_source(rle, &source)
    cdef _Memory memory = _new_memory(
        km_read_capacity(&source) + KM_READ_SLACK, sizeof(uint32_t)
    )
    cdef uint32_t *runs = memory.runs()
    cdef void *released = _release_gil(source.length)
    cdef bint well_formed = km_read(&source, strict, runs, mask, &area, &failure)
    _take_gil(released)
    if not well_formed:
        raise _defect(&failure, &source)
    return memory


# ---- a list of rles ----

@cython.final
cdef class _Sources:
    """The rles of a list, as the core takes them; keeps their counts alive."""

    cdef km_rle *items
    cdef list keep
    cdef size_t n
    cdef km_batch batch

    def __dealloc__(self):
        PyMem_RawFree(self.items)

    cdef int raise_defect(self, const km_failure *failure) except -1:
        """Raise the error for what stopped the core."""
        if failure.fault == KM_STOPPED:
            _raise_stopped()
        raise _in_list(failure.index, _defect(failure, &self.items[failure.index]))


cdef _Sources _read_sources(object rles):
    if type(rles) is not list and (
        isinstance(rles, (str, bytes, Mapping)) or not hasattr(rles, "__iter__")
    ):
        raise TypeError(f"a list of rles was expected, got {type(rles).__name__}")
    cdef list items = list(rles)  # of our own: nobody else can change it meanwhile
    cdef _Sources sources = _Sources.__new__(_Sources)
    cdef size_t i = 0
    sources.items = <km_rle *>_allocate(len(items), sizeof(km_rle))
    sources.keep = items
    sources.n = len(items)
    try:
        for rle in items:
            items[i] = _read_source(rle, &sources.items[i])
            i += 1
    except (RLEError, TypeError) as error:
        raise _in_list(i, error) from None
    sources.batch = km_survey(sources.items, sources.n)
    return sources


cdef _Memory _read_all(_Sources sources, bint strict, km_mask *masks):
    """Fill `masks` from the sources; the runs live in the memory that is returned."""
    cdef size_t n_runs = 0
    cdef km_failure failure
    cdef _Memory memory = _new_memory(sources.batch.total + KM_READ_SLACK, sizeof(uint32_t))
    cdef uint32_t *runs = memory.runs()
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef km_rle *items = sources.items
    cdef size_t n = sources.n
    cdef void *released = _release_gil(sources.batch.total)
    cdef bint well_formed = km_read_all(
        items, n, strict, runs, &n_runs, masks, &failure, &watch
    )
    _take_gil(released)
    if not well_formed:
        sources.raise_defect(&failure)
    memory.cut(n_runs, sizeof(uint32_t))
    km_lay_out(masks, n, memory.runs())
    return memory


cdef object _measure(object rles, bint areas):
    """The area or the bounding box of every rle, read one by one into the same memory."""
    cdef _Sources sources = _read_sources(rles)
    cdef cnp.npy_intp[2] shape = [sources.n, 4]
    cdef cnp.ndarray numbers = cnp.PyArray_EMPTY(1 if areas else 2, shape, cnp.NPY_INT64, False)
    cdef int64_t *row = <int64_t *>cnp.PyArray_DATA(numbers)
    cdef _Memory memory = _new_memory(sources.batch.largest + KM_READ_SLACK, sizeof(uint32_t))
    cdef uint32_t *runs = memory.runs()
    cdef km_failure failure
    cdef _Interrupt interrupt = _Interrupt()
    cdef km_watch watch = _watch(interrupt)
    cdef km_rle *items = sources.items
    cdef size_t n = sources.n
    cdef void *released = _release_gil(sources.batch.total)
    cdef bint well_formed = km_measure(items, n, runs, row if areas else NULL,
                                       NULL if areas else row, &failure, &watch)
    _take_gil(released)
    if not well_formed:
        sources.raise_defect(&failure)
    return numbers
