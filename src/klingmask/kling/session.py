"""EditSession: one edit from the first click to the task, with what it knows of its points."""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

from klingmask import Mask, overlay
from klingmask.kling import checks
from klingmask.kling.checks import Duration, EditMode, Mode, Point, PointLike
from klingmask.kling.client import KlingClient
from klingmask.kling.codes import NOT_FOUND
from klingmask.kling.download import download, fetch
from klingmask.kling.errors import (
    BadReplyError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    SessionExpiredError,
)
from klingmask.kling.images import ImageSource
from klingmask.kling.models import InitReply, PreviewReply, SelectionReply
from klingmask.kling.objects import FrameSize, ObjectId
from klingmask.kling.redaction import clean
from klingmask.kling.task import EditTask
from klingmask.kling.tracking import read_tracking
from klingmask.kling.transport import TimeLimits, is_retryable_and_not_started
from klingmask.overlay import KLING_ALPHA, Colors, Image

__all__ = ["ClicksInside", "EditSession", "Preview", "Selection"]

log = logging.getLogger("klingmask.kling")

SESSION_HOURS = 24

Endpoint = Literal["add-selection", "delete-selection"]


class ClicksInside(NamedTuple):
    """Whether a mask contains the clicked pixels, for each direction that y may have."""

    y_down: bool
    """If (0, 0) is the top left corner, as in nearly all software."""
    y_up: bool
    """If (0, 1) is the top left corner, as the reference's text can be read."""


class Selection:
    """What the points of a frame select."""

    def __init__(self, reply: SelectionReply, points: Sequence[Point]) -> None:
        self.reply = reply
        self.points = tuple(points)
        """All points of this frame, those of earlier calls included."""

    def __repr__(self) -> str:
        names = dict.fromkeys(one.object_id for one in self.reply.objects)
        return clean(f"Selection(frame_index={self.frame_index}, objects={list(names)})")

    @property
    def frame_index(self) -> int:
        """The index of the frame, from 0."""
        return self.reply.frame_index

    @property
    def masks(self) -> dict[ObjectId, Mask]:
        """The masks by object id."""
        return self.reply.masks

    @property
    def union(self) -> Mask:
        """Everything that is selected, as one mask."""
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
        """Draw the masks over the frame; the parameters are those of `klingmask.overlay`."""
        drawn: Image = overlay(
            frame, self.masks, colors, opacity, outline, out, labels=labels, overlap=overlap
        )
        return drawn

    def clicks_inside(self) -> ClicksInside:
        """Return whether the selection contains the clicked pixels, if y points down or up."""
        if not self.reply.objects:
            return ClicksInside(False, False)
        mask = self.union
        height, width = mask.size

        def contains(points: Sequence[Point]) -> bool:
            return all(
                (min(int(x * width), width - 1), min(int(y * height), height - 1)) in mask
                for x, y in points
            )

        flipped = [Point(x, 1 - y) for x, y in self.points]
        return ClicksInside(contains(self.points), contains(flipped))


class Preview:
    """A selection that the service has tracked through the video."""

    def __init__(
        self,
        reply: PreviewReply,
        limits: TimeLimits | None = None,
        frame_size: FrameSize | None = None,
    ) -> None:
        self.reply = reply
        self._limits = limits or TimeLimits()
        self._frame_size = frame_size

    def __repr__(self) -> str:
        return clean(f"Preview(session_id={self.reply.session_id!r})")

    @property
    def video_url(self) -> str:
        """URL of the video with the masks drawn on it."""
        return self.reply.video

    @property
    def cover_url(self) -> str:
        """URL of its cover image."""
        return self.reply.video_cover

    @property
    def tracking_url(self) -> str:
        """URL of the masks of each frame."""
        return self.reply.tracking_output

    def tracking(self) -> dict[int, dict[ObjectId, Mask]]:
        """Fetch and read the masks of each frame: frame index -> object id -> mask.

        Raises
        ------
        BadReplyError
            If the file has none of the expected formats, or if it is not clear which
            number of ``size`` is the height; see `SelectedObject.mask`.
        """
        if not self.tracking_url:
            raise BadReplyError("the preview has no tracking_output")
        return read_tracking(fetch(self.tracking_url, limits=self._limits), self._frame_size)

    def download(self, path: str | PathLike[str], *, progress: bool = False) -> Path:
        """Save the video with the masks drawn on it; see `EditTask.download`."""
        return download(self.video_url, path, progress=progress, limits=self._limits)


