"""Files with masks in them: service replies, COCO, SA-1B and SA-V files, plain rles.

A file says more about a mask than its pixels: which frame, image or object it
belongs to. `read_masks` keeps that beside the masks as labels.
"""

import base64
import json
import math
import operator
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeGuard, TypeVar

from klingmask import documents
from klingmask._rle import Mask, MaskArray, RLEError
from klingmask.quoting import MOST_SHOWN, listed, printable, quoted

__all__ = ["LabelledMasks", "find_masks", "read_masks", "tracking_to_json"]

Labels: TypeAlias = dict[str, int | float | str]
_Id = TypeVar("_Id", bound=float | str)

MAX_UNZIPPED = 64 << 20  # bytes of counts

KNOWN = (
    "a service reply, an rle, a list of rles, COCO results or annotations, "
    "an SA-1B or SA-V file, or a list of frames with rle_mask_list"
)


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(quoted(key)[1:-1] for key in _keys(self.labels)))
        return f"LabelledMasks({self.kind!r}, {len(self.labels)} masks, labels: {names or 'none'})"

    def where(self, **wanted: object) -> "LabelledMasks":
        """Return the masks whose labels are as wanted, all of them at once.

        Parameters
        ----------
        **wanted
            For a label: a value, an iterable of values, any of which will do, or a
            function from the label's value to bool. Values are compared as text, so
            ``"18"`` is 18; a mask without the label is not chosen.

        Returns
        -------
        LabelledMasks
            It may be empty: if there are masks for each condition, but none for all, or if
            a function chooses none.

        Raises
        ------
        RLEError
            If no mask has such a label (COCO's image_id is the label image here), or none
            has a value that is wanted.

        Examples
        --------
        >>> found.where(category=18)
        >>> found.where(category=[18, 1], score=lambda score: score > 0.5)
        """
        accepted = {key: self._test_of(key, value) for key, value in wanted.items()}
        kept = [
            index
            for index, labels in enumerate(self.labels)
            if all(key in labels and test(labels[key]) for key, test in accepted.items())
        ]
        labels = [self.labels[index] for index in kept]
        return LabelledMasks(self.kind, self.masks[kept], labels, self.every, self.frames)

    def _test_of(self, key: str, wanted: object) -> Callable[[Any], object]:
        """The function that tells whether a label's value is wanted."""
        present = [labels[key] for labels in self.labels if key in labels]
        if self.labels and not present:
            names = ", ".join(sorted(quoted(name)[1:-1] for name in _keys(self.labels)))
            raise RLEError(f"no mask has the label {quoted(key)}; the labels are {names or 'none'}")
        if callable(wanted):
            return wanted
        values = list(wanted) if _is_several(wanted) else [wanted]
        known = {text: value for value in present for text in _texts(value)}
        for value in values if present else ():
            if _texts(value).isdisjoint(known):
                distinct = {_text(value): value for value in present}.values()
                raise RLEError(
                    f"no mask has {key}={printable(_text(value)[:60])}; "
                    f"{key} is one of {listed(distinct)}"
                )
        texts = {text for value in values for text in _texts(value)}
        return lambda value: not texts.isdisjoint(_texts(value))

    def tracking(self) -> dict[int, dict[int | float | str, Mask]]:
        """Return the masks by frame and object: frame 0 and the place where nothing is said.

        A frame that is listed without masks has none.

        Raises
        ------
        RLEError
            If the masks are of different pictures and no frame is said; or if a frame
            index is not an integer, or an object id neither a number nor text.
        """
        self._check_one_picture()
        frames: dict[int, dict[int | float | str, Mask]] = {
            _frame_index(frame): {} for frame in self.frames
        }
        for place, (labels, mask) in enumerate(zip(self.labels, self.masks, strict=True)):
            objects = frames.setdefault(_frame_index(labels.get("frame", 0)), {})
            name = labels.get("object", place)
            if not isinstance(name, (int, float, str)):
                raise RLEError(f"an object id must be a number or text, got {quoted(name)}")
            while name in objects:
                name = f"{name} ({place})"
            objects[name] = mask
        return frames

    def _check_one_picture(self) -> None:
        """See to it that the masks without a frame may all be of the same one."""
        loose = [place for place, labels in enumerate(self.labels) if "frame" not in labels]
        images = {
            _text(labels.get("image")): labels.get("image")
            for labels in map(self.labels.__getitem__, loose)
        }
        if len(images) > 1:
            first = next(value for value in images.values() if value is not None)
            raise RLEError(
                "the masks are of different pictures, not of frames of a video: image is "
                f"{listed(images.values())}; choose one, as where(image={_text(first)})"
            )
        sizes = dict.fromkeys(map(tuple, self.masks.size[loose].tolist()))
        if len(sizes) > 1:
            raise RLEError(
                f"the masks are not of one picture: their sizes are {listed(sizes)}; "
                "a file of several frames says the frame of each mask"
            )


