"""Selected objects: their masks, as RLE and as PNG, and which number of ``size`` is the height."""

import base64
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from klingmask import Mask, RLEError
from klingmask.kling.errors import BadReplyError
from klingmask.kling.fields import SafeRepr, describe, get_field

__all__ = ["FrameSize", "ObjectId", "SelectedObject", "masks_of", "read_objects"]

ObjectId: TypeAlias = int | str
"""The service's name for a selected object, or its place in the list if it has none."""

MAX_DISTORTION = 1.1
"""How much the aspect ratio of a mask may differ from that of the frames, as a factor: encoders
round the sides of a frame up to multiples of 16 and more."""


class FrameSize(NamedTuple):
    """The height and width of a video's frames."""

    height: int
    width: int
    certain: bool
    """Whether a PNG showed it. The numbers of init-selection may be swapped."""

    def oriented(self, rle: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an rle with its ``size`` as (h, w).

        The reference's examples leave open whether ``size`` is (h, w) or (w, h). If it is
        wide where the frames are high, or the other way round, it is swapped.

        Raises
        ------
        BadReplyError
            If the frames' own size is not certain, so that either may be the swapped one,
            or if the two have different aspect ratios.
        """
        size = rle.get("size")
        if not isinstance(size, (list, tuple)) or [type(one) for one in size] != [int, int]:
            return rle  # Mask.from_rle says what is wrong with it
        height, width = size
        if (height, width) == (self.height, self.width):
            return rle
        is_swapped = (height > width) != (self.height > self.width) and height != width
        if is_swapped:
            height, width = width, height
        distortion = (height * self.width) / max(1, width * self.height)
        if not 1 / MAX_DISTORTION < distortion < MAX_DISTORTION:
            raise BadReplyError(f"size {size} does not fit frames of {self._text}")
        if is_swapped and not self.certain:
            raise BadReplyError(
                f"size {size} fits frames of {self._text} only if one of the two is swapped, "
                "and no PNG shows which"
            )
        return {**rle, "size": [height, width]}

    @property
    def _text(self) -> str:
        return f"{self.width} x {self.height} pixels (width x height)"


@dataclass(frozen=True, repr=False)
class SelectedObject(SafeRepr):
    """A selected object. Its masks are decoded when they are asked for."""

    object_id: ObjectId
    raw: Mapping[str, Any] = field(repr=False)
    """The entry of ``rle_mask_list`` as it came."""
    frame_size: FrameSize | None = field(default=None, repr=False, compare=False)
    """What is known of the video's frames; the object's own PNG takes precedence."""

    @cached_property
    def mask(self) -> Mask:
        """The object's mask, from its RLE or else from its PNG.

        Raises
        ------
        BadReplyError
            If it cannot be decoded, or if it is not clear which number of its ``size`` is
            the height; see `FrameSize.oriented`.
        """
        rle = self.raw.get("rle_mask")
        if rle is None and self.raw.get("png_mask") is not None:
            return self.png_mask
        if not isinstance(rle, Mapping):
            raise BadReplyError(f"the mask of object {self.object_id} is {describe(rle)}")
        frame_size = self.png_size or self.frame_size
        try:
            return Mask.from_rle(frame_size.oriented(rle) if frame_size else rle)
        except (RLEError, TypeError, BadReplyError) as error:
            reason = error.message if isinstance(error, BadReplyError) else str(error)
        # Raised outside of the handler: the RLEError may quote the reply, and a key in it.
        raise BadReplyError(f"the mask of object {self.object_id}: {reason}")

    @cached_property
    def png_mask(self) -> Mask:
        """The object's mask from its PNG."""
        png: Mapping[str, Any] = get_field(self.raw, "png_mask", dict)
        text = _without_prefix(get_field(png, "base64", str))
        try:
            return Mask.from_png(base64.b64decode(text, validate=True))
        except ValueError as error:
            reason = str(error)
        raise BadReplyError(f"the PNG of object {self.object_id}: {reason}")

    @property
    def png_size(self) -> FrameSize | None:
        """The size in the header of the object's PNG, if it has one; the rest is not decoded."""
        png = self.raw.get("png_mask")
        text = png.get("base64") if isinstance(png, Mapping) else None
        if not isinstance(text, str):
            return None
        try:
            start = base64.b64decode(_without_prefix(text)[:32], validate=True)
        except ValueError:
            return None
        if len(start) < 24 or start[:8] != b"\x89PNG\r\n\x1a\n" or start[12:16] != b"IHDR":
            return None
        width, height = struct.unpack(">II", start[16:24])
        return FrameSize(height, width, certain=True)


def _without_prefix(text: str) -> str:
    """Return base64 without the ``data:image/png;base64,`` that it may start with."""
    return text.partition(",")[2] or text


def read_objects(
    entries: Sequence[Any], frame_size: FrameSize | None = None
) -> tuple[SelectedObject, ...]:
    """Read an ``rle_mask_list``; an object without an id gets its place in the list."""
    objects = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise BadReplyError(f"rle_mask_list[{place}] is {describe(entry)}")
        name = entry.get("object_id")
        if isinstance(name, float) and name.is_integer():
            name = int(name)
        if isinstance(name, bool) or not isinstance(name, (int, str, type(None))):
            raise BadReplyError(f"rle_mask_list[{place}] has the object_id {describe(name)}")
        objects.append(SelectedObject(place if name is None else name, entry, frame_size))
    return tuple(objects)


def masks_of(objects: Iterable[SelectedObject]) -> dict[ObjectId, Mask]:
    """Return the masks by object id; the parts of one object are united."""
    masks: dict[ObjectId, Mask] = {}
    for one in objects:
        earlier, mask = masks.get(one.object_id), one.mask
        if earlier is not None and earlier.size != mask.size:
            raise BadReplyError(
                f"the parts of object {one.object_id} have the sizes {earlier.size} and {mask.size}"
            )
        masks[one.object_id] = mask if earlier is None else earlier | mask
    return masks
