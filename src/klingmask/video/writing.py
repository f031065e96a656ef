"""Videos out: H.264 that browsers play, with the times, the shape and the sound of the source."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from os import fspath
from pathlib import Path
from typing import cast

import numpy as np

from klingmask.atomic import atomic_file
from klingmask.video.errors import VideoError, VideoWarning
from klingmask.video.reading import FAULTS, Frame, Image, Packet, Source, Video, opened, reason
from klingmask.video.timing import FrameClock, PacketClock

try:
    import av
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.filter import Graph
    from av.format import Flags
    from av.video.stream import VideoStream
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["map_video"]

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""What holds H.264 with any times, by the suffixes of destinations."""

_COPIED_SOUND = {
    "mp4": {"aac", "mp3", "opus", "flac"},
    "mov": {"aac", "mp3"},
    "matroska": {"aac", "mp3", "opus", "flac"},
}
"""What browsers play, and is not encoded anew where the destination can hold it."""

_IN_COPIED_SOUND = (av.error.InvalidDataError, av.error.PatchWelcomeError)
"""What the formats of destinations say of sound that is damaged, for they look into it."""

_LEAST_MP3_RATE = 16_000
"""Samples a second; for less, an mp4 has no standard."""

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples a second that AAC has and every player plays, in ascending order."""

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Of sound that is encoded anew, by the number of channels; any other becomes stereo."""

_PRIMING = Fraction(1, 10)
"""Seconds before the first that is heard, which decoders of sound need to be right on time."""

MOST_PIXELS = 16384
"""On a side of a frame; libx264 takes no more."""

_USUAL_RATE = Fraction(25)
"""Frames a second of a video that does not say."""


def map_video(
    source: Source,
    change: Callable[[Image, int], Image],
    destination: Source,
    progress: bool = False,
) -> None:
    """Send every frame of a video through a function, and the sound past it.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    change : callable
        Gets a frame (h, w, 3), which it may write to, and its index; gives the
        frame (h, w, 3) that takes its place, of one size for all.
    destination, progress
        As for `overlay_video`, with the same promises.

    Raises
    ------
    VideoError
        If the source is no video or is damaged, or the destination is of a kind that
        klingmask does not write.
    OSError
        If the destination cannot be written.

    Examples
    --------
    >>> def darker(picture, index):
    ...     return picture // 2
    >>> map_video("clip.mp4", darker, "dark.mp4")  # doctest: +SKIP
    """
    kind = _format_of(destination)
    with (
        atomic_file(destination) as part,
        opened(source) as video,
        _Output(part, kind, fspath(destination), video) as output,
        tqdm(total=video.stream.frames or None, unit="frame", disable=not progress) as bar,
    ):
        index = 0
        for packet in video.packets(*output.sounds):
            if packet.stream != video.stream:
                output.sound(packet)
                continue
            output.clock.set(packet)
            for decoded in video.decode(packet):
                frame = video.shown(decoded)
                output.frame(frame, change(frame.pixels, index))
                index += 1
                bar.update()
        video.check_any()
        output.finish()
        if bar.total != index:  # which the header said
            bar.total = index
            bar.refresh()


def _format_of(destination: Source) -> str:
    """FFmpeg's name of what the destination is to be."""
    suffix = Path(destination).suffix.lower()
    if suffix not in _FORMATS:
        fault = f"{suffix} is not among them" if suffix else f"{fspath(destination)} has none"
        raise VideoError(
            "videos are written as H.264 in .mp4, .m4v, .mov or .mkv, which the end of the "
            f"name tells; {fault}"
        )
    return _FORMATS[suffix]


