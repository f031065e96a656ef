"""The platform's table of codes, and what goes wrong with a request by plan."""

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
"""What a plan that names an HTTP status alone means; any other is a 5000."""


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """What the service answers in the place of a success.

    Parameters
    ----------
    code : int
        Of the table.
    message : str
        By default the table's words.
    status : int, optional
        Of HTTP; by default the table's.
    """

    def __init__(self, code: int, message: str = "", status: int | None = None) -> None:
        usual, words = CODES.get(code, (500, "unknown error"))
        self.code, self.message = code, message or words
        self.status = usual if status is None else status
        super().__init__(self.message)


def bad_value(message: str) -> Refusal:
    """Answer that a key or value is invalid."""
    return Refusal(1201, message)


@dataclass
class Fault:
    """What goes wrong with one request, by plan.

    Parameters
    ----------
    status : int, optional
        Of HTTP; by default that of the code. From 300 on the request is refused,
        and nothing is done.
    code : int, optional
        Of the service, in a refusal; by default one that the platform's table has
        for the status. A code other than 0 refuses under any status.
    message : str
        Of the refusal; by default the table's words.
    delay : float
        Seconds before the answer, after the work.
    reset : {"", "before", "after"}
        Break the connection before or after the work is done.
    cut : bool
        Send half of the answer only.
    retry_after : str
        A Retry-After header.
    works : bool
        Whether the work is done although the request is refused.
    body : bytes, optional
        What is sent in the place of the answer, whatever it is.
    slow : float
        Seconds over which the answer is spread.
    rejects : int
        The ``data.status`` with which a selection endpoint says that the call
        succeeded and the recognition was refused; the selection stays as it was.
    fails : str
        For "create-task": the task is made, and ends as failed for this reason.
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
        """The answer in the place of a success, if there is to be one."""
        if self.code is not None:
            return Refusal(self.code, self.message, self.status) if self.code else None
        if self.status is None or self.status < 300:
            return None
        return Refusal(_BY_STATUS.get(self.status, 5000), self.message, self.status)
