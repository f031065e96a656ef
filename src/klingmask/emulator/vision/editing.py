"""What a preview and a task do to a video, frame by frame; `go_on` may end it at each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
from PIL import Image

from klingmask import Mask, overlay
from klingmask.emulator.vision.regions import GoOn, Picture
from klingmask.emulator.vision.removal import Removal
from klingmask.emulator.vision.scene import scene_of
from klingmask.emulator.vision.segmenter import segment
from klingmask.emulator.vision.tracker import track
from klingmask.video import frame_at, frames, map_video

__all__ = ["Facts", "UnreadableError", "edit", "facts", "follow", "select", "show"]

Facts: TypeAlias = tuple[int, int, float, int]


class UnreadableError(Exception):
    """A file that is no whole video."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, ValueError, IndexError, OSError) as error:
        raise UnreadableError(f"the video cannot be read: {error}") from error


def facts(path: Path) -> Facts:
    """Height and width as it is shown, frames a second, and the number of frames."""
    with _reading(), av.open(str(path)) as container:
        height, width = frame_at(path, 0).shape[:2]
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        total = stream.frames or sum(1 for _ in container.decode(stream))
    return height, width, rate, total


def select(path: Path, index: int, points: Sequence[tuple[float, float]], go_on: GoOn) -> Mask:
    """Select what is around the points of a frame."""
    with _reading():
        scene, picture = scene_of(path, go_on), frame_at(path, index)
    return segment(picture, points, scene.moving(index)[0])


def follow(path: Path, marked: Mapping[int, Mask], go_on: GoOn) -> list[Mask]:
    """The selection on every frame: that of the nearest marked frame, carried there."""
    with _reading():
        scene = scene_of(path, go_on)
    return track(scene, marked, go_on)


def show(path: Path, masks: Sequence[Mask], result: Path, go_on: GoOn) -> Picture:
    """Write the video with the masks laid over it, and return its first frame."""
    cover: list[Picture] = []

    def laid(picture: Picture, index: int) -> Picture:
        go_on()
        shown = overlay(picture, {0: _of(masks, index)}, out=picture)
        if not cover:
            cover.append(shown.copy())
        return shown

    map_video(path, laid, result)
    return cover[0]


def edit(
    path: Path, masks: Sequence[Mask], images: Sequence[Path], result: Path, go_on: GoOn
) -> None:
    """Write the video with what the masks hold removed, and the images put there.

    Without masks, the images are added at the foot of the picture, side by side.
    """
    pasted = [_rgba(image) for image in images]
    removal: Removal | None = None
    if masks:
        with _reading():
            scene = scene_of(path, go_on)
            removal = Removal(lambda: frames(path), scene, masks, go_on)

    def changed(picture: Picture, index: int) -> Picture:
        go_on()
        if removal is None:
            height, width = picture.shape[:2]
            for place, image in enumerate(pasted):
                box = (place * width // 2, height // 2, width // 2, height // 2)
                picture = _pasted(picture, image, box)
            return picture
        mask = _of(masks, index)
        picture = removal(picture, index)
        return _pasted(picture, pasted[0], mask.bbox) if pasted and mask else picture

    map_video(path, changed, result)


def _of(masks: Sequence[Mask], index: int) -> Mask:
    return masks[min(index, len(masks) - 1)]


def _rgba(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


def _pasted(picture: Picture, image: Picture, bbox: tuple[int, int, int, int]) -> Picture:
    """Lay an RGBA image into a box, as large as fits, in the middle of its foot."""
    x, y, w, h = bbox
    scale = min(w / image.shape[1], h / image.shape[0])
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    left, top = x + (w - width) // 2, y + h - height
    part = picture[top : top + height, left : left + width]
    small = small[: part.shape[0], : part.shape[1]]
    alpha = small[..., 3:].astype(np.uint16)
    part[...] = (small[..., :3] * alpha + part * (255 - alpha) + 127) // 255
    return picture
