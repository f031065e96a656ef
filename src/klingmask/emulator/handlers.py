"""The two ports of the emulator: from HTTP requests to the service's methods and files."""

import json
import logging
import os
import re
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any, BinaryIO, Never
from urllib.parse import parse_qs, unquote

from klingmask.emulator.connections import BodyError, Handler, TooManyBodiesError
from klingmask.emulator.faults import Fault, Refusal
from klingmask.emulator.service import Service
from klingmask.emulator.workers import Stopped

__all__ = ["PLANNED", "ApiHandler", "FileHandler"]

log = logging.getLogger("klingmask.emulator")

PREFIX = "/v1/videos/multi-elements"
SELECTION_ENDPOINTS = (
    "init-selection",
    "add-selection",
    "delete-selection",
    "clear-selection",
    "preview-selection",
)
TASK_ENDPOINTS = ("create-task", "get-task", "list-tasks")
PLANNED = (*SELECTION_ENDPOINTS, *TASK_ENDPOINTS, "*", "files")
"""The endpoints for which faults can be planned."""
SERVED_SUFFIXES = (".mp4", ".mov", ".png", ".jpg", ".jpeg", ".json")

BODY_BYTES = 1 << 20
"""Limit of a request's body."""
CREATE_BODY_BYTES = 32 << 20
"""The same for create-task, whose body may hold two images of 10 MB in base64."""
JSON_VALUES = 100_000
"""Limit of the values in a body: as objects, small values take twenty times their text."""


class _Handler(Handler):
    service: Service

    def _fault(self, *endpoints: str) -> Fault:
        """Take the fault that is planned for this request, if any."""
        with self.service.lock:
            for endpoint in endpoints:
                if self.service.faults[endpoint]:
                    return self.service.faults[endpoint].pop(0)
        return Fault()

    def pause(self, seconds: float) -> None:
        self.service.closing.wait(seconds)


