"""Clients that break HTTP, or would use up memory, threads or time."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from klingmask.emulator import Emulator, Fault, connections, running
from klingmask.kling import KlingClient
from tests.emulator.http_client import (
    BAD,
    MIB,
    OK,
    PATH,
    Api,
    code_of,
    connect,
    eventually,
    exchange,
    head_of,
    received,
    request,
    traced,
)


def handling() -> int:
    return sum("process_request" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 99999999999"],
        ["Content-Length: 67108865"],
        ["Content-Length: " + "9" * 5000],
        ["Content-Length: -1"],
        ["Content-Length: +2"],
        ["Content-Length: two"],
        ["Content-Length: \xb2"],
        ["Content-Length:"],
        ["Content-Length: 2", "Content-Length: 30"],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
    ],
)
def test_impossible_lengths(emulator: Emulator, headers: list[str], ends: bool) -> None:
    """Refused, and what follows is not taken for another request."""
    trailing = b"{}" + request(emulator, f"GET {PATH} HTTP/1.1")
    content = request(emulator, f"POST {PATH} HTTP/1.1", *headers, body=trailing)
    status, body = exchange(emulator.base_url, content, ends=ends)
    assert (status, code_of(body)) == (400, 1200)


def test_truncated_bodies(api: Api, emulator: Emulator) -> None:
    """Not acted on, even if what came is an object."""
    points = [{"x": 0, "y": 0}]
    body = json.dumps({"session_id": api.session_id, "frame_index": 0, "points": points})
    head = request(
        emulator, f"POST {PATH}/add-selection HTTP/1.1", f"Content-Length: {len(body) + 1}"
    )
    status, answer = exchange(emulator.base_url, head + body.encode())
    assert (status, code_of(answer)) == (400, 1200)
    assert api.delete(points=points).verdict == BAD


@pytest.mark.parametrize(
    "line",
    [
        "GARBAGE",
        "GET / HTTP/9.9",
        "GET / HTTP/x",
        "GET  / / HTTP/1.1",
        "\x00\x01\x02 \x03",
        "GET /" + "x" * 70_000 + " HTTP/1.1",
    ],
)
def test_malformed_request_lines(emulator: Emulator, line: str) -> None:
    status, body = exchange(emulator.base_url, request(emulator, line))
    assert (status, code_of(body)) == (400, 1200)
    status, _ = exchange(emulator.cdn_url, request(emulator, line))
    assert 400 <= status <= 505
    assert status != 500


def test_too_many_headers(emulator: Emulator) -> None:
    many = [f"X-{number}: x" for number in range(200)]
    for headers in (many, ["X: " + "x" * 70_000]):
        content = request(emulator, f"GET {PATH} HTTP/1.1", *headers)
        status, body = exchange(emulator.base_url, content)
        assert (status, code_of(body)) == (400, 1200)


def test_a_body_is_not_taken_for_another_request(api: Api, emulator: Emulator) -> None:
    second = request(emulator, "GET /files/0/none.mp4 HTTP/1.1")
    for url, path in ((emulator.cdn_url, "/files/0/none.mp4"), (emulator.base_url, f"{PATH}/none")):
        first = request(emulator, f"GET {path} HTTP/1.1", f"Content-Length: {len(second)}")
        _, answer = exchange(url, first + second)
        assert b"HTTP/1.1" not in answer
    assert api.get().verdict == OK


def test_open_connections_end_with_the_emulator(folder: Any) -> None:
    with requests.Session() as session:
        with running(folder) as emulator:
            headers = {"Authorization": f"Bearer {emulator.api_key}"}
            assert session.get(emulator.base_url + PATH, headers=headers, timeout=5).ok
            assert repr(emulator) == f"Emulator({emulator.base_url!r})"
            assert emulator.api_key not in repr(emulator)
        with pytest.raises(requests.ConnectionError):
            session.get(emulator.base_url + PATH, headers=headers, timeout=5)


@pytest.mark.parametrize("key", ["", "Authorization: Bearer wrong"])
@pytest.mark.parametrize("path", [PATH, f"{PATH}/init-selection", "/nowhere"])
def test_unauthenticated_requests_are_refused_by_their_head(
    emulator: Emulator, path: str, key: str
) -> None:
    """The reply comes although nothing of the body was sent."""
    for length in ("Content-Length: 30000000", "Transfer-Encoding: chunked"):
        with connect(emulator.base_url) as connection:
            connection.sendall(head_of("POST", path, length, *filter(None, [key])))
            reply = received(connection)
        assert reply.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in reply
        assert code_of(reply.partition(b"\r\n\r\n")[2]) == (1000 if key else 1001)


def test_unauthenticated_bodies_take_no_memory(emulator: Emulator) -> None:
    """Ten clients send 30 MiB each, and all of them get to read why they are refused."""
    head = head_of("POST", PATH, f"Content-Length: {30 * MIB}", "Authorization: Bearer x")
    piece = bytes(MIB)

    def send(_: int) -> bytes:
        with connect(emulator.base_url) as connection:
            connection.sendall(head)
            for _ in range(30):
                connection.sendall(piece)
            return received(connection)

    with traced() as peak, ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(send, range(10)))
    assert all(reply.startswith(b"HTTP/1.1 401 ") for reply in replies)
    assert peak.bytes < 16 * MIB


def test_discarding_is_bounded(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "DISCARD_BYTES", 4 * MIB)
    sent = 0
    with connect(emulator.base_url) as connection, suppress(ConnectionError):
        connection.sendall(head_of("POST", PATH, "Content-Length: 99999999999"))
        for _ in range(1024):
            connection.sendall(bytes(MIB))
            sent += 1
    assert sent < 64  # the buffers of the system are some MiB, too


def test_requests_without_a_key_get_a_reply(emulator: Emulator) -> None:
    for header in ({}, {"Expect": "100-continue"}):
        reply = requests.post(
            emulator.base_url + PATH, data=bytes(40 * MIB), headers=header, timeout=20
        )
        assert (reply.status_code, reply.json()["code"]) == (401, 1001)


def test_a_refusal_keeps_the_connection(api: Api, emulator: Emulator) -> None:
    """If nothing of the refused request is left unread."""
    connection = HTTPConnection(emulator.base_url.removeprefix("http://"), timeout=20)

    def ask(method: str, body: bytes | None = None, **headers: str) -> int:
        connection.request(method, PATH, body, headers)
        with connection.getresponse() as reply:
            reply.read()
        return reply.status

    with closing(connection):
        assert ask("GET") == 401
        first = connection.sock
        for content in (b"{", b"[]", b"{}"):
            assert ask("POST", content, Authorization=api.header) == 400
            assert ask("GET", Authorization=api.header) == 200
            assert ask("GET") == 401
        assert connection.sock is first
        assert ask("POST", b"{}") == 401
        assert connection.sock is None  # that body was left unread


def test_all_bodies_together_are_bounded(
    api: Api, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes when the room for bodies is used up waits, and then may come again."""
    monkeypatch.setattr(connections, "BODY_WAIT_SECONDS", 0.2)
    line, length = f"POST {PATH} HTTP/1.1", f"Content-Length: {32 * MIB}"
    with ExitStack() as stack:
        for _ in range(connections.BODIES_BYTES // (32 * MIB)):
            connection = stack.enter_context(connect(emulator.base_url))
            connection.sendall(request(emulator, line, length, "Expect: 100-continue"))
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        assert api.create().verdict == (503, 5001)
        assert api.get().verdict == OK  # a request without a body needs no room
    eventually(lambda: api.create().code != 5001)
    assert api.create().verdict == BAD  # nothing is selected: it was read


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{number}: {'x' * 60_000}" for number in range(90)],
        [f"X-{number}: {'x' * 1500}" for number in range(99)],
        ["X: " + "x" * 65_000, " folded" * 8000, " folded" * 1600],
    ],
    ids=["long", "many", "folded"],
)
def test_heads_have_limits(emulator: Emulator, headers: list[str]) -> None:
    """Line by line each of these would be taken."""
    for url in (emulator.base_url, emulator.cdn_url):
        with traced() as peak:
            status, _ = exchange(url, head_of("GET", PATH, *headers), ends=False)
        assert 400 <= status <= 431
        assert peak.bytes < 8 * MIB + len("".join(headers))


