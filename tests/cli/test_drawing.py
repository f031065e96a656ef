"""`overlay`, `video` and `sheet`."""

import json
import os
import pty
import subprocess
import sys
import termios
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from klingmask import video
from tests.cli.shell import REPLY, A, B, Shell
from tests.clips import greys, make_clip


def test_overlay_on_an_image(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4)).astype(np.uint8)
    for name, image in (("rgb.png", pixels[..., :3]), ("rgba.png", pixels)):
        Image.fromarray(np.ascontiguousarray(image)).save(shell.folder / name)
        shell("overlay", "reply.json", name, "-o", "out.png", "--opacity", "0.4", "--outline", "1")
        with Image.open(shell.folder / "out.png") as drawn:
            expected = km.overlay(image, {0: A, 4: B}, opacity=0.4, outline=1)
            np.testing.assert_array_equal(np.asarray(drawn), expected)


def test_a_progress_bar_on_a_terminal(shell: Shell) -> None:
    make_clip(shell.folder / "clip.mp4", greys([90] * 4, (20, 30)))
    masks = shell.put("masks.json", A.to_rle())
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 80))
    command = str(Path(sys.executable).parent / "klingmask")
    for option, shown in ((), True), (("--no-progress",), False):
        subprocess.run(
            [command, "video", masks, "clip.mp4", "-o", "out.mp4", *option],
            cwd=shell.folder,
            stdout=subprocess.DEVNULL,
            stderr=there,
            check=True,
        )
        os.write(there, b"end")
        told = b""
        while not told.endswith(b"end"):
            told += os.read(here, 4096)
        assert (b"%|" in told) == shown
    os.close(here)
    os.close(there)


def test_of_two_files_the_masks_come_first(shell: Shell) -> None:
    Image.new("RGB", (30, 20)).save(shell.folder / "image.png")
    content = json.dumps(A.to_rle()).encode()
    for command, second in (("overlay", "PICTURE"), ("video", "VIDEO"), ("sheet", "VIDEO")):
        assert f"[OPTIONS] FILE {second}" in shell(command, "--help")
    shell("overlay", "-", "image.png", "-o", "out.png", stdin=content)
    assert (shell.folder / "out.png").exists()


def test_overlay_on_a_video_takes_the_masks_frame(shell: Shell) -> None:
    make_clip(shell.folder / "clip.mp4", greys(range(0, 250, 50), (20, 30)))
    shell.put("reply.json", REPLY)
    for extra, grey_level in (((), 150), (("--frame", "1"), 50)):
        shell("overlay", "reply.json", "clip.mp4", "-o", "out.png", *extra)
        with Image.open(shell.folder / "out.png") as drawn:
            assert abs(int(np.asarray(drawn)[0, 0, 0]) - grey_level) < 8
    assert "frame 9 of a video with 5 frames" in shell(
        "overlay", "reply.json", "clip.mp4", "-o", "out.png", "--frame", "9", fails=True
    )


def test_video_and_sheet(shell: Shell, tmp_path: Path) -> None:
    frames = [
        {"frame_index": index, "rle_mask_list": [{"object_id": "b", "rle_mask": B.to_rle()}]}
        for index in (0, 2)
    ]
    shell.put("frames.json", frames)
    make_clip(tmp_path / "clip.mp4", greys([90] * 4, (20, 30)))
    told = shell("video", "frames.json", "clip.mp4", "-o", "out.mp4", "--opacity", "1")
    assert told == "out.mp4\n"
    laid = [
        np.abs(picture.astype(int) - 90).max(2) > 25
        for picture in video.frames(tmp_path / "out.mp4")
    ]
    assert [picture[12, 13] for picture in laid] == [True, False, True, False]
    shell("video", "frames.json", "clip.mp4", "-o", "held.mp4", "--step", "2", "--side-by-side")
    held = list(video.frames(tmp_path / "held.mp4"))
    assert [picture.shape for picture in held] == [(20, 60, 3)] * 4
    shell("sheet", "frames.json", "clip.mp4", "-o", "sheet.png", "--columns", "2", "--width", "100")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (100, 66)
    assert "part" not in " ".join(path.name for path in tmp_path.iterdir())
    shell.put("small.json", km.Mask.zeros((2, 2)).to_rle())
    told = shell("video", "small.json", "clip.mp4", "-o", "x.mp4", fails=True)
    assert "mask 0 has the size (2, 2), the image (20, 30)" in told
    assert not (tmp_path / "x.mp4").exists()


