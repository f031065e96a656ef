"""Masks over a whole video."""

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence, Sized
from os import fspath
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from klingmask import Mask
from klingmask.datasets import LabelledMasks, find_masks
from klingmask.overlay import KLING_ALPHA, Colors, Masks, overlay
from klingmask.video.errors import VideoWarning
from klingmask.video.reading import Image, Source, count_frames
from klingmask.video.writing import map_video

__all__ = ["MasksByFrame", "Tracking", "overlay_video"]

Tracking: TypeAlias = LabelledMasks | Mapping[int, Masks] | Sequence[Masks] | Mapping[str, Any]
"""Masks by frame: a mapping from frame index to masks, a sequence of the masks of
every so many frames, what `klingmask.datasets` read, or an SA-V document."""


def overlay_video(
    source: Source,
    tracking: Tracking,
    destination: Source,
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
    with the video. The result has the size, the shape, the times and the sound of
    the source, begins at 0, and is H.264 as browsers play it (yuv420p, so an odd
    width or height gains a pixel). It comes to be under another name and is moved
    into place at the end: there is no half a video if something fails.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    tracking : mapping, sequence, LabelledMasks or SA-V document
        Masks, as `klingmask.overlay` takes them, by frame.
    destination : path
        Whose suffix names the container: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``.
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
    VideoError
        If the source is no video or is damaged, or the destination is of a kind that
        klingmask does not write.
    OSError
        If the destination cannot be written.

    Warns
    -----
    VideoWarning
        If there are masks for frames that the video does not have, if it is
        transparent in places, or if some of its sound cannot be decoded.

    Examples
    --------
    >>> overlay_video("clip.mp4", {0: mask, 1: mask}, "laid.mp4")  # doctest: +SKIP
    """
    by_frame = MasksByFrame(tracking, step, lambda: count_frames(source))
    shown = 0

    def laid(picture: Image, index: int) -> Image:
        nonlocal shown
        shown = index + 1
        result = overlay(
            picture,
            by_frame.at(index),
            colors,
            opacity,
            outline,
            labels=labels,
            overlap=overlap,
            out=None if side_by_side else picture,
        )
        return np.concatenate([picture, result], 1) if side_by_side else result

    map_video(source, laid, destination, progress)
    by_frame.warn_of_others(fspath(source), shown)


class MasksByFrame:
    """The masks that are shown on each frame.

    Parameters
    ----------
    tracking : mapping, sequence, LabelledMasks or SA-V document
        As for `overlay_video`.
    step : int, optional
        As for `overlay_video`.
    total : int or callable
        The number of frames of the video, or what counts them if that is needed.
    """

    def __init__(
        self, tracking: Tracking, step: int | None, total: int | Callable[[], int]
    ) -> None:
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
            self._masks = cast("Mapping[int, Masks]", tracking)
            self._step = step or 1
        else:
            self._step = step or _spacing(total() if callable(total) else total, len(tracking))
            self._masks = {index * self._step: masks for index, masks in enumerate(tracking)}
        strange = next((key for key in self._masks if not isinstance(key, (int, np.integer))), None)
        if strange is not None:
            raise TypeError(f"tracking must go by frame index, got the key {strange!r}")
        self._frames = sorted(self._masks)

    def at(self, index: int) -> Masks:
        """Return the masks of a frame: its own, or those that stand for it."""
        place = bisect_right(self._frames, index) - 1
        if place < 0 or index - self._frames[place] >= self._step:
            return []
        return self._masks[self._frames[place]]

    def warn_of_others(self, name: str, total: int) -> None:
        """Tell of masks for frames that a video of so many frames does not have."""
        missing = [
            frame
            for frame in self._frames
            if (frame >= total or frame + self._step <= 0) and _any(self._masks[frame])
        ]
        if not missing:
            return
        some = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
        text = (
            f"{name} has {total} frames, counted from 0; the masks of {len(missing)} others "
            f"({some}) are not shown"
        )
        warnings.warn(text, VideoWarning, stacklevel=3)


def _spacing(frames: int, marked: int) -> int:
    """How many frames lie from one with masks to the next if they are spread evenly."""
    return max(1, math.ceil(frames / max(1, marked)))


def _any(masks: Masks) -> bool:
    """Whether there is a mask at all."""
    if isinstance(masks, Mask):
        return True
    return not isinstance(masks, Sized) or len(masks) > 0
