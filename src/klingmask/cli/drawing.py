"""`overlay`, `video` and `sheet`: masks on pictures and videos."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

import klingmask as km
from klingmask import pictures
from klingmask.cli.inputs import FILE_BEFORE_ANOTHER, WHERE, masks_of
from klingmask.cli.outputs import (
    OUTPUT,
    PNG_OUTPUT,
    check_not_an_input,
    check_not_standard_output,
    check_png,
    say,
    say_where,
    shows_progress,
    write_png,
)
from klingmask.datasets import LabelledMasks
from klingmask.overlay import Masks

__all__ = ["overlay", "sheet", "video"]

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any] | click.Command)

_AT_LEAST_0, _AT_LEAST_1 = click.IntRange(min=0), click.IntRange(min=1)

_OPACITY = click.option(
    "--opacity",
    type=click.FloatRange(0, 1),
    default=163 / 255,
    show_default="163/255",
    help="The opacity of the masks, from 0 to 1.",
)
_LABELS = click.option("--labels", is_flag=True, help="Write the object's id on each mask.")
_VIDEO = click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_STEP = click.option(
    "--step",
    type=_AT_LEAST_1,
    help="On how many frames the masks of one frame are shown.  "
    "[default: 1, or the distance of annotated frames in an SA-V file]",
)


def _outline(default: int) -> Callable[[_Decorated], _Decorated]:
    return click.option(
        "--outline",
        type=_AT_LEAST_0,
        default=default,
        show_default=True,
        help="The width of an outline around each mask, in pixels.",
    )


@click.command()
@FILE_BEFORE_ANOTHER
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@WHERE
@PNG_OUTPUT
@click.option(
    "--frame",
    type=_AT_LEAST_0,
    help="The frame of a video or an animation to draw on, and that of the masks if FILE has "
    "several.  [default: the frame of the masks]",
)
@_OPACITY
@_outline(0)
@_LABELS
def overlay(
    file: BinaryIO,
    picture: Path,
    where: tuple[str, ...],
    output: Path,
    frame: int | None,
    **options: Any,
) -> None:
    """Draw the masks of FILE over PICTURE, an image or a video, and write a PNG."""
    check_not_an_input(file.name, picture, output=output)
    check_png(output)
    found = masks_of(file, where, picture)
    one_frame = any(condition.startswith("frame=") for condition in where)
    masks, frame = _masks_on(found, frame, one_frame)
    if not masks:
        say(f"Warning: {file.name} has no mask for frame {frame}", err=True)
    pixels, pixel_aspect = _pixels(picture, frame)
    write_png(_with_square_pixels(km.overlay(pixels, masks, **options), pixel_aspect), output)
    say_where(output)


def _masks_on(found: LabelledMasks, frame: int | None, one_frame: bool) -> tuple[Masks, int]:
    """Return the masks to draw, and the number of the frame to draw them on.

    `one_frame` says that --where has chosen the frame of the masks. They can then be drawn on
    another frame, and so can the masks of a file that has those of a single frame.
    """
    tracking = found.tracking()
    frames = sorted(index for index, masks in tracking.items() if masks)
    if frame is None and len(frames) > 1:
        raise click.ClickException(
            f"the masks are of {len(frames)} frames, {frames[0]} to {frames[-1]}; "
            f"choose one, for example with --frame {frames[0]}"
        )
    if frame is None:
        frame = frames[0] if frames else 0
    if len(tracking) > 1 and not (one_frame and len(frames) == 1):
        # The masks of a frame are also those of the next `every` - 1 frames.
        return tracking.get(frame // found.every * found.every, {}), frame
    return (tracking[frames[0]] if frames else {}), frame


def _pixels(path: Path, frame: int) -> tuple[npt.NDArray[np.uint8], Fraction]:
    """Read an image, or a frame of a video: RGB or RGBA pixels, and their width by height."""
    try:
        return pictures.read_picture(path, frame), Fraction(1)
    except pictures.UnknownPictureError:
        from klingmask.video.reading import open_video  # PyAV is needed for videos only

        with open_video(path) as video:
            shown = video.frame_at(frame)
        return shown.pixels, shown.pixel_aspect


def _with_square_pixels(
    pixels: npt.NDArray[np.uint8], pixel_aspect: Fraction
) -> npt.NDArray[np.uint8]:
    """Stretch a picture to the shape in which players show it."""
    height, width = pixels.shape[:2]
    size = (round(width * max(pixel_aspect, 1)), round(height / min(pixel_aspect, 1)))
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size))


@click.command()
@FILE_BEFORE_ANOTHER
@_VIDEO
@WHERE
@OUTPUT
@_OPACITY
@_outline(0)
@_LABELS
@_STEP
@click.option(
    "--side-by-side", is_flag=True, help="Show the unchanged VIDEO to the left of the result."
)
@click.option(
    "--progress/--no-progress",
    default=shows_progress,
    help="Show a progress bar.  [default: only on a terminal]",
)
def video(
    file: BinaryIO, video: Path, where: tuple[str, ...], output: Path, **options: Any
) -> None:
    """Draw the masks of FILE over VIDEO, each on its frame, and write a video."""
    from klingmask.video import overlay_video

    check_not_standard_output(output)
    check_not_an_input(file.name, video, output=output)
    overlay_video(video, masks_of(file, where, video), output, **options)
    say_where(output)


@click.command()
@FILE_BEFORE_ANOTHER
@_VIDEO
@WHERE
@PNG_OUTPUT
@_OPACITY
@_outline(2)
@_LABELS
@_STEP
@click.option(
    "--columns", type=_AT_LEAST_1, default=4, show_default=True, help="The frames in a row."
)
@click.option("--rows", type=_AT_LEAST_1, default=3, show_default=True, help="The rows of frames.")
@click.option(
    "--width",
    type=_AT_LEAST_1,
    default=1600,
    show_default=True,
    help="The width of the sheet, in pixels.",
)
def sheet(
    file: BinaryIO, video: Path, where: tuple[str, ...], output: Path, **options: Any
) -> None:
    """Draw frames of VIDEO, with the masks of FILE on them, on one sheet, and write a PNG."""
    from klingmask.video import contact_sheet

    check_not_an_input(file.name, video, output=output)
    check_png(output)
    write_png(contact_sheet(video, masks_of(file, where, video), **options), output)
    say_where(output)
