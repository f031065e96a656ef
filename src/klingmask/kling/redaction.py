"""Keeping keys, tokens, queries of URLs and control characters out of texts.

Errors, log lines and reprs quote what a server says, and a server may repeat the key that
it was sent. So all such texts pass through `clean`, whoever wrote them.
"""

import base64
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["clean", "cleaned", "redacted", "remember", "without_queries"]

MIN_LENGTH = 4
"""Characters of the shortest secret that is redacted."""
MAX_WORD = 7
"""Up to so many lower-case letters are taken for a word, which messages may need, and not for a
key; the service's keys are longer."""
LONGEST_ESCAPE = 24
"""Characters that an escaped character may have: 8 backslashes, and ``%252525`` and more."""
MIN_BASE64 = 6
"""Characters of the shortest piece of base64 that is redacted."""
MAX_KNOWN = 1000
"""Number of secrets that are remembered; the least recently used are forgotten."""

_known: dict[str, re.Pattern[str]] = {}  # the most recently used is the last
_patterns: list[re.Pattern[str]] = []  # the longest secret first: it may contain another one
_lock = threading.Lock()

_HTML_NAMES = {"&": "amp", '"': "quot", "'": "apos", "<": "lt", ">": "gt"}


def remember(*secrets: str) -> None:
    """Redact these secrets from now on."""
    global _patterns
    with _lock:
        new = False
        for secret in secrets:
            is_word = len(secret) <= MAX_WORD and secret.isalpha() and secret.islower()
            if len(secret) >= MIN_LENGTH and not is_word:
                pattern = _known.pop(secret, None)
                new |= pattern is None
                _known[secret] = pattern or _pattern(secret)
        while len(_known) > MAX_KNOWN:
            del _known[next(iter(_known))]
        if new:
            _patterns = [_known[secret] for secret in sorted(_known, key=len, reverse=True)]


def redacted(text: str) -> str:
    """Return a text with ``[secret]`` in the place of each remembered secret."""
    for pattern in _patterns:
        text = pattern.sub("[secret]", text)
    return re.sub(r"(?i)bearer\s+[\w.~+/=-]+", "Bearer [secret]", text)


def clean(text: str, limit: int | None = None) -> str:
    """Return a text that may be shown: redacted, without queries, printable.

    Parameters
    ----------
    text : str
        Of anyone.
    limit : int, optional
        Number of characters to keep. If that cuts a secret, no part of it is left.
    """
    longest = LONGEST_ESCAPE * max(map(len, _known), default=0)
    if limit is not None and len(text) > 10 * limit + longest:
        text = redacted(text[: 10 * limit + longest])[: -longest or None]
    text = _printable(without_queries(redacted(text)))
    return text if limit is None else text[:limit]


def cleaned(value: Any, depth: int = 50) -> Any:
    """Return a JSON value with all its texts clean; what is deeper is left out."""
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
    """Return a text whose URLs and paths end before their query or fragment."""
    return re.sub(r"""(?i)(?:https?:/|(?<!\S))/[^\s"'<>]*""", _without_query, text)


def _without_query(found: re.Match[str]) -> str:
    path, mark, _ = re.sub("[?#]", "?", found[0], count=1).partition("?")
    return f"{path}?[...]" if mark else path


def _printable(text: str) -> str:
    """Return a text with spaces for whitespace and Python's escapes for what is not printable."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else " " if one.isspace() else ascii(one)[1:-1] for one in text
    )


def _pattern(secret: str) -> re.Pattern[str]:
    """Return a pattern for a secret as it is, escaped, or in base64."""
    texts = [secret, *(text for text in _in_base64(secret) if len(text) >= MIN_BASE64)]
    return re.compile("|".join("".join(map(_escaped, text)) for text in texts))


def _in_url(mark: str) -> str:
    """Return a pattern for a character as it is, percent-encoded, or encoded several times."""
    return rf"(?:{re.escape(mark)}|%(?:25){{0,3}}{ord(mark):02x})"


_BACKSLASH, _AMPERSAND, _HASH, _SEMICOLON = map(_in_url, "\\&#;")


def _escaped(character: str) -> str:
    """Return a pattern for a character as URLs, JSON and HTML may escape it, also combined."""
    if character.isalnum():
        return character
    code = ord(character)
    html = [f"{_HASH}0{{0,5}}{code}", f"{_HASH}x0{{0,5}}{code:x}", _HTML_NAMES.get(character, "")]
    entity = f"{_AMPERSAND}(?:{'|'.join(filter(None, html))}){_SEMICOLON}"
    # Each repetition has an end, so that a text of backslashes takes linear time.
    return f"(?i:{_BACKSLASH}{{0,8}}(?:{_in_url(character)}|u{code:04x}|{entity}))"


def _in_base64(secret: str) -> Iterator[str]:
    """Yield the base64 of a secret that starts at byte 0, 1 or 2 of a group of three.

    Without the characters at both ends that also depend on the bytes beside the secret.
    """
    content = secret.encode()
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(before) + content).decode()
        text = text[shared : (before + len(content)) * 8 // 6]
        yield text
        if "+" in text or "/" in text:
            yield text.translate(str.maketrans("+/", "-_"))
