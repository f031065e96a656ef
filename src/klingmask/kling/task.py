"""EditTask: a task that was submitted, to wait for and to download."""

import logging
import time
from collections.abc import Iterator
from functools import partial
from os import PathLike
from pathlib import Path

from klingmask.kling import checks, transport
from klingmask.kling.client import KlingClient
from klingmask.kling.codes import NOT_FOUND
from klingmask.kling.download import download
from klingmask.kling.errors import (
    BadReplyError,
    KlingError,
    RequestTimeoutError,
    TaskFailedError,
)
from klingmask.kling.models import Task, TaskVideo
from klingmask.kling.once import task_path
from klingmask.kling.redaction import clean

try:
    from tqdm import tqdm
except ImportError as error:
    raise ImportError("the client needs tqdm: pip install 'klingmask[kling]'") from error

__all__ = ["EditTask"]

log = logging.getLogger("klingmask.kling")

FIRST_INTERVAL, MAX_INTERVAL, GROWTH = 1.0, 15.0, 1.3
"""Seconds between two queries of `EditTask.wait`, and the factor by which they grow."""


class EditTask:
    """A task that was submitted."""

    def __init__(self, client: KlingClient, task: Task) -> None:
        self.client = client
        self.task = task
        """The task as the service last described it."""
        self._was_found = False  # whether the service has answered a query about it

    def __repr__(self) -> str:
        return clean(f"EditTask({self.task.task_id!r}, {self.task.task_status!r})")

    def refresh(self) -> Task:
        """Query the task's status."""
        self.task = self.client.get_task(self.task.task_id)
        self._was_found = True
        return self.task

    def wait(self, *, timeout: float = 1800.0, progress: bool = False) -> "EditTask":
        """Wait until the task has ended.

        A new task may not be visible everywhere in the service at once. "No such task"
        is believed only after the client's `settle` seconds. Other failures that may pass
        are retried with the next query, until there was no answer for `retry_for` seconds.

        Parameters
        ----------
        timeout : float
            Seconds. The time between two queries grows from 1 to 15 seconds.
        progress : bool
            Whether to show the elapsed time.

        Raises
        ------
        TaskFailedError
            If the task failed; the message says why.
        RequestTimeoutError
            If it has not ended in time. It goes on; `wait` can be called again.
        """
        started = time.monotonic()
        deadline = started + checks.seconds(timeout, "timeout")
        last_query = deadline - min(1.0, timeout / 4)  # leaves some time for its reply
        queries = _Queries(started + self.client._settle, self.client._transport.limits.retry_for)
        intervals = _growing_intervals()
        with tqdm(bar_format="{desc} {elapsed}", disable=not progress) as bar:
            while not self.task.ended:
                bar.set_description_str(clean(f"task {self.task.task_status}"))
                interval = max(next(intervals), queries.backoff())
                time.sleep(max(0.0, min(interval, last_query - time.monotonic())))
                is_last = time.monotonic() >= last_query
                self._query(queries, deadline)
                if is_last and not self.task.ended:
                    failed = queries.last_error
                    reason = f"; the last query failed: {failed.message}" if failed else ""
                    raise RequestTimeoutError(
                        f"task {self.task.task_id} is still {self.task.task_status} after "
                        f"{time.monotonic() - started:.3g} s{reason}",
                        advice="it goes on, and wait() can be called again",
                    )
        if self.task.task_status == "failed":
            reason = self.task.task_status_msg or "the service gives no reason"
            raise TaskFailedError(
                f"task {self.task.task_id} failed: {reason}",
                request_id=self.task.request_id or None,
            )
        return self

    def _query(self, queries: "_Queries", deadline: float) -> None:
        """Query the task's status once."""
        parse = partial(Task.parse, task_id=self.task.task_id)
        path = task_path(self.task.task_id)
        try:
            self.task = self.client._transport.once("GET", path, parse, deadline=deadline)
        except KlingError as error:
            may_be_too_new = error.code == NOT_FOUND and not self._was_found
            queries.note_error(error, may_be_too_new=may_be_too_new)
        else:
            self._was_found = True
            queries.note_answer()

    @property
    def video(self) -> TaskVideo:
        """The video that the task made."""
        if not self.task.videos:
            raise BadReplyError(
                f"task {self.task.task_id} has no video; it is {self.task.task_status}"
            )
        return self.task.videos[0]

    def download(
        self, path: str | PathLike[str], *, watermarked: bool = False, progress: bool = False
    ) -> Path:
        """Save the video.

        It is written to a temporary file in the same folder and renamed when it is
        complete. A broken transfer is resumed if the server has an ETag or a date for
        the file, and started again if not.

        Parameters
        ----------
        path : path
        watermarked : bool
            Whether to save the video with a watermark, if one was asked for.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        Path
        """
        url = self.video.watermark_url if watermarked else self.video.url
        if not url:
            kind = "watermarked video" if watermarked else "URL for its video"
            raise BadReplyError(f"task {self.task.task_id} has no {kind}")
        return download(url, path, progress=progress, limits=self.client._transport.limits)


class _Queries:
    """The queries of one `EditTask.wait`: how long to back off, and when to give up."""

    def __init__(self, settled_at: float, retry_for: float) -> None:
        self.settled_at, self.retry_for = settled_at, retry_for
        self.note_answer()

    def note_answer(self) -> None:
        """Note that the service has answered."""
        self.last_error: KlingError | None = None
        self.errors = 0
        self.first_error_at = 0.0

    def note_error(self, error: KlingError, *, may_be_too_new: bool) -> None:
        """Note an error; raise it if it is final, or if there was no answer for too long.

        Parameters
        ----------
        error : KlingError
        may_be_too_new : bool
            Whether it says that there is no such task, which may be too new to be found.
        """
        now = time.monotonic()
        if may_be_too_new and now < self.settled_at:
            return
        if not self.errors:
            self.first_error_at = now
        if not error.retryable or now - self.first_error_at > self.retry_for:
            raise error
        log.warning("waiting for a task: %s", error)
        self.last_error, self.errors = error, self.errors + 1

    def backoff(self) -> float:
        """Return the seconds to wait after the errors since the last answer."""
        return transport.pause(self.last_error, self.errors) if self.last_error else 0.0


def _growing_intervals() -> Iterator[float]:
    interval = FIRST_INTERVAL
    while True:
        yield interval
        interval = min(MAX_INTERVAL, interval * GROWTH)
