"""Callbacks: headers as servers have them, signatures, both forms of the body."""

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from wsgiref.headers import Headers as WsgiHeaders

import flask
import pytest
import werkzeug.datastructures
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPHeaderDict

from klingmask import kling
from klingmask.kling import Task, parse_callback

# The test vector that the platform published.
SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="  # noqa: S105
BODY = (
    b'{"id":"1234567890","status":"succeeded","message":"",'
    b'"create_time":1781080778802,"update_time":1781080794151}'
)
HEADERS = {
    "Webhook-Id": "9876543210",
    "webhook-timestamp": "1781080794",
    "webhook-signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
}
NOW = 1781080794


# ---- the headers, as servers have them ----


def message(headers: Mapping[str, str]) -> Message:
    made = Message()
    for name, value in headers.items():
        made[name] = value
    return made


SERVERS: dict[str, Callable[[dict[str, str]], Any]] = {
    "a dict": dict,
    "pairs": lambda headers: list(headers.items()),
    "an iterator of pairs": lambda headers: iter(headers.items()),
    "pairs of bytes": lambda headers: [
        (k.lower().encode(), v.encode()) for k, v in headers.items()
    ],
    "lists of bytes": lambda headers: [[k.encode(), v.encode()] for k, v in headers.items()],
    "a dict of bytes": lambda headers: {k.encode(): v.encode() for k, v in headers.items()},
    "email": message,
    "wsgiref": lambda headers: WsgiHeaders(list(headers.items())),
    "a WSGI environment": lambda headers: {
        "wsgi.input": object(),
        "REQUEST_METHOD": "POST",
        **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()},
    },
    "werkzeug": werkzeug.datastructures.Headers,
    "requests": CaseInsensitiveDict,
    "urllib3": HTTPHeaderDict,
}


@pytest.mark.parametrize("server", SERVERS)
def test_the_headers_of_any_server(server: str) -> None:
    for spelt in (str, str.upper, str.title):
        named = {spelt(name): value for name, value in HEADERS.items()} | {"Host": "x", "Age": "1"}
        assert parse_callback(SERVERS[server](named), BODY, SECRET, now=NOW).ended
        forged = {**named, spelt("webhook-id"): "1", "Webhook-Id": "1"}
        with pytest.raises(kling.AuthenticationError):
            parse_callback(SERVERS[server](forged), BODY, SECRET, now=NOW)


def test_a_real_server_s_headers() -> None:
    received: list[Task] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(parse_callback(self.headers, body, SECRET, now=NOW))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        connection.request("POST", "/", BODY, HEADERS)
        assert connection.getresponse().status == 204
        connection.close()
    assert [task.task_id for task in received] == ["1234567890"]


def test_the_headers_of_flask() -> None:
    app = flask.Flask(__name__)

    @app.post("/told")
    def told() -> str:
        request = flask.request
        by_headers = parse_callback(request.headers, request.get_data(), SECRET, now=NOW)
        assert parse_callback(request.environ, request.get_data(), SECRET, now=NOW) == by_headers
        return by_headers.task_id

    reply = app.test_client().post("/told", data=BODY, headers=HEADERS)
    assert (reply.status_code, reply.text) == (200, "1234567890")


def test_headers_that_come_twice() -> None:
    """Two signatures are as good as two in one header; of two ids neither counts."""
    pairs = list(HEADERS.items())
    twice = [("webhook-signature", "v1,AAAA"), *pairs, ("Webhook-Signature", "v1,BBBB")]
    assert parse_callback(twice, BODY, SECRET, now=NOW).ended
    for name in ("webhook-id", "Webhook-Timestamp"):
        with pytest.raises(kling.AuthenticationError, match="more than one webhook-"):
            parse_callback([*pairs, (name, "1")], BODY, SECRET, now=NOW)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_a_body(kind: Callable[[bytes], Any]) -> None:
    assert parse_callback(HEADERS, kind(BODY), SECRET, now=NOW).ended


