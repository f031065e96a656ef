"""Downloads: resumed only where that is safe, bounded, and complete or not at all."""

import gzip
import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, download, transport
from klingmask.kling.transport import TimeLimits
from tests.kling.raw_server import FOUND, OK, answering, drops, in_turn, says
from tests.kling.samples import REMOVAL, SHORT
from tests.kling.server import Fault, Service

# ---- resuming ----


TIME = "Tue, 24 Nov 2026 10:00:00 GMT"


LATER = "Tue, 24 Nov 2026 10:00:01 GMT"


VALIDATORS: dict[str, tuple[Mapping[str, str], str | None]] = {
    "a strong ETag": ({"ETag": '"1"'}, '"1"'),
    "a time": ({"Last-Modified": TIME}, TIME),
    "a strong ETag and a time": ({"ETag": '"1"', "Last-Modified": TIME}, '"1"'),
    "a weak ETag and a time": ({"ETag": 'W/"1"', "Last-Modified": TIME}, TIME),
    "a weak ETag": ({"ETag": 'W/"1"'}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize("name", VALIDATORS)
def test_only_a_file_with_a_validator_is_taken_up(
    service: Service, tmp_path: Path, name: str
) -> None:
    headers, validator = VALIDATORS[name]
    service.validators = lambda _: dict(headers)
    service.cdn_faults += [Fault(cut=True), Fault(cut=True)]
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "out.mp4")
    assert path.read_bytes() == service.files["/result.mp4"]
    sent = [request.headers for request in service.cdn_requests]
    assert [one.get("If-Range") for one in sent] == [None, validator, validator]
    assert ["Range" in one for one in sent] == [False, bool(validator), bool(validator)]


CHANGES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "a weak ETag that stays": ({"ETag": 'W/"1"'}, {"ETag": 'W/"1"'}),
    "a weak ETag": ({"ETag": 'W/"1"'}, {"ETag": 'W/"2"'}),
    "a strong ETag": ({"ETag": '"1"'}, {"ETag": '"2"'}),
    "a time": ({"Last-Modified": TIME}, {"Last-Modified": LATER}),
    "a time that goes": ({"Last-Modified": TIME}, {}),
    "an ETag that goes": ({"ETag": '"1"'}, {}),
    "an ETag that gets weak": ({"ETag": '"1"'}, {"ETag": 'W/"1"'}),
    "an ETag for a time": ({"Last-Modified": TIME}, {"ETag": '"1"'}),
    "a weak ETag, and no time": (
        {"ETag": 'W/"1"', "Last-Modified": TIME},
        {"ETag": 'W/"2"', "Last-Modified": TIME},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("heeds", [True, False], ids=["If-Range heeded", "If-Range ignored"])
def test_a_file_that_changes_midway_is_taken_anew(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, heeds: bool
) -> None:
    """Also one of the same length: never a part of the one behind a part of the other."""
    old, new = (bytes([byte]) * 500_000 for byte in (1, 2))
    before, after = CHANGES[name]
    service.files["/result.mp4"] = old
    service.heeds_if_range = heeds
    service.validators = lambda content: before if content == old else after
    service.cdn_faults.append(Fault(cut=True))
    monkeypatch.setattr(
        transport, "log_retry", lambda _: service.files.update({"/result.mp4": new})
    )
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "out.mp4")
    assert path.read_bytes() == new


def test_a_server_that_never_gets_to_the_end(service: Service, tmp_path: Path) -> None:
    """Without a validator each attempt starts again, and there is an end to them."""
    service.validators = lambda _: {}
    service.cdn_faults += [Fault(cut=True)] * 999
    with pytest.raises(kling.RequestConnectionError):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4", limits=SHORT)
    assert list(tmp_path.iterdir()) == []
    assert 1 < len(service.cdn_requests) < 999


def test_a_download_is_taken_up_where_it_broke(
    service: Service, tmp_path: Path, capsys: Any
) -> None:
    content = service.files["/result.mp4"]
    service.cdn_faults += [Fault(cut=True), Fault(503), Fault(cut=True)]
    url = f"{service.cdn_url}/result.mp4?sign=hidden"
    path = download.download(url, tmp_path / "out.mp4", progress=True)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
    ranges = [request.headers.get("Range") for request in service.cdn_requests]
    starts = [int(span.removeprefix("bytes=").removesuffix("-")) if span else 0 for span in ranges]
    block = 1 << 16  # what was read of a block that broke off is read again
    half, quarter = len(content) // 2, len(content) // 4
    assert len(starts) == 4
    assert starts[0] == 0 < half - block < starts[1] == starts[2] <= half
    assert starts[2] + quarter - block < starts[3] < len(content)
    assert "out.mp4" in capsys.readouterr().err


def test_a_file_that_changed_is_taken_anew(service: Service, tmp_path: Path) -> None:
    real, other = service.files["/result.mp4"], b"another file, much shorter"
    service.cdn_faults.append(Fault(cut=True, headers={"ETag": '"old"'}))
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4")
    assert path.read_bytes() == real
    service.cdn_faults.append(Fault(cut=True, headers={"ETag": 'W/"weak"'}))
    service.files["/result.mp4"] = other
    assert download.download(f"{service.cdn_url}/result.mp4", path).read_bytes() == other


def test_a_part_of_another_file_is_not_taken(service: Service, tmp_path: Path) -> None:
    """The same ETag, but another length; or a rest that is refused: from the start again."""
    url, content = f"{service.cdn_url}/result.mp4", service.files["/result.mp4"]
    service.cdn_faults += [
        Fault(cut=True),
        Fault(headers={"Content-Range": f"bytes {len(content) // 2}-9/10"}),
        Fault(cut=True),
        Fault(416),
    ]
    assert download.download(url, tmp_path / "a.mp4").read_bytes() == content
    ranges = ["Range" in request.headers for request in service.cdn_requests]
    assert ranges == [False, True, False, True, False]


OLD, NEW = b"the old file", b"another one."


HALF = OK + b'ETag: "1"\r\nContent-Length: 12\r\n\r\n' + OLD[:6]


WHOLE = OK + b'ETag: "2"\r\nContent-Length: 12\r\n\r\n' + NEW


REST = b"HTTP/1.1 206 Part\r\nContent-Length: 6\r\nContent-Range: bytes 6-11/12\r\n"


NINES = b"9" * 5000


@pytest.mark.parametrize(
    "part",
    [
        REST + b'ETag: "2"\r\n\r\n' + NEW[6:],
        REST + b"\r\n" + NEW[6:],
        REST + b'ETag: "1"\r\nContent-Encoding: gzip\r\n\r\n' + NEW[6:],
    ],
    ids=["another ETag", "none", "compressed"],
)
def test_two_files_are_not_mixed(part: bytes, tmp_path: Path) -> None:
    """If-Range notwithstanding: what it is for must not be left to the other side alone."""
    with answering(in_turn(HALF, part, WHOLE)) as url:
        path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
    assert path.read_bytes() == NEW


def test_what_comes_compressed_unasked(tmp_path: Path) -> None:
    """Its Content-Length is not the file's, and half of it cannot be taken up."""
    content = bytes(1000)
    packed = gzip.compress(content)
    head = OK + b'ETag: "1"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' % len(packed)
    asked: list[int] = []

    def answer(connection: socket.socket) -> None:
        asked.append(1)  # before the answer: the next may be asked for as soon as it is there
        connection.sendall(head + packed[: None if len(asked) % 2 else len(packed) // 2])

    with answering(answer) as url:
        for _ in range(2):
            path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
            assert path.read_bytes() == content
            assert download.fetch(f"{url}/a.json") == content
    assert len(asked) == 7


@pytest.mark.parametrize("length", [NINES, b"-5", b"five"])
def test_a_length_that_is_none(length: bytes, tmp_path: Path) -> None:
    with answering(says(OK + b"Content-Length: " + length + b"\r\n\r\n" + NEW)) as url:
        path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
        assert path.read_bytes() == download.fetch(f"{url}/a.json") == NEW
    rest = REST.replace(b"/12", b"/" + length) + b'ETag: "1"\r\n\r\n' + OLD[6:]
    with answering(in_turn(HALF, rest)) as url:
        path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
        assert path.read_bytes() == OLD
    with (
        answering(in_turn(HALF, REST.replace(b" 6-", b" " + length + b"-") + b"\r\n")) as url,
        pytest.raises(kling.BadReplyError, match="without a Content-Range"),
    ):
        download.download(f"{url}/a.mp4", tmp_path / "a.mp4")


# ---- time and size ----


def test_a_download_goes_on_as_long_as_something_comes(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More breaks than there would be time for, were each of them counted."""
    monkeypatch.setattr(transport, "pause", lambda *_: 0.1)
    content = service.files["/result.mp4"]
    service.cdn_faults += [Fault(cut=True)] * 8
    started = time.monotonic()
    limits = TimeLimits((2.0, 1.0), 0.5)
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a", limits=limits)
    assert path.read_bytes() == content
    assert len(service.cdn_requests) == 9
    assert time.monotonic() - started > limits.retry_for


def test_a_download_has_the_client_s_patience(
    service: Service, make: Callable[..., KlingClient], tmp_path: Path
) -> None:
    with make(retry_for=0.5) as client:
        edit = client.edit_video(video_id="v")
        edit.add_selection(0, [(0.5, 0.5)])
        preview = edit.preview()
        service.polls_until_done = 0
        task = edit.submit("removal", REMOVAL)
        for get in (
            preview.tracking,
            lambda: preview.download(tmp_path / "a"),
            lambda: task.download(tmp_path / "b"),
        ):
            service.cdn_faults = [Fault(503, headers={"Retry-After": "0.2"})] * 99
            service.cdn_requests.clear()
            with pytest.raises(kling.RequestConnectionError) as caught:
                get()
            assert caught.value.retry_after == 0.2
            assert 1 < len(service.cdn_requests) < 99


def test_a_download_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD", 4 << 20)
    monkeypatch.setattr(download, "MAX_FETCH", 4 << 20)
    endless = drops(OK + b"\r\n", b"x" * (1 << 20), 0)
    with answering(endless) as url:
        with pytest.raises(kling.BadReplyError, match="more than 4194304 bytes"):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
        with pytest.raises(kling.BadReplyError, match="more than 4194304 bytes"):
            download.fetch(f"{url}/a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_hardly_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "GRACE", 0.3)
    slow = drops(OK + b"Content-Length: 100000\r\n\r\n", b"x")
    with answering(slow) as url:
        started = time.monotonic()
        with pytest.raises(kling.RequestConnectionError, match="bytes in"):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4", limits=SHORT)
        assert time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


# ---- failures and redirects ----


def test_downloads_that_fail_leave_nothing(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "klingmask")
    path = tmp_path / "out.mp4"
    path.write_bytes(b"from before")
    service.files["/empty"] = b""
    with pytest.raises(kling.BadReplyError, match="is empty"):
        download.download(f"{service.cdn_url}/empty", path)
    assert download.fetch(f"{service.cdn_url}/empty") == b""
    failures: list[tuple[str, list[Fault], type[Exception]]] = [
        (f"{service.cdn_url}/gone?sign=hidden", [], kling.BadReplyError),
        (f"{service.cdn_url}/result.mp4?sign=hidden", [Fault(cut=True)] * 40, kling.KlingError),
        (f"{service.cdn_url}/result.mp4?sign=hidden", [Fault(500)] * 40, kling.KlingError),
        ("http://127.0.0.1:9/x?sign=hidden", [], kling.RequestConnectionError),
        ("http://example.org/x?sign=hidden", [], kling.BadReplyError),
        (
            f"{service.cdn_url}/result.mp4",
            [Fault(302, headers={"Location": "http://example.org/?sign=hidden"})],
            kling.BadReplyError,
        ),
        (
            f"{service.cdn_url}/result.mp4",
            [Fault(302, headers={"Location": "/result.mp4?sign=hidden"})] * 9,
            kling.BadReplyError,
        ),
    ]
    for url, faults, error in failures:
        service.cdn_faults = list(faults)
        for call in (
            lambda url=url: download.download(url, path, limits=SHORT),
            lambda url=url: download.fetch(url, limits=SHORT),
        ):
            with pytest.raises(error) as caught:
                call()
            assert "hidden" not in str(caught.value)
            service.cdn_faults = list(faults)
        assert path.read_bytes() == b"from before"
        assert list(tmp_path.iterdir()) == [path]
    assert "hidden" not in " ".join(record.getMessage() for record in caplog.records)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / "no" / "out.mp4")


def test_redirects_within_https_are_followed(service: Service, tmp_path: Path) -> None:
    service.cdn_faults.append(Fault(302, headers={"Location": "/result.mp4"}))
    path = download.download(f"{service.cdn_url}/elsewhere", tmp_path / "out.mp4")
    assert path.read_bytes() == service.files["/result.mp4"]


@pytest.mark.parametrize(
    "content",
    [
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        FOUND + b"Location: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_half_a_file_is_none(content: bytes, tmp_path: Path) -> None:
    with answering(says(content)) as url:
        with pytest.raises(kling.KlingError):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4", limits=SHORT)
        if b"Length: 0" not in content:
            with pytest.raises(kling.KlingError):
                download.fetch(f"{url}/a.json", limits=SHORT)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_to_a_host_that_cannot_be() -> None:
    with (
        answering(says(FOUND + b"Location: https://a..b/x?sign=hidden\r\n\r\n")) as url,
        pytest.raises(kling.BadReplyError, match="cannot be read") as caught,
    ):
        download.fetch(f"{url}/a.json")
    assert "hidden" not in str(caught.value)


# ---- where it is saved ----


@pytest.mark.parametrize("name", ["x" * 251 + ".mp4", "猫" * 83 + ".mp4", "a b.mp4", ".mp4"])
def test_names_of_any_length(service: Service, tmp_path: Path, name: str) -> None:
    """As long as the file system takes; a cut that leaves half a name is not made."""
    service.cdn_faults.append(Fault(cut=True))
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / name)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == service.files["/result.mp4"]


def test_a_name_that_is_too_long_is_seen_at_once(service: Service, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / ("x" * 256))
    assert (service.cdn_requests, list(tmp_path.iterdir())) == ([], [])


def test_a_folder_is_no_target(service: Service, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path)
    assert (service.cdn_requests, list(tmp_path.iterdir())) == ([], [])


def test_a_file_has_the_usual_mode(service: Service, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
