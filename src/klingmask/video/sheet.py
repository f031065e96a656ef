"""Frames of a whole clip on one sheet."""

from collections.abc import Iterable, Sequence
from itertools import islice
from os import PathLike

import numpy as np
import numpy.typing as npt

from klingmask.overlay import KLING_ALPHA, Colors, overlay
from klingmask.video.overlay import Tracking, masks_by_frame
from klingmask.video.reading import Image, count_frames, frames

__all__ = ["contact_sheet"]


def contact_sheet(
    source: str | PathLike[str] | Sequence[npt.ArrayLike],
    tracking: Tracking | None = None,
    *,
    columns: int = 4,
    rows: int = 3,
    width: int = 1600,
    colors: Colors | None = None,
    opacity: float = KLING_ALPHA / 255,
    outline: int = 2,
    labels: bool = False,
    step: int | None = None,
) -> Image:
    """Draw frames of a whole clip, evenly spaced, on one sheet.

    Parameters
    ----------
    source : path, or sequence of images (h, w, 3)
        A video file, or pictures.
    tracking : as for `overlay_video`, optional
        What is laid over them.
    columns, rows : int
        Of the sheet; fewer if there are not as many frames.
    width : int
        Of the sheet, in pixels.
    colors, opacity, outline, labels, step
        As for `overlay_video`.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
        RGB, each frame with its number in the corner.
    """
    if columns < 1 or rows < 1 or width < columns:
        raise ValueError(f"a sheet needs columns, rows and width, got {columns}, {rows}, {width}")
    total: int
    pictures: Iterable[npt.ArrayLike]
    if isinstance(source, (str, PathLike)):
        total = count_frames(source)
        pictures = frames(source)
    else:
        total, pictures = len(source), source
    if total == 0:
        raise ValueError("there are no frames for a sheet")
    wanted = _spread(total, columns * rows)
    columns = min(columns, len(wanted))
    by_frame = masks_by_frame({} if tracking is None else tracking, step, lambda: total)
    tiles = [
        _tile(
            overlay(picture, by_frame(index), colors, opacity, outline, labels=labels),
            index,
            width // columns,
        )
        for index, picture in enumerate(islice(pictures, wanted[-1] + 1))
        if index in wanted
    ]
    height = max(len(tile) for tile in tiles)
    sheet = np.full((-(-len(tiles) // columns) * height, columns * (width // columns), 3), 24, "u1")
    for place, tile in enumerate(tiles):
        y, x = place // columns * height, place % columns * (width // columns)
        sheet[y : y + len(tile), x : x + tile.shape[1]] = tile
    return sheet


def _spread(total: int, n: int) -> list[int]:
    """At most n of the indices, evenly spaced, the first and the last among them."""
    if n == 1 or total == 1:
        return [0]
    n = min(n, total)
    return [round(i * (total - 1) / (n - 1)) for i in range(n)]


def _tile(picture: Image, index: int, width: int) -> Image:
    """The picture at that width, with its number in the corner."""
    try:
        from PIL import Image as Pillow
        from PIL import ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError("a sheet needs Pillow: pip install 'klingmask[image]'") from error

    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    tile = Pillow.fromarray(picture[..., :3]).resize((width - 2, max(1, height - 2)))
    size = max(10, width // 24)
    ImageDraw.Draw(tile).text(
        (size // 2, size // 3),
        str(index),
        "white",
        ImageFont.load_default(size),
        stroke_width=max(1, size // 8),
        stroke_fill="black",
    )
    return np.pad(np.asarray(tile), ((1, 1), (1, 1), (0, 0)), constant_values=24)