def test_overlay_takes_the_masks_of_the_frame_that_is_asked_for(shell: Shell) -> None:
    """Of a tracking file, or of an SA-V file, whose masks stand for some frames each."""
    make_clip(shell.folder / "clip.mp4", greys([90] * 9, (20, 30)))
    Image.new("RGB", (30, 20), (90, 90, 90)).save(shell.folder / "frame.png")
    frames = [
        {"frame_index": index, "rle_mask_list": [{"object_id": 1, "rle_mask": mask.to_rle()}]}
        for index, mask in ((0, A), (5, B))
    ]
    shell.put("tracking.json", [*frames, {"frame_index": 8, "rle_mask_list": []}])
    shell.put("sav.json", {"masklet": [[A.to_rle()], [B.to_rle()]], "video_frame_count": 8.0})
    for picture in ("clip.mp4", "frame.png"):
        for masks, frame, expected in (
            ("tracking.json", 5, B),
            ("tracking.json", 0, A),
            ("sav.json", 3, A),
            ("sav.json", 4, B),
            ("sav.json", 7, B),
        ):
            words = ["overlay", masks, picture, "-o", "out.png", "--opacity", "1"]
            shell(*words, "--frame", str(frame))
            with Image.open(shell.folder / "out.png") as drawn:
                tinted = np.ptp(np.asarray(drawn).astype(int), axis=2) > 60
            np.testing.assert_array_equal(tinted, expected.to_numpy(dtype="bool"))
        for frame in (8, 3):  # listed without masks, and not at all
            words = ["overlay", "tracking.json", picture, "-o", "out.png", "--frame", str(frame)]
            told = shell.errors(*words)
            assert told == f"Warning: tracking.json has no mask for frame {frame}\n"
            with Image.open(shell.folder / "out.png") as drawn:
                assert np.ptp(np.asarray(drawn).astype(int), axis=2).max() < 8
    assert "choose one, for example with --frame 0" in shell(
        "overlay", "tracking.json", "clip.mp4", "-o", "out.png", fails=True
    )
    shell("overlay", "tracking.json", "clip.mp4", "-o", "out.png", "--where", "frame=5")


def test_a_photo_is_laid_over_as_viewers_show_it(shell: Shell) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 30), (90, 90, 90)).save(shell.folder / "photo.jpg", exif=exif)
    shell.put("mask.json", A.to_rle())
    shell("overlay", "mask.json", "photo.jpg", "-o", "out.png", "--opacity", "1")
    with Image.open(shell.folder / "out.png") as drawn:
        assert drawn.size == (30, 20)
        tinted = np.ptp(np.asarray(drawn).astype(int), axis=2) > 60
    np.testing.assert_array_equal(tinted, A.to_numpy(dtype="bool"))


def test_a_frame_of_a_stretched_video_has_the_shape_that_players_show(shell: Shell) -> None:
    make_clip(shell.folder / "clip.mp4", greys([90] * 2), pixel_aspect=Fraction(3, 2))
    mask = km.Mask.from_bbox((48, 64), (0, 0, 32, 48))
    shell.put("mask.json", mask.to_rle())
    shell("overlay", "mask.json", "clip.mp4", "-o", "out.png", "--opacity", "1")
    with Image.open(shell.folder / "out.png") as drawn:
        assert drawn.size == (96, 48)
        tinted = np.ptp(np.asarray(drawn).astype(int), axis=2) > 60
    assert tinted[:, :44].all()
    assert not tinted[:, 52:].any()


def test_what_a_video_does_not_show_is_said_and_the_rest_done(shell: Shell) -> None:
    make_clip(shell.folder / "clip.mp4", greys([90] * 2, (20, 30)))
    masks = [
        {"frame_index": index, "rle_mask_list": [{"object_id": 1, "rle_mask": A.to_rle()}]}
        for index in (0, 57)
    ]
    shell.put("masks.json", masks)
    for command, name in (("video", "out.mp4"), ("sheet", "out.png")):
        told = shell.errors(command, "masks.json", "clip.mp4", "-o", name)
        assert told == (
            "Warning: clip.mp4 has 2 frames; there are masks for frames it does not have: 57\n"
        )
        assert (shell.folder / name).exists()


def test_videos_that_cannot_be_read_or_written_are_said_in_a_line(shell: Shell) -> None:
    clip = make_clip(shell.folder / "clip.mp4", greys(range(0, 250, 5), (20, 30)), audio="aac")
    content = clip.read_bytes()
    shell.put("mask.json", A.to_rle())
    damaged = bytearray(content)
    middle = content.index(b"mdat") + 400
    damaged[middle : middle + 2000] = bytes(2000)
    (shell.folder / "damaged.mp4").write_bytes(damaged)
    (shell.folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    (shell.folder / "text.mp4").write_text("this is no video")
    for words, reason in (
        (["video", "mask.json", "damaged.mp4", "-o", "x.mp4"], "damaged.mp4 is damaged"),
        (["sheet", "mask.json", "damaged.mp4", "-o", "x.png"], "damaged.mp4 is damaged"),
        (["video", "mask.json", "cut.mp4", "-o", "x.mp4"], "cut.mp4 is not a video that can be"),
        (["sheet", "mask.json", "text.mp4", "-o", "x.png"], "text.mp4 is not a video that can be"),
        (["video", "mask.json", "clip.mp4", "-o", "x.gif"], "x.gif has the suffix .gif"),
        (["video", "mask.json", "clip.mp4", "-o", "x.webm"], "x.webm has the suffix .webm"),
        (["sheet", "mask.json", "clip.mp4", "-o", "x.png", "--width", "9"], "width of 9"),
    ):
        told = shell(*words, fails=True)
        assert told.startswith("Error: "), told
        assert reason in told
        assert told.count("\n") == 1
        assert ".part" not in told
    assert not list(shell.folder.glob("x.*"))


@pytest.mark.parametrize("name", ["2026-05-01T12:30:05.mp4", "100%d.mp4", "-clip.mp4"])
def test_videos_of_any_name(shell: Shell, name: str) -> None:
    make_clip(shell.folder / "clip.mp4", greys([90] * 2, (20, 30))).rename(shell.folder / name)
    shell.put("mask.json", A.to_rle())
    shell("video", "mask.json", "-o", f"new{name}", "--", name)
    shell("sheet", "mask.json", "-o", "out.png", "--", f"new{name}")
    shell("overlay", "mask.json", "-o", "out.png", "--", name)
