"""Masks as PNG files: round trips, and every kind of PNG that people have."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from PIL import Image, ImageOps

import klingmask as km
from tests.strategies import Array, arrays


def png(pixels: Any, mode: str | None = None) -> bytes:
    image = Image.fromarray(np.asarray(pixels))
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, "PNG")
    return stream.getvalue()


@given(arrays())
def test_round_trip(array: Array) -> None:
    mask = km.Mask.from_numpy(array)
    if not array.size:
        with pytest.raises(km.RLEError, match="at least one pixel"):
            mask.to_png()
        return
    content = mask.to_png()
    assert km.Mask.from_png(content) == mask
    assert mask._repr_png_() == content
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), array * np.uint8(255))


def test_every_kind_of_png(tmp_path: Path) -> None:
    expected = [[0, 1], [1, 0]]
    grey = np.array([[0, 255], [1, 0]], np.uint8)
    kinds = {
        "grey": png(grey),
        "bit": png(grey != 0),
        "16 bit": png(grey.astype(np.uint16) * 256),
        "palette": png(grey, "P"),
        "RGB": png(np.stack([grey * 0, grey, grey * 0], axis=-1)),
        "RGBA": png(np.stack([grey, grey, grey, grey * 0 + 255], axis=-1)),
        "RGBA, clear": png(np.stack([grey * 0 + 9] * 3 + [grey], axis=-1)),
        "grey with alpha": png(np.stack([grey * 0 + 9, grey], axis=-1)),
        "a layer": png(km.render_layer(km.Mask.from_numpy(grey))),
    }
    for kind, content in kinds.items():
        assert km.Mask.from_png(content).to_numpy().tolist() == expected, kind
    indexed = Image.fromarray(grey, "L").convert("P")
    indexed.putdata([0, 2, 1, 0])
    indexed.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])  # index 0 is white, yet background
    indexed.save(tmp_path / "labels.png")
    for source in (tmp_path / "labels.png", str(tmp_path / "labels.png")):
        assert km.Mask.from_png(source).to_numpy().tolist() == expected


def test_damaged_png(tmp_path: Path, pixel_limit: Any) -> None:
    content = km.Mask.from_bbox((20, 30), (1, 1, 9, 9)).to_png()
    for damaged in (b"", b"garbage", content[:50], content[:-20], content[:40] + b"x" * 20):
        with pytest.raises(km.RLEError, match="not a PNG that can be read"):
            km.Mask.from_png(damaged)
    jpeg = io.BytesIO()
    Image.new("L", (4, 4)).save(jpeg, "JPEG")
    with pytest.raises(km.RLEError, match="not a PNG"):
        km.Mask.from_png(jpeg.getvalue())
    with pytest.raises(FileNotFoundError):
        km.Mask.from_png(tmp_path / "none.png")
    pixel_limit(599)
    with pytest.raises(km.RLEError, match=r"limit of 599; klingmask\.set_max_pixels\(\)"):
        km.Mask.from_png(content)


def test_without_pillow() -> None:
    code = """
import sys
import zlib
sys.modules["PIL"] = None
import klingmask as km
mask = km.Mask.zeros((2, 2))
assert mask._repr_png_() is None
for call in (mask.to_png, lambda: km.Mask.from_png(b"")):
    try:
        call()
    except ImportError as error:
        assert "pip install 'klingmask[image]'" in str(error)
    else:
        raise SystemExit("it worked")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_service_sends_each_mask_twice() -> None:
    import base64
    import json

    from tests.conftest import shared_file

    reply = json.loads(shared_file("add_selection_reply.json").read_text())
    for entry in reply["data"]["res"]["rle_mask_list"]:
        mask = km.Mask.from_png(base64.b64decode(entry["png_mask"]["base64"]))
        assert mask == km.Mask.from_rle(entry["rle_mask"])


