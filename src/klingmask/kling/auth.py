"""Signing in: with an API key, or with tokens made from an access key and a secret key."""

import os
import threading
import time
from collections import deque
from typing import Any, Protocol

import jwt

from klingmask.kling.errors import AuthenticationError
from klingmask.kling.redaction import remember

__all__ = ["ApiKey", "Auth", "TokenKeys", "find_auth"]

LIFETIME = 1800  # seconds that a token is valid, from the platform's documentation
SKEW = 5  # seconds by which the clocks here and there may differ
RENEW_BEFORE = 60  # seconds before its end at which a token is replaced
VARIABLES = ("KLING_API_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY")


class Auth(Protocol):
    """What the transport needs to sign in."""

    def token(self) -> str:
        """Return what follows ``Bearer``, and remember it for redaction."""

    def renew(self, refused: str) -> bool:
        """Return whether there is another token to try after this one was refused."""


class ApiKey:
    """An API key, sent as it is."""

    def __init__(self, key: str) -> None:
        self._key = key
        remember(key)

    def __repr__(self) -> str:
        return "ApiKey(...)"

    def token(self) -> str:
        """Return the key."""
        remember(self._key)
        return self._key

    def renew(self, refused: str) -> bool:  # noqa: ARG002
        """Return False: there is only one key."""
        return False


class TokenKeys:
    """An access key and a secret key; tokens are HS256 JWTs, each used until it nearly ends."""

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._lock = threading.Lock()
        self._token = ""
        self._refused: deque[str] = deque(maxlen=8)
        self._expires = 0.0
        remember(access_key, secret_key)

    def __repr__(self) -> str:
        return "TokenKeys(...)"

    def token(self) -> str:
        """Return a token that is valid for at least a minute."""
        with self._lock:
            now = time.time()
            # The second condition fails if the clock was set back: the token would come from
            # the future.
            if not now + RENEW_BEFORE < self._expires <= now + LIFETIME:
                self._expires = now + LIFETIME
                self._token = self._new_token(now)
            _, payload, signature = self._token.split(".")
            remember(self._access_key, self._secret_key, self._token, payload, signature)
            return self._token

    def _new_token(self, now: float) -> str:
        claims: dict[str, Any] = {
            "iss": self._access_key,
            "exp": int(self._expires),
            "nbf": int(now) - SKEW,
        }
        while True:
            token = jwt.encode(claims, self._secret_key, algorithm="HS256")
            if token not in self._refused:
                return token
            claims["nbf"] -= 1  # two tokens of the same second are equal

    def renew(self, refused: str) -> bool:
        """Discard the token if it is the one that was refused."""
        with self._lock:
            if self._token == refused:
                self._refused.append(refused)
                self._expires = 0.0
        return True


def find_auth(
    api_key: str | None,
    access_key: str | None,
    secret_key: str | None,
) -> Auth:
    """Return the sign-in for the arguments, or else for the environment; an API key comes first."""
    given = {"api_key": api_key, "access_key": access_key, "secret_key": secret_key}
    if not any(given.values()):
        given = {name: os.environ.get(name) for name in VARIABLES}
    elif api_key and (access_key or secret_key):
        raise AuthenticationError(
            "there are api_key and access_key or secret_key",
            advice="give KlingClient an API key, or an access key and a secret key, not both",
        )
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise AuthenticationError(
                f"{name} must be a text, got {type(value).__name__}",
                advice="give KlingClient the key itself",
            )
        if value and (not value.isascii() or not value.isprintable() or " " in value):
            raise AuthenticationError(
                f"{name} has a space or another character that keys do not have",
                advice="copy it again, without line ends",
            )
    key, access, secret = given.values()
    if key:
        return ApiKey(key)
    if access and secret:
        return TokenKeys(access, secret)
    raise AuthenticationError(
        "there is no API key, nor both an access key and a secret key",
        advice="give them to KlingClient, or set KLING_API_KEY, "
        "or KLING_ACCESS_KEY and KLING_SECRET_KEY",
    )
