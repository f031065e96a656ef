"""The tracking file of a preview: the masks of each frame, in the shapes it may have.

Its format is not published. It is expected to be JSON, JSON Lines or a multipart
stream of JSON, in the shapes of the service's selections or in those that Meta's
SAM 2 demo server streams: a list of frames, an object with such a list under a
key, or a map from frame index to what is selected on it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from klingmask import Mask
from klingmask.kling.bodies import parse_json
from klingmask.kling.errors import BadReplyError
from klingmask.kling.models import FrameSize, ObjectId, described, masks_of, selected

__all__ = ["read_tracking"]

LISTS = ("rle_mask_list", "results")
"""Under which a frame has its objects: in a selection, and in SAM 2's stream."""

_Frames: TypeAlias = Iterator[tuple[int, list[Any]]]


def read_tracking(
    content: bytes, frame: FrameSize | None = None
) -> dict[int, dict[ObjectId, Mask]]:
    """Read a tracking file.

    Parameters
    ----------
    content : bytes
    frame : FrameSize, optional
        What is known of the video's frames, which tells whether sizes are (h, w).

    Returns
    -------
    dict
        Frame index -> object id -> mask; a frame on which nothing is selected has
        no masks, one of which the file says nothing is not there.

    Raises
    ------
    BadReplyError
        If it is none of the shapes, and the message says what was found; or if its
        masks are not of such frames.
    """
    document = _parse(content)
    frames = _frames(document)
    if frames is None:
        raise BadReplyError(
            "the tracking file has no masks: expected a list of frames with an "
            f"{LISTS[0]} each, or a map from frame index to masks; this is {_shape(document)}"
        )
    listed: dict[int, list[Any]] = {}
    for index, entries in frames:
        listed.setdefault(index, []).extend(entries)
    tracked = {}
    for index, entries in listed.items():
        try:
            tracked[index] = masks_of(selected(entries, frame))
        except BadReplyError as error:
            raise BadReplyError(f"the tracking file, frame {index}: {error.message}") from error
    return tracked


def _parse(content: bytes) -> Any:
    """The JSON value of a file; of several that follow each other, the list of them."""
    content = content.lstrip()
    try:
        return parse_json(_bodies(content) if content.startswith(b"--") else content)
    except ValueError as error:
        reason = str(error)
    raise BadReplyError(f"the tracking file is not a JSON file: {reason}")


def _bodies(multipart: bytes) -> bytes:
    """The bodies of a multipart stream, which starts with its boundary, without their headers."""
    boundary = multipart.split(None, 1)[0]
    parts = (b"\n" + multipart.replace(b"\r\n", b"\n")).split(b"\n" + boundary)
    return b"\n".join(part.partition(b"\n\n")[2] for part in parts)


def _list_of(frame: Any) -> str | None:
    """The key under which a frame has its objects, if it is one."""
    if not isinstance(frame, Mapping):
        return None
    return next((name for name in LISTS if name in frame), None)


def _frames(document: Any, depth: int = 20) -> _Frames | None:
    """The frames of a document, or None if it has no shape that is known."""
    if isinstance(document, list):
        return _in_list(document) if any(map(_list_of, document)) else None
    if not isinstance(document, Mapping) or not depth:
        return None
    if _list_of(document):
        return _in_list([document])
    if document and all(key.isascii() and key.isdecimal() for key in document):
        return _in_map(document)
    found = (_frames(value, depth - 1) for value in document.values())
    return next((frames for frames in found if frames is not None), None)


def _in_list(frames: list[Any]) -> _Frames:
    for place, frame in enumerate(frames):
        if not isinstance(frame, Mapping):
            raise BadReplyError(f"the tracking file: entry {place} is {described(frame)}")
        name = _list_of(frame)
        yield _index(frame.get("frame_index", place)), _entries(name and frame[name], place)


def _in_map(frames: Mapping[str, Any]) -> _Frames:
    for key, value in frames.items():
        name = _list_of(value)
        yield _index(key), _entries(value[name] if name else value, key)


def _index(value: object) -> int:
    """A frame's index, from 0, which may come as a text or with a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise BadReplyError(
        f"the tracking file: a frame index is an integer from 0, not {described(value)}"
    )


def _number(text: str) -> int | str:
    """An integer, if a text is one; a text of thousands of digits is no frame and no object."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text


def _entries(masks: Any, frame: object) -> list[Any]:
    """What is on a frame, as an ``rle_mask_list``: of entries, of rles, or by object."""
    if masks is None:
        return []
    if isinstance(masks, Mapping):
        # A key of JSON is a text, also where it stands for a selection's number.
        return [{**_entry(mask), "object_id": _object_id(name)} for name, mask in masks.items()]
    if isinstance(masks, list):
        return [_entry(mask) if isinstance(mask, Mapping) else mask for mask in masks]
    raise BadReplyError(f"the tracking file: frame {frame} is {described(masks)}")


def _object_id(name: str) -> ObjectId:
    number = _number(name)
    return number if str(number) == name else name  # "07" and "7" are two objects


def _entry(mask: Any) -> Mapping[str, Any]:
    """An entry of an ``rle_mask_list``, made of such a one, of one of SAM 2's or of an rle."""
    if not isinstance(mask, Mapping) or "counts" in mask:
        return {"rle_mask": mask}
    return {"rle_mask": mask["mask"], **mask} if "mask" in mask else mask


def _shape(document: Any) -> str:
    if isinstance(document, list):
        first = f", the first of them {described(document[0])}" if document else ""
        return f"a list of {len(document)}{first}"
    return described(document)
