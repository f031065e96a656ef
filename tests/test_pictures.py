"""Pictures are read as viewers show them, whoever opens them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import klingmask as km
from klingmask import pictures
from klingmask.pictures import PictureError, UnknownPictureError

QUARTERS = np.kron(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), np.ones((8, 8), np.uint8)) * 40


def content_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo(orientation: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 100} if kind == "JPEG" else {"lossless": True}
    return content_of(Image.fromarray(QUARTERS).convert(mode), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int, kind: str, tmp_path: Path) -> None:
    content = photo(orientation, kind)
    path = tmp_path / "photo"
    path.write_bytes(content)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        given = pictures.pixels_of(image)
        assert "exif" not in pictures.upright(image).info or orientation == 1
        assert pictures.orientation_of(pictures.upright(image)) == 1
    assert expected.shape[:2] == ((16, 24) if orientation < 5 else (24, 16))
    for found in (given, pictures.read_picture(path), pictures.read_picture(io.BytesIO(content))):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_lie_where_a_viewer_shows_things(orientation: int) -> None:
    """An image of Pillow's that is not turned yet is turned, and once."""
    with Image.open(io.BytesIO(photo(orientation))) as image:
        seen = np.asarray(ImageOps.exif_transpose(image))
        mask = km.Mask.from_bbox(seen.shape[:2], (1, 2, 7, 5))
        laid = km.overlay(image, mask)
        np.testing.assert_array_equal(np.asarray(laid), km.overlay(seen, mask))
        cut = km.cutout(image, mask)
        np.testing.assert_array_equal(np.asarray(cut), km.cutout(seen, mask))
        for result in (laid, cut):
            assert pictures.upright(result) is result
        turned = ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(np.asarray(km.overlay(turned, mask)), np.asarray(laid))


def test_metadata_that_is_no_orientation_is_passed_over() -> None:
    image = Image.fromarray(QUARTERS).convert("RGB")
    for exif in (b"Exif\0\0garbage", b"", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        with Image.open(io.BytesIO(content_of(image, "PNG", exif=exif))) as opened:
            np.testing.assert_array_equal(pictures.pixels_of(opened), np.asarray(image))
    for value in (0, 9, 65535):
        with Image.open(io.BytesIO(photo(value, "PNG"))) as opened:
            np.testing.assert_array_equal(pictures.pixels_of(opened), np.asarray(image))


def test_every_mode() -> None:
    grey = Image.fromarray(QUARTERS)
    for mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr"):
        found = pictures.pixels_of(grey.convert(mode))
        np.testing.assert_array_equal(found, np.asarray(grey.convert(mode).convert("RGB")))
    for mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        image = grey.convert("RGBA").convert(mode) if mode != "La" else grey.convert("LA")
        assert pictures.pixels_of(image).shape == (16, 24, 4)
    deep = Image.fromarray(QUARTERS.astype(np.uint16) * 256 + 7)
    np.testing.assert_array_equal(pictures.pixels_of(deep)[..., 1], QUARTERS)
    with Image.open(io.BytesIO(content_of(deep, "PNG"))) as opened:
        np.testing.assert_array_equal(pictures.pixels_of(opened)[..., 2], QUARTERS)
    for mode in ("I", "F"):
        with pytest.raises(PictureError, match="convert it to"):
            pictures.pixels_of(grey.convert(mode))


def test_what_cannot_be_read(tmp_path: Path, pixel_limit: Any) -> None:
    path = tmp_path / "picture.png"
    content = content_of(Image.effect_noise((80, 60), 50), "PNG")
    path.write_bytes(content[:500])
    with pytest.raises(PictureError, match=r"picture\.png is not a picture that can be read"):
        pictures.read_picture(path)
    path.write_bytes(b"no picture")
    with pytest.raises(UnknownPictureError):
        pictures.read_picture(path)
    with pytest.raises(FileNotFoundError):
        pictures.read_picture(tmp_path / "none.png")
    path.write_bytes(content)
    pixel_limit(4799)
    with pytest.raises(PictureError, match=r"60 x 80 pixels, over the limit of 4799"):
        pictures.read_picture(path)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_frames_of_animations(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "animation"
    first, *others = (Image.new("RGB", (8, 8), (80 * index,) * 3) for index in range(3))
    first.save(path, kind, save_all=True, append_images=others, lossless=True)
    assert [int(pictures.read_picture(path, frame)[4, 4, 0]) for frame in (0, 1, 2)] == [0, 80, 160]
    with pytest.raises(IndexError, match="frame 3 of an animation with 3 frames"):
        pictures.read_picture(path, 3)
    path.write_bytes(photo(1))
    assert pictures.read_picture(path, 57).shape == (16, 24, 3)


def test_content_that_is_cut_off() -> None:
    with pytest.raises(PictureError, match="not a picture that can be read"):
        pictures.upright_content(photo(6)[:-400])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_content_is_written_anew_only_to_turn_it(kind: str) -> None:
    for orientation in range(1, 9):
        content = photo(orientation, kind)
        turned = pictures.upright_content(content)
        assert (turned == content) == (orientation == 1)
        with Image.open(io.BytesIO(turned)) as found, Image.open(io.BytesIO(content)) as given:
            assert found.format == kind
            assert pictures.orientation_of(found) == 1
            expected = np.asarray(ImageOps.exif_transpose(given)).astype(int)
            assert np.abs(np.asarray(found) - expected).max() <= (12 if kind == "JPEG" else 0)


def test_content_of_a_phone_with_a_second_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    first, second = Image.fromarray(QUARTERS).convert("RGB"), Image.new("RGB", (8, 8))
    content = content_of(first, "MPO", save_all=True, append_images=[second], exif=exif)
    with Image.open(io.BytesIO(content)) as given:
        assert given.format == "MPO"
    with Image.open(io.BytesIO(pictures.upright_content(content))) as found:
        assert (found.format, found.size) == ("JPEG", (16, 24))
