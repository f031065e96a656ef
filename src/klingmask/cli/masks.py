"""`info`, `decode` and `encode`: what is in a file of masks, and masks as pixels."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

import klingmask as km
from klingmask.atomic import atomic_file, atomic_folder, write_bytes
from klingmask.cli.advice import in_options
from klingmask.cli.inputs import FILE, WHERE, masks_of
from klingmask.cli.outputs import (
    PNG_OUTPUT,
    check_not_an_input,
    is_device,
    is_standard_output,
    is_terminal,
    say_where,
    write,
)
from klingmask.datasets import LabelledMasks
from klingmask.quoting import printable, quoted

__all__ = ["decode", "encode", "info"]

MAX_ROWS = 100  # of a table
MAX_CELL = 60  # characters of a text in a table
ROWS_AT_ONCE = 1000  # of JSON, written with one call


@click.command()
@FILE
@WHERE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def info(file: BinaryIO, where: tuple[str, ...], as_json: bool) -> None:
    """Show the masks of FILE: their labels, sizes, areas and boxes."""
    found = masks_of(file, where)
    if as_json:
        _print_json(found)
    else:
        _print_table(found, file.name)


def _rows(found: LabelledMasks) -> Iterator[dict[str, Any]]:
    """Yield the labels, size, area and box of each mask."""
    sizes, areas, boxes = found.masks.size, found.masks.area, found.masks.bbox
    for index, labels in enumerate(found.labels):
        yield {
            **labels,
            "size": sizes[index].tolist(),
            "area": int(areas[index]),
            "bbox": boxes[index].tolist(),
        }


def _print_json(found: LabelledMasks) -> None:
    click.echo(f'{{"kind": {json.dumps(found.kind)}, "masks": [', nl=False)
    rows, separator = _rows(found), ""
    while chunk := list(islice(rows, ROWS_AT_ONCE)):
        # json escapes all control characters but this one.
        text = ", ".join(map(json.dumps, chunk)).replace("\x7f", "\\u007f")
        click.echo(separator + text, nl=False)
        separator = ", "
    click.echo("]}")


def _print_table(found: LabelledMasks, name: str) -> None:
    n = len(found.masks)
    rows = list(islice(_rows(found), MAX_ROWS))
    keys = list(dict.fromkeys(key for row in rows for key in row))
    # Text, because rich would take brackets in a str for markup.
    title = Text(
        printable(f"{name}: {found.kind}, {n} {'mask' if n == 1 else 'masks'}"), "table.title"
    )
    table = Table("mask", *keys, title=title)
    if n > len(rows):
        table.caption = f"the first {len(rows)}; --where chooses others, --json tells all"
    for index, row in enumerate(rows):
        table.add_row(str(index), *(Text(_cell(row.get(key, ""))) for key in keys))
    console = Console() if is_terminal(sys.stdout) else Console(width=160)
    console.print(table)


def _cell(value: object) -> str:
    return printable(value[:MAX_CELL]) if isinstance(value, str) else quoted(value)


@click.command()
@FILE
@WHERE
@PNG_OUTPUT
def decode(file: BinaryIO, where: tuple[str, ...], output: Path) -> None:
    """Write the masks of FILE as pixels.

    If the output is called *.npy, it is one array (n, h, w) of 0 and 1. If it is called *.png,
    it is the PNG of a single mask. Else it is a folder with one PNG for each mask.
    """
    check_not_an_input(file.name, output=output)
    suffix = output.suffix.lower()
    if suffix not in ("", ".npy", ".png") and not output.is_dir():
        raise click.UsageError(
            f"-o takes .png, .npy or a folder; {output} is none: make the folder first"
        )
    masks = masks_of(file, where).masks
    if suffix == ".npy":
        _write_npy(masks, output)
    elif suffix == ".png" or is_standard_output(output) or is_device(output):
        if len(masks) != 1:
            raise click.ClickException(
                f"{len(masks)} masks do not fit one PNG: choose one with --where, "
                "or give a folder or a .npy"
            )
        write(masks[0].to_png(), output)
    else:
        with atomic_folder(output) as folder:
            for index, mask in enumerate(masks):
                (folder / f"{index:05d}.png").write_bytes(mask.to_png())
    say_where(output)


def _write_npy(masks: km.MaskArray, output: Path) -> None:
    """Write as np.save does. On a full disk, np.save raises an error without the reason."""
    pixels = masks.to_numpy()
    with atomic_file(output) as part, part.open("wb") as stream:
        header = np.lib.format.header_data_from_array_1_0(pixels)
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(pixels.data)


@click.command()
@click.argument("pictures", type=click.File("rb"), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="-",
    help="The file to write; standard output if left out.",
)
def encode(pictures: tuple[BinaryIO, ...], output: Path) -> None:
    """Write PNG files as JSON: an rle for one PICTURE, a list of rles for several.

    A pixel is foreground if it is neither black nor fully transparent.
    """
    check_not_an_input(*(picture.name for picture in pictures), output=output)
    rles = [_rle_of(picture) for picture in pictures]
    text = json.dumps(rles[0] if len(rles) == 1 else rles)
    if is_standard_output(output):
        click.echo(text)
    else:
        write_bytes(output, f"{text}\n".encode())


def _rle_of(picture: BinaryIO) -> dict[str, Any]:
    content = picture.read()
    try:
        return {**km.Mask.from_png(content).to_rle()}
    except ValueError as error:
        is_json = content.lstrip()[:1] in (b"{", b"[")
        hint = "; `klingmask decode` makes pictures of JSON" if is_json else ""
        raise click.ClickException(f"{picture.name}: {in_options(error)}{hint}") from error
