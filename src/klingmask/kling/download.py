"""Downloads of results: without keys, resumed where that is safe, complete or not at all."""

import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import BinaryIO, NamedTuple, Never, Self, TypeAlias
from urllib.parse import urljoin

import requests
import tenacity
from tqdm import tqdm

from klingmask.kling import transport
from klingmask.kling.bodies import is_compressed, pieces
from klingmask.kling.deadline import extend_deadline
from klingmask.kling.errors import BadReplyError, RequestConnectionError
from klingmask.kling.transport import (
    TimeLimits,
    anonymous_session,
    is_retryable,
    parse_retry_after,
)
from klingmask.kling.urls import check_url, is_loopback, shown_url

__all__ = ["download", "fetch"]

MAX_FETCH = 256 << 20  # bytes that are read into memory
MAX_DOWNLOAD = 8 << 30  # bytes
MAX_REDIRECTS = 5
MIN_RATE = 1024.0  # bytes a second, on average after the grace period
GRACE = 60.0  # seconds


def fetch(url: str, *, limits: TimeLimits | None = None) -> bytes:
    """Read a file into memory."""
    content = bytearray()

    def read(get: "_Get") -> None:
        content.clear()
        with get(url, {}) as response:
            _check_status(response, url)
            for piece in _body(response, url, MAX_FETCH):
                content.extend(piece)
            _check_length(response, len(content), url)

    _retry(read, url, limits or TimeLimits(), lambda: 0)
    return bytes(content)


def download(
    url: str,
    path: str | PathLike[str],
    *,
    progress: bool = False,
    limits: TimeLimits | None = None,
) -> Path:
    """Save a file: written to a temporary file in the same folder, renamed when it is complete.

    Whether it can be renamed to `path` is checked before anything is fetched.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} for {target.name}")
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(target.stat().st_mode):  # raises OSError if the name is too long
            raise IsADirectoryError(f"{target} is a folder; give the name of a file")
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # short, as the target may be long
    try:
        with part.open("xb") as file, _bar(target.name, progress) as bar:
            transfer = _Transfer(url, file, bar)
            _retry(transfer.attempt, url, limits or TimeLimits(), lambda: transfer.most_bytes)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _bar(name: str, progress: bool) -> "tqdm[Never]":
    return tqdm(unit="B", unit_scale=True, desc=name, disable=not progress)


class _Version(NamedTuple):
    """The headers that tell one version of a file from another."""

    etag: str | None
    last_modified: str | None

    @classmethod
    def of(cls, response: requests.Response) -> Self:
        """Return a reply's version; none if it is compressed, as that cannot be resumed."""
        if is_compressed(response):
            return cls(None, None)
        return cls(response.headers.get("ETag"), response.headers.get("Last-Modified"))

    @property
    def validator(self) -> str | None:
        """The value for If-Range: a strong ETag, or else the Last-Modified."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def has_part(self, part: Self) -> bool:
        """Whether a part is of this version: it has the same validator, and no other header."""
        pairs = zip(self, part, strict=True)
        return self.validator == part.validator and all(its in (own, None) for own, its in pairs)


class _Transfer:
    """One file on its way, over several attempts."""

    def __init__(self, url: str, file: BinaryIO, bar: "tqdm[Never]") -> None:
        self.url, self.file, self.bar = url, file, bar
        self.version = _Version(None, None)
        self.total: int | None = None
        self.most_bytes = 0
        """The most bytes that the file had at any time."""

    def attempt(self, get: "_Get") -> None:
        """Resume the transfer if that is safe, or else start it again."""
        done = self.file.tell()
        headers = {}
        if done and self.version.validator:
            headers = {"Range": f"bytes={done}-", "If-Range": self.version.validator}
        with get(self.url, headers) as response:
            if headers and response.status_code == 416:
                self._start_again("the server refuses the rest of it")
            _check_status(response, self.url, is_part_wanted=bool(headers))
            if response.status_code == 206:
                self._check_part(response, done)
            else:
                self._truncate()
                self.total = _length(response)
                self.version = _Version.of(response)
            self.bar.total = self.total
            self.bar.n = self.file.tell()
            for piece in _body(response, self.url, MAX_DOWNLOAD - self.file.tell()):
                self.file.write(piece)
                self.most_bytes = max(self.most_bytes, self.file.tell())
                self.bar.update(len(piece))
        if self.total is not None and self.file.tell() != self.total:
            raise RequestConnectionError(
                f"{shown_url(self.url)}: received {self.file.tell()} of {self.total} bytes"
            )
        if self.file.tell() == 0:
            raise BadReplyError(f"{shown_url(self.url)} is empty")

    def _check_part(self, response: requests.Response, done: int) -> None:
        """Check that a part starts where the file ends, and is of the same version.

        If-Range asks for that, but not all servers obey it.
        """
        start, total = _content_range(response, self.url)
        differs = None not in (total, self.total) and total != self.total
        if start != done or differs or is_compressed(response):
            self._start_again(f"asked for {done} of {self.total}, got {start} of {total}")
        if not self.version.has_part(_Version.of(response)):
            self._start_again("the rest may be of another version of the file")
        self.total = self.total or total

    def _truncate(self) -> None:
        self.file.seek(0)
        self.file.truncate()

    def _start_again(self, reason: str) -> Never:
        """Let the next attempt start from the first byte."""
        self._truncate()
        raise RequestConnectionError(f"{shown_url(self.url)}: {reason}")


_Get: TypeAlias = Callable[[str, Mapping[str, str]], requests.Response]


def _get(
    session: requests.Session,
    timeout: tuple[float, float],
    url: str,
    headers: Mapping[str, str],
) -> requests.Response:
    """Send a GET and follow its redirects, but only to https."""
    is_local = is_loopback(check_url(url, "a result's URL", BadReplyError))
    for _ in range(MAX_REDIRECTS + 1):
        if is_loopback(check_url(url, "a result's URL", BadReplyError)) and not is_local:
            raise BadReplyError(f"a redirect to this machine, {shown_url(url)}, is not followed")
        response = session.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},
            stream=True,
            timeout=timeout,
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


def _body(response: requests.Response, url: str, limit: int) -> Iterator[bytes]:
    """Yield the body, as long as it is fast enough and does not exceed the limit."""
    started, received, is_complete = time.monotonic(), 0, False
    extend_deadline(response, started + GRACE)
    try:
        for piece in pieces(response):
            received += len(piece)
            if received > limit:
                raise BadReplyError(f"{shown_url(url)} has more than {limit} bytes to come")
            extend_deadline(response, started + GRACE + received / MIN_RATE)
            yield piece
        is_complete = True
    except requests.Timeout:
        pass
    if not is_complete:
        raise RequestConnectionError(
            f"{shown_url(url)}: timed out after {received} bytes in "
            f"{time.monotonic() - started:.1f} s"
        )


def _check_status(response: requests.Response, url: str, *, is_part_wanted: bool = False) -> None:
    if response.status_code == 200 or (response.status_code == 206 and is_part_wanted):
        return
    is_temporary = response.status_code >= 500 or response.status_code in (408, 429)
    kind = RequestConnectionError if is_temporary else BadReplyError
    raise kind(
        f"{shown_url(url)} cannot be downloaded",
        status=response.status_code,
        retry_after=parse_retry_after(response.headers.get("Retry-After")),
        advice="try again later" if is_temporary else "results are kept for 30 days",
    )


def _length(response: requests.Response) -> int | None:
    """Return the file's length; that of a compressed body says nothing about it."""
    return None if is_compressed(response) else _number(response.headers.get("Content-Length", ""))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _check_length(response: requests.Response, received: int, url: str) -> None:
    expected = _length(response)
    if expected is not None and received != expected:
        raise RequestConnectionError(f"{shown_url(url)}: received {received} of {expected} bytes")


