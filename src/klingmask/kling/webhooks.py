"""Callbacks of the service: verifying their signature and reading them.

Signatures follow the Standard Webhooks scheme. The package `standardwebhooks` computes
them. Its ``verify`` is not used: it raises ValueError at a malformed entry of the
signature header instead of trying the next one, takes one secret only, and always uses
this machine's clock.
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
    """A mapping, or the headers of http.server or Flask, which are no mappings."""

    def items(self) -> Iterable[tuple[Any, Any]]: ...


Headers: TypeAlias = _HasItems | Iterable[Sequence[Any]]
"""The headers of any server: an object with ``items()``, such as a WSGI environment, or pairs,
as in ASGI. Names and values are str or bytes."""


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
        Of the HTTP request, as the server has them: those of http.server, Flask, Django,
        Starlette and others, a WSGI environment, or ASGI's pairs of bytes. Case does not
        matter.
    body : bytes
        Of the request, exactly as it was received.
    secret : str, several str, or None
        The webhook secret, with or without ``whsec_``. Give both while one is being
        replaced. None skips the verification; then call `get_task` to be sure.
    now : float, optional
        The current time in Unix seconds, for tests.

    Returns
    -------
    Task

    Raises
    ------
    TypeError
        If an argument is of another type.
    AuthenticationError
        If no signature fits, or the timestamp is more than 5 minutes from now.
    BadReplyError
        If the body is not that of a callback.

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
    return Task.read(document if "task_id" in document else _in_older_form(document))


NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def _signature_headers(headers: Headers) -> dict[str, str]:
    """Return the three headers of the scheme by their names in lower case."""
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
        return value.decode("latin-1")  # the encoding of HTTP headers
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
            # No early exit: the time that it takes must not tell which one was nearly right.
            matches |= hmac.compare_digest(given.encode(errors="replace"), one)
    if not matches:
        raise _refused("the callback's signature does not fit the secret")


def _signature(secret: str, name: str, seconds: int, body: bytes) -> bytes:
    """Return the signature that the service, which knows the secret, makes for this body."""
    try:
        signer = Webhook(secret)
    except (EmptyWebhookSecretError, ValueError):
        signer = None
    if signer is None:
        raise _refused("a webhook secret is whsec_ and base64; this one is not")
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
        return signer.sign(msg_id=name, timestamp=moment, data=body.decode()).encode()
    except (ValueError, OverflowError, OSError):  # the body is no text, or the time is far off
        return b""  # equals no entry of the header


def _refused(reason: str) -> AuthenticationError:
    return AuthenticationError(
        reason, advice="do not act on it; check the webhook secret, and this clock"
    )


def _in_older_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a callback of the newer form with the field names of the older form."""
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
    """Return the sum of the units in ``billing`` as a decimal number; None if it is unknown."""
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
