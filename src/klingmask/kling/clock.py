"""HTTP that is bounded in time as a whole: sending, headers and all that comes after them.

The timeouts of urllib3 are for each read of the socket, so one byte at a time
would keep a caller for ever: in a header, in one `100 Continue` after another, in
the trailers of a chunked body or in compressed blocks that hold nothing.
"""

import http.client
import io
import socket
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["ClockedAdapter", "grant"]

SLOWEST_UPLOAD = 64 << 10  # bytes a second


class _Clock(io.RawIOBase):
    """What a socket receives until a time of the monotonic clock."""

    def __init__(self, connection: socket.socket, received: io.RawIOBase) -> None:
        self._connection, self._received = connection, received
        self._each = connection.gettimeout() or 0.0
        self.until = time.monotonic() + self._each

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the reply did not end in time")
        self._connection.settimeout(min(left, self._each))
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    """A reply, all of which must come within the timeout of its socket, if no more is granted."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.clock = _Clock(sock, self.fp.detach())
        self.fp = io.BufferedReader(self.clock)


class _Connection(HTTPConnection):
    response_class = _Reply

    def send(self, data: Any) -> None:
        """Send some bytes, with time for each of them: a reused socket has what was left."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout((self.timeout or 0.0) + len(data) / SLOWEST_UPLOAD)
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


# Not those of SOCKS proxies.
_CLOCKED = {HTTPConnection: _Connection, HTTPSConnection: _TlsConnection}


class ClockedAdapter(HTTPAdapter):
    """Sends requests whose replies have to end in time."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return a pool of connections with a clock."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _CLOCKED.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


def grant(response: requests.Response, until: float) -> None:
    """Let a reply take until that time of the monotonic clock."""
    reply: Any = response.raw._original_response
    if isinstance(reply, _Reply):
        reply.clock.until = until
