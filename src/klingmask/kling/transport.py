"""HTTP to the service: one pooled session, errors by code, retries that know the codes.

Only here do keys and URLs meet requests. The Authorization header goes to the
API's own host: it is set for each request and redirects are not followed.

Each error says what became of the request (`KlingError.outcome`) and whether it
may succeed later (`KlingError.passing`); what is sent again follows from the two.
"""

import email.utils
import json
import logging
import random
import re
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
from klingmask.kling.clock import ClockedAdapter
from klingmask.kling.errors import (
    AccountError,
    AuthenticationError,
    BadReplyError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    PolicyError,
    RateLimitError,
    RequestConnectionError,
    RequestTimeoutError,
    ServerError,
)
from klingmask.kling.redaction import clean
from klingmask.kling.urls import api_url, is_loopback, shown_url

try:
    import tenacity
except ImportError as error:
    raise ImportError("the client needs tenacity: pip install 'klingmask[kling]'") from error

__all__ = [
    "ABSENT",
    "Patience",
    "Transport",
    "anonymous_session",
    "log_retry",
    "passes",
    "pause",
    "seconds_of",
    "surely_undone",
    "undone",
]

log = logging.getLogger("klingmask.kling")
log.addHandler(logging.NullHandler())  # a program that sets up no logging gets no lines

_T = TypeVar("_T")

MAX_REPLY = 64 << 20  # bytes
MAX_WAIT = 30.0  # seconds between two attempts
CONNECTIONS = 100  # kept open: more than a client has threads, or urllib3 complains of each

ABSENT = 1203  # the service's code for what does not exist

# The platform's table of service codes.
_BY_CODE: dict[int, type[KlingError]] = {
    **dict.fromkeys((1000, 1001, 1002, 1003, 1004), AuthenticationError),
    **dict.fromkeys((1100, 1101, 1102), AccountError),
    **dict.fromkeys((1103, 1304), PermissionDeniedError),
    **dict.fromkeys((1200, 1201, 1202), InvalidRequestError),
    ABSENT: NotFoundError,
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
_FAILURES = (5000, 5002)  # codes that tell of a failure; all others tell of a refusal
_NOT_LET_IN = (401, 403, 413, 429)  # without a code: a gateway's refusal to hand on a request
_PARALLEL = 1303  # too many tasks at once
_RENEWABLE = (1003, 1004)  # a token before or past its time


class Patience(NamedTuple):
    """How long the service is waited for."""

    timeout: tuple[float, float] = (10.0, 60.0)
    """Seconds for a connection, and for a reply from its first to its last byte."""
    retry_for: float = 120.0
    """Seconds for which what may pass is tried again."""

    def until(self, deadline: float | None) -> "Patience":
        """Return one that ends by a time of the monotonic clock."""
        if deadline is None:
            return self
        left = max(0.05, deadline - time.monotonic())
        connect, read = self.timeout
        return Patience((min(connect, left), min(read, left)), min(self.retry_for, left))


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

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, of which urllib3's log shows no secret."""
        _quiet.sending = True
        try:
            return super().send(request, **options)
        finally:
            _quiet.sending = False


class _Quiet(threading.local):
    """Whether it is this package that sends, in this thread."""

    sending = False


_quiet = _Quiet()


def _clean_record(record: logging.LogRecord) -> bool:
    """A log's filter: lines of ours are clean; those of others stay as they are."""
    if record.name == log.name or _quiet.sending:
        record.msg = clean(record.getMessage())
        record.args = None
        if record.exc_info:
            record.exc_text = clean(repr(record.exc_info[1]))
            record.exc_info = None
    return True


for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry", log.name):
    logging.getLogger(_name).addFilter(_clean_record)


def anonymous_session() -> requests.Session:
    """Make a session that sends no Authorization, keeps no cookies and follows nothing."""
    session = _Session()
    session.auth = _NoAuth()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, ClockedAdapter(pool_maxsize=CONNECTIONS))
    return session


def passes(error: BaseException) -> bool:
    """Whether what may be done twice is worth another try."""
    return isinstance(error, KlingError) and error.passing


def undone(error: BaseException) -> bool:
    """Whether another try is worth it, and the service says that this one did nothing."""
    return isinstance(error, KlingError) and error.passing and error.outcome != "unknown"


