"""The bodies of replies and files: received, decompressed and parsed within bounds of memory.

A small body can need very much memory: a compressed one may hold gigabytes, and a list of
empty lists becomes as many Python objects.
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

PIECE = 1 << 16  # bytes that are received, or decompressed, at a time
MAX_VALUES = 2_000_000
"""Values in a JSON text: a value takes about 70 bytes in Python, an object about 200."""

_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


def is_compressed(response: requests.Response) -> bool:
    """Return whether a body is compressed; some servers do that without being asked."""
    return bool(_encodings(response))


def _encodings(response: requests.Response) -> list[str]:
    names = response.headers.get("Content-Encoding", "").lower().split(",")
    return [name.strip() for name in names if name.strip() not in ("", "identity")]


def pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, a bounded piece at a time.

    Raises
    ------
    requests.RequestException
        If the connection breaks, or the compressed stream ends too early.
    BadReplyError
        If it is compressed by something else than gzip or zlib, or more than once.
    """
    encodings = _encodings(response)
    if not encodings:
        yield from _received(response)
    elif len(encodings) == 1 and encodings[0] in ("gzip", "x-gzip", "deflate"):
        yield from _decompressed(_received(response))
    else:
        raise BadReplyError(
            f"a body with the Content-Encoding {', '.join(encodings)}, which was not asked for",
            status=response.status_code,
            outcome="unknown",
        )


def _received(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes as they arrive; requests' iter_content waits for full blocks."""
    try:
        while piece := response.raw.read1(PIECE, decode_content=False):
            yield piece
    except urllib3.exceptions.TimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error


def _decompressed(received: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress one zlib stream, or gzip members that follow each other."""
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
                    more = bool(rest) or len(piece) == PIECE  # zlib may have more output
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(error) from error
    if not stream.eof:
        raise requests.exceptions.ContentDecodingError("the compressed body ends too early")


# A string without an end matches, too. So no byte is scanned twice.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_SEPARATORS = re.compile(r"[ \t\r\n\x1e]*")  # \x1e: record separator of JSON text sequences


def parse_json(content: bytes) -> Any:
    """Parse a JSON text, or several that follow each other, as in JSON Lines.

    Returns
    -------
    object
        The value; if there are several, a list of them.

    Raises
    ------
    ValueError
        If it is not JSON, is nested too deeply or has more than `MAX_VALUES` values.
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
    """Check an upper bound of the values: the commas and opening brackets outside of strings."""
    marks = (b",", b"[", b"{")
    if sum(map(content.count, marks)) <= MAX_VALUES:  # those inside of strings included
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
    match = _SEPARATORS.match(text, place)
    return match.end() if match else place
