"""The tracking file of a preview: the masks of each frame.

Its format is not published. These are read: JSON, JSON Lines and a multipart stream of
JSON. In them, a list of frames, an object with such a list under a key, or an object
with the frame indices as keys. A frame has its objects as a reply to a selection does,
or as Meta's SAM 2 demo server streams them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from klingmask import Mask
from klingmask.kling.bodies import parse_json
from klingmask.kling.errors import BadReplyError
from klingmask.kling.fields import describe
from klingmask.kling.objects import FrameSize, ObjectId, masks_of, read_objects

__all__ = ["read_tracking"]

OBJECT_LISTS = ("rle_mask_list", "results")
"""The keys under which a frame has its objects: in selections, and in SAM 2's stream."""
MAX_DEPTH = 20
"""How deep in a document the list of frames may be."""

_Frames: TypeAlias = Iterator[tuple[int, list[Any]]]
"""Frame indices, each with entries of an ``rle_mask_list``."""


def read_tracking(
    content: bytes, frame_size: FrameSize | None = None
) -> dict[int, dict[ObjectId, Mask]]:
    """Read a tracking file.

    Parameters
    ----------
    content : bytes
    frame_size : FrameSize, optional
        What is known of the video's frames. It tells whether sizes are (h, w) or (w, h).

    Returns
    -------
    dict
        Frame index -> object id -> mask. A frame without objects has an empty dict; a
        frame that is not in the file is not in the result.

    Raises
    ------
    BadReplyError
        If it has none of these formats (the message says what was found), or if its masks
        do not fit the frames.
    """
    document = _parse(content)
    frames = _find_frames(document)
    if frames is None:
        raise BadReplyError(
            f"the tracking file has no masks: expected a list of frames with "
            f"{OBJECT_LISTS[0]}, or an object with frame indices as keys; "
            f"this is {_describe_document(document)}"
        )
    entries_of: dict[int, list[Any]] = {}
    for index, entries in frames:
        entries_of.setdefault(index, []).extend(entries)
    masks = {}
    for index, entries in entries_of.items():
        try:
            masks[index] = masks_of(read_objects(entries, frame_size))
        except BadReplyError as error:
            raise BadReplyError(f"the tracking file, frame {index}: {error.message}") from error
    return masks


def _parse(content: bytes) -> Any:
    """Return the JSON value of a file; if several follow each other, the list of them."""
    content = content.lstrip()
    try:
        return parse_json(_join_parts(content) if content.startswith(b"--") else content)
    except ValueError as error:
        reason = str(error)
    # Raised outside of the handler: a JSONDecodeError has the whole text.
    raise BadReplyError(f"the tracking file is not a JSON file: {reason}")


def _join_parts(multipart: bytes) -> bytes:
    """Return the parts of a multipart stream, without boundaries and headers.

    It starts with its boundary, for example ``--frame``.
    """
    boundary = multipart.split(None, 1)[0]
    parts = (b"\n" + multipart.replace(b"\r\n", b"\n")).split(b"\n" + boundary)
    return b"\n".join(part.partition(b"\n\n")[2] for part in parts)


def _find_frames(document: Any, depth: int = MAX_DEPTH) -> _Frames | None:
    """Return the frames of a document, or None if there are none."""
    if isinstance(document, list):
        return _frames_in_list(document) if any(map(_list_key, document)) else None
    if not isinstance(document, Mapping) or not depth:
        return None
    if _list_key(document):
        return _frames_in_list([document])
    if document and all(key.isascii() and key.isdecimal() for key in document):
        return _frames_by_index(document)
    found = (_find_frames(value, depth - 1) for value in document.values())
    return next((frames for frames in found if frames is not None), None)


def _list_key(frame: Any) -> str | None:
    """Return the key under which a frame has its objects; None if it is no frame."""
    if not isinstance(frame, Mapping):
        return None
    return next((key for key in OBJECT_LISTS if key in frame), None)


def _frames_in_list(frames: list[Any]) -> _Frames:
    for place, frame in enumerate(frames):
        if not isinstance(frame, Mapping):
            raise BadReplyError(f"the tracking file: entry {place} is {describe(frame)}")
        key = _list_key(frame)
        yield _frame_index(frame.get("frame_index", place)), _entries(key and frame[key], place)


def _frames_by_index(frames: Mapping[str, Any]) -> _Frames:
    for index, frame in frames.items():
        key = _list_key(frame)
        yield _frame_index(index), _entries(frame[key] if key else frame, index)


def _frame_index(value: object) -> int:
    """Return a frame index, which may be an integer, a float or a text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise BadReplyError(
        f"the tracking file: a frame index is an integer from 0, not {describe(value)}"
    )


def _number(text: str) -> int | str:
    """Return the integer that a text is, if it has a sensible number of digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text


def _entries(objects: Any, frame: object) -> list[Any]:
    """Return a frame's objects as entries of an ``rle_mask_list``."""
    if objects is None:
        return []
    if isinstance(objects, list):
        return [_entry(one) if isinstance(one, Mapping) else one for one in objects]
    if isinstance(objects, Mapping):
        return [{**_entry(one), "object_id": _object_id(key)} for key, one in objects.items()]
    raise BadReplyError(f"the tracking file: frame {frame} is {describe(objects)}")


def _object_id(key: str) -> ObjectId:
    """Return the id for which a key stands: in JSON, keys are always texts."""
    number = _number(key)
    return number if str(number) == key else key  # "07" and "7" are two objects


def _entry(one: Any) -> Mapping[str, Any]:
    """Return an entry of an ``rle_mask_list`` for such an entry, one of SAM 2's, or an rle."""
    if not isinstance(one, Mapping) or "counts" in one:
        return {"rle_mask": one}
    return {"rle_mask": one["mask"], **one} if "mask" in one else one


def _describe_document(document: Any) -> str:
    if isinstance(document, list):
        first = f", the first of them {describe(document[0])}" if document else ""
        return f"a list of {len(document)}{first}"
    return describe(document)
