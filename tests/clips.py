"""Small real videos, written for a test."""

from collections.abc import Iterable
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
    pts: list[int] | None = None,
) -> Path:
    """Write pictures of even size, and a second of a 440 Hz tone if an audio codec is named."""
    pictures = list(pictures)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        tone: Any = container.add_stream(audio, rate=48000) if audio else None
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if len(picture) > 576:  # as players take it where nothing is said
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            if pts:
                frame.pts, frame.time_base = pts[index], 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            wave = (np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000) * 9000).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts = 48000, 0
            container.mux(tone.encode(sound))
            container.mux(tone.encode(None))
    return path


def greys(levels: Iterable[int], size: tuple[int, int] = (48, 64)) -> list[Picture]:
    return [np.full((*size, 3), level, np.uint8) for level in levels]


def turn_by_90(path: Path) -> None:
    """Make an mp4 say that it is to be shown turned by 90 degrees clockwise, as phones do."""
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd")  # version and flags, five words and two of layer and volume
    matrix = header + 4 + 4 + 20 + 16
    one, w = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    assert content[matrix : matrix + 36] == one + zero * 3 + one + zero * 3 + w
    content[matrix : matrix + 36] = zero + one + zero + minus + zero * 4 + w
    path.write_bytes(content)
