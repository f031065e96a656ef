"""Errors: what each of them knows, what became of the request, and what to do."""

import base64
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import klingmask as km
from klingmask import kling
from klingmask.kling import KlingClient, UnknownOutcomeError, errors, parse_callback, transport
from tests.kling.server import Fault, Service

POINT = (0.5, 0.5)
KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_goes_from_process_to_process(kind: type[kling.KlingError]) -> None:
    error = UnknownOutcomeError("lost", "e1") if kind is UnknownOutcomeError else kind("lost")
    error.request_id, error.outcome = "r1", "unknown"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
    assert str(error).startswith("lost (request_id r1)")


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
        "not the service.s; check base_url",
    ),
    (Fault(400, body=b""), "not the service.s; check base_url"),
    (Fault(404, body=b"<html>"), "not the service.s; check base_url"),
    (Fault(405, body=b"<html>"), "not the service.s; check base_url"),
    (Fault(404, 1202, "wrong method"), "has no such call; check base_url"),
    (Fault(404, 1203, "no task"), "check the id and the account"),
    (Fault(429, 1302, "slow down"), "send fewer requests"),
    (Fault(429, 1303, "too many"), "wait until running tasks have ended"),
    (Fault(429, 1101, ""), "gave no reason .*; top up the account"),
    (Fault(400, 1301, "violence"), "change the prompt"),
    (Fault(500, 5000, "oops"), "try again later"),
    (Fault(302, 0, headers={"Location": "/"}), "check base_url"),
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


def test_what_was_not_sent_is_not_said_to_be_refused(client: KlingClient) -> None:
    with pytest.raises(kling.InvalidRequestError) as caught:
        client.list_tasks(0)
    assert str(caught.value) == (
        "page_num goes from 1 to 1000, got 0; nothing was sent; correct it and call again"
    )


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


def test_what_was_never_sent(make: Callable[..., KlingClient]) -> None:
    with (
        make(base_url="http://127.0.0.1:9", retry_for=0.0) as client,
        pytest.raises(kling.RequestConnectionError) as caught,
    ):
        client.list_tasks()
    assert (caught.value.outcome, caught.value.retryable) == ("unsent", True)


