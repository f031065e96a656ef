"""overlay and render_layer, against the formula in exact rational arithmetic."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    if cover == 0:
        return [0, 0, 0, 0]
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
    expected = [source_over(under, color, alpha) for under in image[0].tolist()]
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


def test_palette_colours_differ() -> None:
    colors = [palette_color(index) for index in range(100)]
    assert len(set(colors)) == 100
    assert colors[0] == (116, 255, 82)
    neighbours = itertools.pairwise(colors)
    assert all(max(abs(a - b) for a, b in zip(c, d, strict=True)) > 80 for c, d in neighbours)


MASK = km.Mask.zeros((2, 2))
PICTURE = np.zeros((2, 2, 3), np.uint8)


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
        ((PICTURE, MASK, (1, 2, 300)), km.RLEError, "3 integers from 0 to 255"),
        ((PICTURE, MASK, (1, 2)), km.RLEError, "3 integers from 0 to 255"),
        ((PICTURE, MASK, (0.1, 0.2, 0.3)), km.RLEError, "3 integers from 0 to 255"),
        ((PICTURE, [MASK, MASK], [(1, 2, 3)]), km.RLEError, "1 colors for 2 masks"),
        ((PICTURE, {1: MASK}, {2: (1, 2, 3)}), km.RLEError, "none for the object 1"),
        ((PICTURE, MASK, None, 0.5, 0, PICTURE[:1].copy()), km.RLEError, "out must be uint8"),
    ],
)
def test_what_cannot_be_laid_over(
    arguments: tuple[Any, ...], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        km.overlay(*arguments)
