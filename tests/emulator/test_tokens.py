"""The Authorization header: keys and tokens, right and wrong."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from klingmask import kling
from klingmask.emulator import Emulator
from klingmask.kling import KlingClient
from tests.emulator.http_client import OK, Api


def token(emulator: Emulator, **changes: Any) -> str:
    """A token as the reference says it is made, but for the changes."""
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT"}
    claims = {"iss": emulator.access_key, "exp": now + 1800, "nbf": now - 5}
    header |= {key: changes.pop(key) for key in ("alg",) if key in changes}
    secret = changes.pop("key", emulator.secret_key)
    claims = {key: value for key, value in (claims | changes).items() if value is not None}
    parts = [json.dumps(part).encode() for part in (header, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.digest(secret.encode(), signed, "sha256")
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


HEADERS: dict[str, tuple[Callable[[Emulator], str], int]] = {
    "the API key": (lambda e: f"Bearer {e.api_key}", 0),
    "a token": (lambda e: f"Bearer {token(e)}", 0),
    "fractions of seconds": (lambda e: f"Bearer {token(e, exp=time.time() + 1800.5)}", 0),
    "nothing": (lambda _: "", 1001),
    "no token": (lambda _: "Bearer", 1002),
    "an empty token": (lambda _: "Bearer ", 1002),
    "another scheme": (lambda _: "Basic abc", 1002),
    "a key without a scheme": (lambda e: e.api_key, 1002),
    "no key": (lambda _: "Bearer x", 1000),
    "three letters": (lambda _: "Bearer a.b.c", 1000),
    "three dots": (lambda _: "Bearer ...", 1000),
    "not ASCII": (lambda _: "Bearer \xe4\xf6", 1000),
    "a longer key": (lambda e: f"Bearer {e.api_key}x", 1000),
    "another secret": (lambda e: f"Bearer {token(e, key='another')}", 1000),
    "a cut signature": (lambda e: f"Bearer {token(e)[:-2]}", 1000),
    "no signature": (lambda e: f"Bearer {token(e, alg='none')}", 1000),
    "another access key": (lambda e: f"Bearer {token(e, iss='another')}", 1000),
    "no access key": (lambda e: f"Bearer {token(e, iss=None)}", 1000),
    "no end": (lambda e: f"Bearer {token(e, exp=None)}", 1000),
    "a begin in words": (lambda e: f"Bearer {token(e, nbf='soon')}", 1000),
    "a list of begins": (lambda e: f"Bearer {token(e, nbf=[1])}", 1000),
    "a huge end": (lambda e: f"Bearer {token(e, exp=10**400)}", 1000),
    "not yet": (lambda e: f"Bearer {token(e, nbf=time.time() + 60)}", 1003),
    "no longer": (lambda e: f"Bearer {token(e, exp=time.time() - 1)}", 1004),
}


@pytest.mark.parametrize("name", HEADERS)
def test_sign_in(emulator: Emulator, name: str) -> None:
    header, code = HEADERS[name]
    api = Api(emulator)
    api.header = header(emulator)
    assert api.get().verdict == ((401, code) if code else OK)


@pytest.mark.parametrize(("offset", "code"), [(0, 0), (-3, 0), (600, 0), (-60, 1003), (2000, 1004)])
def test_clocks_that_disagree(emulator: Emulator, offset: float, code: int) -> None:
    """The client's tokens, judged by a clock that is ahead or behind."""
    emulator.clock_offset = offset
    with KlingClient(
        access_key=emulator.access_key,
        secret_key=emulator.secret_key,
        base_url=emulator.base_url,
    ) as client:
        if code:
            with pytest.raises(kling.AuthenticationError, match="clock") as caught:
                client.list_tasks()
            assert caught.value.code == code
        else:
            assert client.list_tasks() == []
