"""Videos in and out: a selection, a preview and an edit, each from file to file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from PIL import Image

from klingmask import Mask, overlay
from klingmask.emulator.vision.regions import Checkpoint, Picture
from klingmask.emulator.vision.removal import Removal
from klingmask.emulator.vision.scene import scene_of
from klingmask.emulator.vision.segmenter import segment
from klingmask.emulator.vision.tracker import track
from klingmask.video import frame_at, frames, map_video

__all__ = ["UnreadableError", "VideoFacts", "edit", "follow", "read_facts", "select", "show"]


class VideoFacts(NamedTuple):
    """What a video is like, shown upright."""

    height: int
    width: int
    fps: float
    n_frames: int


class UnreadableError(Exception):
    """A file that is no whole video."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, ValueError, IndexError, OSError) as error:
        raise UnreadableError(f"the video cannot be read: {error}") from error


def read_facts(path: Path) -> VideoFacts:
    """Read what init-selection replies with."""
    with _reading(), av.open(str(path)) as container:
        height, width = frame_at(path, 0).shape[:2]
        stream = container.streams.video[0]
        fps = float(stream.average_rate or 0)
        n_frames = stream.frames or sum(1 for _ in container.decode(stream))
    return VideoFacts(height, width, fps, n_frames)


def select(
    path: Path, index: int, points: Sequence[tuple[float, float]], checkpoint: Checkpoint
) -> Mask:
    """Select the thing under the points of a frame."""
    with _reading():
        scene, picture = scene_of(path, checkpoint), frame_at(path, index)
    return segment(picture, points, scene.motion(index)[0])


def follow(path: Path, marks: Mapping[int, Mask], checkpoint: Checkpoint) -> list[Mask]:
    """Follow the marked masks to all frames."""
    with _reading():
        scene = scene_of(path, checkpoint)
    return track(scene, marks, checkpoint)


def show(path: Path, masks: Sequence[Mask], result: Path, checkpoint: Checkpoint) -> Picture:
    """Write the video with its masks laid over it, and return the first frame."""
    first: list[Picture] = []

    def laid_over(picture: Picture, index: int) -> Picture:
        checkpoint()
        shown = overlay(picture, {0: _mask_of(masks, index)}, out=picture)
        if not first:
            first.append(shown.copy())
        return shown

    map_video(path, laid_over, result)
    return first[0]


def edit(
    path: Path,
    masks: Sequence[Mask],
    images: Sequence[Path],
    result: Path,
    checkpoint: Checkpoint,
) -> None:
    """Write the video without what the masks hold, and with the image in its place, if any.

    Without masks, the images are added at the bottom, side by side.
    """
    pasted = [_read_rgba(image) for image in images]
    removal: Removal | None = None
    if masks:
        with _reading():
            scene = scene_of(path, checkpoint)
            removal = Removal(lambda: frames(path), scene, masks, checkpoint)

    def edited(picture: Picture, index: int) -> Picture:
        checkpoint()
        if removal is None:
            height, width = picture.shape[:2]
            for place, image in enumerate(pasted):
                box = (place * width // 2, height // 2, width // 2, height // 2)
                picture = _paste(picture, image, box)
            return picture
        mask = _mask_of(masks, index)
        picture = removal(picture, index)
        return _paste(picture, pasted[0], mask.bbox) if pasted and mask else picture

    map_video(path, edited, result)


def _mask_of(masks: Sequence[Mask], index: int) -> Mask:
    """The mask of a frame; of the last one, where a file has more frames than it claims."""
    return masks[min(index, len(masks) - 1)]


def _read_rgba(path: Path) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


def _paste(picture: Picture, image: Picture, bbox: tuple[int, int, int, int]) -> Picture:
    """Paste an RGBA image into a box, as large as it fits, centred at the bottom."""
    x, y, w, h = bbox
    scale = min(w / image.shape[1], h / image.shape[0])
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    left, top = x + (w - width) // 2, y + h - height
    part = picture[top : top + height, left : left + width]
    scaled = scaled[: part.shape[0], : part.shape[1]]
    alpha = scaled[..., 3:].astype(np.uint16)
    part[...] = (scaled[..., :3] * alpha + part * (255 - alpha) + 127) // 255
    return picture
