"""HTTP to the service: one pooled session, typed errors, retries.

Only this module puts keys into requests. The Authorization header is set for each
request to the API's own host, and redirects are not followed.

Each error says what became of its request (`KlingError.outcome`) and whether the same
request may succeed later (`KlingError.retryable`). The two decide what is sent again.
"""

import email.utils
import json
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple, TypeVar

import requests
import requests.auth
import urllib3.exceptions

from klingmask.kling.auth import Auth
from klingmask.kling.bodies import parse_json, pieces
from klingmask.kling.codes import (
    EXPIRED_TOKEN_CODES,
    TOO_MANY_TASKS,
    advice_for,
    code_of,
    error_type,
    outcome_of,
)
from klingmask.kling.deadline import DeadlineAdapter
from klingmask.kling.errors import (
    AuthenticationError,
    BadReplyError,
    KlingError,
    RequestConnectionError,
    RequestTimeoutError,
)
from klingmask.kling.redaction import clean
from klingmask.kling.urls import api_url, is_loopback, shown_url

try:
    import tenacity
except ImportError as error:
    raise ImportError("the client needs tenacity: pip install 'klingmask[kling]'") from error

__all__ = [
    "TimeLimits",
    "Transport",
    "anonymous_session",
    "is_retryable",
    "is_retryable_and_failed",
    "is_retryable_and_not_started",
    "log_retry",
    "parse_retry_after",
    "pause",
]

log = logging.getLogger("klingmask.kling")
log.addHandler(logging.NullHandler())  # without it, warnings go to stderr by default

_T = TypeVar("_T")

MAX_REPLY = 64 << 20  # bytes
MAX_PAUSE = 30.0  # seconds between two attempts
MAX_CONNECTIONS = 100  # in the pool; urllib3 warns when more threads than that share a client


class TimeLimits(NamedTuple):
    """How long to wait for the service."""

    timeout: tuple[float, float] = (10.0, 60.0)
    """Seconds to connect, and from the first to the last byte of a reply."""
    retry_for: float = 120.0
    """Seconds during which a request is retried."""

    def within(self, deadline: float | None) -> "TimeLimits":
        """Return limits that end by this time of the monotonic clock."""
        if deadline is None:
            return self
        left = max(0.05, deadline - time.monotonic())
        connect, read = self.timeout
        return TimeLimits((min(connect, left), min(read, left)), min(self.retry_for, left))


# ---- sessions and their logs ----


class _NoAuth(requests.auth.AuthBase):
    """Keeps requests from reading ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Session(requests.Session):
    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Use no proxy for this machine: plain http is allowed only if it does not leave it."""
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {**settings, "proxies": {}} if is_loopback(url) else settings

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Report no redirect: requests would read its whole body first, however long it is."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request while urllib3's log lines of this thread are cleaned."""
        _thread.is_sending = True
        try:
            return super().send(request, **options)
        finally:
            _thread.is_sending = False


class _Thread(threading.local):
    """Whether this thread is sending a request of this package."""

    is_sending = False


_thread = _Thread()


def _clean_record(record: logging.LogRecord) -> bool:
    """Clean a log record of this package, or of urllib3 while this package is sending."""
    if record.name == log.name or _thread.is_sending:
        record.msg = clean(record.getMessage())
        record.args = None
        if record.exc_info:
            record.exc_text = clean(repr(record.exc_info[1]))
            record.exc_info = None
    return True


for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry", log.name):
    logging.getLogger(_name).addFilter(_clean_record)


def anonymous_session() -> requests.Session:
    """Make a session that sends no Authorization, keeps no cookies and follows no redirect."""
    session = _Session()
    session.auth = _NoAuth()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, DeadlineAdapter(pool_maxsize=MAX_CONNECTIONS))
    return session


# ---- retries ----


def is_retryable(error: BaseException) -> bool:
    """Whether to retry a request that may be done twice."""
    return isinstance(error, KlingError) and error.retryable


def is_retryable_and_failed(error: BaseException) -> bool:
    """Whether to retry a request only if the service says that it was not done."""
    return isinstance(error, KlingError) and error.retryable and error.outcome != "unknown"