WRONG: list[tuple[Any, Any]] = [
    (HEADERS, b"whsec_AAAA"),
    (HEADERS, 5),
    (HEADERS, [None]),
    (HEADERS, [b"whsec_AAAA"]),
    ({**HEADERS, "webhook-timestamp": 1}, "whsec_AAAA"),
    ({key: [value] for key, value in HEADERS.items()}, "whsec_AAAA"),
    ({5: "x"}, "whsec_AAAA"),
    (list(HEADERS), "whsec_AAAA"),
    ([("a", "b", "c")], "whsec_AAAA"),
    ([{"webhook-id": "1"}], "whsec_AAAA"),
    (list(range(3)), "whsec_AAAA"),
    ("webhook-id: 1", "whsec_AAAA"),
    (b"webhook-id: 1", "whsec_AAAA"),
    (None, "whsec_AAAA"),
    (5, "whsec_AAAA"),
]


@pytest.mark.parametrize(("headers", "secret"), WRONG)
def test_arguments_of_other_types_are_named(headers: Any, secret: Any) -> None:
    with pytest.raises(TypeError, match=r"^(headers|a webhook secret) must"):
        parse_callback(headers, b"{}", secret, now=1.0)


# ---- the signature ----


def test_the_published_callback() -> None:
    for secret in (SECRET, SECRET.removeprefix("whsec_"), ["whsec_b3RoZXI=", SECRET]):
        for now in (NOW, NOW + 300, NOW - 300):
            task = parse_callback(HEADERS, BODY, secret, now=now)
            assert (task.task_id, task.task_status) == ("1234567890", "succeed")
    assert parse_callback({}, BODY, None).task_id == "1234567890"


@pytest.mark.parametrize(
    "other", ["v1,AAAA", "v2,x", "v1", "v1,", ",", "v1,A", "v1a,x,y", "v1,\xe9"]
)
def test_one_signature_that_fits_is_enough(other: str) -> None:
    for order in ("{0} {1}", "{1} {0}", "{0}  {1} {0}"):
        text = order.format(other, HEADERS["webhook-signature"])
        headers = HEADERS | {"webhook-signature": text}
        assert parse_callback(headers, BODY, SECRET, now=NOW).ended


@pytest.mark.parametrize(
    ("change", "body", "secret", "now", "reason"),
    [
        ({}, BODY + b" ", SECRET, NOW, "does not fit"),
        ({}, b"\xff\xfe", SECRET, NOW, "does not fit"),
        ({}, BODY, "whsec_b3RoZXI=", NOW, "does not fit"),
        ({}, BODY, SECRET, NOW + 301, "300 s from now"),
        ({}, BODY, SECRET, NOW - 301, "300 s from now"),
        ({"Webhook-Id": "1"}, BODY, SECRET, NOW, "does not fit"),
        ({"Webhook-Id": "\ud800"}, BODY, SECRET, NOW, "does not fit"),
        ({"webhook-timestamp": "1781080795"}, BODY, SECRET, NOW, "does not fit"),
        ({"webhook-timestamp": "now"}, BODY, SECRET, NOW, "not a number"),
        ({"webhook-timestamp": "1" * 5000}, BODY, SECRET, NOW, "not a number"),
        ({"webhook-timestamp": "-1781080794"}, BODY, SECRET, NOW, "not a number"),
        ({"webhook-timestamp": "1781080794.0"}, BODY, SECRET, NOW, "not a number"),
        ({"webhook-timestamp": "99999999999"}, BODY, SECRET, 99999999999, "does not fit"),
        ({"webhook-signature": ""}, BODY, SECRET, NOW, "no webhook-signature"),
        ({"webhook-signature": "v2," + HEADERS["webhook-signature"][3:]}, BODY, SECRET, NOW, "fit"),
        ({"webhook-signature": HEADERS["webhook-signature"][3:]}, BODY, SECRET, NOW, "fit"),
        ({"webhook-signature": "v1,"}, BODY, SECRET, NOW, "does not fit"),
        ({"webhook-signature": "v1,\u00e9"}, BODY, SECRET, NOW, "does not fit"),
        ({"webhook-signature": "v1,\ud800"}, BODY, SECRET, NOW, "does not fit"),
        ({}, BODY, "whsec_!", NOW, "this one is not"),
        ({}, BODY, "", NOW, "this one is not"),
        ({}, BODY, "whsec_A", NOW, "this one is not"),
        ({}, BODY, [], NOW, "does not fit"),
    ],
)
def test_callbacks_that_are_not_the_service(
    change: dict[str, str], body: bytes, secret: Any, now: int, reason: str
) -> None:
    with pytest.raises(kling.AuthenticationError, match=reason) as caught:
        parse_callback(HEADERS | change, body, secret, now=now)
    assert "dGVzd" not in str(caught.value)


