"""Requests over real HTTP: retries, bounds, and replies that break HTTP."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, UnknownOutcomeError, download, transport
from klingmask.kling.redaction import without_queries
from tests.kling.raw_server import FOUND, OK, answering, says
from tests.kling.samples import REMOVAL
from tests.kling.server import Fault, Service, running

# ---- retries ----


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


def test_a_timeout_may_be_one_number(service: Service, make: Callable[..., KlingClient]) -> None:
    for timeout in (5, 5.0, (5, 5)):
        with make(timeout=timeout) as client:
            assert client.list_tasks() == []
    service.faults["*"].append(Fault(delay=1.0))
    with make(timeout=0.2, retry_for=0) as client, pytest.raises(kling.RequestTimeoutError):
        client.list_tasks()


# ---- replies that are none ----


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<html><h1>Hello</h1></html>", "Hello"),
        (b"", "an empty body"),
        (b'{"code": 0, "data"', '"code"'),
        (b"[1, 2]", "1, 2"),
        (b'{"data": {}}', "expected: '{\"data\": {}}'"),
        (b'{"code": "0"}', "data should be of the type dict"),
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


def test_a_long_message_is_cut(service: Service, client: KlingClient) -> None:
    service.faults["*"].append(Fault(400, 1200, "https://" * 10**6))
    with pytest.raises(kling.InvalidRequestError) as caught:
        client.list_tasks()
    assert len(str(caught.value)) < 1200
    assert without_queries("https://a" * 10**5 + "?b") == "https://a" * 10**5 + "?[...]"


BROKEN = {
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}",
    "a negative length": OK + b"Content-Length: -5\r\n\r\n{}",
    "a length in words": OK + b"Content-Length: five\r\n\r\n{}",
    "too many headers": OK + b"X: y\r\n" * 200 + b"\r\n{}",
    "a long header": OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n{}",
    "no status": b"HTTP/1.1 abc\r\n\r\n",
    "another protocol": b"SSH-2.0-x\r\n",
    "nothing": b"",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\n{}",
    "bad gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
    "a bad chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "a cut chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{}",
    "no text": OK + b"\r\n\xff\xfe{\x00",
    "a bad redirect": FOUND + b"Location: http://[::1\r\nContent-Length: 0\r\n\r\n",
    "a port out of range": FOUND + b"Location: http://a:99999/\r\nContent-Length: 0\r\n\r\n",
    "too deep": OK + b"\r\n" + b"[" * 200_000,
    "a long number": OK + b'\r\n{"code": ' + b"1" * 5000 + b"}",
    "no number": OK + b'\r\n{"code": NaN, "data": {}}',
    "the last day": b"HTTP/1.1 429 X\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\n\r\n",
    "half a date": b"HTTP/1.1 429 X\r\nRetry-After: 1 Jan\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_http_is_a_typed_error(name: str, make: Callable[..., KlingClient]) -> None:
    with answering(says(BROKEN[name])) as url, make(base_url=url, retry_for=0.2) as client:
        with pytest.raises(kling.KlingError):
            client.list_tasks()
        with pytest.raises(kling.KlingError) as caught:
            client.create_task("s", "removal", REMOVAL)
    refused = isinstance(caught.value, (kling.RateLimitError, kling.BadReplyError))
    assert refused or isinstance(caught.value, UnknownOutcomeError)
    if "HTTP/1.1 200" in BROKEN[name][:12].decode():
        assert isinstance(caught.value, UnknownOutcomeError)


@pytest.mark.parametrize("head", [OK + b"\r\n", FOUND + b"Location: /x\r\n\r\n"])
def test_a_reply_has_an_end(
    head: bytes, make: Callable[..., KlingClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_REPLY", 1 << 20)
    sent = 0

    def answer(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(head)
        for _ in range(1000):
            connection.sendall(b" " * (1 << 20))
            sent += 1

    with (
        answering(answer) as url,
        make(base_url=url, retry_for=0.1) as client,
        pytest.raises(kling.BadReplyError),
    ):
        client.list_tasks()
    assert sent < 100  # what the sockets' buffers hold


def test_a_connection_is_used_again(make: Callable[..., KlingClient]) -> None:
    """Also by what comes after a reply that nearly came too late."""
    reply = OK + b'Content-Length: 23\r\n\r\n{"code": 0, "data": []}'
    connections = 0

    def answer(connection: socket.socket) -> None:
        nonlocal connections
        connections += 1
        for _ in range(4):
            connection.sendall(reply[:-1])
            time.sleep(0.25)
            connection.sendall(reply[-1:])
            connection.recv(1 << 16)

    with answering(answer) as url, make(base_url=url, timeout=(1.0, 1.0)) as client:
        for _ in range(4):
            assert client.list_tasks() == []
    assert connections == 1


# ---- proxies, netrc, redirects ----


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
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4")
        assert proxy.requests == proxy.cdn_requests == []
    assert len(service.requests) == 1


def test_netrc_is_left_alone(
    service: Service, client: KlingClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client.list_tasks()
    assert service.requests[0].headers["Authorization"] == f"Bearer {service.api_key}"


def test_redirects_are_not_followed(service: Service, client: KlingClient) -> None:
    target = f"{service.cdn_url}/stolen"
    service.faults["*"].append(Fault(307, 0, headers={"Location": target}))
    with pytest.raises(kling.BadReplyError, match="redirect to http:"):
        client.list_tasks()
    assert service.cdn_requests == []
