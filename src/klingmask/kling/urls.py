"""URLs: which may be asked for, and how they are shown without what is secret in them."""

import re
from urllib.parse import SplitResult, urlsplit

from klingmask.kling.errors import InvalidRequestError, KlingError

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
        raise kind(f"{what} must be an https URL (http only to localhost), got {shown_url(url)}")
    if "@" in parts.netloc:
        raise kind(f"{what} must be a URL without a user or password, got {shown_url(url)}")
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
    """Return a URL without what may be secret in it: user, password, query, fragment."""
    parts = _split(url)
    if parts is None:
        return "a URL that cannot be read"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def without_queries(text: str) -> str:
    """Return a text in which each URL or path ends before its query or fragment."""
    return re.sub(r"""(?i)(?:https?:/|(?<!\S))/[^\s"'<>]*""", _without_query, text)


def _without_query(found: re.Match[str]) -> str:
    path, mark, _ = re.sub("[?#]", "?", found[0], count=1).partition("?")
    return f"{path}?[...]" if mark else path


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, if it can be read, and in one way only."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is only now looked at
        (parts.hostname or "").encode("idna")  # as it will be; a label may be empty or too long
    except ValueError:
        return None
    odd = re.search(r"[\x00-\x1f\x7f]", url) or re.search(r"[\\\s]", parts.netloc)
    return None if odd else parts
