"""Compressed run-length masks: a fast and safe codec, and what to do with masks.

The masks are those of the COCO data set, SAM, SA-V and Kling's Multi-Elements
API: ``{"size": [h, w], "counts": "..."}``. ``Mask`` is one of them, as a value;
``MaskArray`` is many; the functions do the same on plain rles.
"""

from os import PathLike as _PathLike

import numpy as _np
import numpy.typing as _npt

from klingmask import _rle
from klingmask._rle import (
    Mask,
    MaskArray,
    RLEError,
    area,
    bbox,
    complement,
    decode,
    difference,
    encode,
    get_max_pixels,
    intersection,
    iou,
    set_max_pixels,
    symmetric_difference,
    union,
)
from klingmask.overlay import cutout, overlay, render_layer


def _read_png(source: bytes | str | _PathLike[str]) -> object:
    from klingmask.png import read_png  # imports Pillow

    return read_png(source)


def _write_png(pixels: _npt.NDArray[_np.uint8]) -> bytes:
    from klingmask.png import write_png  # imports Pillow

    return write_png(pixels)


_rle._use_png(_read_png, _write_png)

__version__ = "0.1.0"
__all__ = [
    "Mask",
    "MaskArray",
    "RLEError",
    "area",
    "bbox",
    "complement",
    "cutout",
    "decode",
    "difference",
    "encode",
    "get_max_pixels",
    "intersection",
    "iou",
    "overlay",
    "render_layer",
    "set_max_pixels",
    "symmetric_difference",
    "union",
]
