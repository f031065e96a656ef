"""Clients that would use up memory, threads or time: each meets a limit, and others go on."""

import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests

from klingmask.emulator import Emulator, Fault, connections, loopback, running, service
from klingmask.kling import KlingClient
from tests.emulator.conftest import BAD, OK, Api, encoded, image
from tests.emulator.test_http import PATH, code_of, exchange, request

MIB = 1 << 20


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side ends; a reset ends it, too."""
    content = b""
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            content += piece
    return content


def head_of(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


class Peak:
    """The most memory that Python's objects took in a block, beyond what was there before."""

    bytes = 0


@contextmanager
def traced() -> Iterator[Peak]:
    peak = Peak()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("key", ["", "Authorization: Bearer wrong"])
@pytest.mark.parametrize("path", [PATH, f"{PATH}/init-selection", "/nowhere"])
def test_a_stranger_is_refused_by_the_head_alone(emulator: Emulator, path: str, key: str) -> None:
    """The reply comes although nothing of the body was sent."""
    for length in ("Content-Length: 30000000", "Transfer-Encoding: chunked"):
        with connect(emulator.base_url) as connection:
            connection.sendall(head_of("POST", path, length, *filter(None, [key])))
            reply = received(connection)
        assert reply.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in reply
        assert code_of(reply.partition(b"\r\n\r\n")[2]) == (1000 if key else 1001)


def test_strangers_bodies_are_not_held(emulator: Emulator) -> None:
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


def test_what_a_refused_client_sends_is_bounded(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "DISCARD_BYTES", 4 * MIB)
    sent = 0
    with connect(emulator.base_url) as connection, suppress(ConnectionError):
        connection.sendall(head_of("POST", PATH, "Content-Length: 99999999999"))
        for _ in range(1024):
            connection.sendall(bytes(MIB))
            sent += 1
    assert sent < 64  # the buffers of the system are some MiB, too


def test_a_keyless_client_of_the_library_is_told(emulator: Emulator) -> None:
    for header in ({}, {"Expect": "100-continue"}):
        reply = requests.post(
            emulator.base_url + PATH, data=bytes(40 * MIB), headers=header, timeout=20
        )
        assert (reply.status_code, reply.json()["code"]) == (401, 1001)


def test_expect_continue(api: Api, emulator: Emulator) -> None:
    """The body is asked for if, and only if, it is wanted."""
    body = json.dumps({"session_id": api.session_id}).encode()
    expect = (f"Content-Length: {len(body)}", "Expect: 100-continue")
    with connect(emulator.base_url) as connection:
        line = f"POST {PATH}/clear-selection HTTP/1.1"
        connection.sendall(request(emulator, line, *expect))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
    too_long = ("Content-Length: 999999999", "Expect: 100-continue")
    for head, status in [
        (head_of("POST", PATH, *expect), b"401"),
        (request(emulator, f"POST {PATH} HTTP/1.1", *too_long), b"400"),
    ]:
        with connect(emulator.base_url) as connection:
            connection.sendall(head)
            assert received(connection).startswith(b"HTTP/1.1 " + status)


def test_a_connection_goes_on_after_a_refusal(api: Api, emulator: Emulator) -> None:
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


def test_bodies_have_limits(api: Api) -> None:
    """Only what creates a task may be large: it can hold two images of 10 MB."""
    for path, limit in [("/add-selection", MIB), ("/init-selection", MIB), ("", 32 * MIB)]:
        for size, code in ((limit, 1201), (limit + 1, 1200)):  # it is read; it is not
            body = b'{"video_url": "' + b"x" * (size - 17) + b'"}'
            assert len(body) == size
            assert api.ask("POST", path, body).code == code, (path, size)
    api.add()
    swap = {"edit_mode": "addition", "prompt": "<<<video_1>>> <<<image_1>>> <<<image_2>>>"}
    padded = image(kind="JPEG").ljust(10_000_000, b"\0")
    images = [{"image": encoded(padded)}] * 2
    with api.emulator.tasks_held():
        assert api.create(**swap, image_list=images).verdict == OK


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"[]," * (10 * MIB) + b"[]]",
        b"[" + b"{}," * (10 * MIB) + b"{}]",
        b'{"points": [' + b"0.5," * (8 * MIB - 8) + b"1]}",
        b'{"points": ' + b"[" * (16 * MIB),
        b'{"":' * (4 * MIB),
    ],
    ids=["lists", "objects", "numbers", "depth", "nested"],
)
def test_bodies_of_many_values(api: Api, content: bytes) -> None:
    """Refused before they become objects that take many times their size."""
    with traced() as peak:
        assert api.ask("POST", "", content).verdict == (400, 1200)
    assert peak.bytes < 3 * len(content)


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
    until = time.monotonic() + 20
    while api.create().code == 5001:
        assert time.monotonic() < until
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
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.usefixtures("hasty")
def test_slow_clients_end(emulator: Emulator) -> None:
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


