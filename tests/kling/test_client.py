"""The endpoints over real HTTP: requests as documented, replies typed, errors told apart."""

import base64
import json
import logging
import math
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
import requests

import klingmask as km
from klingmask import kling
from klingmask.kling import KlingClient, checks, prompts
from klingmask.kling.auth import TokenKeys
from klingmask.kling.download import download, fetch
from klingmask.kling.transport import TimeLimits
from klingmask.kling.urls import without_queries
from tests.conftest import shared_file
from tests.kling.server import PREFIX, Fault, Request, Service, mask_at, png, running

POINT = (0.7738498789346246, 0.297142857142857)
REMOVAL = "Delete the chick from <<<video_1>>>"


SESSION = "847570360458960960"
HUGE = 10**5000  # which Python does not write as a text
POINTS = {"session_id": SESSION, "frame_index": 0, "points": [{"x": POINT[0], "y": POINT[1]}]}
CREATE: dict[str, Any] = {
    "model_name": "kling-v1-6",
    "session_id": SESSION,
    "edit_mode": "removal",
    "image_list": [],
    "prompt": REMOVAL,
    "negative_prompt": "",
    "mode": "std",
    "duration": "5",
    "callback_url": "",
    "external_task_id": "",
}
# The bodies that the reference's page shows, by endpoint.
EXAMPLES: dict[str, dict[str, Any]] = {
    "/init-selection": {
        "video_id": "",
        "video_url": "https://v1-kling.klingai.com/kcdn/cdn-kcdn112452/kling-qa-test/"
        "animals-output-5s.mp4",
    },
    "/add-selection": POINTS,
    "/delete-selection": POINTS,
    "/clear-selection": {"session_id": SESSION},
    "/preview-selection": {"session_id": SESSION},
    "": CREATE,
}


def test_the_examples_are_those_of_the_reference() -> None:
    reference = shared_file("../kling/multi-elements.txt").read_text()
    examples: dict[str, Any] = {}
    for block in reference.split("curl --request POST")[1:]:
        url = block.split("--url ")[1].split()[0]
        examples[url.split(PREFIX)[1]] = json.loads(block.split("--data '")[1].split("'")[0])
    assert examples == EXAMPLES


def test_requests_are_those_of_the_reference(service: Service, client: KlingClient) -> None:
    service.sessions[SESSION] = {}
    client.init_selection(video_url=EXAMPLES["/init-selection"]["video_url"])
    client.add_selection(SESSION, 0, [POINT])
    client.delete_selection(SESSION, 0, [POINT])
    client.clear_selection(SESSION)
    client.preview_selection(SESSION)
    client.create_task(SESSION, "removal", REMOVAL, duration="5", external_task_id="mine")
    for endpoint, example in EXAMPLES.items():
        (sent,) = service.bodies(endpoint)
        if endpoint == "/init-selection":  # exactly one of the two may be sent
            assert sent == {"video_url": example["video_url"]}
        elif endpoint == "":
            assert sent == example | {"external_task_id": "mine"}
        else:
            assert sent == example
    for request in service.requests:
        assert request.headers["Authorization"] == f"Bearer {service.api_key}"
        if request.method == "POST":
            assert request.headers["Content-Type"] == "application/json"


def test_bodies_of_the_other_edits(service: Service, client: KlingClient, tmp_path: Path) -> None:
    """As the reference describes the fields of which its example has none."""
    picture = png(300, 300)
    raw = base64.b64encode(picture).decode()
    (tmp_path / "b.png").write_bytes(picture)
    url = "https://example.org/a.jpg"
    client.create_task(
        SESSION,
        "swap",
        "swap a cat from <<<image_1>>> for the dog from <<<video_1>>>",
        images=[url],
        negative_prompt="blur",
        mode="pro",
        duration=10,
        watermark=True,
        callback_url="https://example.org/told",
        external_task_id="a swap",
    )
    client.create_task(
        SESSION,
        "addition",
        prompts.addition(("a hat", "a scarf")),
        images=[tmp_path / "b.png", raw],
        watermark=False,
        external_task_id="an addition",
    )
    swap, addition = service.bodies("")
    assert swap == CREATE | {
        "edit_mode": "swap",
        "image_list": [{"image": url}],
        "prompt": "swap a cat from <<<image_1>>> for the dog from <<<video_1>>>",
        "negative_prompt": "blur",
        "mode": "pro",
        "duration": "10",
        "watermark_info": {"enabled": True},
        "callback_url": "https://example.org/told",
        "external_task_id": "a swap",
    }
    assert addition == CREATE | {
        "edit_mode": "addition",
        "image_list": [{"image": raw}, {"image": raw}],
        "prompt": "Using the context of <<<video_1>>>, seamlessly add a hat from <<<image_1>>> "
        "and a scarf from <<<image_2>>>",
        "watermark_info": {"enabled": False},
        "external_task_id": "an addition",
    }


