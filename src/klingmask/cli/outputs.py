"""-o and other results: checked before the work, written whole or not at all."""

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from klingmask.atomic import write_bytes
from klingmask.quoting import printable

__all__ = [
    "OUTPUT",
    "PNG_OUTPUT",
    "check_files",
    "check_not_an_input",
    "check_not_standard_output",
    "check_png",
    "is_device",
    "is_standard_output",
    "is_terminal",
    "say",
    "say_where",
    "shows_progress",
    "write",
    "write_png",
]

OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write.",
)
PNG_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help='The file to write; "-" is standard output.',
)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a standard stream, which may be closed, is a terminal."""
    return stream is not None and stream.isatty()


def shows_progress() -> bool:
    """Return whether a progress bar would be seen; in a log it is noise."""
    return is_terminal(sys.stderr)


def say(text: object, *, err: bool = False) -> None:
    """Print a line, with every character escaped that a terminal could take for a command."""
    click.echo(printable(str(text)), err=err)


def say_where(output: Path) -> None:
    """Print the name of a result, unless the result itself went to standard output."""
    with suppress(OSError):
        if is_standard_output(output) or os.path.samestat(output.stat(), os.fstat(1)):
            return
    say(output)


def is_standard_output(output: Path) -> bool:
    """Return whether the output is "-"."""
    return str(output) == "-"


def is_device(output: Path) -> bool:
    """Return whether the output exists and is neither a file nor a folder, but a device or pipe."""
    return output.exists() and not output.is_file() and not output.is_dir()


def check_not_standard_output(*outputs: Path) -> None:
    """Raise a UsageError if an output that is not a PNG is "-"."""
    if any(map(is_standard_output, outputs)):
        raise click.UsageError("only a PNG can go to standard output: give the name of a file")


def check_not_an_input(*inputs: str | Path, output: Path) -> None:
    """Raise a UsageError if the output would overwrite one of the inputs."""
    if is_standard_output(output) or not output.exists():
        return
    for path in map(Path, inputs):
        if path.exists() and output.samefile(path):
            raise click.UsageError(f"{output} is read, and would be lost: choose another -o")


def check_png(output: Path, option: str = "-o") -> None:
    """Raise a UsageError if the output of a PNG has the suffix of another format."""
    if output.suffix.lower() not in ("", ".png"):
        raise click.UsageError(f"a PNG is written: {option} {output.with_suffix('.png')}")


def check_files(*outputs: Path | None) -> None:
    """Raise a UsageError if one of these files cannot be written."""
    given = [path for path in outputs if path is not None]
    check_not_standard_output(*given)
    for index, path in enumerate(given):
        real = Path(os.path.realpath(path))  # where links lead to
        if not path.parent.is_dir() or not real.parent.is_dir():
            raise click.UsageError(f"there is no folder {path.parent} for {path.name}")
        if path.is_dir():
            raise click.UsageError(f"{path} is a folder; a file is written")
        if real.is_symlink():
            raise click.UsageError(f"{path} is a link that leads to no file")
        if not os.access(real if real.exists() else real.parent, os.W_OK):
            raise click.UsageError(f"{path} may not be written")
        if real in [Path(os.path.realpath(other)) for other in given[:index]]:
            raise click.UsageError(f"{path} is given for two results")


def write(content: bytes, output: Path) -> None:
    """Write a PNG to a file or, for "-", to standard output."""
    if not is_standard_output(output):
        write_bytes(output, content)
    elif is_terminal(sys.stdout):
        raise click.UsageError("standard output is a terminal: redirect it, or give -o a name")
    else:
        click.echo(content, nl=False)


def write_png(pixels: npt.NDArray[np.uint8], output: Path) -> None:
    """Write RGB or RGBA pixels as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    write(stream.getvalue(), output)
