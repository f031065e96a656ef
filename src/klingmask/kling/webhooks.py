"""Callbacks: whether it is the service that calls, and what it says.

The signature is that of the Standard Webhooks scheme, which the package
`standardwebhooks` makes. Its own ``verify`` is not used: a malformed entry of the
signature header ends it with a ValueError before it has looked at the next one, it
knows one secret at a time, and no clock but this machine's.
"""

import hmac
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeAlias

from klingmask.kling.bodies import parse_json
from klingmask.kling.errors import AuthenticationError, BadReplyError
from klingmask.kling.models import Task
from klingmask.kling.redaction import clean

try:
    from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook
except ImportError as error:
    raise ImportError("callbacks need standardwebhooks: pip install 'klingmask[kling]'") from error

__all__ = ["Headers", "parse_callback"]

TOLERANCE = 300  # seconds that a callback's time may be from now


class _HasItems(Protocol):
    """A mapping, or what the headers of http.server and of Flask are."""

    def items(self) -> Iterable[tuple[Any, Any]]: ...


Headers: TypeAlias = _HasItems | Iterable[Sequence[Any]]
"""Of any server: whatever has ``items()``, a WSGI environment among them, or a list of
pairs, as ASGI has it. Names and values are str or bytes."""


def parse_callback(
    headers: Headers,
    body: bytes,
    secret: str | Iterable[str] | None,
    *,
    now: float | None = None,
) -> Task:
    """Verify a callback and read it.

    Parameters
    ----------
    headers : mapping, or pairs
        Of the HTTP request, as the server has them: of http.server, Flask, Django,
        Starlette and others, a WSGI environment, the pairs of bytes of ASGI. Upper
        and lower case do not matter.
    body : bytes
        Of the request, exactly as it came.
    secret : str, or several, or None
        The webhook secret, with or without ``whsec_``; two while one is being
        rotated. None skips the verification: then ask `get_task` before you
        believe it.
    now : float, optional
        Unix seconds, for tests.

    Returns
    -------
    Task

    Raises
    ------
    TypeError
        If an argument is of another type.
    AuthenticationError
        If no signature fits, or the time is more than 5 minutes from now.
    BadReplyError
        If the body is not a callback's.

    Examples
    --------
    In a handler of ``http.server``::

        body = self.rfile.read(int(self.headers["Content-Length"]))
        task = parse_callback(self.headers, body, secret)
        if task.ended: ...
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"body must be the bytes as they came, got {type(body).__name__}")
    body = bytes(body)
    if secret is not None:
        _verify(_signature_headers(headers), body, _secrets(secret), now)
    try:
        document = parse_json(body)
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        start = clean(body[:4000].decode(errors="replace"), 80)
        raise BadReplyError(f"the callback is no object of JSON: {start!r}")
    return Task.read(document if "task_id" in document else _older(document))


NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def _signature_headers(headers: Headers) -> dict[str, str]:
    """The headers of the signature, by their names in lower case; only these are looked at."""
    items = getattr(headers, "items", None)
    pairs = items() if callable(items) else headers
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError(f"headers must be a mapping or pairs, got {type(headers).__name__}")
    found: dict[str, str] = {}
    for pair in pairs:
        if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"headers must be a mapping or pairs, got {type(pair).__name__}")
        name = _text(pair[0], "names").lower().replace("_", "-").removeprefix("http-")
        if name in NAMES:
            value = _text(pair[1], f"a value for {name}").strip()
            if name in found and name != "webhook-signature":
                raise _refused(f"the callback has more than one {name} header")
            found[name] = f"{found[name]} {value}" if name in found else value
    return found


def _text(value: object, what: str) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")  # which HTTP's headers are in
    if not isinstance(value, str):
        raise TypeError(f"headers must have {what} of str or bytes, got {type(value).__name__}")
    return value


def _secrets(secret: str | Iterable[str]) -> list[str]:
    secrets: list[Any]
    if isinstance(secret, (str, bytes)) or not isinstance(secret, Iterable):
        secrets = [secret]
    else:
        secrets = list(secret)
    for one in secrets:
        if not isinstance(one, str):
            raise TypeError(f"a webhook secret must be a str, got {type(one).__name__}")
    return secrets


def _verify(headers: Mapping[str, str], body: bytes, secrets: list[str], now: float | None) -> None:
    missing = [name for name in NAMES if not headers.get(name)]
    if missing:
        raise _refused(f"the callback has no {missing[0]} header")
    name, stamp, signatures = (headers[name] for name in NAMES)
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 12):
        raise _refused("the callback's webhook-timestamp is not a number of seconds")
    if abs((time.time() if now is None else now) - int(stamp)) > TOLERANCE:
        raise _refused(f"the callback's time is more than {TOLERANCE} s from now")
    expected = [_signature(secret, name, int(stamp), body) for secret in secrets]
    matches = False
    for given in signatures.split():
        for one in expected:
            # No early end: how long it takes must not tell which was near.
            matches |= hmac.compare_digest(given.encode(errors="replace"), one)
    if not matches:
        raise _refused("the callback's signature does not fit the secret")


def _signature(secret: str, name: str, seconds: int, body: bytes) -> bytes:
    """What the header must hold if the service, which knows the secret, has sent this."""
    try:
        signer = Webhook(secret)
    except (EmptyWebhookSecretError, ValueError):
        signer = None
    if signer is None:
        raise _refused("a webhook secret is whsec_ and base64; this one is not")
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
        return signer.sign(msg_id=name, timestamp=moment, data=body.decode()).encode()
    except (ValueError, OverflowError, OSError):  # a body that is no text, a time far from now
        return b""


def _refused(reason: str) -> AuthenticationError:
    return AuthenticationError(
        reason, advice="do not act on it; check the webhook secret, and this clock"
    )


def _older(document: Mapping[str, Any]) -> dict[str, Any]:
    """The newer form of a callback in the words of the older."""
    outputs = document.get("outputs")
    videos = [
        {**output, "id": output.get("id", "?")}
        for output in (outputs if isinstance(outputs, list) else [])
        if isinstance(output, Mapping) and output.get("url")
    ]
    return {
        **document,
        "task_id": document.get("id"),
        "task_status": document.get("status"),
        "task_status_msg": document.get("message") or "",
        "task_info": {"external_task_id": document.get("external_id") or ""},
        "task_result": {"videos": videos},
        "created_at": document.get("create_time"),
        "updated_at": document.get("update_time"),
        "final_unit_deduction": _units(document.get("billing")),
    }


def _units(billing: Any) -> str | None:
    """The sum of the units in a bill, as a decimal number; None if it does not tell."""
    entries = [billing] if isinstance(billing, Mapping) else billing
    if not isinstance(entries, list):
        return None
    try:
        amounts = [
            Decimal(str(entry["amount"])) for entry in entries if entry["charge_type"] == "unit"
        ]
    except (KeyError, TypeError, InvalidOperation):
        return None
    if not amounts or any(not one.is_finite() or abs(one.adjusted()) > 20 for one in amounts):
        return None
    return f"{sum(amounts, Decimal(0)):f}"
