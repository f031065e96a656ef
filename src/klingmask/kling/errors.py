"""What can go wrong with the service, as a tree.

KlingError
  AuthenticationError      the key or token was refused
  PermissionDeniedError    this key, or this address, may not do that
  AccountError             the account is in arrears, or its pack is used up
  InvalidRequestError      a limit or a parameter, found here or by the service
  NotFoundError            no such task, session or model
    SessionExpiredError    both: the session is older than 24 hours
  PolicyError              a content or platform policy was triggered
  RateLimitError           too many requests or tasks at once
  ServerError              the service failed
  RequestTimeoutError      no reply in time
  RequestConnectionError   the connection failed
  BadReplyError            a reply that is not what the reference says
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
"""What became of a request: it never left; it was decided against; the service says
that it failed; it may have been done."""


class KlingError(Exception):
    """Anything that went wrong with the service.

    It may quote what the service said, but never a key, a token or the query of a URL.

    Attributes
    ----------
    message : str
        What happened.
    code : int or None
        The service's code, if it gave one.
    status : int or None
        The HTTP status, if there was a reply.
    request_id : str or None
        What the service's support asks for.
    advice : str
        What to do about it.
    retry_after : float or None
        Seconds that the service asked to wait.
    passing : bool
        Whether the same request may succeed later.
    outcome : {"unsent", "refused", "failed", "unknown"} or None
        What became of the request; None if it is not about one.
    external_task_id : str or None
        Of the task that was to be created, if it was about one: should it have been
        made all the same, `get_task` finds it under that.
    """

    advice: str = ""
    passing: bool = False
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
        passing: bool | None = None,
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
        if passing is not None:
            self.passing = passing
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
        told = f"{self.message} ({', '.join(facts)})" if facts else self.message
        return f"{told}; {self.advice}" if self.advice else told


class AuthenticationError(KlingError):
    """The key or token was refused."""

    advice = "check KLING_API_KEY, or KLING_ACCESS_KEY and KLING_SECRET_KEY, and this clock"


class PermissionDeniedError(KlingError):
    """Not for this key, or not from this address."""

    advice = "check what the account may use and its list of allowed addresses"


class AccountError(KlingError):
    """The account is in arrears, or its resource pack is used up or expired."""

    advice = "top up the account; trying again cannot help"


class InvalidRequestError(KlingError, ValueError):
    """A limit or a parameter, found here before anything was sent, or by the service."""

    advice = "nothing was sent; correct it and call again"


class NotFoundError(KlingError):
    """No such task, session or model."""

    advice = "check the id and the account; sessions live 24 hours, results 30 days"


class SessionExpiredError(InvalidRequestError, NotFoundError):
    """The session is older than the 24 hours that it lives."""

    advice = "start a new one with edit_video()"


class PolicyError(KlingError):
    """A platform or content-safety policy was triggered."""

    advice = "change the prompt, the images or the video"


class RateLimitError(KlingError):
    """Too many requests, or too many tasks at once."""

    advice = "wait for running tasks to end, or raise the client's retry_for"
    passing = True


class ServerError(KlingError):
    """The service failed, or is in maintenance."""

    advice = "try again later; if it stays, ask the service's support"
    passing = True


class RequestTimeoutError(KlingError, TimeoutError):
    """No reply in time."""

    advice = "try again later, or raise the client's timeout"
    passing = True


class RequestConnectionError(KlingError, ConnectionError):
    """The connection could not be made, or broke."""

    advice = "check the network, the proxy and the address"
    passing = True


class BadReplyError(KlingError):
    """A reply that is not what the reference says."""

    advice = "if it stays, tell the service's support; the service may have changed"


class RejectedSelectionError(KlingError):
    """The call succeeded, but the recognition was refused.

    Attributes
    ----------
    rejection : int
        The reply's ``data.status``, which says why.
    raw : mapping
        The reply's data, but for keys, tokens and the queries of URLs.
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

    advice = "change what the reason names and submit a new task"


class UnknownOutcomeError(KlingError):
    """A task may or may not have been made, and the service does not tell.

    Code, status and request_id are those of the last reply that was no answer.

    Attributes
    ----------
    external_task_id : str
        Under which `get_task` will find it if it was made.
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
        """Across processes too: by default only the message would be handed over."""
        return type(self), (self.message, self.external_task_id), vars(self)
