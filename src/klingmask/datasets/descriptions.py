"""What a document is, in the words of JSON: for messages about what cannot be read."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from klingmask.quoting import MOST_SHOWN, quoted

__all__ = ["described", "has"]

_NOT_READ = {
    "segmentations": "YouTube-VIS: 'segmentations' has a mask for each frame",
    "segments_info": "COCO panoptic: the masks are in PNG files beside it",
    "shapes": "labelme: shapes with points",
}
"""Keys by which kinds of files are recognised that cannot be read yet."""


def has(entry: Any, *keys: str) -> bool:
    """Return whether an entry is a JSON object with all these keys."""
    return isinstance(entry, Mapping) and all(key in entry for key in keys)


def described(document: object) -> str:
    """Describe a document by its type, its keys and its first entries.

    Examples
    --------
    >>> described({"a": 1, "b": 2})
    'an object with the keys a, b'
    >>> described([{"a": 1}, None])
    'a list of 2, the first of them an object with the keys a; entry 1 is null'
    """
    if not isinstance(document, list) or not document:
        return _described_entry(document)
    first = document[0]
    text = f"a list of {len(document)}, the first of them {_described_entry(first)}"
    if isinstance(first, Mapping):
        for index, entry in enumerate(document):
            if not has(entry, *first.keys()):
                return f"{text}; entry {index} is {_described_entry(entry)}"
    return text


def _described_entry(entry: object) -> str:
    if isinstance(entry, Mapping):
        return _described_object(entry)
    if isinstance(entry, list):
        return f"a list of {len(entry)}" if entry else "an empty list"
    if isinstance(entry, str):
        return f"the text {quoted(entry)}"
    if entry is None or isinstance(entry, bool):
        return {None: "null", True: "true", False: "false"}[entry]
    if isinstance(entry, (int, float)):
        return f"the number {quoted(entry)}"
    return type(entry).__name__


def _described_object(entry: Mapping[Any, Any]) -> str:
    if not entry:
        return "an empty object"
    keys = ", ".join(map(_key, islice(entry, MOST_SHOWN)))
    more = ", ..." if len(entry) > MOST_SHOWN else ""
    kind = next((kind for key, kind in _NOT_READ.items() if key in entry), None)
    return f"an object with the keys {keys}{more}" + (
        f" ({kind}, which is not read yet)" if kind else ""
    )


def _key(key: object) -> str:
    """Return a key as it is if it is a short word, else quoted."""
    return key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,40}", key) else quoted(key)
