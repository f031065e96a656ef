"""`overlay`, `video` and `sheet`: masks on pictures and videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

import klingmask as km
from klingmask.cli.inputs import FILE_BEFORE_ANOTHER, WHERE, masks_of
from klingmask.cli.outputs import (
    OUTPUT,
    PNG_OUTPUT,
    check_not_an_input,
    check_not_standard_output,
    check_png,
    say_where,
    shows_progress,
    write_png,
)

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
    help="The frame to draw on, if PICTURE is a video.  [default: the frame of the masks]",
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
    tracking = masks_of(file, where, picture).tracking()
    frames = sorted(index for index, masks in tracking.items() if masks)
    if len(frames) > 1:
        raise click.ClickException(
            f"the masks are of {len(frames)} frames; choose one with --where frame={frames[0]}"
        )
    if frame is None:
        frame = frames[0] if frames else 0
    masks = tracking[frames[0]] if frames else {}
    write_png(km.overlay(_pixels(picture, frame), masks, **options), output)
    say_where(output)


def _pixels(path: Path, frame: int) -> npt.NDArray[np.uint8]:
    """Read an image, or a frame of a video, as RGB or RGBA pixels."""
    try:
        with Image.open(path) as image:
            mode = "RGBA" if image.has_transparency_data else "RGB"
            return np.asarray(image.convert(mode))
    except UnidentifiedImageError:
        from klingmask.video import frame_at  # PyAV is needed for videos only

        return frame_at(path, frame)
    except Exception as error:  # Pillow raises errors of many types about malformed files
        raise click.ClickException(f"{path}: not an image that can be read: {error}") from error


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
