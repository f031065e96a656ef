"""Decode a video to RGB frames, turned and in the order in which a player shows them."""

import math
import operator
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from klingmask import get_max_pixels
from klingmask.video.errors import VideoError, VideoWarning
from klingmask.video.source import (
    MALFORMED,
    VideoPath,
    check_not_a_pipe,
    choose_decoder,
    choose_stream,
    open_container,
    reason,
)

try:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["Frame", "Image", "Packet", "Video", "count_frames", "frame_at", "frames", "open_video"]

Image: TypeAlias = npt.NDArray[np.uint8]

Packet: TypeAlias = "av.Packet[VideoStream | AudioStream]"

Matrix: TypeAlias = tuple[float, float, float, float]
"""(a, b, c, d) of a display matrix: the pixel (x, y) is shown at (a x + c y, b x + d y)."""

LAST_SD_HEIGHT = 576
"""Height in pixels up to which a video is taken for BT.601 if it does not name its colour matrix.
A higher one is taken for BT.709. Players do the same."""

MAX_PIXEL_ASPECT = Fraction(16)
"""The largest width of a pixel divided by its height, and the other way round, that is taken
seriously. The pixels of real videos are between 0.9 and 2.2. To stretch a picture by what a
malformed file says could need any amount of memory."""


def frames(source: VideoPath) -> Iterator[Image]:
    """Decode a video frame by frame.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.

    Yields
    ------
    ndarray, shape (h, w, 3), uint8
        RGB, turned as a player turns it. If the pixels of the video are not square, the
        frame is not stretched.

    Raises
    ------
    VideoError
        If the file is not a video, or if it is damaged. The frames before the damage are
        yielded first.

    Warns
    -----
    VideoWarning
        If the video has transparent pixels. They are blended with black.

    Examples
    --------
    >>> [picture.shape for picture in frames("clip.mp4")]
    [(48, 64, 3), (48, 64, 3), (48, 64, 3)]
    """
    with open_video(source) as video:
        for frame in video.frames():
            yield frame.pixels


def frame_at(source: VideoPath, index: int) -> Image:
    """Decode one frame of a video.

    All frames before it are decoded, too: this is exact, but slow for late frames.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    index : int
        The index of the frame, counted from 0 in the order of display.

    Returns
    -------
    ndarray, shape (h, w, 3), uint8
        RGB, the same as that from `frames`.

    Raises
    ------
    IndexError
        If the video has no such frame.
    VideoError
        If the file is not a video, or if it is damaged before that frame.

    Examples
    --------
    >>> frame_at("clip.mp4", 2).shape
    (48, 64, 3)
    """
    with open_video(source) as video:
        return video.frame_at(index).pixels


def count_frames(source: VideoPath) -> int:
    """Count the frames of a video.

    All frames are decoded, because the number in the header of a file can be wrong.
    """
    check_not_a_pipe(source)
    with open_video(source) as video:
        return sum(1 for packet in video.packets() for _ in video.decode(packet))


@contextmanager
def open_video(source: VideoPath) -> Iterator["Video"]:
    """Open a video file, and close it after the block."""
    with open_container(source) as (name, container):
        yield Video(name, container)


class Frame(NamedTuple):
    """A decoded frame."""

    pixels: Image
    """RGB, turned as a player turns it."""
    seconds: Fraction | None
    """The time at which it is shown, or None if the file has no times."""
    pixel_aspect: Fraction
    """The width of a pixel divided by its height."""


