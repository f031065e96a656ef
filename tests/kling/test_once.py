"""Paying once: however the network fails, never two tasks for one call, and none lost."""

import pickle
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, transport
from tests.kling.samples import REMOVAL
from tests.kling.server import Fault, Service, no

UNKNOWN = [
    Fault(reset="before"),
    Fault(reset="after"),
    Fault(500, 5000),
    Fault(500, 5000, works=True),
    Fault(504, 5002, works=True),
    Fault(502, body=b"<html>bad gateway</html>", works=True),
    Fault(delay=1.3),
    Fault(cut=True),
    Fault(200, body=b"{}", works=True),
    Fault(200, body=b'{"code": 0, "data": {"task": 1}}', works=True),
]


@pytest.mark.parametrize("fault", UNKNOWN, ids=str)
def test_a_task_is_made_once_whatever_fails(
    service: Service, client: KlingClient, fault: Fault
) -> None:
    service.faults["POST /"].append(fault)
    task = client.create_task("s", "removal", REMOVAL)
    assert service.created == [task.external_task_id]
    assert service.tasks[task.task_id]["external"] == task.external_task_id


def test_an_own_id_that_is_taken_is_this_call_s(service: Service, client: KlingClient) -> None:
    """Something on the way sent the request twice, and handed on the second reply."""
    service.faults["POST /"].append(Fault(400, 1201, works=True))
    task = client.create_task("s", "removal", REMOVAL)
    assert service.created == [task.external_task_id]
    service.faults["POST /"] += [Fault(400, 1201), Fault(400, 1201, works=True)]
    for external in (None, "the caller's"):  # the one was never made, the other is not known to be
        with pytest.raises(kling.InvalidRequestError):
            client.create_task("s", "removal", REMOVAL, external_task_id=external)


def test_many_faulted_creates(service: Service, make: Callable[..., KlingClient]) -> None:
    """None doubled, none lost: each call that returns has its task, and each task a call."""
    dice = random.Random(0)  # noqa: S311
    quick = [fault for fault in UNKNOWN if not fault.delay]
    quick += [Fault(429, 1302), Fault(429, 1303), Fault(400, 1201), Fault(429, 1101)]
    n = 1000
    for _ in range(2 * n):
        service.faults["POST /"].append(dice.choice([*quick, *[Fault()] * 6]))
    returned: list[str] = []
    told: list[tuple[str, kling.KlingError]] = []

    def create(i: int) -> None:
        with make(settle=0.05) as client:
            try:
                task = client.create_task("s", "removal", REMOVAL, external_task_id=f"call-{i}")
                returned.append(str(task.external_task_id))
            except kling.KlingError as error:
                told.append((f"call-{i}", error))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(n)))
    assert len(set(service.created)) == len(service.created)
    assert sorted(service.created) == sorted(returned)
    for name, error in told:
        assert error.external_task_id == name
        assert name not in service.created
        assert error.code in (1201, 1101)
    assert len(returned) > n / 2 < len(service.created)


def test_a_late_task_is_waited_for(service: Service, client: KlingClient) -> None:
    """The service is still at work when the client stops waiting for its reply."""
    real = service.create

    def slow(body: Any) -> Any:
        service.lock.release()
        try:
            time.sleep(1.3)
        finally:
            service.lock.acquire()
        return real(body)

    service.create = slow  # type: ignore[method-assign]
    task = client.create_task("s", "removal", REMOVAL)
    assert service.created == [task.external_task_id]


def test_an_unknown_outcome_is_said(service: Service, make: Callable[..., KlingClient]) -> None:
    service.faults["POST /"].append(Fault(reset="after"))
    service.faults["*"] += [Fault(reset="before")] * 200  # and the task cannot be asked for
    with make(retry_for=0.3) as client, pytest.raises(kling.UnknownOutcomeError) as caught:
        client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert caught.value.external_task_id == "mine"
    assert "mine" in str(caught.value)
    assert service.created == ["mine"]
    service.faults.clear()
    with make() as client:
        assert client.get_task(external_task_id="mine").task_id == "task-1"


