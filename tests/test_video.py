"""Frames of real videos, made here and from the shared clip."""

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import klingmask as km
from klingmask import datasets
from klingmask.overlay import Masks
from klingmask.video import Tracking, contact_sheet, frame_at, frames, overlay_video
from klingmask.video.overlay import masks_by_frame
from tests.clips import greys, make_clip, turn_by_90
from tests.conftest import shared_file

SIZE = (48, 64)
LEFT = km.Mask.from_bbox(SIZE, (0, 0, 32, 48))
RIGHT = km.Mask.from_bbox(SIZE, (32, 0, 32, 48))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames; frame i is of the grey 20 * i."""
    return make_clip(tmp_path / "clip.mp4", greys(range(0, 200, 20)))


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


def seen(path: Path) -> list[tuple[bool, bool]]:
    """Whether the left and the right half of every frame are tinted."""
    tinted = [np.ptp(picture.astype(int), axis=2) > 30 for picture in frames(path)]
    return [(bool(half[24, 8]), bool(half[24, 56])) for half in tinted]


def test_masks_come_on_their_frames(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 8)), tmp_path / "out.mp4"
    none, left, right = (False, False), (True, False), (False, True)
    by_frame: dict[int, Masks] = {0: {"a": LEFT}, 4: {"b": RIGHT.to_rle()}}
    cases: list[tuple[Tracking, int | None, list[tuple[bool, bool]]]] = [
        (by_frame, None, [left, *[none] * 3, right, *[none] * 3]),
        (by_frame, 2, [left, left, none, none, right, right, none, none]),
        (by_frame, 9, [left] * 4 + [right] * 4),
        ([[LEFT], [RIGHT]], None, [left] * 4 + [right] * 4),
        ([LEFT, RIGHT], 3, [left] * 3 + [right] * 3 + [none] * 2),
        ({7: LEFT}, None, [none] * 7 + [left]),
        ({}, None, [none] * 8),
        ([], None, [none] * 8),
        ({100: LEFT, -1: LEFT}, None, [none] * 8),
    ]
    for tracking, step, expected in cases:
        overlay_video(clip, tracking, out, step=step, colors=(250, 20, 40))
        assert seen(out) == expected


def test_sav_files_are_spread_over_the_video(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 8)), tmp_path / "out.mp4"
    document = {
        "video_frame_count": 8.0,
        "masklet_id": [5, 6],
        "masklet": [[LEFT.to_rle(), None], [None, RIGHT.to_rle()]],
    }
    expected = [(True, False)] * 4 + [(False, True)] * 4
    overlay_video(clip, document, out)
    assert seen(out) == expected
    overlay_video(clip, datasets.find_masks(document), out)
    assert seen(out) == expected
    overlay_video(clip, document, out, step=1)
    assert seen(out) == [(True, False), (False, True)] + [(False, False)] * 6
    assert datasets.find_masks(document).tracking() == {0: {5: LEFT}, 4: {6: RIGHT}}


def test_masks_do_not_stand_on_a_listed_frame_without_any(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 4)), tmp_path / "out.mp4"
    tracking = {0: {5: LEFT}, 1: {}, 3: {6: RIGHT}}
    expected = [(True, False), (False, False), (False, False), (False, True)]
    for given in (tracking, datasets.read_masks(datasets.tracking_to_json(tracking))):
        overlay_video(clip, given, out, step=3)
        assert seen(out) == expected


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
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    wave = np.concatenate(blocks, 1)[0].astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(wave[:48000])))), len(wave)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "pcm_s16le")])
def test_times_and_sound_stay(tmp_path: Path, suffix: str, codec: str) -> None:
    rate = Fraction(30000, 1001)
    pts = [0, 1, 2, 5, 6, 9, 10, 11, 12, 20]  # not evenly
    clip = make_clip(
        tmp_path / f"clip.{suffix}", greys(range(0, 200, 20)), rate=rate, audio=codec, pts=pts
    )
    out = tmp_path / "out.mp4"
    overlay_video(clip, {}, out)
    video, audio = streams(out)
    assert (video["codec"], audio["codec"]) == ("h264", "aac")
    assert np.allclose([float(t) for t in times(out)], [float(t) for t in times(clip)], atol=2e-3)
    frequency, samples = tone(out)
    assert abs(frequency - 440) < 3
    assert abs(samples - 48000) < 4096


def test_what_browsers_play(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    overlay_video(clip, {0: LEFT}, out)
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)
    content = out.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before all of it has come


@pytest.mark.parametrize("size", [(48, 64), (576, 720), (720, 1280)], ids=str)
def test_colours_survive(tmp_path: Path, size: tuple[int, int]) -> None:
    """Of a file that does not say which they are, too: small ones are BT.601, large ones BT.709."""
    picture = np.zeros((*size, 3), np.uint8)
    width, places = size[1], [size[1] // 8, size[1] * 7 // 8]
    picture[:, : width // 2], picture[:, width // 2 :] = (200, 40, 60), (30, 90, 210)
    out = tmp_path / "out.mp4"
    overlay_video(make_clip(tmp_path / "clip.mp4", [picture] * 3), {}, out)
    for shown in (frame_at(tmp_path / "clip.mp4", 1), frame_at(out, 1)):
        assert np.abs(shown.astype(int) - picture)[:, places].max() <= 5
    overlay_video(
        out, {1: ~km.Mask.zeros(size)}, out, colors=(250, 20, 40), opacity=1
    )  # onto itself
    assert np.abs(frame_at(out, 1)[24, 8].astype(int) - (250, 20, 40)).max() <= 4


def test_a_tracking_that_stands_for_ever() -> None:
    """The number of frames that masks stand for comes from a file: it must cost nothing."""
    rle = km.Mask.from_bbox(SIZE, (0, 0, 4, 4)).to_rle()
    endless = {"masklet": [[None], [rle]], "video_frame_count": 9e15}
    started = time.monotonic()
    masks_of = masks_by_frame(endless, None, lambda: 3)
    assert [bool(masks_of(index)) for index in (0, 1, 5 * 10**15)] == [False, False, True]
    assert time.monotonic() - started < 1


def test_side_by_side_and_odd_sizes(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 2)), tmp_path / "out.mp4"
    overlay_video(clip, [LEFT] * 2, out, side_by_side=True)
    assert frame_at(out, 0).shape == (48, 128, 3)
    tinted = np.ptp(frame_at(out, 0).astype(int), axis=2) > 30
    assert tinted[24, [8, 56, 72, 120]].tolist() == [False, False, True, False]
    odd = tmp_path / "odd.mkv"
    with av.open(str(odd), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.height, stream.width, stream.pix_fmt = 33, 47, "bgr0"
        for picture in greys([120] * 3, (33, 47)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    overlay_video(odd, [~km.Mask.zeros((33, 47))] * 3, out)
    assert frame_at(out, 2).shape == (34, 48, 3)


def test_nothing_is_left_when_it_fails(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"from before")
    wrong = km.Mask.zeros((3, 3))
    failures: list[tuple[Path, Any, Path, dict[str, Any], type[Exception], str]] = [
        (clip, {5: wrong}, out, {}, km.RLEError, "the image"),
        (clip, {5: {"size": [48, 64], "counts": "!"}}, out, {}, km.RLEError, "byte 0"),
        (clip, {"5": LEFT}, out, {}, TypeError, "by frame index"),
        (clip, {}, out, {"step": 0}, ValueError, "step must be"),
        (clip, {}, tmp_path / "out.what", {}, ValueError, "names no video format"),
        (clip, {}, tmp_path / "nowhere" / "out.mp4", {}, FileNotFoundError, "nowhere"),
        (tmp_path / "none.mp4", {}, out, {}, FileNotFoundError, "none"),
    ]
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"this is no video")
    failures.append((damaged, {}, out, {}, ValueError, "not a video"))
    before = sorted(tmp_path.iterdir())
    for source, tracking, target, options, error, reason in failures:
        with pytest.raises(error, match=reason):
            overlay_video(source, tracking, target, **options)
        assert sorted(tmp_path.iterdir()) == before
        assert out.read_bytes() == b"from before"


def test_progress_is_shown_when_wanted(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay_video(clip, {}, tmp_path / "out.mp4")
    assert capsys.readouterr().err == ""
    overlay_video(clip, {}, tmp_path / "out.mp4", progress=True)
    assert "10/10" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    """In a process of its own, whose peak it can ask for."""
    script = (
        "import re, sys; from klingmask.video import overlay_video;"
        "overlay_video(sys.argv[1], {}, sys.argv[2]);"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is read from Linux's /proc")
    peaks = []
    for n in (60, 240):
        clip = make_clip(tmp_path / f"{n}.mp4", greys([90] * n, (360, 640)))
        command = [sys.executable, "-c", script, str(clip), str(tmp_path / "out.mp4")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True).stdout))
    assert peaks[1] - peaks[0] < 30_000  # kilobytes; 180 frames have 124 000


def test_contact_sheets(clip: Path) -> None:
    sheet = contact_sheet(clip, {9: LEFT}, columns=3, rows=2, width=300)
    assert sheet.shape == (150, 300, 3)
    greys_shown = [int(sheet[y + 50, x + 80, 1]) for y in (0, 75) for x in (0, 100, 200)]
    expected = [20 * index for index in (0, 2, 4, 5, 7, 9)]
    assert np.abs(np.subtract(greys_shown, expected)).max() < 8
    assert np.ptp(sheet[110, 220].astype(int)) > 30 > np.ptp(sheet[110, 20].astype(int))
    pictures = contact_sheet(greys([10, 200]), columns=4, rows=4, width=400)
    assert pictures.shape == (150, 400, 3)
    assert contact_sheet(greys([10]), rows=1, columns=1, width=64).shape == (48, 64, 3)
    with pytest.raises(ValueError, match="no frames"):
        contact_sheet([])
    with pytest.raises(ValueError, match="columns, rows and width"):
        contact_sheet(clip, columns=0)


def test_a_real_clip_with_real_masks(tmp_path: Path) -> None:
    """The SA-V masks, made to fit, over a real clip: green where they are, alike elsewhere."""
    document = json.loads(shared_file("sav_000001_manual.json").read_text())
    found = datasets.find_masks(document)
    tracking = {
        frame: {key: mask.resize(720, 1280) for key, mask in objects.items()}
        for frame, objects in found.tracking().items()
        if frame < 40
    }
    clip, out = shared_file("dog.mp4"), tmp_path / "out.mp4"
    overlay_video(clip, tracking, out, step=found.every, colors=(116, 255, 82))
    for index in (0, 13, 38):
        union = km.MaskArray.from_rles(tracking[index // 4 * 4].values()).union()
        before, after = frame_at(clip, index).astype(int), frame_at(out, index).astype(int)
        greener = (after - before)[..., 1] - (after - before)[..., 0]
        inside, outside = union.to_numpy(dtype="bool"), ~union.to_numpy(dtype="bool")
        assert np.abs(after - before)[outside].mean() < 8
        assert greener[inside].mean() > 40 > 5 > abs(greener[outside].mean())