def test_replies_are_typed_and_keep_what_is_unknown(client: KlingClient) -> None:
    opened = client.init_selection(video_id="123")
    assert (opened.width, opened.height, opened.fps) == (64, 36, 30.0)
    assert (opened.original_duration, opened.total_frame) == (5000, 150)
    assert (opened.request_id, opened.final_unit_deduction) == ("request-1", "0")
    assert opened.raw["new_field"] == {"a": 1}
    selected = client.add_selection(opened.session_id, 3, [POINT, (0.2, 0.5)])
    expected = mask_at([{"x": POINT[0], "y": POINT[1]}, {"x": 0.2, "y": 0.5}])
    assert selected.masks == {0: expected}
    assert selected.union == selected.objects[0].png_mask == expected
    assert (selected.frame_index, selected.bbox) == (3, expected.bbox)
    fewer = client.delete_selection(opened.session_id, 3, [(0.2, 0.5)])
    assert fewer.union == mask_at([{"x": POINT[0], "y": POINT[1]}])
    assert client.clear_selection(opened.session_id).request_id == "request-1"
    preview = client.preview_selection(opened.session_id)
    assert preview.video.endswith("/result.mp4?sign=hidden")
    task = client.create_task(opened.session_id, "removal", REMOVAL, external_task_id="mine")
    assert (task.task_status, task.external_task_id, task.ended) == ("submitted", "mine", False)
    assert task.created_at is not None
    assert task.created_at.isoformat() == "2024-08-04T11:05:57.708000+00:00"
    for asked in (client.get_task(task.task_id), client.get_task(external_task_id="mine")):
        assert asked.task_id == task.task_id
    done = client.get_task(task.task_id)
    assert (done.task_status, done.final_unit_deduction) == ("succeed", "3.5")
    assert done.videos[0].duration == "5.0"
    assert pickle.loads(pickle.dumps(done)) == done


def test_pages(service: Service, client: KlingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        service.create({"external_task_id": f"e{i}"})
    assert [task.task_id for task in client.list_tasks(2, 3)] == ["task-4", "task-3", "task-2"]
    assert [task.task_id for task in client.iter_tasks(3)] == [f"task-{i}" for i in range(7, 0, -1)]
    tasks = client.iter_tasks(3)
    latest = next(tasks)
    service.create({"external_task_id": "late"})  # moves the others on to the next page
    rest = [task.task_id for task in tasks]
    assert [latest.task_id, *rest] == [f"task-{i}" for i in range(7, 0, -1)]
    real = service.page

    def capped(request: Request) -> Any:
        request.query["pageSize"] = ["2"]
        return real(request)

    monkeypatch.setattr(service, "page", capped)
    assert len(list(client.iter_tasks(500))) == 8  # pages that are never full
    first = Request("GET", PREFIX, {"pageNum": ["1"], "pageSize": ["3"]}, {}, None)
    monkeypatch.setattr(service, "page", lambda _: real(first))
    assert len(list(client.iter_tasks(3))) == 3  # the same page for ever
    for page, size in ((0, 1), (1001, 1), (1, 0), (1, 501), (True, 1)):
        with pytest.raises(kling.InvalidRequestError, match="goes from 1 to"):
            client.list_tasks(page, size)


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


def test_retries_are_bounded_in_time(service: Service, make: Callable[..., KlingClient]) -> None:
    service.faults["*"] += [Fault(429, 1302, headers={"Retry-After": "5"})] * 99
    started = time.monotonic()
    with make(retry_for=1.0) as client, pytest.raises(kling.RateLimitError) as caught:
        client.list_tasks()
    assert caught.value.retry_after == 5
    assert time.monotonic() - started < 4  # and not the five that it is told to wait
    assert len(service.requests) > 1


def test_retry_after_is_kept(service: Service, client: KlingClient) -> None:
    service.faults["*"].append(Fault(503, 5001, headers={"Retry-After": "30"}))  # / 50 here
    started = time.monotonic()
    client.list_tasks()
    assert 0.55 < time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html><h1>Hello</h1></html>", "Hello"),
        (b"", "an empty body"),
        (b'{"code": 0, "data"', '"code"'),
        (b"[1, 2]", "1, 2"),
        (b'{"data": {}}', "data"),
        (b'{"code": "0"}', "code"),
        (b"[" * 100_000, "[["),
    ],
)
def test_strange_bodies(
    service: Service, make: Callable[..., KlingClient], body: bytes, found: str
) -> None:
    service.faults["*"] += [Fault(200, body=body)] * 99
    with make(retry_for=0.1) as client, pytest.raises(kling.BadReplyError) as caught:
        client.preview_selection("s")
    assert found in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        "",
        {"status": 0},
        {"status": 0, "session_id": "s"},
        {"res": None},
        {"res": {}},
        {"res": {"frame_index": 0}},
        {"res": {"rle_mask_list": None}},
        {"res": {"rle_mask_list": [{"object_id": True}]}},
        {"res": {"rle_mask_list": [{"object_id": {}}]}},
        {"res": 5},
        {"res": {"rle_mask_list": [5]}},
        {"res": {"rle_mask_list": {}}},
        {"res": {"frame_index": "three", "rle_mask_list": []}},
        {"status": "ok"},
    ],
)
def test_wrong_shapes(service: Service, client: KlingClient, data: Any) -> None:
    body = json.dumps({"code": 0, "data": data}).encode()
    service.faults["*"].append(Fault(200, body=body))
    with pytest.raises(kling.BadReplyError):
        client.add_selection("s", 0, [POINT])


