"""The command line: what is in a file of masks, and masks as pictures."""

import io
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

import klingmask as km
from klingmask.datasets import LabelledMasks, read_masks, tracking_to_json

try:
    import click
    from PIL import Image, UnidentifiedImageError
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ImportError as error:
    sys.exit(f"the command line needs {error.name}: pip install 'klingmask[cli]'")

if TYPE_CHECKING:
    from klingmask.kling import EditSession, EditTask


_EXPECTED = (
    ValueError,
    TypeError,
    IndexError,
    ImportError,
    OSError,
    MemoryError,  # a stack of masks has no limit but this
    OverflowError,
)


class _Commands(click.Group):
    """Commands whose expected errors end in one line instead of a traceback."""

    def _is_expected(self, error: Exception) -> bool:
        if isinstance(error, BrokenPipeError):
            return False  # click ends quietly where the reader of a pipe has gone
        kling = sys.modules.get("klingmask.kling.errors")
        return isinstance(error, _EXPECTED) or (
            kling is not None and isinstance(error, kling.KlingError)
        )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except Exception as error:
            if isinstance(error, click.ClickException) or not self._is_expected(error):
                raise
            if isinstance(error, OSError) and error.filename and error.strerror:
                raise click.ClickException(f"{error.filename}: {error.strerror}") from error
            raise click.ClickException(str(error) or type(error).__name__) from error


@click.group(cls=_Commands)
@click.version_option(km.__version__)
@click.option("--max-pixels", type=int, help="Most pixels a mask may have to be decoded.")
def main(max_pixels: int | None) -> None:
    """Compressed run-length masks: look at them, decode and encode them.

    FILE is a JSON file with masks in it: a reply of Kling's Multi-Elements API,
    an rle, a list of rles, COCO results or annotations, an SA-1B or SA-V file.
    "-" is standard input.
    """
    if max_pixels is not None:
        km.set_max_pixels(max_pixels)


def _read(file: BinaryIO, where: tuple[str, ...]) -> LabelledMasks:
    wanted = {}
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals:
            raise click.BadParameter(f"{condition!r} is not KEY=VALUE", param_hint="--where")
        wanted[key] = value
    try:
        chosen = read_masks(file.read()).where(**wanted)
    except km.RLEError as error:
        raise click.ClickException(f"{file.name}: {error}") from error
    if wanted and not chosen.labels:
        raise click.ClickException(f"{file.name}: no mask has {' and '.join(where)}")
    return chosen


