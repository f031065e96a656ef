"""The Authorization header: an API key, or a token (JWT, HS256) that the service verifies.

The client's library is not used: a fault that both share would not be seen.
"""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

from klingmask.emulator.faults import Refusal

__all__ = ["sign_in"]


def sign_in(header: str, keys: Mapping[str, str], now: float) -> None:
    """Accept an Authorization header, or raise the documented refusal.

    Parameters
    ----------
    header : str
        "Bearer " and an API key or a token.
    keys : mapping
        api_key, access_key and secret_key.
    now : float
        The service's clock, in Unix seconds.
    """
    if not header:
        raise Refusal(1001)
    scheme, _, token = header.partition(" ")
    if scheme != "Bearer" or not token:
        raise Refusal(1002)
    if hmac.compare_digest(token.encode(), keys["api_key"].encode()):
        return
    try:
        claims = _claims(token, keys["secret_key"])
        begin, end = float(claims["nbf"]), float(claims["exp"])
        known = claims["iss"] == keys["access_key"]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise Refusal(1000) from None
    if not known:
        raise Refusal(1000)
    if now < begin:
        raise Refusal(1003)
    if not now < end:
        raise Refusal(1004)


def _claims(token: str, secret: str) -> dict[str, Any]:
    """The claims of a token that was signed with the secret; others raise ValueError."""
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    digest = hmac.digest(secret.encode(), signed.encode(), "sha256")
    if header["alg"] != "HS256" or not hmac.compare_digest(_decoded(signature), digest):
        raise ValueError("not signed with the secret key")
    if not isinstance(claims, dict):
        raise TypeError("claims must be an object")
    return claims


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
