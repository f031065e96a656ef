"""HTTP as strangers speak it: whatever comes, the documented envelope or a clean end."""

import json
import re
import socket
import time
from typing import Any

import pytest
import requests

from klingmask.emulator import Emulator, Fault, running
from klingmask.kling import KlingClient
from klingmask.kling.download import download
from tests.emulator.conftest import BAD, OK, Api

PATH = "/v1/videos/multi-elements"


def exchange(url: str, content: bytes, *, ends: bool = True) -> tuple[int, bytes]:
    """Send bytes on a connection of its own; the status and the body that come back."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(content)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def request(emulator: Emulator, line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [line, "Host: x", f"Authorization: Bearer {emulator.api_key}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def code_of(body: bytes) -> int:
    envelope = json.loads(body)
    assert set(envelope) == {"code", "message", "request_id", "data"}
    code: int = envelope["code"]
    return code


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 99999999999"],
        ["Content-Length: 67108865"],
        ["Content-Length: " + "9" * 5000],
        ["Content-Length: -1"],
        ["Content-Length: +2"],
        ["Content-Length: two"],
        ["Content-Length: \xb2"],
        ["Content-Length:"],
        ["Content-Length: 2", "Content-Length: 30"],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
    ],
)
def test_lengths_that_cannot_be(emulator: Emulator, headers: list[str], ends: bool) -> None:
    """Refused, and what follows is not taken for another request."""
    trailing = b"{}" + request(emulator, f"GET {PATH} HTTP/1.1")
    content = request(emulator, f"POST {PATH} HTTP/1.1", *headers, body=trailing)
    status, body = exchange(emulator.base_url, content, ends=ends)
    assert (status, code_of(body)) == (400, 1200)


def test_a_body_that_ends_early(api: Api, emulator: Emulator) -> None:
    """Not acted on, even if what came is an object."""
    points = [{"x": 0, "y": 0}]
    body = json.dumps({"session_id": api.session_id, "frame_index": 0, "points": points})
    head = request(
        emulator, f"POST {PATH}/add-selection HTTP/1.1", f"Content-Length: {len(body) + 1}"
    )
    status, answer = exchange(emulator.base_url, head + body.encode())
    assert (status, code_of(answer)) == (400, 1200)
    assert api.delete(points=points).verdict == BAD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"\xff\xfe\x00",
        b'{"session_id": NaN}',
        b'{"session_id": -Infinity}',
        b"[" * 100_000,
        b'{"frame_index": ' + b"9" * 10_000 + b"}",
    ],
)
def test_bodies_that_are_no_object(api: Api, content: bytes) -> None:
    for path in ("", "/init-selection", "/add-selection", "/preview-selection"):
        assert api.ask("POST", path, content).verdict == (400, 1200)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_methods_that_are_not(api: Api, emulator: Emulator, method: str) -> None:
    for path in ("", "/init-selection", "/some-task"):
        assert api.ask(method, path, b"{}").verdict == (404, 1202)
    reply = requests.request(method, f"{emulator.cdn_url}/files/0/square.mp4", timeout=10)
    assert (reply.status_code, reply.content) == (405, b"")
    assert reply.headers["Allow"] == "GET, HEAD"


def test_heads(emulator: Emulator) -> None:
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    reply = requests.head(emulator.base_url + PATH, headers=headers, timeout=10)
    assert (reply.status_code, reply.content) == (404, b"")
    url = emulator.url_of(emulator.folders[0] / "square.mp4")
    with requests.Session() as session:  # one connection: no body follows the head
        head, got = session.head(url, timeout=10), session.get(url, timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(got.content)
    assert requests.head(f"{emulator.cdn_url}/files/0/none.mp4", timeout=10).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}/erase-selection",
        f"{PATH}/service",
        f"{PATH}/init_selection",
        f"{PATH}/session",
        f"{PATH}/__init__",
        f"{PATH}/some-task",
        f"{PATH}x/init-selection",
        "/init-selection",
        "/v1/videos/text2video",
        "/",
        "//[",
        "*",
        "http://[/",
        "/%",
    ],
)
def test_paths_that_are_not(emulator: Emulator, path: str) -> None:
    content = request(emulator, f"POST {path} HTTP/1.1", "Content-Length: 2", body=b"{}")
    status, body = exchange(emulator.base_url, content)
    assert (status, code_of(body)) == (404, 1202)


@pytest.mark.parametrize(
    "line",
    [
        "GARBAGE",
        "GET / HTTP/9.9",
        "GET / HTTP/x",
        "GET  / / HTTP/1.1",
        "\x00\x01\x02 \x03",
        "GET /" + "x" * 70_000 + " HTTP/1.1",
    ],
)
def test_lines_that_are_no_request(emulator: Emulator, line: str) -> None:
    status, body = exchange(emulator.base_url, request(emulator, line))
    assert (status, code_of(body)) == (400, 1200)
    status, _ = exchange(emulator.cdn_url, request(emulator, line))
    assert 400 <= status <= 505
    assert status != 500


def test_too_many_headers(emulator: Emulator) -> None:
    many = [f"X-{number}: x" for number in range(200)]
    for headers in (many, ["X: " + "x" * 70_000]):
        content = request(emulator, f"GET {PATH} HTTP/1.1", *headers)
        status, body = exchange(emulator.base_url, content)
        assert (status, code_of(body)) == (400, 1200)


def test_tasks_of_any_name(api: Api) -> None:
    for name in ("none", "%2e%2e", "a%2Fb", "%00", "%FF", "%", "x" * 5000, "init-selection"):
        assert api.get(f"/{name}").verdict == (404, 1203), name


def test_only_the_folders_are_open(api: Api, emulator: Emulator) -> None:
    base, folder = f"{emulator.cdn_url}/files", emulator.folders[0]
    (folder / "link.mp4").unlink(missing_ok=True)
    (folder / "link.mp4").symlink_to(folder.parent / "outside.mp4")
    paths = [
        "/files/0/../outside.mp4",
        "/files/0/%2e%2e/outside.mp4",
        "/files/0/..%2foutside.mp4",
        "/files/0/link.mp4",
        "/files/1/square.mp4",
        "/files/-1/square.mp4",
        "/files/%C2%B2/square.mp4",
        f"/files/{'9' * 5000}/square.mp4",
        f"/files/0/{folder.parent}/outside.mp4",
        f"/files/0/%2f{folder.parent}/outside.mp4",
        "/files/0/%00.mp4",
        "/files/0/\ud800.mp4",
        f"/files/0/{'x' * 5000}.mp4",
        "/files/0/.mp4",
        "/files/0/",
        "/files/0",
        "/results/../square.mp4",
        "/results/.mp4",
        "/",
        "",
    ]
    for path in paths:
        url = emulator.cdn_url + path
        assert api.post("/init-selection", {"video_url": url}).verdict == BAD, path
        with requests.Session() as session:
            asked = requests.Request("GET", base).prepare()
            asked.url = url.encode("utf-8", "replace").decode()  # as it is, not made tidy
            if asked.url.isascii():
                assert session.send(asked, timeout=10).status_code == 404, path
    for url in (
        "https://example.org/square.mp4",
        f"{emulator.cdn_url}@example.org/files/0/square.mp4",
        f"{emulator.cdn_url}1/files/0/square.mp4",
        f"{emulator.base_url}/files/0/square.mp4",
        "file:///etc/passwd.mp4",
        "/files/0/square.mp4",
    ):
        assert api.post("/init-selection", {"video_url": url}).verdict == BAD, url
    with pytest.raises(ValueError, match="none of the emulator's folders"):
        emulator.url_of(folder.parent / "outside.mp4")
    assert requests.get(emulator.url_of(folder / "square.mp4"), timeout=5).ok
    assert emulator.url_of("square.mp4") == emulator.url_of(folder / "square.mp4")
    with pytest.raises(FileNotFoundError, match=re.escape(f"none.mp4, here or in {folder}")):
        emulator.url_of("none.mp4")


def test_files_are_not_for_those_with_a_key(emulator: Emulator) -> None:
    url = emulator.url_of(emulator.folders[0] / "square.mp4")
    assert requests.get(url, headers={"Authorization": "Bearer x"}, timeout=5).status_code == 400


def test_a_body_is_not_taken_for_another_request(api: Api, emulator: Emulator) -> None:
    second = request(emulator, "GET /files/0/none.mp4 HTTP/1.1")
    for url, path in ((emulator.cdn_url, "/files/0/none.mp4"), (emulator.base_url, f"{PATH}/none")):
        first = request(emulator, f"GET {path} HTTP/1.1", f"Content-Length: {len(second)}")
        _, answer = exchange(url, first + second)
        assert b"HTTP/1.1" not in answer
    assert api.get().verdict == OK


def test_parts_of_files(emulator: Emulator) -> None:
    path = emulator.folders[0] / "square.mp4"
    url, content = emulator.url_of(path), path.read_bytes()

    def part(span: str, **headers: str) -> Any:
        return requests.get(url, headers={"Range": span, **headers}, timeout=5)

    last = part("bytes=100-")
    assert (last.status_code, last.content) == (206, content[100:])
    assert last.headers["Content-Range"] == f"bytes 100-{len(content) - 1}/{len(content)}"
    assert part("bytes=100-", **{"If-Range": last.headers["ETag"]}).status_code == 206
    for span in ("bytes=-5", "bytes=x-", f"bytes={'9' * 5000}-", "lines=1-"):
        assert (part(span).status_code, part(span).content) == (200, content)
    assert part("bytes=100-", **{"If-Range": '"another"'}).content == content


def test_answers_that_are_broken_by_plan(emulator: Emulator, tmp_path: Any) -> None:
    api = Api(emulator)
    emulator.plan("list-tasks", Fault(body=b"<html>"), Fault(slow=0.2), Fault(delay=0.1))
    with pytest.raises(requests.JSONDecodeError):
        api.get()
    for seconds in (0.2, 0.1):
        started = time.monotonic()
        assert api.get().verdict == OK
        assert time.monotonic() - started > seconds
    for fault in (Fault(reset="before"), Fault(reset="after"), Fault(cut=True)):
        emulator.plan("list-tasks", fault)
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            api.get()
    emulator.plan("list-tasks", Fault(429, 1302, retry_after="7"))
    headers = {"Authorization": api.header}
    assert requests.get(api.url, headers=headers, timeout=5).headers["Retry-After"] == "7"
    source = emulator.folders[0] / "square.mp4"
    url, content = emulator.url_of(source), source.read_bytes()
    emulator.plan("files", Fault(cut=True), Fault(503), Fault(reset="before"), Fault(delay=0.1))
    assert download(url, tmp_path / "square.mp4").read_bytes() == content


def test_plans(emulator: Emulator, client: KlingClient) -> None:
    with pytest.raises(ValueError, match="endpoint must be one of init-selection"):
        emulator.plan("init_selection", Fault(500))
    with pytest.raises(ValueError, match="reset must be"):
        Fault(reset="later")
    emulator.plan("list-tasks", Fault(400), Fault(401))
    emulator.plan("get-task", Fault(403))
    assert emulator.planned == {
        "list-tasks": (Fault(400), Fault(401)),
        "get-task": (Fault(403),),
    }
    emulator.clear_plans()
    assert emulator.planned == {}
    assert client.list_tasks() == []


def test_open_connections_end_with_the_emulator(folder: Any) -> None:
    with requests.Session() as session:
        with running(folder) as emulator:
            headers = {"Authorization": f"Bearer {emulator.api_key}"}
            assert session.get(emulator.base_url + PATH, headers=headers, timeout=5).ok
            assert repr(emulator) == f"Emulator({emulator.base_url!r})"
            assert emulator.api_key not in repr(emulator)
        with pytest.raises(requests.ConnectionError):
            session.get(emulator.base_url + PATH, headers=headers, timeout=5)
