"""What overlay_video and map_video write."""

import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import klingmask as km
from klingmask.video import VideoError, frame_at, frames, map_video, overlay_video
from tests.clips import greys, make_clip, turn_by_90
from tests.video import unusual
from tests.video.look import copied, levels, streams, times, tone

SIZE = (48, 64)
LEFT = km.Mask.from_bbox(SIZE, (0, 0, 32, 48))


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


def test_side_by_side_and_odd_sizes(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 2)), tmp_path / "out.mp4"
    overlay_video(clip, [LEFT] * 2, out, side_by_side=True)
    assert frame_at(out, 0).shape == (48, 128, 3)
    tinted = np.ptp(frame_at(out, 0).astype(int), axis=2) > 30
    assert tinted[24, [8, 56, 72, 120]].tolist() == [False, False, True, False]
    odd = tmp_path / "unusual.mkv"
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
        (clip, {}, tmp_path / "out.what", {}, ValueError, "has the suffix"),
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
    long = unusual.said_to_be_longer(tmp_path / "long.avi", 500)
    overlay_video(long, {}, tmp_path / "out.mp4", progress=True)
    assert capsys.readouterr().err.rstrip().split("\r")[-1].startswith("100%")


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


def lengths(path: Path) -> tuple[float, float]:
    """Seconds from 0 to the end of the file, and of its first second that has anything."""
    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / 1e6, (container.start_time or 0) / 1e6


def test_a_recording_begins_at_zero(tmp_path: Path) -> None:
    """Though its clock says ten hours; sound and picture stay together."""
    clip = unusual.recording(tmp_path / "clip.ts", start=36_000)
    assert times(clip)[0] >= 36_000
    for name in ("out.mp4", "out.mkv"):
        out = copied(clip, tmp_path / name)
        assert times(out) == [Fraction(index, 25) for index in range(10)]
        assert lengths(out) == (0.4, 0)
    sound = unusual.h264(tmp_path / "sound.ts", audio="aac")
    out = copied(sound, tmp_path / "out.mp4")
    before, after = beginnings(sound), beginnings(out)
    assert abs((before[0] - before[1]) - (after[0] - after[1])) < 2e-3
    assert after[0] < 0.1


def beginnings(path: Path) -> tuple[float, float]:
    """When the first frame is shown, and when the first sample is heard."""
    with av.open(str(path)) as container:
        shown = next(container.decode(video=0))
    with av.open(str(path)) as container:
        heard = next(container.decode(audio=0))
    assert shown.time is not None
    assert heard.time is not None
    return shown.time, heard.time


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_two_recordings_in_one_file(tmp_path: Path, name: str) -> None:
    """Whose clock begins anew: they are played one after the other, with their sound."""
    one = unusual.h264(tmp_path / "one.ts", audio="aac")
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    out = copied(both, tmp_path / name)
    shown = times(out)
    assert len(shown) == 20
    steps = [float(late - early) for early, late in pairwise(shown)]
    assert steps[:9] == pytest.approx([0.04] * 9, abs=2e-3)
    assert all(0 < step < 1.2 for step in steps)  # the sound of the first is a second long
    frequency, samples = tone(out)
    assert abs(frequency - 440) < 3
    assert samples > 2 * 47_000


def patched_times(path: Path, wanted: list[int]) -> Path:
    """A Matroska file whose frames have these times, in frames of 25 a second."""
    make_clip(path, greys(unusual.LEVELS), codec="ffv1")
    content = bytearray(path.read_bytes())
    place = content.index(b"\x81\0\0\x80")  # track 1, time 0 and a flag of the first block
    for index, time in enumerate(wanted):
        place = content.index(b"\x81" + (40 * index).to_bytes(2, "big"), place)
        content[place + 1 : place + 3] = (40 * time).to_bytes(2, "big")
        place += 3
    path.write_bytes(content)
    return path


def test_frames_of_one_time_and_frames_that_go_back(tmp_path: Path) -> None:
    """All are there, in the file's order, and those whose time is in order keep it."""
    clip = patched_times(tmp_path / "clip.mkv", [0, 1, 1, 1, 2, 5, 4, 6, 7, 20])
    for name in ("out.mp4", "out.mkv"):
        out = copied(clip, tmp_path / name)
        shown = times(out)
        assert levels(out) == list(range(10))
        assert shown == sorted(set(shown))
        kept = [shown[place] * 25 for place in (0, 1, 4, 5, 7, 8, 9)]
        assert kept == [0, 1, 2, 5, 6, 7, 20]


