"""A folder with the command line in it, the service, and its emulator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from klingmask import emulator as emulation
from tests.cli.shell import Shell, make_clip_of_a_square
from tests.kling.server import Service, running


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulation.Emulator]:
    """An emulator that the command line finds, and a clip of a square for it."""
    make_clip_of_a_square(tmp_path / "clip.mp4")
    with emulation.running(tmp_path) as emulator:
        monkeypatch.setenv("KLING_API_KEY", emulator.api_key)
        monkeypatch.setenv("KLING_BASE_URL", emulator.base_url)
        yield emulator
