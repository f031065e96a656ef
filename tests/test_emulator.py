"""The emulator: real videos segmented, followed and edited, behind the documented API."""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

import klingmask as km
from klingmask import kling
from klingmask.emulator import Emulator, Fault, running
from klingmask.kling import EditSession, KlingClient, parse_callback, prompts, transport
from klingmask.kling.download import download
from klingmask.video import frame_at, frames
from tests.clips import make_clip
from tests.conftest import shared_file

pytest_plugins = ["klingmask.emulator.pytest_plugin"]

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
    small = [np.full((360, 640, 3), 90, np.uint8)] * 48
    make_clip(folder / "small.mp4", small, rate=24)
    make_clip(folder / "rate.mp4", [drawn(0)] * 50, rate=25)
    make_clip(folder / "short.mp4", [drawn(0)] * 24, rate=24)
    (folder / "text.mp4").write_text("no video")
    (folder.parent / "outside.mp4").write_bytes((folder / "disc.mp4").read_bytes())
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


def test_swap_and_addition(edit: EditSession, tmp_path: Path) -> None:
    blue = np.zeros((400, 400, 4), np.uint8)
    blue[...] = (20, 40, 240, 255)
    from PIL import Image

    Image.fromarray(blue).save(tmp_path / "blue.png")
    edit.add_selection(0, [edit.point(300, 350)])
    tasks = [
        edit.submit("swap", prompts.swap("a square", "the disc"), images=[tmp_path / "blue.png"]),
        edit.submit("addition", prompts.addition("a square"), images=[tmp_path / "blue.png"]),
    ]
    swapped, added = (
        task.wait(timeout=120).download(tmp_path / f"{place}.mp4")
        for place, task in enumerate(tasks)
    )
    assert frame_at(swapped, 40)[350, 540, 2] > 180
    assert frame_at(added, 5)[700, 320, 2] > 180
    assert frame_at(added, 5)[350, 330, 0] > 140  # the disc is still there


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("small.mp4", "720 to 2160"),
        ("rate.mp4", "24, 30 or 60"),
        ("short.mp4", "2 to 5 s"),
        ("text.mp4", "cannot be read"),
    ],
)
def test_videos_over_a_limit(
    emulator: Emulator, client: KlingClient, folder: Path, name: str, reason: str
) -> None:
    with pytest.raises(kling.InvalidRequestError, match=reason) as caught:
        client.init_selection(video_url=emulator.url_of(folder / name))
    assert caught.value.code == 1201


def test_only_the_folders_are_open(emulator: Emulator, client: KlingClient, folder: Path) -> None:
    base = f"{emulator.cdn_url}/files"
    for url in (
        f"{base}/0/../outside.mp4",
        f"{base}/0/%2e%2e/outside.mp4",
        f"{base}/0/..%2foutside.mp4",
        f"{base}/1/disc.mp4",
        f"{base}/0/{folder.parent}/outside.mp4",
        "https://example.org/disc.mp4",
    ):
        with pytest.raises(kling.InvalidRequestError):
            client.init_selection(video_url=url)
        if url.startswith(emulator.cdn_url):
            assert requests.get(url, timeout=5).status_code == 404
    with pytest.raises(ValueError, match="none of the emulator's folders"):
        emulator.url_of(folder.parent / "outside.mp4")
    assert requests.get(emulator.url_of(folder / "disc.mp4"), timeout=5).ok


def post(emulator: Emulator, name: str, body: Any, header: str | None = None) -> tuple[int, int]:
    headers = {"Authorization": f"Bearer {emulator.api_key}" if header is None else header}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = requests.post(
        f"{emulator.base_url}/v1/videos/multi-elements{name}",
        data=content,
        headers={key: value for key, value in headers.items() if value},
        timeout=20,
    )
    return reply.status_code, reply.json()["code"]


