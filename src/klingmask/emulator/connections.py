"""HTTP connections with limits, so that no client can use up memory, threads or time.

A port has at most `CONNECTIONS` clients at once. The head of a request is limited in
bytes, each request and each piece of a reply in seconds, and all bodies together in bytes.
`Handler` does not read a body by itself: a subclass asks for it once it wants it.
"""

import io
import logging
import re
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO

__all__ = ["BodyError", "Handler", "Server", "TooManyBodiesError"]

log = logging.getLogger("klingmask.emulator")

CONNECTIONS = 128
"""Clients that one port serves at once."""
EVICT_SECONDS = 1.0
"""A full port closes the connection that has waited for its client longest, from this time on."""
IDLE_SECONDS = 60.0
"""How long a connection may stay open without a request."""
REQUEST_SECONDS = 30.0
"""How long a request may take from its first byte to its last."""
REPLY_SECONDS = 30.0
"""How long a client may take to receive a piece of a reply."""
HEAD_BYTES = 128 << 10
"""Limit of request line and headers together; http.server limits each line as well."""
BODIES_BYTES = 128 << 20
"""Limit of all bodies together that one port holds in memory."""
BODY_WAIT_SECONDS = 10.0
"""How long a request waits for memory that other bodies take."""
PIECE_BYTES = 256 << 10
"""Size of the pieces in which a reply is sent."""
DISCARD_SECONDS = 2.0
DISCARD_BYTES = 256 << 20
"""The body of a refused request is read and dropped within these limits. Left unread, it
would make the system reset the connection, and the client would not see the reply."""


class BodyError(Exception):
    """A body whose length is unknown or too large, or that comes too slowly or not wholly."""


class TooManyBodiesError(Exception):
    """The bodies of other requests take all memory for bodies."""


