"""The emulator's own requests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from klingmask.emulator import loopback
from tests.emulator.http_client import ADDITION, BAD, Api


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


def test_slow_servers_are_given_up(
    api: Api, dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that fetches an image, or calls back, is not kept for longer than promised."""
    monkeypatch.setattr(loopback, "SECONDS", 0.4)
    refused = api.create(**ADDITION, image_list=[{"image": f"{dripping}cat.png"}])
    assert refused.verdict == BAD
    assert "did not come within 0.4 s" in refused.message
    with pytest.raises(TimeoutError, match="did not come within"):
        loopback.post(dripping, b"{}", {})