def is_retryable_and_not_started(error: BaseException) -> bool:
    """Whether to retry a request only if the service never began with it."""
    return (
        isinstance(error, KlingError) and error.retryable and error.outcome in ("unsent", "refused")
    )


def parse_retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or as a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


_random = random.Random()  # noqa: S311 - jitter is no secret


def pause(error: BaseException | None, attempt: int) -> float:
    """Return how many seconds to wait after a failed attempt, the first of which is 1.

    The back-off is 1, 2, 4, ... seconds with jitter. If the service asked for a time, that
    time and a tenth of the back-off: clients that were told the same time should not all
    return at once, and a service that says 0 each time should not be asked without a pause.
    For too many tasks at once, the platform's documentation asks for at least 1 second.
    """
    code, asked = (error.code, error.retry_after) if isinstance(error, KlingError) else (None, None)
    first = 2.0 if code == TOO_MANY_TASKS else 1.0
    backoff = min(MAX_PAUSE, first * 2.0 ** min(attempt - 1, 10)) * _random.uniform(0.5, 1.0)
    seconds = backoff if asked is None else asked + backoff / 10
    return max(1.0, seconds) if code == TOO_MANY_TASKS else seconds


def log_retry(state: tenacity.RetryCallState) -> None:
    """Log that another attempt will follow."""
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "attempt %s failed: %s; retrying in %.1f s",
        state.attempt_number,
        error,
        state.upcoming_sleep,
    )


def _pause_after(state: tenacity.RetryCallState) -> float:
    return pause(state.outcome.exception() if state.outcome else None, state.attempt_number)


# ---- requests ----


class Transport:
    """Sends requests to the API until they succeed, fail for good, or the time is up."""

    def __init__(self, base_url: str, auth: Auth, limits: TimeLimits) -> None:
        self.base_url = api_url(base_url)
        self.auth = auth
        self.limits = limits
        self._session = anonymous_session()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        parse: Callable[[Mapping[str, Any]], _T],
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        retry_if: Callable[[BaseException], bool] = is_retryable,
        deadline: float | None = None,
    ) -> _T:
        """Send a request, retry it if that may help, and return what its reply says.

        Parameters
        ----------
        method, path, body, params
            Of the request.
        parse : callable
            Makes the result from the reply's envelope. Its errors get the reply's code,
            status and request_id.
        retry_if : callable
            `is_retryable`, `is_retryable_and_failed` or `is_retryable_and_not_started`.
        deadline : float, optional
            The time of the monotonic clock by which to end.
        """
        return self.retry(
            lambda: self.once(method, path, parse, body=body, params=params, deadline=deadline),
            retry_if,
            deadline=deadline,
        )

    def retry(
        self,
        attempt: Callable[[], _T],
        retry_if: Callable[[BaseException], bool] = is_retryable,
        *,
        deadline: float | None = None,
    ) -> _T:
        """Attempt until it succeeds, fails with an error not to retry, or the time is up."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(retry_if),
            wait=_pause_after,
            stop=tenacity.stop_before_delay(self.limits.within(deadline).retry_for),
            before_sleep=log_retry,
            reraise=True,
        )(attempt)

    def once(
        self,
        method: str,
        path: str,
        parse: Callable[[Mapping[str, Any]], _T],
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        deadline: float | None = None,
    ) -> _T:
        """Send a request once, and a second time only if its token had expired."""
        timeout = self.limits.within(deadline).timeout

        def exchange(token: str) -> _T:
            try:
                response, content = self._send(method, path, body, params, token, timeout)
                result = _parse_reply(response, content, f"{method} {path}", parse)
            except KlingError as error:
                log.debug("%s %s: %s: %s", method, path, type(error).__name__, error)
                raise
            status = response.status_code
            log.debug("%s %s: HTTP %s, %s bytes", method, path, status, len(content))
            return result

        token = self.auth.token()
        try:
            return exchange(token)
        except AuthenticationError as error:
            if error.code not in EXPIRED_TOKEN_CODES or not self.auth.renew(token):
                raise
            log.info("%s %s: token refused (code %s), making a new one", method, path, error.code)
        return exchange(self.auth.token())

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
        token: str,
        timeout: tuple[float, float],
    ) -> tuple[requests.Response, bytes]:
        """Send a request and return the reply and its whole body."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, allow_nan=False).encode()
        try:
            with self._session.request(
                method,
                self.base_url + path,
                params=params,
                data=data,
                headers=headers,
                timeout=timeout,
                stream=True,
            ) as response:
                return response, _read(response)
        except requests.RequestException as error:
            failure = _connection_error(error, f"{method} {path}")
        # Raised outside of the handler: the error of requests has the headers, with the key,
        # and would be the context of this one.
        raise failure


