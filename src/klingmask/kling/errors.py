"""The errors of the service and of the way to it, as a tree.

KlingError
  AuthenticationError      the key or token was refused
  PermissionDeniedError    this key or this address is not allowed to do that
  AccountError             the account is in arrears, or its resource pack is used up
  InvalidRequestError      a parameter is wrong: found here, or by the service
  NotFoundError            there is no such task, session or model
    SessionExpiredError    an InvalidRequestError and a NotFoundError: the session has ended
  PolicyError              a content or platform policy was triggered
  RateLimitError           too many requests, or too many tasks at once
  ServerError              the service failed
  RequestTimeoutError      no reply in time
  RequestConnectionError   the connection failed
  BadReplyError            a reply that differs from the reference
  RejectedSelectionError   the recognition was refused (data.status)
  TaskFailedError          the task ended as failed
  UnknownOutcomeError      a task may or may not have been made
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from klingmask.kling.redaction import clean, cleaned, redacted

__all__ = [
    "AccountError",
    "AuthenticationError",
    "BadReplyError",
    "InvalidRequestError",
    "KlingError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "PolicyError",
    "RateLimitError",
    "RejectedSelectionError",
    "RequestConnectionError",
    "RequestTimeoutError",
    "ServerError",
    "SessionExpiredError",
    "TaskFailedError",
    "UnknownOutcomeError",
]


Outcome: TypeAlias = Literal["unsent", "refused", "failed", "unknown"]
"""What became of a request: it was not sent; the service refused it; the service says
that it failed; it may have been done."""


class KlingError(Exception):
    """Any error of the service or of the way to it.

    It may quote what the service said, but no key, token or query of a URL.

    Attributes
    ----------
    message : str
        What happened.
    code : int or None
        The service's code, if it gave one.
    status : int or None
        The HTTP status, if there was a reply.
    request_id : str or None
        The service's name for the request; its support asks for it.
    advice : str
        What to do about the error.
    retry_after : float or None
        Seconds that the service asked to wait.
    retryable : bool
        Whether the same request may succeed later.
    outcome : {"unsent", "refused", "failed", "unknown"} or None
        What became of the request; None if the error is not about a request.
    external_task_id : str or None
        Of the task that was to be created; None if the error is not about that.
        If the task was made all the same, `get_task` finds it by this id.
    """

    advice: str = ""
    retryable: bool = False
    external_task_id: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        advice: str | None = None,
        retryable: bool | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        self.message = clean(message)
        super().__init__(self.message)
        self.code = code
        self.status = status
        self.request_id = None if request_id is None else clean(request_id, 200)
        self.retry_after = retry_after
        if advice is not None:
            self.advice = redacted(advice)
        if retryable is not None:
            self.retryable = retryable
        self.outcome = outcome

    def __str__(self) -> str:
        facts = [
            f"{name} {value}"
            for name, value in (
                ("code", self.code),
                ("HTTP", self.status),
                ("request_id", self.request_id),
            )
            if value is not None
        ]
        text = f"{self.message} ({', '.join(facts)})" if facts else self.message
        return f"{text}; {self.advice}" if self.advice else text


class AuthenticationError(KlingError):
    """The key or token was refused."""

    advice = "check KLING_API_KEY, or KLING_ACCESS_KEY and KLING_SECRET_KEY, and this clock"


class PermissionDeniedError(KlingError):
    """The key is not allowed to do that, or not from this address."""

    advice = "check the account's permissions and its list of allowed addresses"


class AccountError(KlingError):
    """The account is in arrears, or its resource pack is used up or expired."""

    advice = "top up the account; a retry cannot help"


class InvalidRequestError(KlingError, ValueError):
    """A wrong parameter, found before anything was sent, or by the service."""

    advice = "nothing was sent; correct it and try again"


class NotFoundError(KlingError):
    """No such task, session or model."""

    advice = "check the id and the account; sessions live 24 hours, results 30 days"


class SessionExpiredError(InvalidRequestError, NotFoundError):
    """The session has ended: after 24 hours, or earlier at the service."""

    advice = "start a new one with edit_video()"


class PolicyError(KlingError):
    """A platform or content-safety policy was triggered."""

    advice = "change the prompt, the images or the video"


class RateLimitError(KlingError):
    """Too many requests, or too many tasks at once."""

    advice = "wait until running tasks have ended, or raise the client's retry_for"
    retryable = True


class ServerError(KlingError):
    """The service failed, or is in maintenance."""

    advice = "try again later; if it persists, ask the service's support"
    retryable = True


class RequestTimeoutError(KlingError, TimeoutError):
    """No reply in time."""

    advice = "try again later, or raise the client's timeout"
    retryable = True


class RequestConnectionError(KlingError, ConnectionError):
    """The connection could not be made, or it broke."""

    advice = "check the network, the proxy and the address"
    retryable = True


class BadReplyError(KlingError):
    """A reply that differs from the reference."""

    advice = "if it persists, the service may have changed: look for a newer klingmask"


class RejectedSelectionError(KlingError):
    """The call succeeded, but the recognition was refused.

    Attributes
    ----------
    rejection : int
        The reply's ``data.status``, the service's code for the reason.
    raw : mapping
        The reply's data, without keys, tokens and the queries of URLs.
    """

    advice = "choose other points or another frame"

    def __init__(
        self,
        message: str,
        *,
        rejection: int = 0,
        raw: Mapping[str, Any] | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(message, advice=advice)
        self.rejection = rejection
        self.raw: Mapping[str, Any] = cleaned(raw or {})


class TaskFailedError(KlingError):
    """The task ended as failed."""

    advice = "change what the reason names, and submit a new task"


class UnknownOutcomeError(KlingError):
    """A task may or may not have been made, and the service gives no answer.

    Code, status and request_id are those of the last reply.

    Attributes
    ----------
    external_task_id : str
        If the task was made, `get_task` finds it by this id.
    """

    external_task_id: str

    def __init__(self, message: str, external_task_id: str, last: KlingError | None = None) -> None:
        super().__init__(
            message,
            code=None if last is None else last.code,
            status=None if last is None else last.status,
            request_id=None if last is None else last.request_id,
            advice=f"ask get_task(external_task_id={external_task_id!r}) "
            "before you create it again",
            outcome="unknown",
        )
        self.external_task_id = external_task_id

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle both arguments; the default would pass the message alone."""
        return type(self), (self.message, self.external_task_id), vars(self)
