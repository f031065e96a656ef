"""Waiting for a task: queries, back-offs, and the end of the wait."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from klingmask import kling
from klingmask.kling import EditSession, EditTask, KlingClient, transport
from klingmask.kling import task as task_module
from tests.kling.samples import REMOVAL
from tests.kling.server import Fault, Service


def test_waiting(
    edit: EditSession, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    edit.add_selection(0, [(0.5, 0.5)])
    pauses: list[float] = []
    monkeypatch.setattr("klingmask.kling.task.time.sleep", pauses.append)
    service.polls_until_done = 12
    task = edit.submit("removal", REMOVAL)
    assert task.wait(progress=True).task.task_status == "succeed"
    assert "task" in capsys.readouterr().err
    assert pauses == sorted(pauses)
    assert 1 == pauses[0] < pauses[-1] <= 15
    service.final = "failed"
    with pytest.raises(kling.TaskFailedError, match="the sky is too blue"):
        edit.submit("removal", REMOVAL).wait()


def test_waiting_has_an_end(edit: EditSession, service: Service) -> None:
    edit.add_selection(0, [(0.5, 0.5)])
    service.polls_until_done = 10**6
    task = edit.submit("removal", REMOVAL)
    with pytest.raises(kling.RequestTimeoutError, match="wait\\(\\) can be called again"):
        task.wait(timeout=0.2)
    with pytest.raises(kling.BadReplyError, match="has no video"):
        _ = task.video
    again = edit.client.task(external_task_id=task.task.external_task_id)
    assert again.task.task_id == task.task.task_id


def test_waiting_ends_in_time_whatever_the_service_does(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    """A reply that does not come, or refusals that would be tried again for longer."""
    service.polls_until_done = 10**6
    for fault in (Fault(delay=5), Fault(503, 5001), Fault(reset="before")):
        with make(retry_for=60.0, timeout=(30.0, 30.0)) as client:
            task = client.create_task("s", "removal", REMOVAL)
            service.faults[f"/{task.task_id}"] = [fault] * 999
            started = time.monotonic()
            with pytest.raises(kling.RequestTimeoutError, match="is still submitted after"):
                client.task(external_task_id=task.external_task_id).wait(timeout=0.4)
            assert time.monotonic() - started < 3


def test_a_new_task_may_not_be_known_at_once(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    absent = Fault(404, 1203, "no such task")
    with make(settle=5.0) as client:
        edit = client.edit_video(video_id="v")
        edit.add_selection(0, [(0.5, 0.5)])
        task = edit.submit("removal", REMOVAL)
        service.faults["/task-1"] += [absent]
        assert task.wait().task.task_status == "succeed"
    with make(settle=0.0) as client:  # which is not a matter of for ever
        edit = client.edit_video(video_id="v")
        edit.add_selection(0, [(0.5, 0.5)])
        task = edit.submit("removal", REMOVAL)
        service.faults["/task-2"] += [absent]
        with pytest.raises(kling.NotFoundError):
            task.wait()
    with make(settle=60.0) as client:  # nor of a task that was there before
        task = client.task("task-2")
        task.refresh()
        service.faults["/task-2"] += [absent]
        with pytest.raises(kling.NotFoundError):
            task.wait()


PAUSE = transport.pause


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
def task(marked: EditSession, service: Service) -> EditTask:
    service.polls_until_done = 10**6
    return marked.submit("removal", REMOVAL)


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