def test_a_head_may_have_128_kib(emulator: Emulator) -> None:
    line = "X: " + "x" * 60_000
    rest = connections.HEAD_BYTES - len(head_of("GET", PATH, line, line, ""))
    for length, status in ((rest, 401), (rest + 1, 400)):
        head = head_of("GET", PATH, line, line, "x" * length)
        assert len(head) - connections.HEAD_BYTES == length - rest
        assert exchange(emulator.base_url, head)[0] == status


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDLE_SECONDS", "REQUEST_SECONDS", "REPLY_SECONDS"):
        monkeypatch.setattr(connections, name, 0.5)


def drip(connection: socket.socket, content: bytes) -> bytes:
    """Send a byte at a time until the other side ends it; what it has said."""
    ended = threading.Event()

    def send() -> None:
        with suppress(OSError):
            for index in range(len(content)):
                connection.sendall(content[index : index + 1])
                if ended.wait(0.05):
                    return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return received(connection)
    finally:
        ended.set()
        sender.join()


@pytest.mark.usefixtures("short_timeouts")
def test_slow_clients_are_disconnected(emulator: Emulator) -> None:
    """However lively they are: it is the whole request that has to come in time."""
    for url in (emulator.base_url, emulator.cdn_url):
        with connect(url) as silent:
            assert received(silent) == b""
        with connect(url) as slow:
            assert drip(slow, b"GET /" + b"x" * 1000) == b""
        with connect(url) as slow:
            assert drip(slow, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000) == b""
    with connect(emulator.base_url) as slow:
        slow.sendall(request(emulator, f"POST {PATH} HTTP/1.1", "Content-Length: 5000"))
        reply = drip(slow, b"{" * 5000)
    assert code_of(reply.partition(b"\r\n\r\n")[2]) == 1200
    assert b"did not come within" in reply


