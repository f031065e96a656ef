"""Frames of video files, by PyAV (the extra ``video``)."""

from os import PathLike, fspath

import numpy as np
import numpy.typing as npt

try:
    import av
except ImportError as error:
    raise ImportError("videos need PyAV: pip install 'klingmask[video]'") from error


def frame_at(source: str | PathLike[str], index: int) -> npt.NDArray[np.uint8]:
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
    try:
        with av.open(fspath(source)) as container:
            if not container.streams.video:
                raise ValueError(f"{fspath(source)} has no video in it")
            for frame in container.decode(video=0):
                if shown == index:
                    return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                shown += 1
    except av.error.InvalidDataError as error:
        raise ValueError(f"{fspath(source)} is not a video that can be read: {error}") from error
    raise IndexError(f"frame {index} of a video with {shown} frames")
