"""Frames of a whole clip on one sheet."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from os import PathLike

import numpy as np
import numpy.typing as npt

from klingmask import get_max_pixels, pictures
from klingmask.overlay import KLING_ALPHA, Colors, Masks, label_places, overlay, write_labels
from klingmask.video.overlay import MasksByFrame, Tracking
from klingmask.video.reading import Frame, Image, Source, check_read_again, opened

try:
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont
except ImportError as error:
    raise ImportError("a sheet needs Pillow: pip install 'klingmask[image]'") from error

__all__ = ["contact_sheet"]

_GROUND = 24  # the grey between the frames

_LINE = 1  # pixels of ground around a frame

_TALLEST = Fraction(5, 2)
"""Height by width of the tallest tile; a frame that is taller is shown narrower."""

_LEAST_WIDTH = 16
"""Pixels of a tile, without which there is nothing to be seen."""


def contact_sheet(
    source: Source | Sequence[npt.ArrayLike | Pillow.Image],
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
    source : path, or sequence of arrays (h, w, 3) or of PIL images
        A video file, or pictures.
    tracking : as for `overlay_video`, optional
        What is laid over them.
    columns, rows : int
        Of the sheet; fewer if there are not as many frames.
    width : int
        Of the sheet, in pixels.
    outline : int
        Width of lines, in pixels of the sheet.
    colors, opacity, labels, step
        As for `overlay_video`.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
        RGB, each frame in the shape that players give it, with its number in the corner.

    Raises
    ------
    RLEError
        If a mask is malformed or not of the size of its frame.
    ValueError
        If there are no frames, no room for them, or too many pixels; a VideoError if the
        source is no video or is damaged.

    Warns
    -----
    VideoWarning
        As for `overlay_video`.

    Examples
    --------
    >>> contact_sheet("clip.mp4", columns=3, rows=2).shape  # doctest: +SKIP
    (600, 1600, 3)
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"a sheet needs columns and rows, got {columns} and {rows}")
    if width < columns * _LEAST_WIDTH:
        raise ValueError(
            f"a sheet needs columns of {_LEAST_WIDTH} pixels or more; {columns} columns and a "
            f"width of {width} leave {max(width, 0) // columns}"
        )
    name = str(source) if isinstance(source, (str, PathLike)) else "the clip"
    total = _said(source)
    while True:  # once more if that is not true
        wanted = _spread(total, columns * rows)
        across = min(columns, max(1, len(wanted)))
        edges = [place * width // across for place in range(across + 1)]
        by_frame = MasksByFrame({} if tracking is None else tracking, step, total)
        chosen = set(wanted)
        tiles: list[Image] = []
        counted = 0
        for index, frame in enumerate(_frames(source)):
            counted += 1
            if index in chosen:
                place = len(tiles) % across
                size = _tile_size(frame, edges[place + 1] - edges[place])
                _check_area(width, (size[0] + 2 * _LINE) * math.ceil(len(wanted) / across))
                drawing = (colors, opacity, outline, labels)
                tiles.append(_numbered(_tile(frame, by_frame.at(index), size, *drawing), index))
        if counted == total:
            break
        total = counted
    if not tiles:
        raise ValueError("there are no frames for a sheet")
    by_frame.warn_of_others(name, total)
    return _sheet(tiles, edges)


def _said(source: Source | Sequence[npt.ArrayLike | Pillow.Image]) -> int:
    """How many frames there are, as far as the header says."""
    if not isinstance(source, (str, PathLike)):
        return len(source)
    check_read_again(source)
    with opened(source) as video:
        return video.stream.frames


def _frames(source: Source | Sequence[npt.ArrayLike | Pillow.Image]) -> Iterator[Frame]:
    if isinstance(source, (str, PathLike)):
        with opened(source) as video:
            yield from video.frames()
        return
    for picture in source:
        found = pictures.pixels(picture) if isinstance(picture, Pillow.Image) else picture
        yield Frame(np.asarray(found), None, Fraction(1))


def _spread(total: int, n: int) -> list[int]:
    """At most n of the indices, evenly spaced, the first and the last among them."""
    n = min(n, total)
    if n < 2:
        return list(range(n))
    return [round(i * (total - 1) / (n - 1)) for i in range(n)]


def _tile_size(frame: Frame, room: int) -> tuple[int, int]:
    """The height and width of a frame in a column of so many pixels."""
    height, width = frame.pixels.shape[:2]
    shape = width * frame.pixel_aspect / height
    across = min(Fraction(room), _TALLEST * room * shape)
    return (
        max(1, round(across / shape) - 2 * _LINE),
        max(1, round(across) - 2 * _LINE),
    )


def _check_area(width: int, height: int) -> None:
    limit = get_max_pixels()
    if limit is not None and width * height > limit:
        raise ValueError(
            f"a sheet of {height} x {width} pixels is over the limit of {limit}: ask for fewer "
            "rows or less width; klingmask.set_max_pixels() raises it"
        )


def _tile(
    frame: Frame,
    masks: Masks,
    size: tuple[int, int],
    colors: Colors | None,
    opacity: float,
    outline: int,
    labels: bool,
) -> Image:
    """A frame with its masks, at a size. What must stay sharp is drawn at that size."""
    height, width = frame.pixels.shape[:2]
    smaller = width / size[1]
    laid = overlay(frame.pixels, masks, colors, opacity, math.ceil(outline * smaller))
    tile = np.array(Pillow.fromarray(laid[..., :3]).resize(size[::-1]))
    if labels:
        write_labels(
            tile,
            [
                (text, x * size[1] / width, y * size[0] / height)
                for text, x, y in label_places(masks)
            ],
        )
    return tile


def _numbered(tile: Image, index: int) -> Image:
    """A tile with its number in the corner, and a line of ground around it."""
    drawn = Pillow.fromarray(tile)
    size = max(10, drawn.width // 24)
    ImageDraw.Draw(drawn).text(
        (size // 2, size // 3),
        str(index),
        "white",
        ImageFont.load_default(size),
        stroke_width=max(1, size // 8),
        stroke_fill="black",
    )
    return np.pad(
        np.asarray(drawn), ((_LINE, _LINE), (_LINE, _LINE), (0, 0)), constant_values=_GROUND
    )


def _sheet(tiles: list[Image], edges: list[int]) -> Image:
    """The tiles, row after row, each in the middle of its column."""
    across, height = len(edges) - 1, max(len(tile) for tile in tiles)
    sheet = np.full((math.ceil(len(tiles) / across) * height, edges[-1], 3), _GROUND, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // across * height, edges[place % across]
        left += (edges[place % across + 1] - left - tile.shape[1]) // 2
        sheet[top : top + len(tile), left : left + tile.shape[1]] = tile
    return sheet
