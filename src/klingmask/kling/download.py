"""Files from the service's CDN: without keys, resumed, whole or not at all."""

import logging
import os
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Never
from urllib.parse import urljoin

import requests
import tenacity
from tqdm import tqdm

from klingmask.kling.errors import BadReplyError, RequestConnectionError
from klingmask.kling.transport import anonymous_session, check_url, shown_url

__all__ = ["download", "fetch"]

log = logging.getLogger("klingmask.kling")

TIMEOUT = (10.0, 60.0)
MAX_FETCH = 256 << 20  # bytes that are read into memory
MAX_REDIRECTS = 5


def fetch(url: str, *, attempts: int = 5) -> bytes:
    """Read a file into memory."""
    content = bytearray()

    def take(session: requests.Session) -> None:
        content.clear()
        with _get(session, url, {}) as response:
            _refuse(response, url)
            for chunk in response.iter_content(1 << 16):
                content.extend(chunk)
                if len(content) > MAX_FETCH:
                    raise BadReplyError(f"{shown_url(url)} has more than {MAX_FETCH} bytes")
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
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
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

    def go_on(self, session: requests.Session) -> None:
        """Take it up where it broke off, or from the start if the file is another one."""
        done = self.file.tell()
        headers = {}
        if done and self.etag:
            headers = {"Range": f"bytes={done}-", "If-Range": self.etag}
        with _get(session, self.url, headers) as response:
            _refuse(response, self.url)
            resumed = response.status_code == 206 and bool(headers)
            if resumed:
                start, total = _content_range(response, self.url)
                if start != done:
                    raise BadReplyError(f"{shown_url(self.url)}: asked from {done}, got {start}")
            else:
                self.file.seek(0)
                self.file.truncate()
                total = _length(response)
                self.etag = _strong_etag(response)
            self.bar.total = total
            self.bar.n = self.file.tell()
            for chunk in response.iter_content(1 << 16):
                self.file.write(chunk)
                self.bar.update(len(chunk))
        if total is not None and self.file.tell() != total:
            raise RequestConnectionError(
                f"{shown_url(self.url)}: {self.file.tell()} of {total} bytes came"
            )
        if self.file.tell() == 0:
            raise BadReplyError(f"{shown_url(self.url)} is empty")


def _get(session: requests.Session, url: str, headers: Mapping[str, str]) -> requests.Response:
    """A GET that follows redirects as long as they stay on https."""
    for _ in range(MAX_REDIRECTS + 1):
        check_url(url, "a result's URL")
        response = session.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            timeout=TIMEOUT,
            allow_redirects=False,
        )
        if response.status_code not in (301, 302, 303, 307, 308):
            return response
        target = response.headers.get("Location", "")
        response.close()
        url = urljoin(url, target)
    raise BadReplyError(f"{shown_url(url)}: more than {MAX_REDIRECTS} redirects")


def _refuse(response: requests.Response, url: str) -> None:
    if response.status_code in (200, 206):
        return
    kind = RequestConnectionError if response.status_code >= 500 else BadReplyError
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
