"""Reading fields of JSON: each of the expected type, or a `BadReplyError` that names it."""

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeVar

from klingmask.kling.errors import BadReplyError
from klingmask.kling.redaction import clean

__all__ = ["SafeRepr", "describe", "get_field", "get_id"]

_T = TypeVar("_T")


def describe(value: object) -> str:
    """Describe a value without quoting its text, which may be a signed URL."""
    if isinstance(value, Mapping):
        keys = ", ".join(clean(str(key), 40) for key in list(value)[:12])
        return f"an object with the keys {keys}" if keys else "an empty object"
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return f"{value!r}"[:60]


def get_field(source: Any, name: str, kind: type[_T], default: _T | None = None) -> _T:
    """Return a field of that type.

    A number that comes as a text is converted, and so is an id that comes as a number.
    If there is a default, it stands for a field that is null, missing or an empty text.
    """
    value = source.get(name) if isinstance(source, Mapping) else None
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            value = float(value)
    if kind is int and isinstance(value, (float, str)):
        with suppress(ValueError, OverflowError):
            value = int(value) if float(value).is_integer() else value
    is_bool_for_int = kind is int and isinstance(value, bool)
    is_infinite = isinstance(value, float) and not math.isfinite(value)
    if isinstance(value, kind) and not is_bool_for_int and not is_infinite:
        return value
    if value in (None, "") and default is not None:
        return default
    raise BadReplyError(
        f"the reply's {name} should be of the type {kind.__name__}; there is {describe(value)} "
        f"in {describe(source)}"
    )


def get_id(source: Any, name: str) -> str:
    """Return an id that can be sent back to the service, also in the path of a URL."""
    value = get_field(source, name, str)
    try:
        value.encode()
    except UnicodeEncodeError:
        value = ""
    if value.strip() in ("", ".", ".."):
        raise BadReplyError(f"the reply's {name} is no id: {describe(source[name])}")
    return value


class SafeRepr:
    """A base for dataclasses: a repr without keys, even if the service put one into an id."""

    def __repr__(self: Any) -> str:
        shown = (
            f"{one.name}={getattr(self, one.name)!r}"
            for one in dataclasses.fields(self)
            if one.repr
        )
        return clean(f"{type(self).__name__}({', '.join(shown)})")
