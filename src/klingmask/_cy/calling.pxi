# How the core is called: with which kernels, with or without the GIL, until when, in which threads.

cdef extern from "Python.h":
    void *PyEval_SaveThread()
    void PyEval_RestoreThread(void *state)
    void *PyErr_Occurred()
    int PyErr_CheckSignals() noexcept


def _select_simd(level):
    """Pick the vector code: "scalar", "avx2", "avx512", or None for the best there is."""
    name = None if level is None else level.encode()
    if not km_simd_select(NULL if name is None else <const char *>name):
        raise ImportError(
            f"KLINGMASK_SIMD={level!r} is none of scalar, avx2, avx512, or not on this machine"
        )
    return km_simd.name.decode()


simd_level = _select_simd(os.environ.get("KLINGMASK_SIMD") or None)


# ---- the GIL ----

cdef enum:
    # Bytes of text, runs, or pixels. To release the GIL and take it again costs as much as to work
    # on so many of them; what is smaller is done with the GIL held.
    GIL_RELEASE_FROM = 4096


cdef inline void *_release_gil(uint64_t work) noexcept:
    """Let other threads run Python code during a call of the core, if it is long enough.

    Between this and `_take_gil` there are only calls of the core, with pointers and numbers that
    were computed before.
    """
    return PyEval_SaveThread() if work > GIL_RELEASE_FROM else NULL


cdef inline void _take_gil(void *released) noexcept:
    if released is not NULL:
        PyEval_RestoreThread(released)


# ---- Ctrl-C ----

@cython.final
@cython.freelist(8)
cdef class _Interrupt:
    """Whether the calls that share it are to stop: set when one of several threads fails."""

    cdef bint stopped


cdef bint _should_stop(void *interrupt) noexcept with gil:
    """What the core asks in long calls: whether Ctrl-C was pressed, or another thread failed."""
    return (<_Interrupt>interrupt).stopped or PyErr_CheckSignals() != 0


cdef km_watch _watch(_Interrupt interrupt):
    """What the core takes, for one call in one thread; `interrupt` has to outlive it."""
    return km_watch(_should_stop, <void *>interrupt, 0)


cdef int _raise_stopped() except -1:
    """Raise what the signal's handler raised; in a thread that was told to stop, a plain error."""
    if PyErr_Occurred() is NULL:
        raise KeyboardInterrupt
    return -1


# ---- threads ----

cdef object _check_threads(object threads):
    """The number as a plain int."""
    threads = _integer(threads, "threads")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {_shown(threads)}")
    return threads


cdef list _in_threads(object work, size_t n, object threads):
    """What `work(interrupt, part)` gives for each of the slices of range(n), one a thread."""
    from concurrent.futures import ThreadPoolExecutor  # importing it takes a millisecond

    shares = max(1, min(threads, n))
    ends = [n * share // shares for share in range(shares + 1)]
    cdef _Interrupt interrupt = _Interrupt()
    with ThreadPoolExecutor(shares) as pool:
        try:
            return list(pool.map(partial(work, interrupt), map(slice, ends[:-1], ends[1:])))
        except BaseException:
            interrupt.stopped = True  # so that the threads do not work on for nothing
            raise
