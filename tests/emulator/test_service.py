"""Sessions and tasks: what is kept, for how long, and in any order of requests."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from klingmask import Mask, kling
from klingmask.emulator import Emulator, Fault, service
from klingmask.emulator.vision import editing
from klingmask.kling import KlingClient
from tests.emulator.conftest import FRAMES, SIDE
from tests.emulator.http_client import (
    ADDITION,
    BAD,
    CLICK,
    MIB,
    MISSING,
    OK,
    REMOVAL,
    Api,
    encoded,
    ended,
    eventually,
    image,
    traced,
)


def test_too_many_requests(api: Api, emulator: Emulator) -> None:
    emulator.rate_limit = (3, 60.0)
    assert [api.get().code for _ in range(5)] == [0, 0, 0, 1302, 1302]
    assert api.add().verdict == (429, 1302)
    emulator.clock_offset += 61
    assert api.get().verdict == OK
    emulator.rate_limit = None
    assert [api.get().code for _ in range(5)] == [0] * 5


def test_too_many_tasks(api: Api, emulator: Emulator) -> None:
    """From when they are submitted until they have ended either way."""
    api.add()
    emulator.parallel_tasks = 2
    with emulator.tasks_held():
        emulator.plan("create-task", Fault(fails="no"))
        assert [api.create().code for _ in range(3)] == [0, 0, 1303]
        full = api.create()
        assert full.verdict == (429, 1303)
        assert full.message == "parallel task over resource pack limit"
        assert [task.task_status for task in emulator.tasks] == ["submitted"] * 2
    ended(api, emulator.tasks[0].task_id)
    assert api.create().verdict == OK


def test_sessions_live_a_day(api: Api, emulator: Emulator) -> None:
    api.add()
    emulator.clock_offset = 24 * 3600 - 60
    assert api.add(frame_index=1).verdict == OK
    emulator.clock_offset = 24 * 3600 + 1
    for call in (api.add, api.delete, api.clear, api.preview, api.create):
        assert call().verdict == MISSING
    assert api.init().verdict == OK


def test_results_live_for_thirty_days(api: Api, emulator: Emulator, client: KlingClient) -> None:
    made = api.create(**ADDITION, image_list=[{"image": encoded(image())}])
    name = made.data["task_id"]
    (video,) = ended(api, name)["task_result"]["videos"]
    assert api.post("/init-selection", {"video_id": video["id"]}).verdict == OK
    emulator.clock_offset = 30 * 24 * 3600 - 60
    assert api.post("/init-selection", {"video_id": video["id"]}).verdict == OK
    assert emulator.service.file(f"/results/{video['url'].rpartition('/')[2].partition('?')[0]}")
    emulator.clock_offset = 30 * 24 * 3600 + 1
    assert api.post("/init-selection", {"video_id": video["id"]}).verdict == MISSING
    assert api.get(f"/{name}").verdict == OK
    with pytest.raises(kling.KlingError):
        client.task(name).download(emulator.service.results / "late.mp4")


STRANGE: list[Any] = [
    *(None, True, 0, -1, 10**400, 0.5, "", "x", "\0", "\ud800", [], [[]], {}),
    *({"x": 1}, {"enabled": "x"}, [{}], [None], "x" * 100_000),
]
BODIES: dict[str, dict[str, Any]] = {
    "/init-selection": {"video_id": "", "video_url": ""},
    "/add-selection": {"session_id": "", "frame_index": 0, "points": [CLICK]},
    "/delete-selection": {"session_id": "", "frame_index": 0, "points": [CLICK]},
    "/clear-selection": {"session_id": ""},
    "/preview-selection": {"session_id": ""},
    "": {
        "session_id": "",
        "edit_mode": "removal",
        "prompt": "Delete it from <<<video_1>>>",
        "negative_prompt": "",
        "model_name": "kling-v1-6",
        "image_list": [],
        "mode": "std",
        "duration": "5",
        "watermark_info": {"enabled": False},
        "callback_url": "",
        "external_task_id": "",
    },
}


@pytest.mark.parametrize("path", BODIES)
def test_no_request_poisons_later_ones(api: Api, emulator: Emulator, path: str) -> None:
    """Whatever type a field has, in any request: a documented answer, and all goes on."""
    api.add()
    body = BODIES[path]
    if "session_id" in body:
        body = body | {"session_id": api.session_id}
    with emulator.tasks_held():
        for field in body:
            for value in STRANGE:
                answer = api.post(path, body | {field: value})
                assert answer.code in (0, 1200, 1201, 1203), (field, value)
        assert api.add().verdict == OK
        made = api.create()
        assert made.verdict == OK
        assert api.get("?pageSize=500").verdict == OK
    if path == "":
        assert len(emulator.tasks) > 1
    for task in emulator.tasks:
        assert api.get(f"/{task.task_id}").verdict == OK
    assert ended(api, emulator.tasks[0].task_id)["task_status"] == "succeed"


def test_names_of_tasks_are_unique(api: Api) -> None:
    api.add()
    assert api.create(external_task_id="one").verdict == OK
    again = api.create(external_task_id="one")
    assert again.verdict == BAD
    assert "unique" in again.message
    assert api.create(external_task_id="two").verdict == OK
    assert len(api.emulator.tasks) == 2


def test_pages(api: Api) -> None:
    api.add()
    with api.emulator.tasks_held():
        for number in range(5):
            assert api.create(external_task_id=f"task-{number}").verdict == OK
        assert len(api.get().data) == 5
        pages = [api.get(f"?pageNum={page}&pageSize=2") for page in (1, 2, 3, 4)]
        names = [[task["task_info"]["external_task_id"] for task in page.data] for page in pages]
        assert names == [["task-4", "task-3"], ["task-2", "task-1"], ["task-0"], []]


def test_images_of_tasks_take_no_memory(
    emulator: Emulator, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all tasks that wait for their turn; the latest requests are shown as they were."""
    monkeypatch.setattr(service, "KEPT_IMAGES_BYTES", 30 * MIB)
    images = [{"image": encoded(image(kind="JPEG").ljust(9_000_000, b"\0"))}]
    emulator.plan("create-task", *[Fault(fails="no")] * 12)
    with emulator.tasks_held():
        with traced() as peak:
            for _ in range(12):
                assert api.create(**ADDITION, image_list=images).verdict == OK
        shown = [task.body["image_list"] for task in emulator.tasks]
        assert shown == [[]] * 10 + [images] * 2
        assert len(list(emulator.service.results.glob("*.image"))) == 12
    assert peak.bytes < 100 * MIB
    eventually(lambda: not any(emulator.service.results.glob("*.image")))


