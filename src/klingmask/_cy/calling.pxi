# How the core is called: SIMD level, GIL, interruption, threads.

cdef extern from "Python.h":
    void PyEval_RestoreThread(void *state)
    void *PyErr_Occurred()
    int PyErr_CheckSignals() noexcept


def _select_simd(level):
    """Pick the vector code: "scalar", "avx2", "avx512", or None for the best there is."""
    name = None if level is None else level.encode()
    if not km_simd_select(NULL if name is None else <const char *>name):
        raise ImportError(
            "KLINGMASK_SIMD must be scalar, avx2 or avx512, and this machine must have it; "
            f"got {level!r}"
        )
    return km_simd.name.decode()


simd_level = _select_simd(os.environ.get("KLINGMASK_SIMD") or None)


# ---- the GIL ----

cdef extern from *:
    """
    #ifdef CYTHON_TRACE_NOGIL /* `make coverage`: Python code runs between any two lines */
    #define save_thread() NULL
    #else
    #define save_thread() PyEval_SaveThread()
    #endif
    """
    void *save_thread()

cdef enum:
    # Releasing and retaking the GIL takes as long as working on this many bytes of text, runs or
    # pixels. Calls with less work keep it.
    GIL_RELEASE_FROM = 4096


cdef inline void *_release_gil(uint64_t work) noexcept:
    """Let other threads run Python code during a call of the core, if it is long enough.

    Between this and `_take_gil`, only call the core. Compute all arguments before.
    """
    return save_thread() if work >= GIL_RELEASE_FROM else NULL


cdef inline void _take_gil(void *released) noexcept:
    if released is not NULL:
        PyEval_RestoreThread(released)


# ---- Ctrl-C ----

@cython.final
@cython.freelist(8)
cdef class _Interrupt:
    """Tells all calls that share it to stop; set when one of several threads fails."""

    cdef bint stopped


cdef c_bool _should_stop(void *interrupt) noexcept with gil:
    """What the core asks in long calls: whether Ctrl-C was pressed, or another thread failed."""
    return (<_Interrupt>interrupt).stopped or PyErr_CheckSignals() != 0


cdef km_watch _watch(_Interrupt interrupt):
    """Make a watch for one call in one thread. The interrupt must live until the call returns."""
    return km_watch(_should_stop, <void *>interrupt, KM_WATCH_WORK)


cdef int _raise_stopped() except -1:
    """Raise the exception of the signal's handler.

    A worker thread that was told to stop has none; it raises KeyboardInterrupt, which nobody sees.
    """
    if PyErr_Occurred() is NULL:
        raise KeyboardInterrupt
    return -1


cdef int _check_signals() except -1:
    """Raise what a signal's handler raises, in a loop over objects."""
    return PyErr_CheckSignals()


# ---- threads ----

cdef object _check_threads(object threads):
    """The number as a plain int."""
    threads = _integer(threads, "threads")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {_shown(threads)}")
    return threads


cdef list _in_threads(object work, size_t n, object threads, size_t least=1):
    """Split range(n) into slices and run `work(interrupt, slice)` for each in a thread.

    Returns the results in order. A thread gets at least `least` of the n; if one thread is enough,
    it is the caller's own.
    """
    shares = max(1, min(_check_threads(threads), n // least))
    ends = [n * share // shares for share in range(shares + 1)]
    cdef _Interrupt interrupt = _Interrupt()
    if shares == 1:
        return [work(interrupt, slice(0, n))]
    from concurrent.futures import ThreadPoolExecutor  # importing it takes a millisecond

    with ThreadPoolExecutor(shares) as pool:
        try:
            return list(pool.map(partial(work, interrupt), map(slice, ends[:-1], ends[1:])))
        except BaseException:
            interrupt.stopped = True  # so that the threads do not work on for nothing
            raise