class EditSession:
    """A video that is being edited: its size, its points, and until when the session lives.

    If a call fails in a way that leaves open which points the service has, the session
    sets its points again before the next call. So nothing is previewed or paid for with
    other points than these.

    Made by `KlingClient.edit_video`. Not safe to use from several threads at once.
    """

    def __init__(self, client: KlingClient, reply: InitReply) -> None:
        self.client = client
        self.reply = reply
        self.points: dict[int, list[Point]] = {}
        """The points of each frame."""
        self._points_uncertain = False  # whether the service may have other points
        self._expires = time.time() + SESSION_HOURS * 3600
        self._frame_size = reply.frame_size

    def __repr__(self) -> str:
        return clean(
            f"EditSession({self.session_id!r}, size={self.size}, frames={self.reply.total_frame}, "
            f"seconds={self.seconds:g})"
        )

    @property
    def session_id(self) -> str:
        """The service's name for the session."""
        return self.reply.session_id

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video in pixels; (0, 0) if the service did not say."""
        return self.reply.height, self.reply.width

    @property
    def seconds(self) -> float:
        """Length of the video in seconds."""
        return self.reply.original_duration / 1000

    def point(self, x: float, y: float) -> Point:
        """Return the point in the middle of pixel (x, y)."""
        if not all(self.size):
            raise InvalidRequestError(
                "the service did not say how large the video is; use Point.from_pixel(x, y, size), "
                "or give x and y as shares of the width and height"
            )
        return Point.from_pixel(x, y, self.size)

    def add_selection(self, frame_index: int, points: Sequence[PointLike]) -> Selection:
        """Add points to a frame.

        Parameters
        ----------
        frame_index : int
            From 0, below `reply.total_frame`. At most 10 frames of a session can have
            points.
        points : sequence of (float, float)
            x and y as shares of the frame's width and height; `point` makes them from
            pixels. At most 10 a frame, those of earlier calls included.

        Returns
        -------
        Selection
        """
        self._check_not_expired()
        index = checks.frame_index(frame_index, self.reply.total_frame)
        new = checks.points_of(points)
        old = self.points.get(index, [])
        if index not in self.points and len(self.points) >= checks.MAX_FRAMES:
            raise InvalidRequestError(
                f"{checks.MAX_FRAMES} frames are marked already ({sorted(self.points)}); "
                "clear_selection deletes all points"
            )
        if len(old) + len(new) > checks.MAX_POINTS:
            raise InvalidRequestError(
                f"frame {index} has {len(old)} points; {len(new)} more would exceed the "
                f"{checks.MAX_POINTS} that a frame can have"
            )
        return self._change("add-selection", index, new, [*old, *new])

    def delete_selection(self, frame_index: int, points: Sequence[PointLike]) -> Selection:
        """Delete points from a frame; they must be exactly those that were added."""
        self._check_not_expired()
        index = checks.frame_index(frame_index, self.reply.total_frame)
        left = list(self.points.get(index, []))
        deleted = checks.points_of(points)
        for point in deleted:
            if point not in left:
                raise InvalidRequestError(
                    f"{tuple(point)} was not added to frame {index}; its points are "
                    f"{[tuple(known) for known in left]}"
                )
            left.remove(point)
        return self._change("delete-selection", index, deleted, left)

    def clear_selection(self) -> None:
        """Delete all points of all frames."""
        self._check_not_expired()
        self._points_uncertain = True
        with _session_errors():
            self.client.clear_selection(self.session_id)
        self.points = {}
        self._points_uncertain = False

    def preview(self) -> Preview:
        """Let the service track the selection through the video."""
        self._sync_points()
        with _session_errors():
            reply = self.client.preview_selection(self.session_id)
        return Preview(reply, self.client._transport.limits, self._frame_size)

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
        model_name: str | None = checks.DEFAULT_MODEL,
    ) -> EditTask:
        """Start the edit, which costs money.

        The parameters are those of `KlingClient.create_task`. A duration that is not given
        is derived from the video's length.
        """
        self._check_not_expired()
        if edit_mode in ("swap", "removal") and not self.points:
            raise InvalidRequestError(f"{edit_mode} needs a selection; call add_selection first")
        fitting = checks.duration(duration, self.seconds)
        self._sync_points()
        # Here, what the service does not find may also be a model.
        with _session_errors(only_session_can_be_missing=False):
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

    # ---- the points here and at the service ----

    def _change(
        self, endpoint: Endpoint, index: int, points: Sequence[Point], result: list[Point]
    ) -> Selection:
        """Add or delete points of a frame, which has the points `result` afterwards.

        If that fails, `self.points` stays as it was.
        """
        self._sync_points()
        after = {**self.points, index: result}
        if not result:
            del after[index]
        self._points_uncertain = True
        try:
            with _session_errors():
                reply = self._send(endpoint, index, points)
        except KlingError as error:
            self._points_uncertain = error.outcome not in ("unsent", "refused")
            if not (self._points_uncertain and error.retryable):
                raise
            log.warning("session %s: %s; setting its points again", self.session_id, error)
            reply = self._set_points(after, index)
        self._points_uncertain = False
        self.points = after
        return Selection(reply, result)

    def _send(self, endpoint: Endpoint, index: int, points: Sequence[Point]) -> SelectionReply:
        """Add or delete points once, and learn the size of the frames from the reply."""
        reply = self.client._select(
            endpoint,
            self.session_id,
            index,
            points,
            retry_if=is_retryable_and_not_started,
            frame_size=self._frame_size,
        )
        sizes = (one.png_size for one in reply.objects)
        self._frame_size = next((size for size in sizes if size), self._frame_size)
        return reply

    def _sync_points(self) -> None:
        """Set the points again if the service may have others."""
        self._check_not_expired()
        if self._points_uncertain:
            log.warning("session %s: setting its points again", self.session_id)
            self._set_points(self.points)
            self._points_uncertain = False

    def _set_points(self, points: Mapping[int, Sequence[Point]], asked: int = 0) -> SelectionReply:
        """Clear the session, add these points, and return the selection of frame `asked`.

        Points are added once only. If a reply is lost, everything starts with clearing again.
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

        with _session_errors():
            return self.client._transport.retry(attempt)

    def _check_not_expired(self) -> None:
        if time.time() >= self._expires:
            raise SessionExpiredError(
                f"session {self.session_id} is older than the {SESSION_HOURS} hours that it lives"
            )


_SAYS_THAT_A_SESSION_ENDED = re.compile(
    r"(?i)\bsession[^,;:.]{0,40}\b(expired?|ended|closed|invalid|unknown|gone|timed out|"
    r"no(t| longer) (exists?|found|valid|available)|doesn't exist)\b"
    r"|\b(expired|invalid|unknown|no such|no) session"
)


@contextmanager
def _session_errors(*, only_session_can_be_missing: bool = True) -> Iterator[None]:
    """Raise a `SessionExpiredError` if the service says that the session has ended.

    The reference does not say which code it has for that. So code 1203 (not found) counts
    where nothing else can be missing, and otherwise the message does.
    """
    try:
        yield
    except (InvalidRequestError, NotFoundError) as error:
        is_missing = error.code == NOT_FOUND and only_session_can_be_missing
        has_ended = is_missing or _SAYS_THAT_A_SESSION_ENDED.search(error.message)
        if error.code is None or not has_ended:  # without a code it is not the service's reply
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
