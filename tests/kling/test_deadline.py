"""Replies and downloads that come drop by drop, and uploads that are slow."""

import socket
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, deadline, download
from klingmask.kling.transport import TimeLimits
from tests.kling.raw_server import FOUND, OK, answering, drops
from tests.kling.samples import png

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
