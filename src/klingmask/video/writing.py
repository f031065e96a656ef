"""Encode videos: H.264 that browsers play, with the times, the shape and the sound of a source."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from os import fspath
from pathlib import Path

import numpy as np

from klingmask.atomic import atomic_file
from klingmask.video.audio import MALFORMED_AUDIO, AudioTrack, can_be_decoded, damaged_audio
from klingmask.video.errors import VideoError, VideoWarning
from klingmask.video.reading import Frame, Image, Packet, Video, open_video
from klingmask.video.source import VideoPath, reason
from klingmask.video.timestamps import FrameTimes, JumpRemover

try:
    import av
    from av.format import Flags
    from av.video.stream import VideoStream
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["map_video"]

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's names of the formats that can be written, by the suffix of the destination."""

MAX_SIDE = 16384
"""The largest width and height in pixels that libx264 encodes."""

DEFAULT_RATE = Fraction(25)
"""Frames per second of a file that does not say it; FFmpeg assumes the same."""


def map_video(
    source: VideoPath,
    change: Callable[[Image, int], Image],
    destination: VideoPath,
    progress: bool = False,
) -> None:
    """Apply a function to every frame of a video, and keep its sound.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    change : callable
        A function of a frame (h, w, 3), which it may change in place, and the index of the
        frame. It returns the new frame (h, w, 3). A frame of another size than the first one
        is scaled to fit.
    destination, progress
        As for `overlay_video`.

    Raises
    ------
    VideoError
        If the source is not a video or is damaged, or if the destination has an unsupported
        format.
    OSError
        If the destination cannot be written.

    Warns
    -----
    VideoWarning
        If transparency or an audio stream of the source is lost.

    Examples
    --------
    >>> def invert(picture, index):
    ...     return 255 - picture
    >>> map_video("clip.mp4", invert, "inverted.mp4")
    """
    format_name = _format_of(destination)
    with (
        atomic_file(destination) as part,
        open_video(source) as video,
        _Output(part, format_name, fspath(destination), video) as output,
        tqdm(total=video.stream.frames or None, unit="frame", disable=not progress) as bar,
    ):
        index = 0
        for packet in video.packets(*output.audio):
            if packet.stream != video.stream:
                output.add_audio(packet)
                continue
            output.jumps.correct(packet)
            for decoded in video.decode(packet):
                frame = video.convert(decoded)
                output.add_frame(frame, change(frame.pixels, index))
                index += 1
                bar.update()
        video.check_not_empty()
        output.finish()
        if bar.total != index:  # the header was wrong
            bar.total = index
            bar.refresh()


def _format_of(destination: VideoPath) -> str:
    """Return FFmpeg's name of the format of a destination."""
    suffix = Path(destination).suffix.lower()
    if suffix not in _FORMATS:
        found = f"the suffix {suffix}" if suffix else "no suffix"
        raise VideoError(
            f"a video is written to .mp4, .m4v, .mov or .mkv; {fspath(destination)} has {found}"
        )
    return _FORMATS[suffix]


