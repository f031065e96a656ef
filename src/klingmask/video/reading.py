"""Videos in: the frames that a good player shows, upright, as RGB."""

import errno
import math
import operator
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from io import BufferedReader
from os import PathLike, fsdecode
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from klingmask import get_max_pixels
from klingmask.video.errors import VideoError, VideoWarning

try:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Disposition
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = [
    "FAULTS",
    "Frame",
    "Image",
    "Packet",
    "Source",
    "Video",
    "check_read_again",
    "count_frames",
    "frame_at",
    "frames",
    "opened",
    "reason",
]

Image: TypeAlias = npt.NDArray[np.uint8]

Source: TypeAlias = str | PathLike[str]

Packet: TypeAlias = "av.Packet[VideoStream | AudioStream]"

LAST_SD_HEIGHT = 576
"""Lines of the largest picture that means BT.601 if its file does not name its colours."""

_NO_VIDEO = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails

# What FFmpeg would draw as a picture, though it is text.
_TEXT = {"tty", "bin", "xbin", "adf", "idf"}

# Of which FFmpeg would read a part as a video: HEIC and AVIF.
_PICTURES = {"avif", "heic", "heim", "heis", "heix", "mif1"}

# Of a decoder of FFmpeg's own that drops alpha, the one that keeps it.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def frames(source: Source) -> Iterator[Image]:
    """Decode a video frame by frame.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.

    Yields
    ------
    ndarray, shape (h, w, 3), uint8
        RGB, upright. Pixels are those of the file, also where they are not square.

    Raises
    ------
    VideoError
        If the file is no video, or where it is damaged.

    Warns
    -----
    VideoWarning
        If the video is transparent in places, which are shown on black.

    Examples
    --------
    >>> for index, picture in enumerate(frames("clip.mp4")):  # doctest: +SKIP
    ...     print(index, picture.mean())
    """
    with opened(source) as video:
        for frame in video.frames():
            yield frame.pixels


