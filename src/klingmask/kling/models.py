"""What the service's replies say, typed; whatever else they say stays in ``raw``."""

import base64
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

from klingmask import Mask, MaskArray, RLEError
from klingmask.kling.errors import BadReplyError, RejectedSelectionError
from klingmask.kling.redaction import clean
from klingmask.typing import BBox

__all__ = [
    "FrameSize",
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
        keys = ", ".join(clean(str(key), 40) for key in list(value)[:12])
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


def _identifier(source: Any, name: str) -> str:
    """An id that can be sent back, also in the path of a URL."""
    value = _get(source, name, str)
    try:
        value.encode()
    except UnicodeEncodeError:
        value = ""
    if value.strip() in ("", ".", ".."):
        raise BadReplyError(f"the reply's {name} is no id: {described(source[name])}")
    return value


class _Shown:
    """A dataclass whose repr holds no secret, also where the service put one into an id."""

    def __repr__(self: Any) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
        return clean(f"{type(self).__name__}({', '.join(shown)})")


class FrameSize(NamedTuple):
    """How large a video's frames are."""

    height: int
    width: int
    certain: bool
    """Whether a PNG shows it; the numbers of init-selection may be the wrong way round."""

    def upright(self, rle: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an rle of such a frame with its ``size`` as (h, w).

        The reference's examples leave open whether ``size`` is (h, w) or (w, h).

        Raises
        ------
        BadReplyError
            If which it is cannot be told, or it fits no frame of this size.
        """
        size = rle.get("size")
        if not isinstance(size, (list, tuple)) or [type(one) for one in size] != [int, int]:
            return rle  # the reader of the rle says what is wrong with it
        height, width = size
        if (height, width) == self[:2]:
            return rle
        turned = (height > width) != (self.height > self.width) and height != width
        if turned:
            height, width = width, height
        if not 0.9 < (height * self.width) / max(1, width * self.height) < 1.1:
            raise BadReplyError(f"size {size} is not that of frames of {self._text}")
        if turned and not self.certain:
            raise BadReplyError(
                f"size {size} fits frames of {self._text} only the other way round, and "
                "no PNG shows which of the two is right"
            )
        return {**rle, "size": [height, width]}

    @property
    def _text(self) -> str:
        return f"{self.width} x {self.height} pixels (width x height)"


@dataclass(frozen=True, kw_only=True, repr=False)
class Reply(_Shown):
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
    if not data:
        raise BadReplyError("the reply's data is empty, so it does not say what was done")
    status = _get(data, "status", int, 0)
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
            session_id=_identifier(data, "session_id"),
            fps=_get(data, "fps", float),
            original_duration=int(_get(data, "original_duration", float)),
            width=_get(data, "width", int, 0),
            height=_get(data, "height", int, 0),
            total_frame=_get(data, "total_frame", int),
            normalized_video=_get(data, "normalized_video", str, ""),
            **cls._common(data, envelope.get("request_id")),
        )


@dataclass(frozen=True, repr=False)
class SelectedObject(_Shown):
    """An object that was selected; its masks are decoded when they are asked for."""

    object_id: ObjectId
    raw: Mapping[str, Any] = field(repr=False)
    frame: FrameSize | None = field(default=None, repr=False, compare=False)
    """What is known of the video's frames, where the object has no PNG."""

    @cached_property
    def mask(self) -> Mask:
        """The object's mask, from its RLE or else from its PNG.

        Raises
        ------
        BadReplyError
            If it cannot be decoded, or its ``size`` does not fit the video's frames;
            see `FrameSize.upright`.
        """
        rle = self.raw.get("rle_mask")
        if rle is None and self.raw.get("png_mask") is not None:
            return self.png_mask
        if not isinstance(rle, Mapping):
            raise BadReplyError(f"the mask of object {self.object_id} is {described(rle)}")
        frame = self.png_size or self.frame
        try:
            return Mask.from_rle(frame.upright(rle) if frame else rle)
        except (RLEError, TypeError, BadReplyError) as error:
            reason = error.message if isinstance(error, BadReplyError) else str(error)
        raise BadReplyError(f"the mask of object {self.object_id}: {reason}")

    @cached_property
    def png_mask(self) -> Mask:
        """The object's mask from its PNG."""
        png: Mapping[str, Any] = _get(self.raw, "png_mask", dict)
        try:
            return Mask.from_png(
                base64.b64decode(_raw_base64(_get(png, "base64", str)), validate=True)
            )
        except ValueError as error:
            reason = str(error)
        raise BadReplyError(f"the PNG of object {self.object_id}: {reason}")

    @property
    def png_size(self) -> FrameSize | None:
        """The size that the first chunk of the object's PNG says, if there is one."""
        png = self.raw.get("png_mask")
        text = png.get("base64") if isinstance(png, Mapping) else None
        if not isinstance(text, str):
            return None
        try:
            start = base64.b64decode(_raw_base64(text)[:32], validate=True)
        except ValueError:
            return None
        if len(start) < 24 or start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
            return None
        width, height = struct.unpack(">II", start[16:24])
        return FrameSize(height, width, certain=True)


def _raw_base64(text: str) -> str:
    """A text without the ``data:`` prefix that it may have."""
    return text.partition(",")[2] or text


def selected(listed: Sequence[Any], frame: FrameSize | None = None) -> tuple[SelectedObject, ...]:
    """Read an ``rle_mask_list``; a nameless object has its place for a name."""
    objects = []
    for place, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            raise BadReplyError(f"rle_mask_list[{place}] is {described(entry)}")
        name = entry.get("object_id")
        if isinstance(name, float) and name.is_integer():
            name = int(name)
        if isinstance(name, bool) or not isinstance(name, (int, str, type(None))):
            raise BadReplyError(f"rle_mask_list[{place}] has for its object_id {described(name)}")
        objects.append(SelectedObject(place if name is None else name, entry, frame))
    return tuple(objects)


def masks_of(objects: Iterable[SelectedObject]) -> dict[ObjectId, Mask]:
    """Return masks by object id; an object that comes in parts is the union of them."""
    masks: dict[ObjectId, Mask] = {}
    for one in objects:
        known = masks.get(one.object_id)
        mask = one.mask
        if known is not None and known.size != mask.size:
            raise BadReplyError(
                f"the parts of object {one.object_id} have the sizes {known.size} and {mask.size}"
            )
        masks[one.object_id] = mask if known is None else known | mask
    return masks


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
        frame: FrameSize | None = None,
    ) -> Self:
        """Read the reply of add-selection or delete-selection, about the frame asked for."""
        data = _accepted(envelope)
        result: Mapping[str, Any] = _get(data, "res", dict)
        index = _get(result, "frame_index", int, asked or 0)
        if asked is not None and index != asked:
            raise BadReplyError(f"the reply is about frame {index}, the request about {asked}")
        listed: list[Any] = _get(result, "rle_mask_list", list)
        return cls(
            session_id=_get(data, "session_id", str, ""),
            frame_index=index,
            objects=selected(listed, frame),
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
        masks = list(self.masks.values())
        sizes = sorted({mask.size for mask in masks})
        if len(sizes) > 1:
            raise BadReplyError(f"the masks of frame {self.frame_index} have the sizes {sizes}")
        return MaskArray.from_rles(masks).union()

    @property
    def bbox(self) -> BBox:
        """The bounding box (x, y, w, h) of all that is selected."""
        return self.union.bbox


@dataclass(frozen=True, kw_only=True, repr=False)
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
        if not any(result.get(name) for name in ("video", "video_cover", "tracking_output")):
            raise BadReplyError(f"the preview has no URL; its res is {described(result)}")
        return cls(
            session_id=_get(data, "session_id", str, ""),
            video=_get(result, "video", str, ""),
            video_cover=_get(result, "video_cover", str, ""),
            tracking_output=_get(result, "tracking_output", str, ""),
            **cls._common(data, envelope.get("request_id")),
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class TaskVideo(_Shown):
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


@dataclass(frozen=True, kw_only=True, repr=False)
class Task(Reply):
    """A task as it stood when the service was asked."""

    task_id: str
    task_status: str
    """submitted, processing, succeed or failed."""
    task_status_msg: str
    """Why it failed, without keys and the queries of URLs."""
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
        entries: list[Any] = _get(envelope, "data", list)
        return [cls.read(entry, envelope.get("request_id")) for entry in entries]

    @classmethod
    def read(cls, data: Mapping[str, Any], request_id: object = "") -> Self:
        """Read a task in a reply or a callback."""
        info: Mapping[str, Any] = _get(data, "task_info", dict, {})
        result: Mapping[str, Any] = _get(data, "task_result", dict, {})
        videos: list[Any] = _get(result, "videos", list, [])
        status = _get(data, "task_status", str)
        if not status:
            raise BadReplyError("the reply's task_status is empty")
        return cls(
            task_id=_identifier(data, "task_id"),
            task_status=_STATUS.get(status, status),
            task_status_msg=clean(_get(data, "task_status_msg", str, "")),
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