def _read(response: requests.Response) -> bytes:
    """Read the body, up to a limit."""
    content = bytearray()
    for piece in pieces(response):
        content += piece
        if len(content) > MAX_REPLY:
            raise BadReplyError(
                f"a reply of more than {MAX_REPLY} bytes",
                status=response.status_code,
                outcome="unknown",
            )
    return bytes(content)


def _parse_reply(
    response: requests.Response,
    content: bytes,
    request: str,
    parse: Callable[[Mapping[str, Any]], _T],
) -> _T:
    """Return what a successful reply says, or raise the error that the reply stands for."""
    status = response.status_code
    retry_after = parse_retry_after(response.headers.get("Retry-After"))
    if 300 <= status < 400:
        target = response.headers.get("Location")
        raise BadReplyError(
            f"{request}: a redirect {f'to {shown_url(target)}' if target else 'to nowhere'}, "
            "which is not followed",
            status=status,
            advice="check the base URL",
            outcome="unknown",
        )
    try:
        envelope = parse_json(content)
    except ValueError:
        envelope = None
    code = code_of(envelope)
    if code is None:
        kind = error_type(None, status) or BadReplyError
        raise kind(
            f"{request}: not the JSON that was expected: {_excerpt(content)}",
            status=status,
            retry_after=retry_after,
            advice=advice_for(kind, None, ""),
            retryable=True if kind is BadReplyError else None,  # it may have been cut off
            outcome=outcome_of(None, status),
        )
    request_id = envelope.get("request_id")
    request_id = clean(request_id, 200) if isinstance(request_id, str) else None
    if code != 0 or status >= 400:
        kind = error_type(code, status) or KlingError
        message = envelope.get("message")
        reason = clean(message, 1000).strip() if isinstance(message, str) else ""
        raise kind(
            reason or f"{request}: the service refused it and gave no reason",
            code=code,
            status=status,
            request_id=request_id,
            retry_after=retry_after,
            advice=advice_for(kind, code, reason),
            outcome=outcome_of(code or None, status),
        )
    try:
        return parse(envelope)
    except KlingError as error:
        error.code, error.status, error.request_id = code, status, request_id
        error.outcome = "unknown"  # code 0 says that it was done
        raise


def _excerpt(content: bytes) -> str:
    if not content:
        return "an empty body"
    return repr(clean(" ".join(content[:4000].decode("utf-8", "replace").split()), 200))


# With these, no connection was made. Errors of TLS are not among them: TLS may also break
# while the reply is read. The exception is a certificate that is refused.
_NO_CONNECTION = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


def _connection_error(error: requests.RequestException, request: str) -> KlingError:
    """Return the error of a request that has no whole reply."""
    if isinstance(error, requests.ConnectTimeout):
        return RequestConnectionError(f"{request}: no connection in time", outcome="unsent")
    if isinstance(error, requests.Timeout):
        return RequestTimeoutError(f"{request}: no reply in time", outcome="unknown")
    cause = _cause(error)
    is_untrusted = isinstance(cause, ssl.SSLCertVerificationError)
    is_unsent = is_untrusted or isinstance(cause, _NO_CONNECTION)
    return RequestConnectionError(
        f"{request}: {error}",
        retryable=not is_untrusted,
        outcome="unsent" if is_unsent else "unknown",
    )


def _cause(error: requests.RequestException) -> Any:
    """Return the error of urllib3 or ssl that requests and urllib3 have wrapped."""
    cause: Any = error.args[0] if error.args else None
    if isinstance(cause, urllib3.exceptions.MaxRetryError):
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.ProxyError):
        cause = cause.original_error
    if isinstance(cause, urllib3.exceptions.SSLError) and cause.args:
        cause = cause.args[0]
    return cause
