"""The command line, run as people run it: a process, files, pipes."""

import json
import os
import pty
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from klingmask import emulator as emulation
from klingmask import video
from klingmask.cli.advice import in_options
from klingmask.datasets import read_masks
from klingmask.kling import KlingClient, KlingError, errors
from tests.clips import greys, make_clip
from tests.kling.server import Fault, Service, png, running

A = km.Mask.from_bbox((20, 30), (2, 3, 10, 5))
B = km.Mask.from_bbox((20, 30), (8, 6, 10, 12))
REPLY = {
    "code": 0,
    "data": {
        "res": {
            "frame_index": 3,
            "rle_mask_list": [
                {"object_id": key, "rle_mask": mask.to_rle()} for key, mask in ((0, A), (4, B))
            ],
        }
    },
}


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    command = str(Path(sys.executable).parent / "klingmask")

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.command, *words],
            cwd=self.folder,
            check=False,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def __call__(self, *words: str, stdin: bytes = b"", fails: bool = False) -> str:
        done = self.run(*words, input=stdin)
        assert (done.returncode != 0) == fails, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert b"\r" not in done.stderr, "a progress bar, and nobody is there to see it"
        return (done.stderr if fails else done.stdout).decode()

    def put(self, name: str, document: object) -> str:
        (self.folder / name).write_text(json.dumps(document))
        return name


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_info(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    told = json.loads(shell("info", "--json", "reply.json"))
    expected = [
        {"frame": 3, "object": 0, "size": [20, 30], "area": 50, "bbox": [2, 3, 10, 5]},
        {"frame": 3, "object": 4, "size": [20, 30], "area": 120, "bbox": [8, 6, 10, 12]},
    ]
    assert told == {"kind": "a selection reply", "masks": expected}
    table = shell("info", "reply.json")
    for word in ("a selection reply", "frame", "object", "120", "[8, 6, 10, 12]"):
        assert word in table
    chosen = json.loads(shell("info", "--json", "--where", "object=4", "reply.json"))
    assert chosen["masks"] == expected[1:]


def test_what_a_file_says_is_shown_and_not_obeyed(shell: Shell) -> None:
    entry = {"object_id": "[/x]\x1b[2J[red]7", "rle_mask": A.to_rle()}
    shell.put("[b].json", {"frame_index": 1, "rle_mask_list": [entry]})
    told = shell("info", "[b].json")
    assert r"[/x]\x1b[2J[red]7" in told
    assert "[b].json" in told
    assert "\x1b" not in told


EVIL = "a\x1b[2J\x07\x7f\x9b\u202e\u2066\ud800b"
SAFE = r"a\x1b[2J\x07\x7f\x9b\u202e\u2066\ud800b"


def test_no_text_of_a_file_is_a_command_to_the_terminal(shell: Shell) -> None:
    rle = A.to_rle()
    name = "n\x1b[2J\x9b\u202e.json"
    labelled = {"frame_index": 1, "rle_mask_list": [{"object_id": EVIL, "rle_mask": rle}]}
    for document, words in [
        ({EVIL: 1}, ["info"]),
        ([{EVIL: 1}], ["info"]),
        (EVIL, ["info"]),
        ({"code": EVIL, "data": 1}, ["info"]),
        ({"code": 1, "message": EVIL, "data": 1}, ["info"]),
        ({"code": 0, "data": {"status": EVIL}}, ["info"]),
        ({**rle, "counts": EVIL}, ["info"]),
        ({**rle, "size": EVIL}, ["info"]),
        ({**rle, "size": [EVIL, 1]}, ["info"]),
        ({"annotations": [{"segmentation": EVIL}]}, ["info"]),
        ([{"image_id": EVIL, "segmentation": rle}, {"segmentation": rle}], ["overlay", "i.png"]),
        ({"frame_index": EVIL, "rle_mask_list": [{"rle_mask": rle}]}, ["overlay", "i.png"]),
        (labelled, ["info", "--where", "object=7"]),
        (labelled, ["info", "--where", "\x1b[2J=7"]),
        (labelled, ["info", "--where", "\x1b[2J"]),
        (labelled, ["info", "--\x1b[2J"]),
        (labelled, ["overlay", "none\x1b[2J"]),
    ]:
        (shell.folder / name).write_text(json.dumps(document))
        Image.new("RGB", (30, 20)).save(shell.folder / "i.png")
        command, *rest = words
        output = ["-o", "out.png"] if command == "overlay" else []
        told = shell(command, name, *rest, *output, fails=True)
        assert told.replace("\n", "").isprintable(), (document, told)
        assert r"\x1b[2J" in told
    for words in (["info", name], ["info", "--json", name], ["decode", name, "-o", "\x9bx.png"]):
        (shell.folder / name).write_text(json.dumps(labelled))
        told = shell(*words)
        assert told.replace("\n", "").isprintable(), told
    assert SAFE in shell("info", name)
    assert json.loads(shell("info", "--json", name))["masks"][0]["object"] == EVIL
    assert r"No such command '\x1b[2J'" in shell("\x1b[2J", fails=True)


def test_a_terminal_without_the_characters(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    entry = {"object_id": "né", "rle_mask": A.to_rle()}
    shell.put("é.json", {"frame_index": 1, "rle_mask_list": [entry]})
    assert r"n\xe9" in shell("info", "é.json")
    shell("decode", "é.json", "-o", "é.png")
    assert (shell.folder / "é.png").exists()


def test_where_takes_any_of_several_values(shell: Shell) -> None:
    shell.put("reply.json", REPLY)

    def chosen(*conditions: str, fails: bool = False) -> Any:
        where = [word for each in conditions for word in ("--where", each)]
        told = shell("info", "--json", "reply.json", *where, fails=fails)
        return told if fails else [mask["object"] for mask in json.loads(told)["masks"]]

    assert chosen("object=0", "object=4") == [0, 4]
    assert chosen("object=4", "frame=3", "object=4") == [4]
    assert "no mask has object=9; object is one of 0, 4" in chosen(
        "object=0", "object=9", fails=True
    )


def test_a_table_of_many_masks_is_short(shell: Shell) -> None:
    shell.put("many.json", [{"image_id": i, "segmentation": A.to_rle()} for i in range(2345)])
    told = shell("info", "many.json")
    assert "2345 masks" in told
    assert "the first 100; --where chooses others, --json tells all" in " ".join(told.split())
    assert len(told.splitlines()) < 120
    masks = json.loads(shell("info", "--json", "many.json"))["masks"]
    assert [mask["image"] for mask in masks] == list(range(2345))
    few = shell("info", "many.json", "--where", "image=2000")
    assert "│ 2000" in few
    assert "the first" not in few


@pytest.mark.parametrize(
    "command",
    ["", "info", "decode", "encode", "overlay", "video", "sheet", "edit", "task", "serve"],
)
def test_h_is_help(shell: Shell, command: str) -> None:
    words = [command] if command else []
    assert shell(*words, "-h") == shell(*words, "--help")


def test_the_masks_come_first(shell: Shell) -> None:
    masks = shell.put("my masks.json", REPLY)
    Image.new("RGB", (30, 20)).save(shell.folder / "image.png")
    Image.new("RGB", (30, 20)).save(shell.folder / "image.jpg")
    make_clip(shell.folder / "clip.mp4", greys([0, 90], (20, 30)))
    for command, name, what in [
        ("overlay", "image.png", "a PNG picture"),
        ("overlay", "image.jpg", "a JPEG picture"),
        ("overlay", "clip.mp4", "a video (MP4 or MOV)"),
        ("video", "clip.mp4", "a video (MP4 or MOV)"),
        ("sheet", "clip.mp4", "a video (MP4 or MOV)"),
    ]:
        told = shell(command, name, masks, "-o", "out.png", fails=True)
        assert f"{name}: not a JSON file, but {what}; the masks come first: " in told
        assert f"klingmask {command} 'my masks.json' {name} -o ..." in told
    told = shell("info", "image.png", fails=True)
    assert "but a PNG picture; `klingmask encode` makes masks of PNG files" in told
    assert "`klingmask decode` makes pictures of JSON" in shell("encode", masks, fails=True)
    assert not (shell.folder / "out.png").exists()


def test_a_picture_on_standard_output(shell: Shell) -> None:
    shell.put("masks.json", A.to_rle())
    shell.put("two.json", REPLY)
    Image.new("RGB", (30, 20)).save(shell.folder / "image.png")
    make_clip(shell.folder / "clip.mp4", greys([0, 90], (20, 30)))
    for words in (
        ["decode", "masks.json"],
        ["overlay", "masks.json", "image.png"],
        ["sheet", "masks.json", "clip.mp4", "--width", "60"],
    ):
        done = shell.run(*words, "-o", "-")
        assert (done.returncode, done.stderr) == (0, b"")
        shell(*words, "-o", "file.png")
        assert done.stdout == (shell.folder / "file.png").read_bytes()
        for name in ("/dev/stdout", "/dev/fd/1"):
            assert shell.run(*words, "-o", name).stdout == done.stdout
        here, there = pty.openpty()
        refused = shell.run(*words, "-o", "-", stdout=there)
        assert b"standard output is a terminal" in refused.stderr
        os.close(here)
        os.close(there)
    assert "2 masks do not fit one PNG" in shell("decode", "two.json", "-o", "-", fails=True)
    assert json.loads(shell("encode", "file.png", "-o", "-"))
    reason = "only a PNG can go to standard output"
    assert reason in shell("video", "masks.json", "clip.mp4", "-o", "-", fails=True)
    assert reason in shell("task", "1", "-o", "-", fails=True)
    words = ["edit", "v", "--at", "1,1", "--remove", "x", "-o", "o.mp4", "--mask", "-"]
    assert reason in shell(*words, fails=True)
    assert not (shell.folder / "-").exists()


@pytest.fixture
def large(shell: Shell) -> list[list[str]]:
    """Commands whose results have more than the few bytes that there is room for."""
    noise = np.random.default_rng(0).random((200, 300)) < 0.5
    shell.put("masks.json", km.Mask.from_numpy(noise).to_rle())
    Image.fromarray(noise).save(shell.folder / "mask.png")
    Image.fromarray(noise.astype(np.uint8)).save(shell.folder / "image.png")
    make_clip(shell.folder / "clip.mp4", greys([0, 90, 180], (200, 300)))
    return [
        ["decode", "masks.json", "-o", "out.npy"],
        ["decode", "masks.json", "-o", "out.png"],
        ["decode", "masks.json", "-o", "folder"],
        ["encode", "mask.png", "-o", "out.json"],
        ["overlay", "masks.json", "image.png", "-o", "out.png"],
        ["sheet", "masks.json", "clip.mp4", "-o", "sheet.png"],
        ["video", "masks.json", "clip.mp4", "-o", "out.mp4"],
    ]


def no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


@pytest.mark.parametrize("old", [False, True])
def test_without_room_nothing_is_half_written(
    shell: Shell, large: list[list[str]], old: bool
) -> None:
    for words in large if old else ():
        output = shell.folder / words[-1]
        if words[-1] == "folder":
            output.mkdir()
            output /= "00000.png"
        output.write_bytes(b"old")
    before = {path: path.is_dir() or path.read_bytes() for path in shell.folder.rglob("*")}
    for words in large:
        done = shell.run(*words, preexec_fn=no_room)
        told = done.stderr.decode()
        assert done.returncode == 1, words
        assert f"Error: {words[-1]}" in told
        assert "File too large" in told
        assert ".part" not in told
        after = {path: path.is_dir() or path.read_bytes() for path in shell.folder.rglob("*")}
        assert after == before, words
    for words in large:
        shell(*words)


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


def test_results_go_where_links_lead_and_to_devices(shell: Shell, large: list[list[str]]) -> None:
    for words in large[:2] + large[3:]:
        link, target = shell.folder / words[-1], shell.folder / f"there{words[-1]}"
        target.write_bytes(b"old")
        target.chmod(0o640)
        link.symlink_to(target.name)
        shell(*words)
        assert link.is_symlink()
        assert target.stat().st_size > 2048
        assert target.stat().st_mode & 0o777 == 0o640
        link.unlink()
    for words in large[1:6]:
        before = Path("/dev/null").stat().st_rdev
        shell(*words[:-1], "/dev/null")
        assert Path("/dev/null").stat().st_rdev == before
        assert "/dev/full: No space left on device" in shell(*words[:-1], "/dev/full", fails=True)


def test_a_full_standard_output(shell: Shell) -> None:
    shell.put("masks.json", A.to_rle())
    with Path("/dev/full").open("wb") as full:
        for words in (["info"], ["info", "--json"], ["decode", "-o", "-"]):
            done = shell.run(words[0], "masks.json", *words[1:], stdout=full)
            assert done.returncode == 1
            assert done.stderr == b"Error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_video_that_is_interrupted(shell: Shell, how: signal.Signals) -> None:
    masks = shell.put("masks.json", km.Mask.zeros((480, 640)).to_rle())
    noise = np.random.default_rng(0).integers(0, 256, (8, 480, 640, 3), np.uint8)
    make_clip(shell.folder / "clip.mp4", [noise[i % 8] for i in range(150)])
    (shell.folder / "out.mp4").write_bytes(b"old")
    before = sorted(shell.folder.iterdir())
    with subprocess.Popen(
        [shell.command, "video", masks, "clip.mp4", "-o", "out.mp4"],
        cwd=shell.folder,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        while not any(path.stat().st_size for path in shell.folder.glob(".part-*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(how)
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(30) == (1 if how == signal.SIGINT else 128 + how)
    assert sorted(shell.folder.iterdir()) == before
    assert (shell.folder / "out.mp4").read_bytes() == b"old"


def test_a_signal_that_is_not_to_be_minded(shell: Shell) -> None:
    """As nohup has it."""
    command = shlex.join([shell.command, "serve", str(shell.folder), "--port", "0"])
    with subprocess.Popen(
        ["bash", "-c", f"trap '' HUP; exec {command}"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


PYTHON = re.compile(r"\w\(|klingmask\.\w|\b(None|True|False|strict|dict|client's)\b")
"""What nobody can type on the command line."""


def test_errors_speak_of_options(shell: Shell) -> None:
    size = 2**15
    shell.put("huge.json", {"size": [size, size], "counts": [size**2]})
    shell.put("short.json", {"size": [2, 3], "counts": "1"})
    shell.put("inside.json", [{"image_id": 1, "segmentation": {"rle_mask": A.to_rle()}}])
    shell.put("polygon.json", [{"image_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6]]}])
    shell.put("images.json", [{"image_id": i, "segmentation": A.to_rle()} for i in (7, 8)])
    masks = shell.put("masks.json", A.to_rle())
    Image.new("RGB", (5, 5)).save(shell.folder / "small.png")
    Image.new("1", (300, 300)).save(shell.folder / "large.png")
    make_clip(shell.folder / "clip.mp4", greys([0, 90], (10, 30)))
    out = ["-o", "out.png"]
    for words, reason in [
        (["decode", "huge.json", *out], "klingmask --max-pixels N"),
        (["--max-pixels", "9", "encode", "large.png"], "klingmask --max-pixels N"),
        (["--max-pixels", "-1", "info", masks], "--max-pixels"),
        (["info", "short.json"], "the counts end with 1 of the 2 x 3"),
        (["info", "inside.json"], "'counts'"),
        (["info", "polygon.json"], "a polygon"),
        (["overlay", "images.json", "small.png", *out], "choose one, as --where image=7"),
        (["video", "images.json", "clip.mp4", "-o", "out.mp4"], "as --where image=7"),
        (["overlay", masks, "small.png", *out], "the size (20, 30), the image (5, 5)"),
        (["sheet", masks, "clip.mp4", *out], "the size (20, 30), the image (10, 30)"),
        (["overlay", masks, "small.png", *out, "--opacity", "2"], "--opacity"),
        (["overlay", masks, "small.png", *out, "--outline", "-1"], "--outline"),
        (["overlay", masks, "clip.mp4", *out, "--frame", "-1"], "--frame"),
        (["video", masks, "clip.mp4", *out, "--step", "0"], "--step"),
        (["sheet", masks, "clip.mp4", *out, "--columns", "0"], "--columns"),
        (["sheet", masks, "clip.mp4", *out, "--rows", "0"], "--rows"),
        (["sheet", masks, "clip.mp4", *out, "--width", "0"], "--width"),
    ]:
        told = shell(*words, fails=True)
        assert reason in told, told
        assert not PYTHON.search(told), told


def test_advice_about_the_service_is_for_this_command_line() -> None:
    names = [getattr(errors, name) for name in errors.__all__]
    kinds = [kind for kind in names if isinstance(kind, type) and issubclass(kind, KlingError)]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind("x", "an-id") if kind is errors.UnknownOutcomeError else kind("x")
        assert not PYTHON.search(in_options(error)), error


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (A.to_rle(), 1),
        ([A.to_rle(), B.to_rle()], 2),
        ([{"image_id": 1, "category_id": 2, "segmentation": A.to_rle(), "score": 1.0}], 1),
        ({"masklet": [[A.to_rle(), B.to_rle()], [A.to_rle(), B.to_rle()]]}, 4),
    ],
)
def test_standard_input_of_every_kind(shell: Shell, document: Any, count: int) -> None:
    content = json.dumps(document).encode()
    assert len(json.loads(shell("info", "--json", stdin=content))["masks"]) == count
    shell("decode", "-", "-o", "masks.npy", stdin=content)
    masks = np.load(shell.folder / "masks.npy")
    assert masks.shape == (count, 20, 30)
    np.testing.assert_array_equal(masks[0], A.to_numpy())


def test_decode_and_encode_round_trip(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    shell("decode", "reply.json", "-o", "masks")
    names = sorted(path.name for path in (shell.folder / "masks").iterdir())
    assert names == ["00000.png", "00001.png"]
    rles = json.loads(shell("encode", *(f"masks/{name}" for name in names)))
    assert rles == [A.to_rle(), B.to_rle()]
    shell("decode", "reply.json", "--where", "object=4", "-o", "one.png")
    shell("encode", "one.png", "-o", "one.json")
    assert json.loads((shell.folder / "one.json").read_text()) == B.to_rle()
    content = (shell.folder / "one.png").read_bytes()
    assert json.loads(shell("encode", "-", stdin=content)) == B.to_rle()


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


def test_what_goes_wrong_is_said_in_a_line(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    shell.put("frames.json", {"masklet": [[A.to_rle()], [A.to_rle()]]})
    shell.put("huge.json", {"size": [2**15, 2**15], "counts": [2**30]})
    shell.put("other.json", {"images": []})
    shell.put("endless.json", {"frame_index": float("inf"), "rle_mask_list": []})
    (shell.folder / "text.txt").write_text("no masks here")
    Image.new("RGB", (5, 5)).save(shell.folder / "small.png")
    palette = Image.new("P", (5, 5))
    palette.save(shell.folder / "bare.png")
    content = (shell.folder / "bare.png").read_bytes()
    start = content.index(b"PLTE") - 4
    (shell.folder / "bare.png").write_bytes(content[:start] + content[content.index(b"IDAT") - 4 :])
    shell.put("many.json", [{"size": [65535, 65537], "counts": [2**32 - 1]}] * 40_000)
    (shell.folder / "loop").symlink_to("loop")
    for words, reason in [
        (["info", "text.txt"], "text.txt: not a JSON file"),
        (["info", "other.json"], "this is an object with the keys images"),
        (["info", "none.json"], "No such file"),
        (["info", "--where", "object", "reply.json"], "is not KEY=VALUE"),
        (["info", "--where", "object=9", "reply.json"], "no mask has object=9"),
        (["info", "--where", "image=9", "reply.json"], "the labels are frame, object"),
        (["decode", "reply.json", "-o", "x.png"], "2 masks do not fit one PNG"),
        (["decode", "huge.json", "-o", "x.npy"], "limit: klingmask --max-pixels N"),
        (["encode", "small.png", "text.txt"], "text.txt: not a PNG that can be read"),
        (["overlay", "reply.json", "small.png", "-o", "x.png"], "the image (5, 5)"),
        (["overlay", "reply.json", "text.txt", "-o", "x.png"], "not a video that can be read"),
        (["overlay", "frames.json", "small.png", "-o", "x.png"], "choose one with --where frame=0"),
        (["overlay", "reply.json", "none.png", "-o", "x.png"], "does not exist"),
        (["overlay", "endless.json", "small.png", "-o", "x.png"], "must be an integer, got inf"),
        (["overlay", "reply.json", "bare.png", "-o", "x.png"], "bare.png: not an image that can"),
        # More than there are addresses: a system that promises memory freely cannot begin.
        (["--max-pixels", str(2**32), "decode", "many.json", "-o", "x.npy"], "Unable to allocate"),
        (["task", "a", "-o", "loop"], "loop is a link that leads to no file"),
    ]:
        told = shell(*words, fails=True)
        assert reason in told.replace("\n", " "), told
    assert not list(shell.folder.glob("x.*"))


def test_files_that_cannot_be_are_said_in_a_line(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    Image.new("RGB", (30, 20)).save(shell.folder / "picture.png")
    for words in (
        ["decode", "reply.json", "-o", "none/x.npy"],
        ["decode", "reply.json", "--where", "object=4", "-o", "none/x.png"],
        ["decode", "reply.json", "-o", "picture.png/x"],
        ["overlay", "reply.json", "picture.png", "-o", "none/x.png"],
        ["encode", "picture.png", "-o", "none/x.json"],
    ):
        told = shell(*words, fails=True)
        assert words[-1] in told, told
        assert "No such file" in told or "Not a directory" in told, told


def test_the_pixel_limit_is_an_option(shell: Shell) -> None:
    shell.put("one.json", A.to_rle())
    assert "limit of 599" in shell(
        "--max-pixels", "599", "decode", "one.json", "-o", "x.npy", fails=True
    )
    shell("--max-pixels", "600", "decode", "one.json", "-o", "x.npy")


def test_without_the_extra() -> None:
    code = "import sys; sys.modules['click'] = None; import klingmask.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"pip install 'klingmask[cli]'" in done.stderr


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


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


def test_edit(shell: Shell, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLING_API_KEY", service.api_key)
    monkeypatch.setenv("KLING_BASE_URL", service.base_url)
    url = "https://example.org/clip.mp4"
    words = ["edit", url, "--at", "20,10", "--remove", "the chick", "-o", "out.mp4"]
    told = shell(*words, "--yes", "--mask", "mask.png", "--preview", "preview.mp4")
    assert "selected: 81 pixels, box (16, 6, 9, 9)" in told
    assert "found on " in told
    assert told.endswith("out.mp4\n")
    for name in ("out.mp4", "preview.mp4"):
        assert (shell.folder / name).read_bytes() == service.files["/result.mp4"]
    mask = km.Mask.from_png(shell.folder / "mask.png")
    assert mask == km.Mask.from_bbox((36, 64), (16, 6, 9, 9))
    (body,) = service.bodies("")
    assert (body["edit_mode"], body["prompt"]) == ("removal", "Delete the chick from <<<video_1>>>")
    assert "Aborted" in shell(*words, stdin=b"n\n", fails=True)
    assert len(service.created) == 1
    (shell.folder / "cat.png").write_bytes(png(300, 300))
    words = [
        "edit",
        "video-7",
        "--at",
        "0.5,0.5",
        "--swap",
        "the dog",
        "a cat",
        "--image",
        "cat.png",
    ]
    shell(*words, "-o", "out.mp4", "--yes")
    assert (
        service.bodies("")[1]["prompt"]
        == "swap a cat from <<<image_1>>> for the dog from <<<video_1>>>"
    )
    assert service.bodies("/init-selection")[-1] == {"video_id": "video-7"}


def test_masks_that_cannot_be_read_are_said_before_it_costs_money(
    shell: Shell, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLING_API_KEY", service.api_key)
    monkeypatch.setenv("KLING_BASE_URL", service.base_url)
    service.tracking_shape = len
    words = ["edit", "v", "--at", "20,10", "--remove", "x", "-o", "o.mp4", "--preview", "p.mp4"]
    told = shell(*words, "--yes", "--tracking", "t.json", fails=True)
    assert "the tracking file has no masks" in told
    assert (shell.folder / "p.mp4").exists()  # which may show why
    assert not (shell.folder / "t.json").exists()
    assert service.created == []
    assert "found on" not in shell(*words, "--yes")
    assert len(service.created) == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--remove", "x"], "--at X,Y"),
        (["--at", "1,1"], "exactly one of"),
        (["--at", "1,1", "--remove", "x", "--add", "y"], "exactly one of"),
        (["--at", "here", "--remove", "x"], "is not X,Y"),
        (["--add", "x"], "take an --image"),
        (["--at", "100,1", "--remove", "x", "--yes"], "not in a frame 64 wide"),
        (["--at", "1,1", "--remove", "x", "--mask", "none/m.png"], "no folder none for m.png"),
        (["--at", "1,1", "--remove", "x", "--preview", "none/p.mp4"], "no folder none for p.mp4"),
        (["--at", "1,1", "--remove", "x", "--mask", "."], "is a folder"),
        (["--at", "1,1", "--remove", "x", "--mask", "./o.mp4"], "is given for two results"),
        (["--at", "1,1", "--remove", "x", "--mask", "m.jpg"], "a PNG is written: --mask m.png"),
        (["--add", "x", "--image", "i.png", "--preview", "p.mp4"], "what --at X,Y selects"),
        (["--add", "x", "--image", "i.png", "--tracking", "t.json"], "what --at X,Y selects"),
    ],
)
def test_edits_that_cannot_be(
    shell: Shell,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    reason: str,
) -> None:
    monkeypatch.setenv("KLING_API_KEY", service.api_key)
    monkeypatch.setenv("KLING_BASE_URL", service.base_url)
    (shell.folder / "i.png").write_bytes(png(300, 300))
    told = shell("edit", "https://example.org/clip.mp4", *words, "-o", "o.mp4", fails=True)
    assert reason in " ".join(told.split())
    assert service.created == []
    assert "100,1" in words or service.requests == []  # all else is seen before a word is sent
    service.faults["*"].append(Fault(401, 1002, "no"))
    told = shell("edit", "v", "--add", "x", "--image", "none.png", "-o", "o.mp4", fails=True)
    assert "none.png" in told


def test_an_edit_that_the_service_refuses(
    shell: Shell, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLING_API_KEY", "another-key")
    monkeypatch.setenv("KLING_BASE_URL", service.base_url)
    told = shell("edit", "v", "--at", "1,1", "--remove", "x", "-o", "o.mp4", fails=True)
    assert "authentication failed (code 1000, HTTP 401, request_id request-2)" in told
    assert "another-key" not in told


def make_clip_of_a_square(path: Path) -> None:
    pictures = greys([90] * 48, (720, 720))
    for place, picture in enumerate(pictures):
        picture[300:420, 300 + 2 * place : 420 + 2 * place] = 220, 30, 40
    make_clip(path, pictures, rate=24)


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulation.Emulator]:
    """An emulator that the command line finds, and a clip of a square for it."""
    make_clip_of_a_square(tmp_path / "clip.mp4")
    with emulation.running(tmp_path) as emulator:
        monkeypatch.setenv("KLING_API_KEY", emulator.api_key)
        monkeypatch.setenv("KLING_BASE_URL", emulator.base_url)
        yield emulator


SQUARE = ("--at", "360,360", "--remove", "the square")


def test_a_file_needs_local(shell: Shell, emulator: emulation.Emulator) -> None:
    told = shell("edit", "clip.mp4", *SQUARE, "-o", "out.mp4", "--yes", fails=True)
    assert "clip.mp4 is a file on this machine" in told
    assert "--local" in told
    told = shell("edit", "none.mp4", *SQUARE, "-o", "out.mp4", "--local", fails=True)
    assert "there is no file none.mp4" in told
    told = shell(
        "edit",
        "clip.mp4",
        *SQUARE,
        "-o",
        "out.mp4",
        "--local",
        "--preview",
        "p.mp4",
        "--tracking",
        "masks.json",
    )
    assert "found on 48 of 48 frames" in told
    tracked = read_masks((shell.folder / "masks.json").read_bytes()).tracking()
    assert list(tracked) == list(range(48))
    assert all(any(masks.values()) for masks in tracked.values())
    for name in ("out.mp4", "p.mp4"):
        assert len(list(video.frames(shell.folder / name))) == 48
    assert emulator.tasks == ()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("when", ["session ", "selected: ", "task "])
def test_a_local_edit_that_is_interrupted(shell: Shell, how: signal.Signals, when: str) -> None:
    make_clip_of_a_square(shell.folder / "clip.mp4")
    folder = shell.folder / "tmp"
    folder.mkdir()
    before = sorted(shell.folder.rglob("*"))
    words = ["edit", "--local", "clip.mp4", *SQUARE, "-o", "out.mp4", "--preview", "p.mp4"]
    with subprocess.Popen(
        [shell.command, *words],
        cwd=shell.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith(when):
            assert process.poll() is None
        assert list(folder.iterdir())
        process.send_signal(how)
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) == (1 if how == signal.SIGINT else 128 + how)
    (shell.folder / "p.mp4").unlink(missing_ok=True)  # whole, if it was there before the end
    assert sorted(shell.folder.rglob("*")) == before


def test_a_wait_that_is_interrupted(shell: Shell, emulator: emulation.Emulator) -> None:
    """The message names the command that fetches what was paid for."""
    url = emulator.url_of(shell.folder / "clip.mp4")
    command = [str(Path(sys.executable).parent / "klingmask"), "edit", url, *SQUARE, "--yes"]
    with (
        emulator.tasks_held(),
        subprocess.Popen(
            [*command, "-o", "the result.mp4"],
            cwd=shell.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stdout.readline().startswith("task "):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        assert process.wait(20) == 1
    (task,) = emulator.tasks
    assert "Traceback" not in told
    (line,) = (line for line in told.splitlines() if "klingmask task" in line)
    words = shlex.split(line[line.index("klingmask task") :])
    assert words[1:] == ["task", task.task_id, "-o", "the result.mp4"]
    assert shell(*words[1:]).endswith("\nthe result.mp4\n")
    assert len(list(video.frames(shell.folder / "the result.mp4"))) == 48
    assert len(emulator.tasks) == 1


def test_a_task_that_may_have_been_made(shell: Shell, emulator: emulation.Emulator) -> None:
    """No reply came, and no word on whether there is a task: it can be fetched nevertheless."""
    emulator.plan("create-task", emulation.Fault(reset="after"))
    emulator.plan("get-task", *[emulation.Fault(code=1000)] * 9)
    url = emulator.url_of(shell.folder / "clip.mp4")
    told = shell("edit", url, *SQUARE, "--yes", "-o", "out.mp4", fails=True)
    emulator.clear_plans()
    (task,) = emulator.tasks
    assert f"klingmask task {task.external_task_id} -o out.mp4" in told
    assert shell("task", task.external_task_id).startswith(f"task {task.task_id}: ")


def test_task(shell: Shell, emulator: emulation.Emulator) -> None:
    url = emulator.url_of(shell.folder / "clip.mp4")
    with (
        KlingClient(emulator.api_key, base_url=emulator.base_url) as client,
        emulator.tasks_held(),
    ):
        edit = client.edit_video(video_url=url)
        edit.add_selection(0, [edit.point(360, 360)])
        emulator.plan("create-task", emulation.Fault(fails="the content is not safe"))
        name = edit.submit(
            "removal", "Delete it from <<<video_1>>>", external_task_id="mine"
        ).task.task_id
        assert shell("task", name) == f"task {name}: submitted\n"
        assert "no folder none" in shell("task", name, "-o", "none/out.mp4", fails=True)
    told = shell("task", "mine", "-o", "out.mp4", fails=True)
    assert "the content is not safe" in told
    assert "klingmask task" not in told  # which would fetch nothing
    assert shell("task", "mine") == f"task {name}: failed: the content is not safe\n"
    assert "code 1203" in shell("task", "another", fails=True)
    assert not (shell.folder / "out.mp4").exists()


def test_serve_on_a_port_that_is_taken(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = shell("serve", str(shell.folder), "--port", port, fails=True)
    assert f"--port {port} cannot be taken" in told
    assert "in use" in told
    assert "--port" in shell("serve", str(shell.folder), "--port", "70000", fails=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve(shell: Shell, emulator: emulation.Emulator, how: signal.Signals) -> None:
    """It ends at once and well, although it is at work."""
    clip = emulator.folders[0] / "clip.mp4"
    command = [str(Path(sys.executable).parent / "klingmask"), "serve", str(clip.parent)]
    with (
        subprocess.Popen(
            [*command, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(shell.folder), "PYTHONFAULTHANDLER": "1"},
        ) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            told = dict(process.stdout.readline().strip().split("=", 1) for _ in range(2))
            base = process.stdout.readline().strip().rpartition(": ")[2]
            with KlingClient(
                told["KLING_API_KEY"], base_url=told["KLING_BASE_URL"], retry_for=0
            ) as client:
                edit = client.edit_video(video_url=base + clip.name)
                edit.add_selection(0, [edit.point(360, 360)])
                preview = pool.submit(edit.preview)
                time.sleep(0.5)
                assert list(shell.folder.glob("klingmask-emulator-*"))
                process.send_signal(how)
                try:
                    assert process.wait(20) == 0
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGABRT)  # it tells what its threads are at
                    pytest.fail(f"it goes on:\n{process.stderr.read()}")
                assert isinstance(preview.exception(20), KlingError)
        finally:
            process.kill()
        assert process.stderr.read() == ""
    assert not list(shell.folder.glob("klingmask-emulator-*"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of threads")
def test_serve_ends_whichever_thread_a_signal_reaches(shell: Shell) -> None:
    command = [str(Path(sys.executable).parent / "klingmask"), "serve", str(shell.folder)]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while "Ctrl-C" not in process.stdout.readline():
                assert process.poll() is None
            time.sleep(0.5)  # until it waits
            threads = {int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()}
            os.kill((threads - {process.pid}).pop(), signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_result_does_not_take_the_place_of_a_source(shell: Shell) -> None:
    masks = shell.put("masks.png", [A.to_rle()])  # a name that decode would write a picture to
    picture = shell.folder / "picture.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(picture)
    clip = make_clip(shell.folder / "clip.mp4", greys([0, 90, 180], (20, 30)))
    before = {path: path.read_bytes() for path in shell.folder.iterdir()}
    for words in (
        ["decode", masks, "-o", masks],
        ["overlay", masks, "picture.png", "-o", "picture.png"],
        ["overlay", masks, "clip.mp4", "-o", "./clip.mp4"],
        ["video", masks, "clip.mp4", "-o", str(clip)],
        ["sheet", masks, "clip.mp4", "-o", "clip.mp4"],
        ["sheet", masks, "clip.mp4", "-o", masks],
        ["encode", "picture.png", "-o", "picture.png"],
    ):
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