def surely_undone(error: BaseException) -> bool:
    """Whether another try is worth it, and this one never began."""
    return (
        isinstance(error, KlingError) and error.passing and error.outcome in ("unsent", "refused")
    )


class Transport:
    """Requests to the API, each until it succeeds, fails for good or has had its time."""

    def __init__(self, base_url: str, auth: Auth, patience: Patience) -> None:
        self.base_url = api_url(base_url)
        self.auth = auth
        self.patience = patience
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
        again: Callable[[BaseException], bool] = passes,
        deadline: float | None = None,
    ) -> _T:
        """Send a request, again where that may help, and return what its reply says.

        Parameters
        ----------
        method, path, body, params
            Of the request.
        parse : callable
            Makes a result of the reply's envelope; its errors get the reply's facts.
        again : callable
            Whether an error is worth another try: `passes`, `undone` or `surely_undone`.
        deadline : float, optional
            The time of the monotonic clock by which it shall end.
        """
        return self.retry(
            lambda: self.once(method, path, parse, body=body, params=params, deadline=deadline),
            again,
            deadline=deadline,
        )

    def retry(
        self,
        attempt: Callable[[], _T],
        again: Callable[[BaseException], bool] = passes,
        *,
        deadline: float | None = None,
    ) -> _T:
        """Attempt until it succeeds, is not worth another try, or the time is up."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            wait=_wait,
            stop=tenacity.stop_before_delay(self.patience.until(deadline).retry_for),
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
        """Send a request once, or twice if the token was past its time."""
        timeout = self.patience.until(deadline).timeout

        def exchange(token: str) -> _T:
            try:
                response, content = self._sent(method, path, body, params, token, timeout)
                result = self._understood(response, content, f"{method} {path}", parse)
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
            if error.code not in _RENEWABLE or not self.auth.renew(token):
                raise
            log.info("%s %s: the token was refused (code %s); a new one", method, path, error.code)
        return exchange(self.auth.token())

    def _sent(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, Any] | None,
        token: str,
        timeout: tuple[float, float],
    ) -> tuple[requests.Response, bytes]:
        """The reply to a request, with its whole body."""
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
            failure = _failure(error, f"{method} {path}")
        raise failure  # out here, it does not have the other error, and its headers, for context

    def _understood(
        self,
        response: requests.Response,
        content: bytes,
        what: str,
        parse: Callable[[Mapping[str, Any]], _T],
    ) -> _T:
        """What a success says, or the error that the reply is."""
        status = response.status_code
        retry_after = seconds_of(response.headers.get("Retry-After"))
        if 300 <= status < 400:
            target = response.headers.get("Location")
            raise BadReplyError(
                f"{what}: a redirect {f'to {shown_url(target)}' if target else 'to nowhere'}, "
                "which is not followed",
                status=status,
                advice="check base_url",
                outcome="unknown",
            )
        try:
            envelope = parse_json(content)
        except ValueError:
            envelope = None
        code = _code(envelope)
        if code is None:
            kind = _by_status(status) or BadReplyError
            raise kind(
                f"{what}: not the JSON that was expected: {_excerpt(content)}",
                status=status,
                retry_after=retry_after,
                advice=None if status < 400 else _advice_of_a_gateway(kind),
                passing=True if kind is BadReplyError else None,  # cut off on the way
                outcome=_outcome(None, status),
            )
        request_id = envelope.get("request_id")
        request_id = clean(request_id, 200) if isinstance(request_id, str) else None
        if code != 0 or status >= 400:
            kind = _BY_CODE.get(code) or _by_status(status) or KlingError
            said = envelope.get("message")
            said = clean(said, 1000).strip() if isinstance(said, str) else ""
            raise kind(
                said or f"{what}: the service refused it and gave no reason",
                code=code,
                status=status,
                request_id=request_id,
                retry_after=retry_after,
                advice=_ADVICE.get(code, _advice_of_the_service(kind, said)),
                outcome=_outcome(code or None, status),
            )
        try:
            return parse(envelope)
        except KlingError as error:  # done it was, whatever the reply says
            error.code, error.status, error.request_id = code, status, request_id
            error.outcome = "unknown"
            raise


_ADVICE = {
    1202: "the service has no such call; check base_url, or update klingmask",
    1302: "ask less often, or raise the client's retry_for",
}


def _advice_of_the_service(kind: type[KlingError], said: str) -> str | None:
    """What to do about a refusal of the service; None is what the kind of error says."""
    if kind is not InvalidRequestError:
        return None
    if not said:
        return "compare the parameters with the API's reference"
    return "correct what the service names; it would refuse the same request again"


def _advice_of_a_gateway(kind: type[KlingError]) -> str | None:
    """What to do about a status without a code, which is not the service's own."""
    if kind in (InvalidRequestError, NotFoundError):
        return "this is no reply of the service; check base_url, and what is on the way to it"
    return None


