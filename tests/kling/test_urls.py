"""URLs: which are refused, and how they are shown."""

from pathlib import Path
from typing import Any

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, download
from klingmask.kling.urls import shown_url
from tests.kling.server import Fault, Service


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.org\\@127.0.0.1/x",
        "http://evil.org\\\\@localhost",
        "http://127.0.0.1\\.evil.org",
        "http://127.0.0.1 .evil.org",
        "http://127.0.0.1\t.evil.org",
        "http://localhost@evil.org",
        "http://evil.org@localhost",
        "https://user:hidden@example.org",
        "https://example.org/?token=hidden",
        "https://example.org/#hidden",
        "https://example.org:port",
        "https://a..b/x",
        "https://.a/x",
        f"https://{'a' * 64}.org/x",
    ],
)
def test_urls_with_two_readings_or_secrets_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(kling.InvalidRequestError) as caught:
        KlingClient("key", base_url=url)
    assert "hidden" not in str(caught.value)
    if "example.org/" not in url:  # a query is what results have
        with pytest.raises(kling.BadReplyError) as refused:
            download.download(url, tmp_path / "a.mp4")
        assert "hidden" not in str(refused.value)


def test_plain_http_is_for_this_machine_alone() -> None:
    for url in (
        "http://example.org",
        "ftp://example.org",
        "example.org",
        "http://localhost.evil.org",
    ):
        with pytest.raises(kling.InvalidRequestError, match="https"):
            KlingClient("key", base_url=url)


@pytest.mark.parametrize("url", [5, b"https://a.org", Path("a.org")])
def test_a_base_url_is_a_text(url: Any) -> None:
    with pytest.raises(kling.InvalidRequestError, match="base URL must be a text, got"):
        KlingClient("key", base_url=url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("example.org", "example.org"),
        ("example.org/v1?key=hidden", "example.org/v1"),
        ("localhost:8000", "localhost:8000"),
        ("127.0.0.1:8000/x", "127.0.0.1:8000/x"),
        ("//example.org/x", "//example.org/x"),
        ("/x", "/x"),
        ("x/y#hidden", "x/y"),
        ("?hidden", ""),
        ("", ""),
        ("HTTPS://Example.org:80/X?hidden", "HTTPS://Example.org:80/X"),
        ("https://user:hidden@example.org/x", "https://example.org/x"),
        ("user:hidden@example.org", "example.org"),
        ("//hidden@example.org", "//example.org"),
        ("https://us/er:hidden@example.org", "https://example.org"),
        ("https://[::1]:5/x", "https://[::1]:5/x"),
        ("https://[::1", "a URL that cannot be read"),
        ("https://a.org/\ud800", "a URL that cannot be read"),
        ("https://a.org/\x1b[2J", "a URL that cannot be read"),
        ("https://a.org/" + "x" * 10**5, "https://a.org/" + "x" * 286),
    ],
)
def test_a_url_is_shown_as_it_was_given(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("url", "quoted"),
    [
        ("example.org", "got 'example.org'"),
        ("localhost:8000", "got 'localhost:8000'"),
        ("//example.org", "got '//example.org'"),
        ("user:hidden@example.org", "got 'example.org'"),
        ("/v1", "got '/v1'"),
    ],
)
def test_a_base_url_without_a_scheme_is_quoted(url: str, quoted: str) -> None:
    with pytest.raises(kling.InvalidRequestError, match="an https URL") as caught:
        KlingClient("a-key-for-tests", base_url=url)
    assert quoted in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("/x?sign=hidden", "a redirect to /x, which"),
        ("//evil.org/x", "a redirect to //evil.org/x, which"),
        ("https://evil.org?sign=hidden", "a redirect to https://evil.org, which"),
        ("x", "a redirect to x, which"),
        ("", "a redirect to nowhere, which"),
        ("http://[::1", "a redirect to a URL that cannot be read, which"),
    ],
)
def test_a_redirect_is_told_as_it_came(
    service: Service, client: KlingClient, target: str, told: str
) -> None:
    service.faults["*"].append(Fault(307, 0, headers={"Location": target}))
    with pytest.raises(kling.BadReplyError) as caught:
        client.list_tasks()
    assert told in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_callback_url_is_quoted(client: KlingClient) -> None:
    with pytest.raises(kling.InvalidRequestError, match=r"got example\.org/told"):
        client.create_task("s", "removal", "<<<video_1>>>", callback_url="example.org/told")
