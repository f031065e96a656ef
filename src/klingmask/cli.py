"""The command line: what is in a file of masks, and masks as pictures."""

import io
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

import klingmask as km
from klingmask.atomic import atomic_file, atomic_folder, write_bytes
from klingmask.datasets import LabelledMasks, read_masks, tracking_to_json
from klingmask.datasets.documents import format_of
from klingmask.quoting import printable, quoted

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
    from klingmask.kling.session import Preview


_EXPECTED = (
    ValueError,
    TypeError,
    IndexError,
    ImportError,
    OSError,
    MemoryError,  # a stack of masks has no limit but this
    OverflowError,
    RecursionError,  # a label that is nested too deeply to be told
)


# What the library advises in Python, and what does the same here.
_AS_OPTIONS = tuple(
    (re.compile(python), option)
    for python, option in (
        (
            r"raise the limit with klingmask\.set_max_pixels\(\)(, or decode .* with out=)?",
            "raise the limit: klingmask --max-pixels N ...",
        ),
        (r"klingmask\.set_max_pixels\(\) raises it", "klingmask --max-pixels N ... raises it"),
        (r"; mask\.resize\(.*?\) would fit it", ""),
        (r"; strict=False would .*", ""),
        (r"; pass its 'rle_mask'", ""),
        (r"; pycocotools' COCO.annToRLE .*", ""),
        (r"\bwhere\((\w+)=(.*)\)", r"--where \1=\2"),
        (r"; None lifts it", ""),
        (r"frame_index goes", "--frame goes"),
        (r"start a new one with edit_video\(\)", "run the command again"),
        (
            r"ask get_task\(external_task_id=(.*)\) before you create it again",
            r"look with `klingmask task` for \1 before you run the command again",
        ),
        (r", or raise the client's (timeout|retry_for)", ""),
    )
)


def in_options(error: BaseException) -> str:
    """The message of an error of the library, for somebody who has options."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = str(error) or type(error).__name__
    for python, option in _AS_OPTIONS:
        text = python.sub(option, text)
    return text


def _is_expected(error: Exception) -> bool:
    if isinstance(error, BrokenPipeError):
        return False  # click ends quietly where the reader of a pipe has gone
    kling = sys.modules.get("klingmask.kling.errors")
    return isinstance(error, _EXPECTED) or (
        kling is not None and isinstance(error, kling.KlingError)
    )


@contextmanager
def _errors_in_a_line() -> Iterator[None]:
    """Errors that are expected end in one line instead of a traceback, and none writes commands.

    What users typed and files say is in them: a terminal would take some of that for commands.
    """
    try:
        yield
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            raise
        message = printable(error.format_message())
        if isinstance(error, click.UsageError):
            raise click.UsageError(message, error.ctx) from error
        raise click.ClickException(message) from error
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if not _is_expected(error):
            raise
        raise click.ClickException(printable(in_options(error))) from error


class _Terminated(SystemExit):
    """SIGTERM or SIGHUP came."""


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as an error does: it leaves no temporary files.

    Who started it may have told it not to mind a signal, as nohup does; then it does not.
    """
    numbers = [
        number
        for name in ("SIGTERM", "SIGHUP")
        if (number := getattr(signal, name, None)) and signal.getsignal(number) == signal.SIG_DFL
    ]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def end(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # nothing interrupts the tidying up
        raise _Terminated(128 + number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


class _Commands(click.Group):
    """Commands whose errors and ends are as this module has them."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _errors_in_a_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _errors_in_a_line(), _signals_raise():
            return super().invoke(ctx)


def _say(text: object, *, err: bool = False) -> None:
    """Write a line, of which a terminal takes nothing for commands."""
    click.echo(printable(str(text)), err=err)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(km.__version__)
@click.option(
    "--max-pixels", type=click.IntRange(min=0), help="Most pixels a mask may have to be decoded."
)
def main(max_pixels: int | None) -> None:
    """Compressed run-length masks: look at them, decode and encode them.

    FILE is a JSON file with masks in it: a reply of Kling's Multi-Elements API,
    an rle, a list of rles, COCO results or annotations, an SA-1B or SA-V file.
    It may be packed by gzip. "-" is standard input.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not have every character
        sys.stdout.reconfigure(errors="backslashreplace")
    if max_pixels is not None:
        km.set_max_pixels(max_pixels)


def _read(file: BinaryIO, where: tuple[str, ...], beside: Path | None = None) -> LabelledMasks:
    """The masks of FILE that are wanted; `beside` is the picture or video that comes with it."""
    wanted: dict[str, list[str]] = {}
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals:
            raise click.BadParameter(f"{quoted(condition)} is not KEY=VALUE", param_hint="--where")
        wanted.setdefault(key, []).append(value)
    start = file.read(512)
    found = format_of(start)
    if found is not None and found != "a gzip file":
        raise click.ClickException(
            f"{file.name}: not a JSON file, but {found}{_hint(file, beside)}"
        )
    try:
        chosen = read_masks(start + file.read()).where(**wanted)
    except km.RLEError as error:
        raise click.ClickException(f"{file.name}: {in_options(error)}") from error
    if wanted and not chosen.labels:
        raise click.ClickException(f"{file.name}: no mask has {' and '.join(where)}")
    return chosen


def _hint(file: BinaryIO, beside: Path | None) -> str:
    if beside is None:
        return "; `klingmask encode` makes masks of PNG files"
    command = click.get_current_context().info_name or ""
    words = shlex.join(["klingmask", command, str(beside), file.name])
    return f"; the masks come first: {words} -o ..."


_file = click.argument("file", type=click.File("rb"), default="-")
# Beside a second file it cannot be left out: click would take the second for it.
_required_file = click.argument("file", type=click.File("rb"))
_where = click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only masks with this label, as frame=30. Of several for one KEY, any will do.",
)
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where the result goes."
)
_png_output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help='Where the result goes; "-" is standard output.',
)


