"""Videos out: H.264 that browsers play, with the times and the sound of the source."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from os import PathLike, fspath
from pathlib import Path
from typing import cast

import numpy as np

from klingmask.atomic import atomic_file
from klingmask.video.reading import Image, opened, upright

try:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["map_video"]

# What browsers play, and an mp4 takes, without encoding it anew.
_COPIED_AUDIO = {"aac", "mp3", "opus", "flac"}


def map_video(
    source: str | PathLike[str],
    change: Callable[[Image, int], Image],
    destination: str | PathLike[str],
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
    ValueError
        If the source is not a video that can be read.
    """
    target = Path(destination)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} for {target.name}")
    with atomic_file(target) as part:
        with opened(source) as (container, stream), _part(part) as output:
            done = _transcode(container, stream, output, change, progress)
        if not done:
            raise ValueError(f"{fspath(source)} has no frames")


@contextmanager
def _part(path: Path) -> Iterator[OutputContainer]:
    try:
        output = av.open(str(path), "w", options={"movflags": "+faststart"})
    except ValueError as error:  # what FFmpeg says of a suffix that it does not know
        raise ValueError(
            f"{path.suffix or 'no suffix'!r} names no video format: {error}"
        ) from error
    with output:
        yield output


class _Sound:
    """An audio stream on its way past: copied, or as AAC if players would not take it."""

    def __init__(self, output: OutputContainer, source: AudioStream) -> None:
        self.output = output
        self.copied = source.codec_context.name in _COPIED_AUDIO
        self.stream: AudioStream = (
            output.add_stream_from_template(source)
            if self.copied
            else output.add_stream("aac", rate=source.rate)
        )

    def take(self, packet: "av.Packet[AudioStream]") -> None:
        if not self.copied:
            for frame in packet.decode():
                self.output.mux(self.stream.encode(frame))
        elif packet.dts is not None:  # else it only says that there are no more
            packet.stream = self.stream
            self.output.mux(packet)

    def finish(self) -> None:
        if not self.copied:
            self.output.mux(self.stream.encode(None))


def _transcode(
    container: InputContainer,
    stream: VideoStream,
    output: OutputContainer,
    change: Callable[[Image, int], Image],
    progress: bool,
) -> int:
    """Send every frame through `change`, and the sound past it; return how many there were."""
    video: VideoStream | None = None
    sounds: dict[int, _Sound] = {}
    early: list[av.Packet[AudioStream]] = []  # sound from before the first frame tells the size
    index = 0
    with tqdm(total=stream.frames or None, unit="frame", disable=not progress) as bar:
        for packet in container.demux(stream, *container.streams.audio):
            if packet.stream.index != stream.index:
                sound = cast("av.Packet[AudioStream]", packet)
                if video is None:
                    early.append(sound)
                else:
                    sounds[packet.stream.index].take(sound)
                continue
            for frame in cast("list[av.VideoFrame]", packet.decode()):
                laid = _even(change(upright(frame), index))
                if video is None:
                    video = _add_video(output, stream, laid.shape[:2])
                    sounds = {one.index: _Sound(output, one) for one in container.streams.audio}
                    for sound in early:
                        sounds[sound.stream.index].take(sound)
                encoded = av.VideoFrame.from_ndarray(laid, "rgb24")
                encoded = encoded.reformat(format="yuv420p", dst_colorspace="ITU709")
                encoded.pts, encoded.time_base = frame.pts, frame.time_base
                output.mux(video.encode(encoded))
                index += 1
                bar.update()
    if video is not None:
        output.mux(video.encode(None))
        for passed in sounds.values():
            passed.finish()
    return index


def _add_video(output: OutputContainer, source: VideoStream, size: tuple[int, ...]) -> VideoStream:
    rate = source.average_rate or source.guessed_rate or Fraction(25)
    video = output.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "fast"})
    video.height, video.width = size
    video.pix_fmt = "yuv420p"
    video.codec_context.time_base = source.time_base or 1 / rate
    # Said, for what is not said is guessed by the size of the picture: BT.709, limited range.
    video.codec_context.colorspace = video.codec_context.color_primaries = 1
    video.codec_context.color_trc = video.codec_context.color_range = 1
    return video


def _even(picture: Image) -> Image:
    """With its last row and column twice where that makes their number even."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return picture
