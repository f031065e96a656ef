"""A small clip for all tests of videos."""

from pathlib import Path

import pytest

from tests.clips import greys, make_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames; frame i is of the grey 20 * i."""
    return make_clip(tmp_path / "clip.mp4", greys(range(0, 200, 20)))
