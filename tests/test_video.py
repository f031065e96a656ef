"""Frames of real videos, made here and from the shared clip."""

from pathlib import Path

import av
import numpy as np
import pytest

from klingmask.video import frame_at
from tests.conftest import shared_file


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames; frame i is of the grey 20 * i."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            pixels = np.full((48, 64, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_frames_are_counted_from_zero(clip: Path) -> None:
    for index in (0, 1, 7, 9):
        pixels = frame_at(clip, index)
        assert pixels.shape == (48, 64, 3)
        assert pixels.dtype == np.uint8
        assert abs(int(pixels.mean()) - 20 * index) < 6


def test_frames_that_are_not_there(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="frame 10 of a video with 10 frames"):
        frame_at(clip, 10)
    with pytest.raises(IndexError, match="counted from 0"):
        frame_at(clip, -1)
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(ValueError, match="not a video that can be read"):
        frame_at(tmp_path / "text.mp4", 0)
    with pytest.raises(FileNotFoundError):
        frame_at(tmp_path / "none.mp4", 0)


def test_a_real_clip() -> None:
    pixels = frame_at(shared_file("dog.mp4"), 100)
    assert pixels.shape == (720, 1280, 3)
    assert pixels.std() > 20
