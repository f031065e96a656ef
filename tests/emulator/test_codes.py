"""Each code of the platform's table, on its own merits where it has any, and by plan."""

import base64
import hmac
import json
import time
from typing import Any

import pytest

from klingmask import kling
from klingmask.emulator import Emulator, Fault
from klingmask.kling import KlingClient
from tests.emulator.conftest import BAD, CLICK, MISSING, OK, Api, encoded, image

TABLE = [
    (401, 1000),
    (401, 1001),
    (401, 1002),
    (401, 1003),
    (401, 1004),
    (429, 1100),
    (429, 1101),
    (429, 1102),
    (403, 1103),
    (400, 1200),
    (400, 1201),
    (404, 1202),
    (404, 1203),
    (400, 1300),
    (400, 1301),
    (429, 1302),
    (429, 1303),
    (429, 1304),
    (500, 5000),
    (503, 5001),
    (504, 5002),
]
SELECTING = ("init", "add", "delete", "clear", "preview")


@pytest.mark.parametrize(("status", "code"), TABLE)
def test_every_code_can_be_planned(emulator: Emulator, status: int, code: int) -> None:
    api = Api(emulator)
    emulator.plan("list-tasks", Fault(code=code), Fault(code=code, message="because"))
    answer = api.get()
    assert answer.verdict == (status, code)
    assert answer.message
    assert api.get().message == "because"
    assert api.get().verdict == OK
    emulator.plan("list-tasks", *[Fault(code=code)] * 2)  # two: the client may try a new token
    with (
        KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as client,
        pytest.raises(kling.KlingError) as caught,
    ):
        client.list_tasks()
    assert (caught.value.status, caught.value.code) == (status, code)


def test_every_endpoint_can_be_planned(api: Api, emulator: Emulator) -> None:
    api.add()
    calls: dict[str, Any] = {f"{name}-selection": getattr(api, name) for name in SELECTING}
    calls |= {"create-task": api.create, "list-tasks": api.get, "get-task": lambda: api.get("/x")}
    for endpoint, call in calls.items():
        emulator.plan(endpoint, Fault(429, 1101))
        assert call().verdict == (429, 1101), endpoint
        emulator.plan("*", Fault(503))
        assert call().verdict == (503, 5001), endpoint
        assert emulator.planned == {}
    assert emulator.tasks == ()
    assert api.delete().verdict == OK  # none of the refused was done


def test_a_status_means_its_usual_code(api: Api, emulator: Emulator) -> None:
    for fault, verdict in [
        (Fault(429), (429, 1302)),
        (Fault(502), (502, 5000)),
        (Fault(404), (404, 1203)),
        (Fault(200, 5000), (200, 5000)),
        (Fault(500, 1101), (500, 1101)),
    ]:
        emulator.plan("list-tasks", fault)
        assert api.get().verdict == verdict