class Video:
    """An open video file: one video stream, and the audio streams.

    Parameters
    ----------
    name : str
        The name of the file, for messages.
    container : av.container.InputContainer

    Attributes
    ----------
    stream : av.VideoStream
        The stream that a player shows.
    audio : tuple of av.AudioStream
    decoded : int
        The number of frames that were decoded so far.
    """

    def __init__(self, name: str, container: InputContainer) -> None:
        self.name = name
        self.container = container
        self.stream = choose_stream(name, container)
        self.audio: tuple[AudioStream, ...] = container.streams.audio
        self.decoded = 0
        self._decoder = choose_decoder(self.stream)
        self._first_error: Exception | None = None
        self._warned_of_alpha = False
        self._matrices: dict[int, Matrix] = {}

    def packets(self, *audio: AudioStream) -> Iterator[Packet]:
        """Read the packets of the video and of the given audio streams.

        The last packet of each stream is empty.
        """
        try:
            for packet in self.container.demux(self.stream, *audio):
                yield cast("Packet", packet)
        except MALFORMED as error:
            raise self._damaged(error) from error

    def decode(self, packet: Packet) -> Iterator[av.VideoFrame]:
        """Decode a packet of the video.

        Errors before the first frame are ignored, as players do: a recording may begin between
        two key frames.
        """
        try:
            decoded = self._decoder.decode(packet if packet.size else None)
        except MALFORMED as error:
            if self.decoded:
                raise self._damaged(error) from error
            self._first_error = self._first_error or error
            return
        for frame in decoded:
            limit = get_max_pixels()
            if limit is not None and frame.width * frame.height > limit:
                raise VideoError(
                    f"{self.name} has frames of {frame.height} x {frame.width} pixels, over the "
                    f"limit of {limit}; klingmask.set_max_pixels() raises it"
                )
            self.decoded += 1
            yield frame

    def frames(self) -> Iterator[Frame]:
        """Decode all frames, of which there must be at least one."""
        for packet in self.packets():
            for frame in self.decode(packet):
                yield self.convert(frame)
        self.check_not_empty()

    def frame_at(self, index: int) -> Frame:
        """Decode the frame of an index."""
        index = operator.index(index)
        if index < 0:
            raise IndexError(f"frames are counted from 0, got {index}")
        for packet in self.packets():
            for frame in self.decode(packet):
                if self.decoded > index:
                    return self.convert(frame)
        self.check_not_empty()
        number = "1 frame" if self.decoded == 1 else f"{self.decoded} frames"
        raise IndexError(f"frame {index} of a video with {number}, counted from 0")

    def check_not_empty(self) -> None:
        """Raise a VideoError if no frame was decoded."""
        if not self.decoded:
            cause = f": {reason(self._first_error)}" if self._first_error else ""
            raise VideoError(f"{self.name} has no frame that can be decoded{cause}")

    def convert(self, frame: av.VideoFrame) -> Frame:
        """Convert a frame to RGB, and turn it."""
        try:
            pixels = self._rgb(frame)
        except MALFORMED as error:
            raise self._damaged(error) from error
        pixel_aspect = self.stream.sample_aspect_ratio or Fraction(1)
        if not 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT:
            pixel_aspect = Fraction(1)
        pixels, transposed = _turned(pixels, *self._matrix(frame))
        if transposed:
            pixel_aspect = 1 / pixel_aspect
        timestamp = frame.pts if frame.pts is not None else frame.dts
        time_base = frame.time_base or self.stream.time_base
        seconds = None if timestamp is None or not time_base else timestamp * time_base
        return Frame(pixels, seconds, pixel_aspect)

    def _rgb(self, frame: av.VideoFrame) -> Image:
        unspecified = frame.colorspace in (None, 0, 2) and frame.format.name.startswith("yuv")
        matrix = "ITU709" if unspecified and frame.height > LAST_SD_HEIGHT else None
        if not any(component.is_alpha for component in frame.format.components):
            rgb = frame.reformat(format="rgb24", src_colorspace=matrix)
            return rgb.to_ndarray().astype(np.uint8, copy=False)
        rgba = frame.reformat(format="rgba", src_colorspace=matrix).to_ndarray()
        alpha = rgba[..., 3:].astype(np.uint16)
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3], np.uint8)
        if not self._warned_of_alpha:
            self._warned_of_alpha = True
            text = f"{self.name} has transparent pixels; they are blended with black"
            warnings.warn(text, VideoWarning, stacklevel=2)
        return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)

    def _matrix(self, frame: av.VideoFrame) -> Matrix:
        """Return the display matrix of a frame.

        It is read once for each rotation. Reading the side data of every frame would keep frames
        in memory, because PyAV then makes a reference cycle.
        """
        if frame.rotation not in self._matrices:
            self._matrices[frame.rotation] = _display_matrix(frame)
        return self._matrices[frame.rotation]

    def _damaged(self, error: Exception) -> VideoError:
        where = f" after frame {self.decoded - 1}" if self.decoded else ""
        return VideoError(f"{self.name} is damaged{where}: {reason(error)}")


def _display_matrix(frame: av.VideoFrame) -> Matrix:
    try:
        data = cast("Mapping[str, bytes]", frame.side_data).get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know the type of other side data of this frame
        angle = math.radians(frame.rotation)
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    return a, b, c, d


def _turned(pixels: Image, a: float, b: float, c: float, d: float) -> tuple[Image, bool]:
    """Turn and mirror pixels by a display matrix; return whether x and y were exchanged.

    A matrix of another angle is rounded to the nearest multiple of 90 degrees.
    """
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    x_sign, y_sign = (c, b) if transposed else (a, d)
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1]
    return np.ascontiguousarray(pixels), transposed
