"""What the ports reply to requests of any method, path and body."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from klingmask.emulator import Emulator, running
from tests.emulator.http_client import (
    BAD,
    MIB,
    OK,
    PATH,
    Api,
    code_of,
    connect,
    encoded,
    exchange,
    head_of,
    image,
    received,
    request,
    traced,
)


def shown(value: object) -> str:
    """A row's name."""
    return repr(value)[:30]


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
    ids=shown,
)
def test_bodies_must_be_json_objects(api: Api, content: bytes) -> None:
    for path in ("", "/init-selection", "/add-selection", "/preview-selection"):
        assert api.ask("POST", path, content).verdict == (400, 1200)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_unknown_methods(api: Api, emulator: Emulator, method: str) -> None:
    for path in ("", "/init-selection", "/some-task"):
        assert api.ask(method, path, b"{}").verdict == (404, 1202)
    reply = requests.request(method, f"{emulator.cdn_url}/files/0/square.mp4", timeout=10)
    assert (reply.status_code, reply.content) == (405, b"")
    assert reply.headers["Allow"] == "GET, HEAD"


def test_head_requests(emulator: Emulator) -> None:
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
def test_unknown_paths(emulator: Emulator, path: str) -> None:
    content = request(emulator, f"POST {path} HTTP/1.1", "Content-Length: 2", body=b"{}")
    status, body = exchange(emulator.base_url, content)
    assert (status, code_of(body)) == (404, 1202)


@pytest.mark.parametrize(
    "name", ["none", "%2e%2e", "a%2Fb", "%00", "%FF", "%", "x" * 5000, "init-selection"], ids=shown
)
def test_unknown_tasks(emulator: Emulator, name: str) -> None:
    assert Api(emulator).get(f"/{name}").verdict == (404, 1203)


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Api]:
    """With a link that leads out of its folder."""
    (folder / "link.mp4").symlink_to(folder.parent / "outside.mp4")
    with running(folder) as emulator:
        yield Api(emulator)
    (folder / "link.mp4").unlink()


CLOSED_PATHS = [
    "/files/0/../outside.mp4",
    "/files/0/%2e%2e/outside.mp4",
    "/files/0/..%2foutside.mp4",
    "/files/0/link.mp4",
    "/files/1/square.mp4",
    "/files/-1/square.mp4",
    "/files/%C2%B2/square.mp4",
    f"/files/{'9' * 5000}/square.mp4",
    "/files/0/{parent}/outside.mp4",
    "/files/0/%2f{parent}/outside.mp4",
    "/files/0/%00.mp4",
    f"/files/0/{'x' * 5000}.mp4",
    "/files/0/.mp4",
    "/files/0/",
    "/files/0",
    "/results/../square.mp4",
    "/results/.mp4",
    "/",
    "",
]


@pytest.mark.parametrize("path", CLOSED_PATHS, ids=shown)
def test_only_the_folders_are_open(shared: Api, path: str) -> None:
    emulator = shared.emulator
    path = path.replace("{parent}", str(emulator.folders[0].parent))
    answer = shared.post("/init-selection", {"video_url": emulator.cdn_url + path})
    assert answer.verdict == BAD
    with requests.Session() as session:
        asked = requests.Request("GET", emulator.cdn_url).prepare()
        asked.url = emulator.cdn_url + path  # as it is, not normalized
        assert session.send(asked, timeout=10).status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "{cdn}/files/0/\ud800.mp4",
        "https://example.org/square.mp4",
        "{cdn}@example.org/files/0/square.mp4",
        "{cdn}1/files/0/square.mp4",
        "{api}/files/0/square.mp4",
        "file:///etc/passwd.mp4",
        "/files/0/square.mp4",
    ],
    ids=shown,
)
def test_only_its_own_urls_are_opened(shared: Api, url: str) -> None:
    url = url.replace("{cdn}", shared.emulator.cdn_url).replace("{api}", shared.emulator.base_url)
    assert shared.post("/init-selection", {"video_url": url}).verdict == BAD


def test_files_refuse_keys(emulator: Emulator) -> None:
    url = emulator.url_of(emulator.folders[0] / "square.mp4")
    assert requests.get(url, headers={"Authorization": "Bearer x"}, timeout=5).status_code == 400


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


def test_expect_continue(api: Api, emulator: Emulator) -> None:
    """The body is asked for if, and only if, it is wanted."""
    body = json.dumps({"session_id": api.session_id}).encode()
    expect = (f"Content-Length: {len(body)}", "Expect: 100-continue")
    with connect(emulator.base_url) as connection:
        line = f"POST {PATH}/clear-selection HTTP/1.1"
        connection.sendall(request(emulator, line, *expect))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
    too_long = ("Content-Length: 999999999", "Expect: 100-continue")
    for head, status in [
        (head_of("POST", PATH, *expect), b"401"),
        (request(emulator, f"POST {PATH} HTTP/1.1", *too_long), b"400"),
    ]:
        with connect(emulator.base_url) as connection:
            connection.sendall(head)
            assert received(connection).startswith(b"HTTP/1.1 " + status)


def test_bodies_have_limits(api: Api) -> None:
    """Only what creates a task may be large: it can hold two images of 10 MB."""
    for path, limit in [("/add-selection", MIB), ("/init-selection", MIB), ("", 32 * MIB)]:
        for size, code in ((limit, 1201), (limit + 1, 1200)):  # it is read; it is not
            body = b'{"video_url": "' + b"x" * (size - 17) + b'"}'
            assert len(body) == size
            assert api.ask("POST", path, body).code == code, (path, size)
    api.add()
    addition = {"edit_mode": "addition", "prompt": "<<<video_1>>> <<<image_1>>> <<<image_2>>>"}
    padded = image(kind="JPEG").ljust(10_000_000, b"\0")
    images = [{"image": encoded(padded)}] * 2
    with api.emulator.tasks_held():
        assert api.create(**addition, image_list=images).verdict == OK


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"[]," * (10 * MIB) + b"[]]",
        b"[" + b"{}," * (10 * MIB) + b"{}]",
        b'{"points": [' + b"0.5," * (8 * MIB - 8) + b"1]}",
        b'{"points": ' + b"[" * (16 * MIB),
        b'{"":' * (4 * MIB),
    ],
    ids=["lists", "objects", "numbers", "depth", "nested"],
)
def test_bodies_with_many_values(api: Api, content: bytes) -> None:
    """Refused before they become objects that take many times their size."""
    with traced() as peak:
        assert api.ask("POST", "", content).verdict == (400, 1200)
    assert peak.bytes < 3 * len(content)