def test_what_is_clear_is_background() -> None:
    """Also where one colour, or an index of the palette, is said to be clear."""
    grey = np.array([[0, 7, 9]], np.uint8)
    assert mask_of(Image.fromarray(grey), transparency=9) == [[False, True, False]]
    colors = np.array([[[0, 0, 0], [7, 8, 9], [9, 9, 9]]], np.uint8)
    assert mask_of(Image.fromarray(colors), transparency=(7, 8, 9)) == [[False, False, True]]
    labels = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8), "P")
    labels.putpalette([0, 0, 0, 9, 9, 9, 5, 5, 5, 1, 1, 1])
    assert mask_of(labels, transparency=bytes([255, 0, 255])) == [[False, False, True, True]]
    assert mask_of(labels, transparency=2) == [[False, True, False, True]]


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def drawn(depth: int, kind: int, samples: bytes, *extra: bytes) -> bytes:
    """A PNG of one row of four pixels, by the specification (PNG, 3rd edition, 11)."""
    header = struct.pack(">IIBBBBB", 4, 1, depth, kind, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" + samples)) if samples else b""
    chunks = [chunk(b"IHDR", header), *extra, data, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("depth", "samples", "clear", "lit"),
    [
        (1, b"\x50", 1, [0, 0, 0, 0]),
        (1, b"\x50", 0, [0, 1, 0, 1]),
        (2, b"\x1b", 3, [0, 1, 1, 0]),
        (2, b"\x1b", 2, [0, 1, 0, 1]),
        (4, b"\xf1\x0e", 15, [0, 1, 0, 1]),
        (8, b"\xff\x01\x00\x0f", 15, [1, 1, 0, 0]),
    ],
)
def test_a_clear_grey_of_few_bits(depth: int, samples: bytes, clear: int, lit: list[int]) -> None:
    content = drawn(depth, 0, samples, chunk(b"tRNS", struct.pack(">H", clear)))
    assert km.Mask.from_png(content).to_numpy().tolist() == [lit]


@pytest.mark.parametrize(
    "content",
    [
        drawn(8, 0, b""),
        drawn(8, 3, b"\0\1\2\3", chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(300))),
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\0b") + drawn(16, 2, bytes(24))[8:],
    ],
    ids=["no pixels", "too many alphas", "text first"],
)
def test_a_png_against_the_rules(content: bytes) -> None:
    with pytest.raises(km.RLEError, match="not a PNG that can be read"):
        km.Mask.from_png(content)


def mask_of(image: Image.Image, **options: Any) -> list[list[bool]]:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    pixels: list[list[bool]] = km.Mask.from_png(stream.getvalue()).to_numpy(dtype="bool").tolist()
    return pixels


