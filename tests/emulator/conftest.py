"""An emulator with a clip, and clients of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from klingmask.emulator import Emulator, running
from klingmask.kling import KlingClient
from tests.clips import make_clip
from tests.emulator.http_client import OK, Api

SIDE = 720
FRAMES = 48


def square(index: int = 0) -> npt.NDArray[np.uint8]:
    """A red square on grey, which moves to the right."""
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    picture[300:420, 300 + 2 * index : 420 + 2 * index] = 220, 30, 40
    return picture


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
