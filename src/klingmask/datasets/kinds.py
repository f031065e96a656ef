"""The kinds of files with masks: how each is recognised, and which masks it has.

A kind is recognised by the keys that its objects have; `_KINDS` lists them. The kind's reader
yields an `Entry` for each mask. Nothing is decoded here.
"""

import base64
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from klingmask._rle import Mask, RLEError
from klingmask.datasets.descriptions import described, has
from klingmask.datasets.labelled import Labels, as_text
from klingmask.quoting import quoted

__all__ = ["Entry", "Recognised", "Size", "recognise"]

KNOWN = (
    "a service reply, an rle, a list of rles, COCO results or annotations, "
    "an SA-1B or SA-V file, or a list of frames with rle_mask_list"
)


class Size(NamedTuple):
    """The size that a file states for an image."""

    of: str
    """What has this size: "image 42", "the video"."""
    height: int
    width: int


class Entry(NamedTuple):
    """A mask as its file has it."""

    rle: Any
    labels: Labels
    size: Size | None = None
    """The size of its image, if the file states one."""


class Recognised(NamedTuple):
    """The content of a document; see `LabelledMasks` for `every` and `frames`."""

    entries: Iterable[Entry]
    every: int = 1
    frames: Iterable[Any] = ()


def recognise(document: object) -> tuple[str, Recognised]:
    """Return the name of a document's kind, and its content.

    Where a list of objects is read, one such object alone is read, too.

    Raises
    ------
    RLEError
        If the document is of no known kind. Malformed entries raise it when `entries` reaches
        them.
    """
    alone = isinstance(document, Mapping)
    objects: Any = [document] if alone else document
    if isinstance(objects, list):
        for keys, one, several, read in _KINDS:
            if all(has(each, *keys) for each in objects):
                return one if alone else several, read(objects)
    raise RLEError(f"no masks found: expected {KNOWN}; this is {described(document)}")


# ---- rles ----


def _rles(rles: list[Any]) -> Recognised:
    return Recognised(Entry(rle, {}) for rle in rles)


# ---- replies of the service, and frames as they have them ----


def _replies(replies: list[Mapping[str, Any]]) -> Recognised:
    return _frames([_result(reply) for reply in replies])


