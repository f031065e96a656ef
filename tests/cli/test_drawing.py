"""`overlay`, `video` and `sheet`."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
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
