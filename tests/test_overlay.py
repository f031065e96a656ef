"""overlay and render_layer, against the formula in exact rational arithmetic."""

import itertools
import multiprocessing
import re
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import klingmask as km
from klingmask.overlay import palette_color
from tests.strategies import Array, arrays

channel = st.integers(0, 255)


def nearest(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


def source_over(under: list[int], color: tuple[int, ...], alpha: int) -> list[int]:
    """Porter and Duff's "over" with straight alpha, rounded once, at the end."""
    a = Fraction(alpha, 255)
    below = (Fraction(under[3], 255) if len(under) == 4 else Fraction(1)) * (1 - a)
    cover = a + below
    mixed = [nearest((c * a + u * below) / cover) for c, u in zip(color, under, strict=False)]
    return mixed + ([nearest(cover * 255)] if len(under) == 4 else [])


@given(
    st.lists(st.tuples(channel, channel, channel, channel), min_size=1, max_size=30),
    st.tuples(channel, channel, channel),
    channel,
    st.sampled_from([3, 4]),
)
def test_every_pixel_is_source_over(
    pixels: list[tuple[int, ...]], color: tuple[int, ...], alpha: int, channels: int
) -> None:
    image = np.array([pixels], np.uint8)[:, :, :channels]
    mask = ~km.Mask.zeros(image.shape[:2])
    laid = km.overlay(image, mask, color, alpha / 255)
    expected = image[0].tolist()
    if alpha:
        expected = [source_over(under, color, alpha) for under in expected]
    assert laid[0].tolist() == expected


@given(arrays(), arrays())
def test_masks_are_laid_one_after_the_other(a: Array, b: Array) -> None:
    b = np.resize(b, a.shape) if b.size else np.zeros_like(a)
    image = np.random.default_rng(0).integers(0, 256, (*a.shape, 3)).astype(np.uint8)
    before = image.copy()
    colors = [(255, 0, 10), (0, 200, 30)]
    both = km.overlay(image, [km.encode(a), km.Mask.from_numpy(b)], colors, 0.5)
    step = km.overlay(image, km.encode(a), colors[0], 0.5)
    np.testing.assert_array_equal(both, km.overlay(step, km.Mask.from_numpy(b), [colors[1]], 0.5))
    np.testing.assert_array_equal(both[(a | b) == 0], image[(a | b) == 0])
    np.testing.assert_array_equal(image, before)
    assert km.overlay(image, iter([km.Mask.from_numpy(a)]), out=image) is image


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2**32 - 1)), min_size=1, max_size=6),
    st.sampled_from([3, 4]),
    st.integers(0, 2),
    st.sampled_from([0, 100, 255]),
)
def test_scattered_pixels_are_laid_in_their_turn(
    kinds: list[tuple[bool, int]], channels: int, outline: int, alpha: int
) -> None:
    """Masks of a few pixels in a large box are not drawn into bits; the order is the same."""
    rng = np.random.default_rng(kinds[0][1])
    image = rng.integers(0, 256, (40, 1000, channels)).astype(np.uint8)
    if kinds[0][0]:
        image[..., -1] = 255
    stack = np.zeros((len(kinds), 40, 1000), bool)
    for pixels, (scattered, seed) in zip(stack, kinds, strict=True):
        y, x = np.random.default_rng(seed).integers(0, [[37], [996]], (2, 8 if scattered else 90))
        for dy in range(1 if seed % 2 else 3):
            pixels[y + dy, x] = pixels[y + dy, x + dy] = True
    expected = image.copy()
    colors = rng.integers(0, 256, (len(kinds), 3))
    for pixels, color in zip(stack, colors, strict=True):
        inside = pixels
        for _ in range(outline):
            round_ = np.pad(inside, 1)
            inside = (
                inside & round_[:-2, 1:-1] & round_[2:, 1:-1] & round_[1:-1, :-2] & round_[1:-1, 2:]
            )
        for part, opacity in ((inside, alpha), (pixels & ~inside, 255 if outline else alpha)):
            blended = km.overlay(expected, ~km.Mask.zeros(part.shape), color, opacity / 255)
            expected = np.where(part[..., None], blended, expected)
    laid = km.overlay(image, km.MaskArray.from_numpy(stack), colors, alpha / 255, outline)
    np.testing.assert_array_equal(laid, expected)