def test_frames_without_any_times(tmp_path: Path) -> None:
    out = copied(unusual.raw_h264(tmp_path / "clip.h264"), tmp_path / "out.mp4")
    assert times(out) == [Fraction(index, 25) for index in range(10)]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_video_that_was_cut(tmp_path: Path, name: str) -> None:
    out = copied(unusual.cut_without_encoding(tmp_path / "clip.mp4", 3), tmp_path / name)
    assert levels(out) == list(range(3, 10))
    assert times(out) == [Fraction(index, 25) for index in range(7)]


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "OUT.M4V"])
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square(tmp_path: Path, name: str, turned: bool) -> None:
    clip = unusual.h264(tmp_path / "clip.mp4", pixel_aspect=unusual.STRETCHED)
    if turned:
        turn_by_90(clip)
    out = copied(clip, tmp_path / name)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        aspect = 1 / unusual.STRETCHED if turned else unusual.STRETCHED
        assert stream.sample_aspect_ratio == pytest.approx(aspect, rel=0.02)
        assert (stream.height, stream.width) == ((64, 48) if turned else (48, 64))


def test_frames_of_another_size_are_made_to_fit(tmp_path: Path) -> None:
    """As in a recording of a screen that is turned: in their shape, on black."""
    clip = make_clip(tmp_path / "clip.mp4", greys([200] * 4, (40, 80)))

    def other(picture: Any, index: int) -> Any:
        return picture.swapaxes(0, 1) if index == 2 else picture

    map_video(clip, other, tmp_path / "out.mp4")
    shown = list(frames(tmp_path / "out.mp4"))
    assert [picture.shape for picture in shown] == [(40, 80, 3)] * 4
    fitted = shown[2][20, :, 0] > 100
    assert fitted[32:48].all()
    assert not fitted[:28].any()
    assert not fitted[52:].any()


@pytest.mark.parametrize("name", ["out.avi", "out.webm", "out.gif", "out.what", "out", "out.png"])
def test_other_kinds_of_files_are_refused(clip: Path, name: str) -> None:
    before = sorted(clip.parent.iterdir())
    with pytest.raises(
        VideoError, match=r"to \.mp4, \.m4v, \.mov or \.mkv; .* has (the|no) suffix"
    ):
        overlay_video(clip, {}, clip.parent / name)
    assert sorted(clip.parent.iterdir()) == before


def test_frames_that_h264_cannot_hold(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", greys([90], (16, 16400)), codec="ffv1")
    with pytest.raises(VideoError, match=r"16 x 16400 pixels, and H\.264 has at most 16384"):
        overlay_video(clip, {}, tmp_path / "out.mp4")
    tiny = make_clip(tmp_path / "tiny.mkv", greys([90], (2, 2)), codec="ffv1")
    assert frame_at(copied(tiny, tmp_path / "out.mp4"), 0).shape == (2, 2, 3)


def test_nothing_is_said_beside_the_result(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("out.mp4", "out.mov", "out.mkv"):
        overlay_video(clip, {}, tmp_path / name)
    assert caplog.records == []


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """As far as the system lets a process write; the error names the caller's file."""
    clip = make_clip(tmp_path / "clip.mp4", [noise() for _ in range(30)])
    script = (
        "import resource, sys; from klingmask.video import overlay_video;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2);"
        "overlay_video(sys.argv[1], {}, sys.argv[2])"
    )
    for name in ("out.mp4", "out.mkv"):
        out = tmp_path / name
        overlay_video(clip, {}, out)
        whole = out.read_bytes()
        for limit in (1000, len(whole) // 2, len(whole) - 1):
            command = [sys.executable, "-c", script, str(clip), str(out), str(limit)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert f"OSError: [Errno 27] File too large: '{out}'" in done.stderr.splitlines()[-1]
            assert out.read_bytes() == whole
        out.unlink()
        assert list(tmp_path.iterdir()) == [clip]


def noise() -> Any:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
