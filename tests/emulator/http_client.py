"""Plain HTTP to an emulator: what the client would not send can be sent."""

import base64
import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any, NamedTuple

import requests
from PIL import Image

from klingmask.emulator import Emulator

PATH = "/v1/videos/multi-elements"
MIB = 1 << 20

OK = (200, 0)
BAD = (400, 1201)
MISSING = (404, 1203)

CLICK = {"x": 0.5, "y": 0.5}
REMOVAL = {"edit_mode": "removal", "prompt": "Delete it from <<<video_1>>>"}
ADDITION = {"edit_mode": "addition", "prompt": "<<<video_1>>> <<<image_1>>>"}


def image(width: int = 300, height: int = 300, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (width, height), "blue").save(stream, kind, **options)
    return stream.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Answer(NamedTuple):
    """What came back."""

    status: int
    code: int
    message: str
    data: Any

    @property
    def verdict(self) -> tuple[int, int]:
        return self.status, self.code


class Api:
    """Plain HTTP to an emulator; every answer must be the documented envelope."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.url = emulator.base_url + PATH
        self.header = f"Bearer {emulator.api_key}"
        self.session_id = ""

    def ask(self, method: str, path: str, content: bytes | None = None) -> Answer:
        reply = requests.request(
            method,
            self.url + path,
            data=content,
            headers={"Authorization": self.header} if self.header else {},
            timeout=60,
        )
        envelope = reply.json()
        assert set(envelope) == {"code", "message", "request_id", "data"}
        assert isinstance(envelope["message"], str)
        assert envelope["request_id"]
        assert (envelope["code"] == 0) == (envelope["data"] is not None)
        return Answer(reply.status_code, envelope["code"], envelope["message"], envelope["data"])

    def get(self, path: str = "") -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, body: Any) -> Answer:
        return self.ask("POST", path, json.dumps(body).encode())

    def init(self, name: str = "square.mp4", **body: Any) -> Answer:
        url = self.emulator.url_of(self.emulator.folders[0] / name)
        answer = self.post("/init-selection", {"video_url": url} | body)
        if answer.code == 0:
            self.session_id = answer.data["session_id"]
        return answer

    def add(self, **body: Any) -> Answer:
        usual = {"session_id": self.session_id, "frame_index": 0, "points": [CLICK]}
        return self.post("/add-selection", usual | body)

    def delete(self, **body: Any) -> Answer:
        usual = {"session_id": self.session_id, "frame_index": 0, "points": [CLICK]}
        return self.post("/delete-selection", usual | body)

    def clear(self) -> Answer:
        return self.post("/clear-selection", {"session_id": self.session_id})

    def preview(self) -> Answer:
        return self.post("/preview-selection", {"session_id": self.session_id})

    def create(self, **body: Any) -> Answer:
        return self.post("", {"session_id": self.session_id} | REMOVAL | body)


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:g} s"
        time.sleep(0.02)


def ended(api: Api, name: str) -> Any:
    """The task, once it has ended."""
    eventually(lambda: api.get(f"/{name}").data["task_status"] in ("succeed", "failed"))
    return api.get(f"/{name}").data


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side ends; a reset ends it, too."""
    content = b""
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            content += piece
    return content


def exchange(url: str, content: bytes, *, ends: bool = True) -> tuple[int, bytes]:
    """Send bytes on a connection of its own; the status and the body that come back."""
    with connect(url) as connection:
        connection.sendall(content)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def request(emulator: Emulator, line: str, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request that is signed in."""
    lines = [line, "Host: x", f"Authorization: Bearer {emulator.api_key}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def head_of(method: str, path: str, *headers: str) -> bytes:
    """The bytes of a head that is not."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def code_of(body: bytes) -> int:
    envelope = json.loads(body)
    assert set(envelope) == {"code", "message", "request_id", "data"}
    code: int = envelope["code"]
    return code


class Peak:
    """The most memory that Python's objects took in a block, beyond what was there before."""

    bytes = 0


@contextmanager
def traced() -> Iterator[Peak]:
    peak = Peak()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
