"""Masks as PNG images, by Pillow; imported only when a PNG is read or written."""

from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from klingmask import RLEError, get_max_pixels

try:
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile
except ImportError as error:
    raise ImportError("PNG images need Pillow: pip install 'klingmask[image]'") from error

_HEADER, _BIT_DEPTH = slice(12, 16), 24  # which bytes of a PNG say it


def read_png(source: bytes | str | PathLike[str]) -> npt.NDArray[np.bool_]:
    """Read a PNG as (h, w) bool: True where a pixel is neither black nor clear.

    A palette image counts indices, not colours: index 0 is background, as in
    the label images of the field.
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    limit = get_max_pixels()
    try:
        # Not Image.open: its own limit is below this library's, and for the whole process.
        with PngImageFile(BytesIO(content)) as image:
            image.verify()  # checksums, which reading the pixels alone would skip
        with PngImageFile(BytesIO(content)) as image:
            if limit is not None and image.width * image.height > limit:
                raise RLEError(
                    f"the PNG has {image.height} x {image.width} pixels, over the limit of "
                    f"{limit}; klingmask.set_max_pixels() raises it"
                )
            if content[_HEADER] != b"IHDR":
                raise RLEError("not a PNG that can be read: it does not start with its header")
            depth = content[_BIT_DEPTH]
            if depth == 16 and image.mode in ("RGB", "RGBA", "LA"):
                raise RLEError("a PNG with 16 bits a channel, of which Pillow would read only 8")
            pixels: npt.NDArray[np.generic] = np.asarray(image)
            clear = image.info.get("transparency")
            mode = image.mode
    except (RLEError, MemoryError):
        raise
    except Exception as error:  # Pillow lets through whatever its parsing runs into
        raise RLEError(f"not a PNG that can be read: {error}") from error
    has_alpha = mode in ("LA", "RGBA")
    lit = pixels.astype(bool)
    if isinstance(clear, bytes):  # an alpha for each index of the palette, up to the last that has
        if len(clear) > 256:
            raise RLEError(f"not a PNG that can be read: {len(clear)} alphas for 256 indices")
        alphas = np.full(256, 255, np.uint8)
        alphas[: len(clear)] = np.frombuffer(clear, np.uint8)
        lit &= alphas[pixels.astype(np.uint8)] > 0
    if lit.ndim == 3:
        colored = np.asarray(lit[..., : -1 if has_alpha else None].any(axis=-1))
        lit = colored & lit[..., -1] if has_alpha else colored
    if isinstance(clear, (int, tuple)):  # the one colour that is clear
        if pixels.dtype == bool:
            clear = bool(clear)
        elif depth < 8 and mode == "L":  # Pillow scales the samples to 8 bits, but not this
            clear *= 255 // ((1 << depth) - 1)
        same = pixels == np.asarray(clear)
        lit &= ~(same.all(axis=-1) if same.ndim == 3 else same)
    return lit


def write_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write (h, w) greyscale, (h, w, 3) RGB or (h, w, 4) RGBA pixels as a PNG."""
    if pixels.size == 0:
        raise RLEError(f"a PNG has at least one pixel; the size is {pixels.shape[:2]}")
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