def _on_terminal() -> bool:
    """Whether somebody sees a progress bar: in a log it is noise."""
    return sys.stderr.isatty()


def _keep(*sources: str | Path, output: str | Path) -> None:
    """See to it that a result does not take the place of what it is made from."""
    target = Path(output)
    if _is_standard_output(target):
        return
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
    if as_json:
        click.echo(f'{{"kind": {json.dumps(found.kind)}, "masks": [', nl=False)
        rows = _rows(found)
        separator = ""
        while chunk := list(islice(rows, 1000)):
            text = ", ".join(map(json.dumps, chunk)).replace("\x7f", "\\u007f")
            click.echo(separator + text, nl=False)
            separator = ", "
        click.echo("]}")
        return
    n = len(found.masks)
    shown = list(islice(_rows(found), MAX_ROWS))
    keys = list(dict.fromkeys(key for row in shown for key in row))
    # As Text, or rich would take what is in brackets for markup.
    title = f"{file.name}: {found.kind}, {n} {'mask' if n == 1 else 'masks'}"
    table = Table("mask", *keys, title=Text(printable(title), "table.title"))
    if n > len(shown):
        table.caption = f"the first {len(shown)}; --where chooses others, --json tells all"
    for index, row in enumerate(shown):
        table.add_row(str(index), *(Text(_cell(row.get(key, ""))) for key in keys))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


MAX_ROWS = 100  # of a table


def _rows(found: LabelledMasks) -> Iterator[dict[str, Any]]:
    """What is known of each mask."""
    sizes, areas, boxes = found.masks.size, found.masks.area, found.masks.bbox
    for index, labels in enumerate(found.labels):
        yield {
            **labels,
            "size": sizes[index].tolist(),
            "area": int(areas[index]),
            "bbox": boxes[index].tolist(),
        }


def _cell(value: object) -> str:
    """A value in a table."""
    return printable(value[:60]) if isinstance(value, str) else quoted(value)


@main.command()
@_file
@_where
@_png_output
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
        header = np.lib.format.header_data_from_array_1_0(pixels)
        with atomic_file(output) as part, part.open("wb") as stream:
            # Not np.save, which does not say why if not all could be written.
            np.lib.format.write_array_header_1_0(stream, header)
            stream.write(pixels.data)
    elif suffix == ".png" or _is_standard_output(output) or _is_device(output):
        if len(masks) != 1:
            raise click.ClickException(
                f"{len(masks)} masks do not fit one PNG: choose one with --where, "
                "or give a folder or a .npy"
            )
        _write(masks[0].to_png(), output)
    else:
        with atomic_folder(output) as folder:
            for index, mask in enumerate(masks):
                (folder / f"{index:05d}.png").write_bytes(mask.to_png())
    _done(output)


