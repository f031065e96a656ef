"""Files from the service's CDN: without keys, resumed, whole or not at all."""

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Never
from urllib.parse import urljoin

import requests
import tenacity
from tqdm import tqdm

from klingmask.kling.errors import BadReplyError, RequestConnectionError
from klingmask.kling.transport import anonymous_session, check_url, is_loopback, pieces, shown_url

__all__ = ["download", "fetch"]

log = logging.getLogger("klingmask.kling")

TIMEOUT = (10.0, 60.0)
MAX_FETCH = 256 << 20  # bytes that are read into memory
MAX_DOWNLOAD = 8 << 30
MAX_REDIRECTS = 5
MIN_RATE = 1024.0  # bytes a second, on average after the first minute
GRACE = 60.0  # seconds


def fetch(url: str, *, attempts: int = 5) -> bytes:
    """Read a file into memory."""
    content = bytearray()

    def take(session: requests.Session) -> None:
        content.clear()
        with _get(session, url, {}) as response:
            _refuse(response, url)
            for piece in _flowing(response, url, MAX_FETCH):
                content.extend(piece)
            _check_length(response, len(content), url)

    _retry(take, url, attempts)
    return bytes(content)


def download(
    url: str, path: str | PathLike[str], *, progress: bool = False, attempts: int = 8
) -> Path:
    """Save a file: streamed to a name beside `path`, and moved there when it is whole."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} for {target.name}")
    part = target.with_name(f"{target.name}.part-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with (
            part.open("wb") as file,
            _bar(target.name, progress) as bar,
        ):
            state = _Download(url, file, bar)
            _retry(state.go_on, url, attempts)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _bar(name: str, progress: bool) -> "tqdm[Never]":
    return tqdm(unit="B", unit_scale=True, desc=name, disable=not progress)


class _Download:
    """How far a download is."""

    def __init__(self, url: str, file: BinaryIO, bar: "tqdm[Never]") -> None:
        self.url, self.file, self.bar = url, file, bar
        self.etag: str | None = None
        self.total: int | None = None

    def go_on(self, session: requests.Session) -> None:
        """Take it up where it broke off, or from the start if the file is another one."""
        done = self.file.tell()
        headers = {}
        if done and self.etag:
            headers = {"Range": f"bytes={done}-", "If-Range": self.etag}
        with _get(session, self.url, headers) as response:
            if headers and response.status_code == 416:
                self._again("the rest of it is refused")
            _refuse(response, self.url, asked_for_part=bool(headers))
            if response.status_code == 206:
                start, total = _content_range(response, self.url)
                if start != done or (self.total is not None and total not in (None, self.total)):
                    self._again(f"asked from {done} of {self.total}, got {start} of {total}")
                self.total = total if self.total is None else self.total
            else:
                self.file.seek(0)
                self.file.truncate()
                self.total = _length(response)
                self.etag = _strong_etag(response)
            self.bar.total = self.total
            self.bar.n = self.file.tell()
            for piece in _flowing(response, self.url, MAX_DOWNLOAD - self.file.tell()):
                self.file.write(piece)
                self.bar.update(len(piece))
        if self.total is not None and self.file.tell() != self.total:
            raise RequestConnectionError(
                f"{shown_url(self.url)}: {self.file.tell()} of {self.total} bytes came"
            )
        if self.file.tell() == 0:
            raise BadReplyError(f"{shown_url(self.url)} is empty")

    def _again(self, reason: str) -> Never:
        """From the start, with the next attempt."""
        self.etag = None
        raise RequestConnectionError(f"{shown_url(self.url)}: {reason}")


def _get(session: requests.Session, url: str, headers: Mapping[str, str]) -> requests.Response:
    """A GET that follows redirects as long as they stay on https."""
    local = is_loopback(check_url(url, "a result's URL"))
    for _ in range(MAX_REDIRECTS + 1):
        if is_loopback(check_url(url, "a result's URL")) and not local:
            raise BadReplyError(f"a redirect to this machine, {shown_url(url)}, is not followed")
        response = session.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            timeout=TIMEOUT,
        )
        if response.status_code not in (301, 302, 303, 307, 308):
            return response
        target = response.headers.get("Location", "")
        response.close()
        try:
            url = urljoin(url, target)
        except ValueError:
            raise BadReplyError(f"{shown_url(url)}: a redirect that cannot be read") from None
    raise BadReplyError(f"{shown_url(url)}: more than {MAX_REDIRECTS} redirects")


def _flowing(response: requests.Response, url: str, limit: int) -> Iterator[bytes]:
    """The body, as long as it keeps coming and is not over the limit."""
    started, taken = time.monotonic(), 0
    for piece in pieces(response):
        taken += len(piece)
        if taken > limit:
            raise BadReplyError(f"{shown_url(url)} has more than {limit} bytes to come")
        if time.monotonic() - started > GRACE + taken / MIN_RATE:
            raise RequestConnectionError(f"{shown_url(url)}: {taken} bytes in {GRACE:g} s or more")
        yield piece


def _refuse(response: requests.Response, url: str, *, asked_for_part: bool = False) -> None:
    if response.status_code == 200 or (response.status_code == 206 and asked_for_part):
        return
    passing = response.status_code >= 500 or response.status_code in (408, 429)
    kind = RequestConnectionError if passing else BadReplyError
    raise kind(f"{shown_url(url)} cannot be had; results live 30 days", status=response.status_code)


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _check_length(response: requests.Response, found: int, url: str) -> None:
    expected = _length(response)
    if expected is not None and found != expected:
        raise RequestConnectionError(f"{shown_url(url)}: {found} of {expected} bytes came")


def _content_range(response: requests.Response, url: str) -> tuple[int, int | None]:
    """The first byte and the whole length of a part."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = span.partition("-")[0]
    if unit != "bytes" or not start.isdecimal():
        raise BadReplyError(f"{shown_url(url)}: a part without a Content-Range")
    return int(start), int(total) if total.isdecimal() else None


def _strong_etag(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else None


def _retry(take: Callable[[requests.Session], None], url: str, attempts: int) -> None:
    """Take, again after a break."""

    def once(session: requests.Session) -> None:
        try:
            take(session)
        except requests.RequestException as error:
            raise RequestConnectionError(
                f"{shown_url(url)}: the connection failed ({type(error).__name__})"
            ) from None

    with anonymous_session() as session:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RequestConnectionError),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.4, max=10),
            before_sleep=lambda state: log.warning(
                "download, attempt %s: %s",
                state.attempt_number,
                state.outcome and state.outcome.exception(),
            ),
            reraise=True,
        )(once, session)
