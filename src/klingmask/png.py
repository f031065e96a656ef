"""Masks as PNG images; imported only when a PNG is read or written.

A PNG of a few bytes may claim to be huge, one that was cut off may look whole, and Pillow makes
four bytes of every pixel. So the chunks are read here, by the specification (PNG, third edition,
W3C 2025), and the pixels some rows at a time; Pillow undoes the filters of the rows.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from klingmask import RLEError, get_max_pixels

try:
    from PIL import ExifTags, Image
    from PIL.PngImagePlugin import PngImageFile
except ImportError as error:
    raise ImportError("PNG images need Pillow: pip install 'klingmask[image]'") from error

from klingmask.pictures import TURNS

__all__ = ["read_png", "write_png"]

Pixels = npt.NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GREY, COLOR, PALETTE, GREY_ALPHA, COLOR_ALPHA = 0, 2, 3, 4, 6

CHANNELS = {GREY: 1, COLOR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOR_ALPHA: 4}

DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    COLOR: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    COLOR_ALPHA: (8, 16),
}
"""Bits a channel, by the type of colour."""

LAST_FILTER = 4

PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
"""First row and column, and the steps down and across, of the passes of an interlaced image."""

BLOCK = 1 << 20
"""Bytes that are inflated, and have their filters undone, at a time."""


LONGEST_ROW = 1 << 26
"""Bytes of a row of pixels of more than a byte, for a row is held a few times."""


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    kind: int
    interlaced: bool

    @property
    def pixel_bits(self) -> int:
        return self.depth * CHANNELS[self.kind]

    def passes(self) -> list[tuple[int, int, int, int]]:
        """First row and column, and the steps, of those passes that have pixels."""
        if not self.interlaced:
            return [(0, 0, 1, 1)]
        return [one for one in PASSES if one[0] < self.height and one[1] < self.width]

    def size(self, top: int, left: int, down: int, across: int) -> tuple[int, int]:
        """Rows and columns of a pass."""
        return -(-(self.height - top) // down), -(-(self.width - left) // across)

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row, without the one that names its filter."""
        return -(-columns * self.pixel_bits // 8)

    def inflated(self) -> int:
        """Bytes of the whole image."""
        sizes = [self.size(*one) for one in self.passes()]
        return sum(rows * (1 + self.row_bytes(columns)) for rows, columns in sizes)


class _Png(NamedTuple):
    header: _Header
    data: list[memoryview]
    """What is in the IDAT chunks."""
    clear: bytes | None
    """What is in the tRNS chunk."""
    exif: bytes | None


def read_png(source: bytes | str | PathLike[str]) -> npt.NDArray[np.bool_]:
    """Read a PNG as a mask.

    A palette image counts indices, not colours: index 0 is background, as in
    the label images of the field.

    Parameters
    ----------
    source : bytes or path
        The PNG's content, or where it is: any colour type and depth, interlaced or
        not. Of an animated one, the picture that viewers of plain PNGs show.

    Returns
    -------
    ndarray, shape (h, w), bool
        True where a pixel is neither black nor clear; upright, if the PNG says how.

    Raises
    ------
    RLEError
        If it is not a PNG, is damaged or not whole, or has more pixels than
        `set_max_pixels` allows. Nothing of the image's size is allocated before that is known.

    Examples
    --------
    >>> read_png("mask.png").shape  # doctest: +SKIP
    (540, 960)
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        png = _parsed(memoryview(content))
        header, limit = png.header, get_max_pixels()
        if limit is not None and header.width * header.height > limit:
            raise RLEError(
                f"the PNG has {header.height} x {header.width} pixels, over the limit of "
                f"{limit}; klingmask.set_max_pixels() raises it"
            )
        _check_length(png)
        lit = _lit(png)
    except (_DamagedError, zlib.error, struct.error) as error:
        raise RLEError(f"not a PNG that can be read: {error}") from error
    turn = TURNS.get(_orientation(png.exif))
    if turn is None:
        return lit
    turned = Image.fromarray(lit.view(np.uint8)).transpose(turn)
    return np.asarray(turned).view(bool)


def write_png(pixels: Pixels) -> bytes:
    """Write pixels as a PNG.

    Parameters
    ----------
    pixels : ndarray, uint8, shape (h, w), (h, w, 3) or (h, w, 4)
        Greyscale, RGB or RGBA.

    Returns
    -------
    bytes

    Raises
    ------
    RLEError
        If there are no pixels, for a PNG has at least one.

    Examples
    --------
    >>> write_png(np.zeros((2, 2), np.uint8))[1:4]
    b'PNG'
    """
    if pixels.size == 0:
        raise RLEError(f"a PNG has at least one pixel; the size is {pixels.shape[:2]}")
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


class _DamagedError(Exception):
    """What is wrong with a PNG."""


def _chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk up to the last, whose checksums are right."""
    if content[:8] != SIGNATURE:
        raise _DamagedError("it does not begin as a PNG does")
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if len(content) - place < 12:
            raise _DamagedError(f"it ends at byte {len(content)}, before its last chunk")
        size, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + size]
        end = place + 8 + size
        if len(content) - end < 4:
            raise _DamagedError(f"it ends at byte {len(content)}, in the chunk at byte {place}")
        if struct.unpack_from(">I", content, end) != (zlib.crc32(data, zlib.crc32(kind)),):
            raise _DamagedError(f"the checksum of the chunk at byte {place} is wrong")
        yield kind, data
        place = end + 4