def test_points_from_many_threads(api: Api) -> None:
    """Exactly ten of a frame's points and ten of the frames are taken, whoever comes first."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.add().code, range(16)))
        assert sorted(answers) == [0] * 10 + [1201] * 6
        answers = list(pool.map(lambda index: api.add(frame_index=index).code, range(1, 16)))
        assert sorted(answers) == [0] * 9 + [1201] * 6
        answers = list(pool.map(lambda _: api.delete().code, range(16)))
        assert sorted(answers) == [0] * 10 + [1201] * 6


def test_concurrent_requests(api: Api) -> None:
    """No order of requests to one session is an error of the emulator's."""
    dice = random.Random(2)  # noqa: S311
    calls = [
        lambda: api.add(frame_index=dice.randrange(3)),
        lambda: api.delete(frame_index=dice.randrange(3)),
        api.clear,
        api.create,
        api.get,
        lambda: api.create(external_task_id="the one"),
        lambda: api.get("/the%20one"),
    ]
    with api.emulator.tasks_held(), ThreadPoolExecutor(8) as pool:
        wanted = [dice.choice(calls) for _ in range(150)]
        previews = [pool.submit(api.preview) for _ in range(2)]
        answers = list(pool.map(lambda call: call().code, wanted))
        assert set(answers) <= {0, 1201, 1203}
        assert {preview.result().code for preview in previews} <= {0, 1201}
    assert api.clear().verdict == OK
    assert api.preview().verdict == BAD
    assert api.add().verdict == OK


