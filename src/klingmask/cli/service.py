"""`edit`, `task` and `serve`: Kling's Multi-Elements API, and its emulator on this machine."""

import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klingmask.atomic import atomic_file, write_bytes
from klingmask.cli.group import Terminated
from klingmask.cli.outputs import (
    OUTPUT,
    check_files,
    check_not_an_input,
    check_png,
    say,
    say_where,
    shows_progress,
)
from klingmask.datasets import tracking_to_json
from klingmask.quoting import quoted

if TYPE_CHECKING:
    from klingmask.kling import EditMode, EditSession, EditTask
    from klingmask.kling.session import Preview

__all__ = ["edit", "serve", "task"]


def _click(text: str) -> tuple[bool, float, float]:
    """Parse X,Y and return whether they are pixels, and both.

    Whole numbers are pixels; numbers with a decimal point are shares of width and height.
    """
    try:
        x, y = text.split(",")
        return "." not in text, float(x), float(y)
    except ValueError:
        raise click.BadParameter(f"{quoted(text)} is not X,Y, as in 640,360 or 0.5,0.5") from None


@click.command()
@click.argument("video")
@click.option(
    "--at",
    type=_click,
    metavar="X,Y",
    multiple=True,
    help="Where to click: in pixels, as 427,560, or in shares of width and height, as "
    "0.33,0.78. Give it several times for several clicks.",
)
@click.option(
    "--frame",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The frame to click on.",
)
@click.option("--remove", metavar="WHAT", help="Remove WHAT from the video.")
@click.option(
    "--swap",
    nargs=2,
    metavar="OLD NEW",
    help="Replace OLD in the video by NEW, which is in the image.",
)
@click.option("--add", metavar="WHAT", help="Add WHAT, which is in the image, to the video.")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The image for --swap or --add.",
)
@click.option(
    "--mask", type=click.Path(path_type=Path), help="Save the mask of the selection as a PNG."
)
@click.option(
    "--preview",
    type=click.Path(path_type=Path),
    help="Save the preview: a video that shows the selection.",
)
@click.option(
    "--tracking",
    type=click.Path(path_type=Path),
    help="Save the masks of all frames as JSON, for `klingmask video`.",
)
@click.option(
    "--local",
    is_flag=True,
    help="Edit a file by an emulator on this machine, free of charge.",
)
@click.option("--pro", is_flag=True, help="A better edit, at a higher price.")
@click.option("--yes", is_flag=True, help="Start the task, which costs money, without asking.")
@OUTPUT
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
    """Edit VIDEO by Kling's API: remove a thing, replace it, or add one.

    VIDEO is the URL of an mp4 or mov, or the id of a video that Kling made. With --local it is
    a file, and nothing is sent to the service. The account is taken from the environment:
    KLING_API_KEY, or KLING_ACCESS_KEY and KLING_SECRET_KEY.

    Before the task is started, which costs money, the command says on how many frames the
    selection was found, and asks. If the command is interrupted later, `klingmask task` fetches
    the result.
    """
    from klingmask.kling import KlingClient

    mode, prompt = _mode_and_prompt(remove, swap, add)
    if (image is None) != (mode == "removal"):
        raise click.UsageError("--swap and --add take an --image, --remove takes none")
    if not at and mode != "addition":
        raise click.UsageError("--at X,Y says what to remove or swap")
    results = (output, mask, preview, tracking)
    if not at and any(results[1:]):
        raise click.UsageError("--mask, --preview and --tracking show what --at X,Y selects")
    check_files(*results)
    if mask:
        check_png(mask, "--mask")
    path = Path(video)
    if local and not path.is_file():
        raise click.UsageError(f"there is no file {video}")
    for result in filter(None, results):
        check_not_an_input(path, *([image] if image else []), output=result)
    if not local and path.is_file():
        raise click.UsageError(
            f"{video} is a file on this machine: --local edits it here; the service takes "
            "a URL that it can reach, or the id of a video of its own"
        )
    with ExitStack() as stack:
        if local:
            from klingmask.emulator import running

            emulator = stack.enter_context(running(path.parent))
            # A slow machine may need long for an edit.
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
        say(f"session {session.session_id}: {width} x {height}, {session.seconds:g} s")
        if at:
            points = [session.point(x, y) if pixels else (x, y) for pixels, x, y in at]
            selection = session.add_selection(frame, points)
            if not selection.masks:
                raise click.ClickException("nothing is there to select; try another point")
            say(f"selected: {selection.union.area} pixels, box {selection.union.bbox}")
            if mask:
                write_bytes(mask, selection.union.to_png())
            _show_found(session, preview, tracking)
        if not (yes or local):
            click.confirm("Start the task, which costs money?", abort=True)

        def submit() -> "EditTask":
            return session.submit(
                mode, prompt, images=[image] if image else [], mode="pro" if pro else "std"
            )

        _save(submit, output, resumable=not local)
    say_where(output)