def token(emulator: Emulator, **changes: Any) -> str:
    """A token as the reference says it is made, but for the changes."""
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT"}
    claims = {"iss": emulator.access_key, "exp": now + 1800, "nbf": now - 5}
    header |= {key: changes.pop(key) for key in ("alg",) if key in changes}
    secret = changes.pop("key", emulator.secret_key)
    claims = {key: value for key, value in (claims | changes).items() if value is not None}
    parts = [json.dumps(part).encode() for part in (header, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret.encode(), signed, "sha256")
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_sign_in(emulator: Emulator) -> None:
    api, now = Api(emulator), time.time()
    for header, code in [
        (f"Bearer {emulator.api_key}", 0),
        (f"Bearer {token(emulator)}", 0),
        (f"Bearer {token(emulator, nbf=now - 5, exp=now + 1800.5)}", 0),
        ("", 1001),
        ("Bearer", 1002),
        ("Bearer ", 1002),
        ("Basic abc", 1002),
        (emulator.api_key, 1002),
        ("Bearer x", 1000),
        ("Bearer a.b.c", 1000),
        ("Bearer ...", 1000),
        ("Bearer \xe4\xf6", 1000),
        (f"Bearer {emulator.api_key}x", 1000),
        (f"Bearer {token(emulator, key='another')}", 1000),
        (f"Bearer {token(emulator)[:-2]}", 1000),
        (f"Bearer {token(emulator, alg='none')}", 1000),
        (f"Bearer {token(emulator, iss='another')}", 1000),
        (f"Bearer {token(emulator, iss=None)}", 1000),
        (f"Bearer {token(emulator, exp=None)}", 1000),
        (f"Bearer {token(emulator, nbf='soon')}", 1000),
        (f"Bearer {token(emulator, nbf=[1])}", 1000),
        (f"Bearer {token(emulator, exp=10**400)}", 1000),
        (f"Bearer {token(emulator, nbf=now + 60)}", 1003),
        (f"Bearer {token(emulator, exp=now - 1)}", 1004),
    ]:
        api.header = header
        assert api.get().verdict == ((200 if code == 0 else 401), code), header


def test_clocks_that_disagree(emulator: Emulator) -> None:
    """The client's tokens, judged by a clock that is ahead or behind."""
    access, secret, url = emulator.access_key, emulator.secret_key, emulator.base_url
    for offset, code in ((0, 0), (-3, 0), (600, 0), (-60, 1003), (2000, 1004)):
        emulator.clock_offset = offset
        with KlingClient(access_key=access, secret_key=secret, base_url=url) as client:
            if not code:
                assert client.list_tasks() == []
                continue
            with pytest.raises(kling.AuthenticationError, match="clock") as caught:
                client.list_tasks()
        assert caught.value.code == code


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


def ended(api: Api, name: str) -> Any:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        task = api.get(f"/{name}").data
        if task["task_status"] in ("succeed", "failed"):
            return task
        time.sleep(0.05)
    raise AssertionError(f"{task} goes on for ever")


def test_a_task_fails_by_plan(api: Api, emulator: Emulator, client: KlingClient) -> None:
    api.add()
    emulator.plan("create-task", Fault(fails="the content-safety policy was triggered"))
    made = api.create(external_task_id="unlucky")
    assert made.data["task_status"] == "submitted"
    task = ended(api, "unlucky")
    assert task["task_status"] == "failed"
    assert task["task_status_msg"] == "the content-safety policy was triggered"
    assert "task_result" not in task
    with pytest.raises(kling.TaskFailedError, match="content-safety"):
        client.task(external_task_id="unlucky").wait(timeout=30)
    assert emulator.tasks[0].task_status == "failed"


@pytest.mark.parametrize("name", SELECTING)
def test_a_recognition_is_refused_by_plan(api: Api, emulator: Emulator, name: str) -> None:
    """The call succeeds, its data.status says no, and the selection is what it was."""
    api.add()
    emulator.plan(f"{name}-selection", Fault(rejects=7))
    answer = getattr(api, name)()
    assert answer.verdict == OK
    assert answer.data["status"] == 7
    assert api.session_id == answer.data["session_id"] or name == "init"
    if name != "init":
        assert api.delete().verdict == OK  # the one point is there still
        assert api.delete().verdict == BAD


def test_a_refused_recognition_as_the_client_sees_it(
    api: Api, emulator: Emulator, client: KlingClient
) -> None:
    emulator.plan("add-selection", Fault(rejects=3))
    with pytest.raises(kling.RejectedSelectionError, match="3"):
        client.add_selection(api.session_id, 0, [(0.5, 0.5)])
    assert client.add_selection(api.session_id, 0, [(0.5, 0.5)]).masks


def test_sessions_live_a_day(api: Api, emulator: Emulator) -> None:
    api.add()
    emulator.clock_offset = 24 * 3600 - 60
    assert api.add(frame_index=1).verdict == OK
    emulator.clock_offset = 24 * 3600 + 1
    for call in (api.add, api.delete, api.clear, api.preview, api.create):
        assert call().verdict == MISSING
    assert api.init().verdict == OK


def test_results_live_for_thirty_days(api: Api, emulator: Emulator, client: KlingClient) -> None:
    addition = {"edit_mode": "addition", "prompt": "<<<video_1>>> <<<image_1>>>"}
    made = api.create(**addition, image_list=[{"image": encoded(image())}])
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


def test_no_request_poisons_later_ones(api: Api, emulator: Emulator) -> None:
    """Whatever type a field has, in any request: a documented answer, and all goes on."""
    api.add()
    strange: list[Any] = [None, True, 0, -1, 10**400, 0.5, "", "x", "\0", "\ud800", [], [[]], {}]
    strange += [{"x": 1}, {"enabled": "x"}, [{}], [None], "x" * 100_000]
    bodies: dict[str, dict[str, Any]] = {
        "/init-selection": {"video_id": "", "video_url": ""},
        "/add-selection": {"session_id": api.session_id, "frame_index": 0, "points": [CLICK]},
        "/delete-selection": {"session_id": api.session_id, "frame_index": 0, "points": [CLICK]},
        "/clear-selection": {"session_id": api.session_id},
        "/preview-selection": {"session_id": "none"},
        "": {
            "session_id": api.session_id,
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
    with emulator.tasks_held():
        for path, body in bodies.items():
            for field in body:
                for value in strange:
                    answer = api.post(path, body | {field: value})
                    assert answer.code in (0, 1200, 1201, 1203), (path, field, value)
            assert api.add().verdict == OK, path
            assert api.delete().verdict == OK, path
            if path == "/clear-selection":
                assert api.add().verdict == OK
            assert api.get("?pageSize=500").verdict == OK, path
    assert emulator.tasks
    for task in emulator.tasks:
        assert api.get(f"/{task.task_id}").verdict == OK
    first = emulator.tasks[0].task_id
    assert ended(api, first)["task_status"] == "succeed"
    assert api.get("?pageSize=500").verdict == OK
