"""What the service's replies say, typed; whatever else they say stays in ``raw``."""

import base64
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self, TypeAlias, TypeVar

from klingmask import Mask, MaskArray, RLEError
from klingmask.kling.errors import BadReplyError, RejectedSelectionError
from klingmask.kling.urls import without_queries
from klingmask.typing import BBox

__all__ = [
    "InitReply",
    "ObjectId",
    "PreviewReply",
    "Reply",
    "SelectedObject",
    "SelectionReply",
    "Task",
    "TaskVideo",
]

_T = TypeVar("_T")

ObjectId: TypeAlias = int | str
"""The service's name for a selected object, or else its place."""

_STATUS = {"succeeded": "succeed"}  # the word of the platform's newer replies


def described(value: object) -> str:
    """What kind of value it is; no text of it, which may be a signed URL."""
    if isinstance(value, Mapping):
        keys = ", ".join(without_queries(str(key)[:40]) for key in list(value)[:12])
        return f"an object with the keys {keys}" if keys else "an empty object"
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return f"{value!r}"[:60]


def _get(source: Any, name: str, kind: type[_T], default: _T | None = None) -> _T:
    """A field of that kind; null and absence are the default, if there is one."""
    value = source.get(name) if isinstance(source, Mapping) else None
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ids come as either
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            value = float(value)
    if kind is int and isinstance(value, (float, str)):
        with suppress(ValueError, OverflowError):
            value = int(value) if float(value).is_integer() else value
    odd = (kind is int and isinstance(value, bool)) or (
        isinstance(value, float) and not math.isfinite(value)
    )
    if isinstance(value, kind) and not odd:
        return value
    if value in (None, "") and default is not None:
        return default
    raise BadReplyError(
        f"the reply's {name} should be of the type {kind.__name__}; there is {described(value)} "
        f"in {described(source)}"
    )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What every reply has."""

    request_id: str
    final_unit_deduction: str | None
    """Units that the call cost, a decimal number as text."""
    final_balance_deduction: Mapping[str, Any] | None
    """What it cost in money, where the service says so."""
    raw: Mapping[str, Any] = field(repr=False)
    """The reply's data as it came, with fields that are not known here."""

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
        """Read a reply of a selection endpoint."""
        return cls(**cls._common(_accepted(envelope), envelope.get("request_id")))


def _accepted(
    envelope: Mapping[str, Any], advice: str = RejectedSelectionError.advice
) -> Mapping[str, Any]:
    """The data of a selection endpoint's envelope, if the recognition was not refused."""
    data: Mapping[str, Any] = _get(envelope, "data", dict)
    status = _get(data, "status", int, 0)
    if status != 0:
        raise RejectedSelectionError(
            f"the service refused the selection: data.status {status}",
            rejection=status,
            raw=data,
            advice=advice,
        )
    return data


@dataclass(frozen=True, kw_only=True)
class InitReply(Reply):
    """A session, and what the service found out about its video."""

    session_id: str
    fps: float
    original_duration: int
    """Of the video, in milliseconds."""
    width: int
    height: int
    total_frame: int
    normalized_video: str = field(repr=False)
    """URL of the video as the service will edit it."""

    @classmethod
    def parse(cls, envelope: Mapping[str, Any]) -> Self:
        """Read the reply of init-selection."""
        data = _accepted(envelope, "the service cannot work with this video; give another one")
        return cls(
            session_id=_get(data, "session_id", str),
            fps=_get(data, "fps", float),
            original_duration=int(_get(data, "original_duration", float)),
            width=_get(data, "width", int, 0),
            height=_get(data, "height", int, 0),
            total_frame=_get(data, "total_frame", int),
            normalized_video=_get(data, "normalized_video", str, ""),
            **cls._common(data, envelope.get("request_id")),
        )


