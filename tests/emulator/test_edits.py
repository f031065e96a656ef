"""The emulator: real videos segmented, followed and edited, behind the documented API."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from klingmask import kling
from klingmask.emulator import Emulator, Fault, running
from klingmask.kling import EditSession, KlingClient, parse_callback, prompts
from klingmask.video import frame_at, frames
from tests.clips import make_clip

SIZE = (720, 1280)
FRAMES = 48


def disc_at(index: int) -> km.Mask:
    """Where the drawn disc is on a frame."""
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    return km.Mask.from_numpy((x - 300 - 6 * index) ** 2 + (y - 350) ** 2 < 90**2)


def drawn(index: int) -> Any:
    """A red disc that moves to the right over a textured green ground."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ground = 90 + 25 * np.sin(x / 17) * np.sin(y / 23) + 10 * np.sin(x / 5)
    picture = np.stack([ground * 0.6, ground, ground * 0.5], 2).astype(np.uint8)
    inside = disc_at(index).to_numpy(dtype="bool")
    shade = (190 + 20 * np.sin((x - 6 * index) / 9) * np.sin(y / 11)).astype(np.uint8)
    picture[inside] = np.stack([shade, shade // 5, shade // 4], 2)[inside]
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    make_clip(folder / "disc.mp4", (drawn(index) for index in range(FRAMES)), rate=24)
    return folder


@pytest.fixture
def emulator(folder: Path) -> Iterator[Emulator]:
    with running(folder) as emulator:
        yield emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[KlingClient]:
    with KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=10) as client:
        yield client


@pytest.fixture
def edit(emulator: Emulator, client: KlingClient, folder: Path) -> EditSession:
    return client.edit_video(video_url=emulator.url_of(folder / "disc.mp4"))


def test_the_whole_job(edit: EditSession, emulator: Emulator, tmp_path: Path) -> None:
    assert (edit.size, edit.seconds, edit.reply.fps) == (SIZE, 2.0, 24.0)
    selection = edit.add_selection(10, [edit.point(360, 350)])
    assert selection.clicks_inside().y_down
    assert selection.union.iou(disc_at(10)) > 0.97
    preview = edit.preview()
    tracking = preview.tracking()
    assert sorted(tracking) == list(range(FRAMES))
    assert min(tracking[i][0].iou(disc_at(i)) for i in range(FRAMES)) > 0.85
    shown = frame_at(preview.download(tmp_path / "preview.mp4"), 10).astype(int)
    assert shown[350, 360, 1] - drawn(10)[350, 360, 1] > 60  # green where the disc is
    task = edit.submit("removal", prompts.removal("the disc"))
    out = task.wait(timeout=120).download(tmp_path / "out.mp4")
    edited = list(frames(out))
    assert len(edited) == FRAMES
    for index in (0, 20, 47):
        inside = disc_at(index).to_numpy(dtype="bool")
        red = edited[index][..., 0].astype(int) - edited[index][..., 1]
        assert np.median(red[inside]) < 0  # the ground is greener than red
        difference = np.abs(edited[index].astype(int) - drawn(index))[~inside]
        assert difference.mean() < 6
    assert edit.client.get_task(task.task.task_id).videos[0].url.startswith(emulator.cdn_url)
    again = edit.client.init_selection(video_id=task.video.id)
    assert (again.total_frame, again.width) == (FRAMES, 1280)


def picture_of(width: int, height: int) -> bytes:
    stream = BytesIO()
    Image.new("RGBA", (width, height), (20, 40, 240, 255)).save(stream, "PNG")
    return stream.getvalue()


def test_swap_and_addition(edit: EditSession, tmp_path: Path) -> None:
    blue = picture_of(400, 400)
    edit.add_selection(0, [edit.point(300, 350)])
    tasks = [
        edit.submit("swap", prompts.swap(old="the disc", new="a square"), images=[blue]),
        edit.submit("addition", prompts.addition("a square"), images=[blue]),
    ]
    swapped, added = (
        task.wait(timeout=120).download(tmp_path / f"{place}.mp4")
        for place, task in enumerate(tasks)
    )
    assert frame_at(swapped, 40)[350, 540, 2] > 180
    assert frame_at(added, 5)[700, 320, 2] > 180
    assert frame_at(added, 5)[350, 330, 0] > 140  # the disc is still there


@pytest.mark.parametrize("fails", ["", "the content-safety policy was triggered"])
def test_callbacks_are_signed(edit: EditSession, emulator: Emulator, fails: str) -> None:
    told: list[kling.Task] = []
    done = threading.Event()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append(parse_callback(dict(self.headers), body, emulator.webhook_secret))
            self.send_response(200)
            self.end_headers()
            if told[-1].ended:
                done.set()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Pasted onto each frame: the least that an edit can be.
    images = [picture_of(300, 300)]
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        emulator.plan("create-task", Fault(fails=fails))
        edit.submit("addition", prompts.addition("it"), images=images, callback_url=url)
        assert done.wait(60)
    finally:
        server.shutdown()
        server.server_close()
    end = "failed" if fails else "succeed"
    assert [task.task_status for task in told] == ["submitted", "processing", end]
    assert told[-1].task_status_msg == fails
    assert bool(told[-1].videos) != bool(fails)
