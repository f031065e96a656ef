"""The service's replies, typed. Fields that are not known here stay in ``raw``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from klingmask import Mask, MaskArray
from klingmask.kling.errors import BadReplyError, RejectedSelectionError
from klingmask.kling.fields import SafeRepr, describe, get_field, get_id
from klingmask.kling.objects import FrameSize, ObjectId, SelectedObject, masks_of, read_objects
from klingmask.kling.redaction import clean
from klingmask.typing import BBox

__all__ = ["InitReply", "PreviewReply", "Reply", "SelectionReply", "Task", "TaskVideo"]

_STATUS = {"succeeded": "succeed"}  # the platform's newer replies have the first word


@dataclass(frozen=True, kw_only=True, repr=False)
class Reply(SafeRepr):
    """What all replies have in common."""

    request_id: str
    """The service's name for the request; its support asks for it."""
    final_unit_deduction: str | None
    """Units that the call cost, a decimal number as text."""
    final_balance_deduction: Mapping[str, Any] | None
    """Money that the call cost, if the service says so."""
    raw: Mapping[str, Any] = field(repr=False)
    """The reply's data as it came."""

    @staticmethod
    def _common(data: Mapping[str, Any], request_id: object) -> dict[str, Any]:
        units = data.get("final_unit_deduction")
        balance = data.get("final_balance_deduction")
        return {
            "request_id": request_id if isinstance(request_id, str) else "",
            "final_unit_deduction": None if units is None else str(units),
            "final_balance_deduction": balance if isinstance(balance, Mapping) else None,
            "raw": data,
        }

    @classmethod
    def parse(cls, envelope: Mapping[str, Any]) -> Self:
        """Read the reply of a selection endpoint."""
        return cls(**cls._common(_accepted(envelope), envelope.get("request_id")))


def _accepted(
    envelope: Mapping[str, Any], advice: str = RejectedSelectionError.advice
) -> Mapping[str, Any]:
    """Return the data of a selection endpoint's reply, if the recognition was not refused."""
    data: Mapping[str, Any] = get_field(envelope, "data", dict)
    if not data:
        raise BadReplyError("the reply's data is empty, so it does not say what was done")
    status = get_field(data, "status", int, 0)
    if status != 0:
        raise RejectedSelectionError(
            f"the service refused the selection: data.status {status}",
            rejection=status,
            raw=data,
            advice=advice,
        )
    return data


