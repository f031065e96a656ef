"""Results are written whole or not at all, wherever they go."""

import os
import pty
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from tests.cli.shell import REPLY, A, Shell
from tests.clips import greys, make_clip
from tests.kling.server import Service


@pytest.fixture
def files(shell: Shell) -> None:
    """The inputs of `COMMANDS`."""
    noise = np.random.default_rng(0).random((200, 300)) < 0.5
    shell.put("masks.json", km.Mask.from_numpy(noise).to_rle())
    Image.fromarray(noise).save(shell.folder / "mask.png")
    Image.fromarray(noise.astype(np.uint8)).save(shell.folder / "image.png")
    make_clip(shell.folder / "clip.mp4", greys([0, 90, 180], (200, 300)))


COMMANDS = [
    ["decode", "masks.json", "-o", "out.npy"],
    ["decode", "masks.json", "-o", "out.png"],
    ["decode", "masks.json", "-o", "folder"],
    ["encode", "mask.png", "-o", "out.json"],
    ["overlay", "masks.json", "image.png", "-o", "out.png"],
    ["sheet", "masks.json", "clip.mp4", "-o", "sheet.png"],
    ["video", "masks.json", "clip.mp4", "-o", "out.mp4"],
]
"""Each with a result of more than 2048 bytes."""
TO_FILES = [words for words in COMMANDS if words[-1] != "folder"]
TO_PNG = [words for words in COMMANDS if words[-1].endswith(".png")]


def no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("old", [False, True])
def test_without_room_nothing_is_half_written(shell: Shell, words: list[str], old: bool) -> None:
    if old:
        output = shell.folder / words[-1]
        if words[-1] == "folder":
            output.mkdir()
            output /= "00000.png"
        output.write_bytes(b"old")
    before = {path: path.is_dir() or path.read_bytes() for path in shell.folder.rglob("*")}
    done = shell.run(*words, preexec_fn=no_room)
    told = done.stderr.decode()
    assert done.returncode == 1
    assert f"Error: {words[-1]}" in told
    assert "File too large" in told
    assert ".part" not in told
    after = {path: path.is_dir() or path.read_bytes() for path in shell.folder.rglob("*")}
    assert after == before
    shell(*words)  # with room it works


def test_results_of_an_edit_without_room(
    shell: Shell, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLING_API_KEY", service.api_key)
    monkeypatch.setenv("KLING_BASE_URL", service.base_url)
    service.files["/result.mp4"] = bytes(5000)
    words = ["edit", "v", "--at", "20,10", "--remove", "x", "--yes", "-o", "o.mp4"]
    (shell.folder / "o.mp4").write_bytes(b"old")
    done = shell.run(*words, preexec_fn=no_room)
    assert b"o.mp4: File too large" in done.stderr
    assert [path.name for path in shell.folder.iterdir()] == ["o.mp4"]
    assert (shell.folder / "o.mp4").read_bytes() == b"old"


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", TO_FILES)
def test_a_result_goes_where_links_lead(shell: Shell, words: list[str]) -> None:
    link, target = shell.folder / words[-1], shell.folder / f"there{words[-1]}"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target.name)
    shell(*words)
    assert link.is_symlink()
    assert target.stat().st_size > 2048
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", [words for words in TO_FILES if words[0] != "video"])
def test_a_result_goes_to_devices(shell: Shell, words: list[str]) -> None:
    before = Path("/dev/null").stat().st_rdev
    shell(*words[:-1], "/dev/null")
    assert Path("/dev/null").stat().st_rdev == before
    assert "/dev/full: No space left on device" in shell(*words[:-1], "/dev/full", fails=True)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", TO_PNG)
