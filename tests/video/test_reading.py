"""Frames of real videos, made here and from the shared clip: which, how many, which way up."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import klingmask as km
from klingmask.video import (
    VideoError,
    VideoWarning,
    frame_at,
    frames,
    overlay_video,
)
from klingmask.video.reading import count_frames, open_video
from tests.clips import greys, make_clip, turn_by_90, with_matrix
from tests.conftest import shared_file
from tests.video import unusual
from tests.video.look import levels


def test_frames_are_counted_from_zero(clip: Path) -> None:
    shown = list(frames(clip))
    assert len(shown) == 10
    for index, pixels in enumerate(shown):
        assert pixels.shape == (48, 64, 3)
        assert pixels.dtype == np.uint8
        assert abs(int(pixels.mean()) - 20 * index) < 6
        np.testing.assert_array_equal(frame_at(clip, index), pixels)


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


def test_frames_stand_upright(tmp_path: Path) -> None:
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:24, :32] = 220  # top left; turned clockwise, top right
    turned = make_clip(tmp_path / "turned.mp4", [picture] * 3)
    turn_by_90(turned)
    upright = frame_at(turned, 1)
    assert upright.shape == (64, 48, 3)
    assert upright[:32, 24:].mean() > 200 > 50 > upright[:32, :24].mean()
    overlay_video(turned, {1: km.Mask.zeros((64, 48))}, tmp_path / "out.mp4")
    kept = frame_at(tmp_path / "out.mp4", 1)
    assert np.abs(kept.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("hidden", [1, 3, 9])
def test_what_an_edit_list_hides_is_no_frame(tmp_path: Path, hidden: int) -> None:
    clip = unusual.cut_without_encoding(tmp_path / "cut.mp4", hidden)
    with av.open(str(clip)) as container:
        assert container.streams.video[0].frames == 10  # as its header says
    assert levels(clip) == list(range(hidden, 10))
    assert round(float(frame_at(clip, 0).mean()) / 20) == hidden
    with pytest.raises(IndexError, match=f"a video with {10 - hidden} frame"):
        frame_at(clip, 10 - hidden)


def test_a_recording_that_begins_between_key_frames(tmp_path: Path) -> None:
    """Players show it from the first key frame on."""
    assert levels(unusual.joined_midway(tmp_path / "midway.ts")) == [5, 6, 7, 8, 9]


def test_frames_without_times(tmp_path: Path) -> None:
    assert levels(unusual.raw_h264(tmp_path / "raw.h264")) == list(range(10))


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    clip = unusual.said_to_be_longer(tmp_path / "long.avi", 500)
    with av.open(str(clip)) as container:
        assert container.streams.video[0].frames == 500
    assert count_frames(clip) == 10
    with pytest.raises(IndexError, match="a video with 10 frames"):
        frame_at(clip, 499)
    nothing = unusual.header_alone(tmp_path / "nothing.mp4")
    with pytest.raises(VideoError, match=r"nothing\.mp4 has no frame that can be decoded"):
        next(frames(nothing))
    with pytest.raises(VideoError, match=r"nothing\.mp4 has no frame that can be decoded"):
        frame_at(nothing, 0)


EIGHT = [
    (a * across, b * down, c * across, d * down)
    for a, b, c, d in ((1, 0, 0, 1), (0, 1, 1, 0))
    for across in (1, -1)
    for down in (1, -1)
]


@pytest.mark.parametrize("scale", [1, 0.5], ids=["plain", "scaled"])
@pytest.mark.parametrize("matrix", EIGHT)
def test_every_way_up(tmp_path: Path, matrix: tuple[int, int, int, int], scale: float) -> None:
    """Each corner is shown where the matrix moves it."""
    clip = make_clip(tmp_path / "clip.mp4", [unusual.quarters()] * 2)
    with_matrix(clip, *(scale * value for value in matrix))
    shown = frame_at(clip, 1)
    a, b, c, d = matrix
    assert shown.shape[:2] == ((48, 64) if a else (64, 48))
    height, width = shown.shape[:2]
    for x, y, grey in ((-1, -1, 220), (1, -1, 120), (-1, 1, 30), (1, 1, 30)):
        across, down = a * x + c * y, b * x + d * y
        row, column = height // 2 + down * height // 4, width // 2 + across * width // 4
        assert abs(int(shown[row, column, 0]) - grey) < 8, (x, y)


@pytest.mark.parametrize(
    ("told", "expected"),
    [((16, 11), (16, 11)), ((1, 16), (1, 16)), ((1, 17), (1, 1)), ((5000, 1), (1, 1))],
)
def test_the_shape_of_pixels(
    tmp_path: Path, told: tuple[int, int], expected: tuple[int, int]
) -> None:
    clip = unusual.h264(tmp_path / "clip.mp4", pixel_aspect=Fraction(*told))
    with open_video(clip) as video:
        frame = video.frame_at(0)
    assert frame.pixel_aspect == Fraction(*expected)
    assert frame.pixels.shape == (48, 64, 3)


def test_a_matrix_of_nothing_leaves_the_frame(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [unusual.quarters()])
    with_matrix(clip, 0, 0, 0, 0)
    assert frame_at(clip, 0).shape == (48, 64, 3)
    with_matrix_again = make_clip(tmp_path / "tilted.mp4", [unusual.quarters()])
    with_matrix(with_matrix_again, 0.95, 0.3, -0.3, 0.95)  # by less than 45 degrees
    assert np.array_equal(frame_at(with_matrix_again, 0), frame_at(clip, 0))


@pytest.mark.parametrize("codec", ["qtrle", "libvpx-vp9", "ffv1"])
def test_what_is_transparent_is_shown_on_black_and_said(tmp_path: Path, codec: str) -> None:
    name, pixel_format = {
        "qtrle": ("clip.mov", "argb"),
        "libvpx-vp9": ("clip.webm", "yuva420p"),
        "ffv1": ("clip.mkv", "bgra"),
    }[codec]
    picture = np.full((48, 64, 4), 255, np.uint8)
    picture[:, :32] = (200, 200, 200, 0)  # clear
    picture[24:, 32:, 3] = 128
    clip = make_clip(tmp_path / name, [picture] * 2, codec=codec, pixel_format=pixel_format)
    with pytest.warns(VideoWarning, match="transparent pixels") as told:
        shown = list(frames(clip))
    assert len(told) == 1
    for pixels in shown:
        assert pixels[:, :24].max() < 8
        assert pixels[4:16, 40:].min() > 245
        assert abs(int(pixels[32:, 44:].mean()) - 128) < 6
    opaque = np.full((48, 64, 4), 255, np.uint8)
    clip = make_clip(tmp_path / name, [opaque], codec=codec, pixel_format=pixel_format)
    assert frame_at(clip, 0).min() > 245  # of which nothing needs to be said


def test_frames_over_the_limit_are_refused(clip: Path, pixel_limit: Any) -> None:
    pixel_limit(48 * 64)
    assert len(list(frames(clip))) == 10
    pixel_limit(48 * 64 - 1)
    with pytest.raises(VideoError, match="48 x 64 pixels, over the limit of 3071"):
        next(frames(clip))


def damaged(content: bytes, seed: int) -> bytes:
    """Cut off, or with bytes changed, left out or zero."""
    random = np.random.default_rng(seed)
    place, size = sorted(random.integers(0, len(content), 2).tolist())
    changed = bytearray(content)
    match seed % 4:
        case 0:
            del changed[place:]
        case 1:
            changed[place:size] = bytes(size - place)
        case 2:
            del changed[place : place + 200]
        case 3:
            for at in random.integers(0, len(content), 30):
                changed[at] ^= int(random.integers(1, 256))
    return bytes(changed)


@pytest.mark.filterwarnings("ignore::klingmask.video.VideoWarning")
@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi", "webm", "h264"])
def test_damage_of_any_kind_is_a_video_error(tmp_path: Path, kind: str) -> None:
    """What comes of a damaged file is what can be read of it, or a VideoError; nothing is left."""
    clip, out = tmp_path / f"clip.{kind}", tmp_path / "out.mp4"
    sound = {"mp4": "aac", "mkv": "pcm_s16le", "ts": "aac", "avi": "mp2", "webm": "libopus"}
    if kind == "h264":
        unusual.raw_h264(clip)
    elif kind == "webm":
        make_clip(clip, greys(unusual.LEVELS), codec="libvpx-vp9", audio=sound[kind])
    else:
        make_clip(clip, greys(unusual.LEVELS), codec="libx264", audio=sound[kind])
    content, refused = clip.read_bytes(), []
    for seed in range(48):
        clip.write_bytes(damaged(content, seed))
        try:
            overlay_video(clip, {}, out)
            assert len(list(frames(out))) > 0
            out.unlink()
        except VideoError as error:
            refused.append(str(error))
        assert list(tmp_path.iterdir()) == [clip], seed
    assert 0 < len(refused) < 48
    assert [told for told in refused if str(clip) not in told or ".part" in told] == []
