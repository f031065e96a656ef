"""The content of a file -> its masks, decoded and checked."""

import base64
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from klingmask._rle import Mask, MaskArray, RLEError
from klingmask.datasets import documents
from klingmask.datasets.kinds import Entry, recognise
from klingmask.datasets.labelled import LabelledMasks, Labels
from klingmask.quoting import quoted

__all__ = ["find_masks", "read_masks"]

MAX_UNZIPPED = 64 << 20  # bytes of counts, when they are only looked at for an error's message


def read_masks(content: bytes | str) -> LabelledMasks:
    """Read the masks of a JSON or JSON Lines file.

    Parameters
    ----------
    content : bytes or str
        The content of the file, not its path: JSON or JSON Lines in UTF-8, UTF-16 or UTF-32,
        with or without a byte order mark, also compressed by gzip. `find_masks` lists the
        kinds of files.

    Returns
    -------
    LabelledMasks

    Raises
    ------
    RLEError
        If the content is not JSON, if there are no masks in it, or if a mask is malformed.
        The message says what was found.
    TypeError
        If `content` is neither bytes nor str, for example a path.

    Examples
    --------
    >>> read_masks(b'[{"image_id": 7, "segmentation": {"size": [2, 3], "counts": "114"}}]')
    LabelledMasks('COCO results', 1 masks, labels: image)
    """
    if not isinstance(content, (bytes, str)):
        raise TypeError(
            f"the content of a file is expected, path.read_bytes(), got {type(content).__name__}"
        )
    return find_masks(documents.parse(content))


def find_masks(document: object) -> LabelledMasks:
    """Find the masks in a parsed JSON document.

    Parameters
    ----------
    document : object
        One of these, or a list of one of these but the SA-V file:

        - an rle
        - a reply of Kling's selection endpoints
        - a frame, ``{"frame_index", "rle_mask_list": [...]}``
        - an entry of such an ``rle_mask_list``, ``{"object_id", "rle_mask"}``
        - a COCO result, ``{"image_id", "category_id", "segmentation", "score"}``
        - a file with ``"annotations"`` of COCO or SA-1B, all of them run-length masks
        - an SA-V file

    Returns
    -------
    LabelledMasks

    Raises
    ------
    RLEError
        If it is none of these, if a mask in it is malformed, or if a mask's size differs from
        the size that the document states for its image.

    Examples
    --------
    >>> find_masks({"size": [2, 3], "counts": "114"}).masks[0]
    Mask(size=(2, 3), area=1, bbox=(0, 1, 1, 1))
    """
    kind, recognised = recognise(document)
    entries = list(recognised.entries)
    try:
        masks = MaskArray.from_rles([entry.rle for entry in entries])
    except RLEError as error:
        if error.index is None:
            raise
        entry = entries[error.index]
        hint = "" if error.position is None else _base64_hint(entry.rle)
        message = f"{error}{hint}{_in_brackets(entry.labels)}"
        raise RLEError(message, error.position, error.index) from None
    except TypeError as error:  # the caller's argument has the right type; the file is malformed
        raise RLEError(str(error)) from error
    _check_sizes(entries, masks)
    labels = [entry.labels for entry in entries]
    return LabelledMasks(kind, masks, labels, recognised.every, tuple(recognised.frames))


def _check_sizes(entries: list[Entry], masks: MaskArray) -> None:
    """Raise an RLEError if a mask's size is not the one that the file states for its image."""
    for index, (entry, size) in enumerate(zip(entries, masks.size.tolist(), strict=True)):
        stated = entry.size
        if stated is not None and size != [stated.height, stated.width]:
            swapped = size == [stated.width, stated.height]
            raise RLEError(
                f"rles[{index}]: its size {tuple(size)} is not that of {stated.of}, "
                f"({quoted(stated.height)}, {quoted(stated.width)})"
                f"{'; height and width are swapped' if swapped else ''}"
                f"{_in_brackets(entry.labels)}",
                index=index,
            )


def _in_brackets(labels: Labels) -> str:
    """Return a mask's labels for the end of a message, by which to find it in its file."""
    text = ", ".join(f"{name} {quoted(value)}" for name, value in labels.items())
    return f" ({text})" if text else ""


def _base64_hint(rle: Any) -> str:
    """Return what to say about counts that are base64 of counts, or base64 of zlib of counts.

    The hint is given only if the decoded counts are those of a mask.
    """
    counts = rle.get("counts") if isinstance(rle, Mapping) else None
    if not isinstance(counts, str):
        return ""
    with suppress(ValueError, zlib.error):  # an RLEError is a ValueError
        packed = base64.b64decode(counts, validate=True)
        zipped = packed[:1] == b"x"  # the first byte of a zlib stream with the usual window
        text = zlib.decompressobj().decompress(packed, MAX_UNZIPPED) if zipped else packed
        Mask.from_rle({"size": rle["size"], "counts": text})
        how = "base64 of zlib" if zipped else "base64"
        return f"; the counts are {how}, which is not read yet: decode them first"
    return ""