def _content_range(response: requests.Response, url: str) -> tuple[int, int | None]:
    """Return the first byte of a part, and the length of the whole file."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = _number(span.partition("-")[0])
    if unit != "bytes" or start is None:
        raise BadReplyError(f"{shown_url(url)}: a part without a Content-Range")
    return start, _number(total)


def _retry(
    attempt: Callable[[_Get], None], url: str, limits: TimeLimits, most_bytes: Callable[[], int]
) -> None:
    """Attempt a transfer until it is complete, or nothing new arrived for `retry_for` seconds.

    The average rate over all attempts must also reach `MIN_RATE`.
    """
    known_bytes, attempts, last_progress = 0, 0, time.monotonic()

    def once(get: _Get) -> None:
        nonlocal known_bytes, attempts, last_progress
        attempts += 1
        failure = ""
        try:
            attempt(get)
        except requests.RequestException as error:
            failure = f"the connection failed ({type(error).__name__})"
            if isinstance(error, requests.exceptions.ContentDecodingError):
                failure = str(error)
        finally:
            if most_bytes() > known_bytes:
                known_bytes, attempts, last_progress = most_bytes(), 1, time.monotonic()
        # Raised outside of the handler: the error of requests has the signed URL.
        if failure:
            raise RequestConnectionError(f"{shown_url(url)}: {failure}")

    def stop(state: tenacity.RetryCallState) -> bool:
        next_attempt = time.monotonic() + state.upcoming_sleep
        longest = limits.retry_for + known_bytes / MIN_RATE
        return next_attempt >= min(last_progress + limits.retry_for, state.start_time + longest)

    def wait(state: tenacity.RetryCallState) -> float:
        return transport.pause(state.outcome.exception() if state.outcome else None, attempts)

    with anonymous_session() as session:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_retryable),
            stop=stop,
            wait=wait,
            before_sleep=transport.log_retry,
            reraise=True,
        )(once, partial(_get, session, limits.timeout))
