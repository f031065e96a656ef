"""The platform's table of codes: types of errors, outcomes, retries, advice."""

from collections.abc import Callable

import pytest

from klingmask import kling
from klingmask.kling import KlingClient
from tests.kling.samples import POINT
from tests.kling.server import Fault, Service

CODES = [
    (401, 1000, kling.AuthenticationError),
    (401, 1001, kling.AuthenticationError),
    (401, 1002, kling.AuthenticationError),
    (429, 1100, kling.AccountError),
    (429, 1101, kling.AccountError),
    (429, 1102, kling.AccountError),
    (403, 1103, kling.PermissionDeniedError),
    (400, 1200, kling.InvalidRequestError),
    (400, 1201, kling.InvalidRequestError),
    (404, 1202, kling.InvalidRequestError),
    (404, 1203, kling.NotFoundError),
    (400, 1300, kling.PolicyError),
    (400, 1301, kling.PolicyError),
    (429, 1304, kling.PermissionDeniedError),
    (418, 7777, kling.InvalidRequestError),
    (200, 7777, kling.KlingError),
]


RETRYABLE = [(429, 1302), (429, 1303), (500, 5000), (503, 5001), (504, 5002), (502, 9999)]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_what_cannot_help_is_not_tried_again(
    service: Service, client: KlingClient, status: int, code: int, kind: type[kling.KlingError]
) -> None:
    service.faults["*"].append(Fault(status, code, "so it goes"))
    with pytest.raises(kind, match="so it goes") as caught:
        client.preview_selection("s")
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.request_id == "request-2"
    assert f"code {code}" in str(caught.value)
    assert len(service.requests) == 1


@pytest.mark.parametrize(("status", "code"), RETRYABLE)
def test_what_passes_is_tried_again(
    service: Service, client: KlingClient, status: int, code: int
) -> None:
    service.faults["*"] += [Fault(status, code)] * 3
    assert client.list_tasks() == []
    assert len(service.requests) == 4


OUTCOMES: list[tuple[Fault, str, bool]] = [
    (Fault(429, 1302), "refused", True),
    (Fault(429, 1303), "refused", True),
    (Fault(503, 5001), "refused", True),
    (Fault(400, 1201), "refused", False),
    (Fault(429, 1101), "refused", False),
    (Fault(400, body=b"<html>"), "unknown", False),
    (Fault(404, body=b"<html>"), "unknown", False),
    (Fault(409, body=b"{}"), "unknown", False),
    (Fault(401, body=b"<html>"), "refused", False),
    (Fault(403, body=b"<html>"), "refused", False),
    (Fault(413, body=b"<html>"), "refused", False),
    (Fault(429, body=b"<html>"), "refused", True),
    (Fault(418, 7777), "refused", False),
    (Fault(429, body=b'{"code": "1101"}'), "refused", False),
    (Fault(429, body=b'{"code": 1102.0}'), "refused", False),
    (Fault(503, body=b'{"code": "5001"}'), "refused", True),
    (Fault(500, body=b'{"code": "x5000"}'), "unknown", True),
    (Fault(500, body=b'{"code": true}'), "unknown", True),
    (Fault(500, 5000), "failed", True),
    (Fault(504, 5002), "failed", True),
    (Fault(200, 5000), "failed", True),
    (Fault(502, 9999), "failed", True),
    (Fault(502, body=b"<html>"), "unknown", True),
    (Fault(408, body=b"<html>"), "unknown", True),
    (Fault(cut=True), "unknown", True),
    (Fault(reset="after"), "unknown", True),
    (Fault(delay=1.3), "unknown", True),
    (Fault(200, body=b"<html>"), "unknown", True),
    (Fault(200, body=b'{"code": 0, "data": []}'), "unknown", False),
    (Fault(302, 0, headers={"Location": "/"}), "unknown", False),
]


