"""Masks over a whole video."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from klingmask.datasets import LabelledMasks, find_masks
from klingmask.overlay import KLING_ALPHA, Colors, Masks, overlay
from klingmask.video.reading import Image, count_frames
from klingmask.video.writing import map_video

__all__ = ["Tracking", "masks_by_frame", "overlay_video"]

Tracking: TypeAlias = LabelledMasks | Mapping[int, Masks] | Sequence[Masks] | Mapping[str, Any]
"""Masks by frame: a mapping from frame index to masks, a sequence of the masks of
every so many frames, what `klingmask.datasets` read, or an SA-V document."""


def overlay_video(
    source: str | PathLike[str],
    tracking: Tracking,
    destination: str | PathLike[str],
    progress: bool = False,
    *,
    colors: Colors | None = None,
    opacity: float = KLING_ALPHA / 255,
    outline: int = 0,
    labels: bool = False,
    overlap: Literal["over", "majority"] = "over",
    step: int | None = None,
    side_by_side: bool = False,
) -> None:
    """Lay masks over a video.

    Frame after frame is decoded, laid over and encoded; memory does not grow
    with the video. The result has the size, the times and the sound of the
    source, and is H.264 as browsers play it (yuv420p, so an odd width or height
    gains a pixel). It comes to be under another name and is moved into place at
    the end: there is no half a video if something fails.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    tracking : mapping, sequence, LabelledMasks or SA-V document
        Masks, as `klingmask.overlay` takes them, by frame.
    destination : path
        Whose suffix names the container: ``.mp4``, ``.mov`` or ``.mkv``.
    progress : bool
        Whether to show a progress bar.
    colors, opacity, outline, labels, overlap
        As for `klingmask.overlay`; colours stay with object ids.
    step : int, optional
        For how many frames masks stand: those of frame i are also shown on the
        `step` - 1 frames after it. By default 1 for a mapping; a sequence and an
        SA-V file are spread evenly over the video.
    side_by_side : bool
        Whether to show the source to the left of the result.

    Raises
    ------
    RLEError
        If a mask is malformed or not of the video's size.
    ValueError
        If the source is not a video that can be read.
    """
    by_frame = masks_by_frame(tracking, step, lambda: count_frames(source))

    def laid(picture: Image, index: int) -> Image:
        result = overlay(
            picture,
            by_frame(index),
            colors,
            opacity,
            outline,
            labels=labels,
            overlap=overlap,
            out=None if side_by_side else picture,
        )
        return np.concatenate([picture, result], 1) if side_by_side else result

    map_video(source, laid, destination, progress)


def masks_by_frame(
    tracking: Tracking, step: int | None, total: Callable[[], int]
) -> Callable[[int], Masks]:
    """A function that gives the masks of a frame."""
    if step is not None and step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    if isinstance(tracking, Mapping) and "masklet" in tracking:
        tracking = find_masks(tracking)
    if isinstance(tracking, LabelledMasks):
        every = tracking.every
        tracking = tracking.tracking()
        if step is not None and every > 1:  # the file's own spacing gives way
            tracking = {frame // every * step: masks for frame, masks in tracking.items()}
        step = step or every
    if isinstance(tracking, Mapping):
        by_frame = cast("Mapping[int, Masks]", tracking)
        step = step or 1
    else:
        step = step or max(1, math.ceil(total() / max(1, len(tracking))))
        by_frame = {index * step: masks for index, masks in enumerate(tracking)}
    strange = next((key for key in by_frame if not isinstance(key, (int, np.integer))), None)
    if strange is not None:
        raise TypeError(f"tracking must go by frame index, got the key {strange!r}")

    marked = sorted(by_frame)

    def masks_of(index: int) -> Masks:
        place = bisect_right(marked, index) - 1
        return by_frame[marked[place]] if place >= 0 and index - marked[place] < step else []

    return masks_of
