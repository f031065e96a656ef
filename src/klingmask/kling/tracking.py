"""The tracking file of a preview: the masks of each frame, in the shapes it may have.

Its format is not published. It is expected to be JSON or JSON Lines in the
family's shapes: a list of frames, an object with such a list under a key, or a
map from frame index to what is selected on it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from klingmask import Mask
from klingmask.kling.errors import BadReplyError
from klingmask.kling.models import ObjectId, described, masks_of, selected

__all__ = ["read_tracking"]

LIST = "rle_mask_list"

_Frames: TypeAlias = Iterator[tuple[int, list[Any]]]


def read_tracking(content: bytes) -> dict[int, dict[ObjectId, Mask]]:
    """Read a tracking file.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    dict
        Frame index -> object id -> mask; a frame on which nothing is selected has
        no masks, one of which the file says nothing is not there.

    Raises
    ------
    BadReplyError
        If it is none of the shapes; the message says what was found.
    """
    document = _parse(content)
    try:
        frames = _frames(document)
    except RecursionError:
        raise BadReplyError("the tracking file is nested too deeply") from None
    if frames is None:
        raise BadReplyError(
            "the tracking file has no masks: expected a list of frames with an "
            f"{LIST} each, or a map from frame index to masks; this is {_shape(document)}"
        )
    listed: dict[int, list[Any]] = {}
    for index, entries in frames:
        listed.setdefault(index, []).extend(entries)
    tracked = {}
    for index, entries in listed.items():
        try:
            tracked[index] = masks_of(selected(entries))
        except BadReplyError as error:
            raise BadReplyError(f"the tracking file, frame {index}: {error.message}") from error
    return tracked


def _parse(content: bytes) -> Any:
    """JSON, or two lines or more of JSON Lines as a list."""
    try:
        text = content.decode("utf-8-sig")
        try:
            return json.loads(text)
        except ValueError:
            lines = [line for line in text.split("\n") if line.strip()]
            if len(lines) < 2:
                raise
            return [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:
        raise BadReplyError(f"the tracking file is not a JSON file: {error}") from None


def _frames(document: Any) -> _Frames | None:
    """The frames of a document, or None if it has no shape that is known."""
    if isinstance(document, list):
        if any(isinstance(frame, Mapping) and LIST in frame for frame in document):
            return _in_list(document)
        return None
    if not isinstance(document, Mapping):
        return None
    if LIST in document:
        return _in_list([document])
    if document and all(str(key).isdecimal() for key in document):
        return _in_map(document)
    found = (_frames(value) for value in document.values())
    return next((frames for frames in found if frames is not None), None)


def _in_list(frames: list[Any]) -> _Frames:
    for place, frame in enumerate(frames):
        if not isinstance(frame, Mapping):
            raise BadReplyError(f"the tracking file: entry {place} is {described(frame)}")
        yield _index(frame.get("frame_index", place)), _entries(frame.get(LIST), place)


def _in_map(frames: Mapping[str, Any]) -> _Frames:
    for key, value in frames.items():
        inside = value[LIST] if isinstance(value, Mapping) and LIST in value else value
        yield _index(key), _entries(inside, key)


def _index(value: object) -> int:
    try:
        if isinstance(value, (int, str)) or (isinstance(value, float) and value.is_integer()):
            return int(value)
    except ValueError:
        pass
    raise BadReplyError(f"the tracking file: a frame index is an integer, not {described(value)}")


def _entries(masks: Any, frame: object) -> list[Any]:
    """What is on a frame, as an ``rle_mask_list``: of entries, of rles, or by object."""
    if masks is None:
        return []
    if isinstance(masks, Mapping):
        # A key of JSON is a text, also where it stands for a selection's number.
        return [
            {"object_id": int(name) if name.isdecimal() else name, "rle_mask": rle}
            for name, rle in masks.items()
        ]
    if isinstance(masks, list):
        return [
            {"rle_mask": entry} if isinstance(entry, Mapping) and "counts" in entry else entry
            for entry in masks
        ]
    raise BadReplyError(f"the tracking file: frame {frame} is {described(masks)}")


def _shape(document: Any) -> str:
    if isinstance(document, list):
        first = f", the first of them {described(document[0])}" if document else ""
        return f"a list of {len(document)}{first}"
    return described(document)
