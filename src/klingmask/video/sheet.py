"""Draw frames of a whole video on one picture."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from os import PathLike, fspath

import numpy as np
import numpy.typing as npt

from klingmask import get_max_pixels, pictures
from klingmask.overlay import KLING_ALPHA, Colors, Masks, label_places, overlay, write_labels
from klingmask.video.overlay import MasksByFrame, Tracking
from klingmask.video.reading import Frame, Image, open_video
from klingmask.video.source import VideoPath, check_not_a_pipe

try:
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont
except ImportError as error:
    raise ImportError("a sheet needs Pillow: pip install 'klingmask[image]'") from error

__all__ = ["contact_sheet"]

_BACKGROUND = 24
"""The grey level between the frames."""

_BORDER = 1
"""Pixels around each frame."""

MAX_ASPECT = Fraction(5, 2)
"""The largest height of a cell, divided by its width. A taller frame is narrower than its cell."""

MIN_CELL = 16
"""The smallest width of a cell, in pixels."""


def contact_sheet(
    source: VideoPath | Sequence[npt.ArrayLike | Pillow.Image],
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
    """Draw evenly spaced frames of a video on one picture.

    Parameters
    ----------
    source : path, or sequence of arrays (h, w, 3) or of PIL images
        A video file, or the frames themselves.
    tracking : as for `overlay_video`, optional
        The masks to draw on the frames.
    columns, rows : int
        The largest number of frames side by side, and one below the other.
    width : int
        The width of the result, in pixels.
    outline : int
        The width of outlines, in pixels of the result.
    colors, opacity, labels, step
        As for `overlay_video`.

    Returns
    -------
    ndarray, shape (height, `width`, 3), uint8
        RGB. Each frame has its index in the corner. A frame whose pixels are not square is
        stretched to the shape in which players show it.

    Raises
    ------
    RLEError
        If a mask is malformed, or does not have the size of its frame.
    ValueError
        If there are no frames, if the columns are too narrow, or if the result would have more
        pixels than `set_max_pixels` allows.
    VideoError
        If the source is not a video, or is damaged.

    Warns
    -----
    VideoWarning
        As for `overlay_video`.

    Examples
    --------
    >>> contact_sheet("clip.mp4", columns=2, rows=2, width=200).shape
    (150, 200, 3)
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"columns and rows must be at least 1, got {columns} and {rows}")
    if width < columns * MIN_CELL:
        raise ValueError(
            f"a width of {width} is too small for {columns} columns of at least {MIN_CELL} pixels"
        )
    name = fspath(source) if isinstance(source, (str, PathLike)) else "the sequence"
    total = _claimed_total(source)
    while True:  # a second time if the header of the file was wrong
        chosen = _spread(total, columns * rows)
        across = min(columns, max(1, len(chosen)))
        edges = [column * width // across for column in range(across + 1)]
        by_frame = MasksByFrame({} if tracking is None else tracking, step, total)
        cells: list[Image] = []
        counted = 0
        for index, frame in enumerate(_frames(source)):
            counted += 1
            if index in chosen:
                column = len(cells) % across
                size = _size_in_cell(frame, edges[column + 1] - edges[column])
                _check_area(width, (size[0] + 2 * _BORDER) * math.ceil(len(chosen) / across))
                drawn = _drawn(frame, by_frame[index], size, colors, opacity, outline, labels)
                cells.append(_numbered(drawn, index))
        if counted == total:
            break
        total = counted
    if not cells:
        raise ValueError("there are no frames for a sheet")
    by_frame.warn_of_others(name, total)
    return _joined(cells, edges)


def _claimed_total(source: VideoPath | Sequence[npt.ArrayLike | Pillow.Image]) -> int:
    """Return the number of frames, by the header of a file."""
    if not isinstance(source, (str, PathLike)):
        return len(source)
    check_not_a_pipe(source)
    with open_video(source) as video:
        return video.stream.frames


def _frames(source: VideoPath | Sequence[npt.ArrayLike | Pillow.Image]) -> Iterator[Frame]:
    if isinstance(source, (str, PathLike)):
        with open_video(source) as video:
            yield from video.frames()
        return
    for picture in source:
        pixels = pictures.pixels_of(picture) if isinstance(picture, Pillow.Image) else picture
        yield Frame(np.asarray(pixels), None, Fraction(1))


def _spread(total: int, n: int) -> dict[int, None]:
    """Return n of `total` indices, evenly spaced, with the first and the last; in order."""
    n = min(n, total)
    if n < 2:
        return dict.fromkeys(range(n))
    return dict.fromkeys(round(i * (total - 1) / (n - 1)) for i in range(n))


def _size_in_cell(frame: Frame, cell_width: int) -> tuple[int, int]:
    """Return the height and width of a frame in a cell, without the border."""
    height, width = frame.pixels.shape[:2]
    aspect = width * frame.pixel_aspect / height
    across = min(Fraction(cell_width), MAX_ASPECT * cell_width * aspect)
    return (
        max(1, round(across / aspect) - 2 * _BORDER),
        max(1, round(across) - 2 * _BORDER),
    )


def _check_area(width: int, height: int) -> None:
    limit = get_max_pixels()
    if limit is not None and width * height > limit:
        raise ValueError(
            f"a sheet of {height} x {width} pixels is over the limit of {limit}: choose fewer "
            "rows or a smaller width; klingmask.set_max_pixels() raises it"
        )


def _drawn(
    frame: Frame,
    masks: Masks,
    size: tuple[int, int],
    colors: Colors | None,
    opacity: float,
    outline: int,
    labels: bool,
) -> Image:
    """Return a frame with its masks, scaled to a size. Lines and labels keep their own size."""
    height, width = frame.pixels.shape[:2]
    thick = math.ceil(outline * width / size[1])
    laid = overlay(frame.pixels, masks, colors, opacity, thick)
    scaled = np.array(Pillow.fromarray(laid[..., :3]).resize(size[::-1]))
    if labels:
        write_labels(
            scaled,
            [
                (text, x * size[1] / width, y * size[0] / height)
                for text, x, y in label_places(masks)
            ],
        )
    return scaled


def _numbered(picture: Image, index: int) -> Image:
    """Return a picture with a number in the corner, and a border."""
    drawn = Pillow.fromarray(picture)
    size = max(10, drawn.width // 24)
    ImageDraw.Draw(drawn).text(
        (size // 2, size // 3),
        str(index),
        "white",
        ImageFont.load_default(size),
        stroke_width=max(1, size // 8),
        stroke_fill="black",
    )
    border = ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0))
    return np.pad(np.asarray(drawn), border, constant_values=_BACKGROUND)


def _joined(cells: list[Image], edges: list[int]) -> Image:
    """Return a picture of all cells, row after row, each in the middle of its column."""
    across, height = len(edges) - 1, max(len(cell) for cell in cells)
    shape = (math.ceil(len(cells) / across) * height, edges[-1], 3)
    sheet = np.full(shape, _BACKGROUND, np.uint8)
    for place, cell in enumerate(cells):
        row, column = divmod(place, across)
        spare = edges[column + 1] - edges[column] - cell.shape[1]
        left = edges[column] + spare // 2
        sheet[row * height : row * height + len(cell), left : left + cell.shape[1]] = cell
    return sheet
