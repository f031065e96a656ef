"""An emulator, spoken to by plain HTTP: what the client would not send can be sent."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import requests
from PIL import Image

from klingmask.emulator import Emulator, running
from klingmask.kling import KlingClient
from tests.clips import make_clip

SIDE = 720
FRAMES = 48
CLICK = {"x": 0.5, "y": 0.5}
OK = (200, 0)
BAD = (400, 1201)
MISSING = (404, 1203)

REMOVAL = {"edit_mode": "removal", "prompt": "Delete it from <<<video_1>>>"}


def square(index: int = 0) -> npt.NDArray[np.uint8]:
    """A red square on grey, which moves to the right."""
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    picture[300:420, 300 + 2 * index : 420 + 2 * index] = 220, 30, 40
    return picture


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
        self.url = f"{emulator.base_url}/v1/videos/multi-elements"
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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emulated")
    make_clip(folder / "square.mp4", map(square, range(FRAMES)), rate=24)
    (folder.parent / "outside.mp4").write_bytes((folder / "square.mp4").read_bytes())
    return folder


@pytest.fixture
def emulator(folder: Path) -> Iterator[Emulator]:
    with running(folder) as emulator:
        yield emulator


@pytest.fixture
def api(emulator: Emulator) -> Api:
    """With a session, and nothing marked."""
    api = Api(emulator)
    assert api.init().verdict == OK
    return api


@pytest.fixture
def client(emulator: Emulator) -> Iterator[KlingClient]:
    with KlingClient(emulator.api_key, base_url=emulator.base_url, retry_for=10) as client:
        yield client
