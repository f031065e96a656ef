"""The types that masks have outside this package."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from klingmask._rle import Mask

__all__ = ["RLE", "BBox", "Pixels", "RLELike", "Size"]


class RLE(TypedDict):
    """A mask in JSON: what `Mask.to_rle` and `encode` give."""

    size: list[int]
    counts: str


RLELike: TypeAlias = Mapping[str, Any] | Mask
"""What `Mask.from_rle` takes: a mapping with ``size`` and ``counts``, or a Mask."""

Size: TypeAlias = Sequence[int]
"""(height, width) in pixels, as a list or tuple."""

BBox: TypeAlias = tuple[int, int, int, int]
"""(x, y, width, height) in pixels."""

Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]
"""A mask's pixels: 0 or False is background."""