def interlaced(rows: list[bytes], width: int, bits: int) -> bytes:
    """The rows of an image, packed into those of the seven passes (PNG, 3rd edition, 8.1)."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
    passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    digits = [f"{int.from_bytes(row, 'big'):0{len(row) * 8}b}" for row in rows]
    result = b""
    for top, left, down, across in passes:
        for row in digits[top::down]:
            pixels = [row[x * bits : x * bits + bits] for x in range(left, width, across)]
            if pixels:
                line = "".join(pixels)
                line += "0" * (-len(line) % 8)
                result += b"\0" + int(line, 2).to_bytes(len(line) // 8, "big")
    return result


def image_file(
    size: tuple[int, int], depth: int, kind: int, data: bytes, *extra: bytes, interlace: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, kind, 0, 0, interlace)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


KINDS = [
    *[(0, depth) for depth in (1, 2, 4, 8, 16)],
    *[(3, depth) for depth in (1, 2, 4, 8)],
    *[(kind, depth) for kind in (2, 4, 6) for depth in (8, 16)],
]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def samples_of(rows: list[bytes], width: int, depth: int, kind: int) -> Any:
    """(height, width, channels) of Python's own integers."""
    count, step = CHANNELS[kind], depth * CHANNELS[kind]
    result = []
    for row in rows:
        digits = f"{int.from_bytes(row, 'big'):0{len(row) * 8}b}"
        result.append(
            [
                [int(digits[at + c * depth : at + (c + 1) * depth], 2) for c in range(count)]
                for at in range(0, width * step, step)
            ]
        )
    return result


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_every_colour_type_depth_and_filter(kind: int, depth: int, interlace: int) -> None:
    """By the specification alone: each sample is read, of each row, whatever its filter."""
    random = np.random.default_rng(kind * 100 + depth)
    for height, width in ((1, 1), (3, 2), (9, 13), (40, 33)):
        step = depth * CHANNELS[kind]
        row_bytes = -(-width * step // 8)
        drawn = random.integers(0, 256, (height, row_bytes), np.uint8)
        drawn[random.random((height, row_bytes)) < 0.7] = 0
        drawn[random.random((height, row_bytes)) < 0.1] = 1
        rows = [row.tobytes() for row in drawn]
        extra = [chunk(b"PLTE", bytes(3 * 256))] if kind == 3 else []
        if interlace:
            data = interlaced(rows, width, step)
        else:
            data = filtered(drawn, max(1, step // 8), random)
        content = image_file(
            (height, width), depth, kind, zlib.compress(data), *extra, interlace=interlace
        )
        expected = [
            [
                any(pixel[: CHANNELS[kind] - (kind in (4, 6))])
                and (kind not in (4, 6) or pixel[-1])
                for pixel in row
            ]
            for row in samples_of(rows, width, depth, kind)
        ]
        found = km.Mask.from_png(content).to_numpy()
        assert found.tolist() == [[int(bool(lit)) for lit in row] for row in expected]


def filtered(rows: Any, unit: int, random: np.random.Generator) -> bytes:
    """Rows with any of the five filters, by their definition (PNG, 3rd edition, 9.2)."""
    result, above = b"", np.zeros(rows.shape[1], int)
    for row in rows.astype(int):
        left = np.concatenate([np.zeros(unit, int), row[:-unit]])[: len(row)]
        corner = np.concatenate([np.zeros(unit, int), above[:-unit]])[: len(row)]
        estimate = left + above - corner
        distance = np.abs([estimate - left, estimate - above, estimate - corner])
        paeth = np.choose(np.argmin(distance, axis=0), [left, above, corner])
        kind = int(random.integers(0, 5))
        predicted = [0 * left, left, above, (left + above) // 2, paeth][kind]
        result += bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    return result


def test_large_images_are_read_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from klingmask import png as module

    rows = np.random.default_rng(0).integers(0, 3, (50, 40 * 8)).astype(np.uint8)
    content = image_file(
        (50, 40), 16, 6, zlib.compress(filtered(rows, 8, np.random.default_rng(1)))
    )
    whole = km.Mask.from_png(content)
    for block in (1, 700, 5000):
        monkeypatch.setattr(module, "BLOCK_BYTES", block)
        assert km.Mask.from_png(content) == whole


def test_a_dark_pixel_of_sixteen_bits_is_seen() -> None:
    """Pillow keeps the upper eight bits alone."""
    line = zlib.compress(bytes([0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    content = image_file((1, 2), 16, 2, line)
    assert km.Mask.from_png(content).to_numpy().tolist() == [[1, 0]]
    clear = chunk(b"tRNS", struct.pack(">HHH", 5, 0, 0))
    assert not km.Mask.from_png(image_file((1, 2), 16, 2, line, clear))


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("missing", [1, 7, 100])
def test_rows_that_are_missing_are_an_error(interlace: int, missing: int) -> None:
    """Though the zlib stream is whole, and all checksums are right."""
    rows = [bytes([1] * 20)] * 30
    data = interlaced(rows, 20, 8) if interlace else b"".join(b"\0" + row for row in rows)
    for wrong in (data[:-missing], data + bytes(missing)):
        content = image_file((30, 20), 8, 0, zlib.compress(wrong), interlace=interlace)
        with pytest.raises(km.RLEError, match=r"bytes of pixels of its size|more than the"):
            km.Mask.from_png(content)


def test_what_is_cut_off_or_out_of_place_is_an_error() -> None:
    data = zlib.compress(b"".join(b"\0" + bytes([1] * 20) for _ in range(30)))
    whole = image_file((30, 20), 8, 0, data)
    mask = km.Mask.from_png(whole)
    for size in range(len(whole)):
        with pytest.raises(km.RLEError, match="not a PNG that can be read"):
            km.Mask.from_png(whole[:size])
    assert km.Mask.from_png(whole + b"and more") == mask  # which no viewer looks at
    split = [chunk(b"IDAT", data[:9]), chunk(b"IDAT", b""), chunk(b"IDAT", data[9:])]
    header, end = whole[:33], chunk(b"IEND", b"")
    assert km.Mask.from_png(header + b"".join(split) + end) == mask
    text = chunk(b"tEXt", b"a\0b")
    for wrong in (
        header + split[0] + text + split[2] + end,  # something in between
        header + split[0] + end,  # a part alone
        header + chunk(b"IDAT", data[:-4]) + end,  # without the checksum of the stream
        header + chunk(b"IDAT", data[:-1] + b"?") + end,  # with a wrong one
        header + chunk(b"IDAT", data) + chunk(b"ABCD", b"") + end,  # what must be understood
        header + header[8:] + chunk(b"IDAT", data) + end,
        image_file((30, 20), 8, 0, zlib.compress(b"\5" + bytes(30 * 21 - 1))),  # a sixth filter
        image_file((0, 20), 8, 0, zlib.compress(b"")),
        image_file((30, 20), 3, 0, data),
        image_file((30, 20), 8, 3, data),  # no palette
        image_file((30, 20), 8, 0, data, chunk(b"tRNS", b"")),
        image_file((30, 20), 8, 0, data, interlace=2),
    ):
        with pytest.raises(km.RLEError, match="not a PNG that can be read"):
            km.Mask.from_png(wrong)
    changed = bytearray(whole)
    changed[20] ^= 1  # in the header, whose checksum tells
    with pytest.raises(km.RLEError, match="the checksum of the chunk at byte 8 is wrong"):
        km.Mask.from_png(bytes(changed))


def test_of_an_animation_the_picture_that_plain_viewers_show() -> None:
    stream = io.BytesIO()
    first, second = (Image.new("L", (4, 3), level) for level in (0, 255))
    first.putpixel((1, 2), 255)
    first.save(stream, "PNG", save_all=True, append_images=[second])
    assert km.Mask.from_png(stream.getvalue()).to_numpy().tolist() == [
        [0] * 4,
        [0] * 4,
        [0, 1, 0, 0],
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_is_read_upright(orientation: int) -> None:
    pixels = np.zeros((2, 3), np.uint8)
    pixels[0, 0] = pixels[0, 1] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue())))
    found = km.Mask.from_png(stream.getvalue()).to_numpy(value=255)
    np.testing.assert_array_equal(found, np.asarray(upright))


def test_a_few_bytes_that_claim_to_be_huge_cost_nothing() -> None:
    """And large colour images no more than their mask, besides a few rows."""
    short = image_file((16384, 16384), 8, 6, zlib.compress(bytes(1000)))
    size = 2048
    content = image_file((size, size), 16, 6, zlib.compress(bytes(size * (1 + size * 8))))
    mask, peak = allocated(lambda: km.Mask.from_png(content))
    assert mask == km.Mask.zeros((size, size))
    assert peak < 4 * size * size  # where the pixels of the file are 8 bytes each

    def refused() -> None:
        with pytest.raises(km.RLEError, match="1000 of the 1073758208 bytes"):
            km.Mask.from_png(short)

    assert allocated(refused)[1] < 4 << 20


def allocated(call: Any) -> tuple[Any, int]:
    """What a call returns, and the most bytes that Python and numpy had at a time for it."""
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_only_limit_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = km.Mask.from_bbox((300, 400), (5, 6, 70, 80))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert km.Mask.from_png(mask.to_png()) == mask