@pytest.mark.parametrize(
    "lookup",
    [
        Fault(404, body=b"<html>not found</html>"),
        Fault(200, body=b'{"code": 0, "data": null}'),
        Fault(
            200,
            body=b'{"code": 0, "data": {"task_id": "task-9", "task_status": "submitted", '
            b'"task_info": {"external_task_id": "of another"}}}',
        ),
    ],
    ids=["a gateway's 404", "no data", "another task"],
)
def test_only_the_service_can_say_that_there_is_no_task(
    service: Service, make: Callable[..., KlingClient], lookup: Fault
) -> None:
    service.faults["POST /"].append(Fault(reset="after"))
    service.faults["/mine"] += [lookup] * 99
    with make(retry_for=0.3) as client, pytest.raises(kling.UnknownOutcomeError):
        client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert service.created == ["mine"]


def test_an_interrupt_says_where_the_task_is(
    service: Service, make: Callable[..., KlingClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with make() as client:
        monkeypatch.setattr(transport, "_parse_reply", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            client.create_task("s", "removal", REMOVAL)
    assert f"external_task_id='{service.created[0]}'" in caught.value.__notes__[0]


@pytest.mark.parametrize(("status", "code"), [(429, 1302), (429, 1303)])
def test_a_busy_service_is_asked_again(
    service: Service, client: KlingClient, status: int, code: int
) -> None:
    service.faults["POST /"] += [Fault(status, code)] * 3
    client.create_task("s", "removal", REMOVAL)
    assert len(service.created) == 1
    assert [request.method for request in service.requests] == ["POST"] * 4
    ids = {body["external_task_id"] for body in service.bodies("")}
    assert ids == set(service.created)


ABSENT = Fault(404, 1203, "no such task")


LOOK_UPS = [
    Fault(reset="before"),
    Fault(reset="after"),
    Fault(500, 5000),
    Fault(503, 5001),
    Fault(429, 1302),
    Fault(cut=True),
    Fault(502, body=b"<html>bad gateway</html>"),
    Fault(404, body=b"<html>not found</html>"),
    Fault(404, 4040, "no route"),
    Fault(401, 1000),
    Fault(200, body=b'{"code": 0, "data": {}}'),
]


@pytest.mark.parametrize("unique", [False, True], ids=["any id", "unique ids"])
def test_any_order_of_failures(
    service: Service, make: Callable[..., KlingClient], unique: bool
) -> None:
    """Creates and look-ups fail at random; the service may even take an id twice."""
    service.unique = unique
    dice = random.Random(3)  # noqa: S311
    creates = [fault for fault in UNKNOWN if not fault.delay]
    creates += [Fault(429, 1303), Fault(400, 1201), Fault(429, 1101), Fault(418, 7777)]
    n = 400
    for _ in range(3 * n):
        service.faults["POST /"].append(dice.choice([*creates, Fault()]))
    for i in range(n):
        service.faults[f"/call-{i}"] += [
            dice.choice(LOOK_UPS) for _ in range(dice.choice([0, 0, 1, 2, 30]))
        ]
    returned, refused = set(), set()
    unknown: dict[str, kling.UnknownOutcomeError] = {}

    def create(i: int) -> None:
        name = f"call-{i}"
        with make(settle=0.05, retry_for=0.5) as client:
            try:
                task = client.create_task("s", "removal", REMOVAL, external_task_id=name)
                assert task.external_task_id == name
                returned.add(name)
            except kling.UnknownOutcomeError as error:
                unknown[name] = error
            except kling.KlingError:
                refused.add(name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(n)))
    assert len(set(service.created)) == len(service.created)
    assert returned <= set(service.created)
    assert not refused & set(service.created)
    for name, error in unknown.items():
        assert error.external_task_id == name
        assert f"get_task(external_task_id='{name}')" in str(error)
    assert min(len(returned), len(unknown), len(refused)) > n / 20


MADE = [
    Fault(reset="after"),
    Fault(500, 5000, works=True),
    Fault(502, body=b"<html>bad gateway</html>", works=True),
    Fault(cut=True),
    Fault(200, body=b"{}", works=True),
]


@pytest.mark.parametrize("fault", MADE, ids=str)
def test_a_task_that_shows_up_late(
    service: Service, make: Callable[..., KlingClient], fault: Fault
) -> None:
    """For a while the service does not know the task that it has made, nor refuse a second."""
    service.unique = False
    service.faults["POST /"].append(fault)
    service.faults["/mine"] += [ABSENT, Fault(reset="before"), ABSENT, Fault(404, body=b"")]
    with make(settle=4.0) as client:
        task = client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert service.created == ["mine"]
    assert task.external_task_id == "mine"


def test_a_service_that_keeps_failing_is_named(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    service.faults["POST /"] += [Fault(500, 5000, "out of order")] * 99
    with (
        make(retry_for=0.3, settle=0.1) as client,
        pytest.raises(kling.UnknownOutcomeError, match="out of order") as caught,
    ):
        client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.code, error.status, error.request_id) == (5000, 500, "request-2")
    assert error.external_task_id == "mine"
    assert error.outcome == "unknown"


def test_a_task_keeps_its_name_where_a_reply_has_none(
    service: Service, client: KlingClient
) -> None:
    data = b'{"code": 0, "data": {"task_id": "t", "task_status": "submitted"}}'
    service.faults["POST /"] += [Fault(200, body=data), Fault(reset="after")]
    service.faults["/mine"] += [ABSENT, ABSENT, Fault(200, body=data)]
    for _ in range(2):
        task = client.create_task("s", "removal", REMOVAL, external_task_id="mine")
        assert (task.task_id, task.external_task_id) == ("t", "mine")


def test_what_follows_from_an_unseen_task_does_not_hide_it(
    service: Service, client: KlingClient
) -> None:
    """The second request is refused as the first has used up the pack, or the parallel tasks."""
    for refusal in (Fault(429, 1102), Fault(429, 1303), Fault(400, 1201)):
        name = f"call-{refusal.code}"
        service.faults["POST /"] += [Fault(reset="after"), refusal]
        service.faults[f"/{name}"] += [ABSENT] * 5
        task = client.create_task("s", "removal", REMOVAL, external_task_id=name)
        assert task.external_task_id == name
    assert len(service.created) == 3


def test_a_refusal_after_doubt_says_where_to_look(service: Service, client: KlingClient) -> None:
    service.faults["POST /"] += [Fault(reset="before"), Fault(429, 1101)]
    with pytest.raises(kling.AccountError) as caught:
        client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert "get_task(external_task_id='mine')" in str(caught.value)
    assert "top up" in str(caught.value)
    assert service.created == []


NO_DECISIONS = [
    Fault(307, 0, headers={"Location": "/"}),
    Fault(200, 7777),
    Fault(404, body=b"<html>"),
    Fault(409, body=b"conflict"),
    Fault(400, body=b""),
]


@pytest.mark.parametrize("fault", NO_DECISIONS, ids=str)
def test_what_is_no_decision_is_looked_into(
    service: Service, client: KlingClient, fault: Fault
) -> None:
    """A redirect, a code of no table, a gateway's word; and the task was made all the same."""
    fault.works = True
    service.faults["POST /"].append(fault)
    task = client.create_task("s", "removal", REMOVAL)
    assert service.created == [task.external_task_id]


def test_a_reply_about_another_task_is_no_answer(service: Service, client: KlingClient) -> None:
    body = (
        b'{"code": 0, "data": {"task_id": "t", "task_status": "submitted", '
        b'"task_info": {"external_task_id": "of another"}}}'
    )
    service.faults["POST /"].append(Fault(200, body=body, works=True))
    task = client.create_task("s", "removal", REMOVAL)
    assert (task.task_id, [task.external_task_id]) == ("task-1", service.created)


@pytest.mark.parametrize("refusal", [Fault(400, 1201), Fault(429, 1102)], ids=str)
def test_a_task_is_waited_for_after_a_refusal_that_it_may_have_caused(
    service: Service, make: Callable[..., KlingClient], refusal: Fault
) -> None:
    service.faults["POST /"] += [Fault(reset="after"), refusal]
    real, looks = service.get, 0

    def get(name: str) -> Any:
        nonlocal looks
        looks += len(service.bodies("")) > 1
        return real(name) if looks > 1 else no(404, 1203, "not yet")

    service.get = get  # type: ignore[method-assign]
    with make(settle=0.3) as client:
        task = client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert service.created == [task.external_task_id]


def test_a_value_that_is_refused_after_doubt_may_be_the_id(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    """The service refuses the id as it is a task's already, but does not show that task."""
    service.faults["POST /"].append(Fault(reset="after"))
    service.faults["/mine"] += [ABSENT] * 99
    with make(settle=0.1) as client, pytest.raises(kling.UnknownOutcomeError) as caught:
        client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert (caught.value.code, caught.value.external_task_id) == (1201, "mine")


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(429, 1101)],
        [Fault(400, 1301)],
        [Fault(429, 1303)] * 99,
        [Fault(403, body=b"<html>")],
        [Fault(reset="before"), Fault(429, 1101)],
        [Fault(reset="before")] * 99,
        [Fault(404, body=b"<html>")],
    ],
    ids=str,
)
def test_every_error_has_the_id(
    service: Service, make: Callable[..., KlingClient], faults: list[Fault]
) -> None:
    service.faults["POST /"] += faults
    with make(retry_for=0.2, settle=0.1) as client, pytest.raises(kling.KlingError) as caught:
        client.create_task("s", "removal", REMOVAL)
    (sent,) = {body["external_task_id"] for body in service.bodies("")}
    assert caught.value.external_task_id == sent
    assert pickle.loads(pickle.dumps(caught.value)).external_task_id == sent


