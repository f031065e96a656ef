"""What a report says of the run that it is made from."""

from typing import Any

from bench.peers import versions
from klingmask._rle import simd_level


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add what was timed to pytest-benchmark's JSON."""
    machine_info["simd_level"] = simd_level
    machine_info["versions"] = versions()
