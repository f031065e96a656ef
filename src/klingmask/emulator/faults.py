"""The platform's table of codes, and faults that tests plan for requests."""

from dataclasses import dataclass

__all__ = ["CODES", "Fault", "Refusal", "bad_value"]

CODES = {
    1000: (401, "authentication failed"),
    1001: (401, "Authorization is empty"),
    1002: (401, "Authorization is invalid"),
    1003: (401, "the token is not valid yet"),
    1004: (401, "the token has expired"),
    1100: (429, "account exception"),
    1101: (429, "account in arrears"),
    1102: (429, "resource pack used up or expired"),
    1103: (403, "no access to the requested resource"),
    1200: (400, "invalid request parameters"),
    1201: (400, "invalid parameters"),
    1202: (404, "the requested method is invalid"),
    1203: (404, "the requested resource does not exist"),
    1300: (400, "a platform policy was triggered"),
    1301: (400, "the content safety policy was triggered"),
    1302: (429, "too many requests"),
    1303: (429, "parallel task over resource pack limit"),
    1304: (429, "the IP address is not on the allow list"),
    5000: (500, "server error"),
    5001: (503, "temporarily unavailable: maintenance"),
    5002: (504, "server timed out"),
}
"""Service code -> (HTTP status, meaning)."""

_BY_STATUS = {400: 1200, 401: 1000, 403: 1103, 404: 1203, 429: 1302, 503: 5001, 504: 5002}
"""The code of a planned fault that has a status only; other statuses have 5000."""


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """An answer of the service that is not a success.

    Parameters
    ----------
    code : int
        From the platform's table.
    message : str
        By default the table's.
    status : int, optional
        The HTTP status; by default the table's.
    """

    def __init__(self, code: int, message: str = "", status: int | None = None) -> None:
        usual, words = CODES.get(code, (500, "unknown error"))
        self.code, self.message = code, message or words
        self.status = usual if status is None else status
        super().__init__(self.message)


def bad_value(message: str) -> Refusal:
    """Make the refusal for an invalid key or value."""
    return Refusal(1201, message)


@dataclass
class Fault:
    """A fault that a test plans for one request.

    Parameters
    ----------
    status : int, optional
        The HTTP status; by default that of the code. 300 or more refuses the request:
        nothing is done.
    code : int, optional
        The service's code; by default one that the platform's table has for the status.
        A code other than 0 refuses the request under any status.
    message : str
        Of the refusal; by default the table's.
    delay : float
        Seconds to wait after the work and before the reply.
    reset : {"", "before", "after"}
        Reset the connection before or after the work is done.
    cut : bool
        Send half of the reply's body, then close the connection.
    retry_after : str
        The value of a Retry-After header.
    works : bool
        Do the work although the request is refused.
    body : bytes, optional
        Sent in place of the reply's body.
    slow : float
        Seconds over which the reply's body is spread.
    rejects : int
        The ``data.status`` with which a selection endpoint says that the call
        succeeded and the recognition was rejected; the selection stays as it was.
    fails : str
        For "create-task": the task is created, and ends as failed for this reason.

    Examples
    --------
    >>> from klingmask.emulator import Fault
    >>> Fault(status=503).refusal().message
    'temporarily unavailable: maintenance'
    """

    status: int | None = None
    code: int | None = None
    message: str = ""
    delay: float = 0.0
    reset: str = ""
    cut: bool = False
    retry_after: str = ""
    works: bool = False
    body: bytes | None = None
    slow: float = 0.0
    rejects: int = 0
    fails: str = ""

    def __post_init__(self) -> None:
        if self.reset not in ("", "before", "after"):
            raise ValueError(f"reset must be '', 'before' or 'after', got {self.reset!r}")

    def refusal(self) -> Refusal | None:
        """The refusal that this fault makes, or None."""
        if self.code is not None:
            return Refusal(self.code, self.message, self.status) if self.code else None
        if self.status is None or self.status < 300:
            return None
        return Refusal(_BY_STATUS.get(self.status, 5000), self.message, self.status)