def test_limits_hold_on_the_server_too(edit: EditSession, emulator: Emulator) -> None:
    """The client would not send these."""
    session = {"session_id": edit.session_id}
    point = {"x": 0.5, "y": 0.5}

    def selected(**body: Any) -> tuple[int, int]:
        return post(emulator, "/add-selection", {**session, **body})

    bad = (400, 1201)
    assert selected(frame_index=0, points=[]) == bad
    assert selected(frame_index=0, points=[point] * 11) == bad
    assert selected(frame_index=FRAMES, points=[point]) == bad
    assert selected(frame_index=0, points=[{"x": 1.1, "y": 0}]) == bad
    assert selected(frame_index=0, points=[{"x": "a"}]) == bad
    assert selected(frame_index="0", points=[point]) == bad
    assert selected(frame_index=0, points=5) == bad
    assert (
        post(emulator, "/delete-selection", {**session, "frame_index": 0, "points": [point]}) == bad
    )
    task = {**session, "edit_mode": "removal", "prompt": prompts.removal("it")}
    assert post(emulator, "", task) == bad  # nothing is selected
    assert post(emulator, "/preview-selection", session) == bad
    edit.add_selection(0, [(0.25, 0.5)])
    for change in (
        {"edit_mode": "erase"},
        {"prompt": "x" * 2501},
        {"prompt": "Delete it"},
        {"duration": "10"},
        {"duration": "7"},
        {"mode": "best"},
        {"model_name": "kling-v9"},
        {"image_list": [{"image": "x"}]},
        {"image_list": "x"},
    ):
        assert post(emulator, "", task | change) == bad, change
    assert post(emulator, "", task | {"external_task_id": "one"}) == (200, 0)
    assert post(emulator, "", task | {"external_task_id": "one"}) == bad
    assert post(emulator, "", b"{") == (400, 1200)
    assert post(emulator, "", b"[]") == (400, 1200)
    assert post(emulator, "/erase-selection", session) == (404, 1202)
    assert post(emulator, "/clear-selection", {"session_id": "none"}) == (404, 1203)
    with pytest.raises(kling.NotFoundError):
        edit.client.get_task("none")


def test_sessions_live_a_day(edit: EditSession, emulator: Emulator) -> None:
    emulator.service.offset = 24 * 3600 - 60
    edit.add_selection(0, [(0.25, 0.5)])
    emulator.service.offset = 24 * 3600 + 60
    with pytest.raises(kling.NotFoundError, match="expired"):
        edit.client.clear_selection(edit.session_id)


def test_both_sign_ins(emulator: Emulator) -> None:
    access, secret, url = emulator.access_key, emulator.secret_key, emulator.base_url
    with KlingClient(access_key=access, secret_key=secret, base_url=url) as client:
        assert client.list_tasks() == []
    with (
        KlingClient(access_key=access, secret_key=secret[::-1], base_url=url) as client,
        pytest.raises(kling.AuthenticationError) as caught,
    ):
        client.list_tasks()
    assert caught.value.code == 1000
    for header, code in (("", 1001), ("Basic abc", 1002), ("Bearer", 1002), ("Bearer x", 1000)):
        assert post(emulator, "", {}, header) == (401, code)


