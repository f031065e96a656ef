"""What can go wrong with the service, as a tree.

KlingError
  AuthenticationError      the key or token was refused
  PermissionDeniedError    this key, or this address, may not do that
  AccountError             the account is in arrears, or its pack is used up
  InvalidRequestError      a limit or a parameter, found here or by the service
    SessionExpiredError    the session is older than 24 hours
  NotFoundError            no such task, session or model
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

from typing import Any, ClassVar

__all__ = [
    "AccountError",
    "AuthenticationError",
    "BadReplyError",
    "InvalidRequestError",
    "KlingError",
    "NotFoundError",
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


class KlingError(Exception):
    """Anything that went wrong with the service.

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
    """

    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

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


class SessionExpiredError(InvalidRequestError):
    """The session is older than the 24 hours that it lives."""

    advice = "start a new one with edit_video()"


class NotFoundError(KlingError):
    """No such task, session or model."""


class PolicyError(KlingError):
    """A platform or content-safety policy was triggered."""

    advice = "change the prompt, the images or the video"


class RateLimitError(KlingError):
    """Too many requests, or too many tasks at once."""

    advice = "wait for running tasks to end, or raise the client's retry_for"


class ServerError(KlingError):
    """The service failed, or is in maintenance."""


class RequestTimeoutError(KlingError, TimeoutError):
    """No reply in time."""


class RequestConnectionError(KlingError, ConnectionError):
    """The connection could not be made, or broke."""


class BadReplyError(KlingError):
    """A reply that is not what the reference says."""


class RejectedSelectionError(KlingError):
    """The call succeeded, but the recognition was refused."""

    advice = "choose other points or another frame"


class TaskFailedError(KlingError):
    """The task ended as failed."""


class UnknownOutcomeError(KlingError):
    """A task may or may not have been made, and the service could not be asked.

    Attributes
    ----------
    external_task_id : str
        Under which `get_task` will find it if it was made.
    """

    advice = "ask get_task(external_task_id=...) before you create it again"

    def __init__(self, message: str, external_task_id: str) -> None:
        super().__init__(message)
        self.external_task_id = external_task_id

    def __reduce__(self) -> tuple[Any, ...]:
        """Across processes too: by default only the message would be handed over."""
        return type(self), (self.message, self.external_task_id), vars(self)
