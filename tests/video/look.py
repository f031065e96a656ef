"""Look into video files."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from klingmask.video import frames, map_video


def streams(path: Path) -> list[dict[str, Any]]:
    with av.open(str(path)) as container:
        return [
            {
                "type": s.type,
                "codec": s.codec_context.name,
                "rate": getattr(s, "average_rate", None),
            }
            for s in container.streams
        ]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in container.decode(stream)
        ]


def tone(path: Path) -> tuple[float, int]:
    """The loudest frequency, and how many samples there are."""
    with av.open(str(path)) as container:
        blocks = [
            frame.to_ndarray().reshape(frame.layout.nb_channels, -1)[0]
            if frame.format.is_planar
            else frame.to_ndarray().reshape(-1, frame.layout.nb_channels)[:, 0]
            for frame in container.decode(audio=0)
        ]
    wave = np.concatenate(blocks).astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(wave[:48000])))), len(wave)


def levels(path: Path) -> list[int]:
    """The indices of the frames that are shown, by their greys."""
    return [round(float(picture.mean()) / 20) for picture in frames(path)]


def copied(source: Path, target: Path) -> Path:
    """Write a video anew, without changes."""
    map_video(source, lambda picture, _: picture, target)
    return target