class _Output:
    """A video on its way out. What goes wrong is told by the caller's name of the file.

    Parameters
    ----------
    part : Path
        The file, of which there is none yet.
    kind : str
        FFmpeg's name of its format.
    name : str
        What errors call it.
    video : Video
        What is changed: its sound, times and shape go into the file.
    """

    def __init__(self, part: Path, kind: str, name: str, video: Video) -> None:
        self.name = name
        self._video = video
        jumps = Flags.ts_discont in Flags(video.container.format.flags)
        self.clock = PacketClock(jumps)
        # After "file:", nothing in a name is taken for a protocol.
        options = {} if kind == "matroska" else {"movflags": "+faststart"}
        with self._told():
            self._file = av.open(f"file:{part}", "w", format=kind, options=options)
        self.sounds = tuple(one for one in video.sounds if _can_be_decoded(one))
        if len(self.sounds) < len(video.sounds):
            text = f"{video.name} has sound that cannot be decoded; it is left out"
            warnings.warn(text, VideoWarning, stacklevel=4)
        self._passed: dict[int, _Sound] = {}
        self._early: list[Packet] = []  # sound from before the first frame, which tells the size
        self._picture: VideoStream | None = None
        self._size = (0, 0)
        self._start = Fraction(0)

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            with self._told():
                self._file.close()
        else:
            with suppress(av.error.FFmpegError, ValueError):  # what was wrong before says more
                self._file.close()

    def sound(self, packet: Packet) -> None:
        """Take a packet of one of the sounds."""
        if packet.size:
            self.clock.set(packet)
        if self._picture is None:
            self._early.append(packet)
        else:
            with self._told():
                self._passed[packet.stream.index].take(packet)

    def frame(self, frame: Frame, pixels: Image) -> None:
        """Take the next frame of the source, and the pixels that take its place."""
        if self._picture is None:
            self._begin(frame, pixels)
        seconds = None if frame.seconds is None else frame.seconds - self._start
        with self._told():
            picture = av.VideoFrame.from_ndarray(_fitted(pixels, self._size), "rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = self._frames.ticks(seconds), self._frames.base
            self._mux(picture)

    def finish(self) -> None:
        """Take no more."""
        with self._told():
            self._mux(None)
            for sound in self._passed.values():
                sound.finish()

    def _begin(self, frame: Frame, pixels: Image) -> None:
        height, width = pixels.shape[:2]
        if max(height, width) > MOST_PIXELS:
            raise VideoError(
                f"{self.name}: frames of {height} x {width} pixels; H.264 has at most "
                f"{MOST_PIXELS} on a side"
            )
        source = self._video.stream
        self._start = self._first_time(frame)
        rate = source.average_rate or source.guessed_rate or _USUAL_RATE
        self._frames = FrameClock(source.time_base or 1 / rate, rate)
        with self._told():
            picture = self._file.add_stream(
                "libx264", rate=rate, options={"crf": "18", "preset": "fast"}
            )
            # yuv420p, which is what browsers play, has colours for two by two pixels.
            self._size = (height + height % 2, width + width % 2)
            picture.height, picture.width = self._size
            picture.pix_fmt = "yuv420p"
            context = picture.codec_context
            context.time_base = self._frames.base
            context.sample_aspect_ratio = frame.pixel_aspect
            # Said, for what is not said is guessed by the picture's size: BT.709, limited range.
            context.colorspace = context.color_primaries = 1
            context.color_trc = context.color_range = 1
            self._picture = picture
            self._passed = {
                one.index: _Sound(self._file, one, self._start, self._video.name)
                for one in self.sounds
            }
            for packet in self._early:
                self._passed[packet.stream.index].take(packet)
        self._early.clear()

    def _first_time(self, frame: Frame) -> Fraction:
        """What counts as 0: when the first of the streams begins, if that is later than 0."""
        first = frame.seconds or Fraction(0)
        started = [
            one.start_time * one.time_base
            for one in self.sounds
            if one.start_time is not None and one.time_base
        ]
        return min(first, max(Fraction(0), min([first, *started])))

    def _mux(self, picture: av.VideoFrame | None) -> None:
        if self._picture is not None:
            self._file.mux(self._picture.encode(picture))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what goes wrong in the caller's words."""
        try:
            yield
        except av.error.FFmpegError as error:
            if isinstance(error, _IN_COPIED_SOUND) and self._passed:
                raise _damaged_sound(self._video.name, error) from error
            if isinstance(error, OSError) and error.errno:
                raise OSError(error.errno, reason(error), self.name) from error
            raise VideoError(f"{self.name} cannot be written: {reason(error)}") from error


class _Sound:
    """A sound on its way past: copied, or as AAC if players would not take it."""

    def __init__(
        self, file: OutputContainer, source: AudioStream, start: Fraction, name: str
    ) -> None:
        self._file = file
        self._start = start
        self._name = name
        self._last: int | None = None  # the time of what was taken before
        self._next = 0  # and when it ends
        self._decoded = False
        self._graph: Graph | None = None
        self._kind: tuple[object, ...] = ()
        context = source.codec_context
        kind = context.codec.canonical_name
        self._copied = kind in _COPIED_SOUND[file.format.name] and not (
            kind == "mp3" and context.sample_rate < _LEAST_MP3_RATE
        )
        if self._copied:
            self._stream = file.add_stream_from_template(source)
            return
        rate = next((rate for rate in _AAC_RATES if rate >= context.sample_rate), _AAC_RATES[-1])
        self._stream = file.add_stream("aac", rate=rate)
        self._stream.layout = _LAYOUTS.get(context.layout.nb_channels, "stereo")

    def take(self, packet: Packet) -> None:
        """Take a packet; the last one is empty."""
        if packet.size:
            self._set_times(packet)
        if not self._copied:
            for frame in self._decode(packet):
                self._encode(frame)
        elif packet.size and not self._is_unheard(packet):
            dts = packet.dts
            packet.stream = self._stream
            try:
                self._file.mux(packet)
            except _IN_COPIED_SOUND as error:
                if self._last is not None:
                    raise _damaged_sound(self._name, error) from error
                return
            self._last = dts

    def _set_times(self, packet: Packet) -> None:
        """Begin at the start, and always go on, as what takes packets demands."""
        start = round(self._start / packet.time_base)
        dts = packet.dts if packet.dts is not None else packet.pts
        dts = self._next if dts is None else dts - start
        if self._copied and self._last is not None:
            dts = max(dts, self._last + 1)
        pts = dts if packet.pts is None else max(dts, packet.pts - start)
        packet.dts, packet.pts = dts, pts
        self._next = dts + (packet.duration or 0)

    def _is_unheard(self, packet: Packet) -> bool:
        """Whether an edit list leaves a packet out, which is not said in what is written."""
        time = cast("int", packet.dts) * packet.time_base
        return packet.is_discard and not -_PRIMING <= time < 0

    def finish(self) -> None:
        """Take no more."""
        if not self._copied:
            self._encode(None)
            self._file.mux(self._stream.encode(None))

    def _decode(self, packet: Packet) -> list[AudioFrame]:
        """Decode, and pass over what cannot be before anything could, as players do."""
        try:
            found = cast("list[AudioFrame]", packet.decode())
        except FAULTS as error:
            if self._decoded:
                raise VideoError(
                    f"the sound of {self._name} is damaged: {reason(error)}"
                ) from error
            return []
        self._decoded = self._decoded or bool(found)
        return found

    def _encode(self, frame: AudioFrame | None) -> None:
        """Encode sound, with silence where the file has none for a time."""
        if frame is not None and self._kind != (kind := _kind_of(frame)):
            self._encode(None)  # what is left of the kind before
            self._kind, self._graph = kind, self._resampler(frame)
        if self._graph is None:
            return
        self._graph.push(frame)
        with suppress(av.error.BlockingIOError, av.error.EOFError):  # no more for now, or for good
            while True:
                made = cast("AudioFrame", self._graph.pull())
                self._file.mux(self._stream.encode(made))

    def _resampler(self, template: AudioFrame) -> Graph:
        graph, made = Graph(), self._stream.codec_context
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=template.sample_rate,
                format=template.format.name,
                layout=template.layout.name,
                time_base=template.time_base,
            ),
            graph.add("aresample", "async=1"),
            graph.add(
                "aformat",
                f"sample_rates={made.sample_rate}:sample_fmts={made.format.name}"
                f":channel_layouts={made.layout.name}",
            ),
            graph.add("abuffersink"),
        ).configure()
        return graph


def _damaged_sound(name: str, error: Exception) -> VideoError:
    return VideoError(f"the sound of {name} is damaged: {reason(error)}")


def _can_be_decoded(sound: AudioStream) -> bool:
    context = sound.codec_context  # None where there is no decoder
    return context is not None and context.sample_rate > 0 and context.layout.nb_channels > 0


def _kind_of(frame: AudioFrame) -> tuple[object, ...]:
    return frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base


def _fitted(pixels: Image, size: tuple[int, int]) -> Image:
    """Pixels of a size: with the last row and column twice where one is missing, else scaled."""
    height, width = size[0] - pixels.shape[0], size[1] - pixels.shape[1]
    if height in (0, 1) and width in (0, 1):
        return (
            np.pad(pixels, ((0, height), (0, width), (0, 0)), "edge") if height or width else pixels
        )
    scale = min(size[0] / pixels.shape[0], size[1] / pixels.shape[1])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    scaled = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
    fitted = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    fitted[top : top + height, left : left + width] = scaled.reformat(width, height).to_ndarray()
    return fitted
