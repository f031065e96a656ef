"""Bodies of replies and files: decompressed as they arrive, whole, within bounds of memory."""

import gzip
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, bodies, download
from klingmask.kling.bodies import parse_json
from tests.kling.raw_server import OK, answering, says
from tests.kling.samples import SHORT

EMPTY_LIST = b'{"code": 0, "data": []}'


def chunked(content: bytes, size: int = 1 << 14) -> bytes:
    """A body in chunks, whose end is told without its length."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


def compressed(encoding: bytes, content: bytes, *, chunks: bool = True) -> bytes:
    head = OK + b"Content-Encoding: " + encoding + b"\r\n"
    return head + (
        b"Transfer-Encoding: chunked\r\n\r\n" + chunked(content) if chunks else b"\r\n" + content
    )


NOISE = os.urandom(300_000)


CONTENTS = {
    "nothing": b"",
    "a piece": bytes(bodies.PIECE),
    "a piece and a byte": bytes(bodies.PIECE + 1),
    "zeros": bytes(10**6),
    "noise": NOISE,
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_what_comes_compressed_unasked(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = CONTENTS[name]
    encoding = b"gzip" if pack is gzip.compress else b"deflate"
    for chunks in (True, False):
        with answering(says(compressed(encoding, pack(content), chunks=chunks))) as url:
            assert download.fetch(f"{url}/a.json") == content
            if content:
                path = download.download(f"{url}/a.mp4", tmp_path / "a.mp4")
                assert path.read_bytes() == content


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 500, 10**5])
@pytest.mark.parametrize("chunks", [True, False], ids=["in chunks", "to the end"])
def test_a_compressed_body_that_ends_too_early(cut: int, chunks: bool, tmp_path: Path) -> None:
    """Its transfer ends as it should, so only the compressed stream shows that there is more."""
    for encoding, pack in ((b"gzip", gzip.compress), (b"deflate", zlib.compress)):
        with answering(says(compressed(encoding, pack(NOISE)[:-cut], chunks=chunks))) as url:
            with pytest.raises(kling.RequestConnectionError, match="ends too early"):
                download.fetch(f"{url}/a.json", limits=SHORT)
            with pytest.raises(kling.RequestConnectionError, match="ends too early"):
                download.download(f"{url}/a.mp4", tmp_path / "a.mp4", limits=SHORT)
    assert list(tmp_path.iterdir()) == []


def test_several_gzip_members_are_one_body() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    with answering(says(compressed(b"x-gzip", packed))) as url:
        assert download.fetch(f"{url}/a.json") == b"one two"
    for rest in (b"rubbish", b"\x1f\x8b"):
        with (
            answering(says(compressed(b"gzip", packed + rest))) as url,
            pytest.raises(kling.RequestConnectionError),
        ):
            download.fetch(f"{url}/a.json", limits=SHORT)


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"compress", b"\xff"])
def test_a_compression_that_nobody_asked_for(
    encoding: bytes, make: Callable[..., KlingClient], tmp_path: Path
) -> None:
    body = gzip.compress(gzip.compress(EMPTY_LIST))
    with answering(says(compressed(encoding, body))) as url, make(base_url=url) as client:
        with pytest.raises(kling.BadReplyError, match="Content-Encoding") as caught:
            client.list_tasks()
        assert (caught.value.outcome, caught.value.status) == ("unknown", 200)
        with pytest.raises(kling.BadReplyError, match="Content-Encoding"):
            download.download(f"{url}/a.mp4", tmp_path / "a.mp4")


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"identity, gzip", b"gzip,"])
def test_a_compressed_reply(encoding: bytes, make: Callable[..., KlingClient]) -> None:
    reply = compressed(encoding, gzip.compress(EMPTY_LIST))
    with answering(says(reply)) as url, make(base_url=url) as client:
        assert client.list_tasks() == []


def test_half_a_compressed_reply_is_none(make: Callable[..., KlingClient]) -> None:
    """Not even where what is there happens to be JSON."""
    flushed = zlib.compressobj(wbits=31)
    half = flushed.compress(EMPTY_LIST) + flushed.flush(zlib.Z_SYNC_FLUSH)
    asked = 0

    def answer(connection: object) -> None:
        nonlocal asked
        asked += 1
        whole = gzip.compress(EMPTY_LIST)
        says(compressed(b"gzip", half if asked == 1 else whole))(connection)  # type: ignore[arg-type]

    with answering(answer) as url, make(base_url=url) as client:
        assert client.list_tasks() == []
    assert asked == 2


def peak_megabytes(code: str, argument: str) -> int:
    """The memory that some code takes in a process of its own, at most."""
    before = "import resource, sys; from klingmask.kling import KlingClient, download, bodies\n"
    after = "\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    ran = subprocess.run(
        [sys.executable, "-c", before + code + after, argument],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return int(ran.stdout.split()[-1]) // (1024**2 if sys.platform == "darwin" else 1024)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """400 MB in 400 kB."""
    packer = zlib.compressobj(wbits=31)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(400)] + [packer.flush()])


CALL = """
try:
    KlingClient("a-key-for-tests", base_url=sys.argv[1], retry_for=0).list_tasks()
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("encoding", [b"gzip", b"gzip, gzip", b"deflate, gzip, gzip"])
def test_a_bomb_takes_no_memory(encoding: bytes, bomb: bytes) -> None:
    bomb = bomb if encoding == b"gzip" else gzip.compress(bomb)
    with answering(says(compressed(encoding, bomb))) as url:
        used = peak_megabytes(CALL, url)
    assert used - peak_megabytes("pass", "") < 250  # the limit of a reply is 64 MB