@pytest.mark.parametrize(("fault", "outcome", "retryable"), OUTCOMES, ids=str)
def test_what_became_of_a_request(
    service: Service, make: Callable[..., KlingClient], fault: Fault, outcome: str, retryable: bool
) -> None:
    service.faults["*"] = [fault] * 99
    with make(retry_for=0.0) as client, pytest.raises(kling.KlingError) as caught:
        client.preview_selection("s")
    assert (caught.value.outcome, caught.value.retryable) == (outcome, retryable)


ADVICE: list[tuple[Fault, str]] = [
    (Fault(400, 1201, "mode: must be std or pro"), "mode: .*; correct what the service names"),
    (Fault(400, 1200, "no"), "correct what the service names"),
    (Fault(418, 7777, "a teapot"), "correct what the service names"),
    (Fault(400, 1201, ""), "gave no reason .*; compare the parameters with the API's reference"),
    (Fault(400, 1201, " \n"), "gave no reason"),
    (Fault(400, body=b'{"code": 1201}'), "gave no reason"),
    (Fault(400, body=b'{"code": 1201, "message": {}}'), "gave no reason"),
    (Fault(400, body=b'{"code": 1201, "message": null}'), "gave no reason"),
    (
        Fault(400, body=b"<html>Bad Request</html>"),
        "not the service.s; check the base URL",
    ),
    (Fault(400, body=b""), "not the service.s; check the base URL"),
    (Fault(404, body=b"<html>"), "not the service.s; check the base URL"),
    (Fault(405, body=b"<html>"), "not the service.s; check the base URL"),
    (Fault(404, 1202, "wrong method"), "has no such call; check the base URL"),
    (Fault(404, 1203, "no task"), "check the id and the account"),
    (Fault(429, 1302, "slow down"), "send fewer requests"),
    (Fault(429, 1303, "too many"), "wait until running tasks have ended"),
    (Fault(429, 1101, ""), "gave no reason .*; top up the account"),
    (Fault(400, 1301, "violence"), "change the prompt"),
    (Fault(500, 5000, "oops"), "try again later"),
    (Fault(302, 0, headers={"Location": "/"}), "check the base URL"),
]


@pytest.mark.parametrize(("fault", "said"), ADVICE, ids=str)
def test_advice_fits_what_is_known(
    service: Service, make: Callable[..., KlingClient], fault: Fault, said: str
) -> None:
    service.faults["*"] = [fault] * 9
    with make(retry_for=0) as client, pytest.raises(kling.KlingError, match=said) as caught:
        client.list_tasks()
    assert str(caught.value).count(";") in (1, 2)
    named = "correct what the service names" in str(caught.value)
    assert named == (said.endswith("names"))


ENDPOINTS: dict[str, Callable[[KlingClient], object]] = {
    "/init-selection": lambda client: client.init_selection(video_id="v"),
    "/add-selection": lambda client: client.add_selection("session-1", 0, [POINT]),
    "/delete-selection": lambda client: client.delete_selection("session-1", 0, [POINT]),
}


@pytest.mark.parametrize(
    "fault",
    [Fault(reset="after"), Fault(delay=1.3), Fault(502, body=b"<html>", works=True)],
    ids=["reset", "late", "a gateway's"],
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_may_have_been_done_is_not_done_again(
    service: Service, client: KlingClient, endpoint: str, fault: Fault
) -> None:
    client.init_selection(video_id="v")
    client.add_selection("session-1", 0, [POINT])
    sent = len(service.requests)
    service.faults[endpoint].append(fault)
    with pytest.raises(kling.KlingError) as caught:
        ENDPOINTS[endpoint](client)
    assert caught.value.outcome == "unknown"
    assert len(service.requests) == sent + 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_the_service_says_it_did_not_do_is_sent_again(
    service: Service, client: KlingClient, endpoint: str
) -> None:
    """By the platform's table, for each of the codes that pass."""
    client.init_selection(video_id="v")
    client.add_selection("session-1", 0, [POINT])
    sent = len(service.requests)
    planned = [Fault(status, code) for status, code in RETRYABLE]
    service.faults[endpoint] += planned
    ENDPOINTS[endpoint](client)
    assert len(service.requests) == sent + len(planned) + 1