class ApiHandler(_Handler):
    """The API."""

    @classmethod
    def full_reply(cls) -> bytes:
        """Make a refusal in the documented envelope."""
        refusal = Refusal(5001, "the emulator has as many connections as it takes")
        content = _envelope(None, refusal)
        head = (
            f"HTTP/1.1 {refusal.status} Service Unavailable\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            "Retry-After: 1\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + content

    def do_GET(self) -> None:
        """Reply to get-task and list-tasks."""
        path, _, query = self.path.partition("?")
        name = path.removeprefix(PREFIX)
        if not path.startswith(PREFIX) or name[:1] not in ("", "/"):
            self._handle("", "")
        elif name.strip("/"):
            self._handle("get-task", unquote(name.strip("/")))
        else:
            self._handle("list-tasks", query)

    def do_POST(self) -> None:
        """Reply to create-task and to the selection endpoints."""
        path = self.path.partition("?")[0]
        name = path.removeprefix(PREFIX)
        if path.startswith(PREFIX) and not name.strip("/"):
            self._handle("create-task", "")
        else:
            known = path.startswith(f"{PREFIX}/") and name.strip("/") in SELECTION_ENDPOINTS
            self._handle(name.strip("/") if known else "", "")

    def unknown_method(self) -> None:
        """Refuse with code 1202."""
        self._handle("", "")

    def unreadable(self, status: int, message: str) -> None:
        """Refuse with code 1200."""
        self._reply(None, Refusal(1200, f"HTTP {int(status)}: {message}", 400), Fault())

    def _handle(self, endpoint: str, rest: str) -> None:
        """Reply to a request.

        What can be refused by the head alone costs no memory: its body is not read.

        Parameters
        ----------
        endpoint : str
            Empty if there is no such endpoint.
        rest : str
            The task's id or the query, where the endpoint has one.
        """
        fault = self._fault(endpoint, "*")
        data, refusal = None, None
        try:
            self.service.sign_in(self.headers.get("Authorization", ""))
            self.service.admit()
            with self.body(CREATE_BODY_BYTES if endpoint == "create-task" else BODY_BYTES) as body:
                refusal = fault.refusal()
                if fault.reset != "before" and (not refusal or fault.works):
                    data = self._call(endpoint, rest, body, fault)
        except Refusal as refused:
            refusal = refused
        except BodyError as error:
            refusal = Refusal(1200, str(error))
        except (Stopped, TooManyBodiesError) as error:
            refusal = Refusal(5001, str(error))
        except Exception:
            log.exception("%s failed", endpoint or self.command)
            refusal = Refusal(5000, "the emulator failed; see its log")
        if fault.reset:
            self.reset()
            return
        self.pause(fault.delay)
        self._reply(data, refusal, fault)

    def _reply(self, data: Any, refusal: Refusal | None, fault: Fault) -> None:
        content = _envelope(data, refusal) if fault.body is None else fault.body
        status = refusal.status if refusal else fault.status or 200
        headers = {"Content-Type": "application/json"}
        if fault.retry_after:
            headers["Retry-After"] = fault.retry_after
        self.send(status, headers, BytesIO(content), len(content), cut=fault.cut, slow=fault.slow)

    def _call(self, endpoint: str, rest: str, content: bytes, fault: Fault) -> Any:
        service = self.service
        if not endpoint:
            raise Refusal(1202)
        if endpoint == "list-tasks":
            return service.list_tasks(parse_qs(rest, keep_blank_values=True))
        if endpoint == "get-task":
            return service.get_task(rest)
        body = _object(content)
        if endpoint == "create-task":
            return service.create_task(body, fault.fails)
        return getattr(service, endpoint.replace("-", "_"))(body, fault.rejects)


def _envelope(data: Any, refusal: Refusal | None) -> bytes:
    envelope = {
        "code": refusal.code if refusal else 0,
        "message": refusal.message if refusal else "SUCCEED",
        "request_id": uuid.uuid4().hex,
        "data": None if refusal else data,
    }
    return json.dumps(envelope).encode()


def _object(content: bytes) -> dict[str, Any]:
    """Parse a body, which must be a JSON object."""
    if sum(map(content.count, (b",", b":", b"[", b"{"))) > JSON_VALUES:
        raise Refusal(1200, f"the body has more than {JSON_VALUES} values")
    try:
        body = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(1200, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(1200, "the body is not an object")
    return body


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


class FileHandler(_Handler):
    """The files that the API's replies point at."""

    @classmethod
    def full_reply(cls) -> bytes:
        """Make a reply without a body."""
        return (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
            b"Retry-After: 1\r\nConnection: close\r\n\r\n"
        )

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        fault = self._fault("files")
        path = self.service.file(self.path.partition("?")[0])
        self.pause(fault.delay)
        if fault.reset:
            self.reset()
            return
        status = fault.status or HTTPStatus.OK
        if status < 300 and (path is None or path.suffix.lower() not in SERVED_SUFFIXES):
            status = HTTPStatus.NOT_FOUND
        elif status < 300 and "Authorization" in self.headers:
            # Keys are for the API only: a client that sends one here leaks it.
            status = HTTPStatus.BAD_REQUEST
        try:
            if status < 300 and path is not None:
                with path.open("rb") if fault.body is None else BytesIO(fault.body) as content:
                    self._reply_file(status, path.name, content, fault)
                return
        except OSError:  # the file has just been deleted
            status = HTTPStatus.NOT_FOUND
        self._reply(status, fault)

    do_HEAD = do_GET

    def _reply_file(self, status: int, name: str, content: BinaryIO, fault: Fault) -> None:
        length = content.seek(0, os.SEEK_END)
        etag = f'"{name}-{length}"'
        headers, start = {"ETag": etag, "Accept-Ranges": "bytes"}, 0
        wanted = re.fullmatch(r"bytes=([0-9]{1,18})-", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range", etag) == etag and int(wanted[1]) < length:
            status, start = HTTPStatus.PARTIAL_CONTENT, int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{length - 1}/{length}"
        content.seek(start)
        self._reply(status, fault, headers, content, length - start)

    def _reply(
        self,
        status: int,
        fault: Fault,
        headers: Mapping[str, str] | None = None,
        content: BinaryIO | None = None,
        length: int = 0,
    ) -> None:
        headers = dict(headers or {})
        if fault.retry_after:
            headers["Retry-After"] = fault.retry_after
        content = content or BytesIO()
        self.send(status, headers, content, length, cut=fault.cut, slow=fault.slow)

    def unknown_method(self) -> None:
        """Refuse, and name the methods that exist."""
        self.unread = True
        self._reply(HTTPStatus.METHOD_NOT_ALLOWED, Fault(), {"Allow": "GET, HEAD"})

    def unreadable(self, status: int, message: str) -> None:
        """Refuse in plain text."""
        content = message.encode()
        headers = {"Content-Type": "text/plain"}
        self._reply(status, Fault(), headers, BytesIO(content), len(content))