def test_empty_lists_take_little_memory() -> None:
    """63 MB of them would be 1.6 GB of objects."""
    reply = b'{"code": 0, "data": [' + b"[]," * 21_000_000 + b"[]]}"
    with answering(says(OK + b"\r\n" + reply)) as url:
        used = peak_megabytes(CALL, url)
    assert used - peak_megabytes("pass", "") < 300


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"[]," * 20 + b"[]]",
        b"[" + b"1," * 40 + b"1]",
        b"[" + b'{"a": 1},' * 20 + b"{}]",
        b'{"a": "' + b"\\" * 30 + b'", "b": [' + b"[]," * 20 + b"[]]}",
        b'["' + b'\\"[,{' * 30 + b'", ' + b"{}," * 20 + b"{}]",
        b"{}\n" * 41,
        b"[" * 41,
    ],
)
def test_values_are_counted(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_VALUES", 40)
    with pytest.raises(ValueError, match="more than 40 values"):
        parse_json(content)


@pytest.mark.parametrize(
    "content",
    [
        b'["' + b",[{" * 100 + b'"]',
        b'["' + b'\\",[{' * 100 + b'\\\\"]',
        b'{"counts": "' + b"[" * 1000 + b'", "size": [1, 2]}',
        b"[" + b"1," * 38 + b"1]",
    ],
)
def test_what_is_in_a_string_is_no_value(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_VALUES", 40)
    assert parse_json(content) == json.loads(content)


def test_values_that_follow_each_other() -> None:
    """JSON Lines of any number of lines, a line or several to a value; JSON text sequences."""
    assert parse_json(b'\xef\xbb\xbf {"a": 1}\n') == {"a": 1}
    assert parse_json(b'{"a": 1}\r\n\r\n{"a":\n2}\n') == [{"a": 1}, {"a": 2}]
    assert parse_json(b"\x1e[1]\n\x1e[2]\n") == [[1], [2]]
    for content in (
        b"",
        b" \n",
        b"{} x",
        b'"' + b",[{" * 10**6,
        b"[1",
        b"\xff",
        b"[" * 10**5,
        b"1" * 5000,
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
            parse_json(content)