class _Output:
    """A video file that is being written.

    Parameters
    ----------
    part : Path
        Where to write it.
    format_name : str
        FFmpeg's name of its format.
    name : str
        The name of the file, for messages.
    video : Video
        The source of the shape, the times and the sound.
    """

    def __init__(self, part: Path, format_name: str, name: str, video: Video) -> None:
        self.name = name
        self.jumps = JumpRemover(Flags.ts_discont in Flags(video.container.format.flags))
        self.audio = tuple(stream for stream in video.audio if can_be_decoded(stream))
        if len(self.audio) < len(video.audio):
            text = f"{video.name} has audio that cannot be decoded; it is left out"
            warnings.warn(text, VideoWarning, stacklevel=3)
        self._video = video
        self._tracks: dict[int, AudioTrack] = {}  # by the index of the stream in the source
        self._early_audio: list[Packet] = []  # from before the first frame
        self._stream: VideoStream | None = None  # made with the first frame, which has its size
        self._size = (0, 0)
        self._start = Fraction(0)  # the time of the source that becomes 0
        # "file:" keeps FFmpeg from taking a part of the name for a protocol.
        options = {} if format_name == "matroska" else {"movflags": "+faststart"}
        with self._errors():
            self._file = av.open(f"file:{part}", "w", format=format_name, options=options)

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            with self._errors():
                self._file.close()
        else:  # the file is thrown away, and the first error says more than those that follow
            with suppress(av.error.FFmpegError, ValueError):
                self._file.close()

    def add_audio(self, packet: Packet) -> None:
        """Add a packet of one of the audio streams."""
        if packet.size:
            self.jumps.correct(packet)
        if self._stream is None:
            self._early_audio.append(packet)
            return
        with self._errors():
            self._tracks[packet.stream.index].add(packet)

    def add_frame(self, frame: Frame, pixels: Image) -> None:
        """Add a frame: the time and the shape of a frame of the source, and other pixels."""
        if self._stream is None:
            self._begin(frame, pixels)
        seconds = None if frame.seconds is None else frame.seconds - self._start
        with self._errors():
            encoded = av.VideoFrame.from_ndarray(_fitted(pixels, self._size), "rgb24")
            encoded = encoded.reformat(format="yuv420p", dst_colorspace="ITU709")
            encoded.pts, encoded.time_base = self._times.next(seconds), self._times.time_base
            self._encode(encoded)

    def finish(self) -> None:
        """Write what the encoders still hold."""
        with self._errors():
            self._encode(None)
            for track in self._tracks.values():
                track.finish()

    def _begin(self, frame: Frame, pixels: Image) -> None:
        height, width = pixels.shape[:2]
        if max(height, width) > MAX_SIDE:
            raise VideoError(
                f"{self.name} cannot be written: the frames have {height} x {width} pixels, "
                f"and H.264 has at most {MAX_SIDE} a side"
            )
        source = self._video.stream
        rate = source.average_rate or source.guessed_rate or DEFAULT_RATE
        self._start = self._start_time(frame)
        self._times = FrameTimes(source.time_base or 1 / rate, rate)
        with self._errors():
            stream = self._file.add_stream(
                "libx264", rate=rate, options={"crf": "18", "preset": "fast"}
            )
            # yuv420p, which browsers play, stores one colour for 2 x 2 pixels.
            self._size = (height + height % 2, width + width % 2)
            stream.height, stream.width = self._size
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = self._times.time_base
            context.sample_aspect_ratio = frame.pixel_aspect
            # BT.709 and limited range. If the file did not say it, players would guess.
            context.colorspace = context.color_primaries = 1
            context.color_trc = context.color_range = 1
            self._stream = stream
            self._tracks = {
                audio.index: AudioTrack(self._file, audio, self._start, self._video.name)
                for audio in self.audio
            }
            for packet in self._early_audio:
                self._tracks[packet.stream.index].add(packet)
        self._early_audio.clear()

    def _start_time(self, frame: Frame) -> Fraction:
        """Return the time at which the first stream starts, or 0 if that is before 0.

        A player does not show what an edit list puts before 0, but it does show frames of other
        formats that have a negative time.
        """
        first_frame = frame.seconds or Fraction(0)
        starts = [
            audio.start_time * audio.time_base
            for audio in self.audio
            if audio.start_time is not None and audio.time_base
        ]
        return min(first_frame, max(Fraction(0), min([first_frame, *starts])))

    def _encode(self, frame: av.VideoFrame | None) -> None:
        if self._stream is not None:
            self._file.mux(self._stream.encode(frame))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of FFmpeg into errors that name the caller's files."""
        try:
            yield
        except av.error.FFmpegError as error:
            if isinstance(error, MALFORMED_AUDIO) and self._tracks:
                raise damaged_audio(self._video.name, error) from error
            if isinstance(error, OSError) and error.errno:
                raise OSError(error.errno, reason(error), self.name) from error
            raise VideoError(f"{self.name} cannot be written: {reason(error)}") from error


def _fitted(pixels: Image, size: tuple[int, int]) -> Image:
    """Return pixels of a size (height, width).

    If only one row or column is missing, the last one is repeated. Otherwise the picture is
    scaled to fit, in its own shape, on black.
    """
    missing = (size[0] - pixels.shape[0], size[1] - pixels.shape[1])
    if missing == (0, 0):
        return pixels
    if min(missing) >= 0 and max(missing) == 1:
        return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    scale = min(size[0] / pixels.shape[0], size[1] / pixels.shape[1])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
    fitted = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    fitted[top : top + height, left : left + width] = frame.reformat(width, height).to_ndarray()
    return fitted
