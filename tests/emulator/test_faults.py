"""Planned faults: each code of the platform's table, and each way a reply can break."""

import time
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path

import pytest
import requests

from klingmask import kling
from klingmask.emulator import Emulator, Fault
from klingmask.kling import KlingClient
from klingmask.kling.download import download
from tests.emulator.http_client import BAD, OK, PATH, Answer, Api, ended

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


CALLS: dict[str, Callable[[Api], Answer]] = {
    **{f"{name}-selection": methodcaller(name) for name in SELECTING},
    "create-task": Api.create,
    "list-tasks": Api.get,
    "get-task": lambda api: api.get("/x"),
}


@pytest.mark.parametrize("endpoint", CALLS)
def test_every_endpoint_can_be_planned(api: Api, emulator: Emulator, endpoint: str) -> None:
    api.add()
    emulator.plan(endpoint, Fault(429, 1101))
    assert CALLS[endpoint](api).verdict == (429, 1101)
    emulator.plan("*", Fault(503))
    assert CALLS[endpoint](api).verdict == (503, 5001)
    assert emulator.planned == {}
    assert emulator.tasks == ()
    assert api.delete().verdict == OK  # neither was done


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (Fault(429), (429, 1302)),
        (Fault(502), (502, 5000)),
        (Fault(404), (404, 1203)),
        (Fault(200, 5000), (200, 5000)),
        (Fault(500, 1101), (500, 1101)),
    ],
    ids=["429", "502", "404", "a code alone", "both"],
)
def test_a_status_means_its_usual_code(
    emulator: Emulator, fault: Fault, verdict: tuple[int, int]
) -> None:
    emulator.plan("list-tasks", fault)
    assert Api(emulator).get().verdict == verdict


def test_failed_tasks(api: Api, emulator: Emulator, client: KlingClient) -> None:
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
def test_rejected_recognitions(api: Api, emulator: Emulator, name: str) -> None:
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


def test_the_client_sees_a_rejected_recognition(
    api: Api, emulator: Emulator, client: KlingClient
) -> None:
    emulator.plan("add-selection", Fault(rejects=3))
    with pytest.raises(kling.RejectedSelectionError, match="3"):
        client.add_selection(api.session_id, 0, [(0.5, 0.5)])
    assert client.add_selection(api.session_id, 0, [(0.5, 0.5)]).masks


@pytest.mark.parametrize("fault", [Fault(slow=0.2), Fault(delay=0.2)], ids=["slow", "late"])
def test_late_replies(emulator: Emulator, fault: Fault) -> None:
    emulator.plan("list-tasks", fault)
    started = time.monotonic()
    assert Api(emulator).get().verdict == OK
    assert time.monotonic() - started > 0.2


@pytest.mark.parametrize(
    "fault", [Fault(reset="before"), Fault(reset="after"), Fault(cut=True)], ids=str
)
def test_broken_connections(emulator: Emulator, fault: Fault) -> None:
    emulator.plan("list-tasks", fault)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        Api(emulator).get()
    assert Api(emulator).get().verdict == OK


def test_other_bodies_and_headers(emulator: Emulator) -> None:
    emulator.plan("list-tasks", Fault(body=b"<html>"), Fault(429, 1302, retry_after="7"))
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    url = emulator.base_url + PATH
    assert requests.get(url, headers=headers, timeout=5).content == b"<html>"
    assert requests.get(url, headers=headers, timeout=5).headers["Retry-After"] == "7"


def test_broken_downloads(emulator: Emulator, tmp_path: Path) -> None:
    """A download by the client is whole all the same."""
    source = emulator.folders[0] / "square.mp4"
    url, content = emulator.url_of(source), source.read_bytes()
    emulator.plan("files", Fault(cut=True), Fault(503), Fault(reset="before"), Fault(delay=0.1))
    assert download(url, tmp_path / "square.mp4").read_bytes() == content
    assert emulator.planned == {}


def test_planning_faults(emulator: Emulator, client: KlingClient) -> None:
    with pytest.raises(ValueError, match="endpoint must be one of init-selection"):
        emulator.plan("init_selection", Fault(500))
    with pytest.raises(ValueError, match="reset must be"):
        Fault(reset="later")
    emulator.plan("list-tasks", Fault(400), Fault(401))
    emulator.plan("get-task", Fault(403))
    assert emulator.planned == {
        "list-tasks": (Fault(400), Fault(401)),
        "get-task": (Fault(403),),
    }
    emulator.clear_plans()
    assert emulator.planned == {}
    assert client.list_tasks() == []
