"""URLs: which may be asked for, and how they are shown without what is secret in them."""

import re
from urllib.parse import SplitResult, urlsplit

from klingmask.kling.errors import InvalidRequestError, KlingError
from klingmask.kling.redaction import clean, without_queries

__all__ = ["api_url", "check_url", "is_loopback", "shown_url", "without_queries"]


def check_url(url: str, what: str, kind: type[KlingError] = InvalidRequestError) -> str:
    """Let https pass, and http to this machine; refuse all else by an error of that kind.

    Also what two readers of URLs may take for two different hosts: a backslash
    or a space in it, a user name before it.
    """
    if not isinstance(url, str):
        raise kind(f"{what} must be a text, got {type(url).__name__}")
    parts = _split(url)
    if parts is None:
        raise kind(f"{what} must be a URL; this one cannot be read")
    here = parts.scheme == "http" and is_loopback(url)
    if not parts.hostname or not (parts.scheme == "https" or here):
        raise kind(f"{what} must be an https URL (http only to localhost), got {shown_url(url)!r}")
    if "@" in parts.netloc:
        raise kind(f"{what} must be a URL without a user or password, got {shown_url(url)!r}")
    return url


def api_url(url: str) -> str:
    """Return the base URL of an API, which paths can be added to."""
    check_url(url, "the base URL")
    if "?" in url or "#" in url:
        raise InvalidRequestError(
            f"the base URL must have no query and no fragment, got {shown_url(url)} and more"
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def shown_url(url: str) -> str:
    """Return a URL, or what was given for one, without user, password, query and fragment."""
    if _split(url) is None:
        return "a URL that cannot be read"
    start = re.split("[?#]", url, maxsplit=1)[0]
    return clean(re.sub(r"(?i)^((?:[a-z][a-z0-9+.-]*:)?//)?.*@", r"\1", start), 300)


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, if it can be read, and in one way only."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is only now looked at
        (parts.hostname or "").encode("idna")  # as it will be; a label may be empty or too long
        url.encode()  # no half of a character
    except ValueError:
        return None
    odd = re.search(r"[\x00-\x1f\x7f]", url) or re.search(r"[\\\s]", parts.netloc)
    return None if odd else parts
