"""Draw masks over the frames of a video."""

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
from klingmask.video.reading import Image, count_frames
from klingmask.video.source import VideoPath
from klingmask.video.writing import map_video

__all__ = ["MasksByFrame", "Tracking", "overlay_video"]

Tracking: TypeAlias = LabelledMasks | Mapping[int, Masks] | Sequence[Masks] | Mapping[str, Any]
"""Masks by frame: a mapping from the frame index to the masks of the frame, a sequence of the
masks of frames at equal distances, what `klingmask.datasets` reads, or an SA-V document."""


def overlay_video(
    source: VideoPath,
    tracking: Tracking,
    destination: VideoPath,
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
    """Draw masks over a video.

    One frame at a time is decoded, drawn on and encoded, so long videos need no more memory
    than short ones. The result has the size, the shape, the times and the sound of the source,
    except that it starts at 0. It is H.264 as browsers play it (yuv420p): if the width or height
    is odd, a column or row is added. It is written whole or not at all: if anything fails, a
    file that was at the destination before is still there.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    tracking : mapping, sequence, LabelledMasks or SA-V document
        For each frame its masks, in any form that `klingmask.overlay` takes.
    destination : path
        Its suffix chooses the format: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``.
    progress : bool
        Whether to show a progress bar.
    colors, opacity, outline, labels, overlap
        As for `klingmask.overlay`. An object id has the same colour in all frames.
    step : int, optional
        On how many frames the masks of one frame are shown: those of frame i on frames i to
        i + `step` - 1. By default 1 for a mapping. A sequence, and the frames of an SA-V
        file, are spread evenly over the video.
    side_by_side : bool
        Whether to show the unchanged source to the left of the result.

    Raises
    ------
    RLEError
        If a mask is malformed, or does not have the size of the video.
    VideoError
        If the source is not a video or is damaged, or if the destination has an unsupported
        format.
    OSError
        If the destination cannot be written.

    Warns
    -----
    VideoWarning
        If there are masks for frames that the video does not have, or if transparency or an
        audio stream of the source is lost.

    Examples
    --------
    >>> mask = km.Mask.from_bbox((48, 64), (8, 8, 20, 20))
    >>> overlay_video("clip.mp4", {0: {"bird": mask}}, "laid.mp4", step=3, labels=True)
    """
    by_frame = MasksByFrame(tracking, step, lambda: count_frames(source))
    total = 0

    def draw(picture: Image, index: int) -> Image:
        nonlocal total
        total = index + 1
        result = overlay(
            picture,
            by_frame[index],
            colors,
            opacity,
            outline,
            labels=labels,
            overlap=overlap,
            out=None if side_by_side else picture,
        )
        return np.concatenate([picture, result], 1) if side_by_side else result

    map_video(source, draw, destination, progress)
    by_frame.warn_of_others(fspath(source), total)


class MasksByFrame:
    """The masks that are shown on each frame.

    Parameters
    ----------
    tracking : mapping, sequence, LabelledMasks or SA-V document
        As for `overlay_video`.
    step : int, optional
        As for `overlay_video`.
    total : int or callable
        The number of frames of the video, or a function that counts them. It is called only
        if the masks are spread over the video.

    Examples
    --------
    >>> mask = km.Mask.zeros((2, 3))
    >>> by_frame = MasksByFrame({10: [mask]}, step=5, total=100)
    >>> [len(by_frame[index]) for index in (9, 10, 14, 15)]
    [0, 1, 1, 0]
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
            if step is not None and every > 1:  # `step` replaces the distance in the file
                tracking = {frame // every * step: masks for frame, masks in tracking.items()}
            step = step or every
        if isinstance(tracking, Mapping):
            self._masks = cast("Mapping[int, Masks]", tracking)
            self._step = step or 1
        else:
            self._step = step or _distance(total() if callable(total) else total, len(tracking))
            self._masks = {index * self._step: masks for index, masks in enumerate(tracking)}
        wrong = next((key for key in self._masks if not isinstance(key, (int, np.integer))), None)
        if wrong is not None:
            raise TypeError(f"tracking must go by frame index, got the key {wrong!r}")
        self._frames = sorted(self._masks)

    def __getitem__(self, index: int) -> Masks:
        """Return the masks of a frame."""
        place = bisect_right(self._frames, index) - 1
        if place < 0 or index - self._frames[place] >= self._step:
            return []
        return self._masks[self._frames[place]]

    def warn_of_others(self, name: str, total: int) -> None:
        """Warn of masks for frames that a video does not have.

        Parameters
        ----------
        name : str
            The name of the video, for the message.
        total : int
            The number of its frames.
        """
        others = [
            frame
            for frame in self._frames
            if (frame >= total or frame + self._step <= 0) and _has_masks(self._masks[frame])
        ]
        if not others:
            return
        some = ", ".join(map(str, others[:3]))
        if len(others) > 3:
            some += f", ... ({len(others)} in all)"
        text = f"{name} has {total} frames; there are masks for frames it does not have: {some}"
        warnings.warn(text, VideoWarning, stacklevel=3)


def _distance(total: int, marked: int) -> int:
    """Return the distance of frames with masks that are spread evenly over a video."""
    return max(1, math.ceil(total / max(1, marked)))


def _has_masks(masks: Masks) -> bool:
    if isinstance(masks, Mask):
        return True
    return not isinstance(masks, Sized) or len(masks) > 0
