"""Sessions that end at the service, and waiting for a task."""

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from klingmask import kling
from klingmask.kling import EditSession, EditTask, KlingClient, transport
from klingmask.kling import task as task_module
from tests.kling.server import Fault, Service

POINT = (0.5, 0.5)
PAUSE = transport.pause
REMOVAL = "Delete the chick from <<<video_1>>>"


@pytest.fixture
def edit(client: KlingClient) -> EditSession:
    edit = client.edit_video(video_id="v")
    edit.add_selection(0, [POINT])
    return edit


# ---- a session that the service no longer has ----

CALLS: dict[str, tuple[str, Callable[[EditSession], object]]] = {
    "add": ("/add-selection", lambda edit: edit.add_selection(1, [POINT])),
    "delete": ("/delete-selection", lambda edit: edit.delete_selection(0, [POINT])),
    "clear": ("/clear-selection", lambda edit: edit.clear_selection()),
    "preview": ("/preview-selection", lambda edit: edit.preview()),
    "submit": ("POST /", lambda edit: edit.submit("removal", REMOVAL)),
}
ENDED = [
    Fault(400, 1201, "session expired"),
    Fault(400, 1200, "The session has expired"),
    Fault(400, 1201, "session_id is invalid"),
    Fault(400, 1201, "session 847570360458960960 not found"),
    Fault(400, 1201, "Session not exist"),
    Fault(404, 1203, "the session does not exist"),
    Fault(400, 1201, "invalid session id"),
    Fault(400, 1201, "no such session"),
    Fault(410, 4100, "session is no longer available"),
]
OTHER = [
    Fault(400, 1201, "points: must be in [0, 1]"),
    Fault(400, 1201, "session_id: 847, points invalid"),
    Fault(400, 1201, "the session has no selection"),
    Fault(400, 1200, ""),
    Fault(404, body=b"<html>session not found</html>"),
    Fault(400, body=b"session expired"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", ENDED, ids=lambda fault: fault.message)
def test_a_session_that_ended_at_the_service(
    edit: EditSession, service: Service, call: str, fault: Fault
) -> None:
    endpoint, ask = CALLS[call]
    service.faults[endpoint].append(fault)
    with pytest.raises(kling.SessionExpiredError, match="start a new one") as caught:
        ask(edit)
    assert fault.message in str(caught.value)
    assert (caught.value.code, caught.value.status) == (fault.code, fault.status)
    assert (caught.value.outcome, caught.value.request_id) == ("refused", "request-2")
    assert service.created == []
    if call == "submit":
        assert caught.value.external_task_id == service.bodies("")[0]["external_task_id"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", OTHER, ids=str)
def test_other_refusals_do_not_end_a_session(
    edit: EditSession, service: Service, call: str, fault: Fault
) -> None:
    endpoint, ask = CALLS[call]
    service.faults[endpoint].append(fault)
    with pytest.raises(kling.KlingError) as caught:
        ask(edit)
    assert not isinstance(caught.value, kling.SessionExpiredError)


def test_a_model_that_does_not_exist_does_not_end_a_session(
    edit: EditSession, service: Service
) -> None:
    service.faults["POST /"].append(Fault(404, 1203, "no such model"))
    with pytest.raises(kling.NotFoundError) as caught:
        edit.submit("removal", REMOVAL, model_name="kling-v9")
    assert not isinstance(caught.value, kling.SessionExpiredError)
    assert service.bodies("")[0]["model_name"] == "kling-v9"


def test_a_model_may_be_left_to_the_service(edit: EditSession, service: Service) -> None:
    edit.submit("removal", REMOVAL, model_name=None)
    edit.submit("removal", REMOVAL)
    first, second = service.bodies("")
    assert "model_name" not in first
    assert second["model_name"] == "kling-v1-6"


# ---- waiting ----


class Clock:
    """Time that passes while somebody sleeps, and not otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        self.slept: list[float] = []
        fake = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep, time=time.time)
        monkeypatch.setattr(task_module, "time", fake)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def task(edit: EditSession, service: Service) -> EditTask:
    service.polls_until_done = 10**6
    return edit.submit("removal", REMOVAL)


BUSY = Fault(503, 5001, headers={"Retry-After": "7.5"})


@pytest.mark.parametrize(
    "fault",
    [
        BUSY,
        Fault(503, 5001, headers={"Retry-After": "600"}),
        Fault(429, 1302),
        Fault(500, 5000),
        Fault(502, body=b"<html>"),
        Fault(reset="after"),
        Fault(cut=True),
    ],
    ids=str,
)
def test_a_poll_that_fails_does_not_end_the_wait(
    service: Service, task: EditTask, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(transport, "pause", PAUSE)
    service.faults[f"/{task.task.task_id}"].append(fault)
    service.polls_until_done = 0
    started = clock.now
    assert task.wait(timeout=8).task.task_status == "succeed"
    assert clock.now - started <= 8
    assert len(clock.slept) == 2
    if fault.headers:  # it is not asked again before it may be, but for the end of the time
        assert clock.slept[1] >= 6


@pytest.mark.parametrize("faults", [[], [BUSY], [BUSY] * 99], ids=["none", "one", "all"])
def test_a_wait_says_how_long_it_was(
    service: Service, task: EditTask, monkeypatch: pytest.MonkeyPatch, faults: list[Fault]
) -> None:
    clock = Clock(monkeypatch)
    service.faults[f"/{task.task.task_id}"] += faults
    started = clock.now
    with pytest.raises(kling.RequestTimeoutError) as caught:
        task.wait(timeout=8)
    waited = clock.now - started
    assert 7 <= waited <= 8
    assert f"is still {task.task.task_status} after {waited:.3g} s" in str(caught.value)
    assert ("the last query failed: planned" in str(caught.value)) == (len(faults) > 1)


def test_a_service_that_stays_down_ends_the_wait(
    service: Service, make: Callable[..., KlingClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the client's retry_for without an answer, and not at the first one."""
    clock = Clock(monkeypatch)
    service.create({"external_task_id": "mine"})
    with make(retry_for=60.0) as client:
        task = client.task("task-1")
        service.faults["/task-1"] += [Fault(503, 5001)] * 999
        started = clock.now
        with pytest.raises(kling.ServerError):
            task.wait()
        assert 60 < clock.now - started < 120
        # An answer in between starts the count anew.
        service.faults["/task-1"] = ([Fault(503, 5001)] * 3 + [Fault()]) * 20
        service.polls_until_done = 21
        assert task.wait().task.task_status == "succeed"


def test_what_is_final_ends_the_wait(service: Service, task: EditTask) -> None:
    for fault, kind in (
        (Fault(401, 1000), kling.AuthenticationError),
        (Fault(429, 1101), kling.AccountError),
        (Fault(404, body=b"<html>"), kling.NotFoundError),
    ):
        service.faults[f"/{task.task.task_id}"].append(fault)
        with pytest.raises(kind):
            task.wait(timeout=1.5)
