"""The service over TLS: certificates that are checked, and streams that break."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from klingmask import kling
from klingmask.kling import KlingClient
from tests.kling.samples import REMOVAL
from tests.kling.server import Fault, Service, running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def service(authority: trustme.CA) -> Iterator[Service]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with running(context) as service:
        yield service


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("unique", [False, True], ids=["any id", "unique ids"])
def test_a_reply_that_breaks_in_the_tls_layer(
    service: Service, client: KlingClient, unique: bool
) -> None:
    """The task was made before: it is looked for, and neither made again nor lost."""
    service.unique = unique
    service.faults["POST /"].append(Fault(reset="garbled"))
    task = client.create_task("s", "removal", REMOVAL)
    assert service.created == [task.external_task_id]
    assert [request.method for request in service.requests] == ["POST", "GET"]


def test_a_certificate_of_nobody_is_refused(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    """On this machine too: nothing is sent, so nobody has to look for a task."""
    with make(retry_for=0.2) as client, pytest.raises(kling.RequestConnectionError) as caught:
        client.create_task("s", "removal", REMOVAL)
    assert "certificate" in str(caught.value).lower()
    assert service.requests == []
