"""The fixture that users import."""

from klingmask.emulator import Emulator
from klingmask.kling import KlingClient

pytest_plugins = ["klingmask.emulator.pytest_plugin"]


def test_the_fixture(kling_emulator: Emulator) -> None:
    with KlingClient() as client:
        assert client.list_tasks() == []
    assert repr(client) == f"KlingClient({kling_emulator.base_url!r})"