def test_a_picture_on_standard_output(shell: Shell, words: list[str]) -> None:
    shell(*words)
    expected = (shell.folder / words[-1]).read_bytes()
    for name in ("-", "/dev/stdout", "/dev/fd/1"):
        done = shell.run(*words[:-1], name)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == expected
    here, there = pty.openpty()
    refused = shell.run(*words[:-1], "-", stdout=there)
    assert b"standard output is a terminal" in refused.stderr
    os.close(here)
    os.close(there)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "words",
    [
        ["video", "masks.json", "clip.mp4", "-o", "-"],
        ["task", "1", "-o", "-"],
        ["edit", "v", "--at", "1,1", "--remove", "x", "-o", "-"],
        ["edit", "v", "--at", "1,1", "--remove", "x", "-o", "o.mp4", "--mask", "-"],
    ],
)
def test_what_is_no_picture_needs_a_file(shell: Shell, words: list[str]) -> None:
    assert "only a PNG can go to standard output" in shell(*words, fails=True)
    assert not (shell.folder / "-").exists()


def test_two_masks_are_no_picture(shell: Shell) -> None:
    shell.put("two.json", REPLY)
    assert "2 masks do not fit one PNG" in shell("decode", "two.json", "-o", "-", fails=True)


@pytest.mark.parametrize("words", [["info"], ["info", "--json"], ["decode", "-o", "-"]])
def test_a_full_standard_output(shell: Shell, words: list[str]) -> None:
    shell.put("masks.json", A.to_rle())
    with Path("/dev/full").open("wb") as full:
        done = shell.run(*words, "masks.json", stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"Error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ["decode", "reply.json", "-o", "none/x.npy"],
        ["decode", "reply.json", "--where", "object=4", "-o", "none/x.png"],
        ["decode", "reply.json", "-o", "picture.png/x"],
        ["overlay", "reply.json", "picture.png", "-o", "none/x.png"],
        ["encode", "picture.png", "-o", "none/x.json"],
    ],
)
def test_a_file_that_cannot_be_is_said_in_a_line(shell: Shell, words: list[str]) -> None:
    shell.put("reply.json", REPLY)
    Image.new("RGB", (30, 20)).save(shell.folder / "picture.png")
    told = shell(*words, fails=True)
    assert words[-1] in told
    assert "No such file" in told or "Not a directory" in told


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "words",
    [
        ["decode", "masks.png", "-o", "masks.png"],
        ["overlay", "masks.json", "image.png", "-o", "image.png"],
        ["overlay", "masks.json", "clip.mp4", "-o", "./clip.mp4"],
        ["video", "masks.json", "clip.mp4", "-o", "link.mp4"],
        ["sheet", "masks.json", "clip.mp4", "-o", "clip.mp4"],
        ["sheet", "masks.png", "clip.mp4", "-o", "masks.png"],
        ["encode", "image.png", "-o", "image.png"],
    ],
)
def test_a_result_does_not_take_the_place_of_a_source(shell: Shell, words: list[str]) -> None:
    shell.put("masks.png", A.to_rle())  # a name that decode would write a picture to
    (shell.folder / "link.mp4").symlink_to("clip.mp4")
    before = {path: path.read_bytes() for path in shell.folder.iterdir()}
    assert "is read, and would be lost" in shell(*words, fails=True)
    assert {path: path.read_bytes() for path in shell.folder.iterdir()} == before


def test_no_other_pictures_than_png_are_written(shell: Shell) -> None:
    masks = shell.put("masks.json", [A.to_rle()])
    Image.new("RGB", (30, 20)).save(shell.folder / "image.png")
    for command in ("overlay", "sheet"):
        told = shell(command, masks, "image.png", "-o", "laid.jpg", fails=True)
        assert "a PNG is written: -o laid.png" in told
    assert ".png, .npy or a folder" in shell("decode", masks, "-o", "mask.jpg", fails=True)
    assert not (shell.folder / "mask.jpg").exists()
    shell("decode", masks, "-o", "mask.NPY")
    assert np.load(shell.folder / "mask.NPY").shape == (1, 20, 30)
    shell("decode", masks, "-o", "folder")
    assert (shell.folder / "folder" / "00000.png").exists()
