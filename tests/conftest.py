"""Real masks for all tests, and the limits under which hypothesis searches."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import klingmask as km

SHARED = Path(__file__).parents[2] / "shared" / "data"

settings.register_profile(
    "default",
    max_examples=200,
    deadline=None,  # a shared machine pauses when it likes
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile("quick", settings.get_profile("default"), max_examples=20)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def shared_file(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{name}, which the public repository does not carry")
    return path


@pytest.fixture(scope="session")
def coco_results() -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads(
        shared_file("coco_val2014_fakesegm100.json").read_text()
    )
    return results


@pytest.fixture(scope="session")
def sav_file() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(shared_file("sav_000001_manual.json").read_text())
    return document


@pytest.fixture
def pixel_limit() -> Any:
    """A test that moves the limit leaves it where it was."""
    before = km.get_max_pixels()
    yield km.set_max_pixels
    km.set_max_pixels(before)


# A shell starts what goes on in the background deaf to SIGINT, and all that this starts in
# turn: then no test could interrupt anything.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # nohup ignores this one, and all that it starts in turn
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