def test_a_wrong_shape_can_be_asked_about(service: Service, client: KlingClient) -> None:
    body = {"code": 0, "request_id": "r7", "data": {"res": {"rle_mask_list": [5]}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    with pytest.raises(kling.BadReplyError) as caught:
        client.add_selection("s", 0, [POINT])
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (0, 200, "r7")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["original_duration", "fps", "total_frame", "width"])
def test_numbers_that_are_none(
    service: Service, client: KlingClient, name: str, number: str
) -> None:
    data = {"session_id": "s", "fps": 30, "original_duration": 5000, "total_frame": 150}
    text = json.dumps({"code": 0, "data": {**data, name: "?"}}).replace('"?"', number)
    service.faults["*"].append(Fault(200, body=text.encode()))
    with pytest.raises(kling.BadReplyError, match=f"{name} should be"):
        client.init_selection(video_id="v")


def test_masks_of_different_sizes(service: Service, client: KlingClient) -> None:
    def reply(first: Any, second: Any) -> kling.SelectionReply:
        listed = [
            {"object_id": name, "rle_mask": km.Mask.zeros(size).to_rle()}
            for name, size in ((first, (2, 2)), (second, (3, 3)))
        ]
        body = {"code": 0, "data": {"res": {"frame_index": 4, "rle_mask_list": listed}}}
        service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
        return client.add_selection("s", 4, [POINT])

    with pytest.raises(kling.BadReplyError, match="the masks of frame 4"):
        _ = reply(0, 1).union
    with pytest.raises(kling.BadReplyError, match="the parts of object 0"):
        _ = reply(0, 0).masks


@pytest.mark.parametrize("size", [5, True, None, "64", {}, [1.5, 2]])
def test_a_size_that_is_none(service: Service, client: KlingClient, size: Any) -> None:
    """Beside a PNG that can be read."""
    mask = km.Mask.from_bbox((4, 6), (1, 1, 3, 2))
    entry = {
        "rle_mask": {"size": size, "counts": mask.counts},
        "png_mask": {"base64": base64.b64encode(mask.to_png()).decode()},
    }
    body = {"code": 0, "data": {"res": {"rle_mask_list": [entry]}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    reply = client.add_selection("s", 0, [POINT])
    with pytest.raises(kling.BadReplyError, match="the mask of object 0"):
        _ = reply.masks
    assert reply.objects[0].png_mask == mask


def test_a_reply_is_about_the_frame_asked_for(service: Service, client: KlingClient) -> None:
    for named, frame in (("", 30), ('"frame_index": 30, ', 30), ('"frame_index": 29, ', None)):
        body = f'{{"code": 0, "data": {{"res": {{{named}"rle_mask_list": []}}}}}}'
        service.faults["*"].append(Fault(200, body=body.encode()))
        if frame:
            assert client.add_selection("s", 30, [POINT]).frame_index == frame
            continue
        with pytest.raises(kling.BadReplyError, match="about frame 29, the request about 30"):
            client.add_selection("s", 30, [POINT])


def test_a_shape_is_told_without_what_is_in_it(service: Service, client: KlingClient) -> None:
    for data in (["https://a.org/x?sign=hidden"], {"https://a.org/x?sign=hidden": 1}):
        body = json.dumps({"code": 0, "data": data}).encode()
        service.faults["*"].append(Fault(200, body=body))
        with pytest.raises(kling.BadReplyError) as caught:
            client.get_task("t")
        assert "hidden" not in str(caught.value)
    for content in (b"https://a.org/x?sign=hidden", b'["https://a.org/x?sign=hidden"]'):
        with pytest.raises(kling.BadReplyError, match=r"x\?\[\.\.\.\]") as caught:
            parse_callback({}, content, None)
        assert "hidden" not in str(caught.value)
        assert caught.value.__context__ is None


def test_a_refused_video_is_not_a_matter_of_points(service: Service, client: KlingClient) -> None:
    refused = Fault(200, body=b'{"code": 0, "request_id": "r", "data": {"status": 7, "new": 1}}')
    service.faults["*"] += [refused, refused]
    with pytest.raises(kling.RejectedSelectionError, match="another one") as caught:
        client.init_selection(video_id="v")
    assert "points" not in str(caught.value)
    assert caught.value.raw == {"status": 7, "new": 1}
    with pytest.raises(kling.RejectedSelectionError, match="other points"):
        client.add_selection("s", 0, [POINT])


def test_a_bad_signature_is_not_a_matter_of_the_api_key() -> None:
    with pytest.raises(kling.AuthenticationError, match="webhook secret") as caught:
        parse_callback({}, b"{}", "whsec_AAAA")
    assert "KLING_API_KEY" not in str(caught.value)


def test_a_missing_key_is_not_a_matter_of_the_clock() -> None:
    with pytest.raises(kling.AuthenticationError, match="set KLING_API_KEY") as caught:
        KlingClient()
    assert "clock" not in str(caught.value)


def test_too_many_tasks_at_once_wait_a_second(
    service: Service, make: Callable[..., KlingClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the platform's table asks, whatever Retry-After says."""
    pauses: list[float] = []
    real = transport.pause

    def noted(error: BaseException | None, attempt: int) -> float:
        pauses.append(real(error, attempt) * 50)  # which is what it was cut down by
        return 0.0

    monkeypatch.setattr(transport, "pause", noted)
    for headers in ({}, {"Retry-After": "0"}):
        service.faults["POST /"] += [Fault(429, 1303, headers=headers)] * 20
        with make() as client:
            client.create_task("s", "removal", "Delete it from <<<video_1>>>")
    assert len(pauses) == 40
    assert 1 <= pauses[0] <= 2
    assert all(1 <= pause <= 30 for pause in pauses)


@pytest.mark.parametrize(
    "wrong",
    [
        0,
        -1,
        (1, 0),
        (1, 2, 3),
        "30",
        None,
        True,
        float("inf"),
        (),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_a_timeout_is_checked_at_once(wrong: Any) -> None:
    with pytest.raises(kling.InvalidRequestError, match="timeout must be"):
        KlingClient("key", timeout=wrong)
    if wrong != 0:
        for name in ("retry_for", "settle"):
            with pytest.raises(kling.InvalidRequestError, match=f"{name} must be"):
                KlingClient("key", **{name: wrong})


def test_a_timeout_may_be_one_number(service: Service, make: Callable[..., KlingClient]) -> None:
    for timeout in (5, 5.0, (5, 5)):
        with make(timeout=timeout) as client:
            assert client.list_tasks() == []
    service.faults["*"].append(Fault(delay=1.0))
    with make(timeout=0.2, retry_for=0) as client, pytest.raises(kling.RequestTimeoutError):
        client.list_tasks()