def _result(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the frame in a selection reply; raise an RLEError if the reply reports a failure."""
    if reply["code"] != 0:
        message = quoted(reply.get("message"))
        raise RLEError(f"the reply is an error: code {quoted(reply['code'])}, {message}")
    data = reply["data"]
    if isinstance(data, Mapping) and data.get("status", 0) != 0:
        raise RLEError(f"the service refused the selection: data.status {quoted(data['status'])}")
    result = data.get("res") if isinstance(data, Mapping) else None
    if not isinstance(result, Mapping) or "rle_mask_list" not in result:
        raise RLEError(f"the reply has no data.res.rle_mask_list; its data is {described(data)}")
    return result


def _frames(frames: list[Mapping[str, Any]]) -> Recognised:
    indices = [frame["frame_index"] for frame in frames if "frame_index" in frame]
    return Recognised(_entries_of_frames(frames), frames=indices)


def _entries_of_frames(frames: list[Mapping[str, Any]]) -> Iterator[Entry]:
    for place, frame in enumerate(frames):
        # Without an index, all frames would count as frame 0.
        if len(frames) > 1 and "frame_index" not in frame:
            raise RLEError(f"entry {place} has no frame_index; it is {described(frame)}")
        masks = frame["rle_mask_list"]
        if not isinstance(masks, list) or not all(has(each, "rle_mask") for each in masks):
            raise RLEError(
                "rle_mask_list must be a list of objects with an rle_mask each; "
                f"it is {described(masks)}"
            )
        size = _size("the frame", frame, "height", "width")
        for each in masks:
            labels = _labels(frame, frame="frame_index") | _labels(each, object="object_id")
            yield Entry(each["rle_mask"], labels, size or _size_of_png(each.get("png_mask")))


def _rle_mask_list(entries: list[Mapping[str, Any]]) -> Recognised:
    return _frames([{"rle_mask_list": entries}])


def _size_of_png(png: object) -> Size | None:
    """Return the size in the header of a reply's PNG, if there is one."""
    text = png.get("base64") if isinstance(png, Mapping) else None
    if not isinstance(text, str):
        return None
    start = text.find(",") + 1  # after "data:image/png;base64,"
    with suppress(ValueError):
        header = base64.b64decode(text[start : start + 32])
        if len(header) == 24 and header.startswith(b"\x89PNG") and header[12:16] == b"IHDR":
            width, height = struct.unpack(">II", header[16:24])
            return Size("its png_mask", height, width)
    return None


# ---- SA-V ----


def _masklets(files: list[Mapping[str, Any]]) -> Recognised:
    if len(files) != 1:
        raise RLEError(f"{len(files)} SA-V files, each of a video of its own: read one at a time")
    (file,) = files
    if not isinstance(file["masklet"], list):
        raise RLEError(f"masklet must be a list of frames; it is {described(file['masklet'])}")
    every = _frames_per_annotation(file)
    frames = range(0, every * len(file["masklet"]), every)
    return Recognised(_entries_of_masklet(file, frames), every, frames)


def _frames_per_annotation(file: Mapping[str, Any]) -> int:
    """Return the distance of annotated frames: 4, as the numbers of frames say, or else 1."""
    annotated, total = len(file["masklet"]), file.get("video_frame_count")
    if isinstance(total, (int, float)) and 0 < annotated <= total < 2**53:
        return math.ceil(total / annotated)
    return 1


def _entries_of_masklet(file: Mapping[str, Any], frames: range) -> Iterator[Entry]:
    ids = file.get("masklet_id")
    size = _size("the video", file, "video_height", "video_width")
    for place, rles in enumerate(file["masklet"]):
        if not isinstance(rles, list):
            raise RLEError(f"masklet[{place}] must be a list of rles; it is {described(rles)}")
        names = ids if isinstance(ids, list) and len(ids) == len(rles) else range(len(rles))
        for name, rle in zip(names, rles, strict=True):
            if rle is not None:
                yield Entry(rle, {"frame": frames[place], "object": name}, size)


# ---- COCO and SA-1B ----


def _results(results: list[Mapping[str, Any]]) -> Recognised:
    return Recognised(_entries_of_annotations(results))


def _files(files: list[Mapping[str, Any]]) -> Recognised:
    return Recognised(
        entry for file in files for entry in _entries_of_file(file, alone=len(files) == 1)
    )


def _entries_of_file(file: Mapping[str, Any], *, alone: bool) -> Iterator[Entry]:
    """Yield the annotations of a COCO file with many images, or of an SA-1B file with one."""
    if not isinstance(file["annotations"], list):
        raise RLEError(f"annotations must be a list; it is {described(file['annotations'])}")
    sizes = _sizes_of_images(file.get("images"))
    image: Any = file.get("image")
    labels: Labels = {}
    size = None
    if isinstance(image, Mapping):
        labels = _labels(image, image="image_id")
        size = _size("the image", image, "height", "width")
    for entry in _entries_of_annotations(file["annotations"]):
        own = labels | entry.labels
        if not alone and "image" not in own:
            raise RLEError("of several files of annotations, one does not say of which image it is")
        yield Entry(entry.rle, own, sizes.get(as_text(own.get("image")), size))


def _sizes_of_images(images: object) -> dict[str, Size]:
    """Return the sizes that COCO's list of images states, by image id."""
    sizes = {}
    for image in images if isinstance(images, list) else ():
        if has(image, "id"):
            size = _size(f"image {quoted(image['id'])}", image, "height", "width")
            if size is not None:
                sizes[as_text(image["id"])] = size
    return sizes


def _entries_of_annotations(annotations: list[Any]) -> Iterator[Entry]:
    for place, annotation in enumerate(annotations):
        rle = annotation.get("segmentation") if isinstance(annotation, Mapping) else None
        if not isinstance(rle, (Mapping, Mask)):
            raise _no_rle(annotations, place)
        yield Entry(
            rle,
            _labels(annotation, image="image_id", category="category_id", id="id", score="score"),
        )


def _no_rle(annotations: list[Any], place: int) -> RLEError:
    """Return the error about an annotation without an rle: it says what is there instead."""
    annotation = annotations[place]
    if not has(annotation, "segmentation"):
        return RLEError(f"entry {place} has no segmentation; it is {described(annotation)}")
    found = annotation["segmentation"]
    if not found and found != 0:
        return RLEError(f"entry {place} has an empty segmentation, {quoted(found)}: no mask at all")
    if _is_polygon(found):
        polygons = sum(
            _is_polygon(each["segmentation"]) for each in annotations if has(each, "segmentation")
        )
        return RLEError(
            f"entry {place} is a polygon, as {polygons} of {len(annotations)} entries are, and "
            "polygons are not read yet; pycocotools' COCO.annToRLE makes an rle of one"
        )
    return RLEError(f"the segmentation of entry {place} is {described(found)}, not an rle")


def _is_polygon(segmentation: object) -> bool:
    """Return whether it is a list of coordinates, or a list of such lists."""
    if not isinstance(segmentation, list) or not segmentation:
        return False
    first = segmentation[0]
    return isinstance(first[0] if isinstance(first, list) and first else first, (int, float))


# ---- all kinds ----


_KINDS: tuple[tuple[tuple[str, ...], str, str, Callable[[list[Any]], Recognised]], ...] = (
    (("counts", "size"), "an rle", "a list of rles", _rles),
    (("code", "data"), "a selection reply", "selection replies", _replies),
    (("rle_mask_list",), "a frame of masks", "frames of masks", _frames),
    (("segmentation",), "COCO results", "COCO results", _results),
    (("rle_mask",), "an rle_mask_list", "an rle_mask_list", _rle_mask_list),
    (("masklet",), "an SA-V file", "SA-V files", _masklets),
    (("annotations",), "annotations", "annotations", _files),
    (("counts",), "an rle", "a list of rles", _rles),  # from_rles says that the size is missing
)
"""For each kind: the keys of its objects, what one object and a list are called, the reader."""


def _labels(source: Mapping[str, Any], **keys: str) -> Labels:
    """Return labels from an object: name of the label = key in the file, where there is one."""
    return {name: source[key] for name, key in keys.items() if key in source}


def _size(of: str, source: Mapping[str, Any], height: str, width: str) -> Size | None:
    """Return the size under these two keys, if both are whole numbers."""
    lengths = []
    for length in (source.get(height), source.get(width)):
        if isinstance(length, bool) or not isinstance(length, (int, float)) or length % 1:
            return None  # inf % 1 is nan, which is true
        lengths.append(int(length))
    return Size(of, *lengths)
