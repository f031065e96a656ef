"""Files with masks in them: service replies, COCO, SA-1B and SA-V files, plain rles.

A file says more about a mask than its pixels: which frame, image or object it
belongs to. `read_masks` keeps that beside the masks as labels.
"""

import json
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

from klingmask._rle import Mask, MaskArray, RLEError

__all__ = ["LabelledMasks", "find_masks", "read_masks", "tracking_to_json"]

Labels: TypeAlias = dict[str, int | float | str]
_Id = TypeVar("_Id", bound=float | str)
_Found: TypeAlias = Iterator[tuple[Any, Labels]]

KNOWN = (
    "a service reply, an rle, a list of rles, COCO results or annotations, "
    "an SA-1B or SA-V file, or a list of frames with rle_mask_list"
)


@dataclass(frozen=True)
class LabelledMasks:
    """Masks and what their file says about each of them."""

    kind: str
    """What the file is, in words."""
    masks: MaskArray
    labels: list[Labels]
    """One dict a mask: frame, object, image, category, score, as far as known. COCO's image_id and
    category_id are image and category."""
    every: int = 1
    """How many frames of the video lie from one with masks to the next."""
    frames: tuple[Any, ...] = ()
    """The frames that the file lists, also those without masks."""

    def where(self, **wanted: object) -> "LabelledMasks":
        """Return those masks whose labels have these values (compared as text).

        Raises
        ------
        RLEError
            If no mask at all has such a label: COCO's image_id is the label image here.
        """
        known = {key for labels in self.labels for key in labels}
        unknown = sorted(wanted.keys() - known)
        if unknown and self.labels:
            raise RLEError(
                f"no mask has the label {unknown[0]!r}; the labels are "
                + (", ".join(sorted(known)) or "none")
            )
        kept = [
            index
            for index, labels in enumerate(self.labels)
            if all(key in labels and str(labels[key]) == str(wanted[key]) for key in wanted)
        ]
        labels = [self.labels[index] for index in kept]
        return LabelledMasks(self.kind, self.masks[kept], labels, self.every, self.frames)

    def tracking(self) -> dict[int, dict[int | float | str, Mask]]:
        """Return the masks by frame and object: frame 0 and the place where nothing is said.

        A frame that is listed without masks has none.
        """
        frames: dict[int, dict[int | float | str, Mask]] = {
            _frame_index(frame): {} for frame in self.frames
        }
        for place, (labels, mask) in enumerate(zip(self.labels, self.masks, strict=True)):
            objects = frames.setdefault(_frame_index(labels.get("frame", 0)), {})
            name = labels.get("object", place)
            if not isinstance(name, (int, float, str)):
                raise RLEError(f"an object id must be a number or text, got {name!r}")
            while name in objects:
                name = f"{name} ({place})"
            objects[name] = mask
        return frames


def _frame_index(value: Any) -> int:
    if not isinstance(value, float) or value.is_integer():
        with suppress(TypeError, ValueError):
            return int(value)
    raise RLEError(f"a frame index must be an integer, got {value!r}")


def read_masks(content: bytes | str) -> LabelledMasks:
    """Read the masks of a JSON or JSON Lines file.

    Parameters
    ----------
    content : bytes or str
        What is in the file.

    Returns
    -------
    LabelledMasks

    Raises
    ------
    RLEError
        If it is not JSON, if there are no masks in it, or one is malformed.
    TypeError
        If it is something else, as a path.
    """
    if not isinstance(content, (bytes, str)):
        raise TypeError(
            f"the content of a file is expected, path.read_bytes(), got {type(content).__name__}"
        )
    return find_masks(parse_json(content))


def tracking_to_json(tracking: Mapping[int, Mapping[_Id, Mask]]) -> str:
    """Write masks by frame and object, as a preview's are, as a file that `read_masks` reads.

    Parameters
    ----------
    tracking : mapping
        Frame index -> object id, a number or a str -> mask.

    Returns
    -------
    str
        JSON: a list of ``{"frame_index", "rle_mask_list": [{"object_id", "rle_mask"}]}``, one
        for each frame. `LabelledMasks.tracking` gives them back.

    Raises
    ------
    TypeError
        If a frame index is not an integer, or an object id neither a number nor a str.
    ValueError
        If an object id is not a finite number.
    """
    return json.dumps(
        [
            {
                "frame_index": operator.index(frame),
                "rle_mask_list": [
                    {
                        "object_id": name
                        if isinstance(name, (float, str))
                        else operator.index(name),
                        "rle_mask": mask.to_rle(),
                    }
                    for name, mask in masks.items()
                ],
            }
            for frame, masks in tracking.items()
        ],
        allow_nan=False,
    )


