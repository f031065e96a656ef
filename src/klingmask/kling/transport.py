"""HTTP to the service: one pooled session, errors by code, retries that know the codes.

Only here do keys and URLs meet requests. The Authorization header goes to the
API's own host: it is set for each request and redirects are not followed.
"""

import email.utils
import json
import logging
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import requests.auth
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from klingmask.kling.auth import Auth
from klingmask.kling.errors import (
    AccountError,
    AuthenticationError,
    BadReplyError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    PermissionDeniedError,
    PolicyError,
    RateLimitError,
    RequestConnectionError,
    RequestTimeoutError,
    ServerError,
)

try:
    import tenacity
except ImportError as error:
    raise ImportError("the client needs tenacity: pip install 'klingmask[kling]'") from error

__all__ = ["Transport", "anonymous_session", "check_url", "is_loopback", "pieces", "shown_url"]

log = logging.getLogger("klingmask.kling")

_T = TypeVar("_T")

MAX_REPLY = 64 << 20  # bytes
MAX_WAIT = 30.0  # seconds between two attempts

# The platform's table of service codes.
_BY_CODE: dict[int, type[KlingError]] = {
    **dict.fromkeys((1000, 1001, 1002, 1003, 1004), AuthenticationError),
    **dict.fromkeys((1100, 1101, 1102), AccountError),
    **dict.fromkeys((1103, 1304), PermissionDeniedError),
    **dict.fromkeys((1200, 1201, 1202), InvalidRequestError),
    1203: NotFoundError,
    **dict.fromkeys((1300, 1301), PolicyError),
    **dict.fromkeys((1302, 1303), RateLimitError),
    **dict.fromkeys((5000, 5001), ServerError),
    5002: RequestTimeoutError,
}
_BY_STATUS: dict[int, type[KlingError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    429: RateLimitError,
    504: RequestTimeoutError,
}
_MAINTENANCE = 5001
_RENEWABLE = (1003, 1004)  # a token before or past its time


def check_url(url: str, what: str) -> str:
    """Let https pass, and http to this machine; refuse all else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidRequestError(f"{what} must be a URL; this one cannot be read") from None
    here = parts.scheme == "http" and is_loopback(url)
    if not parts.hostname or not (parts.scheme == "https" or here):
        raise InvalidRequestError(
            f"{what} must be an https URL (http only to localhost), got {shown_url(url)}"
        )
    return url


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query, fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a URL that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


class _NoAuth(requests.auth.AuthBase):
    """Keeps requests from looking into ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Session(requests.Session):
    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """No proxy on the way to this machine: what goes there by plain http must not leave it."""
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {**settings, "proxies": {}} if is_loopback(url) else settings

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No target: requests would read the whole body of a redirect to find it, however long."""


def anonymous_session(connections: int = 10) -> requests.Session:
    """Make a session that sends no Authorization, keeps no cookies and follows nothing."""
    session = _Session()
    session.auth = _NoAuth()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    return session


class NotSentError(RequestConnectionError):
    """No connection could be made, so the service knows of nothing."""


class Transport:
    """Requests to the API, each until it succeeds, fails for good or has had its time."""

    def __init__(
        self, base_url: str, auth: Auth, timeout: tuple[float, float], retry_for: float
    ) -> None:
        self.base_url = check_url(base_url, "the base URL").rstrip("/")
        self.auth = auth
        self.timeout = timeout
        self.retry_for = retry_for
        self._session = anonymous_session()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Send a request, again where that may help, and return the reply's envelope.

        `repeatable` says that doing it twice does no harm; otherwise it is not
        sent again when it may have been done.
        """

        def worth_it(error: BaseException) -> bool:
            if not is_passing(error):
                return False
            return repeatable or was_not_done(error)

        return self.retry(lambda: self.once(method, path, body=body, params=params), worth_it)

    def retry(self, attempt: Callable[[], _T], worth_it: Callable[[BaseException], bool]) -> _T:
        """Attempt until it succeeds, is not worth another try, or the time is up."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_it),
            wait=_wait,
            stop=tenacity.stop_before_delay(self.retry_for),
            before_sleep=_log_retry,
            reraise=True,
        )(attempt)

    def once(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send a request once, or twice if the token was past its time."""
        token = self.auth.token()
        try:
            return self._exchange(method, path, body, params, token)
        except AuthenticationError as error:
            if error.code not in _RENEWABLE or not self.auth.renew(token):
                raise
            log.info("%s %s: the token was refused (code %s); a new one", method, path, error.code)
        return self._exchange(method, path, body, params, self.auth.token())

    def _exchange(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
        token: str,
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, allow_nan=False).encode()
        started = time.monotonic()
        try:
            with self._session.request(
                method,
                self.base_url + path,
                params=params,
                data=data,
                headers=headers,
                timeout=self.timeout,
                stream=True,
            ) as response:
                content = _read(response, started + sum(self.timeout))
        except requests.ConnectTimeout:
            raise NotSentError(f"{method} {path}: no connection in time") from None
        except requests.Timeout:
            raise RequestTimeoutError(f"{method} {path}: no reply in time") from None
        except requests.RequestException as error:
            kind = NotSentError if _never_sent(error) else RequestConnectionError
            raise kind(f"{method} {path}: {self._redacted(str(error))}") from None
        log.debug("%s %s: HTTP %s, %s bytes", method, path, response.status_code, len(content))
        return self._understand(response, content, f"{method} {path}")

    def _understand(self, response: requests.Response, content: bytes, what: str) -> dict[str, Any]:
        """The envelope of a success, or the error that the reply is."""
        status = response.status_code
        retry_after = _seconds(response.headers.get("Retry-After"))
        if 300 <= status < 400:
            target = shown_url(response.headers.get("Location", ""))
            raise BadReplyError(
                f"{what}: a redirect to {target}, which is not followed", status=status
            )
        try:
            envelope = json.loads(content)
        except (ValueError, RecursionError):
            envelope = None
        code = envelope.get("code") if isinstance(envelope, dict) else None
        if not isinstance(envelope, dict) or type(code) is not int:
            kind = _by_status(status) or BadReplyError
            raise kind(
                f"{what}: not the JSON that was expected: {self._excerpt(content)}",
                status=status,
                retry_after=retry_after,
            )
        request_id = envelope.get("request_id")
        if code == 0 and status < 400:
            return envelope
        kind = _BY_CODE.get(code) or _by_status(status) or KlingError
        raise kind(
            self._redacted(str(envelope.get("message") or "no message")),
            code=code,
            status=status,
            request_id=request_id if isinstance(request_id, str) else None,
            retry_after=retry_after,
        )

    def _excerpt(self, content: bytes) -> str:
        if not content:
            return "an empty body"
        text = " ".join(content[:2000].decode("utf-8", "replace").split())
        return repr(self._redacted(text)[:200])

    def _redacted(self, text: str) -> str:
        for secret in self.auth.secrets():
            text = text.replace(secret, "[secret]")
        text = re.sub(r"(?i)bearer\s+[\w.~+/=-]+", "Bearer [secret]", text)
        return re.sub(r"(https?://[^\s\"'?#<>]*)[?#][^\s\"'<>]*", r"\1?[...]", text)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, BadReplyError):
        return error.status is not None and error.status < 300  # cut off on the way
    return isinstance(
        error, (RateLimitError, ServerError, RequestTimeoutError, RequestConnectionError)
    )


