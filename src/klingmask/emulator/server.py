"""HTTP around the emulated service: the API on one port, its files on another."""

import json
import logging
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from klingmask.emulator.service import Fault, Refusal, Service

__all__ = ["Emulator", "running"]

log = logging.getLogger("klingmask.emulator")

PREFIX = "/v1/videos/multi-elements"
ENDPOINTS = (
    "init-selection",
    "add-selection",
    "delete-selection",
    "clear-selection",
    "preview-selection",
)
MAX_BODY = 64 << 20  # bytes
SERVED = (".mp4", ".mov", ".png", ".jpg", ".jpeg", ".json")

API_KEY = "emulator-api-key"
ACCESS_KEY = "emulator-access-key"
SECRET_KEY = "emulator-secret-key-of-32-bytes-at-least"  # noqa: S105 - of nobody's account
WEBHOOK_SECRET = "whsec_ZW11bGF0b3Itd2ViaG9vay1zZWNyZXQ="  # noqa: S105


class Emulator:
    """A running emulator; made by `running`.

    Attributes
    ----------
    base_url, cdn_url : str
        Of the API, and of the files that its replies point at.
    api_key, access_key, secret_key, webhook_secret : str
        That sign in, and that sign callbacks.
    service : Service
        Its state.
    """

    def __init__(self, service: Service, base_url: str) -> None:
        self.service = service
        self.base_url = base_url
        self.cdn_url = service.cdn_url
        self.api_key = service.keys["api_key"]
        self.access_key = service.keys["access_key"]
        self.secret_key = service.keys["secret_key"]
        self.webhook_secret = service.keys["webhook_secret"]

    def url_of(self, path: str | PathLike[str]) -> str:
        """Return the URL of a file in one of the folders, as init_selection takes it."""
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
        with self.service.lock:
            self.service.faults[endpoint].extend(faults)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    service: Service

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name above
        log.debug("%s", re.sub(r"\?\S*", "?...", format % args))

    def _fault(self, *endpoints: str) -> Fault:
        """What is planned for this request."""
        with self.service.lock:
            for endpoint in endpoints:
                if self.service.faults[endpoint]:
                    return self.service.faults[endpoint].pop(0)
        return Fault()

    def _reset(self) -> None:
        """Break the connection, as a network does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _send(self, status: int, headers: Mapping[str, str], content: bytes, fault: Fault) -> None:
        with suppress(OSError):  # who has gone does not read it
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if fault.retry_after:
                self.send_header("Retry-After", fault.retry_after)
            self.end_headers()
            content = content[: len(content) // 2] if fault.cut else content
            steps = min(len(content), 50) if fault.slow else 1
            for step in range(steps):
                time.sleep(fault.slow / steps)
                self.wfile.write(
                    content[len(content) * step // steps : len(content) * (step + 1) // steps]
                )
        self.close_connection |= fault.cut


class _Api(_Handler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        name = parts.path.removeprefix(PREFIX).strip("/")
        if self.command == "POST":
            endpoint = name or "create-task"
        else:
            endpoint = "get-task" if name else "list-tasks"
        fault = self._fault(endpoint, "*")
        refusal = fault.refusal()
        content = self._body()
        if content is None or fault.reset == "before":
            self._reset()
            return
        try:
            self.service.sign_in(self.headers.get("Authorization", ""))
            if refusal and not fault.works:
                raise refusal
            data = self._work(endpoint, name, content, parse_qs(parts.query))
            if refusal:
                raise refusal
            status, code, message = 200, 0, "SUCCEED"
        except Refusal as refusal:
            data = None
            status, code, message = refusal.status, refusal.code, refusal.message
        except Exception:
            log.exception("%s failed", endpoint)
            data, status, code, message = None, 500, 5000, "the emulator failed; see its log"
        if fault.reset == "after":
            self._reset()
            return
        time.sleep(fault.delay)
        envelope = {"code": code, "message": message, "request_id": uuid.uuid4().hex, "data": data}
        answer = json.dumps(envelope).encode() if fault.body is None else fault.body
        self._send(status, {"Content-Type": "application/json"}, answer, fault)

    def _work(self, endpoint: str, name: str, content: bytes, query: dict[str, list[str]]) -> Any:
        service = self.service
        if not (urlsplit(self.path).path + "/").startswith(PREFIX + "/"):
            raise Refusal(404, 1202, "no such method")
        if endpoint == "list-tasks":
            return service.list_tasks(query)
        if endpoint == "get-task":
            return service.get_task(unquote(name))
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise Refusal(400, 1200, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refusal(400, 1200, "the body is not an object")
        if endpoint == "create-task":
            return service.create_task(body)
        if endpoint not in ENDPOINTS:
            raise Refusal(404, 1202, "no such method")
        return getattr(service, endpoint.replace("-", "_"))(body)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return None
        return self.rfile.read(int(length))


class _Cdn(_Handler):
    def do_GET(self) -> None:
        fault = self._fault("files")
        path = self.service.file(urlsplit(self.path).path)
        if path is not None and path.suffix.lower() not in SERVED:
            path = None
        time.sleep(fault.delay)
        if fault.reset:
            self._reset()
            return
        if path is None or fault.status >= 300 or "Authorization" in self.headers:
            # A key is the API's alone: who sends it here has a fault to find.
            status = fault.status if fault.status >= 300 else 404 if path is None else 400
            self._send(status, {}, b"", fault)
            return
        content = path.read_bytes() if fault.body is None else fault.body
        etag = f'"{path.name}-{len(content)}"'
        headers, status, start = {"ETag": etag}, 200, 0
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", etag) == etag and int(span[1]) < len(content):
            status, start = 206, int(span[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, headers, content[start:], fault)


@contextmanager
def running(
    *folders: str | PathLike[str],
    port: int = 0,
    api_key: str = API_KEY,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    webhook_secret: str = WEBHOOK_SECRET,
    parallel_tasks: int | None = None,
) -> Iterator[Emulator]:
    """Run an emulator on loopback until the end of the block.

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
    service = Service([Path(folder) for folder in folders], keys, parallel_tasks)
    servers: list[ThreadingHTTPServer] = []
    try:
        for handler, number in ((_Cdn, 0), (_Api, port)):
            server = ThreadingHTTPServer(
                ("127.0.0.1", number), type(handler.__name__, (handler,), {"service": service})
            )
            server.daemon_threads = True
            servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        cdn, api = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
        service.cdn_url = cdn
        yield Emulator(service, api)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        service.close()