def parse_json(content: bytes | str) -> Any:
    """Parse JSON, or two lines or more of JSON Lines as a list; an RLEError if it is neither."""
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        raise RLEError(f"not a JSON file: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a number of too many digits, too
        try:
            document = [json.loads(line) for line in text.split("\n") if line.strip()]
        except (ValueError, RecursionError):
            document = []
        if len(document) < 2:
            path = isinstance(content, str) and content.endswith((".json", ".jsonl"))
            hint = "; if this is a path, pass Path(...).read_bytes()" if path else ""
            raise RLEError(f"not a JSON file: {error}{hint}") from None
        return document


def find_masks(document: object) -> LabelledMasks:
    """Find the masks in a parsed JSON document.

    Parameters
    ----------
    document : object
        A reply of Kling's selection endpoints; an rle or a list of rles; COCO
        results, or COCO or SA-1B annotations (as RLE); an SA-V file; a list of
        ``{"frame_index", "rle_mask_list"}`` or of what is in such a list.

    Returns
    -------
    LabelledMasks

    Raises
    ------
    RLEError
        If it is none of these, or a mask in it is malformed.
    """
    kind, found, every, frames = _recognise(document)
    entries = list(found)
    try:
        masks = MaskArray.from_rles([rle for rle, _ in entries])
    except TypeError as error:  # an argument of the wrong type there, a malformed file here
        raise RLEError(str(error)) from error
    return LabelledMasks(kind, masks, [labels for _, labels in entries], every, tuple(frames))


class _Recognised(NamedTuple):
    """What becomes `LabelledMasks`."""

    kind: str
    found: _Found
    every: int = 1
    frames: Iterable[Any] = ()


def _recognise(document: object) -> _Recognised:
    if isinstance(document, Mapping):
        if "counts" in document and "size" in document:
            return _Recognised("an rle", iter([(document, {})]))
        if "code" in document and "data" in document:
            return _frames("a selection reply", [_result(document)])
        if "rle_mask_list" in document:
            return _frames("a frame of masks", [document])
        if isinstance(document.get("masklet"), list):
            every = _spacing(document)
            frames = range(0, every * len(document["masklet"]), every)
            return _Recognised("an SA-V file", _in_masklet(document, frames), every, frames)
        if isinstance(document.get("annotations"), list):
            return _Recognised("annotations", _in_annotations(document["annotations"]))
    elif isinstance(document, list):
        if _all_have(document, "counts"):
            return _Recognised("a list of rles", ((rle, {}) for rle in document))
        if _all_have(document, "segmentation"):
            return _Recognised("COCO results", _in_annotations(document))
        if _all_have(document, "rle_mask_list"):
            return _frames("frames of masks", document)
        if _all_have(document, "rle_mask"):
            return _frames("an rle_mask_list", [{"rle_mask_list": document}])
    raise RLEError(f"no masks found: expected {KNOWN}; this is {_described(document)}")


def _all_have(entries: list[Any], key: str) -> bool:
    return all(isinstance(entry, Mapping) and key in entry for entry in entries)


def _described(document: object, of_list: bool = True) -> str:
    if isinstance(document, Mapping):
        keys = [str(key) for key in document]
        more = ", ..." if len(keys) > 8 else ""
        return f"an object with the keys {', '.join(keys[:8])}{more}" if keys else "an empty object"
    if isinstance(document, list) and document and of_list:
        first = _described(document[0], of_list=False)
        return f"a list of {len(document)}, the first of them {first}"
    return type(document).__name__


def _result(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a selection reply has found."""
    if reply["code"] != 0:
        raise RLEError(f"the reply is an error: code {reply['code']}, {reply.get('message')!r}")
    data = reply["data"]
    if isinstance(data, Mapping) and data.get("status", 0) != 0:
        raise RLEError(f"the service refused the selection: data.status {data['status']}")
    result = data.get("res") if isinstance(data, Mapping) else None
    if not isinstance(result, Mapping) or "rle_mask_list" not in result:
        raise RLEError(f"the reply has no data.res.rle_mask_list; its data is {_described(data)}")
    return result


def _in_frame(frame: Mapping[str, Any]) -> _Found:
    listed = frame["rle_mask_list"]
    if not isinstance(listed, list) or not _all_have(listed, "rle_mask"):
        raise RLEError("rle_mask_list must be a list of objects with an rle_mask each")
    for entry in listed:
        yield (
            entry["rle_mask"],
            _labels(frame, frame="frame_index") | _labels(entry, object="object_id"),
        )


def _frames(kind: str, frames: list[Mapping[str, Any]]) -> _Recognised:
    listed = [frame["frame_index"] for frame in frames if "frame_index" in frame]
    return _Recognised(kind, _in_frames(frames), frames=listed)


def _in_frames(frames: list[Mapping[str, Any]]) -> _Found:
    """Several frames say which they are, or all would be taken for the first."""
    for index, frame in enumerate(frames):
        if len(frames) > 1 and "frame_index" not in frame:
            raise RLEError(f"entry {index} has no frame_index; it is {_described(frame)}")
        yield from _in_frame(frame)


def _spacing(document: Any) -> int:
    """SA-V annotates every 4th frame, or so say the frames of video and masklet."""
    frames, total = document["masklet"], document.get("video_frame_count")
    if isinstance(total, (int, float)) and 0 < len(frames) <= total < 2**53:
        return math.ceil(total / len(frames))
    return 1


def _in_masklet(document: Mapping[str, Any], frames: range) -> _Found:
    ids = document.get("masklet_id")
    for index, objects in enumerate(document["masklet"]):
        if not isinstance(objects, list):
            raise RLEError(f"masklet[{index}] must be a list of rles")
        names = ids if isinstance(ids, list) and len(ids) == len(objects) else range(len(objects))
        for name, rle in zip(names, objects, strict=True):
            if rle is not None:
                yield rle, {"frame": frames[index], "object": name}


def _in_annotations(annotations: list[Any]) -> _Found:
    for index, annotation in enumerate(annotations):
        if not isinstance(annotation, Mapping) or "segmentation" not in annotation:
            raise RLEError(f"entry {index} has no segmentation")
        rle = annotation["segmentation"]
        if isinstance(rle, list):
            raise RLEError(
                f"entry {index} is a polygon, and only run-length masks can be read; "
                "pycocotools' COCO.annToRLE makes one of it"
            )
        yield (
            rle,
            _labels(annotation, image="image_id", category="category_id", id="id", score="score"),
        )


def _labels(source: Mapping[str, Any], **names: str) -> Labels:
    return {label: source[key] for label, key in names.items() if key in source}