def _parsed(content: memoryview) -> _Png:
    """What matters of the chunks, which are where they may be."""
    header: _Header | None = None
    data: list[memoryview] = []
    clear = exif = None
    palette, before = False, b""
    for kind, chunk in _chunks(content):
        if (header is None) != (kind == b"IHDR"):
            raise _DamagedError("it does not start with its one header")
        if kind == b"IHDR":
            header = _header(chunk)
        elif kind == b"IDAT":
            if data and before != b"IDAT":
                raise _DamagedError("there is something between its pixels")
            data.append(chunk)
        elif kind in (b"PLTE", b"tRNS") and data:
            raise _DamagedError("its palette, or what is clear, comes after the pixels")
        elif kind == b"PLTE":
            palette = True
        elif kind == b"tRNS":
            clear = bytes(chunk)
        elif kind == b"eXIf":
            exif = bytes(chunk)
        elif kind != b"IEND" and not kind[0] & 0x20:  # of a kind that must be understood
            raise _DamagedError(f"it has a chunk of the kind {kind!r}, which is none of PNG's")
        before = kind
    if header is None or not data:
        raise _DamagedError("it has no pixels")
    if header.kind == PALETTE and not palette:
        raise _DamagedError("it has no palette")
    if clear is not None:
        if header.kind == PALETTE and len(clear) > 256:
            raise _DamagedError(f"{len(clear)} alphas for 256 indices")
        if header.kind in (GREY, COLOR) and len(clear) != 2 * CHANNELS[header.kind]:
            raise _DamagedError("what it says to be clear is no colour of its own")
    return _Png(header, data, clear, exif)


def _header(chunk: memoryview) -> _Header:
    width, height, depth, kind, compression, filters, interlace = struct.unpack(">IIBBBBB", chunk)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise _DamagedError(f"its size is {height} x {width}")
    if depth not in DEPTHS.get(kind, ()) or compression or filters or interlace > 1:
        raise _DamagedError("its header names what PNG does not have")
    return _Header(width, height, depth, kind, interlace == 1)


def _inflated(data: list[memoryview]) -> Iterator[bytes]:
    """What was compressed, block by block; it must have an end, and the right checksum."""
    stream = zlib.decompressobj()
    for chunk in data:
        rest: bytes | memoryview = chunk
        while len(rest) and not stream.eof:
            yield stream.decompress(rest, BLOCK)
            rest = stream.unconsumed_tail
    while not stream.eof:
        block = stream.decompress(b"", BLOCK)
        if not block and not stream.eof:
            raise _DamagedError("its pixels are cut off")
        yield block


def _check_length(png: _Png) -> None:
    """See to it that the pixels are as many as the header says, keeping none."""
    expected, found = png.header.inflated(), 0
    for block in _inflated(png.data):
        found += len(block)
        if found > expected:
            raise _DamagedError(f"it has more pixels than the {expected} bytes its header tells")
    if found < expected:
        raise _DamagedError(f"it has {found} of the {expected} bytes of pixels its header tells")