def frame_at(source: Source, index: int) -> Image:
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
        RGB, as `frames` yields it.

    Raises
    ------
    IndexError
        If the video has no such frame.
    VideoError
        If the file is no video, or is damaged before that frame.

    Examples
    --------
    >>> frame_at("clip.mp4", 30).shape  # doctest: +SKIP
    (720, 1280, 3)
    """
    with opened(source) as video:
        return video.frame_at(index).pixels


def count_frames(source: Source) -> int:
    """Count the frames of a video by decoding all, for what its header says may be wrong."""
    check_read_again(source)
    with opened(source) as video:
        return sum(1 for packet in video.packets() for _ in video.decode(packet))


def check_read_again(source: Source) -> None:
    """See to it that a source can be read more than once."""
    if Path(fsdecode(source)).is_fifo():
        raise VideoError(
            f"{fsdecode(source)} is a pipe, which can be read only once: write it to a file first"
        )


class Frame(NamedTuple):
    """A frame as it is shown."""

    pixels: Image
    """RGB, upright."""
    seconds: Fraction | None
    """When it is shown, if the file says so."""
    pixel_aspect: Fraction
    """Width by height of each pixel."""


@contextmanager
def opened(source: Source) -> Iterator["Video"]:
    """Open a file for reading, by nothing but its content and the end of its name."""
    name = fsdecode(source)
    if "://" in name and not Path(name).exists():
        said = "not a file on this machine; download it first"
        raise FileNotFoundError(errno.ENOENT, said, name)
    # A name given to FFmpeg might be taken for a protocol or a pattern of names, and a file that
    # refers to others for permission to open them. So it gets bytes and opens nothing.
    with Path(name).open("rb") as file:
        try:
            container = av.open(
                _File(file),
                "r",
                # Not `options`: PyAV before 17.1 may crash when streams appear late.
                container_options={"protocol_whitelist": ""},
                metadata_errors="replace",
            )
        except FAULTS as error:
            raise VideoError(f"{name} is not a video that can be read: {reason(error)}") from error
        with container:
            yield Video(name, container)


class _File:
    """A file for FFmpeg, which is told of places that there are not instead of interrupted."""

    def __init__(self, file: BufferedReader) -> None:
        self.name = file.name
        self.read = file.read
        self.tell = file.tell
        self.seekable = file.seekable
        self._file = file

    def seek(self, place: int, whence: int) -> int:
        try:
            return self._file.seek(place, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


class Video:
    """An open video: the stream that players show, and the sound beside it.

    Parameters
    ----------
    name : str
        What errors call it.
    container : av.container.InputContainer
        The open file.
    """

    def __init__(self, name: str, container: InputContainer) -> None:
        self.name = name
        self.container = container
        self.stream = _shown_stream(name, container)
        self.sounds: tuple[AudioStream, ...] = container.streams.audio
        self.decoded = 0
        """How many frames there have been so far."""
        self._decoder = _decoder(self.stream)
        self._fault: Exception | None = None
        self._seen_through = False
        self._matrices: dict[int, tuple[float, float, float, float]] = {}

    def packets(self, *sounds: AudioStream) -> Iterator[Packet]:
        """Read what the file holds of the video and of these sounds."""
        try:
            for packet in self.container.demux(self.stream, *sounds):
                yield cast("Packet", packet)
        except FAULTS as error:
            raise self._damaged(error) from error

    def decode(self, packet: Packet) -> Iterator[av.VideoFrame]:
        """Decode a packet of the video.

        What cannot be decoded before the first frame is passed over, as players do: the file
        may begin in the middle of a broadcast.
        """
        try:
            found = self._decoder.decode(packet if packet.size else None)
        except FAULTS as error:
            if self.decoded:
                raise self._damaged(error) from error
            self._fault = self._fault or error
            return
        for frame in found:
            limit = get_max_pixels()
            if limit is not None and frame.width * frame.height > limit:
                raise VideoError(
                    f"{self.name} has frames of {frame.height} x {frame.width} pixels, over the "
                    f"limit of {limit}; klingmask.set_max_pixels() raises it"
                )
            self.decoded += 1
            yield frame

    def frames(self) -> Iterator[Frame]:
        """Decode the whole video; that there is at least one frame is seen to."""
        for packet in self.packets():
            for frame in self.decode(packet):
                yield self.shown(frame)
        self.check_any()

    def frame_at(self, index: int) -> Frame:
        """Decode one frame, as the function of that name."""
        index = operator.index(index)
        if index < 0:
            raise IndexError(f"frames are counted from 0, got {index}")
        for packet in self.packets():
            for frame in self.decode(packet):
                if self.decoded > index:
                    return self.shown(frame)
        self.check_any()
        number = f"{self.decoded} frame" + "s" * (self.decoded != 1)
        raise IndexError(f"frame {index} of a video with {number}, counted from 0")

    def check_any(self) -> None:
        """See to it that at least one frame was decoded."""
        if not self.decoded:
            fault = f": {reason(self._fault)}" if self._fault else ""
            raise VideoError(f"{self.name} has no frame that can be read{fault}")

    def shown(self, frame: av.VideoFrame) -> Frame:
        """Return a frame as it is shown."""
        try:
            pixels = self._rgb(frame)
        except FAULTS as error:
            raise self._damaged(error) from error
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        if frame.rotation not in self._matrices:  # to look at a frame's side data keeps the frame
            self._matrices[frame.rotation] = _matrix(frame)
        pixels, turned = _upright(pixels, *self._matrices[frame.rotation])
        aspect = 1 / aspect if turned else aspect
        ticks = frame.pts if frame.pts is not None else frame.dts
        base = frame.time_base or self.stream.time_base
        seconds = None if ticks is None or not base else ticks * base
        return Frame(pixels, seconds, aspect)

    def _rgb(self, frame: av.VideoFrame) -> Image:
        # Who does not say which colours they are means those of the size, as players have it.
        unsaid = frame.colorspace in (None, 0, 2) and frame.format.name.startswith("yuv")
        matrix = "ITU709" if unsaid and frame.height > LAST_SD_HEIGHT else None
        if not any(component.is_alpha for component in frame.format.components):
            rgb = frame.reformat(format="rgb24", src_colorspace=matrix)
            return rgb.to_ndarray().astype(np.uint8, copy=False)
        rgba = frame.reformat(format="rgba", src_colorspace=matrix).to_ndarray()
        alpha = rgba[..., 3:].astype(np.uint16)
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3], np.uint8)
        if not self._seen_through:
            self._seen_through = True
            text = f"{self.name} is transparent in places; they are shown on black"
            warnings.warn(text, VideoWarning, stacklevel=2)
        return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)

    def _damaged(self, error: Exception) -> VideoError:
        where = f" after frame {self.decoded - 1}" if self.decoded else ""
        return VideoError(f"{self.name} is damaged{where}: {reason(error)}")


# What PyAV lets through of a file against the rules, besides what FFmpeg says of it.
FAULTS = (av.error.FFmpegError, ValueError, OverflowError, AssertionError)


def reason(error: Exception) -> str:
    """Return what is wrong, without the names of FFmpeg's functions and its numbers."""
    for kind, text in _PLAINLY.items():
        if isinstance(error, kind):
            return text
    if isinstance(error, av.error.FFmpegError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


_PLAINLY = {
    av.error.InvalidDataError: "there is something else than its format allows",
    av.error.EOFError: "it ends too early",
    av.error.PatchWelcomeError: "it has something that FFmpeg does not know",
    av.error.MemoryError: "it asks for more memory than there is",
}


def _shown_stream(name: str, container: InputContainer) -> VideoStream:
    """The stream that players show: no cover picture, and by default the one for that."""
    if _TEXT & set(container.format.name.split(",")):
        raise VideoError(f"{name} is text and not a video")
    kind = container.metadata.get("major_brand", "")
    if kind in _PICTURES or container.format.name.endswith("_pipe"):
        raise VideoError(f"{name} is a picture and not a video")
    streams = container.streams.video
    if not streams:
        raise VideoError(f"{name} has no video in it")
    moving = [stream for stream in streams if not stream.disposition & _NO_VIDEO]
    if not moving:
        raise VideoError(f"{name} has no video in it, only a cover picture")
    readable = [stream for stream in moving if stream.codec_context is not None]
    if not readable:
        raise VideoError(f"{name} is of a kind of video that this FFmpeg cannot decode")
    by_default = [stream for stream in readable if stream.disposition & Disposition.default]
    choice = by_default or readable
    best = container.streams.best("video")
    return next((stream for stream in choice if stream == best), choice[0])


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """What decodes the stream, with its alpha."""
    decoder = stream.codec_context
    with_alpha = _WITH_ALPHA.get(decoder.name)
    if stream.metadata.get("alpha_mode") == "1" and with_alpha in av.codecs_available:
        decoder = cast("VideoCodecContext", av.CodecContext.create(with_alpha, "r"))
    # Not by frames, which would be faster: then PyAV loses what comes after a fault at the end.
    decoder.thread_type = "SLICE"
    return decoder


def _matrix(frame: av.VideoFrame) -> tuple[float, float, float, float]:
    """Where a frame's axes go: a pixel (x, y) is shown at (a x + c y, b x + d y)."""
    try:
        data = cast("Mapping[str, bytes]", frame.side_data).get("DISPLAYMATRIX")
    except ValueError:  # beside it is something that PyAV does not know
        angle = math.radians(frame.rotation)  # without saying whether it is mirrored
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    return a, b, c, d


def _upright(pixels: Image, a: float, b: float, c: float, d: float) -> tuple[Image, bool]:
    """Turn and mirror pixels by the nearest quarter turn, and tell whether the axes changed."""
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if turned else (a, d)
    if turned:
        pixels = pixels.swapaxes(0, 1)
    pixels = pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(pixels), turned
