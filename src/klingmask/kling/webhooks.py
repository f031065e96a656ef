"""Callbacks: whether it is the service that calls, and what it says.

The signature is that of the Standard Webhooks scheme: HMAC-SHA256 of
``{id}.{timestamp}.{body}`` under the secret, in base64, one or several of them.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from klingmask.kling.errors import AuthenticationError, BadReplyError
from klingmask.kling.models import Task
from klingmask.kling.urls import without_queries

__all__ = ["parse_callback"]

TOLERANCE = 300  # seconds that a callback's time may be from now


def parse_callback(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Iterable[str] | None,
    *,
    now: float | None = None,
) -> Task:
    """Verify a callback and read it.

    Parameters
    ----------
    headers : mapping
        Of the HTTP request; upper and lower case do not matter.
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
        If an argument is of another type, as headers of bytes are.
    AuthenticationError
        If no signature fits, or the time is more than 5 minutes from now.
    BadReplyError
        If the body is not a callback's.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"body must be the bytes as they came, got {type(body).__name__}")
    if secret is not None:
        _verify(_texts(headers), body, _secrets(secret), now)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        start = without_queries(body[:80].decode(errors="replace"))
        raise BadReplyError(f"the callback is no object of JSON: {start!r}")
    return Task.read(document if "task_id" in document else _older(document))


def _texts(headers: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping, got {type(headers).__name__}")
    for pair in headers.items():
        if not all(isinstance(text, str) for text in pair):
            kinds = " to ".join(type(text).__name__ for text in pair)
            raise TypeError(f"headers must map str to str, got {kinds}")
    return {name.lower(): value for name, value in headers.items()}


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
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    missing = [name for name in names if not headers.get(name)]
    if missing:
        raise _refused(f"the callback has no {missing[0]} header")
    name, stamp, signatures = (headers[name] for name in names)
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 16):
        raise _refused("the callback's webhook-timestamp is not a number of seconds")
    if abs((time.time() if now is None else now) - int(stamp)) > TOLERANCE:
        raise _refused(f"the callback's time is more than {TOLERANCE} s from now")
    signed = f"{name}.{stamp}.".encode(errors="replace") + body
    matches = False
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256))
        for signature in signatures.split():
            version, _, given = signature.partition(",")
            # No early end: how long it takes must not tell which was near.
            matches |= (version == "v1") & hmac.compare_digest(
                given.encode(errors="replace"), expected
            )
    if not matches:
        raise _refused("the callback's signature does not fit the secret")


def _refused(reason: str) -> AuthenticationError:
    return AuthenticationError(
        reason, advice="do not act on it; check the webhook secret, and this clock"
    )


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise _refused("a webhook secret is whsec_ and base64; this one is not")
    return key


def _older(document: Mapping[str, Any]) -> dict[str, Any]:
    """The newer form of a callback in the words of the older."""
    outputs = document.get("outputs")
    videos = [
        {**output, "id": output.get("id", "?")}
        for output in (outputs if isinstance(outputs, list) else [])
        if isinstance(output, Mapping) and output.get("url")
    ]
    billing = document.get("billing")
    return {
        **document,
        "task_id": document.get("id"),
        "task_status": document.get("status"),
        "task_status_msg": document.get("message") or "",
        "task_info": {"external_task_id": document.get("external_id") or ""},
        "task_result": {"videos": videos},
        "created_at": document.get("create_time"),
        "updated_at": document.get("update_time"),
        "final_unit_deduction": billing.get("units") if isinstance(billing, Mapping) else None,
    }
