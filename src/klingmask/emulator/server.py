"""HTTP around the emulated service: the API on one port, its files on another."""

import json
import logging
import re
import socket
import struct
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from typing import Any, Never
from urllib.parse import parse_qs, unquote

from klingmask.emulator.faults import Fault, Refusal
from klingmask.emulator.service import Service
from klingmask.emulator.workers import Stopped

__all__ = ["Emulator", "MadeTask", "running"]

log = logging.getLogger("klingmask.emulator")

PREFIX = "/v1/videos/multi-elements"
SELECTING = (
    "init-selection",
    "add-selection",
    "delete-selection",
    "clear-selection",
    "preview-selection",
)
TASKS = ("create-task", "get-task", "list-tasks")
PLANNED = (*SELECTING, *TASKS, "*", "files")
MAX_BODY = 64 << 20  # bytes
LINGER = 2.0  # seconds for which a body that is not wanted is still taken
SERVED = (".mp4", ".mov", ".png", ".jpg", ".jpeg", ".json")

API_KEY = "emulator-api-key"
ACCESS_KEY = "emulator-access-key"
SECRET_KEY = "emulator-secret-key-of-32-bytes-at-least"  # noqa: S105 - of nobody's account
WEBHOOK_SECRET = "whsec_ZW11bGF0b3Itd2ViaG9vay1zZWNyZXQ="  # noqa: S105


@dataclass(frozen=True)
class MadeTask:
    """A task that an emulator was asked for.

    Attributes
    ----------
    task_id, external_task_id : str
        Its own name, and the one that it was given.
    task_status : str
        submitted, processing, succeed or failed.
    body : mapping
        The request that made it.
    """

    task_id: str
    external_task_id: str
    task_status: str
    body: Mapping[str, Any]