@pytest.mark.usefixtures("short_timeouts")
def test_clients_that_read_nothing_are_disconnected(emulator: Emulator) -> None:
    large = emulator.folders[0] / "large.mp4"
    with large.open("wb") as file:
        file.truncate(512 * MIB)
    try:
        with connect(emulator.cdn_url) as connection:
            connection.sendall(head_of("GET", "/files/0/large.mp4"))
            eventually(lambda: handling() == 0)
    finally:
        large.unlink()


def test_files_are_sent_in_pieces(emulator: Emulator) -> None:
    """A large video costs no memory, however many read it."""
    large = emulator.folders[0] / "large.mp4"
    with large.open("wb") as file:
        file.truncate(100 * MIB)
    try:
        with traced() as peak, ExitStack() as stack:
            for _ in range(8):
                reply = stack.enter_context(
                    requests.get(emulator.url_of(large), stream=True, timeout=10)
                )
                assert reply.headers["Content-Length"] == str(100 * MIB)
                next(reply.iter_content(MIB))
            length = sum(len(piece) for piece in reply.iter_content(MIB))
            assert length == 99 * MIB
    finally:
        large.unlink()
    assert peak.bytes < 32 * MIB


@pytest.fixture
def few_connections(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(connections, "CONNECTIONS", 8)
    return 8


def test_connections_have_a_limit(few_connections: int, emulator: Emulator) -> None:
    """One that is too many gets a reply that a client tries again for."""
    for url in (emulator.base_url, emulator.cdn_url):
        with ExitStack() as stack:
            replies = []
            for _ in range(5 * few_connections):
                connection = stack.enter_context(connect(url))
                connection.setblocking(False)
                replies.append(connection)
            time.sleep(0.3)
            assert handling() <= few_connections
            full = 0
            for connection in replies:
                with suppress(BlockingIOError):
                    content = connection.recv(1 << 16)
                    assert content.startswith(b"HTTP/1.1 503 ")
                    assert b"\r\nRetry-After: 1\r\n" in content
                    full += 1
            assert full == 4 * few_connections


def test_silent_clients_are_evicted(few_connections: int, emulator: Emulator) -> None:
    """Whoever says nothing keeps nobody out: it is ended for one who asks something."""
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(emulator.base_url)) for _ in range(few_connections)]
        slow = silent[0]
        slow.sendall(b"GET / HT")
        with KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=20) as client:
            assert client.list_tasks() == []
        ended = 0
        for connection in silent:
            connection.settimeout(0.2)
            with suppress(TimeoutError):
                assert connection.recv(1) == b""
                ended += 1
        assert ended == 1


def test_busy_clients_are_not_evicted(few_connections: int, emulator: Emulator) -> None:
    emulator.plan("list-tasks", *[Fault(delay=2.5)] * few_connections)
    with ThreadPoolExecutor(few_connections) as pool:
        working = [pool.submit(Api(emulator).get) for _ in range(few_connections)]
        time.sleep(1.5)
        assert Api(emulator).get().verdict == (503, 5001)
        assert [reply.result().verdict for reply in working] == [OK] * few_connections


def test_a_flood_of_connections(folder: Path) -> None:
    """Hundreds at once leave an emulator that replies, and no thread when it ends."""
    before = set(threading.enumerate())
    with running(folder) as emulator, ExitStack() as stack:
        for _ in range(500):
            with suppress(OSError):
                stack.enter_context(connect(emulator.base_url))
        assert handling() < 2 * connections.CONNECTIONS  # some are about to end
        with KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=30) as client:
            assert client.list_tasks() == []
    eventually(lambda: set(threading.enumerate()) <= before)
