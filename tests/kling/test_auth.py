"""Signing in: keys, and the tokens made from them."""

import time
from collections.abc import Callable

import jwt
import pytest

from klingmask import kling
from klingmask.kling import KlingClient
from klingmask.kling.auth import TokenKeys
from tests.kling.server import Fault, Service


def test_tokens(service: Service, make: Callable[..., KlingClient]) -> None:
    with make(access_key="access", secret_key=service.secret_key) as client:
        client.list_tasks()
        client.list_tasks()
    tokens = {request.headers["Authorization"] for request in service.requests}
    assert len(tokens) == 1
    token = tokens.pop().removeprefix("Bearer ")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, service.secret_key, algorithms=["HS256"])
    assert claims.keys() == {"iss", "exp", "nbf"}
    assert claims["iss"] == "access"
    assert abs(claims["exp"] - time.time() - 1800) < 5
    assert claims["exp"] - claims["nbf"] in (1804, 1805, 1806)


@pytest.mark.parametrize("code", [1003, 1004])
def test_a_refused_token_is_made_anew_once(
    service: Service, make: Callable[..., KlingClient], code: int
) -> None:
    with make(access_key="access", secret_key=service.secret_key) as client:
        client.list_tasks()
        service.faults["*"].append(Fault(401, code))
        client.list_tasks()
        assert len(service.requests) == 3
        service.faults["*"] += [Fault(401, code)] * 5
        with pytest.raises(kling.AuthenticationError):
            client.list_tasks()
        assert len(service.requests) == 5
    service.faults["*"] = [Fault(401, code)] * 5
    with make() as client, pytest.raises(kling.AuthenticationError):
        client.list_tasks()  # an API key has no other


def test_tokens_are_renewed_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr(time, "time", lambda: now)
    keys = TokenKeys("a", "s" * 32)
    first = keys.token()
    now += 1700
    assert keys.token() == first
    now += 50
    second = keys.token()
    assert second != first
    now -= 7200  # the clock was wrong and is set right
    assert keys.token() not in (first, second)


def test_keys_come_from_arguments_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(kling.AuthenticationError, match="no API key"):
        KlingClient()
    with pytest.raises(kling.AuthenticationError, match="nor both"):
        KlingClient(access_key="a")
    with pytest.raises(kling.AuthenticationError, match="not both"):
        KlingClient("key", access_key="a", secret_key="s")  # noqa: S106
    for name in ("api_key", "access_key", "secret_key"):
        with pytest.raises(kling.AuthenticationError, match=f"{name} has a space") as caught:
            KlingClient(**{name: "key\n"})  # type: ignore[arg-type]
        assert "clock" not in str(caught.value)
    with pytest.raises(kling.AuthenticationError, match="api_key must be a text, got int"):
        KlingClient(5)  # type: ignore[arg-type]
    monkeypatch.setenv("KLING_SECRET_KEY", "a key")
    with pytest.raises(kling.AuthenticationError, match="KLING_SECRET_KEY has a space"):
        KlingClient()
    monkeypatch.setenv("KLING_ACCESS_KEY", "a")
    monkeypatch.setenv("KLING_SECRET_KEY", "s")
    monkeypatch.setenv("KLING_BASE_URL", "https://example.org/")
    assert repr(KlingClient()) == "KlingClient('https://example.org')"
    assert repr(KlingClient(base_url="http://[::1]:5")) == "KlingClient('http://[::1]:5')"


def test_a_missing_key_is_not_a_matter_of_the_clock() -> None:
    with pytest.raises(kling.AuthenticationError, match="set KLING_API_KEY") as caught:
        KlingClient()
    assert "clock" not in str(caught.value)
