"""What the emulator's two ports reply: the API, and its files."""

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
SELECTING = (
    "init-selection",
    "add-selection",
    "delete-selection",
    "clear-selection",
    "preview-selection",
)
TASKS = ("create-task", "get-task", "list-tasks")
PLANNED = (*SELECTING, *TASKS, "*", "files")
"""The endpoints for which faults can be planned."""
SERVED = (".mp4", ".mov", ".png", ".jpg", ".jpeg", ".json")

BODY_BYTES = 1 << 20
"""Of a request's body."""
CREATE_BODY_BYTES = 32 << 20
"""Of create-task's, which may hold two images of 10 MB in base64."""
JSON_VALUES = 100_000
"""In a body. A list of a body's size would take twenty times its bytes in memory."""


class _Handler(Handler):
    service: Service

    def _fault(self, *endpoints: str) -> Fault:
        """What is planned for this request."""
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
        """A refusal in the documented envelope."""
        refusal = Refusal(5001, "the emulator has as many connections as it takes")
        content = _envelope(None, refusal)
        head = (
            f"HTTP/1.1 {refusal.status} Service Unavailable\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            "Retry-After: 1\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + content

    def do_GET(self) -> None:
        """Show a task, or list them."""
        path, _, query = self.path.partition("?")
        name = path.removeprefix(PREFIX)
        if not path.startswith(PREFIX) or name[:1] not in ("", "/"):
            self._answer("", "")
        elif name.strip("/"):
            self._answer("get-task", unquote(name.strip("/")))
        else:
            self._answer("list-tasks", query)

    def do_POST(self) -> None:
        """Create a task, or change a selection."""
        path = self.path.partition("?")[0]
        name = path.removeprefix(PREFIX)
        if path.startswith(PREFIX) and not name.strip("/"):
            self._answer("create-task", "")
        else:
            known = path.startswith(f"{PREFIX}/") and name.strip("/") in SELECTING
            self._answer(name.strip("/") if known else "", "")

    def unknown_method(self) -> None:
        """Refuse, as the platform's table says."""
        self._answer("", "")

    def unreadable(self, status: int, message: str) -> None:
        """Refuse what is no HTTP."""
        self._reply(None, Refusal(1200, f"HTTP {int(status)}: {message}", 400), Fault())

    def _answer(self, endpoint: str, rest: str) -> None:
        """Answer a request to an endpoint, or to none; `rest` is what its URL says beyond.

        A request that is refused by its head alone costs no memory: its body is not read.
        """
        fault = self._fault(endpoint, "*")
        data, refusal = None, None
        try:
            self.service.sign_in(self.headers.get("Authorization", ""))
            self.service.admit()
            with self.body(CREATE_BODY_BYTES if endpoint == "create-task" else BODY_BYTES) as body:
                refusal = fault.refusal()
                if fault.reset != "before" and (not refusal or fault.works):
                    data = self._work(endpoint, rest, body, fault)
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

    def _work(self, endpoint: str, rest: str, content: bytes, fault: Fault) -> Any:
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
    """The JSON object of a body."""
    if sum(map(content.count, (b",", b":", b"[", b"{"))) > JSON_VALUES:
        raise Refusal(1200, f"the body has more than {JSON_VALUES} values")
    try:
        body = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refusal(1200, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(1200, "the body is not an object")
    return body


def _no_number(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


class FileHandler(_Handler):
    """The files that the API's replies point at."""

    @classmethod
    def full_reply(cls) -> bytes:
        """No more than a status."""
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
        if status < 300 and (path is None or path.suffix.lower() not in SERVED):
            status = HTTPStatus.NOT_FOUND
        elif status < 300 and "Authorization" in self.headers:
            # A key is the API's alone: who sends it here has a fault to find.
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
        span = re.fullmatch(r"bytes=([0-9]{1,18})-", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", etag) == etag and int(span[1]) < length:
            status, start = HTTPStatus.PARTIAL_CONTENT, int(span[1])
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
        """Say which methods there are."""
        self.unread = True
        self._reply(HTTPStatus.METHOD_NOT_ALLOWED, Fault(), {"Allow": "GET, HEAD"})

    def unreadable(self, status: int, message: str) -> None:
        """Say what is wrong, in text."""
        content = message.encode()
        headers = {"Content-Type": "text/plain"}
        self._reply(status, Fault(), headers, BytesIO(content), len(content))
