"""Masks by frame and object, written as a JSON file that `read_masks` reads."""

import json
import operator
from collections.abc import Mapping
from typing import TypeVar

from klingmask._rle import Mask

__all__ = ["tracking_to_json"]

_Id = TypeVar("_Id", bound=float | str)


def tracking_to_json(tracking: Mapping[int, Mapping[_Id, Mask]]) -> str:
    """Write masks by frame and object as JSON.

    `EditSession.preview().tracking()` returns such masks, and so does
    `LabelledMasks.tracking`.

    Parameters
    ----------
    tracking : mapping
        Frame index -> object id (a number or a str) -> mask.

    Returns
    -------
    str
        A list with one ``{"frame_index", "rle_mask_list": [{"object_id", "rle_mask"}]}``
        for each frame. `read_masks` reads it.

    Raises
    ------
    TypeError
        If a frame index is not an integer, or an object id is neither a number nor a str.
    ValueError
        If an object id is not a finite number.

    Examples
    --------
    >>> mask = klingmask.Mask.from_bbox((2, 3), (0, 0, 1, 2))
    >>> tracking_to_json({0: {7: mask}})
    '[{"frame_index": 0, "rle_mask_list": [{"object_id": 7, "rle_mask": \
{"size": [2, 3], "counts": "024"}}]}]'
    """
    return json.dumps(
        [
            {
                "frame_index": operator.index(frame),
                "rle_mask_list": [
                    {"object_id": _json_id(name), "rle_mask": mask.to_rle()}
                    for name, mask in masks.items()
                ],
            }
            for frame, masks in tracking.items()
        ],
        allow_nan=False,
    )


def _json_id(name: object) -> float | str:
    """Return an object id as JSON can have it: numpy's integers become Python's."""
    return name if isinstance(name, (float, str)) else operator.index(name)  # type: ignore[arg-type]
