"""The command line, run as people run it: a process, files, pipes."""

import json
import os
import pty
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
from klingmask.datasets import read_masks
from klingmask.kling import KlingClient, KlingError
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

    def __call__(self, *words: str, stdin: bytes = b"", fails: bool = False) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "klingmask"), *words],
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            check=False,
        )
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
        (["decode", "huge.json", "-o", "x.npy"], "set_max_pixels"),
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


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulation.Emulator]:
    """An emulator that the command line finds, and a clip of a square for it."""
    pictures = greys([90] * 48, (720, 720))
    for place, picture in enumerate(pictures):
        picture[300:420, 300 + 2 * place : 420 + 2 * place] = 220, 30, 40
    make_clip(tmp_path / "clip.mp4", pictures, rate=24)
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


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
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
