"""Log lines: what a program with logging sees, and one without it."""

import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
import requests

from klingmask import kling
from klingmask.kling import KlingClient, download
from tests.kling.raw_server import OK, answering, says
from tests.kling.server import PREFIX, Fault, Service

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


def test_each_attempt_is_logged(
    service: Service, make: Callable[..., KlingClient], caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that ends without a reply and is not repeated."""
    caplog.set_level(logging.DEBUG, "klingmask")
    faults = [Fault(reset="after"), Fault(delay=1.3), Fault(cut=True), Fault(429, 1302), Fault()]
    with make() as client:
        for fault in faults:
            caplog.clear()
            service.faults["*"] = [fault]
            with suppress(kling.KlingError):
                client.init_selection(video_id="v")
            attempts = 2 if fault.status == 429 else 1
            lines = [record.getMessage() for record in caplog.records]
            assert sum(line.startswith(f"POST {PREFIX}/init") for line in lines) == attempts


def test_the_logs_of_others_are_left_alone(
    service: Service, client: KlingClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.list_tasks()
    requests.get(f"{service.cdn_url}/result.mp4?mine=1", timeout=5)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert sum("multi-elements?[...]" in line for line in lines) == 1
    assert sum("/result.mp4?mine=1" in line for line in lines) == 1


def test_headers_that_are_none_put_no_signature_into_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with answering(says(OK + b"no header\r\nContent-Length: 3\r\n\r\nabc")) as url:
        assert download.fetch(f"{url}/a.json?sign=hidden") == b"abc"
    assert "Failed to parse headers" in caplog.text
    assert "hidden" not in caplog.text
