"""What a program without logging sees, and one that has it."""

import subprocess
import sys

from tests.kling.server import Fault, Service

CODE = """
import sys
from klingmask.kling import KlingClient, transport
transport.pause = lambda *_: 0.01
print(KlingClient(sys.argv[1], base_url=sys.argv[2]).list_tasks())
"""


def run(service: Service, before: str = "") -> tuple[str, str]:
    service.faults["*"] = [Fault(503, 5001), Fault(reset="after"), Fault(429, 1302)]
    ran = subprocess.run(
        [sys.executable, "-c", before + CODE, service.api_key, service.base_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout.strip(), ran.stderr


def test_a_program_without_logging_prints_nothing(service: Service) -> None:
    assert run(service) == ("[]", "")
    assert len(service.requests) == 4


def test_a_program_with_logging_sees_the_retries(service: Service) -> None:
    _, lines = run(service, "import logging; logging.basicConfig()\n")
    assert lines.count("WARNING:klingmask.kling:attempt") == 3
