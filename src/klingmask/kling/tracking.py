"""The tracking file of a preview: the masks of each frame, in the shapes it may have.

Its format is not published. It is expected to be JSON or JSON Lines in the
family's shapes: a list of frames, an object with such a list under a key, or a
map from frame index to what is selected on it.
"""

import json
from collections.abc import Mapping
from typing import Any

from klingmask import Mask
from klingmask.datasets import find_masks, parse_json
from klingmask.kling.errors import BadReplyError

__all__ = ["read_tracking"]

Tracked = dict[int, dict[int | float | str, Mask]]


def read_tracking(content: bytes) -> Tracked:
    """Read a tracking file.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    dict
        Frame index -> object id -> mask.

    Raises
    ------
    BadReplyError
        If it is none of the shapes; the message says what was found.
    """
    try:
        return find_masks(_frames(parse_json(content))).tracking()
    except (ValueError, TypeError) as error:
        raise BadReplyError(f"the tracking file: {error}") from error


def _frames(document: Any) -> Any:
    """The list of frames in a document, or the document itself."""
    if not isinstance(document, Mapping) or "rle_mask_list" in document:
        return document
    if document and all(str(key).isdecimal() for key in document):
        return [_frame(int(key), value) for key, value in document.items()]
    if "masklet" in document or "annotations" in document:
        return document
    for value in document.values():
        if isinstance(value, list) and value and _has_masks(value[0]):
            return value
        if isinstance(value, Mapping):
            inner = _frames(value)
            if inner is not value:
                return inner
    return document


def _has_masks(frame: Any) -> bool:
    return isinstance(frame, Mapping) and "rle_mask_list" in frame


def _frame(index: int, value: Any) -> dict[str, Any]:
    """A frame of a map: its masks, with or without the frame around them."""
    if isinstance(value, Mapping) and "rle_mask_list" in value:
        return {**value, "frame_index": index}
    if isinstance(value, list):
        entries = [
            entry
            if isinstance(entry, Mapping) and "rle_mask" in entry
            else {"object_id": place, "rle_mask": entry}
            for place, entry in enumerate(value)
        ]
        return {"frame_index": index, "rle_mask_list": entries}
    if isinstance(value, Mapping):
        entries = [{"object_id": key, "rle_mask": rle} for key, rle in value.items()]
        return {"frame_index": index, "rle_mask_list": entries}
    raise BadReplyError(f"the tracking file: frame {index} is {json.dumps(value)[:80]}")
