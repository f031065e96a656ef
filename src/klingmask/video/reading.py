"""Videos in: frame by frame, upright, as RGB."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

try:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["Image", "count_frames", "frame_at", "frames", "opened", "upright"]

Image: TypeAlias = npt.NDArray[np.uint8]

LAST_SD_HEIGHT = 576  # lines of the largest picture that means BT.601 if it says nothing


def frames(source: str | PathLike[str]) -> Iterator[Image]:
    """Decode a video frame by frame.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.

    Yields
    ------
    ndarray, shape (h, w, 3), uint8
        RGB.

    Raises
    ------
    ValueError
        If the file is not a video that can be read.
    """
    with opened(source) as (container, stream):
        for frame in container.decode(stream):
            yield upright(frame)


def frame_at(source: str | PathLike[str], index: int) -> Image:
    """Decode one frame of a video.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    index : int
        The frame, counted from 0 in the order of display.

    Returns
    -------
    ndarray, shape (h, w, 3), uint8
        RGB.

    Raises
    ------
    IndexError
        If the video has no such frame.
    ValueError
        If the file is not a video that can be read.
    """
    if index < 0:
        raise IndexError(f"frames are counted from 0, got {index}")
    shown = 0
    with opened(source) as (container, stream):
        for frame in container.decode(stream):
            if shown == index:
                return upright(frame)
            shown += 1
    raise IndexError(f"frame {index} of a video with {shown} frames")


def count_frames(source: str | PathLike[str]) -> int:
    """Return the number of frames of a video."""
    with opened(source) as (_, stream):
        return _count(source, stream)


@contextmanager
def opened(source: str | PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its first video stream; what cannot be read is a ValueError."""
    try:
        with av.open(fspath(source)) as container:
            if not container.streams.video:
                raise ValueError(f"{fspath(source)} has no video in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.error.InvalidDataError as error:
        raise ValueError(f"{fspath(source)} is not a video that can be read: {error}") from error


def upright(frame: av.VideoFrame) -> Image:
    """Return a frame as RGB pixels, turned as its file says."""
    turns = round(frame.rotation / 90) % 4
    # Who does not say which colours they are means those of the size, as players have it.
    unsaid = frame.colorspace in (None, 0, 2) and frame.format.name.startswith("yuv")
    if unsaid and frame.height > LAST_SD_HEIGHT:
        frame = frame.reformat(format="rgb24", src_colorspace="ITU709")
    pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _count(source: str | PathLike[str], stream: VideoStream) -> int:
    """How many frames a video has: what its header says, or else a count."""
    if stream.frames:
        return stream.frames
    with opened(source) as (container, same):
        return sum(1 for _ in container.decode(same))