@dataclass(frozen=True, kw_only=True, repr=False)
class InitReply(Reply):
    """A new session, and what the service says about its video."""

    session_id: str
    fps: float
    original_duration: int
    """Length of the video in milliseconds."""
    width: int
    """Of the video, in pixels; 0 if the service does not say."""
    height: int
    total_frame: int
    """Number of frames."""
    normalized_video: str = field(repr=False)
    """URL of the video that the service will edit."""

    @property
    def frame_size(self) -> FrameSize | None:
        """Height and width of the frames, if the reply has them."""
        known = self.height > 0 and self.width > 0
        return FrameSize(self.height, self.width, certain=False) if known else None

    @classmethod
    def parse(cls, envelope: Mapping[str, Any]) -> Self:
        """Read the reply of init-selection."""
        data = _accepted(envelope, "the service cannot work with this video; give another one")
        return cls(
            session_id=get_id(data, "session_id"),
            fps=get_field(data, "fps", float),
            original_duration=int(get_field(data, "original_duration", float)),
            width=get_field(data, "width", int, 0),
            height=get_field(data, "height", int, 0),
            total_frame=get_field(data, "total_frame", int),
            normalized_video=get_field(data, "normalized_video", str, ""),
            **cls._common(data, envelope.get("request_id")),
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class SelectionReply(Reply):
    """The objects that a frame's points select."""

    session_id: str
    frame_index: int
    objects: tuple[SelectedObject, ...]

    @classmethod
    def parse(
        cls,
        envelope: Mapping[str, Any],
        asked: int | None = None,
        frame_size: FrameSize | None = None,
    ) -> Self:
        """Read the reply of add-selection or delete-selection.

        Parameters
        ----------
        envelope : mapping
        asked : int, optional
            The index of the frame that the reply must be about.
        frame_size : FrameSize, optional
            What is known of the video's frames.
        """
        data = _accepted(envelope)
        result: Mapping[str, Any] = get_field(data, "res", dict)
        index = get_field(result, "frame_index", int, asked or 0)
        if asked is not None and index != asked:
            raise BadReplyError(f"the reply is about frame {index}, the request about {asked}")
        entries: list[Any] = get_field(result, "rle_mask_list", list)
        return cls(
            session_id=get_field(data, "session_id", str, ""),
            frame_index=index,
            objects=read_objects(entries, frame_size),
            **cls._common(data, envelope.get("request_id")),
        )

    @property
    def masks(self) -> dict[ObjectId, Mask]:
        """The masks by object id; the parts of one object are united."""
        return masks_of(self.objects)

    @property
    def union(self) -> Mask:
        """Everything that is selected, as one mask."""
        if not self.objects:
            raise BadReplyError("nothing is selected, so there is no mask, nor a size for one")
        masks = list(self.masks.values())
        sizes = sorted({mask.size for mask in masks})
        if len(sizes) > 1:
            raise BadReplyError(f"the masks of frame {self.frame_index} have the sizes {sizes}")
        return MaskArray.from_rles(masks).union()

    @property
    def bbox(self) -> BBox:
        """The bounding box (x, y, w, h) of everything that is selected."""
        return self.union.bbox


@dataclass(frozen=True, kw_only=True, repr=False)
class PreviewReply(Reply):
    """The URLs of a preview."""

    session_id: str
    video: str = field(repr=False)
    """URL of the video with the masks drawn on it."""
    video_cover: str = field(repr=False)
    """URL of its cover image."""
    tracking_output: str = field(repr=False)
    """URL of the masks of each frame."""

    @classmethod
    def parse(cls, envelope: Mapping[str, Any]) -> Self:
        """Read the reply of preview-selection."""
        data = _accepted(envelope)
        result: Mapping[str, Any] = get_field(data, "res", dict)
        if not any(result.get(name) for name in ("video", "video_cover", "tracking_output")):
            raise BadReplyError(f"the preview has no URL; its res is {describe(result)}")
        return cls(
            session_id=get_field(data, "session_id", str, ""),
            video=get_field(result, "video", str, ""),
            video_cover=get_field(result, "video_cover", str, ""),
            tracking_output=get_field(result, "tracking_output", str, ""),
            **cls._common(data, envelope.get("request_id")),
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class TaskVideo(SafeRepr):
    """A video that a task made."""

    id: str
    duration: str
    """Seconds, as text."""
    session_id: str | None
    url: str = field(repr=False)
    """Valid for 30 days; empty if the service does not say."""
    watermark_url: str | None = field(repr=False)
    """URL of the version with a watermark, if there is one."""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Read an entry of task_result.videos."""
        if not isinstance(data, Mapping):
            raise BadReplyError(f"a video of the task is {describe(data)}")
        return cls(
            id=get_field(data, "id", str, "?"),
            duration=str(data.get("duration", "")),
            session_id=get_field(data, "session_id", str, "") or None,
            url=get_field(data, "url", str, ""),
            watermark_url=get_field(data, "watermark_url", str, "") or None,
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Task(Reply):
    """A task as the service described it."""

    task_id: str
    task_status: str
    """submitted, processing, succeed or failed."""
    task_status_msg: str
    """Why it failed, without keys and the queries of URLs."""
    external_task_id: str | None
    """The id that the client chose."""
    videos: tuple[TaskVideo, ...]
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def parse(
        cls, envelope: Mapping[str, Any], task_id: str | None = None, external: str | None = None
    ) -> Self:
        """Read the reply of create or get, which must be about the task with one of these ids."""
        task = cls.read(get_field(envelope, "data", dict), envelope.get("request_id"))
        own = (task.task_id, task.external_task_id)
        is_unnamed = external is not None and task.external_task_id is None
        asked = external if task_id is None else task_id
        if asked is not None and asked not in own and not is_unnamed:
            raise BadReplyError(f"the task {task.task_id} came instead of {asked}")
        return task

    @classmethod
    def parse_list(cls, envelope: Mapping[str, Any]) -> list[Self]:
        """Read the reply of list."""
        entries: list[Any] = get_field(envelope, "data", list)
        return [cls.read(entry, envelope.get("request_id")) for entry in entries]

    @classmethod
    def read(cls, data: Mapping[str, Any], request_id: object = "") -> Self:
        """Read a task from the data of a reply, or from a callback."""
        info: Mapping[str, Any] = get_field(data, "task_info", dict, {})
        result: Mapping[str, Any] = get_field(data, "task_result", dict, {})
        videos: list[Any] = get_field(result, "videos", list, [])
        status = get_field(data, "task_status", str)
        if not status:
            raise BadReplyError("the reply's task_status is empty")
        return cls(
            task_id=get_id(data, "task_id"),
            task_status=_STATUS.get(status, status),
            task_status_msg=clean(get_field(data, "task_status_msg", str, "")),
            external_task_id=get_field(info, "external_task_id", str, "") or None,
            videos=tuple(TaskVideo.parse(video) for video in videos),
            created_at=_time_of(data.get("created_at")),
            updated_at=_time_of(data.get("updated_at")),
            **cls._common(data, request_id),
        )

    @property
    def ended(self) -> bool:
        """Whether the task has succeeded or failed."""
        return self.task_status in ("succeed", "failed")


def _time_of(milliseconds: object) -> datetime | None:
    """Return a time in Unix milliseconds as a datetime; None for anything else."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float, str)):
        return None
    try:
        return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
