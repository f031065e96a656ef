"""Files from the service's CDN: without keys, resumed, whole or not at all."""

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
from klingmask.kling.clock import grant
from klingmask.kling.errors import BadReplyError, RequestConnectionError
from klingmask.kling.transport import Patience, anonymous_session, passes, seconds_of
from klingmask.kling.urls import check_url, is_loopback, shown_url

__all__ = ["download", "fetch"]

MAX_FETCH = 256 << 20  # bytes that are read into memory
MAX_DOWNLOAD = 8 << 30
MAX_REDIRECTS = 5
MIN_RATE = 1024.0  # bytes a second, on average after the first minute
GRACE = 60.0  # seconds


def fetch(url: str, *, patience: Patience | None = None) -> bytes:
    """Read a file into memory."""
    content = bytearray()

    def take(get: _Get) -> None:
        content.clear()
        with get(url, {}) as response:
            _refuse(response, url)
            for piece in _flowing(response, url, MAX_FETCH):
                content.extend(piece)
            _check_length(response, len(content), url)

    _retry(take, url, patience or Patience(), lambda: 0)
    return bytes(content)


def download(
    url: str,
    path: str | PathLike[str],
    *,
    progress: bool = False,
    patience: Patience | None = None,
) -> Path:
    """Save a file: streamed to a name beside `path`, and moved there when it is whole.

    What could keep it from being moved there is found out before anything is fetched.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} for {target.name}")
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(target.stat().st_mode):  # also fails where the name is too long
            raise IsADirectoryError(f"{target} is a folder; a file is written")
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # short, however long the name is
    try:
        with (
            part.open("xb") as file,
            _bar(target.name, progress) as bar,
        ):
            state = _Download(url, file, bar)
            _retry(state.go_on, url, patience or Patience(), lambda: state.reached)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _bar(name: str, progress: bool) -> "tqdm[Never]":
    return tqdm(unit="B", unit_scale=True, desc=name, disable=not progress)


class _Version(NamedTuple):
    """What a reply says by which one version of a file can be told from another."""

    etag: str | None
    changed: str | None
    """Its Last-Modified."""

    @classmethod
    def of(cls, response: requests.Response) -> Self:
        """Read a reply; of what comes compressed it cannot be told at which byte to go on."""
        if is_compressed(response):
            return cls(None, None)
        return cls(response.headers.get("ETag"), response.headers.get("Last-Modified"))

    @property
    def validator(self) -> str | None:
        """What If-Range takes: a strong ETag, or else the time of the last change."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.changed

    def has_part(self, part: Self) -> bool:
        """Whether a part is of this version: it must say so, and nothing that contradicts it."""
        pairs = zip(self, part, strict=True)
        return self.validator == part.validator and all(its in (own, None) for own, its in pairs)


class _Download:
    """How far a download is."""

    def __init__(self, url: str, file: BinaryIO, bar: "tqdm[Never]") -> None:
        self.url, self.file, self.bar = url, file, bar
        self.version = _Version(None, None)
        self.total: int | None = None
        self.reached = 0
        """The most bytes that the file ever had."""

    def go_on(self, get: "_Get") -> None:
        """Take it up where it broke off, or from the start if that is not known to be safe."""
        done = self.file.tell()
        headers = {}
        if done and self.version.validator:
            headers = {"Range": f"bytes={done}-", "If-Range": self.version.validator}
        with get(self.url, headers) as response:
            if headers and response.status_code == 416:
                self._again("the rest of it is refused")
            _refuse(response, self.url, asked_for_part=bool(headers))
            if response.status_code == 206:
                self._check_part(response, done)
            else:
                self._restart()
                self.total = _length(response)
                self.version = _Version.of(response)
            self.bar.total = self.total
            self.bar.n = self.file.tell()
            for piece in _flowing(response, self.url, MAX_DOWNLOAD - self.file.tell()):
                self.file.write(piece)
                self.reached = max(self.reached, self.file.tell())
                self.bar.update(len(piece))
        if self.total is not None and self.file.tell() != self.total:
            raise RequestConnectionError(
                f"{shown_url(self.url)}: {self.file.tell()} of {self.total} bytes came"
            )
        if self.file.tell() == 0:
            raise BadReplyError(f"{shown_url(self.url)} is empty")

    def _check_part(self, response: requests.Response, done: int) -> None:
        """See that a part goes on where the file ends, and is of the same version.

        If-Range asks for that, but not all servers heed it.
        """
        start, total = _content_range(response, self.url)
        known = None not in (total, self.total)
        if start != done or (known and total != self.total) or is_compressed(response):
            self._again(f"asked from {done} of {self.total}, got {start} of {total}")
        if not self.version.has_part(_Version.of(response)):
            self._again("the part may be of another version of the file")
        self.total = self.total or total

    def _restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()

    def _again(self, reason: str) -> Never:
        """From the start, with the next attempt."""
        self._restart()
        raise RequestConnectionError(f"{shown_url(self.url)}: {reason}")