class _Budget:
    """A number of bytes that requests share."""

    def __init__(self, total: int) -> None:
        self._left = total
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, amount: int) -> Iterator[None]:
        """Reserve bytes for the block; wait for them if others have them."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= amount, BODY_WAIT_SECONDS):
                raise TooManyBodiesError("too many large requests at once")
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


class Server(ThreadingHTTPServer):
    """A server on loopback with a bounded number of connections, which end with it.

    Its threads are daemons, as they may wait for a client; the work on pictures is
    done elsewhere: see `workers`.
    """

    request_queue_size = 128

    def __init__(self, port: int, handler: "type[Handler]") -> None:
        self.bodies = _Budget(BODIES_BYTES)
        self._handler = handler
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._waiting: dict[socket.socket, float] = {}
        """Connections that wait for their client to send or to receive, and since when."""
        self._refused: deque[tuple[float, socket.socket]] = deque()
        super().__init__(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="klingmask-emulator-http", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Begin to take connections."""
        self._thread.start()

    @contextmanager
    def awaiting(self, connection: socket.socket) -> Iterator[None]:
        """Note for the block that the connection waits for its client."""
        self._waiting[connection] = time.monotonic()
        try:
            yield
        finally:
            self._waiting.pop(connection, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection on a thread of its own, or refuse it if the port is full."""
        with self._lock:
            room = len(self._connections) < CONNECTIONS or self._evict()
            if room:
                thread = threading.Thread(
                    target=self.process_request_thread, args=(request, client_address), daemon=True
                )
                self._connections[request] = thread
        if room:
            thread.start()
        else:
            self._refuse(request)

    def _evict(self) -> bool:
        """Close the connection that has waited for its client longest; whether one was closed."""
        waiting = self._waiting.copy()
        longest = min(
            (request for request in self._connections if request in waiting),
            key=waiting.__getitem__,
            default=None,
        )
        if longest is None or time.monotonic() - waiting[longest] < EVICT_SECONDS:
            return False
        with suppress(OSError):
            longest.shutdown(socket.SHUT_RDWR)  # wakes its thread up, which then ends
        del self._connections[longest]
        return True

    def _refuse(self, request: socket.socket) -> None:
        """Reply that the port is full, without blocking the thread that accepts."""
        with suppress(OSError):
            request.setblocking(False)
            request.send(self._handler.full_reply())
            request.shutdown(socket.SHUT_WR)
        self._refused.append((time.monotonic(), request))
        while len(self._refused) > CONNECTIONS:
            self.shutdown_request(self._refused.popleft()[1])

    def service_actions(self) -> None:
        """Close refused connections once their clients have had the time to read the reply."""
        while self._refused and time.monotonic() - self._refused[0][0] > DISCARD_SECONDS:
            self.shutdown_request(self._refused.popleft()[1])

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, and close it."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log that a connection broke."""
        log.debug("a connection ended early", exc_info=True)

    def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        while self._refused:
            self.shutdown_request(self._refused.popleft()[1])
        with self._lock:
            left = dict(self._connections)
        for request, thread in left.items():
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
            thread.join(DISCARD_SECONDS)


class _Incoming(io.RawIOBase):
    """The bytes that a client sends, within the limits of time and of the head's size."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self.next_request()

    def next_request(self) -> None:
        """Expect a head."""
        self._begun = False
        self._until = time.monotonic() + IDLE_SECONDS
        self._head_left: int | None = HEAD_BYTES

    def head_ended(self) -> None:
        """Expect a body, whose length the reader knows."""
        self._head_left = None

    def readable(self) -> bool:
        """Tell io.BufferedReader that this can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive some bytes; raises TimeoutError or LineTooLong at a limit."""
        limit = len(buffer)
        if self._head_left is not None:
            limit = min(limit, self._head_left)
            if limit == 0:
                raise LineTooLong("head")  # http.server replies to it
        # 0 would make the socket non-blocking.
        self._connection.settimeout(max(0.001, self._until - time.monotonic()))
        with self._server.awaiting(self._connection):
            n_bytes = self._connection.recv_into(buffer, limit)
        if not self._begun:
            self._begun = True
            self._until = time.monotonic() + REQUEST_SECONDS
        if self._head_left is not None:
            self._head_left -= n_bytes
        return n_bytes


class Handler(BaseHTTPRequestHandler, ABC):
    """One client's connection: its requests, one after the other.

    After a request whose body was not read, the connection is closed: the body could be
    taken for the next request.
    """

    protocol_version = "HTTP/1.1"
    server: Server

    @classmethod
    @abstractmethod
    def full_reply(cls) -> bytes:
        """Make a whole reply, with head, that says that there are too many connections."""

    @abstractmethod
    def unknown_method(self) -> None:
        """Reply to an HTTP method that this port does not have."""

    @abstractmethod
    def unreadable(self, status: int, message: str) -> None:
        """Reply to a request that is malformed or over a limit."""

    def setup(self) -> None:
        """Read the connection through the limits."""
        super().setup()
        self.rfile.close()
        self.incoming = _Incoming(self.server, self.connection)
        self.rfile = io.BufferedReader(self.incoming)

    def handle_one_request(self) -> None:
        """Read a head and reply to it."""
        self.incoming.next_request()
        self.unread = True
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the rest of a head; whether it is well-formed."""
        well_formed = super().parse_request()
        if well_formed:
            self.incoming.head_ended()
            lengths = self.headers.get_all("Content-Length", [])
            self.unread = "Transfer-Encoding" in self.headers or any(n != "0" for n in lengths)
        return well_formed

    def handle_expect_100(self) -> bool:
        """Wait with "100 Continue" until the body is wanted: see `body`."""
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name above
        """Log a line without the query of the URL."""
        log.debug("%s", re.sub(r"\?\S*", "?...", format % args))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Reply to a request that http.server refuses."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self.unknown_method()
            return
        self.close_connection = True
        self.request_version = self.protocol_version  # perhaps not even that could be read
        self.unreadable(code, message or explain or "")

    @contextmanager
    def body(self, most: int) -> Iterator[bytes]:
        """Read the body, of at most so many bytes; the block holds its memory."""
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop()
        known = re.fullmatch(r"[0-9]{1,12}", length) and int(length) <= most
        if not known or lengths or "Transfer-Encoding" in self.headers:
            raise BodyError(f"a body needs its one Content-Length, here of at most {most} bytes")
        with self.server.bodies.reserved(int(length)):
            yield self._read(int(length))

    def _read(self, length: int) -> bytes:
        if length and self.headers.get("Expect", "").lower() == "100-continue":
            self.connection.settimeout(REPLY_SECONDS)
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        try:
            content = self.rfile.read(length)
        except TimeoutError:
            raise BodyError(f"the request did not come within {REQUEST_SECONDS:g} s") from None
        if len(content) < length:
            raise BodyError(f"the body ends after {len(content)} of {length} bytes")
        self.unread = False
        return content

    def send(
        self,
        status: int,
        headers: Mapping[str, str],
        content: BinaryIO,
        length: int,
        *,
        cut: bool = False,
        slow: float = 0.0,
    ) -> None:
        """Send a reply, with the next `length` bytes of a file as its body.

        Parameters
        ----------
        cut : bool
            Send half of the body only, then close the connection.
        slow : float
            Seconds over which the body is spread.
        """
        self.close_connection |= self.unread or cut
        with suppress(OSError):  # the client may have gone
            self.connection.settimeout(REPLY_SECONDS)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            if self.close_connection:
                self.send_header("Connection", "close")
            with self.server.awaiting(self.connection):
                self.end_headers()
            if self.command != "HEAD":
                self._send_content(content, length // 2 if cut else length, slow)
        if self.unread:
            self._discard()

    def _send_content(self, content: BinaryIO, length: int, slow: float) -> None:
        piece_bytes = max(1, min(PIECE_BYTES, length // 50 if slow else length))
        for start in range(0, length, piece_bytes):
            self.pause(slow * piece_bytes / length)
            piece = content.read(min(piece_bytes, length - start))
            if not piece:  # the file has become shorter
                self.close_connection = True
                return
            with self.server.awaiting(self.connection):
                self.wfile.write(piece)

    @abstractmethod
    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""

    def reset(self) -> None:
        """Reset the connection, as a broken network does."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _discard(self) -> None:
        """Read and drop the body of a refused request, within limits."""
        until, left = time.monotonic() + DISCARD_SECONDS, DISCARD_BYTES
        with suppress(OSError), self.server.awaiting(self.connection):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (seconds := until - time.monotonic()) > 0:
                self.connection.settimeout(seconds)
                n_bytes = len(self.connection.recv(1 << 16))
                if not n_bytes:
                    return
                left -= n_bytes
