"""How commands end: errors in one line, safe text, signals."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from klingmask import emulator as emulation
from klingmask import video
from klingmask.kling import KlingClient, KlingError
from tests.cli.shell import REPLY, SQUARE, A, Shell, make_clip_of_a_square
from tests.clips import make_clip


def test_what_a_file_says_is_shown_and_not_obeyed(shell: Shell) -> None:
    entry = {"object_id": "[/x]\x1b[2J[red]7", "rle_mask": A.to_rle()}
    shell.put("[b].json", {"frame_index": 1, "rle_mask_list": [entry]})
    told = shell("info", "[b].json")
    assert r"[/x]\x1b[2J[red]7" in told
    assert "[b].json" in told
    assert "\x1b" not in told


EVIL = "a\x1b[2J\x07\x7f\x9b\u202e\u2066\ud800b"
SAFE = r"a\x1b[2J\x07\x7f\x9b\u202e\u2066\ud800b"


RLE = A.to_rle()
LABELLED = {"frame_index": 1, "rle_mask_list": [{"object_id": EVIL, "rle_mask": RLE}]}
EVIL_NAME = "n\x1b[2J\x9b\u202e.json"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({EVIL: 1}, ["info"]),
        ([{EVIL: 1}], ["info"]),
        (EVIL, ["info"]),
        ({"code": EVIL, "data": 1}, ["info"]),
        ({"code": 1, "message": EVIL, "data": 1}, ["info"]),
        ({"code": 0, "data": {"status": EVIL}}, ["info"]),
        ({**RLE, "counts": EVIL}, ["info"]),
        ({**RLE, "size": EVIL}, ["info"]),
        ({**RLE, "size": [EVIL, 1]}, ["info"]),
        ({"annotations": [{"segmentation": EVIL}]}, ["info"]),
        ([{"image_id": EVIL, "segmentation": RLE}, {"segmentation": RLE}], ["overlay", "i.png"]),
        ({"frame_index": EVIL, "rle_mask_list": [{"rle_mask": RLE}]}, ["overlay", "i.png"]),
        (LABELLED, ["info", "--where", "object=7"]),
        (LABELLED, ["info", "--where", "\x1b[2J=7"]),
        (LABELLED, ["info", "--where", "\x1b[2J"]),
        (LABELLED, ["info", "--\x1b[2J"]),
        (LABELLED, ["overlay", "none\x1b[2J"]),
    ],
)
def test_no_error_writes_commands_to_the_terminal(
    shell: Shell, document: object, words: list[str]
) -> None:
    shell.put(EVIL_NAME, document)
    Image.new("RGB", (30, 20)).save(shell.folder / "i.png")
    command, *rest = words
    output = ["-o", "out.png"] if command == "overlay" else []
    told = shell(command, EVIL_NAME, *rest, *output, fails=True)
    assert told.replace("\n", "").isprintable(), told
    assert r"\x1b[2J" in told


def test_no_result_writes_commands_to_the_terminal(shell: Shell) -> None:
    shell.put(EVIL_NAME, LABELLED)
    table, objects = shell("info", EVIL_NAME), shell("info", "--json", EVIL_NAME)
    for told in (table, objects, shell("decode", EVIL_NAME, "-o", "\x9bx.png")):
        assert told.replace("\n", "").isprintable(), told
    assert SAFE in table
    assert json.loads(objects)["masks"][0]["object"] == EVIL
    assert r"No such command '\x1b[2J'" in shell("\x1b[2J", fails=True)


def test_a_terminal_without_the_characters(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    entry = {"object_id": "né", "rle_mask": A.to_rle()}
    shell.put("é.json", {"frame_index": 1, "rle_mask_list": [entry]})
    assert r"n\xe9" in shell("info", "é.json")
    shell("decode", "é.json", "-o", "é.png")
    assert (shell.folder / "é.png").exists()


@pytest.mark.parametrize(
    "command",
    ["", "info", "decode", "encode", "overlay", "video", "sheet", "edit", "task", "serve"],
)
def test_h_is_help(shell: Shell, command: str) -> None:
    words = [command] if command else []
    assert shell(*words, "-h") == shell(*words, "--help")


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


@pytest.fixture
def files(shell: Shell) -> None:
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
    (shell.folder / "loop").symlink_to("loop")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
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
        (["overlay", "frames.json", "small.png", "-o", "x.png"], "example with --frame 0"),
        (["overlay", "reply.json", "none.png", "-o", "x.png"], "does not exist"),
        (["overlay", "endless.json", "small.png", "-o", "x.png"], "must be an integer, got inf"),
        (["overlay", "reply.json", "bare.png", "-o", "x.png"], "bare.png is not a picture that"),
        (["task", "a", "-o", "loop"], "loop is a link that leads to no file"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(shell: Shell, words: list[str], reason: str) -> None:
    told = shell(*words, fails=True)
    assert reason in told.replace("\n", " ")
    assert not list(shell.folder.glob("x.*"))


def test_more_memory_than_there_is(shell: Shell) -> None:
    """More than there are addresses: also a system that overcommits refuses it."""
    shell.put("many.json", [{"size": [65535, 65537], "counts": [2**32 - 1]}] * 40_000)
    words = ["--max-pixels", str(2**32), "decode", "many.json", "-o", "x.npy"]
    assert "Unable to allocate 156. TiB" in shell(*words, fails=True)
    assert not (shell.folder / "x.npy").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["info", "reply.json"], 0),
        (["info", "--json", "reply.json"], 0),
        (["decode", "reply.json", "-o", "x.npy"], 0),
        (["info", "none.json"], 2),
        (["decode", "reply.json", "-o", "x.png"], 1),
    ],
)
def test_streams_that_are_closed(shell: Shell, words: list[str], code: int, closed: str) -> None:
    shell.put("reply.json", REPLY)
    line = f"{shlex.join([shell.command, *words])} {closed}"
    done = subprocess.run(["bash", "-c", line], cwd=shell.folder, capture_output=True, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


def test_without_the_extra() -> None:
    code = "import sys; sys.modules['click'] = None; import klingmask.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"pip install 'klingmask[cli]'" in done.stderr


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
