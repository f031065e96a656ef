"""Small real videos, written for a test."""

import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def make_clip(
    path: Path,
    pictures: Iterable[Picture],
    *,
    codec: str = "mpeg4",
    rate: int | Fraction = 25,
    audio: str | None = None,
    sample_rate: int = 48000,
    layout: str = "mono",
    pts: list[int] | None = None,
    pixel_aspect: Fraction | None = None,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Write pictures of even size, and a second of a 440 Hz tone if an audio codec is named."""
    pictures = list(pictures)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.bit_rate = 4_000_000
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        tone: Any = container.add_stream(audio, rate=sample_rate) if audio else None
        if tone:
            tone.layout = layout
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(
                picture, "rgba" if picture.shape[2] == 4 else "rgb24"
            )
            if len(picture) > 576:  # as players take it where nothing is said
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            if pts:
                frame.pts, frame.time_base = pts[index], 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            for sound in tones(sample_rate, layout):
                container.mux(tone.encode(sound))
            container.mux(tone.encode(None))
    return path


def tones(sample_rate: int, layout: str) -> Iterator[av.AudioFrame]:
    """A second of 440 Hz on all channels."""
    wave = np.sin(np.arange(sample_rate) * 2 * np.pi * 440 / sample_rate) * 9000
    channels = av.AudioLayout(layout).nb_channels
    samples = np.repeat(wave.astype(np.int16), channels)[None]
    for start in range(0, sample_rate, 4800):
        part = np.ascontiguousarray(samples[:, start * channels : (start + 4800) * channels])
        sound = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
        sound.sample_rate, sound.pts = sample_rate, start
        sound.time_base = Fraction(1, sample_rate)
        yield sound


def greys(levels: Iterable[int], size: tuple[int, int] = (48, 64)) -> list[Picture]:
    return [np.full((*size, 3), level, np.uint8) for level in levels]


def remuxed(
    source: Path, target: Path, change: Callable[["av.Packet[Any]"], bool | None], **options: Any
) -> Path:
    """Copy a clip's packets, each of which may be changed, or dropped by False."""
    with av.open(str(source)) as read, av.open(str(target), "w", **options) as written:
        streams = {one.index: written.add_stream_from_template(one) for one in read.streams}
        for packet in read.demux():
            if packet.dts is not None and change(packet) is not False:
                packet.stream = streams[packet.stream.index]
                written.mux(packet)
    return target


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> None:
    """Make an mp4 say that a pixel (x, y) of its pictures is to be shown at (ax + cy, bx + dy)."""
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd")  # version and flags, five words and two of layer and volume
    matrix = header + 4 + 4 + 20 + 16
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert content[matrix : matrix + 36] == upright
    fixed = [round(value * (1 << 16)) for value in (a, b, c, d)]
    content[matrix : matrix + 36] = struct.pack(
        ">9i", fixed[0], fixed[1], 0, fixed[2], fixed[3], 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)


def turn_by_90(path: Path) -> None:
    """Make an mp4 say that it is to be shown turned by 90 degrees clockwise, as phones do."""
    with_matrix(path, 0, 1, -1, 0)
