"""Masks as PNG images, by Pillow; imported only when a PNG is read or written."""

from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from klingmask import RLEError, get_max_pixels

try:
    from PIL import Image
except ImportError as error:
    raise ImportError("PNG images need Pillow: pip install 'klingmask[image]'") from error


def read_png(source: bytes | str | PathLike[str]) -> npt.NDArray[np.bool_]:
    """Read a PNG as (h, w) bool: True where a pixel is neither black nor clear.

    A palette image counts indices, not colours: index 0 is background, as in
    the label images of the field.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    limit = get_max_pixels()
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            image.verify()  # checksums, which reading the pixels alone would skip
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            if limit is not None and image.width * image.height > limit:
                raise RLEError(
                    f"the PNG has {image.height} x {image.width} pixels, over the limit of "
                    f"{limit}; klingmask.set_max_pixels() raises it"
                )
            pixels: npt.NDArray[np.generic] = np.asarray(image)
            has_alpha = image.mode in ("LA", "RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise RLEError(f"not a PNG that can be read: {error}") from error
    lit = pixels.astype(bool)
    if lit.ndim == 2:
        return lit
    colored = np.asarray(lit[..., : -1 if has_alpha else None].any(axis=-1))
    return colored & lit[..., -1] if has_alpha else colored


def write_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write (h, w) greyscale, (h, w, 3) RGB or (h, w, 4) RGBA pixels as a PNG."""
    if pixels.size == 0:
        raise RLEError(f"a PNG has at least one pixel; the size is {pixels.shape[:2]}")
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