def test_masks_that_do_not_decode(service: Service, client: KlingClient) -> None:
    listed = [
        {"object_id": 1, "rle_mask": {"size": [2, 2], "counts": "!"}},
        {"object_id": 2, "png_mask": {"size": [2, 2], "base64": "AAAA"}},
        {"object_id": "c", "rle_mask": km.Mask.zeros((2, 2)).to_rle()},
    ]
    body = {"code": 0, "data": {"res": {"rle_mask_list": listed}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    reply = client.add_selection("s", 0, [POINT])
    with pytest.raises(kling.BadReplyError, match=r"the mask of object 1: byte 0"):
        _ = reply.objects[0].mask
    with pytest.raises(kling.BadReplyError, match="the PNG of object 2"):
        _ = reply.objects[1].mask
    assert reply.objects[2].mask.size == (2, 2)


def test_masks_that_come_in_parts(service: Service, client: KlingClient) -> None:
    """Two entries of one object are one mask; a nameless one has its place for a name."""
    left, right = km.Mask.from_bbox((4, 6), (0, 0, 2, 2)), km.Mask.from_bbox((4, 6), (3, 1, 2, 2))
    listed = [
        {"object_id": 1, "rle_mask": left.to_rle()},
        {"object_id": 1, "rle_mask": right.to_rle()},
        {"object_id": None, "rle_mask": left.to_rle()},
    ]
    data = {"status": 0, "session_id": "s", "res": {"frame_index": 0.0, "rle_mask_list": listed}}
    body = json.dumps({"code": 0, "data": data}).encode()
    service.faults["*"].append(Fault(200, body=body))
    reply = client.add_selection("s", 0, [POINT])
    assert reply.masks == {1: left | right, 2: left}
    assert reply.union == left | right
    assert [one.mask for one in reply.objects] == [left, right, left]


def test_the_png_settles_the_size(service: Service, client: KlingClient) -> None:
    mask = km.Mask.from_bbox((4, 6), (1, 1, 3, 2))
    encoded = base64.b64encode(mask.to_png()).decode()
    for size, png_text, expected in (
        ([6, 4], encoded, mask),  # (w, h), as the reference's example can be read
        ([4, 6], encoded, mask),
        ([6, 4], "AAAA", km.Mask.from_rle({"size": [6, 4], "counts": mask.counts})),
    ):
        entry = {
            "object_id": 0,
            "rle_mask": {"size": size, "counts": mask.counts},
            "png_mask": {"size": size, "base64": png_text},
        }
        body = {"code": 0, "data": {"res": {"rle_mask_list": [entry]}}}
        service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
        assert client.add_selection("s", 0, [POINT]).union == expected


def test_a_proxy_sees_nothing_of_this_machine(
    service: Service, client: KlingClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Plain http is allowed to it because it stays here."""
    with running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert client.list_tasks() == []
        download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4")
        assert proxy.requests == proxy.cdn_requests == []
    assert len(service.requests) == 1


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


def test_numbers_may_come_as_text(service: Service, client: KlingClient) -> None:
    """A session that was paid for is not lost over a quoted number."""
    data = {
        "session_id": 5,
        "fps": "30",
        "original_duration": "5000",
        "width": "64",
        "height": 36.0,
        "total_frame": "150",
    }
    service.faults["*"].append(Fault(200, body=json.dumps({"code": 0, "data": data}).encode()))
    opened = client.init_selection(video_id="v")
    assert (opened.session_id, opened.fps, opened.original_duration) == ("5", 30.0, 5000)
    assert (opened.width, opened.height, opened.total_frame) == (64, 36, 150)


def test_the_documented_reply(service: Service, client: KlingClient) -> None:
    reply = shared_file("add_selection_reply.json").read_bytes()
    service.faults["*"].append(Fault(200, body=reply))
    selected = client.add_selection("s", 0, [POINT])
    raw = json.loads(reply)["data"]["res"]["rle_mask_list"]
    assert [one.mask.to_rle()["counts"] for one in selected.objects] == [
        entry["rle_mask"]["counts"] for entry in raw
    ]


def test_refused_recognition(service: Service, client: KlingClient) -> None:
    body = {"code": 0, "message": "", "request_id": "r9", "data": {"status": 3}}
    for _ in range(2):
        service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    with pytest.raises(kling.RejectedSelectionError, match=r"data\.status 3") as caught:
        client.add_selection("s", 0, [POINT])
    assert (caught.value.rejection, caught.value.raw) == (3, {"status": 3})
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (0, 200, "r9")
    with pytest.raises(kling.RejectedSelectionError):
        client.init_selection(video_id="v")


def test_slow_and_broken_connections(service: Service, make: Callable[..., KlingClient]) -> None:
    service.faults["*"] += [Fault(reset="after"), Fault(delay=1.5), Fault(cut=True)]
    with make() as client:
        assert client.list_tasks() == []
    assert len(service.requests) == 4
    service.faults["*"] += [Fault(reset="before")] * 99
    with make(retry_for=0.3) as client, pytest.raises(kling.RequestConnectionError):
        client.list_tasks()
    with (
        make(base_url="http://127.0.0.1:9", retry_for=0.3) as client,
        pytest.raises(kling.RequestConnectionError),
    ):
        client.list_tasks()


def test_a_session_is_not_opened_twice_by_chance(service: Service, client: KlingClient) -> None:
    service.faults["/init-selection"].append(Fault(delay=1.5))
    with pytest.raises(kling.RequestTimeoutError):
        client.init_selection(video_id="v")
    assert len(service.sessions) == 1
    service.faults["/init-selection"].append(Fault(429, 1302))
    client.init_selection(video_id="v")
    assert len(service.sessions) == 2


# ---- signing in ----


def test_tokens(service: Service, make: Callable[..., KlingClient]) -> None:
    with make(access_key="access", secret_key=service.secret_key) as client:
        client.list_tasks()
        client.list_tasks()
    tokens = {request.headers["Authorization"] for request in service.requests}
    assert len(tokens) == 1
    token = tokens.pop().removeprefix("Bearer ")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, service.secret_key, algorithms=["HS256"])
    assert claims.keys() == {"iss", "exp", "nbf"}
    assert claims["iss"] == "access"
    assert abs(claims["exp"] - time.time() - 1800) < 5
    assert claims["exp"] - claims["nbf"] in (1804, 1805, 1806)


@pytest.mark.parametrize("code", [1003, 1004])
def test_a_refused_token_is_made_anew_once(
    service: Service, make: Callable[..., KlingClient], code: int
) -> None:
    with make(access_key="access", secret_key=service.secret_key) as client:
        client.list_tasks()
        service.faults["*"].append(Fault(401, code))
        client.list_tasks()
        assert len(service.requests) == 3
        service.faults["*"] += [Fault(401, code)] * 5
        with pytest.raises(kling.AuthenticationError):
            client.list_tasks()
        assert len(service.requests) == 5
    service.faults["*"] = [Fault(401, code)] * 5
    with make() as client, pytest.raises(kling.AuthenticationError):
        client.list_tasks()  # an API key has no other


def test_tokens_are_renewed_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr(time, "time", lambda: now)
    keys = TokenKeys("a", "s" * 32)
    first = keys.token()
    now += 1700
    assert keys.token() == first
    now += 50
    second = keys.token()
    assert second != first
    now -= 7200  # the clock was wrong and is set right
    assert keys.token() not in (first, second)


def test_keys_come_from_arguments_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(kling.AuthenticationError, match="no API key"):
        KlingClient()
    with pytest.raises(kling.AuthenticationError, match="nor both"):
        KlingClient(access_key="a")
    with pytest.raises(kling.AuthenticationError, match="not both"):
        KlingClient("key", access_key="a", secret_key="s")  # noqa: S106
    for name in ("api_key", "access_key", "secret_key"):
        with pytest.raises(kling.AuthenticationError, match=f"{name} has a space") as caught:
            KlingClient(**{name: "key\n"})  # type: ignore[arg-type]
        assert "clock" not in str(caught.value)
    with pytest.raises(kling.AuthenticationError, match="api_key must be a text, got int"):
        KlingClient(5)  # type: ignore[arg-type]
    monkeypatch.setenv("KLING_SECRET_KEY", "a key")
    with pytest.raises(kling.AuthenticationError, match="KLING_SECRET_KEY has a space"):
        KlingClient()
    monkeypatch.setenv("KLING_ACCESS_KEY", "a")
    monkeypatch.setenv("KLING_SECRET_KEY", "s")
    monkeypatch.setenv("KLING_BASE_URL", "https://example.org/")
    assert repr(KlingClient()) == "KlingClient('https://example.org')"
    assert repr(KlingClient(base_url="http://[::1]:5")) == "KlingClient('http://[::1]:5')"


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.org\\@127.0.0.1/x",
        "http://evil.org\\\\@localhost",
        "http://127.0.0.1\\.evil.org",
        "http://127.0.0.1 .evil.org",
        "http://127.0.0.1\t.evil.org",
        "http://localhost@evil.org",
        "http://evil.org@localhost",
        "https://user:hidden@example.org",
        "https://example.org/?token=hidden",
        "https://example.org/#hidden",
        "https://example.org:port",
        "https://a..b/x",
        "https://.a/x",
        f"https://{'a' * 64}.org/x",
    ],
)
def test_urls_with_two_readings_or_secrets_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(kling.InvalidRequestError) as caught:
        KlingClient("key", base_url=url)
    assert "hidden" not in str(caught.value)
    if "example.org/" not in url:  # a query is what results have
        with pytest.raises(kling.BadReplyError) as refused:
            download(url, tmp_path / "a.mp4")
        assert "hidden" not in str(refused.value)


def test_plain_http_is_for_this_machine_alone() -> None:
    for url in (
        "http://example.org",
        "ftp://example.org",
        "example.org",
        "http://localhost.evil.org",
    ):
        with pytest.raises(kling.InvalidRequestError, match="https"):
            KlingClient("key", base_url=url)


def test_secrets_stay_secret(
    service: Service,
    make: Callable[..., KlingClient],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """In no repr, error or log line, that of urllib3 included, whatever is done and fails."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    service.polls_until_done = 0
    secrets = [service.api_key, service.secret_key, "access-key-for-tests", "hidden"]
    keys = {"access_key": "access-key-for-tests", "secret_key": service.secret_key}
    for options, own in (({}, service.api_key), (keys, " ".join(keys.values()))):
        leaks = f"bad {own} Bearer eyJhbGciOi.abc.def, see {service.cdn_url}/x.mp4?sign=hidden"
        with make(retry_for=0.2, settle=0.1, **options) as client:
            told += [repr(client), str(vars(client)), repr(client._transport.auth)]
            for fault in (
                Fault(400, 1201, leaks),
                Fault(200, body=leaks.encode()),
                Fault(500, 5000, leaks),
                Fault(302, 0, headers={"Location": "https://evil.org/?token=hidden"}),
                Fault(reset="after"),
            ):
                service.faults["*"] = [fault] * 50
                for call in (
                    client.list_tasks,
                    lambda client=client: client.create_task("s", "removal", REMOVAL),
                ):
                    with pytest.raises(kling.KlingError) as caught:
                        call()
                    chain: BaseException | None = caught.value
                    while chain is not None:  # only errors of ours, without their requests
                        assert isinstance(chain, kling.KlingError)
                        told += [str(chain), repr(chain), str(vars(chain))]
                        chain = chain.__cause__ or chain.__context__
            service.faults["*"] = []
            edit = client.edit_video(video_id="v")
            selection = edit.add_selection(0, [POINT])
            preview = edit.preview()
            assert len(preview.tracking()) == 3
            service.cdn_faults += [
                Fault(cut=True),
                Fault(302, headers={"Location": "/result.mp4?sign=hidden"}),
            ]
            preview.download(tmp_path / "preview.mp4")
            task = edit.submit("removal", REMOVAL).wait()
            task.download(tmp_path / "out.mp4")
            service.cdn_faults += [Fault(404), Fault(404)]
            for get in (preview.tracking, lambda task=task: task.download(tmp_path / "no.mp4")):
                with pytest.raises(kling.BadReplyError) as missing:
                    get()
                told.append(str(missing.value))
            told += [repr(one) for one in (edit, selection, preview, task, edit.reply, task.task)]
            told += [repr(preview.reply), repr(task.video)]
    lines = [record.getMessage() for record in caplog.records]
    assert sum("/result.mp4?[...]" in line for line in lines) >= 4  # urllib3's lines are there
    assert any("eyJ" in header for header in (r.headers["Authorization"] for r in service.requests))
    for text in told + lines:
        assert "eyJ" not in text
        for secret in secrets:
            assert secret not in text, text


def test_no_error_of_a_download_has_its_url_for_context(service: Service, tmp_path: Path) -> None:
    """A query may sign; what cannot be reached is not shown with it either."""
    limits = TimeLimits((0.5, 0.5), 0.0)
    service.cdn_faults += [Fault(cut=True), Fault(cut=True)]
    for base in ("http://127.0.0.1:9", service.cdn_url):
        url = f"{base}/result.mp4?sign=hidden"
        for get in (
            lambda url=url: fetch(url, limits=limits),
            lambda url=url: download(url, tmp_path / "a.mp4", limits=limits),
        ):
            with pytest.raises(kling.RequestConnectionError) as caught:
                get()
            assert caught.value.__context__ is caught.value.__cause__ is None
            assert "hidden" not in str(caught.value)


def test_secrets_in_other_spellings(service: Service, make: Callable[..., KlingClient]) -> None:
    """A key in a reply that is not understood, or in an id, as JSON or a URL would have it."""
    service.api_key = 'key/with"signs+'
    spelt = ['key/with\\"signs+', 'key\\/with\\"signs+', "key%2Fwith%22signs%2B"]
    for spelling in spelt:
        service.faults["*"] += [
            Fault(400, body=f"{{'key': '{spelling}'}}".encode()),
            Fault(400, body=b'{"code": 1200, "request_id": "%b"}' % b'key/with\\"signs+'),
            Fault(200, body=json.dumps({"code": 0, "data": [{spelling: 1}]}).encode()),
        ]
        for _ in range(3):
            with make() as client, pytest.raises(kling.KlingError) as caught:
                client.list_tasks()
            assert "[secret]" in str(caught.value)
            assert "signs" not in str(caught.value)


def test_tokens_that_were_renewed_stay_secret(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    """Until they end, they are valid."""
    with make(access_key="access", secret_key=service.secret_key) as client:
        service.faults["*"] += [Fault(401, 1004)]
        client.list_tasks()
        first, second = (r.headers["Authorization"].split()[1] for r in service.requests)
        assert first != second  # although they are of the same second
        service.faults["*"] += [Fault(400, 1200, f"{first}, {second}")]
        with pytest.raises(kling.InvalidRequestError, match=r"\[secret\], \[secret\]"):
            client.list_tasks()


def test_the_logs_of_others_are_left_alone(
    service: Service, client: KlingClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.list_tasks()
    requests.get(f"{service.cdn_url}/result.mp4?mine=1", timeout=5)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert sum("multi-elements?[...]" in line for line in lines) == 1
    assert sum("/result.mp4?mine=1" in line for line in lines) == 1


def test_each_attempt_is_logged(
    service: Service, make: Callable[..., KlingClient], caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that ends without a reply and is not repeated."""
    caplog.set_level(logging.DEBUG, "klingmask")
    faults = [Fault(reset="after"), Fault(delay=1.3), Fault(cut=True), Fault(429, 1302), Fault()]
    with make() as client:
        for fault in faults:
            caplog.clear()
            service.faults["*"] = [fault]
            with suppress(kling.KlingError):
                client.init_selection(video_id="v")
            attempts = 2 if fault.status == 429 else 1
            lines = [record.getMessage() for record in caplog.records]
            assert sum(line.startswith(f"POST {PREFIX}/init") for line in lines) == attempts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see HTTPS://a.org/x?sign=1&b=2 and", "see HTTPS://a.org/x?[...] and"),
        ("'https://a.org#sign'", "'https://a.org?[...]'"),
        ("url: /x/y?sign=1 (Caused by", "url: /x/y?[...] (Caused by"),
        ("/x?sign=1", "/x?[...]"),
        ("is this one half, 1/2? Yes", "is this one half, 1/2? Yes"),
        ("https://a.org/x", "https://a.org/x"),
        ("https://a.org/x?b#c?d", "https://a.org/x?[...]"),
    ],
)
def test_queries_are_cut(text: str, shown: str) -> None:
    assert without_queries(text) == shown


def test_a_long_message_is_cut(service: Service, client: KlingClient) -> None:
    service.faults["*"].append(Fault(400, 1200, "https://" * 10**6))
    with pytest.raises(kling.InvalidRequestError) as caught:
        client.list_tasks()
    assert len(str(caught.value)) < 1200
    assert without_queries("https://a" * 10**5 + "?b") == "https://a" * 10**5 + "?[...]"


def test_redirects_are_not_followed(service: Service, client: KlingClient) -> None:
    target = f"{service.cdn_url}/stolen"
    service.faults["*"].append(Fault(307, 0, headers={"Location": target}))
    with pytest.raises(kling.BadReplyError, match="redirect to http:"):
        client.list_tasks()
    assert service.cdn_requests == []


def test_netrc_is_left_alone(
    service: Service, client: KlingClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client.list_tasks()
    assert service.requests[0].headers["Authorization"] == f"Bearer {service.api_key}"


def test_threads_share_a_client(
    service: Service, client: KlingClient, caplog: pytest.LogCaptureFixture
) -> None:
    def work(i: int) -> str:
        session = client.init_selection(video_id=f"v{i}").session_id
        client.add_selection(session, i, [POINT])
        task = client.create_task(session, "removal", REMOVAL, external_task_id=f"e{i}")
        return str(client.get_task(task.task_id).external_task_id)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(48))) == [f"e{i}" for i in range(48)]
    assert len(service.created) == 48
    assert "pool is full" not in caplog.text


# ---- the limits, on both sides ----


def test_points() -> None:
    good = [(0, 0), (1, 1), (0.5, 0.25)]
    assert checks.points_of(good) == good
    assert len(checks.points_of([(0.1, 0.1)] * 10)) == 10
    bad: list[Any] = [
        [],
        [(0.1, 0.1)] * 11,
        [(1.0001, 0)],
        [(0, -0.0001)],
        [(math.nan, 0)],
        [(math.inf, 0)],
        [(1,)],
        ["ab"],
        ["01"],
        [5],
        kling.Point(0.5, 0.5),
        [(None, 1)],
        (0.5, 0.5),
        None,
        5,
        "0.5",
        [(10**400, 0)],
        [{"x": 0.5, "y": 0.5}],
    ]
    table: Any = np.array(good)
    assert checks.points_of(table) == checks.points_of(iter(good)) == good
    for points in bad:
        with pytest.raises(kling.InvalidRequestError):
            checks.points_of(points)
    assert kling.Point.from_pixel(0, 0, (2, 4)) == (0.125, 0.25)
    for x, y in ((4, 0), (0, 2), (-1, 0)):
        with pytest.raises(kling.InvalidRequestError, match="not in a frame 4 wide and 2 high"):
            kling.Point.from_pixel(x, y, (2, 4))


def test_video_sources() -> None:
    assert checks.video_source("id", None) == {"video_id": "id"}
    for url in (
        "https://a.org/b.mp4",
        "https://a.org/b.MOV?x=1",
        "https://a.org/b?c=.mp4",  # where the path says nothing, the service will
        "https://a.org/objects/83a7f0?Expires=1&Signature=abc",
        "https://a.org/v1.2/clip",
        "https://a.org/",
        "http://a.org",
    ):
        assert checks.video_source(None, url) == {"video_url": url}
    bad: list[tuple[Any, Any]] = [
        (None, None),
        ("id", "https://a.org/b.mp4"),
        ("", ""),
        (None, "https://a.org/b.avi"),
        (None, "https://a.org/b.WEBM?name=b.mp4"),
        (None, "https://a.org/b.gif"),
        (None, "clip.mp4"),
        (" ", None),
        (None, Path("/clip.mp4")),
        (None, 5),
        (5, None),
        ("\ud800", None),
    ]
    for video_id, url in bad:
        with pytest.raises(kling.InvalidRequestError):
            checks.video_source(video_id, url)


def test_prompts() -> None:
    for language in ("en", "zh"):
        checks.prompts(prompts.removal("the chick", language=language), "", "removal", 0)
        checks.prompts(prompts.swap(old="the dog", new="a cat", language=language), "", "swap", 1)
        checks.prompts(prompts.addition("a hat", language=language), "", "addition", 1)
        two = prompts.addition(["a hat", "a scarf"], language=language)
        checks.prompts(two, "", "addition", 2)
        with pytest.raises(kling.InvalidRequestError, match="1 or 2 images"):
            prompts.addition(["a", "b", "c"], language=language)
    # The templates of the reference, with their placeholders filled in.
    assert prompts.removal("the chick") == REMOVAL
    assert prompts.removal("小鸡", language="zh") == "删除<<<video_1>>>中的【小鸡】"
    assert (
        prompts.swap(old="[x]", new="[y]")
        == "swap [y] from <<<image_1>>> for [x] from <<<video_1>>>"
    )
    with pytest.raises(TypeError, match="positional"):
        prompts.swap("a cat", "the dog")  # type: ignore[call-arg]
    assert (
        prompts.swap(new="猫", old="狗", language="zh")
        == "使用<<<image_1>>>中的【猫】,替换<<<video_1>>>中的【狗】"
    )
    assert (
        prompts.addition("[x]")
        == "Using the context of <<<video_1>>>, seamlessly add [x] from <<<image_1>>>"
    )
    assert prompts.addition("[x]", "there").endswith("[x] from <<<image_1>>> there")
    chinese = "基于<<<video_1>>>中的原始内容,以自然生动的方式,将<<<image_1>>>中的【帽子】"
    assert (
        prompts.addition("帽子", "头上", language="zh") == f"{chinese},融入<<<video_1>>>的【头上】"
    )
    assert (
        prompts.addition(("帽子", "围巾"), language="zh")
        == f"{chinese}和<<<image_2>>>中的【围巾】,融入<<<video_1>>>的【画面】"
    )
    longest = REMOVAL + "x" * (2500 - len(REMOVAL))
    checks.prompts(longest, "y" * 2500, "removal", 0)
    for prompt, negative, mode, n, reason in (
        (longest + "x", "", "removal", 0, "2500 characters, got 2501"),
        (REMOVAL, "y" * 2501, "removal", 0, "negative_prompt must not exceed"),
        ("", "", "removal", 0, "must not be empty"),
        ("Delete it", "", "removal", 0, "<<<video_1>>> is missing"),
        ("<<<video_1>>>", "", "swap", 1, "<<<image_1>>> is missing"),
        ("<<<video_1>>> <<<image_1>>>", "", "addition", 2, "<<<image_2>>> is missing"),
        ("<<<video_1>>> <<<image_1>>>", "", "removal", 0, "refers to <<<image_1>>>"),
    ):
        with pytest.raises(kling.InvalidRequestError, match=reason):
            checks.prompts(prompt, negative, mode, n)
    with pytest.raises(ValueError, match="language"):
        prompts.removal("x", language="fr")  # type: ignore[arg-type]


def test_durations() -> None:
    for seconds, expected in ((2, "5"), (5, "5"), (5.03, "5"), (7, "10"), (10, "10")):
        assert checks.duration(None, seconds) == expected
        assert checks.duration(int(expected), seconds) == expected
    assert checks.duration(None, None) == "5"
    for wanted, seconds in ((None, 1.9), (None, 6), (None, 10.2), ("5", 7), ("10", 5), ("7", 7)):
        with pytest.raises(kling.InvalidRequestError):
            checks.duration(wanted, seconds)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda c: c.add_selection("", 0, [POINT]), "session_id"),
        (lambda c: c.add_selection("s", -1, [POINT]), "frame_index goes from 0"),
        (lambda c: c.add_selection("s", 1.0, [POINT]), "must be an integer"),
        (lambda c: c.create_task("s", "erase", REMOVAL), "edit_mode must be one of"),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, model_name=" "),
            "model_name must be a text that is not empty",
        ),
        (lambda c: c.create_task("s", "removal", REMOVAL, mode="best"), "mode must be one of"),
        (lambda c: c.create_task("s", "removal", REMOVAL, duration=6), "duration must be one"),
        (lambda c: c.create_task("s", "removal", REMOVAL, external_task_id=" "), "external_task"),
        (lambda c: c.get_task(), "exactly one of task_id"),
        (lambda c: c.get_task("a", external_task_id="b"), "exactly one of task_id"),
        (lambda c: c.get_task(".."), "no task id"),
        (lambda c: c.get_task("\ud800"), "half of a character"),
        (lambda c: c.get_task(5), "must be a text"),
        (lambda c: c.clear_selection("x" * 10**6 + "\ud800"), r"got 'x{79}\.\.\."),
        (lambda c: c.get_task("..", external_task_id=None), "no task id"),
        (lambda c: c.create_task("s", "removal", f"{REMOVAL}\ud800"), "prompt has half of a ch"),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, negative_prompt="\udfff blur"),
            "negative_prompt has half of a character .* at 0",
        ),
        (lambda c: c.create_task("\ud800", "removal", REMOVAL), "session_id has half of a"),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, external_task_id="\ud800"),
            "external_task_id has half of a",
        ),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, model_name="\ud800"),
            "model_name has half of a",
        ),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, callback_url="https://a.org/\ud800"),
            "callback_url has half of a",
        ),
        (lambda c: c.init_selection(video_url="https://a.org/\ud800"), "video_url has half of a"),
        (lambda c: c.init_selection(video_id="\ud800"), "video_id has half of a"),
        (
            lambda c: c.add_selection("s", HUGE, [POINT]),
            "frame_index goes from 0, got a very large",
        ),
        (lambda c: c.add_selection("s", 2**63, [POINT]), "frame_index goes from 0"),
        (lambda c: c.add_selection("s", 0, [(HUGE, 0)]), "a point is"),
        (lambda c: c.list_tasks(HUGE), "page_num goes from 1 to 1000, got a very large int"),
        (lambda c: c.create_task("s", "removal", REMOVAL, duration=HUGE), "duration must be one"),
        (lambda c: c.create_task("s", "removal", REMOVAL, mode=HUGE), "mode must be one of"),
        (lambda c: c.get_task(HUGE), "task_id must be a text that is not empty, got a very"),
        (lambda c: c.create_task("s", "removal", REMOVAL, watermark="yes"), "True or False"),
        (lambda c: c.create_task("s", "removal", REMOVAL, watermark={1}), "True or False"),
        (lambda c: c.create_task("s", "removal", REMOVAL, callback_url=5), "callback_url must"),
        (lambda c: c.create_task("s", "removal", REMOVAL, callback_url=Path("x")), "must be a te"),
        (lambda c: c.create_task("s", "removal", REMOVAL, callback_url="me.org"), "callback_url m"),
    ],
)
def test_nothing_is_sent_that_is_over_a_limit(
    service: Service, client: KlingClient, call: Callable[[KlingClient], object], reason: str
) -> None:
    with pytest.raises(kling.InvalidRequestError, match=reason):
        call(client)
    assert service.requests == []


@pytest.mark.parametrize("url", [5, b"https://a.org", Path("a.org")])
def test_a_base_url_is_a_text(url: Any) -> None:
    with pytest.raises(kling.InvalidRequestError, match="base URL must be a text, got"):
        KlingClient("key", base_url=url)


def test_slips_are_seen_by_type_checkers(client: KlingClient) -> None:
    """mypy complains of an ignored error that there is none of."""
    with pytest.raises(kling.InvalidRequestError):
        client.create_task("s", "remove", REMOVAL)  # type: ignore[arg-type]
    with pytest.raises(kling.InvalidRequestError):
        client.create_task("s", "removal", REMOVAL, mode="bets")  # type: ignore[arg-type]
    with pytest.raises(kling.InvalidRequestError):
        client.create_task("s", "removal", REMOVAL, duration=7)  # type: ignore[arg-type]
    edit = client.edit_video(video_id="v")
    with pytest.raises(TypeError, match="negativ_prompt"):
        edit.submit("removal", REMOVAL, negativ_prompt="blur")  # type: ignore[call-arg]


def test_ids_do_not_leave_their_path(service: Service, client: KlingClient) -> None:
    with pytest.raises(kling.NotFoundError):
        client.get_task("../../other?x=1#y")
    assert service.requests[0].path == f"{PREFIX}/..%2F..%2Fother%3Fx%3D1%23y"