def _keys(labels: list[Labels]) -> dict[str, None]:
    """The names of all labels, in their order."""
    return dict.fromkeys(key for each in labels for key in each)


def _is_several(wanted: object) -> TypeGuard[Iterable[object]]:
    single = isinstance(wanted, (str, bytes)) or getattr(wanted, "ndim", 1) == 0
    return isinstance(wanted, Iterable) and not single


def _text(value: object) -> str:
    """A label's value as text, by which it is compared."""
    try:
        return str(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return quoted(value)


def _texts(value: object) -> set[str]:
    """The texts that a value may be given as: 18.0 is 18, too."""
    whole = isinstance(value, float) and value.is_integer()
    return {_text(value), _text(int(value))} if whole else {_text(value)}  # type: ignore[call-overload]


def _frame_index(value: Any) -> int:
    if not isinstance(value, float) or value.is_integer():
        with suppress(TypeError, ValueError):
            return int(value)
    raise RLEError(f"a frame index must be an integer, got {quoted(value)}")


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
    return find_masks(documents.parse(content))


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


def find_masks(document: object) -> LabelledMasks:
    """Find the masks in a parsed JSON document.

    Parameters
    ----------
    document : object
        A reply of Kling's selection endpoints; an rle or a list of rles; COCO
        results, or COCO or SA-1B annotations (as RLE); an SA-V file; a list of
        ``{"frame_index", "rle_mask_list"}`` or of what is in such a list; a list of
        replies or of SA-1B files; or one entry of such a list.

    Returns
    -------
    LabelledMasks

    Raises
    ------
    RLEError
        If it is none of these, if a mask in it is malformed, or if a mask's size is not
        the one that the file says of its image.
    """
    kind, (found, every, frames) = _recognise(document)
    entries = list(found)
    try:
        masks = MaskArray.from_rles([entry.rle for entry in entries])
    except RLEError as error:
        if error.index is None:
            raise
        entry = entries[error.index]
        hint = "" if error.position is None else _wrapped(entry.rle)
        told = f"{error}{hint}{_labelled(entry.labels)}"
        raise RLEError(told, error.position, error.index) from None
    except TypeError as error:  # an argument of the wrong type there, a malformed file here
        raise RLEError(str(error)) from error
    _check_sizes(entries, masks)
    labels = [entry.labels for entry in entries]
    return LabelledMasks(kind, masks, labels, every, tuple(frames))


class _Size(NamedTuple):
    """The height and width that a file says of an image, and what it says them of."""

    of: str
    height: int
    width: int


class _Entry(NamedTuple):
    """A mask as its file has it."""

    rle: Any
    labels: Labels
    size: _Size | None = None


class _Recognised(NamedTuple):
    """What becomes `LabelledMasks`."""

    found: Iterable[_Entry]
    every: int = 1
    frames: Iterable[Any] = ()


def _recognise(document: object) -> tuple[str, _Recognised]:
    """What a document is, and what is in it. An object alone is read as a list of one."""
    alone = isinstance(document, Mapping)
    entries: Any = [document] if alone else document
    if isinstance(entries, list):
        for keys, one, several, read in _KINDS:
            if all(_has(entry, *keys) for entry in entries):
                return one if alone else several, read(entries)
    raise RLEError(f"no masks found: expected {KNOWN}; this is {_described(document)}")


def _has(entry: Any, *keys: str) -> bool:
    return isinstance(entry, Mapping) and all(key in entry for key in keys)


def _rles(rles: list[Any]) -> _Recognised:
    return _Recognised(_Entry(rle, {}) for rle in rles)


def _replies(replies: list[Mapping[str, Any]]) -> _Recognised:
    return _frames([_result(reply) for reply in replies])


def _result(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a selection reply has found."""
    if reply["code"] != 0:
        message = quoted(reply.get("message"))
        raise RLEError(f"the reply is an error: code {quoted(reply['code'])}, {message}")
    data = reply["data"]
    if isinstance(data, Mapping) and data.get("status", 0) != 0:
        raise RLEError(f"the service refused the selection: data.status {quoted(data['status'])}")
    result = data.get("res") if isinstance(data, Mapping) else None
    if not _has(result, "rle_mask_list"):
        raise RLEError(f"the reply has no data.res.rle_mask_list; its data is {_described(data)}")
    return result  # type: ignore[return-value]


def _frames(frames: list[Mapping[str, Any]]) -> _Recognised:
    listed = [frame["frame_index"] for frame in frames if "frame_index" in frame]
    return _Recognised(_in_frames(frames), frames=listed)


def _in_frames(frames: list[Mapping[str, Any]]) -> Iterator[_Entry]:
    """Several frames say which they are, or all would be taken for the first."""
    for index, frame in enumerate(frames):
        if len(frames) > 1 and "frame_index" not in frame:
            raise RLEError(f"entry {index} has no frame_index; it is {_described(frame)}")
        masks = frame["rle_mask_list"]
        if not isinstance(masks, list) or not all(_has(entry, "rle_mask") for entry in masks):
            raise RLEError(
                "rle_mask_list must be a list of objects with an rle_mask each; "
                f"it is {_described(masks)}"
            )
        size = _size_of("the frame", frame, "height", "width")
        for entry in masks:
            labels = _labels(frame, frame="frame_index") | _labels(entry, object="object_id")
            yield _Entry(entry["rle_mask"], labels, size or _size_of_png(entry.get("png_mask")))


def _loose_masks(entries: list[Mapping[str, Any]]) -> _Recognised:
    return _frames([{"rle_mask_list": entries}])


def _masklets(files: list[Mapping[str, Any]]) -> _Recognised:
    if len(files) != 1:
        raise RLEError(f"{len(files)} SA-V files, each of a video of its own: read one at a time")
    (file,) = files
    if not isinstance(file["masklet"], list):
        raise RLEError(f"masklet must be a list of frames; it is {_described(file['masklet'])}")
    every = _spacing(file)
    frames = range(0, every * len(file["masklet"]), every)
    return _Recognised(_in_masklet(file, frames), every, frames)


def _spacing(file: Any) -> int:
    """SA-V annotates every 4th frame, or so say the frames of video and masklet."""
    frames, total = file["masklet"], file.get("video_frame_count")
    if isinstance(total, (int, float)) and 0 < len(frames) <= total < 2**53:
        return math.ceil(total / len(frames))
    return 1


def _in_masklet(file: Mapping[str, Any], frames: range) -> Iterator[_Entry]:
    ids = file.get("masklet_id")
    size = _size_of("the video", file, "video_height", "video_width")
    for index, objects in enumerate(file["masklet"]):
        if not isinstance(objects, list):
            raise RLEError(f"masklet[{index}] must be a list of rles; it is {_described(objects)}")
        names = ids if isinstance(ids, list) and len(ids) == len(objects) else range(len(objects))
        for name, rle in zip(names, objects, strict=True):
            if rle is not None:
                yield _Entry(rle, {"frame": frames[index], "object": name}, size)


def _results(results: list[Mapping[str, Any]]) -> _Recognised:
    return _Recognised(_in_annotations(results))


def _files(files: list[Mapping[str, Any]]) -> _Recognised:
    return _Recognised(entry for file in files for entry in _in_file(file, alone=len(files) == 1))


def _in_file(file: Mapping[str, Any], *, alone: bool) -> Iterator[_Entry]:
    """What COCO has for many images, or SA-1B for one."""
    if not isinstance(file["annotations"], list):
        raise RLEError(f"annotations must be a list; it is {_described(file['annotations'])}")
    sizes: dict[str, _Size] = {}
    images = file.get("images")
    for image in images if isinstance(images, list) else ():
        if _has(image, "id"):
            name = _text(image["id"])
            size = _size_of(f"image {quoted(image['id'])}", image, "height", "width")
            if size is not None:
                sizes[name] = size
    only: Any = file.get("image")
    labels = _labels(only, image="image_id") if isinstance(only, Mapping) else {}
    size = _size_of("the image", only, "height", "width") if isinstance(only, Mapping) else None
    for entry in _in_annotations(file["annotations"]):
        own = labels | entry.labels
        if not alone and "image" not in own:
            raise RLEError("of several files of annotations, one does not say of which image it is")
        yield _Entry(entry.rle, own, sizes.get(_text(own.get("image")), size))


def _in_annotations(annotations: list[Any]) -> Iterator[_Entry]:
    for index, annotation in enumerate(annotations):
        rle = annotation.get("segmentation") if isinstance(annotation, Mapping) else None
        if not isinstance(rle, (Mapping, Mask)):
            raise _no_rle(annotations, index)
        yield _Entry(
            rle,
            _labels(annotation, image="image_id", category="category_id", id="id", score="score"),
        )


def _no_rle(annotations: list[Any], index: int) -> RLEError:
    """What an annotation has in the place of an rle."""
    annotation = annotations[index]
    if not isinstance(annotation, Mapping) or "segmentation" not in annotation:
        return RLEError(f"entry {index} has no segmentation; it is {_described(annotation)}")
    found = annotation["segmentation"]
    if not found and found != 0:
        return RLEError(f"entry {index} has an empty segmentation, {quoted(found)}: no mask at all")
    if _is_polygon(found):
        n = sum(_is_polygon(each.get("segmentation")) for each in annotations if _has(each))
        return RLEError(
            f"entry {index} is a polygon, as {n} of {len(annotations)} entries are, and polygons "
            "are not read yet; pycocotools' COCO.annToRLE makes an rle of one"
        )
    return RLEError(f"the segmentation of entry {index} is {_described(found)}, not an rle")


def _is_polygon(segmentation: object) -> bool:
    """Whether it is a list of coordinates, or of such lists."""
    if not isinstance(segmentation, list) or not segmentation:
        return False
    first = segmentation[0]
    return isinstance(first[0] if isinstance(first, list) and first else first, (int, float))


_KINDS: tuple[tuple[tuple[str, ...], str, str, Callable[[list[Any]], _Recognised]], ...] = (
    (("counts", "size"), "an rle", "a list of rles", _rles),
    (("code", "data"), "a selection reply", "selection replies", _replies),
    (("rle_mask_list",), "a frame of masks", "frames of masks", _frames),
    (("segmentation",), "COCO results", "COCO results", _results),
    (("rle_mask",), "an rle_mask_list", "an rle_mask_list", _loose_masks),
    (("masklet",), "an SA-V file", "SA-V files", _masklets),
    (("annotations",), "annotations", "annotations", _files),
    (("counts",), "an rle", "a list of rles", _rles),  # without a size: the reader says so
)
"""The keys that all objects of a kind have; what one is called, and a list; who reads the list."""

_NOT_READ = {
    "segmentations": "YouTube-VIS: 'segmentations' has a mask for each frame",
    "segments_info": "COCO panoptic: the masks are in PNG files beside it",
    "shapes": "labelme: shapes with points",
}
"""The keys of kinds that are not read, and what they are."""


def _described(document: object) -> str:
    """What a document is, in the words of JSON."""
    if isinstance(document, list) and document:
        first = document[0]
        told = f"a list of {len(document)}, the first of them {_described_entry(first)}"
        if isinstance(first, Mapping):
            for index, entry in enumerate(document):
                if not _has(entry, *first.keys()):
                    return f"{told}; entry {index} is {_described_entry(entry)}"
        return told
    return _described_entry(document)


def _described_entry(entry: object) -> str:
    if isinstance(entry, Mapping):
        keys = [_bare(key) for key in islice(entry, MOST_SHOWN)]
        more = ", ..." if len(entry) > MOST_SHOWN else ""
        known = next((what for key, what in _NOT_READ.items() if key in entry), None)
        if not keys:
            return "an empty object"
        told = f"an object with the keys {', '.join(keys)}{more}"
        return f"{told} ({known}, which is not read yet)" if known else told
    if isinstance(entry, list):
        return f"a list of {len(entry)}" if entry else "an empty list"
    if isinstance(entry, str):
        return f"the text {quoted(entry)}"
    if entry is None or isinstance(entry, bool):
        return {None: "null", True: "true", False: "false"}[entry]
    if isinstance(entry, (int, float)):
        return f"the number {quoted(entry)}"
    return type(entry).__name__


def _bare(key: object) -> str:
    """A key without quotes, if it is a word that needs none."""
    return key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,40}", key) else quoted(key)


def _labels(source: Mapping[str, Any], **names: str) -> Labels:
    return {label: source[key] for label, key in names.items() if key in source}


def _labelled(labels: Labels) -> str:
    """A mask's labels, to find it in its file by."""
    told = ", ".join(f"{name} {quoted(value)}" for name, value in labels.items())
    return f" ({told})" if told else ""


def _size_of(what: str, source: Mapping[str, Any], height: str, width: str) -> _Size | None:
    """The size that a file says of an image, if it says one."""
    lengths = []
    for length in (source.get(height), source.get(width)):
        if isinstance(length, bool) or not isinstance(length, (int, float)) or length % 1:
            return None  # inf % 1 is nan, which is true
        lengths.append(int(length))
    return _Size(what, *lengths)


def _size_of_png(png: object) -> _Size | None:
    """The size in the header of a reply's PNG."""
    text = png.get("base64") if isinstance(png, Mapping) else None
    if not isinstance(text, str):
        return None
    with suppress(ValueError):
        header = base64.b64decode(text[text.find(",") + 1 :][:32])
        if len(header) == 24 and header.startswith(b"\x89PNG") and header[12:16] == b"IHDR":
            width, height = struct.unpack(">II", header[16:24])
            return _Size("its png_mask", height, width)
    return None


def _check_sizes(entries: list[_Entry], masks: MaskArray) -> None:
    """See to it that masks have the sizes that their file says of their images."""
    for index, (entry, size) in enumerate(zip(entries, masks.size.tolist(), strict=True)):
        said = entry.size
        if said is not None and size != [said.height, said.width]:
            swapped = size == [said.width, said.height]
            raise RLEError(
                f"rles[{index}]: its size {tuple(size)} is not that of {said.of}, "
                f"({quoted(said.height)}, {quoted(said.width)})"
                f"{'; height and width are swapped' if swapped else ''}{_labelled(entry.labels)}",
                index=index,
            )


def _wrapped(rle: Any) -> str:
    """What to do with counts that are no text of counts, but have one inside."""
    counts = rle.get("counts") if isinstance(rle, Mapping) else None
    if not isinstance(counts, str):
        return ""
    with suppress(ValueError, zlib.error):  # also an RLEError
        packed = base64.b64decode(counts, validate=True)
        zipped = packed[:1] == b"x"  # as every zlib stream with a usual window begins
        text = zlib.decompressobj().decompress(packed, MAX_UNZIPPED) if zipped else packed
        Mask.from_rle({"size": rle["size"], "counts": text})
        how = "base64 of zlib" if zipped else "base64"
        return f"; the counts are {how}, which is not read yet: decode them first"
    return ""