def test_clocks_that_disagree(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little is forgiven; more is said to be about the clock, after one new token."""
    seen: list[str] = []
    sign_in = emulator.service.sign_in

    def seen_and_judged(header: str) -> None:
        seen.append(header)
        sign_in(header)

    monkeypatch.setattr(emulator.service, "sign_in", seen_and_judged)
    access, secret, url = emulator.access_key, emulator.secret_key, emulator.base_url
    for offset, code in ((-3, 0), (600, 0), (-60, 1003), (2000, 1004)):
        emulator.service.offset = offset
        seen.clear()
        with KlingClient(access_key=access, secret_key=secret, base_url=url) as client:
            if not code:
                assert client.list_tasks() == []
                continue
            with pytest.raises(kling.AuthenticationError, match="this clock") as caught:
                client.list_tasks()
        assert caught.value.code == code
        assert len(seen) == 2


def test_planned_faults(emulator: Emulator, client: KlingClient) -> None:
    emulator.plan(
        "list-tasks", Fault(429, 1302, retry_after="0"), Fault(reset="after"), Fault(cut=True)
    )
    assert client.list_tasks() == []
    emulator.plan("*", Fault(429, 1101))
    with pytest.raises(kling.AccountError):
        client.list_tasks()


def test_what_a_plan_can_say(emulator: Emulator, client: KlingClient, tmp_path: Path) -> None:
    emulator.plan(
        "list-tasks", Fault(body=b"<html>"), Fault(502), Fault(200, 5001), Fault(slow=0.2)
    )
    for kind in (kling.BadReplyError, kling.ServerError, kling.ServerError):
        with (
            KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as once,
            pytest.raises(kind),
        ):
            once.list_tasks()
    started = time.monotonic()
    assert client.list_tasks() == []
    assert time.monotonic() - started > 0.15
    source = emulator.service.folders[0] / "disc.mp4"
    url, content = emulator.url_of(source), source.read_bytes()
    emulator.plan("files", Fault(cut=True), Fault(503), Fault(reset="before"), Fault(delay=0.1))
    assert download(url, tmp_path / "disc.mp4").read_bytes() == content
    assert requests.get(url, headers={"Authorization": "Bearer x"}, timeout=5).status_code == 400


def test_only_so_many_tasks_at_once(folder: Path) -> None:
    with (
        running(folder, parallel_tasks=2) as emulator,
        KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as client,
    ):
        edit = client.edit_video(video_url=emulator.url_of(folder / "disc.mp4"))
        edit.add_selection(0, [(0.25, 0.5)])
        tasks = [edit.submit("removal", prompts.removal("it")) for _ in range(2)]
        with pytest.raises(kling.RateLimitError, match="parallel task over") as caught:
            edit.submit("removal", prompts.removal("it"))
        assert (caught.value.status, caught.value.code) == (429, 1303)
        tasks[0].wait(timeout=120)
        third = edit.submit("removal", prompts.removal("it"))
        assert {task.task_id for task in client.iter_tasks()} == {
            task.task.task_id for task in (*tasks, third)
        }


def test_thousands_of_faulted_creates(
    edit: EditSession, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails on the way, each call has one task, and each task its call."""
    wait = transport._wait
    monkeypatch.setattr(transport, "_wait", lambda state: wait(state) / 100)
    monkeypatch.setattr(emulator.service, "_work", lambda *_: None)  # the edits are not the matter
    dice = random.Random(1)  # noqa: S311
    faults = [
        Fault(reset="before"),
        Fault(reset="after"),
        Fault(500, works=True),
        Fault(504, works=True),
        Fault(503),
        Fault(429, 1303),
        Fault(429, 1302, retry_after="0"),
        Fault(200, 5000, works=True),
        Fault(cut=True),
        Fault(body=b"<html>bad gateway</html>"),
        Fault(body=b'{"code": 0, "data": null}'),
        Fault(400, 1201),
        Fault(429, 1101),
        Fault(403, 1301),
    ]
    n = 2000
    emulator.plan("create-task", *(dice.choice([*faults, Fault(), Fault()]) for _ in range(2 * n)))
    lookups = [Fault(reset="after"), Fault(503), Fault(cut=True), *[Fault()] * 9]
    emulator.plan("get-task", *(dice.choice(lookups) for _ in range(n)))
    edit.add_selection(0, [(0.25, 0.5)])
    text = prompts.removal("it")

    buyer = KlingClient(emulator.api_key, base_url=emulator.base_url, settle=0.0)

    def create(number: int) -> str | None:
        try:
            task = buyer.create_task(
                edit.session_id, "removal", text, external_task_id=f"call-{number}"
            )
        except (kling.InvalidRequestError, kling.AccountError, kling.PolicyError):
            return None
        assert task.external_task_id == f"call-{number}"
        return task.task_id

    with buyer, ThreadPoolExecutor(8) as pool:
        returned = {name for name in pool.map(create, range(n)) if name is not None}
    made = emulator.service.tasks
    assert returned == set(made)
    assert len({task.external for task in made.values()}) == len(made)
    assert n / 2 < len(made) < n


def test_callbacks_are_signed(edit: EditSession, emulator: Emulator) -> None:
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
    try:
        edit.add_selection(0, [(0.25, 0.5)])
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        edit.submit("removal", prompts.removal("it"), callback_url=url)
        assert done.wait(60)
    finally:
        server.shutdown()
        server.server_close()
    assert [task.task_status for task in told] == ["processing", "succeed"]
    assert told[-1].videos


def test_the_fixture(kling_emulator: Emulator) -> None:
    with KlingClient() as client:
        assert client.list_tasks() == []
    assert repr(client) == f"KlingClient({kling_emulator.base_url!r})"


def test_nothing_is_left_behind(folder: Path) -> None:
    before = set(threading.enumerate())
    with running(folder) as emulator:
        results = emulator.service.results
        assert results.is_dir()
    assert not results.exists()
    assert not [t for t in threading.enumerate() if t not in before and not t.daemon]
    with pytest.raises(requests.ConnectionError):
        requests.get(emulator.base_url, timeout=1)


def test_a_real_video(tmp_path: Path) -> None:
    clip = tmp_path / "dog.mp4"
    pictures = [
        picture for _, picture in zip(range(60), frames(shared_file("dog.mp4")), strict=False)
    ]
    make_clip(clip, pictures, rate=30)
    with (
        running(tmp_path) as emulator,
        KlingClient(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        edit = client.edit_video(video_url=emulator.url_of(clip))
        patched = km.Mask.from_bbox(edit.size, (465, 375, 240, 175))  # the dog: white and brown
        clicks = [(530, 410), (600, 430), (640, 430)]
        selection = edit.add_selection(0, [edit.point(x, y) for x, y in clicks])
        assert all(click in selection.union for click in clicks)
        assert selection.union.area > 8_000
        assert (selection.union & patched).area > 0.95 * selection.union.area
        edit.clear_selection()
        shirt = edit.add_selection(0, [edit.point(310, 380)]).union  # and jeans, of one person
        assert (shirt & km.Mask.from_bbox(edit.size, (210, 200, 240, 330))).area > 0.95 * shirt.area
        assert shirt.area > 20_000
