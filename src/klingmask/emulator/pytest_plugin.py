"""A fixture for users' own tests: ``pytest_plugins = ["klingmask.emulator.pytest_plugin"]``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from klingmask.emulator import Emulator, running


@pytest.fixture
def kling_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Run an emulator that opens videos of `tmp_path`, with KLING_API_KEY and URL set to it."""
    with running(tmp_path) as emulator:
        monkeypatch.setenv("KLING_API_KEY", emulator.api_key)
        monkeypatch.setenv("KLING_BASE_URL", emulator.base_url)
        yield emulator
