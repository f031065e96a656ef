"""FILE and --where: the masks that a command works on."""

import shlex
from pathlib import Path
from typing import BinaryIO

import click

import klingmask as km
from klingmask.cli.advice import in_options
from klingmask.datasets import LabelledMasks, read_masks
from klingmask.datasets.documents import format_of
from klingmask.quoting import quoted

__all__ = ["FILE", "FILE_BEFORE_ANOTHER", "WHERE", "masks_of"]

FILE = click.argument("file", type=click.File("rb"), default="-")
# With a second argument after it FILE is required: click cannot tell which one is left out.
FILE_BEFORE_ANOTHER = click.argument("file", type=click.File("rb"))
WHERE = click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only masks with this label, for example frame=30. "
    "If a KEY is given several times, any of its values will do.",
)

LONGEST_SIGNATURE = 512  # bytes from which `format_of` tells the format of a file


def masks_of(file: BinaryIO, where: tuple[str, ...], second: Path | None = None) -> LabelledMasks:
    """Read the masks of FILE that `where` chooses.

    Parameters
    ----------
    file : binary file
    where : tuple of str
        KEY=VALUE each.
    second : Path, optional
        The picture or video that was given after FILE: for the message if the two were given
        in the wrong order.
    """
    wanted: dict[str, list[str]] = {}
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals:
            raise click.BadParameter(f"{quoted(condition)} is not KEY=VALUE", param_hint="--where")
        wanted.setdefault(key, []).append(value)
    start = file.read(LONGEST_SIGNATURE)
    other = format_of(start)
    if other is not None and other != "a gzip file":  # a video is not read to its end for this
        hint = _hint(file, second)
        raise click.ClickException(f"{file.name}: not a JSON file, but {other}{hint}")
    try:
        chosen = read_masks(start + file.read()).where(**wanted)
    except km.RLEError as error:
        raise click.ClickException(f"{file.name}: {in_options(error)}") from error
    if wanted and not chosen.labels:
        raise click.ClickException(f"{file.name}: no mask has {' and '.join(where)}")
    return chosen


def _hint(file: BinaryIO, second: Path | None) -> str:
    if second is None:
        return "; `klingmask encode` makes masks of PNG files"
    command = click.get_current_context().info_name or ""
    words = shlex.join(["klingmask", command, str(second), file.name])
    return f"; the masks come first: {words} -o ..."
