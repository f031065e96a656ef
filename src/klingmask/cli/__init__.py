"""The command line, `klingmask`.

`masks`, `drawing` and `service` have the commands. `inputs` and `outputs` have what commands
share: reading FILE, and writing results. `group` says how commands end.
"""

import io
import sys

try:
    import click
    import PIL  # noqa: F401 - so that a missing one is named here, with the extra that brings it
    import rich  # noqa: F401
except ImportError as error:
    sys.exit(f"the command line needs {error.name}: pip install 'klingmask[cli]'")

import klingmask as km
from klingmask.cli import drawing, masks, service
from klingmask.cli.group import Commands

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(km.__version__)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=0),
    help="The most pixels that a mask may have to be decoded.  [default: 268435456]",
)
def main(max_pixels: int | None) -> None:
    """Show, decode, encode and draw compressed run-length masks; edit videos by Kling's API.

    FILE is a JSON file with masks: a reply of Kling's Multi-Elements API, an rle, a list of
    rles, COCO results or annotations, an SA-1B or SA-V file. It may be compressed by gzip.
    "-" is standard input.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # its encoding may lack some characters
        sys.stdout.reconfigure(errors="backslashreplace")
    if max_pixels is not None:
        km.set_max_pixels(max_pixels)


for command in (
    *(masks.info, masks.decode, masks.encode),
    *(drawing.overlay, drawing.video, drawing.sheet),
    *(service.edit, service.task, service.serve),
):
    main.add_command(command)