def _printable(value: object) -> str:
    """Text of a file, without what a terminal would take for commands."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(value)
    )


_file = click.argument("file", type=click.File("rb"), default="-")
# Beside a second file it cannot be left out: click would take the second for it.
_required_file = click.argument("file", type=click.File("rb"))
_where = click.option(
    "--where", multiple=True, metavar="KEY=VALUE", help="Only masks so labelled, as frame=30."
)
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where the result goes."
)


def _on_terminal() -> bool:
    """Whether somebody sees a progress bar: in a log it is noise."""
    return sys.stderr.isatty()


def _keep(*sources: str | Path, output: str | Path) -> None:
    """See to it that a result does not take the place of what it is made from."""
    target = Path(output)
    for source in map(Path, sources):
        if target.exists() and source.exists() and target.samefile(source):
            raise click.UsageError(f"{output} is read, and would be lost: choose another -o")


@main.command()
@_file
@_where
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object.")
def info(file: BinaryIO, where: tuple[str, ...], as_json: bool) -> None:
    """Tell what is in FILE: sizes, areas, boxes."""
    found = _read(file, where)
    rows = [
        {**labels, "size": size, "area": area, "bbox": bbox}
        for labels, size, area, bbox in zip(
            found.labels,
            found.masks.size.tolist(),
            found.masks.area.tolist(),
            found.masks.bbox.tolist(),
            strict=True,
        )
    ]
    if as_json:
        click.echo(json.dumps({"kind": found.kind, "masks": rows}))
        return
    keys = list(dict.fromkeys(key for row in rows for key in row))
    title = f"{file.name}: {found.kind}, {len(rows)} {'mask' if len(rows) == 1 else 'masks'}"
    # As Text, or rich would take what is in brackets for markup.
    table = Table("mask", *keys, title=Text(_printable(title), "table.title"))
    for index, row in enumerate(rows):
        table.add_row(str(index), *(Text(_printable(row.get(key, ""))) for key in keys))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


@main.command()
@_file
@_where
@_output
def decode(file: BinaryIO, where: tuple[str, ...], output: Path) -> None:
    """Write the masks of FILE as pixels.

    To one array (n, h, w) of 0 and 1 if the output is called *.npy, to one
    picture if it is called *.png, else to a folder with a PNG for each.
    """
    _keep(file.name, output=output)
    suffix = output.suffix.lower()
    if suffix not in ("", ".npy", ".png") and not output.is_dir():
        raise click.UsageError(
            f"-o takes .png, .npy or a folder; {output} is none: make the folder first"
        )
    masks = _read(file, where).masks
    if suffix == ".npy":
        pixels = masks.to_numpy()
        with output.open("wb") as stream:  # by name, np.save would add a suffix to .NPY
            np.save(stream, pixels)
    elif suffix == ".png":
        if len(masks) != 1:
            raise click.ClickException(
                f"{len(masks)} masks do not fit one PNG: choose one with --where, "
                "or give a folder or a .npy"
            )
        output.write_bytes(masks[0].to_png())
    else:
        output.mkdir(parents=True, exist_ok=True)
        for index, mask in enumerate(masks):
            (output / f"{index:05d}.png").write_bytes(mask.to_png())
    click.echo(str(output))


@main.command()
@click.argument("pictures", type=click.File("rb"), nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.File("w"), default="-", help="Standard output if left out."
)
def encode(pictures: tuple[BinaryIO, ...], output: Any) -> None:
    """Write PNG files as RLE JSON: one object, or a list for several.

    Pixels that are neither black nor clear are foreground, of whatever value.
    """
    _keep(*(picture.name for picture in pictures), output=output.name)
    rles = []
    for picture in pictures:
        try:
            rles.append(km.Mask.from_png(picture.read()).to_rle())
        except ValueError as error:
            raise click.ClickException(f"{picture.name}: {error}") from error
    json.dump(rles[0] if len(rles) == 1 else rles, output)
    output.write("\n")


_opacity = click.option(
    "--opacity", type=float, default=163 / 255, help="0 to 1; 163/255 if left out."
)
_labels = click.option("--labels", is_flag=True, help="Write each object's id on it.")


_outline = click.option(
    "--outline", type=int, default=0, help="Width in pixels.", show_default=True
)
_video = click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_step = click.option("--step", type=int, help="How many frames a mask stands for.")


@main.command()
@_required_file
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_where
@_output
@click.option("--frame", type=int, help="Of a video; the frame of the masks if left out.")
@_opacity
@_outline
@_labels
def overlay(
    file: BinaryIO,
    picture: Path,
    where: tuple[str, ...],
    output: Path,
    frame: int | None,
    opacity: float,
    outline: int,
    labels: bool,
) -> None:
    """Lay the masks of FILE over PICTURE, an image or a video, and write a PNG."""
    _keep(file.name, picture, output=output)
    _check_png(output)
    found = _read(file, where)
    tracking = found.tracking()
    frames = sorted(index for index, masks in tracking.items() if masks)
    if len(frames) > 1:
        raise click.ClickException(
            f"the masks are of {len(frames)} frames; choose one with --where frame={frames[0]}"
        )
    if frame is None:
        frame = frames[0] if frames else 0
    masks = tracking[frames[0]] if frames else {}
    laid = km.overlay(
        _picture(picture, frame), masks, opacity=opacity, outline=outline, labels=labels
    )
    _write_png(laid, output)
    click.echo(str(output))


@main.command()
@_required_file
@_video
@_where
@_output
@_opacity
@_outline
@_labels
@_step
@click.option("--side-by-side", is_flag=True, help="Show VIDEO itself to the left.")
@click.option(
    "--progress/--no-progress",
    default=_on_terminal,
    help="Show a progress bar; by default only on a terminal.",
)
def video(
    file: BinaryIO, video: Path, where: tuple[str, ...], output: Path, **options: Any
) -> None:
    """Lay the masks of FILE over VIDEO, each on its frame, and write a video."""
    from klingmask.video import overlay_video

    _keep(file.name, video, output=output)
    overlay_video(video, _read(file, where), output, **options)
    click.echo(str(output))


@main.command()
@_required_file
@_video
@_where
@_output
@_opacity
@click.option("--outline", type=int, default=2, help="Width in pixels.", show_default=True)
@_labels
@_step
@click.option("--columns", type=int, default=4, help="Frames in a row.", show_default=True)
@click.option("--rows", type=int, default=3, help="Rows of frames.", show_default=True)
@click.option("--width", type=int, default=1600, help="Of the sheet.", show_default=True)
def sheet(
    file: BinaryIO, video: Path, where: tuple[str, ...], output: Path, **options: Any
) -> None:
    """Draw frames of VIDEO with the masks of FILE on one sheet, and write a PNG."""
    from klingmask.video import contact_sheet

    _keep(file.name, video, output=output)
    _check_png(output)
    _write_png(contact_sheet(video, _read(file, where), **options), output)
    click.echo(str(output))


def _place(text: str) -> tuple[bool, float, float]:
    """X,Y: whole numbers are pixels, numbers with a point are shares of width and height."""
    try:
        x, y = text.split(",")
        return "." not in text, float(x), float(y)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not X,Y, as in 640,360 or 0.5,0.5") from None


@main.command()
@click.argument("video")
@click.option(
    "--at",
    type=_place,
    metavar="X,Y",
    multiple=True,
    help="A click, in pixels as 427,560 or in shares of the frame as 0.33,0.78.",
)
@click.option("--frame", type=int, default=0, help="The frame to click.", show_default=True)
@click.option("--remove", metavar="WHAT", help="Delete this.")
@click.option("--swap", nargs=2, metavar="OLD NEW", help="Put NEW, of the image, for OLD.")
@click.option("--add", metavar="WHAT", help="Add this, of the image.")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For --swap and --add.",
)
@click.option("--mask", type=click.Path(path_type=Path), help="Save what is selected, as PNG.")
@click.option("--preview", type=click.Path(path_type=Path), help="Save the preview video.")
@click.option(
    "--tracking",
    type=click.Path(path_type=Path),
    help="Save the masks of every frame, as JSON for `klingmask video`.",
)
@click.option("--local", is_flag=True, help="VIDEO is a file; an emulator edits it, for nothing.")
@click.option("--pro", is_flag=True, help="A better edit, which costs more.")
@click.option("--yes", is_flag=True, help="Do not ask before it costs money.")
@_output
def edit(
    video: str,
    at: tuple[tuple[bool, float, float], ...],
    frame: int,
    remove: str | None,
    swap: tuple[str, str] | None,
    add: str | None,
    image: Path | None,
    mask: Path | None,
    preview: Path | None,
    tracking: Path | None,
    local: bool,
    pro: bool,
    yes: bool,
    output: Path,
) -> None:
    """Edit VIDEO, the URL of an mp4 or mov or the id of a video of Kling's, by Kling's API.

    Keys come from KLING_API_KEY, or KLING_ACCESS_KEY and KLING_SECRET_KEY. With
    --local, VIDEO is a file, and nothing leaves this machine.

    Before it costs money, it tells on how many frames the thing was found, and asks.
    If it is interrupted after that, `klingmask task` fetches the result.
    """
    from klingmask.kling import EditMode, KlingClient, prompts

    mode: EditMode
    if (remove is not None) + bool(swap) + (add is not None) != 1:
        raise click.UsageError("give exactly one of --remove, --swap and --add")
    if remove is not None:
        mode, prompt = "removal", prompts.removal(remove)
    elif swap:
        mode, prompt = "swap", prompts.swap(new=swap[1], old=swap[0])
    else:
        mode, prompt = "addition", prompts.addition(add or "")
    if (image is None) != (mode == "removal"):
        raise click.UsageError("--swap and --add take an --image, --remove takes none")
    if not at and mode != "addition":
        raise click.UsageError("--at X,Y says what to remove or swap")
    results = (output, mask, preview, tracking)
    if not at and any(results[1:]):
        raise click.UsageError("--mask, --preview and --tracking show what --at X,Y selects")
    _check_outputs(*results)
    if mask:
        _check_png(mask, "--mask")
    path = Path(video)
    if local and not path.is_file():
        raise click.UsageError(f"there is no file {video}")
    for result in filter(None, results):
        _keep(path, *([image] if image else []), output=result)
    if not local and path.is_file():
        raise click.UsageError(
            f"{video} is a file on this machine: --local edits it here; the service takes "
            "a URL that it can reach, or the id of a video of its own"
        )
    with ExitStack() as stack:
        if local:
            from klingmask.emulator import running

            emulator = stack.enter_context(running(path.parent))
            # As long as it takes: this machine may be slow, and nobody else waits.
            client = KlingClient(
                emulator.api_key, base_url=emulator.base_url, timeout=(10.0, 3600.0)
            )
            video = emulator.url_of(path)
        else:
            client = KlingClient()
        stack.enter_context(client)
        source = {"video_url": video} if "://" in video else {"video_id": video}
        session = client.edit_video(**source)
        height, width = session.size
        click.echo(f"session {session.session_id}: {width} x {height}, {session.seconds:g} s")
        if at:
            points = [session.point(x, y) if pixels else (x, y) for pixels, x, y in at]
            selection = session.add_selection(frame, points)
            if not selection.masks:
                raise click.ClickException("nothing is there to select; try another point")
            click.echo(f"selected: {selection.union.area} pixels, box {selection.union.bbox}")
            if mask:
                mask.write_bytes(selection.union.to_png())
            _show_found(session, preview, tracking)
        if not (yes or local):
            click.confirm("Start the task, which costs money?", abort=True)

        def submitted() -> "EditTask":
            return session.submit(
                mode, prompt, images=[image] if image else [], mode="pro" if pro else "std"
            )

        _save(submitted, output, kept=not local)
    click.echo(str(output))


def _check_outputs(*paths: Path | None) -> None:
    """See to it that results can be written, before anything is done for them."""
    given = [path for path in paths if path is not None]
    for place, path in enumerate(given):
        if not path.parent.is_dir():
            raise click.UsageError(f"there is no folder {path.parent} for {path.name}")
        if path.is_dir():
            raise click.UsageError(f"{path} is a folder; a file is written")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise click.UsageError(f"{path} may not be written")
        if path.is_symlink() and not path.exists():
            raise click.UsageError(f"{path} is a link that leads to no file")
        if path.resolve() in [other.resolve() for other in given[:place]]:
            raise click.UsageError(f"{path} is given for two results")


def _show_found(session: "EditSession", preview: Path | None, tracking: Path | None) -> None:
    """Tell on how many frames the selection was found, and save what is wanted of the preview."""
    from klingmask.kling import BadReplyError

    shown = session.preview()
    if preview:
        shown.download(preview, progress=_on_terminal())
    try:
        tracked = shown.tracking()
        found = sum(any(masks.values()) for masks in tracked.values())
        click.echo(f"found on {found} of {session.reply.total_frame} frames")
        if tracking:
            tracking.write_text(tracking_to_json(tracked))
    except BadReplyError as error:  # its format is not documented
        if tracking:
            raise
        click.echo(f"on how many frames it was found cannot be told: {error}", err=True)


def _save(found: Callable[[], "EditTask"], output: Path, *, kept: bool = True) -> None:
    """Wait for a task and save its video; if that ends early, tell how to go on.

    `kept` says that the service still has the task when this command has ended.
    """
    from klingmask.kling import TaskFailedError

    name = None
    try:
        task = found()
        name = task.task.task_id
        click.echo(f"task {name}, external id {task.task.external_task_id}")
        task.wait(progress=_on_terminal()).download(output, progress=_on_terminal())
    except TaskFailedError:
        raise
    except BaseException as error:  # an interrupt, too
        for note in getattr(error, "__notes__", ()):
            click.echo(note, err=True)
        name = name or getattr(error, "external_task_id", None)  # that of an unknown outcome
        if name and kept:
            command = shlex.join(["klingmask", "task", name, "-o", str(output)])
            click.echo(f"the task may go on; this fetches its video: {command}", err=True)
        raise


@main.command()
@click.argument("name", metavar="ID")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Wait for its video, and save it here."
)
def task(name: str, output: Path | None) -> None:
    """Tell how a task of Kling's API stands, or fetch its video.

    ID is the task's id or the external id that it was given; `klingmask edit` tells
    both. Keys come from where `klingmask edit` takes them. Nothing is paid for.
    """
    from klingmask.kling import KlingClient

    _check_outputs(output)
    with KlingClient() as client:
        found = client.task(name)
        if output is None:
            reason = f": {found.task.task_status_msg}" if found.task.task_status_msg else ""
            click.echo(f"task {found.task.task_id}: {found.task.task_status}{reason}")
            return
        _save(lambda: found, output)
    click.echo(str(output))


@main.command()
@click.argument("folders", type=click.Path(exists=True, file_okay=False), nargs=-1, required=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, help="Of the API.", show_default=True
)
def serve(folders: tuple[str, ...], port: int) -> None:
    """Run an emulator of Kling's API on this machine, for the videos in FOLDERS."""
    from klingmask.emulator import running

    with ExitStack() as stack:
        try:
            emulator = stack.enter_context(running(*folders, port=port))
        except OSError as error:
            raise click.ClickException(f"--port {port} cannot be taken: {error}") from error
        click.echo(f"KLING_BASE_URL={emulator.base_url}")
        click.echo(f"KLING_API_KEY={emulator.api_key}")
        for number, folder in enumerate(folders):
            click.echo(f"{folder}: {emulator.cdn_url}/files/{number}/")
        click.echo("Ctrl-C ends it.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # its files go either way
        with suppress(KeyboardInterrupt):
            while True:  # a signal may come to another thread, which wakes nobody that waits
                time.sleep(0.2)


def _check_png(output: Path, option: str = "-o") -> None:
    """See to it that a PNG is not called something else."""
    if output.suffix.lower() not in ("", ".png"):
        raise click.UsageError(f"a PNG is written: {option} {output.with_suffix('.png')}")


def _write_png(pixels: npt.NDArray[np.uint8], output: Path) -> None:
    """Whole or not at all."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    output.write_bytes(stream.getvalue())


def _picture(path: Path, frame: int) -> npt.NDArray[np.uint8]:
    """An image, or a frame of a video, as RGB or RGBA pixels."""
    try:
        with Image.open(path) as image:
            mode = "RGBA" if image.has_transparency_data else "RGB"
            return np.asarray(image.convert(mode))
    except UnidentifiedImageError:
        from klingmask.video import frame_at  # PyAV is needed for videos alone

        return frame_at(path, frame)
    except Exception as error:  # Pillow lets through whatever its parsing runs into
        raise click.ClickException(f"{path}: not an image that can be read: {error}") from error
