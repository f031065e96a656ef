"""`edit`, `task` and `serve`."""

import socket

import pytest

import klingmask as km
from klingmask import emulator as emulation
from klingmask import video
from klingmask.datasets import read_masks
from klingmask.kling import KlingClient
from tests.cli.shell import SQUARE, Shell
from tests.kling.samples import png
from tests.kling.server import Fault, Service


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