@main.command()
@click.argument("pictures", type=click.File("rb"), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="-",
    help="Standard output if left out.",
)
def encode(pictures: tuple[BinaryIO, ...], output: Path) -> None:
    """Write PNG files as RLE JSON: one object, or a list for several.

    Pixels that are neither black nor clear are foreground, of whatever value.
    """
    _keep(*(picture.name for picture in pictures), output=output)
    rles = []
    for picture in pictures:
        content = picture.read()
        try:
            rles.append(km.Mask.from_png(content).to_rle())
        except ValueError as error:
            is_json = content.lstrip()[:1] in (b"{", b"[")
            hint = "; `klingmask decode` makes pictures of JSON" if is_json else ""
            raise click.ClickException(f"{picture.name}: {in_options(error)}{hint}") from error
    text = json.dumps(rles[0] if len(rles) == 1 else rles)
    if _is_standard_output(output):
        click.echo(text)
    else:
        write_bytes(output, f"{text}\n".encode())


_AT_LEAST_0, _AT_LEAST_1 = click.IntRange(min=0), click.IntRange(min=1)

_opacity = click.option(
    "--opacity",
    type=click.FloatRange(0, 1),
    default=163 / 255,
    help="0 to 1; 163/255 if left out.",
)
_labels = click.option("--labels", is_flag=True, help="Write each object's id on it.")


_outline = click.option(
    "--outline", type=_AT_LEAST_0, default=0, help="Width in pixels.", show_default=True
)
_video = click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_step = click.option("--step", type=_AT_LEAST_1, help="How many frames a mask stands for.")


@main.command()
@_required_file
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_where
@_png_output
@click.option("--frame", type=_AT_LEAST_0, help="Of a video; the frame of the masks if left out.")
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
    tracking = _read(file, where, picture).tracking()
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
    _done(output)


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

    _check_no_dash(output)
    _keep(file.name, video, output=output)
    overlay_video(video, _read(file, where, video), output, **options)
    _done(output)


@main.command()
@_required_file
@_video
@_where
@_png_output
@_opacity
@click.option("--outline", type=_AT_LEAST_0, default=2, help="Width in pixels.", show_default=True)
@_labels
@_step
@click.option("--columns", type=_AT_LEAST_1, default=4, help="Frames in a row.", show_default=True)
@click.option("--rows", type=_AT_LEAST_1, default=3, help="Rows of frames.", show_default=True)
@click.option("--width", type=_AT_LEAST_1, default=1600, help="Of the sheet.", show_default=True)
def sheet(
    file: BinaryIO, video: Path, where: tuple[str, ...], output: Path, **options: Any
) -> None:
    """Draw frames of VIDEO with the masks of FILE on one sheet, and write a PNG."""
    from klingmask.video import contact_sheet

    _keep(file.name, video, output=output)
    _check_png(output)
    _write_png(contact_sheet(video, _read(file, where, video), **options), output)
    _done(output)


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
@click.option("--frame", type=_AT_LEAST_0, default=0, help="The frame to click.", show_default=True)
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
        _say(f"session {session.session_id}: {width} x {height}, {session.seconds:g} s")
        if at:
            points = [session.point(x, y) if pixels else (x, y) for pixels, x, y in at]
            selection = session.add_selection(frame, points)
            if not selection.masks:
                raise click.ClickException("nothing is there to select; try another point")
            _say(f"selected: {selection.union.area} pixels, box {selection.union.bbox}")
            if mask:
                write_bytes(mask, selection.union.to_png())
            _show_found(session, preview, tracking)
        if not (yes or local):
            click.confirm("Start the task, which costs money?", abort=True)

        def submitted() -> "EditTask":
            return session.submit(
                mode, prompt, images=[image] if image else [], mode="pro" if pro else "std"
            )

        _save(submitted, output, kept=not local)
    _done(output)


