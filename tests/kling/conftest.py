"""The stand-in service, and clients of it that do not wait long."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from klingmask.kling import EditSession, KlingClient, transport
from tests.kling.samples import POINT
from tests.kling.server import Service, running


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "ACCESS_KEY", "SECRET_KEY", "BASE_URL"):
        monkeypatch.delenv(f"KLING_{name}", raising=False)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fiftieth of the real ones."""
    real = transport.pause
    monkeypatch.setattr(transport, "pause", lambda error, attempt: real(error, attempt) / 50)


@pytest.fixture
def make(service: Service) -> Callable[..., KlingClient]:
    """A client that does not wait long."""

    def client(**options: Any) -> KlingClient:
        options = {
            "api_key": None if "access_key" in options else service.api_key,
            "base_url": service.base_url,
            "timeout": (2.0, 1.0),
            "retry_for": 8.0,
            "settle": 0.6,
        } | options
        return KlingClient(**options)

    return client


@pytest.fixture
def client(make: Callable[..., KlingClient]) -> Iterator[KlingClient]:
    with make() as client:
        yield client


@pytest.fixture
def edit(client: KlingClient) -> EditSession:
    """A session on a video of which nothing is selected yet."""
    return client.edit_video(video_url="https://example.org/clip.mp4")


@pytest.fixture
def marked(edit: EditSession) -> EditSession:
    """The same session with a point on its first frame."""
    edit.add_selection(0, [POINT])
    return edit
