"""What no text of this package may hold: keys, the queries of URLs, control characters.

Errors, log lines and reprs quote what a server says, and a server may repeat what
it was sent. All such texts pass through here, so it does not matter who wrote them.
"""

import base64
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["clean", "cleaned", "redacted", "remember", "without_queries"]

MIN_LENGTH = 8
"""Characters of a secret: a shorter one is no key of the service, but may be a word."""
MAX_KNOWN = 1000
"""Secrets that are known at a time; the ones not used for longest are forgotten."""

_known: dict[str, re.Pattern[str]] = {}  # the last used at the end
_patterns: list[re.Pattern[str]] = []  # the longest secret first, as it may contain another
_lock = threading.Lock()

_HTML_NAMES = {"&": "amp", '"': "quot", "'": "apos", "<": "lt", ">": "gt"}


def remember(*secrets: str) -> None:
    """Keep these texts out of all that is shown from now on."""
    global _patterns
    with _lock:
        new = False
        for secret in secrets:
            if len(secret) >= MIN_LENGTH:
                pattern = _known.pop(secret, None)
                new |= pattern is None
                _known[secret] = pattern or _pattern(secret)
        while len(_known) > MAX_KNOWN:
            del _known[next(iter(_known))]
        if new:
            _patterns = [_known[secret] for secret in sorted(_known, key=len, reverse=True)]


def redacted(text: str) -> str:
    """Return a text in which ``[secret]`` stands for each key and token."""
    for pattern in _patterns:
        text = pattern.sub("[secret]", text)
    return re.sub(r"(?i)bearer\s+[\w.~+/=-]+", "Bearer [secret]", text)


def clean(text: str, limit: int | None = None) -> str:
    """Return a text as it may be shown: redacted, without queries, printable.

    Parameters
    ----------
    text : str
        Of anyone.
    limit : int, optional
        Characters that are kept. No part of a secret is left where the text is cut.
    """
    if limit is not None and len(text) > 10 * limit:  # enough, also if much of it is redacted
        longest = 6 * max(map(len, _known), default=0)  # each character may be escaped
        text = redacted(text[: 10 * limit])[: -longest or None]
    text = _printable(without_queries(redacted(text)))
    return text if limit is None else text[:limit]


def cleaned(value: Any, depth: int = 50) -> Any:
    """Return a value of JSON whose texts are clean, down to some depth."""
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, (Mapping, list)):
        return value
    if not depth:
        return "[...]"
    if isinstance(value, list):
        return [cleaned(one, depth - 1) for one in value]
    return {clean(str(name)): cleaned(one, depth - 1) for name, one in value.items()}


def without_queries(text: str) -> str:
    """Return a text in which each URL or path ends before its query or fragment."""
    return re.sub(r"""(?i)(?:https?:/|(?<!\S))/[^\s"'<>]*""", _without_query, text)


def _without_query(found: re.Match[str]) -> str:
    path, mark, _ = re.sub("[?#]", "?", found[0], count=1).partition("?")
    return f"{path}?[...]" if mark else path


def _printable(text: str) -> str:
    """Whitespace as spaces, and what a terminal would act on as an escape of Python's."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else " " if one.isspace() else ascii(one)[1:-1] for one in text
    )


def _pattern(secret: str) -> re.Pattern[str]:
    """Whatever a secret is spelt like: as it is, or escaped, or in base64, alone or within."""
    spellings = [secret, *_in_base64(secret)]
    return re.compile("|".join("".join(map(_spelt, text)) for text in spellings))


def _in_url(mark: str) -> str:
    """A character as it is, or as a URL has it, or a URL in a URL."""
    return rf"(?:{re.escape(mark)}|%(?:25)*{ord(mark):02x})"


_BACKSLASH, _AMPERSAND, _HASH, _SEMICOLON = map(_in_url, "\\&#;")


def _spelt(character: str) -> str:
    """How a character may be escaped by URLs, JSON and HTML, and by one in another."""
    if character.isalnum():
        return character
    code = ord(character)
    html = [f"{_HASH}0*{code}", f"{_HASH}x0*{code:x}", _HTML_NAMES.get(character, "")]
    entity = f"{_AMPERSAND}(?:{'|'.join(filter(None, html))}){_SEMICOLON}"
    return f"(?i:{_BACKSLASH}*(?:{_in_url(character)}|u{code:04x}|{entity}))"


def _in_base64(secret: str) -> Iterator[str]:
    """What base64 makes of a secret behind 0, 1 or 2 other bytes, less what mixes with those."""
    content = secret.encode()
    for before, mixed in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(before) + content).decode()
        text = text[mixed : (before + len(content)) * 8 // 6]
        yield text
        if "+" in text or "/" in text:
            yield text.translate(str.maketrans("+/", "-_"))
