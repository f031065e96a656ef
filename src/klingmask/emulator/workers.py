"""Threads for work on pictures that can be stopped between two frames.

They are not daemon threads: OpenCV aborts the process if the interpreter ends while it
is at work. Instead each job calls `Workers.checkpoint` between two frames, which raises
when the emulator closes or the main thread ends.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["Stopped", "Workers"]

_T = TypeVar("_T")


class Stopped(Exception):  # noqa: N818 - an end, not a failure
    """The emulator is closing."""


class Workers:
    """Some threads, which exist only while there is work.

    Parameters
    ----------
    most : int
        Threads at once; further jobs wait, first come, first served.
    daemon : bool
        For jobs that may be cut off: neither `join` nor Python's exit waits for them.
    """

    def __init__(self, most: int, *, daemon: bool = False) -> None:
        self._most = most
        self._daemon = daemon
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._held = False
        self._closing = False

    def submit(self, job: Callable[[], _T]) -> "Future[_T]":
        """Put a job into the queue."""
        future: Future[_T] = Future()

        def run() -> None:
            try:
                self.checkpoint()
                result = job()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            self._waiting.append(run)
            self._start_threads()
        return future

    def run(self, job: Callable[[], _T]) -> _T:
        """Put a job into the queue, and wait for its result."""
        return self.submit(job).result()

    def hold(self, held: bool) -> None:
        """Start no further job, or go on with the queue."""
        with self._lock:
            self._held = held
            self._start_threads()

    def checkpoint(self) -> None:
        """Raise `Stopped` if the emulator closes or the main thread has ended."""
        if self._closing or not threading.main_thread().is_alive():
            raise Stopped("the emulator is closing")

    def stop(self) -> None:
        """Make all jobs end: running ones at their next checkpoint, waiting ones at once."""
        with self._lock:
            self._closing, self._held = True, False
            self._start_threads()  # waiting jobs have futures that must get their exception

    def join(self) -> None:
        """Wait until all threads have ended."""
        with self._lock:
            threads = [] if self._daemon else list(self._threads)
        for thread in threads:
            thread.join()

    def _start_threads(self) -> None:
        """Start as many threads as there are jobs for."""
        wanted = 0 if self._held else min(self._most, len(self._threads) + len(self._waiting))
        while len(self._threads) < wanted:
            thread = threading.Thread(
                target=self._work, name="klingmask-emulator", daemon=self._daemon
            )
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._held or not self._waiting:
                    self._threads.discard(threading.current_thread())
                    return
                job = self._waiting.popleft()
            job()
