"""Threads for the work on pictures, which ends soon when nobody waits for it any more.

OpenCV aborts the process if the interpreter goes away under it, as it does from under
a daemon thread. So these are none; instead they look, between two frames, whether the
emulator is closing or the script is over.
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
    """Some threads, there only while there is work.

    Parameters
    ----------
    most : int
        Threads at once; what comes on top waits, in its order.
    daemon : bool
        For work that nothing is lost by: the end does not wait for it.
    """

    def __init__(self, most: int, *, daemon: bool = False) -> None:
        self._most = most
        self._daemon = daemon
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._held = False
        self._closing = False

    def submit(self, work: Callable[[], _T]) -> "Future[_T]":
        """Have something done, and get what will hold its result."""
        future: Future[_T] = Future()

        def done() -> None:
            try:
                self.checkpoint()
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            self._waiting.append(done)
            self._staff()
        return future

    def run(self, work: Callable[[], _T]) -> _T:
        """Have something done, and wait for it."""
        return self.submit(work).result()

    def hold(self, held: bool) -> None:
        """Begin nothing new, or go on with what waits."""
        with self._lock:
            self._held = held
            self._staff()

    def checkpoint(self) -> None:
        """Go on, unless the end has come: called between two frames."""
        if self._closing or not threading.main_thread().is_alive():
            raise Stopped("the emulator is closing")

    def stop(self) -> None:
        """End what is under way at its next frame, and do no more."""
        with self._lock:
            self._closing, self._held = True, False
            self._staff()  # what waits is told, too

    def join(self) -> None:
        """Wait until all has ended."""
        with self._lock:
            threads = [] if self._daemon else list(self._threads)
        for thread in threads:
            thread.join()

    def _staff(self) -> None:
        """As many threads as there is work for."""
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
                work = self._waiting.popleft()
            work()