class Emulator:
    """A running emulator; made by `running`.

    Attributes
    ----------
    base_url, cdn_url : str
        Of the API, and of the files that its replies point at.
    api_key, access_key, secret_key, webhook_secret : str
        That sign in, and that sign callbacks.
    service : Service
        Its state; tests of users need what is below, and not this.
    """

    def __init__(self, service: Service, base_url: str) -> None:
        self.service = service
        self.base_url = base_url
        self.cdn_url = service.cdn_url
        self.api_key = service.keys["api_key"]
        self.access_key = service.keys["access_key"]
        self.secret_key = service.keys["secret_key"]
        self.webhook_secret = service.keys["webhook_secret"]

    def __repr__(self) -> str:
        return f"Emulator({self.base_url!r})"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders from which videos may be opened."""
        return tuple(self.service.folders)

    @property
    def tasks(self) -> tuple[MadeTask, ...]:
        """The tasks that were made, in their order."""
        with self.service.lock:
            return tuple(
                MadeTask(task.id, task.external, task.status, task.body)
                for task in self.service.tasks.values()
            )

    @property
    def clock_offset(self) -> float:
        """Seconds that the service's clock is ahead of this machine's; may be set.

        Tokens, sessions (24 hours), results (30 days), callbacks and the rate limit
        go by it.
        """
        return self.service.offset

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        self.service.offset = seconds

    @property
    def rate_limit(self) -> tuple[int, float] | None:
        """How many requests are answered in how many seconds; may be set.

        One more is refused with 1302. None, as at first, is no limit.
        """
        return self.service.rate_limit

    @rate_limit.setter
    def rate_limit(self, limit: tuple[int, float] | None) -> None:
        self.service.rate_limit = limit

    @property
    def parallel_tasks(self) -> int | None:
        """How many tasks may be under way at once; may be set.

        One more is refused with 1303. None is no limit.
        """
        return self.service.parallel_tasks

    @parallel_tasks.setter
    def parallel_tasks(self, most: int | None) -> None:
        self.service.parallel_tasks = most

    def url_of(self, path: str | PathLike[str]) -> str:
        """Return the URL of a file in one of the folders, as init_selection takes it.

        A relative path may start from here or from one of the folders.
        """
        return self.service.url_of(Path(path))

    def plan(self, endpoint: str, *faults: Fault) -> None:
        """Plan faults for the next requests to an endpoint.

        Parameters
        ----------
        endpoint : str
            As "add-selection", or "create-task", "get-task", "list-tasks", or
            "*" for those that have no plan; "files" for the file port, where a
            fault's code, works and "after" mean nothing.
        faults : Fault
            One for each request, in their order.
        """
        if endpoint not in PLANNED:
            raise ValueError(f"endpoint must be one of {', '.join(PLANNED)}, got {endpoint!r}")
        with self.service.lock:
            self.service.faults[endpoint].extend(faults)

    @property
    def planned(self) -> dict[str, tuple[Fault, ...]]:
        """The faults that no request has met yet, by endpoint."""
        with self.service.lock:
            return {name: tuple(left) for name, left in self.service.faults.items() if left}

    def clear_plans(self) -> None:
        """Forget the faults that are planned."""
        with self.service.lock:
            self.service.faults.clear()

    @contextmanager
    def tasks_held(self) -> Iterator[None]:
        """Leave tasks as they are submitted until the end of the block."""
        self.service.edits.hold(True)
        try:
            yield
        finally:
            self.service.edits.hold(False)


class _Handler(BaseHTTPRequestHandler, ABC):
    protocol_version = "HTTP/1.1"
    timeout = 60
    service: Service

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name above
        log.debug("%s", re.sub(r"\?\S*", "?...", format % args))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server makes nothing of, as it asks to."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._unknown_method()
            return
        self.close_connection = True
        self.request_version = self.protocol_version  # perhaps not even that could be read
        self._unreadable(code, message or explain or "")

    @abstractmethod
    def _unknown_method(self) -> None:
        """Answer a method that there is none of here."""

    @abstractmethod
    def _unreadable(self, status: int, message: str) -> None:
        """Answer what is no HTTP, or too much of it."""

    def _fault(self, *endpoints: str) -> Fault:
        """What is planned for this request."""
        with self.service.lock:
            for endpoint in endpoints:
                if self.service.faults[endpoint]:
                    return self.service.faults[endpoint].pop(0)
        return Fault()

    def _reset(self) -> None:
        """Break the connection, as a network does."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _send(self, status: int, headers: Mapping[str, str], content: bytes, fault: Fault) -> None:
        with suppress(OSError):  # who has gone does not read it
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            if fault.retry_after:
                self.send_header("Retry-After", fault.retry_after)
            self.end_headers()
            if self.command == "HEAD":
                return
            content = content[: len(content) // 2] if fault.cut else content
            steps = min(len(content), 50) if fault.slow else 1
            for step in range(steps):
                self.service.closing.wait(fault.slow / steps)
                self.wfile.write(
                    content[len(content) * step // steps : len(content) * (step + 1) // steps]
                )
        self.close_connection |= fault.cut

    def _drain(self) -> None:
        """Take what is still sent, a while: unread, it would break the answer on its way."""
        until = time.monotonic() + LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER)
            while time.monotonic() < until and self.connection.recv(1 << 16):
                pass


class _Api(_Handler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        name = path.removeprefix(PREFIX)
        if not path.startswith(PREFIX) or name[:1] not in ("", "/"):
            self._answer("", "")
        elif name.strip("/"):
            self._answer("get-task", unquote(name.strip("/")))
        else:
            self._answer("list-tasks", query)

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        name = path.removeprefix(PREFIX)
        if path.startswith(PREFIX) and not name.strip("/"):
            self._answer("create-task", "")
        else:
            known = path.startswith(f"{PREFIX}/") and name.strip("/") in SELECTING
            self._answer(name.strip("/") if known else "", "")

    def _unknown_method(self) -> None:
        self._answer("", "")

    def _unreadable(self, status: int, message: str) -> None:
        self._reply(None, Refusal(1200, f"HTTP {int(status)}: {message}", 400), Fault())
        self._drain()

    def _answer(self, endpoint: str, rest: str) -> None:
        """Answer a request to an endpoint, or to none; `rest` is what its URL says beyond."""
        fault = self._fault(endpoint, "*")
        content = self._body()
        if fault.reset == "before":
            self._reset()
            return
        data, refusal = None, None
        try:
            if content is None:
                raise Refusal(
                    1200, f"a body needs its one Content-Length, of at most {MAX_BODY} bytes"
                )
            self.service.sign_in(self.headers.get("Authorization", ""))
            self.service.admit()
            refusal = fault.refusal()
            if not refusal or fault.works:
                data = self._work(endpoint, rest, content, fault)
        except Refusal as refused:
            refusal = refused
        except Stopped as stopped:
            refusal = Refusal(5001, str(stopped))
        except Exception:
            log.exception("%s failed", endpoint or self.command)
            refusal = Refusal(5000, "the emulator failed; see its log")
        if fault.reset == "after":
            self._reset()
            return
        self.service.closing.wait(fault.delay)
        self._reply(data, refusal, fault)
        if content is None:
            self._drain()

    def _reply(self, data: Any, refusal: Refusal | None, fault: Fault) -> None:
        envelope = {
            "code": refusal.code if refusal else 0,
            "message": refusal.message if refusal else "SUCCEED",
            "request_id": uuid.uuid4().hex,
            "data": None if refusal else data,
        }
        content = json.dumps(envelope).encode() if fault.body is None else fault.body
        status = refusal.status if refusal else fault.status or 200
        self._send(status, {"Content-Type": "application/json"}, content, fault)

    def _work(self, endpoint: str, rest: str, content: bytes, fault: Fault) -> Any:
        service = self.service
        if not endpoint:
            raise Refusal(1202)
        if endpoint == "list-tasks":
            return service.list_tasks(parse_qs(rest, keep_blank_values=True))
        if endpoint == "get-task":
            return service.get_task(rest)
        try:
            body = json.loads(content, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise Refusal(1200, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refusal(1200, "the body is not an object")
        if endpoint == "create-task":
            return service.create_task(body, fault.fails)
        return getattr(service, endpoint.replace("-", "_"))(body, fault.rejects)

    def _body(self) -> bytes | None:
        """The body, or None for one whose end is not known, is too far or does not come."""
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop()
        known = re.fullmatch(r"[0-9]{1,12}", length) and int(length) <= MAX_BODY
        if known and not lengths and "Transfer-Encoding" not in self.headers:
            content = self.rfile.read(int(length))
            if len(content) == int(length):
                return content
        self.close_connection = True
        return None


def _no_number(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


class _Cdn(_Handler):
    def do_GET(self) -> None:
        fault = self._fault("files")
        # A body is not for here: unread, it would be taken for the next request.
        self.close_connection |= bool({"Content-Length", "Transfer-Encoding"} & {*self.headers})
        path = self.service.file(self.path.partition("?")[0])
        if path is not None and path.suffix.lower() not in SERVED:
            path = None
        self.service.closing.wait(fault.delay)
        status = fault.status or 200
        if fault.reset:
            self._reset()
            return
        if path is None or status >= 300 or "Authorization" in self.headers:
            # A key is the API's alone: who sends it here has a fault to find.
            self._send(status if status >= 300 else 400 if path else 404, {}, b"", fault)
            return
        content = path.read_bytes() if fault.body is None else fault.body
        etag = f'"{path.name}-{len(content)}"'
        headers, start = {"ETag": etag, "Accept-Ranges": "bytes"}, 0
        span = re.fullmatch(r"bytes=([0-9]{1,18})-", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", etag) == etag and int(span[1]) < len(content):
            status, start = 206, int(span[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, headers, content[start:], fault)

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def _unknown_method(self) -> None:
        self.close_connection = True
        self._send(405, {"Allow": "GET, HEAD"}, b"", Fault())
        self._drain()

    def _unreadable(self, status: int, message: str) -> None:
        self._send(status, {"Content-Type": "text/plain"}, message.encode(), Fault())
        self._drain()


class _Server(ThreadingHTTPServer):
    """A server on loopback whose connections end with it.

    Its threads are daemons, as they may wait for a client; the work on pictures is
    done elsewhere: see `workers`.
    """

    request_queue_size = 128

    def __init__(self, port: int, handler: type[_Handler]) -> None:
        self._connections: dict[Any, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="klingmask-emulator-http", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("a connection ended early", exc_info=True)

    def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._lock:
            left = dict(self._connections)
        for request, thread in left.items():
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
            thread.join(LINGER)


@contextmanager
def running(
    *folders: str | PathLike[str],
    port: int = 0,
    api_key: str = API_KEY,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    webhook_secret: str = WEBHOOK_SECRET,
    parallel_tasks: int | None = None,
    rate_limit: tuple[int, float] | None = None,
) -> Iterator[Emulator]:
    """Run an emulator on loopback until the end of the block.

    What it still works at then ends with the frame at hand.

    Parameters
    ----------
    folders : path
        From which videos may be opened.
    port : int
        Of the API; 0 takes a free one. The files are on another, free one.
    api_key, access_key, secret_key, webhook_secret : str
        That are accepted, and that sign callbacks.
    parallel_tasks : int, optional
        How many tasks may be under way at once; one more is refused with 1303.
    rate_limit : (int, float), optional
        How many requests are answered in how many seconds; one more is refused
        with 1302.

    Yields
    ------
    Emulator
    """
    keys = {
        "api_key": api_key,
        "access_key": access_key,
        "secret_key": secret_key,
        "webhook_secret": webhook_secret,
    }
    service = Service([Path(folder) for folder in folders], keys, parallel_tasks, rate_limit)
    servers: list[_Server] = []
    try:
        for handler, number in ((_Cdn, 0), (_Api, port)):
            servers.append(
                _Server(number, type(handler.__name__, (handler,), {"service": service}))
            )
        for server in servers:
            server.start()
        cdn, api = (server.url for server in servers)
        service.cdn_url = cdn
        yield Emulator(service, api)
    finally:
        service.close()
        for server in servers:
            server.stop()