def _check_outputs(*paths: Path | None) -> None:
    """See to it that results can be written, before anything is done for them."""
    given = [path for path in paths if path is not None]
    _check_no_dash(*given)
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
        _download(shown, preview)
    try:
        tracked = shown.tracking()
        found = sum(any(masks.values()) for masks in tracked.values())
        _say(f"found on {found} of {session.reply.total_frame} frames")
        if tracking:
            write_bytes(tracking, tracking_to_json(tracked).encode())
    except BadReplyError as error:  # its format is not documented
        if tracking:
            raise
        _say(f"on how many frames it was found cannot be told: {error}", err=True)


def _save(found: Callable[[], "EditTask"], output: Path, *, kept: bool = True) -> None:
    """Wait for a task and save its video; if that ends early, tell how to go on.

    `kept` says that the service still has the task when this command has ended.
    """
    from klingmask.kling import TaskFailedError

    name = None
    try:
        task = found()
        name = task.task.task_id
        _say(f"task {name}, external id {task.task.external_task_id}")
        _download(task.wait(progress=_on_terminal()), output)
    except TaskFailedError:
        raise
    except BaseException as error:  # an interrupt, too
        for note in getattr(error, "__notes__", ()):
            _say(note, err=True)
        name = name or getattr(error, "external_task_id", None)  # that of an unknown outcome
        if name and kept:
            command = shlex.join(["klingmask", "task", name, "-o", str(output)])
            _say(f"the task may go on; this fetches its video: {command}", err=True)
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
            _say(f"task {found.task.task_id}: {found.task.task_status}{reason}")
            return
        _save(lambda: found, output)
    _done(output)


@main.command()
@click.argument("folders", type=click.Path(exists=True, file_okay=False), nargs=-1, required=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, help="Of the API.", show_default=True
)
def serve(folders: tuple[str, ...], port: int) -> None:
    """Run an emulator of Kling's API on this machine, for the videos in FOLDERS."""
    from klingmask.emulator import running

    with suppress(KeyboardInterrupt, _Terminated), ExitStack() as stack:
        try:
            emulator = stack.enter_context(running(*folders, port=port))
        except OSError as error:
            raise click.ClickException(f"--port {port} cannot be taken: {error}") from error
        _say(f"KLING_BASE_URL={emulator.base_url}")
        _say(f"KLING_API_KEY={emulator.api_key}")
        for number, folder in enumerate(folders):
            _say(f"{folder}: {emulator.cdn_url}/files/{number}/")
        _say("Ctrl-C ends it.")
        while True:  # a signal may come to another thread, which wakes nobody that waits
            time.sleep(0.2)


def _check_png(output: Path, option: str = "-o") -> None:
    """See to it that a PNG is not called something else."""
    if output.suffix.lower() not in ("", ".png"):
        raise click.UsageError(f"a PNG is written: {option} {output.with_suffix('.png')}")


def _is_standard_output(output: Path) -> bool:
    return str(output) == "-"


def _is_device(output: Path) -> bool:
    """Whether a file cannot take its place: a device, a pipe."""
    return output.exists() and not output.is_file() and not output.is_dir()


def _check_no_dash(*outputs: Path) -> None:
    """See to it that what is no PNG goes to a file."""
    if any(map(_is_standard_output, outputs)):
        raise click.UsageError("only a PNG can go to standard output: give the name of a file")


def _write(content: bytes, output: Path) -> None:
    """Whole or not at all."""
    if not _is_standard_output(output):
        write_bytes(output, content)
    elif sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal: redirect it, or give -o a name")
    else:
        click.echo(content, nl=False)


def _write_png(pixels: npt.NDArray[np.uint8], output: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    _write(stream.getvalue(), output)


def _download(result: "Preview | EditTask", output: Path) -> None:
    """Save a video; a device, or what a link leads to, as other results are."""
    with atomic_file(output) as part:
        result.download(part, progress=_on_terminal())


def _done(output: Path) -> None:
    """Tell where the result is, unless it is where this would be told."""
    with suppress(OSError):
        if _is_standard_output(output) or os.path.samestat(output.stat(), os.fstat(1)):
            return
    _say(output)


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
