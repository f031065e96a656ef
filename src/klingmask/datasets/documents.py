"""The bytes of a JSON file -> the document: gzip, every UTF, JSON Lines.

Nothing here knows what a mask is.
"""

import gzip
import json
import re
import sys
import zlib
from io import BytesIO
from typing import Any

from klingmask._rle import RLEError
from klingmask.quoting import quoted

__all__ = ["format_of", "parse"]

# A gzip file may unpack to this many times its size, or to this many bytes if that is more.
# JSON with masks compresses to about a tenth; a file made to exhaust memory, to a thousandth.
MAX_RATIO = 100
MIN_LIMIT = 64 << 20

# What files of other formats begin with, and no JSON file does: regular expressions.
_FORMATS = tuple(
    (re.compile(start, re.DOTALL), name)
    for start, name in (
        (rb"\x1f\x8b", "a gzip file"),
        (rb"\x89PNG", "a PNG picture"),
        (rb"\xff\xd8\xff", "a JPEG picture"),
        (rb"GIF8", "a GIF picture"),
        (rb"BM.{4}\0", "a BMP picture"),
        (rb"II\*\0|MM\0\*", "a TIFF picture"),
        (rb"RIFF.{4}WEBP", "a WebP picture"),
        (rb"\0.{3}ftyp(avif|hei[cx])", "an AVIF or HEIC picture"),
        (rb"\0.{3}(ftyp|moov|mdat|wide|free)", "a video (MP4 or MOV)"),
        (rb"RIFF.{4}AVI ", "a video (AVI)"),
        (rb"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
        (rb"G.{187}G", "a video (MPEG-TS)"),
        (rb"PK\x03\x04", "a zip archive"),
        (rb"[^\s\[{\"].{256}ustar", "a tar archive"),
        (rb"BZh[1-9]", "a bzip2 file"),
        (rb"\xfd7zXZ", "an xz file"),
        (rb"\x28\xb5\x2f\xfd", "a Zstandard file"),
        (rb"7z\xbc\xaf", "a 7-Zip archive"),
        (rb"\x93NUMPY", "a numpy array"),
        (rb"\x89HDF", "an HDF5 file"),
        (rb"PAR1", "a Parquet file"),
        (rb"ARROW1", "an Arrow file"),
        (rb"%PDF", "a PDF"),
        (rb"\x80[\x02-\x05]", "a pickle"),
        (rb"\s*<", "HTML or XML"),
    )
)
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING_OR_INTEGER = re.compile(r'"(?:[^"\\]++|\\.)*+"|\d++', re.DOTALL)
_MOTS = re.compile(r"(\d+ ){5}\S+[ \t]*(\r?\n|$)")


def format_of(content: bytes) -> str | None:
    """Return what a file is by its first bytes, in words; None for text and what is not known."""
    return next((name for start, name in _FORMATS if start.match(content)), None)


def parse(content: bytes | str) -> Any:
    """Parse a JSON file.

    Parameters
    ----------
    content : bytes or str
        JSON, or JSON Lines (several documents, one after the other). Bytes may be UTF-8, UTF-16
        or UTF-32, with or without a byte order mark, and packed by gzip.

    Returns
    -------
    object
        The document; for several documents the list of them.

    Raises
    ------
    RLEError
        If it is something else; the message says what it looks like.
    """
    if isinstance(content, bytes) and content.startswith(b"\x1f\x8b"):
        content = _unpacked(content)
    text = _decoded(content) if isinstance(content, bytes) else content.removeprefix("\ufeff")
    if _MOTS.match(text):  # of numbers alone, it could be taken for many JSON documents
        raise RLEError(
            "not a JSON file, but MOTS text (a line has frame, object, class, height, width and "
            "counts), which is not read yet"
        )
    documents: list[Any] = []
    decoder, place = json.JSONDecoder(), _after_space(text, 0)
    while place < len(text) or not documents:
        try:
            document, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise RLEError(f"{_not_json(content, text)}: {error}{_path_hint(content)}") from None
        except RecursionError:
            raise RLEError("not a JSON file that can be read: it is nested too deeply") from None
        except ValueError:
            raise RLEError(f"not a JSON file that can be read: {_long_integer(text)}") from None
        documents.append(document)
        place = _after_space(text, place)
    return documents[0] if len(documents) == 1 else documents


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _decoded(content: bytes) -> str:
    try:
        return content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        other = format_of(content)
        raise RLEError(f"not a JSON file{f', but {other}' if other else ''}: {error}") from None


def _unpacked(content: bytes) -> bytes:
    limit = max(MAX_RATIO * len(content), MIN_LIMIT)
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            unpacked = file.read(limit + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise RLEError(f"a gzip file that cannot be unpacked: {error}") from None
    if len(unpacked) > limit:
        raise RLEError(
            f"a gzip file of {len(content)} bytes that unpacks to more than {limit}; "
            "if you trust its source, unpack it with gunzip first"
        )
    return unpacked


def _not_json(content: bytes | str, text: str) -> str:
    if not text.strip():
        return "not a JSON file: it is empty"
    other = format_of(
        content if isinstance(content, bytes) else content[:512].encode(errors="replace")
    )
    found = f", but {other}" if other else f" (it begins with {quoted(text.lstrip()[:40])})"
    return f"not a JSON file{found}"


def _path_hint(content: bytes | str) -> str:
    path = isinstance(content, str) and re.fullmatch(r".*\.(jsonl?|ndjson|gz|txt)", content)
    return "; if this is a path, pass Path(...).read_bytes()" if path else ""


def _long_integer(text: str) -> str:
    """What an integer is refused with that has more digits than Python converts."""
    limit = sys.get_int_max_str_digits()
    for found in _STRING_OR_INTEGER.finditer(text):
        digits = found.end() - found.start()
        if found[0][0] != '"' and digits > limit:
            error = json.JSONDecodeError(f"an integer of {digits} digits", text, found.start())
            return f"{error}; at most {limit} digits are read"
    return f"an integer of more than {limit} digits"
