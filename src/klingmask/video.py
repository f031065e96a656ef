"""Masks over the frames of video files, by PyAV (the extra ``video``).

Frames are counted from 0 in the order of display and stand upright: a phone's
video, whose file says that it is to be turned, is turned.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from klingmask.atomic import atomic_file
from klingmask.datasets import LabelledMasks, find_masks
from klingmask.overlay import KLING_ALPHA, Colors, Masks, overlay

try:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["Tracking", "contact_sheet", "frame_at", "frames", "map_video", "overlay_video"]

Image: TypeAlias = npt.NDArray[np.uint8]

Tracking: TypeAlias = LabelledMasks | Mapping[int, Masks] | Sequence[Masks] | Mapping[str, Any]
"""Masks by frame: a mapping from frame index to masks, a sequence of the masks of
every so many frames, what `klingmask.datasets` read, or an SA-V document."""

# What browsers play, and an mp4 takes, without encoding it anew.
_COPIED_AUDIO = {"aac", "mp3", "opus", "flac"}

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
    with _opened(source) as (container, stream):
        for frame in container.decode(stream):
            yield _upright(frame)


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
    with _opened(source) as (container, stream):
        for frame in container.decode(stream):
            if shown == index:
                return _upright(frame)
            shown += 1
    raise IndexError(f"frame {index} of a video with {shown} frames")


def overlay_video(
    source: str | PathLike[str],
    tracking: Tracking,
    destination: str | PathLike[str],
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
    with the video. The result has the size, the times and the sound of the
    source, and is H.264 as browsers play it (yuv420p, so an odd width or height
    gains a pixel). It comes to be under another name and is moved into place at
    the end: there is no half a video if something fails.

    Parameters
    ----------
    source : path
        Any video file that FFmpeg reads.
    tracking : mapping, sequence, LabelledMasks or SA-V document
        Masks, as `klingmask.overlay` takes them, by frame.
    destination : path
        Whose suffix names the container: ``.mp4``, ``.mov`` or ``.mkv``.
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
    ValueError
        If the source is not a video that can be read.
    """
    by_frame = _by_frame(tracking, step, lambda: _frames_in(source))

    def laid(picture: Image, index: int) -> Image:
        result = overlay(
            picture,
            by_frame(index),
            colors,
            opacity,
            outline,
            labels=labels,
            overlap=overlap,
            out=None if side_by_side else picture,
        )
        return np.concatenate([picture, result], 1) if side_by_side else result

    map_video(source, laid, destination, progress)


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
        with _opened(source) as (container, stream), _part(part) as output:
            done = _transcode(container, stream, output, change, progress)
        if not done:
            raise ValueError(f"{fspath(source)} has no frames")


def _frames_in(source: str | PathLike[str]) -> int:
    with _opened(source) as (_, stream):
        return _count(source, stream)


def contact_sheet(
    source: str | PathLike[str] | Sequence[npt.ArrayLike],
    tracking: Tracking | None = None,
    *,
    columns: int = 4,
    rows: int = 3,
    width: int = 1600,
    colors: Colors | None = None,
    opacity: float = KLING_ALPHA / 255,
    outline: int = 2,
    labels: bool = False,
    step: int | None = None,
) -> Image:
    """Draw frames of a whole clip, evenly spaced, on one sheet.

    Parameters
    ----------
    source : path, or sequence of images (h, w, 3)
        A video file, or pictures.
    tracking : as for `overlay_video`, optional
        What is laid over them.
    columns, rows : int
        Of the sheet; fewer if there are not as many frames.
    width : int
        Of the sheet, in pixels.
    colors, opacity, outline, labels, step
        As for `overlay_video`.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
        RGB, each frame with its number in the corner.
    """
    if columns < 1 or rows < 1 or width < columns:
        raise ValueError(f"a sheet needs columns, rows and width, got {columns}, {rows}, {width}")
    total: int
    pictures: Iterable[npt.ArrayLike]
    if isinstance(source, (str, PathLike)):
        total = _frames_in(source)
        pictures = frames(source)
    else:
        total, pictures = len(source), source
    if total == 0:
        raise ValueError("there are no frames for a sheet")
    wanted = _spread(total, columns * rows)
    columns = min(columns, len(wanted))
    by_frame = _by_frame({} if tracking is None else tracking, step, lambda: total)
    tiles = [
        _tile(
            overlay(picture, by_frame(index), colors, opacity, outline, labels=labels),
            index,
            width // columns,
        )
        for index, picture in enumerate(islice(pictures, wanted[-1] + 1))
        if index in wanted
    ]
    height = max(len(tile) for tile in tiles)
    sheet = np.full((-(-len(tiles) // columns) * height, columns * (width // columns), 3), 24, "u1")
    for place, tile in enumerate(tiles):
        y, x = place // columns * height, place % columns * (width // columns)
        sheet[y : y + len(tile), x : x + tile.shape[1]] = tile
    return sheet


def _spread(total: int, n: int) -> list[int]:
    """At most n of the indices, evenly spaced, the first and the last among them."""
    if n == 1 or total == 1:
        return [0]
    n = min(n, total)
    return [round(i * (total - 1) / (n - 1)) for i in range(n)]


def _tile(picture: Image, index: int, width: int) -> Image:
    """The picture at that width, with its number in the corner."""
    try:
        from PIL import Image as Pillow
        from PIL import ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError("a sheet needs Pillow: pip install 'klingmask[image]'") from error

    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    tile = Pillow.fromarray(picture[..., :3]).resize((width - 2, max(1, height - 2)))
    size = max(10, width // 24)
    ImageDraw.Draw(tile).text(
        (size // 2, size // 3),
        str(index),
        "white",
        ImageFont.load_default(size),
        stroke_width=max(1, size // 8),
        stroke_fill="black",
    )
    return np.pad(np.asarray(tile), ((1, 1), (1, 1), (0, 0)), constant_values=24)


def _by_frame(
    tracking: Tracking, step: int | None, total: Callable[[], int]
) -> Callable[[int], Masks]:
    """A function that gives the masks of a frame."""
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
        by_frame = cast("Mapping[int, Masks]", tracking)
        step = step or 1
    else:
        step = step or max(1, math.ceil(total() / max(1, len(tracking))))
        by_frame = {index * step: masks for index, masks in enumerate(tracking)}
    strange = next((key for key in by_frame if not isinstance(key, (int, np.integer))), None)
    if strange is not None:
        raise TypeError(f"tracking must go by frame index, got the key {strange!r}")

    marked = sorted(by_frame)

    def masks_of(index: int) -> Masks:
        place = bisect_right(marked, index) - 1
        return by_frame[marked[place]] if place >= 0 and index - marked[place] < step else []

    return masks_of


@contextmanager
def _opened(source: str | PathLike[str]) -> Iterator[tuple[InputContainer, VideoStream]]:
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


def _upright(frame: av.VideoFrame) -> Image:
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
    with _opened(source) as (container, same):
        return sum(1 for _ in container.decode(same))


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
                laid = _even(change(_upright(frame), index))
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