@dataclass(frozen=True)
class SelectedObject:
    """An object that was selected; its masks are decoded when they are asked for."""

    object_id: ObjectId
    raw: Mapping[str, Any] = field(repr=False)

    @cached_property
    def mask(self) -> Mask:
        """The object's mask, from its RLE or else from its PNG.

        The reference's examples leave open whether ``size`` is (h, w) or (w, h);
        where the PNG's own height and width are the other way round, they hold.
        """
        rle = self.raw.get("rle_mask")
        if not isinstance(rle, Mapping):
            return self.png_mask
        with suppress(BadReplyError):
            own = _png_size(self._png())
            if own is not None and list(own[::-1]) == rle.get("size"):
                rle = {**rle, "size": list(own)}
        try:
            return Mask.from_rle(rle)
        except (RLEError, TypeError) as error:
            raise BadReplyError(f"the mask of object {self.object_id}: {error}") from error

    @cached_property
    def png_mask(self) -> Mask:
        """The object's mask from its PNG."""
        try:
            return Mask.from_png(self._png())
        except RLEError as error:
            raise BadReplyError(f"the PNG of object {self.object_id}: {error}") from error

    def _png(self) -> bytes:
        png: Mapping[str, Any] = _get(self.raw, "png_mask", dict)
        text = _get(png, "base64", str)
        try:
            return base64.b64decode(text.partition(",")[2] or text, validate=True)
        except ValueError as error:
            raise BadReplyError(f"the PNG of object {self.object_id}: {error}") from error


def selected(listed: Sequence[Any]) -> tuple[SelectedObject, ...]:
    """Read an ``rle_mask_list``; a nameless object has its place for a name."""
    objects = []
    for place, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            raise BadReplyError(f"rle_mask_list[{place}] is {described(entry)}")
        name = entry.get("object_id")
        name = place if name is None else name
        objects.append(SelectedObject(name if isinstance(name, int) else str(name), entry))
    return tuple(objects)


def masks_of(objects: Iterable[SelectedObject]) -> dict[ObjectId, Mask]:
    """Return masks by object id; an object that comes in parts is the union of them."""
    masks: dict[ObjectId, Mask] = {}
    for one in objects:
        known = masks.get(one.object_id)
        try:
            masks[one.object_id] = one.mask if known is None else known | one.mask
        except RLEError as error:
            raise BadReplyError(f"the parts of object {one.object_id}: {error}") from error
    return masks


def _png_size(content: bytes) -> tuple[int, int] | None:
    """Height and width, which the first chunk of a PNG says."""
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", content[16:24])
    return height, width


@dataclass(frozen=True, kw_only=True)
class SelectionReply(Reply):
    """The objects that a frame's points select."""

    session_id: str
    frame_index: int
    objects: tuple[SelectedObject, ...]

    @classmethod
    def parse(cls, envelope: Mapping[str, Any], asked: int | None = None) -> Self:
        """Read the reply of add-selection or delete-selection, about the frame asked for."""
        data = _accepted(envelope)
        result: Mapping[str, Any] = _get(data, "res", dict, {})
        index = _get(result, "frame_index", int, asked or 0)
        if asked is not None and index != asked:
            raise BadReplyError(f"the reply is about frame {index}, the request about {asked}")
        listed: list[Any] = _get(result, "rle_mask_list", list, [])
        return cls(
            session_id=_get(data, "session_id", str, ""),
            frame_index=index,
            objects=selected(listed),
            **cls._common(data, envelope.get("request_id")),
        )

    @property
    def masks(self) -> dict[ObjectId, Mask]:
        """The masks by object id; an object that comes in parts is the union of them."""
        return masks_of(self.objects)

    @property
    def union(self) -> Mask:
        """All that is selected, as one mask."""
        if not self.objects:
            raise BadReplyError("nothing is selected, so there is no mask, nor a size for one")
        try:
            return MaskArray.from_rles(self.masks.values()).union()
        except RLEError as error:
            raise BadReplyError(f"the masks of frame {self.frame_index}: {error}") from error

    @property
    def bbox(self) -> BBox:
        """The bounding box (x, y, w, h) of all that is selected."""
        return self.union.bbox


