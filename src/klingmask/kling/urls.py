"""URLs: which ones may be requested, and how to show them without their secret parts."""

import re
from urllib.parse import SplitResult, urlsplit

from klingmask.kling.errors import InvalidRequestError, KlingError
from klingmask.kling.redaction import clean, without_queries

__all__ = ["api_url", "check_url", "is_loopback", "shown_url", "without_queries"]


def check_url(url: str, what: str, kind: type[KlingError] = InvalidRequestError) -> str:
    """Return an https URL, or an http URL of this machine; raise `kind` for anything else.

    URLs that two parsers may read as two different hosts are refused: with a backslash or
    a space in the host, or a user name before it.
    """
    if not isinstance(url, str):
        raise kind(f"{what} must be a text, got {type(url).__name__}")
    parts = _split(url)
    if parts is None:
        raise kind(f"{what} must be a URL; this one cannot be read")
    is_local = parts.scheme == "http" and is_loopback(url)
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise kind(f"{what} must be an https URL (http only to localhost), got {shown_url(url)!r}")
    if "@" in parts.netloc:
        raise kind(f"{what} must be a URL without a user or password, got {shown_url(url)!r}")
    return url


def api_url(url: str) -> str:
    """Return the base URL of an API, to which paths can be appended."""
    check_url(url, "the base URL")
    if "?" in url or "#" in url:
        raise InvalidRequestError(
            f"the base URL must have no query and no fragment, got {shown_url(url)} and more"
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Return whether a URL is one of this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def shown_url(url: str) -> str:
    """Return a URL, or what was given for one, without user, password, query and fragment."""
    if _split(url) is None:
        return "a URL that cannot be read"
    start = re.split("[?#]", url, maxsplit=1)[0]
    return clean(re.sub(r"(?i)^((?:[a-z][a-z0-9+.-]*:)?//)?.*@", r"\1", start), 300)


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if it is invalid or can be read in two ways."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number from 0 to 65535
        (parts.hostname or "").encode("idna")  # raises if a label is empty or too long
        url.encode()  # raises if there is a lone surrogate
    except ValueError:
        return None
    has_control = re.search(r"[\x00-\x1f\x7f]", url)
    is_ambiguous = re.search(r"[\\\s]", parts.netloc)
    return None if has_control or is_ambiguous else parts
