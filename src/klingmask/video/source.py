"""Open a video file, and choose the stream that a player shows.

FFmpeg gets the bytes of the file and nothing else. It would take some names for a protocol or for a
pattern of names, and some files name other files, or URLs, that FFmpeg would open.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from os import PathLike, fsdecode
from pathlib import Path
from typing import TypeAlias, cast

from klingmask.video.errors import VideoError

try:
    import av
    from av.container import InputContainer
    from av.stream import Disposition
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = [
    "MALFORMED",
    "VideoPath",
    "check_not_a_pipe",
    "choose_decoder",
    "choose_stream",
    "open_container",
    "reason",
]

VideoPath: TypeAlias = str | PathLike[str]

MALFORMED = (av.error.FFmpegError, ValueError, OverflowError, AssertionError)
"""The exceptions of PyAV about malformed files."""

_REASONS = {
    av.error.InvalidDataError: "it has data that its format does not allow",
    av.error.EOFError: "it ends too early",
    av.error.PatchWelcomeError: "it uses a feature that FFmpeg does not support",
    av.error.MemoryError: "it needs more memory than is available",
}
"""Plain words for some errors of FFmpeg."""

_NOT_A_VIDEO = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
"""Dispositions of streams that have pictures but are no video, such as the cover of an album."""

_TEXT_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
"""Formats of text that FFmpeg renders as a video."""

_PICTURE_BRANDS = {"avif", "heic", "heim", "heis", "heix", "mif1"}
"""Brands of AVIF and HEIC files, which FFmpeg reads as videos of one of their tiles."""

_DECODERS_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders that drop the alpha channel, and the ones that decode it."""


def reason(error: Exception) -> str:
    """Return what is wrong, without numbers and names of C functions."""
    for kind, text in _REASONS.items():
        if isinstance(error, kind):
            return text
    if isinstance(error, av.error.FFmpegError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def check_not_a_pipe(source: VideoPath) -> None:
    """Raise a VideoError if the file cannot be opened a second time."""
    name = fsdecode(source)
    if Path(name).is_fifo():
        raise VideoError(f"{name} is a pipe and would have to be read twice: save it as a file")


@contextmanager
def open_container(source: VideoPath) -> Iterator[tuple[str, InputContainer]]:
    """Open a video file.

    Parameters
    ----------
    source : path

    Yields
    ------
    str
        The name of the file, for messages.
    av.container.InputContainer

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    VideoError
        If FFmpeg finds no format that the file has.
    """
    name = fsdecode(source)
    if "://" in name and not Path(name).exists():
        raise FileNotFoundError(errno.ENOENT, "this is a URL; download the file first", name)
    with Path(name).open("rb") as file:
        try:
            container = av.open(
                _File(file),
                "r",
                # No protocol, so no other file. Not in `options`: with these, PyAV before 17.1
                # crashes if FFmpeg finds more streams than the header names.
                container_options={"protocol_whitelist": ""},
                metadata_errors="replace",
            )
        except MALFORMED as error:
            raise VideoError(f"{name} is not a video that can be read: {reason(error)}") from error
        with container:
            yield name, container


class _File:
    """What FFmpeg reads from. A seek that fails returns an error code, as FFmpeg expects."""

    def __init__(self, file: BufferedReader) -> None:
        self.name = file.name  # FFmpeg uses its suffix to tell some formats apart
        self.read = file.read
        self.tell = file.tell
        self.seekable = file.seekable
        self._file = file

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


def choose_stream(name: str, container: InputContainer) -> VideoStream:
    """Return the video stream that a player shows.

    A stream with the disposition "default" comes before the others. Among equals, FFmpeg's own
    choice is taken, or else the first one.

    Raises
    ------
    VideoError
        If the file has no video that can be decoded.
    """
    format_names = set(container.format.name.split(","))
    if _TEXT_FORMATS & format_names:
        raise VideoError(f"{name} is a text file, not a video")
    brand = container.metadata.get("major_brand", "")
    if brand in _PICTURE_BRANDS or container.format.name.endswith("_pipe"):
        raise VideoError(f"{name} is a picture, not a video")
    streams = container.streams.video
    if not streams:
        raise VideoError(f"{name} has no video stream")
    streams = tuple(stream for stream in streams if not stream.disposition & _NOT_A_VIDEO)
    if not streams:
        raise VideoError(f"{name} has no video stream, only a cover picture")
    streams = tuple(stream for stream in streams if stream.codec_context is not None)
    if not streams:
        raise VideoError(f"{name} has a video codec that this build of FFmpeg cannot decode")
    default = [stream for stream in streams if stream.disposition & Disposition.default]
    best = container.streams.best("video")
    candidates = default or streams
    return best if isinstance(best, VideoStream) and best in candidates else candidates[0]


def choose_decoder(stream: VideoStream) -> VideoCodecContext:
    """Return a decoder for a stream, if possible one that decodes its alpha channel."""
    decoder = stream.codec_context
    with_alpha = _DECODERS_WITH_ALPHA.get(decoder.name)
    if stream.metadata.get("alpha_mode") == "1" and with_alpha in av.codecs_available:
        decoder = cast("VideoCodecContext", av.CodecContext.create(with_alpha, "r"))
    # With threads for frames, PyAV drops the frames that follow an error at the end of the file.
    decoder.thread_type = "SLICE"
    return decoder