def was_not_done(error: BaseException) -> bool:
    """Whether the request certainly had no effect: not sent, refused as one too many, or closed."""
    closed = isinstance(error, ServerError) and error.code == _MAINTENANCE
    return closed or isinstance(error, (RateLimitError, NotSentError))


def _by_status(status: int) -> type[KlingError] | None:
    if status >= 500:
        return _BY_STATUS.get(status, ServerError)
    if status >= 400:
        return _BY_STATUS.get(status, InvalidRequestError)
    return None


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, if it is of a sensible length and comes in time."""
    content = bytearray()
    for piece in pieces(response):
        content += piece
        if len(content) > MAX_REPLY:
            raise BadReplyError(
                f"a reply of more than {MAX_REPLY} bytes", status=response.status_code
            )
        if time.monotonic() > deadline:
            raise requests.Timeout
    return bytes(content)


def pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives; iter_content would wait for a full chunk of it, drop by drop."""
    try:
        while piece := response.raw.read1(1 << 16, decode_content=True):
            yield piece
    except urllib3.exceptions.TimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the request failed before a byte of it was sent.

    TLS that breaks is no sign of it, as it may break while the reply is read;
    a certificate that is refused is, as that ends the handshake.
    """
    cause: Any = error.args[0] if error.args else None
    if isinstance(cause, urllib3.exceptions.MaxRetryError):
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.ProxyError):
        cause = cause.original_error
    if isinstance(cause, urllib3.exceptions.SSLError):
        return bool(cause.args) and isinstance(cause.args[0], ssl.SSLCertVerificationError)
    return isinstance(
        cause,
        (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError),
    )


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After, in seconds or as a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


_random = random.Random()  # noqa: S311 - jitter is no secret


def _wait(state: tenacity.RetryCallState) -> float:
    """What the service asks for and a little more, or else 1, 2, 4, ... seconds with jitter.

    A little more, as many who are told the same would come back as one, and
    as a service that says 0 each time would be asked without a pause.
    """
    error = state.outcome.exception() if state.outcome else None
    doubled = 2.0 ** min(state.attempt_number - 1, 10)
    backoff = min(MAX_WAIT, doubled) * _random.uniform(0.5, 1.0)
    asked = error.retry_after if isinstance(error, KlingError) else None
    return backoff if asked is None else asked + backoff / 10


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "attempt %s failed: %s; again in %.1f s", state.attempt_number, error, state.upcoming_sleep
    )
