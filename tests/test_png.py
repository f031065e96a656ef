"""Masks as PNG files: round trips, and every kind of PNG that people have."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

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
        drawn(8, 0, b"\0\1\2\3", chunk(b"iCCP", b"a\0\1xx")),
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\0b") + drawn(16, 2, bytes(24))[8:],
    ],
    ids=["no pixels", "too many alphas", "another compression", "text first"],
)
def test_a_png_against_the_rules(content: bytes) -> None:
    with pytest.raises(km.RLEError, match="not a PNG that can be read"):
        km.Mask.from_png(content)


def mask_of(image: Image.Image, **options: Any) -> list[list[bool]]:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    pixels: list[list[bool]] = km.Mask.from_png(stream.getvalue()).to_numpy(dtype="bool").tolist()
    return pixels


def test_sixteen_bits_a_channel_are_refused() -> None:
    """Pillow keeps the upper eight of them: a dark pixel would be lost."""
    chunk = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    line = zlib.compress(bytes([0, 0, 5, 0, 5, 0, 5]))
    for name, data in ((b"IHDR", chunk), (b"IDAT", line), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + crc
    with pytest.raises(km.RLEError, match="16 bits a channel"):
        km.Mask.from_png(content)


def test_the_only_limit_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = km.Mask.from_bbox((300, 400), (5, 6, 70, 80))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert km.Mask.from_png(mask.to_png()) == mask