LOST = [
    None,
    Fault(reset="before"),
    Fault(reset="after"),
    Fault(500, 5000),
    Fault(502, body=b"<html>bad gateway</html>"),
    Fault(delay=1.3),
    Fault(cut=True),
]


@pytest.mark.parametrize("unique", [False, True], ids=["any id", "unique ids"])
@pytest.mark.parametrize("lost", LOST, ids=str)
def test_an_id_in_use_is_one_error(
    service: Service, client: KlingClient, lost: Fault | None, unique: bool
) -> None:
    """Whatever becomes of the request: the older task is never taken for this call's."""
    service.unique = unique
    older = client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    if lost:
        service.faults["POST /"].append(lost)
    with pytest.raises(kling.InvalidRequestError, match="'mine' already") as caught:
        client.create_task("s", "removal", REMOVAL, external_task_id="mine")
    assert older.task_id in str(caught.value)
    assert "client.task(external_task_id='mine')" in str(caught.value)
    assert (caught.value.outcome, caught.value.external_task_id) == ("unsent", "mine")
    assert service.created == ["mine"]


@pytest.mark.parametrize(
    "before",
    [Fault(500, 5000), Fault(reset="before"), Fault(404, body=b"<html>"), Fault(401, 1000)],
    ids=str,
)
def test_an_id_of_which_it_is_not_known_whether_it_is_in_use(
    service: Service, make: Callable[..., KlingClient], before: Fault
) -> None:
    """The task is made all the same, but one that is found is not taken for this call's."""
    with make(retry_for=0) as client:
        service.faults["/mine"].append(before)
        task = client.create_task("s", "removal", REMOVAL, external_task_id="mine")
        assert (task.external_task_id, service.created) == ("mine", ["mine"])
        for lost in (Fault(reset="before"), Fault(reset="after")):
            service.unique = False
            service.faults["/mine"].append(before)
            service.faults["POST /"].append(lost)
            with pytest.raises(kling.UnknownOutcomeError, match="may be an older one") as caught:
                client.create_task("s", "removal", REMOVAL, external_task_id="mine")
            assert caught.value.external_task_id == "mine"


def test_an_id_that_klingmask_makes_is_not_looked_for(
    service: Service, client: KlingClient
) -> None:
    client.create_task("s", "removal", REMOVAL)
    assert [request.method for request in service.requests] == ["POST"]


@pytest.mark.parametrize("name", [".", "..", " ", ""])
def test_an_id_that_could_not_be_looked_up_is_refused(
    service: Service, client: KlingClient, name: str
) -> None:
    with pytest.raises(kling.InvalidRequestError, match="external_task_id"):
        client.create_task("s", "removal", REMOVAL, external_task_id=name)
    assert service.requests == []
