"""An edit from the first click to the file: EditSession, Selection, Preview, EditTask."""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

from klingmask import Mask, overlay
from klingmask.kling import checks, transport
from klingmask.kling.checks import Duration, EditMode, Mode, Point, PointLike
from klingmask.kling.client import KlingClient
from klingmask.kling.download import download, fetch
from klingmask.kling.errors import (
    BadReplyError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    RequestTimeoutError,
    SessionExpiredError,
    TaskFailedError,
)
from klingmask.kling.images import ImageSource
from klingmask.kling.models import (
    FrameSize,
    InitReply,
    ObjectId,
    PreviewReply,
    SelectionReply,
    Task,
    TaskVideo,
)
from klingmask.kling.once import task_path
from klingmask.kling.redaction import clean
from klingmask.kling.tracking import read_tracking
from klingmask.kling.transport import ABSENT, Patience, surely_undone
from klingmask.overlay import KLING_ALPHA, Colors, Image

try:
    from tqdm import tqdm
except ImportError as error:
    raise ImportError("the client needs tqdm: pip install 'klingmask[kling]'") from error

__all__ = ["ClicksInside", "EditSession", "EditTask", "Preview", "Selection"]

log = logging.getLogger("klingmask.kling")

SESSION_HOURS = 24


class ClicksInside(NamedTuple):
    """Whether a mask holds the clicked pixels, under each reading of the y axis."""

    y_down: bool
    """If (0, 0) is the top left, as nearly everywhere."""
    y_up: bool
    """If (0, 1) is the top left, as the reference's words say."""


class Selection:
    """What the points of a frame select."""

    def __init__(self, reply: SelectionReply, points: Sequence[Point]) -> None:
        self.reply = reply
        self.points = tuple(points)
        """The points of this frame, those of earlier calls too."""

    def __repr__(self) -> str:
        names = dict.fromkeys(one.object_id for one in self.reply.objects)
        return clean(f"Selection(frame_index={self.frame_index}, objects={list(names)})")

    @property
    def frame_index(self) -> int:
        """The frame that is marked."""
        return self.reply.frame_index

    @property
    def masks(self) -> dict[ObjectId, Mask]:
        """The masks by object id."""
        return self.reply.masks

    @property
    def union(self) -> Mask:
        """All that is selected, as one mask."""
        return self.reply.union

    def overlay(
        self,
        frame: npt.ArrayLike,
        colors: Colors | None = None,
        opacity: float | Sequence[float] | Mapping[Any, float] = KLING_ALPHA / 255,
        outline: int | Sequence[int] | Mapping[Any, int] = 0,
        out: Image | None = None,
        *,
        labels: bool | Sequence[object] | Mapping[Any, object] = False,
        overlap: Literal["over", "majority"] = "over",
    ) -> Image:
        """Lay the masks over the frame; the parameters are those of `klingmask.overlay`."""
        laid: Image = overlay(
            frame, self.masks, colors, opacity, outline, out, labels=labels, overlap=overlap
        )
        return laid

    def clicks_inside(self) -> ClicksInside:
        """Tell whether the selection holds the clicked pixels, and how y must point for it."""
        if not self.reply.objects:
            return ClicksInside(False, False)
        mask = self.union
        height, width = mask.size

        def holds(points: Sequence[Point]) -> bool:
            return all(
                (min(int(x * width), width - 1), min(int(y * height), height - 1)) in mask
                for x, y in points
            )

        return ClicksInside(holds(self.points), holds([Point(x, 1 - y) for x, y in self.points]))


class Preview:
    """A selection, followed through the video."""

    def __init__(
        self,
        reply: PreviewReply,
        patience: Patience | None = None,
        frame: FrameSize | None = None,
    ) -> None:
        self.reply = reply
        self._patience = patience or Patience()
        self._frame = frame

    def __repr__(self) -> str:
        return clean(f"Preview(session_id={self.reply.session_id!r})")

    @property
    def video_url(self) -> str:
        """Where the video with the masks on it is."""
        return self.reply.video

    @property
    def cover_url(self) -> str:
        """Where its cover image is."""
        return self.reply.video_cover

    @property
    def tracking_url(self) -> str:
        """Where the masks of each frame are."""
        return self.reply.tracking_output

    def tracking(self) -> dict[int, dict[ObjectId, Mask]]:
        """Fetch and read the masks of each frame: frame index -> object id -> mask.

        Raises
        ------
        BadReplyError
            If the file has none of the expected shapes, or its masks may be the
            wrong way round: see `SelectedObject.mask`.
        """
        if not self.tracking_url:
            raise BadReplyError("the preview has no tracking_output")
        return read_tracking(fetch(self.tracking_url, patience=self._patience), self._frame)

    def download(self, path: str | PathLike[str], *, progress: bool = False) -> Path:
        """Save the video with the masks on it; see `EditTask.download`."""
        return download(self.video_url, path, progress=progress, patience=self._patience)