@pytest.mark.usefixtures("hasty")
def test_a_client_that_reads_nothing_ends(emulator: Emulator) -> None:
    large = emulator.folders[0] / "large.mp4"
    with large.open("wb") as file:
        file.truncate(512 * MIB)
    try:
        with connect(emulator.cdn_url) as connection:
            connection.sendall(head_of("GET", "/files/0/large.mp4"))
            until = time.monotonic() + 20
            while any("process_request" in thread.name for thread in threading.enumerate()):
                assert time.monotonic() < until
                time.sleep(0.05)
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
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(connections, "CONNECTIONS", 8)
    return 8


def handling() -> int:
    return sum("process_request" in thread.name for thread in threading.enumerate())


def test_connections_have_a_limit(few: int, emulator: Emulator) -> None:
    """One that is too many gets a reply that a client tries again for."""
    for url in (emulator.base_url, emulator.cdn_url):
        with ExitStack() as stack:
            replies = []
            for _ in range(5 * few):
                connection = stack.enter_context(connect(url))
                connection.setblocking(False)
                replies.append(connection)
            time.sleep(0.3)
            assert handling() <= few
            full = 0
            for connection in replies:
                with suppress(BlockingIOError):
                    content = connection.recv(1 << 16)
                    assert content.startswith(b"HTTP/1.1 503 ")
                    assert b"\r\nRetry-After: 1\r\n" in content
                    full += 1
            assert full == 4 * few


def test_silent_clients_make_room(few: int, emulator: Emulator) -> None:
    """Whoever says nothing keeps nobody out: it is ended for one who asks something."""
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(emulator.base_url)) for _ in range(few)]
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


def test_clients_at_work_are_not_ended(few: int, emulator: Emulator) -> None:
    emulator.plan("list-tasks", *[Fault(delay=2.5)] * few)
    with ThreadPoolExecutor(few) as pool:
        working = [pool.submit(Api(emulator).get) for _ in range(few)]
        time.sleep(1.5)
        assert Api(emulator).get().verdict == (503, 5001)
        assert [reply.result().verdict for reply in working] == [OK] * few


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
    until = time.monotonic() + 10
    while (set(threading.enumerate()) - before) and time.monotonic() < until:
        time.sleep(0.05)
    assert set(threading.enumerate()) - before == set()


def test_images_of_tasks_are_not_held(
    emulator: Emulator, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all tasks that wait for their turn; the latest requests are shown as they were."""
    monkeypatch.setattr(service, "KEPT_IMAGES_BYTES", 30 * MIB)
    prompt = {"edit_mode": "addition", "prompt": "<<<video_1>>> <<<image_1>>>"}
    images = [{"image": encoded(image(kind="JPEG").ljust(9_000_000, b"\0"))}]
    emulator.plan("create-task", *[Fault(fails="no")] * 12)
    with emulator.tasks_held():
        with traced() as peak:
            for _ in range(12):
                assert api.create(**prompt, image_list=images).verdict == OK
        shown = [task.body["image_list"] for task in emulator.tasks]
        assert shown == [[]] * 10 + [images] * 2
        assert len(list(emulator.service.results.glob("*.image"))) == 12
    assert peak.bytes < 100 * MIB
    until = time.monotonic() + 60
    while any(emulator.service.results.glob("*.image")):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server whose replies never end: a byte of a header now and then."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                        while not ended.wait(0.05):
                            connection.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_slow_servers_end(api: Api, dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that fetches an image, or calls back, is not kept for longer than promised."""
    monkeypatch.setattr(loopback, "SECONDS", 0.4)
    prompt = {"edit_mode": "addition", "prompt": "<<<video_1>>> <<<image_1>>>"}
    refused = api.create(**prompt, image_list=[{"image": f"{dripping}cat.png"}])
    assert refused.verdict == BAD
    assert "did not come within 0.4 s" in refused.message
    with pytest.raises(TimeoutError, match="did not come within"):
        loopback.post(dripping, b"{}", {})
