"""Types for annotations: masks, sizes, boxes and pixels as callers have them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from klingmask._rle import Mask

__all__ = ["RLE", "BBox", "Pixels", "RLELike", "Size"]


class RLE(TypedDict):
    """A mask as JSON has it; `Mask.to_rle` and `encode` return it."""

    size: list[int]
    counts: str


RLELike: TypeAlias = Mapping[str, Any] | Mask
"""A mask as functions take it: a mapping with ``size`` and ``counts``, or a `Mask`."""

Size: TypeAlias = Sequence[int]
"""(height, width), in pixels."""

BBox: TypeAlias = tuple[int, int, int, int]
"""(x, y, width, height), in pixels; x and y are those of the upper left corner."""

Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
"""The pixels of a mask, shape (h, w): 0 or False is background."""
