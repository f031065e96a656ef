"""Read and write masks as PNG images. This module is imported only when a PNG is read or written.

The reader is careful with malformed and hostile files. It checks that a file has all rows before
it allocates memory for them, because a few bytes can claim to be a huge image. It decodes some rows
at a time, because Pillow would need four bytes for each pixel of the whole image. It follows the
PNG specification (third edition, W3C 2025) for the chunks; Pillow reverses the filters of the rows.
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

from klingmask.pictures import TRANSPOSITIONS

__all__ = ["read_png", "write_png"]

Bytes = npt.NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""The colour types."""

CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}

DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
"""Bits per channel that the specification allows."""

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
"""The passes of an interlaced image: first row, first column, distance of rows and of columns."""

BLOCK_BYTES = 1 << 20
"""How many bytes of rows are decoded at a time."""

MAX_COLOR_ROW_BYTES = 1 << 26
"""The longest row of an image with several bytes per pixel. A row is decoded as a whole, in several
arrays of its size. Rows of one byte per pixel are limited by the number of pixels."""


class _DamagedError(Exception):
    """What is wrong with a PNG."""


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    color_type: int
    interlaced: bool

    @property
    def pixel_bits(self) -> int:
        return self.depth * CHANNELS[self.color_type]

    def passes(self) -> list[tuple[int, int, int, int]]:
        """Return the passes that have pixels, as in `PASSES`."""
        if not self.interlaced:
            return [(0, 0, 1, 1)]
        return [each for each in PASSES if each[0] < self.height and each[1] < self.width]

    def pass_size(self, top: int, left: int, down: int, across: int) -> tuple[int, int]:
        """Return the number of rows and columns of a pass."""
        return -(-(self.height - top) // down), -(-(self.width - left) // across)

    def row_bytes(self, columns: int) -> int:
        """Return the bytes of a row, without the first one, which names the filter."""
        return -(-columns * self.pixel_bits // 8)

    def image_bytes(self) -> int:
        """Return the bytes of all rows."""
        sizes = [self.pass_size(*each) for each in self.passes()]
        return sum(rows * (1 + self.row_bytes(columns)) for rows, columns in sizes)


class _Png(NamedTuple):
    header: _Header
    data: list[memoryview]
    """The IDAT chunks: compressed rows."""
    transparency: bytes | None
    """The tRNS chunk: the alpha of palette entries, or one transparent colour."""
    exif: bytes | None
    """The eXIf chunk."""


def read_png(source: bytes | str | PathLike[str]) -> npt.NDArray[np.bool_]:
    """Read a PNG as a mask.

    Parameters
    ----------
    source : bytes or path
        The content of a PNG file, or its path. It may have any colour type and depth. Of an
        animated PNG, the picture is read that viewers without animations show.

    Returns
    -------
    ndarray, shape (h, w), bool
        True where a pixel is neither black nor fully transparent. If the PNG has a palette,
        True where the index is not 0, as in label images, and not that of a transparent colour.
        The mask is turned as the EXIF orientation of the PNG says.

    Raises
    ------
    RLEError
        If it is not a PNG, if it is damaged or incomplete, or if it has more pixels than
        `set_max_pixels` allows.

    Examples
    --------
    >>> read_png("mask.png").shape
    (30, 40)
    """
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        png = _parse(memoryview(content))
        header, limit = png.header, get_max_pixels()
        if limit is not None and header.width * header.height > limit:
            raise RLEError(
                f"the PNG has {header.height} x {header.width} pixels, over the limit of "
                f"{limit}; klingmask.set_max_pixels() raises it"
            )
        _check_complete(png)
        foreground = _foreground(png)
    except (_DamagedError, zlib.error, struct.error) as error:
        raise RLEError(f"not a PNG that can be read: {error}") from error
    operation = TRANSPOSITIONS.get(_orientation(png.exif))
    if operation is None:
        return foreground
    turned = Image.fromarray(foreground.view(np.uint8)).transpose(operation)
    return np.asarray(turned).view(bool)


def write_png(pixels: Bytes) -> bytes:
    """Write pixels as a PNG.

    Parameters
    ----------
    pixels : ndarray, shape (h, w), (h, w, 3) or (h, w, 4), uint8
        Greyscale, RGB or RGBA.

    Returns
    -------
    bytes

    Raises
    ------
    RLEError
        If there is no pixel. A PNG has at least one.

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


def _chunks(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the type and the data of each chunk, after checking their checksums."""
    if content[:8] != SIGNATURE:
        raise _DamagedError("it does not start with the signature of PNG")
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if len(content) - start < 12:
            raise _DamagedError(f"it ends at byte {len(content)}, before its last chunk")
        size, kind = struct.unpack_from(">I4s", content, start)
        data = content[start + 8 : start + 8 + size]
        end = start + 8 + size
        if len(content) - end < 4:
            raise _DamagedError(f"it ends at byte {len(content)}, in the chunk at byte {start}")
        if struct.unpack_from(">I", content, end) != (zlib.crc32(data, zlib.crc32(kind)),):
            raise _DamagedError(f"the checksum of the chunk at byte {start} is wrong")
        yield kind, data
        start = end + 4


def _parse(content: memoryview) -> _Png:
    """Read the chunks that a mask depends on."""
    header: _Header | None = None
    data: list[memoryview] = []
    transparency = exif = None
    has_palette, previous = False, b""
    for kind, chunk in _chunks(content):
        if (header is None) != (kind == b"IHDR"):
            raise _DamagedError("its first chunk, and only that, must be the header")
        if kind == b"IHDR":
            header = _parse_header(chunk)
        elif kind == b"IDAT":
            if data and previous != b"IDAT":
                raise _DamagedError("there is another chunk between those of its pixels")
            data.append(chunk)
        elif kind in (b"PLTE", b"tRNS") and data:
            raise _DamagedError(f"its {kind.decode()} chunk comes after the pixels")
        elif kind == b"PLTE":
            has_palette = True
        elif kind == b"tRNS":
            transparency = bytes(chunk)
        elif kind == b"eXIf":
            exif = bytes(chunk)
        elif kind != b"IEND" and not kind[0] & 0x20:  # a reader must know chunks in upper case
            raise _DamagedError(f"it has a chunk of the unknown type {kind!r}")
        previous = kind
    if header is None or not data:
        raise _DamagedError("it has no pixels")
    if header.color_type == PALETTE and not has_palette:
        raise _DamagedError("it has no palette")
    if transparency is not None:
        if header.color_type == PALETTE and len(transparency) > 256:
            raise _DamagedError(f"it has {len(transparency)} alpha values for 256 indices")
        if (
            header.color_type in (GREY, RGB)
            and len(transparency) != 2 * CHANNELS[header.color_type]
        ):
            raise _DamagedError("its transparent colour has the wrong number of channels")
    return _Png(header, data, transparency, exif)


def _parse_header(chunk: memoryview) -> _Header:
    width, height, depth, color_type, compression, filters, interlace = struct.unpack(
        ">IIBBBBB", chunk
    )
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise _DamagedError(f"its size is {height} x {width}")
    if depth not in DEPTHS.get(color_type, ()) or compression or filters or interlace > 1:
        raise _DamagedError("its header has values that PNG does not define")
    return _Header(width, height, depth, color_type, interlace == 1)


def _decompressed(data: list[memoryview]) -> Iterator[bytes]:
    """Yield the rows in blocks. The zlib stream must have an end and the right checksum."""
    stream = zlib.decompressobj()
    for chunk in data:
        rest: bytes | memoryview = chunk
        while len(rest) and not stream.eof:
            yield stream.decompress(rest, BLOCK_BYTES)
            rest = stream.unconsumed_tail
    while not stream.eof:
        block = stream.decompress(b"", BLOCK_BYTES)
        if not block and not stream.eof:
            raise _DamagedError("its compressed data ends too early")
        yield block


def _check_complete(png: _Png) -> None:
    """Raise an error unless there are as many bytes of rows as the size of the image needs."""
    expected, found = png.header.image_bytes(), 0
    for block in _decompressed(png.data):
        found += len(block)
        if found > expected:
            raise _DamagedError(f"it has more than the {expected} bytes of pixels of its size")
    if found < expected:
        raise _DamagedError(f"it has {found} of the {expected} bytes of pixels of its size")


def _foreground(png: _Png) -> npt.NDArray[np.bool_]:
    header = png.header
    foreground = np.empty((header.height, header.width), np.bool_)
    pixel_bytes = max(1, header.pixel_bits // 8)
    stream = _RowStream(png.data)
    for top, left, down, across in header.passes():
        rows, columns = header.pass_size(top, left, down, across)
        row_bytes = header.row_bytes(columns)
        if pixel_bytes > 1 and row_bytes > MAX_COLOR_ROW_BYTES:
            raise _DamagedError(
                f"its rows have {row_bytes} bytes; the limit is {MAX_COLOR_ROW_BYTES}"
            )
        above: Bytes = np.zeros(row_bytes, np.uint8)
        out = foreground[top::down, left::across]
        done = 0
        while done < rows:
            n = min(rows - done, max(1, BLOCK_BYTES // (row_bytes + 1)))
            filtered = stream.take(n * (row_bytes + 1)).reshape(n, row_bytes + 1)
            pixels = _unfiltered(filtered, above, pixel_bytes)
            above = pixels[-1].ravel()
            samples = _samples(pixels, header.depth, columns)
            out[done : done + n] = _is_foreground(samples, header, png.transparency)
            done += n
    return foreground


class _RowStream:
    """The decompressed rows, to be read in pieces of any size."""

    def __init__(self, data: list[memoryview]) -> None:
        self._blocks = _decompressed(data)
        self._rest = b""

    def take(self, size: int) -> Bytes:
        parts, missing = [self._rest], size - len(self._rest)
        while missing > 0:
            parts.append(next(self._blocks))
            missing -= len(parts[-1])
        joined = b"".join(parts)
        self._rest = joined[size:]
        return np.frombuffer(joined, np.uint8, size)


def _unfiltered(filtered: Bytes, above: Bytes, pixel_bytes: int) -> Bytes:
    """Reverse the filters of some rows.

    A filter predicts a byte from the bytes of the same position in the pixels to the left, above,
    and above to the left. It does not depend on what the bytes mean. So Pillow can do the work on
    an 8-bit image with as many channels as a pixel has bytes. Pixels of 6 and 8 bytes are divided
    into two halves, in images of which one is below the other. Each image starts with the row above
    the given ones, unfiltered.

    Parameters
    ----------
    filtered : ndarray, shape (rows, 1 + row_bytes), uint8
        The first byte of each row names its filter.
    above : ndarray, shape (row_bytes,), uint8
        The row above, without a filter.
    pixel_bytes : int
        Bytes per pixel, 1 if a pixel has less than a byte.

    Returns
    -------
    ndarray, shape (rows, row_bytes / pixel_bytes, pixel_bytes), uint8
    """
    if filtered[:, 0].max() > LAST_FILTER:
        raise _DamagedError("it has a row with an unknown filter")
    rows, columns = len(filtered) + 1, len(above) // pixel_bytes
    parts = 2 if pixel_bytes > 4 else 1
    raw = np.concatenate([above[None], filtered[:, 1:]])
    images = np.zeros((parts, rows, 1 + columns * pixel_bytes // parts), np.uint8)
    images[:, 1:, 0] = filtered[:, 0]
    images[:, :, 1:] = (
        raw.reshape(rows, columns, parts, -1).transpose(2, 0, 1, 3).reshape(parts, rows, -1)
    )
    color_type = (GREY, GREY_ALPHA, RGB, RGBA)[pixel_bytes // parts - 1]
    header = struct.pack(">IIBBBBB", columns, parts * rows, 8, color_type, 0, 0, 0)
    stream = BytesIO(
        SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(images.data, 0))
        + _chunk(b"IEND", b"")
    )
    # Image.open has a limit on pixels that can be changed for the whole process only.
    with PngImageFile(stream) as image:
        halves = np.asarray(image).reshape(parts, rows, columns, -1)[:, 1:]
    return halves[0] if parts == 1 else np.concatenate([halves[0], halves[1]], axis=-1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _samples(
    pixels: Bytes, depth: int, columns: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Return the numbers in the channels of pixels: (rows, columns, channels)."""
    if depth == 16:
        return pixels.view(">u2")
    if depth == 8:
        return pixels
    bits = np.unpackbits(pixels[..., 0], axis=-1)
    samples = np.zeros((len(pixels), pixels.shape[1] * 8 // depth), np.uint8)
    for place in range(depth):
        samples = samples << 1 | bits[:, place::depth]
    return samples[:, :columns, None]


def _is_foreground(
    samples: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    header: _Header,
    transparency: bytes | None,
) -> npt.NDArray[np.bool_]:
    """Return where samples (rows, columns, channels) are neither black nor transparent."""
    has_alpha = header.color_type in (GREY_ALPHA, RGBA)
    foreground: npt.NDArray[np.bool_] = samples[..., 0] != 0
    for channel in range(1, CHANNELS[header.color_type] - has_alpha):
        foreground |= samples[..., channel] != 0
    if has_alpha:
        foreground &= samples[..., -1] != 0
    elif transparency is not None and header.color_type == PALETTE:
        alphas = np.full(256, 255, np.uint8)  # indices without a value are opaque
        alphas[: len(transparency)] = np.frombuffer(transparency, np.uint8)
        foreground &= alphas[samples[..., 0]] != 0
    elif transparency is not None:
        color = np.frombuffer(transparency, ">u2") & ((1 << header.depth) - 1)
        foreground &= (samples != color).any(axis=-1)
    return foreground


def _orientation(exif: bytes | None) -> int:
    """Return the EXIF orientation; 1 if there is none, or the metadata is malformed."""
    if exif is None:
        return 1
    found = Image.Exif()
    try:
        found.load(exif)
        return int(found.get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises errors of many types; the mask is readable all the same
        return 1