def _failure(error: requests.RequestException, what: str) -> KlingError:
    """What to say where no whole reply came."""
    if isinstance(error, requests.ConnectTimeout):
        return RequestConnectionError(f"{what}: no connection in time", outcome="unsent")
    if isinstance(error, requests.Timeout):
        return RequestTimeoutError(f"{what}: no reply in time", outcome="unknown")
    cause = _cause(error)
    untrusted = isinstance(cause, ssl.SSLCertVerificationError)
    return RequestConnectionError(
        f"{what}: {error}",
        passing=not untrusted,
        outcome="unsent" if untrusted or isinstance(cause, _NO_CONNECTION) else "unknown",
    )


def _excerpt(content: bytes) -> str:
    if not content:
        return "an empty body"
    return repr(clean(" ".join(content[:4000].decode("utf-8", "replace").split()), 200))


def _by_status(status: int) -> type[KlingError] | None:
    if status >= 500:
        return _BY_STATUS.get(status, ServerError)
    if status >= 400:
        return _BY_STATUS.get(status, InvalidRequestError)
    return None


def _code(envelope: Any) -> int | None:
    """The service's code, which may come as a text or with a point; None if there is none."""
    code = envelope.get("code") if isinstance(envelope, dict) else None
    if isinstance(code, str) and re.fullmatch(r"[0-9]{1,9}", code):
        return int(code)
    if isinstance(code, float) and code.is_integer():
        return int(code)
    return code if type(code) is int else None


def _outcome(code: int | None, status: int) -> Outcome:
    """What a reply that is no success says of its request; without a code it is a gateway's.

    Which may have handed the request on: only the service decides about a task.
    """
    if code is None:
        return "refused" if status in _NOT_LET_IN else "unknown"
    if code not in _FAILURES and (code in _BY_CODE or (400 <= status < 500 and status != 408)):
        return "refused"
    return "failed"


def _read(response: requests.Response) -> bytes:
    """The body, if it is of a sensible length."""
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


# TLS that breaks is not among them, as it may break while the reply is read; a
# certificate that is refused would be, as that ends the handshake.
_NO_CONNECTION = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


def _cause(error: requests.RequestException) -> Any:
    """What urllib3 or ssl say, out of the wrappers around it."""
    cause: Any = error.args[0] if error.args else None
    if isinstance(cause, urllib3.exceptions.MaxRetryError):
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.ProxyError):
        cause = cause.original_error
    if isinstance(cause, urllib3.exceptions.SSLError) and cause.args:
        cause = cause.args[0]
    return cause


def seconds_of(retry_after: str | None) -> float | None:
    """Read a Retry-After, which is in seconds or a date."""
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


def pause(error: BaseException | None, attempt: int) -> float:
    """Say how long to wait after the attempt of that number, from 1.

    What the service asks for and a little more, or else 1, 2, 4, ... seconds
    with jitter. A little more, as many who are told the same would come back as
    one, and as a service that says 0 each time would be asked without a pause.
    For too many tasks at once the platform's documentation asks for 1 s at least.
    """
    code, asked = (error.code, error.retry_after) if isinstance(error, KlingError) else (None, None)
    parallel = code == _PARALLEL
    doubled = (2.0 if parallel else 1.0) * 2.0 ** min(attempt - 1, 10)
    backoff = min(MAX_WAIT, doubled) * _random.uniform(0.5, 1.0)
    wait = backoff if asked is None else asked + backoff / 10
    return max(1.0, wait) if parallel else wait


def _wait(state: tenacity.RetryCallState) -> float:
    return pause(state.outcome.exception() if state.outcome else None, state.attempt_number)


def log_retry(state: tenacity.RetryCallState) -> None:
    """Log that there will be another attempt."""
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "attempt %s failed: %s; again in %.1f s", state.attempt_number, error, state.upcoming_sleep
    )