@dataclass(frozen=True, kw_only=True)
class PreviewReply(Reply):
    """Where the preview of a session's selection is."""

    session_id: str
    video: str = field(repr=False)
    """URL of the video with the masks on it."""
    video_cover: str = field(repr=False)
    """URL of its cover image."""
    tracking_output: str = field(repr=False)
    """URL of the masks of each frame."""

    @classmethod
    def parse(cls, envelope: Mapping[str, Any]) -> Self:
        """Read the reply of preview-selection."""
        data = _accepted(envelope)
        result: Mapping[str, Any] = _get(data, "res", dict)
        return cls(
            session_id=_get(data, "session_id", str, ""),
            video=_get(result, "video", str, ""),
            video_cover=_get(result, "video_cover", str, ""),
            tracking_output=_get(result, "tracking_output", str, ""),
            **cls._common(data, envelope.get("request_id")),
        )


@dataclass(frozen=True, kw_only=True)
class TaskVideo:
    """A video that a task made."""

    id: str
    duration: str
    """In seconds, as text."""
    session_id: str | None
    url: str = field(repr=False)
    """Where it is, for 30 days; empty if the service does not say."""
    watermark_url: str | None = field(repr=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Read an entry of task_result.videos."""
        if not isinstance(data, Mapping):
            raise BadReplyError(f"a video of the task is {described(data)}")
        return cls(
            id=_get(data, "id", str, "?"),
            duration=str(data.get("duration", "")),
            session_id=_get(data, "session_id", str, "") or None,
            url=_get(data, "url", str, ""),
            watermark_url=_get(data, "watermark_url", str, "") or None,
        )


@dataclass(frozen=True, kw_only=True)
class Task(Reply):
    """A task as it stood when the service was asked."""

    task_id: str
    task_status: str
    """submitted, processing, succeed or failed."""
    task_status_msg: str
    """Why it failed, without the queries of URLs."""
    external_task_id: str | None
    videos: tuple[TaskVideo, ...]
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def parse(
        cls, envelope: Mapping[str, Any], task_id: str | None = None, external: str | None = None
    ) -> Self:
        """Read the reply of create or get, about the task asked for by either of its ids."""
        task = cls.read(_get(envelope, "data", dict), envelope.get("request_id"))
        own = (task.task_id, task.external_task_id)
        unnamed = external is not None and task.external_task_id is None
        asked = external if task_id is None else task_id
        if asked is not None and asked not in own and not unnamed:
            raise BadReplyError(f"the task {task.task_id} came instead of {asked}")
        return task

    @classmethod
    def parse_list(cls, envelope: Mapping[str, Any]) -> list[Self]:
        """Read the reply of list."""
        entries: list[Any] = _get(envelope, "data", list, [])
        return [cls.read(entry, envelope.get("request_id")) for entry in entries]

    @classmethod
    def read(cls, data: Mapping[str, Any], request_id: object = "") -> Self:
        """Read a task in a reply or a callback."""
        info: Mapping[str, Any] = _get(data, "task_info", dict, {})
        result: Mapping[str, Any] = _get(data, "task_result", dict, {})
        videos: list[Any] = _get(result, "videos", list, [])
        return cls(
            task_id=_get(data, "task_id", str),
            task_status=_STATUS.get(status := _get(data, "task_status", str), status),
            task_status_msg=without_queries(_get(data, "task_status_msg", str, "")),
            external_task_id=_get(info, "external_task_id", str, "") or None,
            videos=tuple(TaskVideo.parse(video) for video in videos),
            created_at=_moment(data.get("created_at")),
            updated_at=_moment(data.get("updated_at")),
            **cls._common(data, request_id),
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.task_status in ("succeed", "failed")


def _moment(milliseconds: object) -> datetime | None:
    """Unix milliseconds as a time, if it is one."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float, str)):
        return None
    try:
        return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
