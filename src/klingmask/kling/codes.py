"""The platform's table of codes: which error a reply is, what became of the request, what to do.

A reply without a code is not the service's own: a gateway or a proxy made it. It may
have passed the request on, so it does not say that the service did nothing.
"""

import re
from typing import Any

from klingmask.kling.errors import (
    AccountError,
    AuthenticationError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    PolicyError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)

__all__ = [
    "EXPIRED_TOKEN_CODES",
    "INVALID_VALUE",
    "NOT_FOUND",
    "TOO_MANY_TASKS",
    "advice_for",
    "code_of",
    "error_type",
    "outcome_of",
]

EXPIRED_TOKEN_CODES = (1003, 1004)  # a token that is not valid yet, or no longer
INVALID_VALUE = 1201  # also of an external_task_id that another task has
NOT_FOUND = 1203  # no such task, session or model
TOO_MANY_TASKS = 1303  # at once, for the account's pack

_BY_CODE: dict[int, type[KlingError]] = {
    **dict.fromkeys((1000, 1001, 1002, 1003, 1004), AuthenticationError),
    **dict.fromkeys((1100, 1101, 1102), AccountError),
    **dict.fromkeys((1103, 1304), PermissionDeniedError),
    **dict.fromkeys((1200, INVALID_VALUE, 1202), InvalidRequestError),
    NOT_FOUND: NotFoundError,
    **dict.fromkeys((1300, 1301), PolicyError),
    **dict.fromkeys((1302, TOO_MANY_TASKS), RateLimitError),
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
_SERVICE_FAILED = (5000, 5002)
"""The codes of requests that the service took on; all others of the table refuse them."""
_GATEWAY_REFUSED = (401, 403, 413, 429)
"""The statuses with which a gateway refuses a request instead of passing it on."""

_ADVICE = {
    1202: "the service has no such call; check the base URL, or update klingmask",
    1302: "send fewer requests, or raise the client's retry_for",
}


def code_of(envelope: Any) -> int | None:
    """Return the service's code, which may be an integer, a text or a float."""
    code = envelope.get("code") if isinstance(envelope, dict) else None
    if isinstance(code, str) and re.fullmatch(r"[0-9]{1,9}", code):
        return int(code)
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    return code if type(code) is int and abs(code) < 10**9 else None


def error_type(code: int | None, status: int) -> type[KlingError] | None:
    """Return the type of error that a code or else an HTTP status stands for, if any."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status >= 500:
        return _BY_STATUS.get(status, ServerError)
    if status >= 400:
        return _BY_STATUS.get(status, InvalidRequestError)
    return None


def outcome_of(code: int | None, status: int) -> Outcome:
    """Return what became of the request whose reply has this code, or none, and this status."""
    if code is None:
        return "refused" if status in _GATEWAY_REFUSED else "unknown"
    if code in _SERVICE_FAILED:
        return "failed"
    if code in _BY_CODE or (400 <= status < 500 and status != 408):
        return "refused"
    return "failed"


def advice_for(kind: type[KlingError], code: int | None, reason: str) -> str | None:
    """Return what to do about a reply; None if the type of error says it.

    Parameters
    ----------
    kind : type
        Of the error.
    code : int or None
    reason : str
        The service's message, which may be empty.
    """
    if code is None and kind in (InvalidRequestError, NotFoundError):
        return "this reply is not the service's; check the base URL and the proxies on the way"
    if code in _ADVICE:
        return _ADVICE[code]
    if kind is not InvalidRequestError:
        return None
    if not reason:
        return "compare the parameters with the API's reference"
    return "correct what the service names; it would refuse the same request again"