def _lit(png: _Png) -> npt.NDArray[np.bool_]:
    """Where a pixel is neither black nor clear."""
    header = png.header
    lit = np.empty((header.height, header.width), np.bool_)
    unit = max(1, header.pixel_bits // 8)  # bytes from one to its left neighbour, for filters
    stream = _Stream(png.data)
    for top, left, down, across in header.passes():
        rows, columns = header.size(top, left, down, across)
        wide = header.row_bytes(columns)
        if unit > 1 and wide > LONGEST_ROW:
            raise _DamagedError(f"it has rows of {wide} bytes; the limit is {LONGEST_ROW}")
        above: Pixels = np.zeros(wide, np.uint8)
        out = lit[top::down, left::across]
        done = 0
        while done < rows:
            many = min(rows - done, max(1, BLOCK // (wide + 1)))
            filtered = stream.take(many * (wide + 1)).reshape(many, wide + 1)
            pixels = _unfiltered(filtered, above, unit)
            above = pixels[-1].ravel()
            samples = _samples(pixels, header, columns)
            out[done : done + many] = _lit_samples(header, samples, png.clear)
            done += many
    return lit


class _Stream:
    """What was compressed, as many bytes at a time as are wanted."""

    def __init__(self, data: list[memoryview]) -> None:
        self._blocks = _inflated(data)
        self._rest = b""

    def take(self, size: int) -> Pixels:
        parts, missing = [self._rest], size - len(self._rest)
        while missing > 0:
            parts.append(next(self._blocks))
            missing -= len(parts[-1])
        joined = b"".join(parts)
        self._rest = joined[size:]
        return np.frombuffer(joined, np.uint8, size)


def _unfiltered(filtered: Pixels, above: Pixels, unit: int) -> Pixels:
    """Undo the filters of rows, by Pillow; (rows, columns, unit).

    A filter changes a byte by those `unit` bytes to the left, above, and above that one. So any
    pixel of up to four bytes may pass for one of a grey image, with alpha or in colour, of eight
    bits; a larger one is two, in images of which one is below the other. Each begins with the row
    above, which needs no filter.
    """
    if filtered[:, 0].max() > LAST_FILTER:
        raise _DamagedError("it has a row with a filter that PNG does not have")
    rows, columns, parts = len(filtered) + 1, len(above) // unit, 1 + (unit > 4)
    raw = np.concatenate([above[None], filtered[:, 1:]])
    images = np.zeros((parts, rows, 1 + columns * unit // parts), np.uint8)
    images[:, 1:, 0] = filtered[:, 0]
    images[:, :, 1:] = (
        raw.reshape(rows, columns, parts, -1).transpose(2, 0, 1, 3).reshape(parts, rows, -1)
    )
    kind = (GREY, GREY_ALPHA, COLOR, COLOR_ALPHA)[unit // parts - 1]
    header = struct.pack(">IIBBBBB", columns, parts * rows, 8, kind, 0, 0, 0)
    stream = BytesIO(
        SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(images.data, 0))
        + _chunk(b"IEND", b"")
    )
    # Not Image.open, whose limit is for the whole process.
    with PngImageFile(stream) as image:
        whole = np.asarray(image).reshape(parts, rows, columns, -1)[:, 1:]
    return whole[0] if parts == 1 else np.concatenate([whole[0], whole[1]], axis=-1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _samples(
    pixels: Pixels, header: _Header, columns: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Numbers of the channels; (rows, columns, channels)."""
    if header.depth == 16:
        return pixels.view(">u2")
    if header.depth == 8:
        return pixels
    bits = np.unpackbits(pixels[..., 0], axis=-1)
    packed = np.zeros((len(pixels), pixels.shape[1] * 8 // header.depth), np.uint8)
    for place in range(header.depth):
        packed = packed << 1 | bits[:, place :: header.depth]
    return packed[:, :columns, None]


def _lit_samples(
    header: _Header, samples: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], clear: bytes | None
) -> npt.NDArray[np.bool_]:
    has_alpha = header.kind in (GREY_ALPHA, COLOR_ALPHA)
    lit: npt.NDArray[np.bool_] = samples[..., 0] != 0
    for channel in range(1, CHANNELS[header.kind] - has_alpha):
        lit |= samples[..., channel] != 0
    if has_alpha:
        lit &= samples[..., -1] != 0
    elif clear is not None and header.kind == PALETTE:  # an alpha for each index, up to a last one
        alphas = np.full(256, 255, np.uint8)
        alphas[: len(clear)] = np.frombuffer(clear, np.uint8)
        lit &= alphas[samples[..., 0]] != 0
    elif clear is not None:  # the one colour that is clear
        color = np.frombuffer(clear, ">u2") & ((1 << header.depth) - 1)
        lit &= (samples != color).any(axis=-1)
    return lit


def _orientation(exif: bytes | None) -> int:
    """The EXIF orientation, 1 if there is none that can be read."""
    if exif is None:
        return 1
    found = Image.Exif()
    try:
        found.load(exif)
        return int(found.get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow lets through what its parsing runs into; the mask does not need it
        return 1