MARKED = (3, 20, 21, 47)


def mark(api: Api) -> None:
    for index in MARKED:
        point = {"x": (360 + 2 * index) / SIDE, "y": 0.5}
        assert api.add(frame_index=index, points=[point]).verdict == OK


def test_tracking_is_cached(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks again, and the edit itself, get what was found the first time."""
    jobs = []
    follow = editing.follow

    def counted(*args: Any) -> list[Mask]:
        jobs.append(args)
        return follow(*args)

    monkeypatch.setattr(editing, "follow", counted)
    mark(api)
    res = api.preview().data["res"]
    listed = requests.get(res["tracking_output"], timeout=5).json()
    assert [entry["frame_index"] for entry in listed] == list(range(FRAMES))
    for index, entry in enumerate(listed):
        (found,) = entry["rle_mask_list"]
        square = Mask.from_bbox((SIDE, SIDE), (300 + 2 * index, 300, 120, 120))
        assert Mask.from_rle(found["rle_mask"]).iou(square) > 0.9, index
    again = api.preview().data["res"]
    assert again["video"].partition("?")[0] == res["video"].partition("?")[0]
    made = api.create()
    assert ended(api, made.data["task_id"])["task_status"] == "succeed"
    assert len(jobs) == 1
    last = {"x": (360 + 2 * MARKED[-1]) / SIDE, "y": 0.5}
    assert api.delete(frame_index=MARKED[-1], points=[last]).verdict == OK
    other = api.preview().data["res"]
    assert other["video"].partition("?")[0] != res["video"].partition("?")[0]
    assert len(jobs) == 2


def test_one_tracking_job_per_session(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, most, lock = [0], [0], threading.Lock()
    follow = editing.follow

    def counted(*args: Any) -> list[Mask]:
        with lock:
            jobs[0] += 1
            most[0] = max(most[0], jobs[0])
        try:
            time.sleep(0.2)
            return follow(*args)
        finally:
            with lock:
                jobs[0] -= 1

    monkeypatch.setattr(editing, "follow", counted)
    api.add()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(api.preview) for _ in range(3)]
        time.sleep(0.1)
        api.add(frame_index=1)
        asked += [pool.submit(api.preview) for _ in range(3)]
        videos = [preview.result().data["res"]["video"].partition("?")[0] for preview in asked]
    assert len(set(videos[:3])) == len(set(videos[3:])) == 1
    assert videos[0] != videos[3]
    assert most == [1]


def test_thousands_of_faulted_creates(
    api: Api, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails on the way, each call has one task, and each task its call."""
    slept = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: slept(seconds / 100))
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
    n = 2100
    emulator.plan("create-task", *(dice.choice([*faults, Fault(), Fault()]) for _ in range(2 * n)))
    lookups = [Fault(reset="after"), Fault(503), Fault(cut=True), *[Fault()] * 9]
    emulator.plan("get-task", *(dice.choice(lookups) for _ in range(n)))
    api.add()
    buyer = KlingClient(emulator.api_key, base_url=emulator.base_url, settle=0.0)

    def create(number: int) -> str | None:
        name = f"call-{number}"
        try:
            task = buyer.create_task(
                api.session_id, "removal", REMOVAL["prompt"], external_task_id=name
            )
        except (kling.InvalidRequestError, kling.AccountError, kling.PolicyError):
            return None
        except kling.UnknownOutcomeError as error:
            if error.code != 1201:  # a value refused after doubt: it may be the id
                raise
            return None
        assert task.external_task_id == name
        return task.task_id

    with emulator.tasks_held(), buyer, ThreadPoolExecutor(8) as pool:
        returned = [name for name in pool.map(create, range(n)) if name is not None]
        made = emulator.tasks
    assert len(set(returned)) == len(returned)
    assert set(returned) == {task.task_id for task in made}  # none lost, none paid for in vain
    assert len({task.external_task_id for task in made}) == len(made)  # none doubled
    assert n / 2 < len(made) < n