class EditSession:
    """A video that is being edited: its size, its points, and until when it lives.

    Where a call leaves open whether the service's points are still these, they are
    set again before anything else is done: nothing is previewed or paid for on
    other points. Made by `KlingClient.edit_video`. Not for several threads at once.
    """

    def __init__(self, client: KlingClient, reply: InitReply) -> None:
        self.client = client
        self.reply = reply
        self.points: dict[int, list[Point]] = {}
        """The points by frame."""
        self._doubtful = False  # whether the service's points may be others
        self._expires = time.time() + SESSION_HOURS * 3600
        self._frame = reply.frame_size

    def __repr__(self) -> str:
        return clean(
            f"EditSession({self.session_id!r}, size={self.size}, frames={self.reply.total_frame}, "
            f"seconds={self.seconds:g})"
        )

    @property
    def session_id(self) -> str:
        """The service's name for it."""
        return self.reply.session_id

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video."""
        return self.reply.height, self.reply.width

    @property
    def seconds(self) -> float:
        """How long the video is."""
        return self.reply.original_duration / 1000

    def point(self, x: float, y: float) -> Point:
        """Return the point at pixel (x, y)."""
        if not all(self.size):
            raise InvalidRequestError(
                "the service did not say how large the video is; Point.from_pixel(x, y, size) "
                "takes the size, and shares of width and height need none"
            )
        return Point.from_pixel(x, y, self.size)

    def add_selection(self, frame_index: int, points: Sequence[PointLike]) -> Selection:
        """Mark points of a frame, as shares of its width and height.

        Parameters
        ----------
        frame_index : int
            Below `reply.total_frame`; at most 10 frames of a session.
        points : sequence of (float, float)
            At most 10 a frame, those of earlier calls counted; `point` makes
            them of pixels.

        Returns
        -------
        Selection
        """
        self._alive()
        index = checks.frame_index(frame_index, self.reply.total_frame)
        new = checks.points_of(points)
        kept = self.points.get(index, [])
        if index not in self.points and len(self.points) >= checks.MAX_FRAMES:
            raise InvalidRequestError(
                f"{checks.MAX_FRAMES} frames are marked already ({sorted(self.points)}); "
                "clear_selection starts again"
            )
        if len(kept) + len(new) > checks.MAX_POINTS:
            raise InvalidRequestError(
                f"frame {index} has {len(kept)} points; {len(new)} more would be over the "
                f"{checks.MAX_POINTS} that a frame takes"
            )
        return self._select("add-selection", index, new, [*kept, *new])

    def delete_selection(self, frame_index: int, points: Sequence[PointLike]) -> Selection:
        """Take points of a frame away, exactly as they were added."""
        self._alive()
        index = checks.frame_index(frame_index, self.reply.total_frame)
        left = list(self.points.get(index, []))
        gone = checks.points_of(points)
        for point in gone:
            if point not in left:
                raise InvalidRequestError(
                    f"{tuple(point)} was not added to frame {index}; its points are "
                    f"{[tuple(known) for known in left]}"
                )
            left.remove(point)
        return self._select("delete-selection", index, gone, left)

    def _select(
        self,
        endpoint: Literal["add-selection", "delete-selection"],
        index: int,
        points: Sequence[Point],
        then: list[Point],
    ) -> Selection:
        """Change the points of a frame, which then are those of `then`.

        If it fails, `points` stay those of before.
        """
        self._agree()
        after = {**self.points, index: then}
        if not then:
            del after[index]
        self._doubtful = True
        try:
            with _expiry():
                reply = self._send(endpoint, index, points)
        except KlingError as error:
            self._doubtful = error.outcome not in ("unsent", "refused")
            if not (self._doubtful and error.passing):
                raise
            log.warning("session %s: %s; its points are set again", self.session_id, error)
            reply = self._set(after, index)
        self._doubtful = False
        self.points = after
        return Selection(reply, then)

    def _send(
        self,
        endpoint: Literal["add-selection", "delete-selection"],
        index: int,
        points: Sequence[Point],
    ) -> SelectionReply:
        """Send points once, and learn from the reply how large the frames are."""
        reply = self.client._select(
            endpoint, self.session_id, index, points, again=surely_undone, frame=self._frame
        )
        shown = (one.png_size for one in reply.objects)
        self._frame = next((size for size in shown if size), self._frame)
        return reply

    def _agree(self) -> None:
        """Set the points again where the service may have others."""
        self._alive()
        if self._doubtful:
            log.warning("session %s: its points are set again", self.session_id)
            self._set(self.points)
            self._doubtful = False

    def _set(self, points: Mapping[int, Sequence[Point]], asked: int = 0) -> SelectionReply:
        """Clear the session and add these points, and return what frame `asked` then selects.

        Each call but `clear_selection` is sent once; whatever is lost on the way,
        all of it is done anew.
        """

        def attempt() -> SelectionReply:
            cleared = self.client.clear_selection(self.session_id)
            reply = SelectionReply(
                **vars(cleared), session_id=self.session_id, frame_index=asked, objects=()
            )
            for index, some in points.items():
                added = self._send("add-selection", index, some)
                reply = added if index == asked else reply
            return reply

        with _expiry():
            return self.client._transport.retry(attempt)

    def clear_selection(self) -> None:
        """Take all points away."""
        self._alive()
        self._doubtful = True
        with _expiry():
            self.client.clear_selection(self.session_id)
        self.points = {}
        self._doubtful = False

    def preview(self) -> Preview:
        """Have the selection followed through the video."""
        self._agree()
        with _expiry():
            reply = self.client.preview_selection(self.session_id)
        return Preview(reply, self.client._transport.patience, self._frame)

    def submit(
        self,
        edit_mode: EditMode,
        prompt: str,
        *,
        images: Sequence[ImageSource] = (),
        negative_prompt: str = "",
        mode: Mode = "std",
        duration: Duration | None = None,
        watermark: bool | None = None,
        callback_url: str | None = None,
        external_task_id: str | None = None,
        model_name: str | None = checks.MODEL,
    ) -> "EditTask":
        """Start the edit, which costs money; see `KlingClient.create_task`.

        The duration follows from the video's length if it is not given.
        """
        self._alive()
        if edit_mode in ("swap", "removal") and not self.points:
            raise InvalidRequestError(f"{edit_mode} needs a selection; add_selection makes one")
        fitting = checks.duration(duration, self.seconds)
        self._agree()
        with _expiry(absent=False):  # which may be a model as well
            task = self.client.create_task(
                self.session_id,
                edit_mode,
                prompt,
                images=images,
                negative_prompt=negative_prompt,
                mode=mode,
                duration=fitting,
                watermark=watermark,
                callback_url=callback_url,
                external_task_id=external_task_id,
                model_name=model_name,
            )
        return EditTask(self.client, task)

    def _alive(self) -> None:
        if time.time() >= self._expires:
            raise SessionExpiredError(
                f"session {self.session_id} is older than the {SESSION_HOURS} hours it lives"
            )


_ENDED = re.compile(
    r"(?i)\bsession[^,;:.]{0,40}\b(expired?|ended|closed|invalid|unknown|gone|timed out|"
    r"no(t| longer) (exists?|found|valid|available)|doesn't exist)\b"
    r"|\b(expired|invalid|unknown|no such|no) session"
)


@contextmanager
def _expiry(*, absent: bool = True) -> Iterator[None]:
    """Make a `SessionExpiredError` of a refusal which says that the session has ended.

    `absent` says that only the session can be what the service does not have. The
    reference does not tell by which code a session is refused that has ended, so
    else it goes by the message.
    """
    try:
        yield
    except (InvalidRequestError, NotFoundError) as error:
        by_service = error.code is not None  # not a gateway's 404
        ended = (absent and error.code == ABSENT) or _ENDED.search(error.message)
        if not (by_service and ended):
            raise
        expired = SessionExpiredError(
            f"the service no longer has the session: {error.message}",
            code=error.code,
            status=error.status,
            request_id=error.request_id,
            outcome=error.outcome,
        )
        expired.external_task_id = error.external_task_id
        raise expired from error


class EditTask:
    """A task that was submitted."""

    def __init__(self, client: KlingClient, task: Task) -> None:
        self.client = client
        self.task = task
        """As it stood when the service was last asked."""
        self._known = False  # whether the service has answered a query about it

    def __repr__(self) -> str:
        return clean(f"EditTask({self.task.task_id!r}, {self.task.task_status!r})")

    def refresh(self) -> Task:
        """Ask the service how the task stands."""
        self.task = self.client.get_task(self.task.task_id)
        self._known = True
        return self.task

    def wait(self, *, timeout: float = 1800.0, progress: bool = False) -> "EditTask":
        """Wait until the task has ended.

        One that was just made may not be known at once everywhere in the service:
        that it does not exist is believed after the client's `settle` seconds.

        Parameters
        ----------
        timeout : float
            Seconds; the intervals between two queries grow from 1 to 15.
        progress : bool
            Whether to show how long it takes.

        Raises
        ------
        TaskFailedError
            If it failed; the message says why.
        RequestTimeoutError
            If it has not ended in time. It goes on; `wait` can be called again.
        """
        started = time.monotonic()
        until = started + checks.seconds(timeout, "timeout")
        last = until - min(1.0, timeout / 4)  # when to ask for the last time; that takes a while
        polls = _Polls(started + self.client._settle, self.client._transport.patience.retry_for)
        pauses = _growing(1.0, 15.0)
        with tqdm(bar_format="{desc} {elapsed}", disable=not progress) as bar:
            while not self.task.ended:
                bar.set_description_str(clean(f"task {self.task.task_status}"))
                pause = max(next(pauses), polls.back_off())
                time.sleep(max(0.0, min(pause, last - time.monotonic())))
                is_last = time.monotonic() >= last
                self._ask(polls, until)
                if is_last and not self.task.ended:
                    why = f"; asking failed: {polls.failure.message}" if polls.failure else ""
                    raise RequestTimeoutError(
                        f"task {self.task.task_id} is still {self.task.task_status} after "
                        f"{time.monotonic() - started:.3g} s{why}",
                        advice="it goes on, and wait() can be called again",
                    )
        if self.task.task_status == "failed":
            reason = self.task.task_status_msg or "the service gives no reason"
            raise TaskFailedError(
                f"task {self.task.task_id} failed: {reason}",
                request_id=self.task.request_id or None,
            )
        return self

    def _ask(self, polls: "_Polls", until: float) -> None:
        """Ask once how the task stands; a failure that may pass is for the next poll to mend."""
        parse = partial(Task.parse, task_id=self.task.task_id)
        path = task_path(self.task.task_id)
        try:
            self.task = self.client._transport.once("GET", path, parse, deadline=until)
        except KlingError as error:
            unsettled = error.code == ABSENT and not self._known
            polls.failed(error, unsettled=unsettled)
        else:
            self._known = True
            polls.answered()

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

        It is streamed to a file beside `path`, taken up where it broke off, and
        moved into place when all of it is there.

        Parameters
        ----------
        path : path
        watermarked : bool
            Whether to save the watermarked one, if it was asked for.
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
        return download(url, path, progress=progress, patience=self.client._transport.patience)


class _Polls:
    """How the queries of one `EditTask.wait` went: when to give up, and when to ask again."""

    def __init__(self, settled: float, retry_for: float) -> None:
        self.settled, self.retry_for = settled, retry_for
        self.answered()

    def answered(self) -> None:
        """Note an answer."""
        self.failure: KlingError | None = None
        self.failures = 0
        self.since = 0.0

    def failed(self, error: KlingError, *, unsettled: bool) -> None:
        """Note a failure; raise it if it is final, or there has been no answer for too long.

        Parameters
        ----------
        error : KlingError
        unsettled : bool
            Whether it says that there is no such task, which may be too early to tell.
        """
        now = time.monotonic()
        if unsettled and now < self.settled:
            return
        if not self.failures:
            self.since = now
        if not error.passing or (self.failures and now - self.since > self.retry_for):
            raise error
        log.warning("waiting for a task: %s", error)
        self.failure, self.failures = error, self.failures + 1

    def back_off(self) -> float:
        """Seconds to wait after the failures since the last answer."""
        return transport.pause(self.failure, self.failures) if self.failure else 0.0


def _growing(first: float, last: float) -> Iterator[float]:
    pause = first
    while True:
        yield pause
        pause = min(last, pause * 1.3)
