"""HTTP requests of the emulator, to this machine only: images in, callbacks out.

The host that is checked is the host that is connected to: neither proxies nor redirects
are used.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["FAILURES", "fetch", "post", "target"]

HOSTS = ("localhost", "127.0.0.1", "::1")
SECONDS = 5.0  # for a whole exchange, from the connection to the last byte of the reply
FAILURES = (OSError, HTTPException, ValueError)
"""What is raised for a URL that cannot be used and a server that does not answer."""


class Target(NamedTuple):
    """Where a request goes."""

    host: str
    port: int
    path: str


def target(url: str) -> Target:
    """Parse a URL; raises ValueError unless it is plain HTTP to this machine."""
    parts = urlsplit(url)
    plain = url.isascii() and "@" not in parts.netloc and "\\" not in url
    if parts.scheme != "http" or parts.hostname not in HOSTS or not plain:
        raise ValueError(
            "the emulator talks to this machine alone: an http URL of "
            f"{', '.join(HOSTS[:-1])} or [{HOSTS[-1]}]"
        )
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.hostname, parts.port or 80, (parts.path or "/") + query)


def fetch(url: str, most: int) -> bytes:
    """Download at most so many bytes of a file."""
    host, port, path = target(url)
    with _connected(host, port) as connection:
        connection.request("GET", path)
        with connection.getresponse() as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            return response.read(most)


def post(url: str, content: bytes, headers: Mapping[str, str]) -> None:
    """Send a body, and ignore the reply."""
    host, port, path = target(url)
    with _connected(host, port) as connection:
        connection.request("POST", path, content, dict(headers))
        connection.getresponse().close()


@contextmanager
def _connected(host: str, port: int) -> Iterator[HTTPConnection]:
    """Connect for the block, and cut the connection after `SECONDS`.

    A timeout of the socket is not enough: a server that sends a byte now and then would
    never meet it.
    """
    connection = HTTPConnection(host, port, timeout=SECONDS)
    connection.connect()
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    connected = connection.sock
    timer = threading.Timer(SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield connection
    except FAILURES:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():
        raise TimeoutError(f"the reply did not come within {SECONDS:g} s")