def _mode_and_prompt(
    remove: str | None, swap: tuple[str, str] | None, add: str | None
) -> tuple["EditMode", str]:
    """Return the edit that one of these options asks for."""
    from klingmask.kling import prompts

    if (remove is not None) + bool(swap) + (add is not None) != 1:
        raise click.UsageError("give exactly one of --remove, --swap and --add")
    if remove is not None:
        return "removal", prompts.removal(remove)
    if swap:
        return "swap", prompts.swap(new=swap[1], old=swap[0])
    return "addition", prompts.addition(add or "")


def _show_found(session: "EditSession", preview: Path | None, tracking: Path | None) -> None:
    """Say on how many frames the selection was found; save the preview and its masks, if asked."""
    from klingmask.kling import BadReplyError

    shown = session.preview()
    if preview:
        _download(shown, preview)
    try:
        tracked = shown.tracking()
        found = sum(any(masks.values()) for masks in tracked.values())
        say(f"found on {found} of {session.reply.total_frame} frames")
        if tracking:
            write_bytes(tracking, tracking_to_json(tracked).encode())
    except BadReplyError as error:  # the format of the tracking file is not documented
        if tracking:
            raise
        say(f"on how many frames it was found cannot be told: {error}", err=True)


def _save(get_task: Callable[[], "EditTask"], output: Path, *, resumable: bool = True) -> None:
    """Wait for a task and save its video; if that is interrupted, say how to fetch it later.

    `resumable` says whether the service will still have the task then.
    """
    from klingmask.kling import TaskFailedError

    name = None
    try:
        task = get_task()
        name = task.task.task_id
        say(f"task {name}, external id {task.task.external_task_id}")
        _download(task.wait(progress=shows_progress()), output)
    except TaskFailedError:
        raise
    except BaseException as error:  # also KeyboardInterrupt and Terminated
        for note in getattr(error, "__notes__", ()):
            say(note, err=True)
        name = name or getattr(error, "external_task_id", None)  # of UnknownOutcomeError
        if name and resumable:
            command = shlex.join(["klingmask", "task", name, "-o", str(output)])
            say(f"the task may go on; this fetches its video: {command}", err=True)
        raise


@click.command()
@click.argument("name", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Wait for the task, and save its video here.",
)
def task(name: str, output: Path | None) -> None:
    """Show the status of a task of Kling's API, or save its video.

    ID is the task's id or its external id; `klingmask edit` prints both. The account is taken
    from the environment, as for `klingmask edit`. This command costs nothing.
    """
    from klingmask.kling import KlingClient

    check_files(output)
    with KlingClient() as client:
        found = client.task(name)
        if output is None:
            reason = f": {found.task.task_status_msg}" if found.task.task_status_msg else ""
            say(f"task {found.task.task_id}: {found.task.task_status}{reason}")
            return
        _save(lambda: found, output)
    say_where(output)


@click.command()
@click.argument("folders", type=click.Path(exists=True, file_okay=False), nargs=-1, required=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    help="The port of the API; 0 takes a free one.",
    show_default=True,
)
def serve(folders: tuple[str, ...], port: int) -> None:
    """Run an emulator of Kling's API on this machine, for the videos in FOLDERS."""
    from klingmask.emulator import running

    with suppress(KeyboardInterrupt, Terminated), ExitStack() as stack:
        try:
            emulator = stack.enter_context(running(*folders, port=port))
        except OSError as error:
            raise click.ClickException(f"--port {port} cannot be taken: {error}") from error
        say(f"KLING_BASE_URL={emulator.base_url}")
        say(f"KLING_API_KEY={emulator.api_key}")
        for number, folder in enumerate(folders):
            say(f"{folder}: {emulator.cdn_url}/files/{number}/")
        say("Ctrl-C ends it.")
        while True:  # not signal.pause(): a signal that another thread gets would not wake it
            time.sleep(0.2)


def _download(result: "Preview | EditTask", output: Path) -> None:
    """Save a video as other results are: also to a device, or where a link leads to."""
    with atomic_file(output) as part:
        result.download(part, progress=shows_progress())