_Get: TypeAlias = Callable[[str, Mapping[str, str]], requests.Response]


def _get(
    session: requests.Session,
    timeout: tuple[float, float],
    url: str,
    headers: Mapping[str, str],
) -> requests.Response:
    """A GET that follows redirects as long as they stay on https."""
    local = is_loopback(check_url(url, "a result's URL", BadReplyError))
    for _ in range(MAX_REDIRECTS + 1):
        if is_loopback(check_url(url, "a result's URL", BadReplyError)) and not local:
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


def _flowing(response: requests.Response, url: str, limit: int) -> Iterator[bytes]:
    """The body, as long as it keeps coming and is not over the limit."""
    started, taken, ended = time.monotonic(), 0, False
    grant(response, started + GRACE)
    try:
        for piece in pieces(response):
            taken += len(piece)
            if taken > limit:
                raise BadReplyError(f"{shown_url(url)} has more than {limit} bytes to come")
            grant(response, started + GRACE + taken / MIN_RATE)
            yield piece
        ended = True
    except requests.Timeout:
        pass
    if not ended:
        raise RequestConnectionError(
            f"{shown_url(url)}: {taken} bytes in {time.monotonic() - started:.1f} s, and no more"
        )


def _refuse(response: requests.Response, url: str, *, asked_for_part: bool = False) -> None:
    if response.status_code == 200 or (response.status_code == 206 and asked_for_part):
        return
    passing = response.status_code >= 500 or response.status_code in (408, 429)
    kind = RequestConnectionError if passing else BadReplyError
    raise kind(
        f"{shown_url(url)} cannot be had",
        status=response.status_code,
        retry_after=seconds_of(response.headers.get("Retry-After")),
        advice="try again later" if passing else "results live 30 days",
    )


def _length(response: requests.Response) -> int | None:
    """How long the file is; that of a compressed one is not known."""
    return None if is_compressed(response) else _number(response.headers.get("Content-Length", ""))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _check_length(response: requests.Response, found: int, url: str) -> None:
    expected = _length(response)
    if expected is not None and found != expected:
        raise RequestConnectionError(f"{shown_url(url)}: {found} of {expected} bytes came")


def _content_range(response: requests.Response, url: str) -> tuple[int, int | None]:
    """The first byte and the whole length of a part."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = _number(span.partition("-")[0])
    if unit != "bytes" or start is None:
        raise BadReplyError(f"{shown_url(url)}: a part without a Content-Range")
    return start, _number(total)


def _retry(
    take: Callable[[_Get], None], url: str, patience: Patience, reached: Callable[[], int]
) -> None:
    """Take, again after a break: until nothing new has come for as long as one is patient.

    What comes must come fast enough, too, on average over all attempts.
    """
    furthest, tries, moved = 0, 0, time.monotonic()

    def once(get: _Get) -> None:
        nonlocal furthest, tries, moved
        tries += 1
        failure = ""
        try:
            take(get)
        except requests.RequestException as error:
            failure = f"the connection failed ({type(error).__name__})"
            if isinstance(error, requests.exceptions.ContentDecodingError):
                failure = str(error)
        finally:
            if reached() > furthest:
                furthest, tries, moved = reached(), 1, time.monotonic()
        if failure:  # raised out here, it does not have the other error, and its URL, for context
            raise RequestConnectionError(f"{shown_url(url)}: {failure}")

    def stop(state: tenacity.RetryCallState) -> bool:
        then = time.monotonic() + state.upcoming_sleep
        slowest = patience.retry_for + furthest / MIN_RATE
        return then >= min(moved + patience.retry_for, state.start_time + slowest)

    def wait(state: tenacity.RetryCallState) -> float:
        return transport.pause(state.outcome.exception() if state.outcome else None, tries)

    with anonymous_session() as session:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception(passes),
            stop=stop,
            wait=wait,
            before_sleep=transport.log_retry,
            reraise=True,
        )(once, partial(_get, session, patience.timeout))
