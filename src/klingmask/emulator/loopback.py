"""HTTP from the emulator to this machine, and to no other: images in, callbacks out.

The host that is checked is the host that is connected to; no proxy and no redirect
comes between.
"""

import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["FAILURES", "fetch", "post", "target"]

HOSTS = ("localhost", "127.0.0.1", "::1")
SECONDS = 5.0  # for a connection, for each answer, and for a whole file
FAILURES = (OSError, HTTPException, ValueError)
"""What a URL that cannot be used, or a server that is not there, raises."""


class Target(NamedTuple):
    """Where a request goes."""

    host: str
    port: int
    path: str


def target(url: str) -> Target:
    """Take a URL apart, if it is one of this machine."""
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
    """Read at most so many bytes of a file."""
    host, port, path = target(url)
    until = time.monotonic() + SECONDS
    connection = HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            content = bytearray()
            while len(content) < most and (piece := response.read1(min(most, 1 << 16))):
                content += piece
                if time.monotonic() > until:
                    raise TimeoutError(f"not all of it came within {SECONDS:g} s")
            return bytes(content[:most])
    finally:
        connection.close()


def post(url: str, content: bytes, headers: Mapping[str, str]) -> None:
    """Send a body, whatever is said to it."""
    host, port, path = target(url)
    connection = HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("POST", path, content, dict(headers))
        connection.getresponse().close()
    finally:
        connection.close()
