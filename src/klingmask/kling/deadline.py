"""An HTTP adapter for requests that limits the time of a whole reply.

The timeouts of urllib3 hold for each read of the socket. A server that sends one byte
at a time would keep a caller forever: in a header, in one ``100 Continue`` after
another, in the trailers of a chunked body, or in compressed blocks without content.
"""

import http.client
import io
import socket
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["DeadlineAdapter", "extend_deadline"]

MIN_UPLOAD_RATE = 64 << 10
"""Bytes a second that an upload is expected to make, on top of the timeout."""


class _DeadlineReader(io.RawIOBase):
    """The bytes that a socket receives, until a deadline on the monotonic clock."""

    def __init__(self, connection: socket.socket, received: io.RawIOBase) -> None:
        self._connection, self._received = connection, received
        self._timeout = connection.gettimeout() or 0.0
        self.deadline = time.monotonic() + self._timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the reply did not end in time")
        self._connection.settimeout(min(left, self._timeout))
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    """A reply that must end within the socket's timeout, unless its deadline is extended."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.reader = _DeadlineReader(sock, self.fp.detach())
        self.fp = io.BufferedReader(self.reader)


class _Connection(HTTPConnection):
    response_class = _Reply

    def send(self, data: Any) -> None:
        """Send bytes, with a timeout that grows with their number.

        It is set anew: the last reply on a reused socket left a shorter one.
        """
        if self.sock is None:
            self.connect()
        self.sock.settimeout((self.timeout or 0.0) + len(data) / MIN_UPLOAD_RATE)
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


# The connections of SOCKS proxies have classes of their own and no deadline.
_WITH_DEADLINE = {HTTPConnection: _Connection, HTTPSConnection: _TlsConnection}


class DeadlineAdapter(HTTPAdapter):
    """Sends requests whose replies must end in time."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return a pool whose connections have a deadline."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _WITH_DEADLINE.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


def extend_deadline(response: requests.Response, deadline: float) -> None:
    """Let a reply take until this time of the monotonic clock."""
    reply: Any = response.raw._original_response
    if isinstance(reply, _Reply):
        reply.reader.deadline = deadline