def test_memory_does_not_grow_with_the_masks() -> None:
    """Each mask takes 2 MB as bits, twice that with an outline."""
    frame = ~km.Mask.zeros((4000, 4000)) - km.Mask.from_bbox((4000, 4000), (4, 4, 3992, 3992))
    image = np.zeros((4000, 4000, 3), np.uint8)
    tracemalloc.start()
    try:
        km.overlay(image, [frame] * 40, (9, 9, 9), 1, 1, out=image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image[:4].min() == 9
    assert not image[4:-4, 4:-4].any()
    assert peak < 10 << 20


def _lay_very_many() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    square = km.Mask.from_bbox((64, 64), (3, 3, 40, 40))
    km.overlay(image, [square] * 16000, overlap="majority", out=image)
    assert image[..., 0].any()
    size = (4000, 4000)
    corners = km.Mask.from_bbox(size, (0, 0, 1, 1)) | km.Mask.from_bbox(size, (3999, 3999, 1, 1))
    wide = np.zeros((*size, 3), np.uint8)
    for overlap in ("over", "majority"):
        km.overlay(wide, [corners] * 20000, (0, 0, 7), 1, 1, overlap=overlap, out=wide)
    assert wide.sum() == 14
    tall = np.zeros((1 << 20, 1, 3), np.uint8)
    dots = [km.Mask.from_bbox((1 << 20, 1), (0, 7919 * k % (1 << 20), 1, 1)) for k in range(20000)]
    km.overlay(tall, dots, (0, 0, 7), 1, out=tall)
    assert tall.sum() == 7 * 20000


def test_time_is_linear_in_the_masks() -> None:
    """Both took minutes; they take a fraction of a second."""
    process = multiprocessing.get_context("spawn").Process(target=_lay_very_many)
    process.start()
    process.join(60)
    slow = process.is_alive()
    process.kill()
    process.join()
    assert not slow
    assert process.exitcode == 0


def test_opacity_at_its_ends() -> None:
    image = np.full((2, 2, 3), 40, np.uint8)
    mask = km.Mask.from_bbox((2, 2), (0, 0, 1, 2))
    assert (km.overlay(image, mask, opacity=0) == image).all()
    assert km.overlay(image, mask, (1, 2, 3), opacity=1).tolist() == [[[1, 2, 3], [40] * 3]] * 2


def test_the_defaults_are_those_of_the_service() -> None:
    mask = km.Mask.from_bbox((1, 2), (0, 0, 1, 1))
    assert km.render_layer(mask).tolist() == [[[116, 255, 82, 163], [0, 0, 0, 0]]]
    black = np.zeros((1, 2, 4), np.uint8)
    np.testing.assert_array_equal(km.overlay(black, mask), km.render_layer(mask))
    assert km.render_layer(mask.to_rle(), (1, 2, 3, 4))[0, 0].tolist() == [1, 2, 3, 4]


def test_an_outline_runs_along_the_inside() -> None:
    image = np.zeros((7, 8, 3), np.uint8)
    mask = km.Mask.from_bbox((7, 8), (1, 1, 7, 5))  # touches the right border
    laid = km.overlay(image, mask, (255, 255, 255), opacity=100 / 255, outline=1)
    expected = np.zeros((7, 8), int)
    expected[1:6, 1:8] = 255
    expected[2:5, 2:7] = 100
    assert laid[..., 0].tolist() == expected.tolist()
    thick = km.overlay(image, mask, (255, 255, 255), opacity=0, outline=99)
    np.testing.assert_array_equal(thick[..., 0], mask.to_numpy(value=255))


def test_an_outline_is_as_wide_as_steps_of_one() -> None:
    array = np.ones((290, 410), bool)
    array[100:102, 60] = array[5, 300] = array[280, 390:] = False
    mask, black = km.Mask.from_numpy(array), np.zeros((*array.shape, 3), np.uint8)
    inside = array
    for width in range(1, 160):
        around = np.pad(inside, 1)
        inside = (
            inside & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        )
        laid = km.overlay(black, mask, (255, 255, 255), opacity=0, outline=width)
        np.testing.assert_array_equal(laid[..., 0] == 255, array & ~inside)
    assert not inside.any()


def test_colours_go_by_object() -> None:
    size = (1, 3)
    masks = {key: km.Mask.from_bbox(size, (x, 0, 1, 1)) for x, key in enumerate([7, 0, 3])}
    image = np.zeros((1, 3, 3), np.uint8)
    laid = km.overlay(image, masks, opacity=1)
    assert [tuple(pixel) for pixel in laid[0].tolist()] == [palette_color(i) for i in (7, 0, 3)]
    by_place = km.overlay(image, list(masks.values()), opacity=1)
    assert [tuple(pixel) for pixel in by_place[0].tolist()] == [palette_color(i) for i in range(3)]
    named = km.overlay(image, {"b": masks[7], "a": masks[0]}, {"a": (1, 1, 1), "b": (2, 2, 2)}, 1)
    assert named[0, :, 0].tolist() == [2, 1, 0]
    by_row = km.overlay(image, km.MaskArray.from_rles(masks.values()), np.eye(3, dtype=int) * 9, 1)
    assert by_row[0].tolist() == (np.eye(3) * 9).tolist()
    assert (km.overlay(image, []) == image).all()


# What remains of a linear RGB colour without one kind of cone (Machado, Oliveira and
# Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# IEEE TVCG 15, 2009; severity 1.0).
SIGHTS = {
    "trichromat": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanope": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(linear: Any) -> Any:
    """CIE L*a*b* (D65) of linear sRGB."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    relative = np.clip(linear, 0, 1) @ to_xyz.T / to_xyz.sum(1)
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_first_six_colours_differ_for_all_eyes(sight: str) -> None:
    srgb = np.array([palette_color(index) for index in range(6)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = lab(linear @ np.array(SIGHTS[sight]).T)
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 15  # just noticeable is 2.3


def test_ids_and_numbers_of_any_kind() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    mask = km.Mask.from_bbox((1, 2), (0, 0, 1, 1))
    assert km.overlay(image, {"\udcff": mask}).any()  # of a file name that is no text
    opacities: list[Any] = [np.int8(1), np.float32(1), 1, True]
    for opacity in opacities:
        assert km.overlay(image, mask, (9, 8, 7), opacity)[0, 0].tolist() == [9, 8, 7]


def test_colours_stay_with_their_objects() -> None:
    colors = [palette_color(index) for index in range(18)]
    assert len(set(colors)) == 18
    assert colors[0] == (116, 255, 82)
    assert palette_color(18) == palette_color(0) == palette_color(np.int64(0))
    assert palette_color("dog") == palette_color("dog") != palette_color("cat")
    image = np.zeros((2, 2, 3), np.uint8)
    dog, cat = km.Mask.from_bbox((2, 2), (0, 0, 1, 2)), km.Mask.from_bbox((2, 2), (1, 0, 1, 2))
    both = km.overlay(image, {"cat": cat, "dog": dog})
    np.testing.assert_array_equal(both[:, 0], km.overlay(image, {"dog": dog})[:, 0])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=7), st.integers(0, 2**32 - 1))
def test_majority_tints_every_pixel_once(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    stack = rng.random((len(order), 5, 9)) < 0.5
    colors = [(200, 0, 10), (0, 150, 20), (30, 40, 250)]
    image = rng.integers(0, 256, (5, 9, 3)).astype(np.uint8)
    masks = km.MaskArray.from_numpy(stack)
    laid = km.overlay(image, masks, [colors[k] for k in order], 0.5, overlap="majority")
    votes = np.array([stack[[k == own for k in order]].sum(0) for own in range(3)])
    last = [max((i for i, k in enumerate(order) if k == own), default=-1) for own in range(3)]
    winner = np.argmax(votes * 10 + np.array(last)[:, None, None], 0)
    tinted = [km.overlay(image, ~km.Mask.zeros((5, 9)), color, 0.5) for color in colors]
    expected = np.where((votes.max(0) > 0)[..., None], np.choose(winner[..., None], tinted), image)
    np.testing.assert_array_equal(laid, expected)


def test_each_mask_may_have_its_own_opacity_and_outline() -> None:
    image = np.zeros((5, 10, 3), np.uint8)
    left, right = km.Mask.from_bbox((5, 10), (0, 0, 5, 5)), km.Mask.from_bbox((5, 10), (5, 0, 5, 5))
    colors = {"a": (100, 100, 100), "b": (255, 255, 255)}
    laid = km.overlay(image, {"a": left, "b": right}, colors, {"a": 1, "b": 0}, {"b": 1, "a": 0})
    assert laid[2, :, 0].tolist() == [100] * 5 + [255, 0, 0, 0, 255]
    np.testing.assert_array_equal(
        laid, km.overlay(image, [left, right], list(colors.values()), [1, 0], [0, 1])
    )


@given(arrays(), st.integers(0, 2**32 - 1), st.sampled_from([3, 4]))
def test_strides_do_not_matter(array: Array, seed: int, channels: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*array.shape, channels)).astype(np.uint8)
    masks = [km.Mask.from_numpy(array), ~km.Mask.from_numpy(array)]
    expected = km.overlay(image, masks, outline=1)
    layouts = [
        np.asfortranarray(image),
        image[::-1, ::-1].copy()[::-1, ::-1],
        np.repeat(image, 2, 1)[:, ::2],
        np.concatenate([image, image], 2)[..., :channels],
        np.concatenate([image, image], 1)[:, : array.shape[1]],
    ]
    for layout in layouts:
        np.testing.assert_array_equal(km.overlay(layout, masks, outline=1), expected)
        out = np.empty_like(layout)
        assert km.overlay(image, masks, outline=1, out=out) is out
        np.testing.assert_array_equal(out, expected)
        assert km.overlay(layout, masks, outline=1, out=layout) is layout
        np.testing.assert_array_equal(layout, expected)


def test_pillow_images_in_and_out() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    mask = km.Mask.from_bbox((20, 30), (3, 4, 10, 9))
    for mode in ("RGB", "RGBA", "L", "P"):
        image = Image.fromarray(pixels).convert(mode)
        laid = km.overlay(image, mask)
        assert laid.mode == ("RGBA" if mode == "RGBA" else "RGB")
        plain = np.asarray(image.convert(laid.mode))
        np.testing.assert_array_equal(np.asarray(laid), km.overlay(plain, mask))
    cut = km.cutout(Image.fromarray(pixels), mask, crop=True)
    assert (cut.mode, cut.size) == ("RGBA", (10, 9))


def test_labels_stand_on_their_masks() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    masks = {
        7: km.Mask.from_bbox((200, 300), (20, 30, 80, 90)),
        "dog": km.Mask.from_bbox((200, 300), (150, 20, 100, 100)),
        "gone": km.Mask.zeros((200, 300)),
    }
    plain = km.overlay(image, masks)
    for labels in (True, {7: "7", "dog": "dog", "gone": None}, ["7", "dog", ""]):
        named = km.overlay(image, masks, labels=labels)
        changed = km.Mask.from_numpy((named != plain).any(2))
        for mask in (masks[7], masks["dog"]):
            text = changed & mask
            assert text.area > 20
            for at, middle in zip(text.centroid, mask.centroid, strict=True):
                assert abs(at - middle) < 3
        assert not changed - masks[7] - masks["dog"]
    corner = km.overlay(
        image, {"a long name": km.Mask.from_bbox((200, 300), (298, 0, 2, 2))}, labels=True
    )
    assert (corner == 255).any()
    tiny = km.overlay(np.zeros((3, 3, 4), np.uint8), ~km.Mask.zeros((3, 3)), labels=True)
    assert tiny.shape == (3, 3, 4)


def test_cutouts() -> None:
    rng = np.random.default_rng(0)
    array = rng.random((9, 14)) < 0.5
    array[:2] = array[:, 11:] = False
    mask = km.Mask.from_numpy(array)
    for channels in (3, 4):
        image = rng.integers(0, 256, (9, 14, channels)).astype(np.uint8)
        alpha = image[..., 3] if channels == 4 else np.full((9, 14), 255)
        expected = np.dstack([image[..., :3], alpha]) * array[..., None]
        np.testing.assert_array_equal(km.cutout(image, mask.to_rle()), expected)
        x, y, w, h = mask.bbox
        cropped = km.cutout(image[:, ::-1][:, ::-1], mask, crop=True)
        np.testing.assert_array_equal(cropped, expected[y : y + h, x : x + w])
    assert not km.cutout(image, km.Mask.zeros((9, 14))).any()
    with pytest.raises(km.RLEError, match="no box"):
        km.cutout(image, km.Mask.zeros((9, 14)), crop=True)


@pytest.mark.parametrize(
    ("size", "hint"),
    [
        ((18, 28), r"mask\.resize\(9, 14\) would fit it"),
        ((900, 1401), r"mask\.resize\(9, 14\) would fit it"),  # rounded when it was scaled
        ((14, 9), "turned by 90 degrees"),
        ((3, 3), "of another image"),
        ((28, 18), "of another image"),
        ((0, 0), "of another image"),
    ],
    ids=str,
)
def test_a_mask_of_another_size_is_to_be_scaled_only_if_that_fits(
    size: tuple[int, int], hint: str
) -> None:
    image, mask = np.zeros((9, 14, 3), np.uint8), km.Mask.zeros(size)
    for draw in (km.cutout, km.overlay):
        with pytest.raises(
            km.RLEError, match=rf"{re.escape(str(size))}, the image \(9, 14\); .*{hint}"
        ):
            draw(image, mask)


MASK = km.Mask.zeros((2, 2))
PICTURE = np.zeros((2, 2, 3), np.uint8)


def test_a_picture_that_is_reshaped_meanwhile() -> None:
    """Colours may come from the caller's code; the masks were measured against the picture."""
    picture = np.zeros((64, 64, 3), np.uint8)
    mask = km.Mask.from_bbox((64, 64), (0, 0, 64, 64))

    def color() -> Iterator[int]:
        yield 1
        picture.resize((1, 4096, 3), refcheck=False)  # another shape of the same memory
        yield from (2, 3)

    laid = km.overlay(picture, mask, color(), 1)  # type: ignore[call-overload]
    assert laid.shape == (64, 64, 3)
    assert (laid == [1, 2, 3]).all()
    picture.resize((64, 64, 3), refcheck=False)
    laid = km.overlay(picture, mask, color(), 1, out=picture)  # type: ignore[call-overload]
    assert laid is picture
    assert (picture == [1, 2, 3]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ((PICTURE.astype(float), MASK), TypeError, "must be uint8, got float64"),
        ((PICTURE[..., 0], MASK), km.RLEError, r"must have the shape \(h, w, 3\)"),
        ((PICTURE[..., :2], MASK), km.RLEError, r"must have the shape \(h, w, 3\)"),
        ((PICTURE, km.Mask.zeros((3, 2))), km.RLEError, r"mask 0 has the size \(3, 2\)"),
        ((PICTURE, MASK, None, 1.1), km.RLEError, "opacity must be between 0 and 1"),
        ((PICTURE, MASK, None, float("nan")), km.RLEError, "opacity"),
        ((PICTURE, MASK, None, 0.5, -1), km.RLEError, "outline must not be negative"),
        ((PICTURE, MASK, None, 0.5, 1.5), TypeError, "outline must be an integer"),
        ((PICTURE, [MASK, MASK], None, [0.5]), km.RLEError, "1 opacity for 2 masks"),
        ((PICTURE, {1: MASK}, None, {2: 0.5}), km.RLEError, "opacity has none for the object 1"),
        ((PICTURE, MASK, (1, 2, 300)), km.RLEError, "3 integers from 0 to 255"),
        ((PICTURE, MASK, (1, 2)), km.RLEError, "3 integers from 0 to 255"),
        ((PICTURE, MASK, (0.1, 0.2, 0.3)), km.RLEError, "3 integers from 0 to 255"),
        ((PICTURE, [MASK, MASK], [(1, 2, 3)]), km.RLEError, "1 colors for 2 masks"),
        ((PICTURE, MASK, "red"), TypeError, "a color is 3 integers .* got 'red'"),
        ((PICTURE, MASK, b"red"), TypeError, "a color is .* got b'red'"),
        ((PICTURE, [MASK], ["red"]), TypeError, "a color is .* got 'red'"),
        ((PICTURE, {7: MASK}, {7: "red"}), TypeError, "a color is .* got 'red'"),
        ((PICTURE, {1: MASK}, {2: (1, 2, 3)}), km.RLEError, "none for the object 1"),
        ((PICTURE, MASK, None, 0.5, 0, PICTURE[:1].copy()), km.RLEError, "out must be uint8"),
    ],
)
def test_what_cannot_be_laid_over(
    arguments: tuple[Any, ...], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        km.overlay(*arguments)
