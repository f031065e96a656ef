"""Replies that break HTTP itself, never end or come drop by drop: bytes from a bare socket."""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, UnknownOutcomeError, deadline, download, transport
from klingmask.kling.transport import TimeLimits
from tests.kling.server import png

OK = b"HTTP/1.1 200 OK\r\n"
FOUND = b"HTTP/1.1 302 Found\r\n"
SHORT = TimeLimits((1.0, 1.0), 0.2)
REMOVAL = "Delete it from <<<video_1>>>"

Answer = Callable[[socket.socket], None]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that reads a request and then does what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(1 << 16)
            answer(connection)

    def serve() -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def says(content: bytes) -> Answer:
    return lambda connection: connection.sendall(content)


def drops(head: bytes, drop: bytes, pause: float = 0.05, count: int = 200) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(drop)
            time.sleep(pause)

    return answer


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


DRIPPING = {
    "a body": drops(OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "chunks": drops(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a redirect's body": drops(FOUND + b"Location: /x\r\nContent-Length: 100000\r\n\r\n", b" "),
    "a header": drops(OK + b"X: ", b"x"),
    "headers": drops(OK, b"X: y\r\n", count=90),
    "100 Continue": drops(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": drops(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"a: b\r\n"),
    "compressed nothing": drops(
        OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"")[:2], b"\0\0\0\xff\xff"
    ),
}


@pytest.mark.parametrize("name", DRIPPING)
def test_a_reply_has_a_deadline(name: str, make: Callable[..., KlingClient]) -> None:
    with (
        answering(DRIPPING[name]) as url,
        make(base_url=url, timeout=(0.3, 0.3), retry_for=0.1) as client,
    ):
        started = time.monotonic()
        with pytest.raises((kling.RequestTimeoutError, kling.BadReplyError)):
            client.list_tasks()
        assert time.monotonic() - started < 3  # of the 10 that the server goes on for


@pytest.mark.parametrize("name", [name for name in DRIPPING if "redirect" not in name])
def test_a_download_has_a_deadline(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "GRACE", 0.3)
    limits = TimeLimits((0.3, 0.3), 0.1)
    with answering(DRIPPING[name]) as url:
        started = time.monotonic()
        with pytest.raises(kling.RequestConnectionError):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4", limits=limits)
        with pytest.raises(kling.RequestConnectionError):
            download.fetch(f"{url}/a.json", limits=limits)
        assert time.monotonic() - started < 5


def test_a_slow_upload_has_time(
    make: Callable[..., KlingClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much as its bytes need, which may be more than a connection or a reply may take."""
    monkeypatch.setattr(deadline, "MIN_UPLOAD_RATE", 10 << 20)
    body = b'{"code": 0, "data": {"task_id": "t", "task_status": "submitted"}}'

    asked = 0

    def answer(connection: socket.socket) -> None:
        nonlocal asked
        asked += 1
        time.sleep(0.6)  # more than the sockets' buffers hold is still to come
        connection.settimeout(0.15)
        with suppress(TimeoutError):
            while connection.recv(1 << 18):
                pass
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    picture = png(300, 300)
    picture += bytes(10**7 - len(picture))
    prompt = "<<<video_1>>> <<<image_1>>> <<<image_2>>>"
    with answering(answer) as url, make(base_url=url, timeout=(0.2, 2.0)) as client:
        task = client.create_task("s", "addition", prompt, images=[picture] * 2)
    assert task.task_id == "t"
    assert asked == 1  # it has not been looked for


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


def test_a_download_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD", 4 << 20)
    monkeypatch.setattr(download, "MAX_FETCH", 4 << 20)
    endless = drops(OK + b"\r\n", b"x" * (1 << 20), 0)
    with answering(endless) as url:
        with pytest.raises(kling.BadReplyError, match="more than 4194304 bytes"):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
        with pytest.raises(kling.BadReplyError, match="more than 4194304 bytes"):
            download.fetch(f"{url}/a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_hardly_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "GRACE", 0.3)
    slow = drops(OK + b"Content-Length: 100000\r\n\r\n", b"x")
    with answering(slow) as url:
        started = time.monotonic()
        with pytest.raises(kling.RequestConnectionError, match="bytes in"):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4", limits=SHORT)
        assert time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        FOUND + b"Location: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_half_a_file_is_none(content: bytes, tmp_path: Path) -> None:
    with answering(says(content)) as url:
        with pytest.raises(kling.KlingError):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4", limits=SHORT)
        if b"Length: 0" not in content:
            with pytest.raises(kling.KlingError):
                download.fetch(f"{url}/a.json", limits=SHORT)
    assert list(tmp_path.iterdir()) == []


def in_turn(*contents: bytes) -> Answer:
    """One of them for each request."""
    left = list(contents)
    return lambda connection: connection.sendall(left.pop(0))


OLD, NEW = b"the old file", b"another one."
HALF = OK + b'ETag: "1"\r\nContent-Length: 12\r\n\r\n' + OLD[:6]
WHOLE = OK + b'ETag: "2"\r\nContent-Length: 12\r\n\r\n' + NEW
REST = b"HTTP/1.1 206 Part\r\nContent-Length: 6\r\nContent-Range: bytes 6-11/12\r\n"
NINES = b"9" * 5000


@pytest.mark.parametrize(
    "part",
    [
        REST + b'ETag: "2"\r\n\r\n' + NEW[6:],
        REST + b"\r\n" + NEW[6:],
        REST + b'ETag: "1"\r\nContent-Encoding: gzip\r\n\r\n' + NEW[6:],
    ],
    ids=["another ETag", "none", "compressed"],
)
def test_two_files_are_not_mixed(part: bytes, tmp_path: Path) -> None:
    """If-Range notwithstanding: what it is for must not be left to the other side alone."""
    with answering(in_turn(HALF, part, WHOLE)) as url:
        path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
    assert path.read_bytes() == NEW


def test_what_comes_compressed_unasked(tmp_path: Path) -> None:
    """Its Content-Length is not the file's, and half of it cannot be taken up."""
    content = bytes(1000)
    packed = gzip.compress(content)
    head = OK + b'ETag: "1"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' % len(packed)
    asked: list[int] = []

    def answer(connection: socket.socket) -> None:
        asked.append(1)  # before the answer: the next may be asked for as soon as it is there
        connection.sendall(head + packed[: None if len(asked) % 2 else len(packed) // 2])

    with answering(answer) as url:
        for _ in range(2):
            path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
            assert path.read_bytes() == content
            assert download.fetch(f"{url}/a.json") == content
    assert len(asked) == 7


@pytest.mark.parametrize("length", [NINES, b"-5", b"five"])
def test_a_length_that_is_none(length: bytes, tmp_path: Path) -> None:
    with answering(says(OK + b"Content-Length: " + length + b"\r\n\r\n" + NEW)) as url:
        path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
        assert path.read_bytes() == download.fetch(f"{url}/a.json") == NEW
    rest = REST.replace(b"/12", b"/" + length) + b'ETag: "1"\r\n\r\n' + OLD[6:]
    with answering(in_turn(HALF, rest)) as url:
        path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
        assert path.read_bytes() == OLD
    with (
        answering(in_turn(HALF, REST.replace(b" 6-", b" " + length + b"-") + b"\r\n")) as url,
        pytest.raises(kling.BadReplyError, match="without a Content-Range"),
    ):
        download.download(f"{url}/a.mp4", tmp_path / "a.mp4")


def test_a_redirect_to_a_host_that_cannot_be() -> None:
    with (
        answering(says(FOUND + b"Location: https://a..b/x?sign=hidden\r\n\r\n")) as url,
        pytest.raises(kling.BadReplyError, match="cannot be read") as caught,
    ):
        download.fetch(f"{url}/a.json")
    assert "hidden" not in str(caught.value)


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


def test_headers_that_are_none_put_no_signature_into_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with answering(says(OK + b"no header\r\nContent-Length: 3\r\n\r\nabc")) as url:
        assert download.fetch(f"{url}/a.json?sign=hidden") == b"abc"
    assert "Failed to parse headers" in caplog.text
    assert "hidden" not in caplog.text
