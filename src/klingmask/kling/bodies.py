"""The bodies of replies and files: as they arrive, decompressed, and read as JSON.

A few bytes can stand for very many: a compressed body for gigabytes, a list of empty
lists for as many objects. Both are bounded here, whatever version of urllib3 there is.
"""

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions

from klingmask.kling.errors import BadReplyError

__all__ = ["is_compressed", "parse_json", "pieces"]

PIECE = 1 << 16  # bytes that are read, or decompressed, at a time
MAX_VALUES = 2_000_000
"""Values in a JSON text. Each takes some 70 bytes, an object some 200."""

_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


def is_compressed(response: requests.Response) -> bool:
    """Whether a body comes compressed, as some servers send it unasked."""
    return bool(_encodings(response))


def _encodings(response: requests.Response) -> list[str]:
    names = response.headers.get("Content-Encoding", "").lower().split(",")
    return [name.strip() for name in names if name.strip() not in ("", "identity")]


def pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, a bounded piece at a time.

    Raises
    ------
    requests.RequestException
        If it does not arrive, or ends before all of it is there.
    BadReplyError
        If it is compressed by anything but gzip or zlib, or more than once.
    """
    encodings = _encodings(response)
    if not encodings:
        yield from _received(response)
    elif len(encodings) == 1 and encodings[0] in ("gzip", "x-gzip", "deflate"):
        yield from _decompressed(_received(response))
    else:
        raise BadReplyError(
            f"a body with the Content-Encoding {', '.join(encodings)}, for which nobody asked",
            status=response.status_code,
            outcome="unknown",
        )


def _received(response: requests.Response) -> Iterator[bytes]:
    """The bytes of the body; iter_content would wait for a full block of them."""
    try:
        while piece := response.raw.read1(PIECE, decode_content=False):
            yield piece
    except urllib3.exceptions.TimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


def _decompressed(received: Iterator[bytes]) -> Iterator[bytes]:
    """What one stream of zlib, or one or more of gzip, hold."""
    stream = zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        for compressed in received:
            if stream.eof:
                stream = zlib.decompressobj(_ZLIB_OR_GZIP)
            rest, more = compressed, True
            while more:
                piece = stream.decompress(rest, PIECE)
                if piece:
                    yield piece
                if stream.eof and stream.unused_data:
                    rest = stream.unused_data
                    stream = zlib.decompressobj(_ZLIB_OR_GZIP)
                else:
                    rest = stream.unconsumed_tail
                    more = bool(rest) or len(piece) == PIECE  # then zlib may hold some back
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(error) from error
    if not stream.eof:
        raise requests.exceptions.ContentDecodingError("the compressed body ends too early")


# Also one that does not end, so that no byte is looked at twice.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BETWEEN = re.compile(r"[ \t\r\n\x1e]*")


def parse_json(content: bytes) -> Any:
    """Read a JSON text, or several that follow each other, as in JSON Lines.

    Returns
    -------
    object
        The value; of several, the list of them.

    Raises
    ------
    ValueError
        If it is no JSON, is nested too deeply or has more than `MAX_VALUES` values.
    """
    _check_values(content)
    text = content.decode("utf-8-sig")
    decoder, place = json.JSONDecoder(), 0
    values: list[Any] = []
    try:
        while (place := _skip_space(text, place)) < len(text) or not values:
            value, place = decoder.raw_decode(text, place)
            values.append(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return values[0] if len(values) == 1 else values


def _check_values(content: bytes) -> None:
    """Count what begins a value: a comma, or the bracket of an array or object."""
    marks = (b",", b"[", b"{")
    if sum(map(content.count, marks)) <= MAX_VALUES:  # even with those inside of strings
        return
    values = end = 0
    for string in _STRINGS.finditer(content):
        values += sum(content.count(mark, end, string.start()) for mark in marks)
        end = string.end()
        if values > MAX_VALUES:
            break
    else:
        values += sum(content.count(mark, end) for mark in marks)
    if values > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} values")


def _skip_space(text: str, place: int) -> int:
    between = _BETWEEN.match(text, place)
    return between.end() if between else place