def test_advice_is_about_the_webhook_secret() -> None:
    with pytest.raises(kling.AuthenticationError, match="webhook secret") as caught:
        parse_callback({}, b"{}", "whsec_AAAA")
    assert "KLING_API_KEY" not in str(caught.value)


# ---- what it says ----


def test_both_forms_of_callbacks() -> None:
    older = {
        "task_id": "t",
        "task_status": "succeed",
        "task_status_msg": "",
        "created_at": 1,
        "updated_at": 2,
        "final_unit_deduction": "3.5",
        "task_info": {"external_task_id": "e"},
        "task_result": {"videos": [{"id": "v", "url": "https://a.org/x.mp4", "duration": "5"}]},
    }
    task = parse_callback({}, json.dumps(older).encode(), None)
    assert (task.external_task_id, task.final_unit_deduction) == ("e", "3.5")
    assert task.videos[0].url == "https://a.org/x.mp4"
    newer = {
        "id": "t",
        "status": "failed",
        "message": "why",
        "create_time": 1,
        "update_time": 2,
        "outputs": [{"id": "v", "url": "https://a.org/x.mp4"}],
        "billing": [{"charge_type": "unit", "amount": "3.5", "package_type": "video"}],
    }
    task = parse_callback({}, json.dumps(newer).encode(), None)
    assert (task.task_status, task.task_status_msg) == ("failed", "why")
    assert (task.videos[0].id, task.final_unit_deduction) == ("v", "3.5")
    assert task.raw["billing"] == newer["billing"]


def test_the_console_s_test_callback() -> None:
    body = b'{"id": "1", "status": "submitted", "outputs": [], "message": "", "new": {}}'
    task = parse_callback({}, body, None)
    assert (task.task_id, task.task_status, task.videos, task.ended) == (
        "1",
        "submitted",
        (),
        False,
    )


@pytest.mark.parametrize(
    ("billing", "units"),
    [
        ([{"charge_type": "unit", "amount": "3.5"}], "3.5"),
        ([{"charge_type": "unit", "amount": 3.5}, {"charge_type": "unit", "amount": 2}], "5.5"),
        (
            [
                {"charge_type": "cash", "cash_type": "c", "amount": "9", "currency": "USD"},
                {"charge_type": "unit", "amount": "0.1", "list_price": "1"},
                {"charge_type": "unit", "amount": "0.2"},
            ],
            "0.3",
        ),
        ([{"charge_type": "unit", "amount": "1e2"}], "100"),
        ({"charge_type": "unit", "amount": "3.5"}, "3.5"),
        ([{"charge_type": "cash", "amount": "9"}], None),
        ([], None),
        (None, None),
        ("3.5", None),
        ([5], None),
        ([{"charge_type": "unit"}], None),
        ([{"charge_type": "unit", "amount": None}], None),
        ([{"charge_type": "unit", "amount": "many"}], None),
        ([{"charge_type": "unit", "amount": "1"}, {"charge_type": "unit", "amount": []}], None),
        ([{"charge_type": "unit", "amount": "NaN"}], None),
        ([{"charge_type": "unit", "amount": "Infinity"}], None),
        ([{"charge_type": "unit", "amount": "1e999999999"}], None),
        ([{"charge_type": "unit", "amount": "1e-999999999"}], None),
    ],
)
def test_the_units_of_a_bill(billing: Any, units: str | None) -> None:
    """They are a list, in money or in units; a sum of which a part is unknown is unknown."""
    body = json.dumps({"id": "t", "status": "succeeded", "billing": billing}).encode()
    assert parse_callback({}, body, None).final_unit_deduction == units


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"task_id": 5}',
        b'{"task_id": "..", "task_status": "succeed"}',
        b'{"task_id": "", "task_status": "succeed"}',
        b'{"id": "t", "status": ""}',
        b'{"task_id": "t", "task_status": "succeed", "task_result": {"videos": ["x"]}}',
        b'{"id": "t", "status": "succeeded"}{}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_bodies_that_are_no_callback(body: bytes) -> None:
    with pytest.raises(kling.BadReplyError):
        parse_callback({}, body, None)


def test_a_body_is_bytes() -> None:
    with pytest.raises(TypeError, match="bytes as they came"):
        parse_callback({}, "{}", None)  # type: ignore[arg-type]
