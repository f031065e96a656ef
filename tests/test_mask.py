"""Mask as a value: algebra, measures, and how it behaves among other objects."""

import copy
import json
import multiprocessing
import operator
import pickle
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

import klingmask as km
from tests.strategies import Array, arrays, pairs

OPERATIONS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("union", operator.or_),
    ("intersection", operator.and_),
    ("symmetric_difference", operator.xor),
    ("difference", operator.sub),
]


@given(arrays())
def test_measures_agree_with_pycocotools(array: Array) -> None:
    mask = km.Mask.from_numpy(array)
    rle = mask.to_rle()
    assert mask.area == coco.area(rle) == array.sum()
    assert list(mask.bbox) == coco.toBbox(rle).tolist()
    assert km.area(rle) == mask.area
    assert km.bbox(rle) == mask.bbox
    assert bool(mask) == bool(array.any())


@given(arrays())
def test_bbox_is_the_tightest_box(array: Array) -> None:
    x, y, w, h = km.Mask.from_numpy(array).bbox
    if not array.any():
        assert (x, y, w, h) == (0, 0, 0, 0)
        return
    inside = array[y : y + h, x : x + w]
    assert inside.sum() == array.sum()
    assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@given(pairs())
def test_operators_are_those_of_the_pixels(pair: tuple[Array, Array]) -> None:
    a, b = (array.astype(bool) for array in pair)
    m, n = km.Mask.from_numpy(a), km.Mask.from_numpy(b)
    for name, operation in OPERATIONS:
        expected = a & ~b if name == "difference" else operation(a, b)
        assert operation(m, n) == km.Mask.from_numpy(expected)
    assert ~m == km.Mask.from_numpy(~a)
    assert km.difference(m.to_rle(), n.to_rle()) == (m - n).to_rle()
    assert km.symmetric_difference(m, n) == (m ^ n).to_rle()
    assert km.complement(m.to_rle()) == (~m).to_rle()
    assert km.complement([m, n]) == [(~m).to_rle(), (~n).to_rle()]


@given(pairs())
def test_laws_of_algebra(pair: tuple[Array, Array]) -> None:
    m, n = (km.Mask.from_numpy(array) for array in pair)
    assert ~~m == m
    assert m | n == ~(~m & ~n)
    assert m - n == m & ~n
    assert m ^ n == (m | n) - (m & n)
    assert (m ^ n) ^ n == m
    assert m | m == m & m == m
    assert (m | n).area + (m & n).area == m.area + n.area


@given(pairs())
def test_iou_agrees_with_pycocotools(pair: tuple[Array, Array]) -> None:
    m, n = (km.Mask.from_numpy(array) for array in pair)
    if m.size[0] * m.size[1]:
        assert m.iou(n) == coco.iou([m.to_rle()], [n.to_rle()], [0])[0, 0]
    assert m.iou(n) == n.iou(m) == km.iou(m.to_rle(), n.to_rle())
    assert m.iou(m) == float(bool(m))


@given(arrays(), st.tuples(*[st.integers(-50, 150)] * 2), st.tuples(*[st.integers(0, 150)] * 2))
def test_from_bbox_fills_what_is_inside(
    array: Array, corner: tuple[int, int], extent: tuple[int, int]
) -> None:
    (x, y), (w, h) = corner, extent
    expected = np.zeros(array.shape, np.uint8)
    expected[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 1
    assert km.Mask.from_bbox(array.shape, (x, y, w, h)) == km.Mask.from_numpy(expected)
    mask = km.Mask.from_numpy(array)
    box = km.Mask.from_bbox(mask.size, mask.bbox)
    assert box.bbox == mask.bbox
    assert mask - box == km.Mask.zeros(mask.size)


def test_from_bbox_refuses_what_is_no_box() -> None:
    for bbox in [(0, 0, -1, 1), (0, 0, 1, -1), (0, 0, 1)]:
        with pytest.raises(km.RLEError, match="bbox must"):
            km.Mask.from_bbox((4, 4), bbox)
    with pytest.raises(TypeError, match=r"integer, got 0\.5"):
        km.Mask.from_bbox((4, 4), (0.5, 0, 1, 1))  # type: ignore[arg-type]
    far = km.Mask.from_bbox((4, 4), (-(2**70), 2, 2**71, 2**71))
    assert far.bbox == (0, 2, 4, 2)


@given(arrays(), st.data())
def test_a_point_is_in_the_mask_where_its_pixel_is_set(array: Array, data: st.DataObject) -> None:
    mask = km.Mask.from_numpy(array)
    h, w = array.shape
    x, y = data.draw(st.integers(-2, w + 1)), data.draw(st.integers(-2, h + 1))
    inside = 0 <= x < w and 0 <= y < h
    assert ((x, y) in mask) == (inside and bool(array[y, x]))
    assert ((np.int64(x), np.int64(y)) in mask) == ((x, y) in mask)
    with pytest.raises(TypeError, match=r"must be an integer, got 0\.5"):
        assert (0.5, 0) in mask  # type: ignore[operator]


@given(arrays())
def test_a_value(array: Array) -> None:
    mask, same = km.Mask.from_numpy(array), km.Mask.from_numpy(np.asfortranarray(array))
    assert mask == same
    assert hash(mask) == hash(same)
    assert mask != mask.to_rle()
    assert len({mask, same, ~mask}) == (2 if array.size else 1)
    assert mask.copy() == copy.copy(mask) == copy.deepcopy(mask) == mask
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(mask, protocol)) == mask
    assert km.Mask.from_rle(json.loads(json.dumps(mask.to_rle()))) == mask
    assert km.Mask.from_rle(mask) == mask


def test_size_belongs_to_the_value() -> None:
    assert km.Mask.zeros((2, 3)) != km.Mask.zeros((3, 2))
    assert km.Mask.zeros((0, 3)) != km.Mask.zeros((3, 0))
    for _, operation in OPERATIONS:
        for other in ((3, 2), (2, 4), (3, 3)):
            with pytest.raises(
                km.RLEError,
                match=re.escape(f"one size, got (2, 3) and {other}"),
            ):
                operation(km.Mask.zeros((2, 3)), km.Mask.zeros(other))
        with pytest.raises(TypeError, match="unsupported operand"):
            operation(km.Mask.zeros((2, 3)), 1)
        with pytest.raises(TypeError, match=r"Mask\.from_numpy\(array\)"):
            operation(km.Mask.zeros((2, 3)), np.zeros((2, 3), bool))
    for other in ((3, 2), (2, 4), (3, 3)):
        masks = km.MaskArray.from_rles([km.Mask.zeros((2, 3)), km.Mask.zeros(other)])
        for call in (
            lambda: masks[0].iou(masks[1]),  # noqa: B023
            lambda: masks[:1].iou(masks[1:]),  # noqa: B023
            masks.union,
            masks.intersection,
            masks.to_numpy,
            lambda: km.decode(masks.to_rles()),  # noqa: B023
        ):
            with pytest.raises(km.RLEError, match="one size"):
                call()
        assert repr(masks) == "MaskArray(n=2)"


def test_immutable() -> None:
    mask = km.Mask.from_bbox((4, 4), (1, 1, 2, 2))
    runs = mask.runs
    assert runs.dtype == np.uint32
    with pytest.raises(ValueError, match="read-only"):
        runs[0] = 7
    with pytest.raises(ValueError, match="WRITEABLE"):
        runs.flags.writeable = True
    for name in ("size", "area", "runs", "other"):
        with pytest.raises(AttributeError):
            setattr(mask, name, None)
    with pytest.raises(TypeError, match=r"Mask\.from_rle"):
        km.Mask()
    with pytest.raises(TypeError, match=r"Mask\.from_rle"):
        km.Mask(mask)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (km.Mask,), {})


def test_runs_outlive_their_mask() -> None:
    runs = km.Mask.from_bbox((4, 4), (1, 1, 2, 2)).runs
    assert runs.tolist() == [5, 2, 2, 2, 5]


def test_in_numpy() -> None:
    mask = km.Mask.from_bbox((2, 3), (1, 0, 1, 2))
    expected = [[0, 1, 0], [0, 1, 0]]
    assert np.asarray(mask).tolist() == np.array(expected, bool).tolist()
    assert np.asarray(mask).dtype == np.bool_
    assert np.asarray(mask, dtype=np.uint8).dtype == np.uint8
    assert np.asarray(mask, dtype=np.float32).tolist() == expected
    assert (np.array(mask) * 2).tolist() == [[0, 2, 0], [0, 2, 0]]
    assert km.Mask.from_numpy(mask) == mask
    with pytest.raises(ValueError, match="always a new array"):
        np.array(mask, copy=False)


@given(arrays())
def test_a_mask_indexes_the_pixels_of_a_frame(array: Array) -> None:
    mask = km.Mask.from_numpy(array)
    frame: Any = np.full((*array.shape, 3), 9, np.uint8)
    if array.size == 0:  # numpy takes any empty index for one of integers
        return
    assert frame[mask].shape == (mask.area, 3)
    frame[mask] = 0
    np.testing.assert_array_equal(frame[..., 0], np.where(array, 0, 9))
    assert np.where(mask, 1, 0).tolist() == array.tolist()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pixels_of_any_dtype(dtype: str, order: Any) -> None:
    mask = km.Mask.from_bbox((300, 400), (5, 7, 100, 80))
    value = 1 if dtype == "bool" else 100
    expected = np.zeros(mask.size, dtype)
    expected[7:87, 5:105] = value
    for decoded in (
        mask.to_numpy(dtype=dtype, order=order, value=value),
        km.decode([mask, mask], dtype=dtype, order=order, value=value)[1],
    ):
        assert decoded.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(decoded, expected)
        assert decoded.flags.c_contiguous if order == "C" else decoded.flags.f_contiguous
    assert mask.to_numpy(dtype="int32", value=70000).max() == 70000


@given(st.integers(0, 2**32 - 1), st.sampled_from(["float16", "float32", "float64", "int8"]))
def test_scores_become_masks_by_a_threshold(seed: int, dtype: str) -> None:
    scores = (np.random.default_rng(seed).normal(size=(3, 7, 9)) * 3).astype(dtype)
    if scores.dtype.kind == "f":
        scores[0, 0, 0] = np.nan
    expected = scores > 0.5
    np.testing.assert_array_equal(km.Mask.from_numpy(scores[0], 0.5), expected[0])
    np.testing.assert_array_equal(
        km.MaskArray.from_numpy(scores, threshold=0.5).to_numpy(dtype=bool), expected
    )
    np.testing.assert_array_equal(km.decode(km.encode(scores, 0.5, threads=2)), expected)
    for wrong in ("0.5", True, None, [0.5]):
        if wrong is not None:
            with pytest.raises(TypeError, match="threshold must be a number"):
                km.Mask.from_numpy(scores[0], wrong)  # type: ignore[arg-type]


def test_an_array_of_objects_keeps_masks() -> None:
    masks = [km.Mask.from_bbox((60000, 60000), (k, 0, 1, 2)) for k in range(3)]
    held = np.array(masks, dtype=object)
    assert held.shape == (3,)
    assert held.tolist() == masks
    assert np.asarray(masks[0], dtype=object).tolist() is masks[0]


def test_repr() -> None:
    assert repr(km.Mask.from_bbox((4, 6), (1, 2, 3, 1))) == (
        "Mask(size=(4, 6), area=3, bbox=(1, 2, 3, 1))"
    )


@given(arrays(), st.integers(0, 40), st.integers(0, 40), st.sampled_from(["center", "corner"]))
def test_resize_is_nearest(array: Array, height: int, width: int, align: Any) -> None:
    resized = km.Mask.from_numpy(array).resize(height, width, align=align)
    assert resized.size == (height, width)
    assert resized == km.Mask.from_numpy(array).resize((height, width), align=align)
    if array.size == 0:
        assert not resized
        return
    shown = []
    for to, of in zip((height, width), array.shape, strict=True):
        places = np.arange(to)
        shown.append(
            (2 * places + 1) * of // (2 * max(to, 1))
            if align == "center"
            else places * of // max(to, 1)
        )
    assert resized == km.Mask.from_numpy(array[np.ix_(*shown)])


@given(arrays(), st.integers(1, 90), st.integers(1, 90))
def test_resize_is_that_of_pillow(array: Array, height: int, width: int) -> None:
    """But where a centre lies on the border of two pixels: Pillow adds up floats to get there."""
    if array.size == 0:
        return
    picture = Image.fromarray(array).resize((width, height), Image.Resampling.NEAREST)
    resized = km.Mask.from_numpy(array).resize(height, width).to_numpy()
    within = [
        (2 * np.arange(to) + 1) * of % (2 * to) != 0
        for to, of in zip((height, width), array.shape, strict=True)
    ]
    np.testing.assert_array_equal(resized[np.ix_(*within)], np.asarray(picture)[np.ix_(*within)])


def test_a_dot_in_the_middle_stays() -> None:
    dot = km.Mask.from_bbox((9, 9), (4, 4, 1, 1))
    assert dot.resize(3, 3).bbox == (1, 1, 1, 1)
    assert not dot.resize(3, 3, align="corner")
    with pytest.raises(ValueError, match="align must be 'center' or 'corner', got 'left'"):
        dot.resize(3, 3, align="left")  # type: ignore[call-overload]


@given(arrays(), *[st.integers(-40, 40)] * 2, *[st.integers(0, 40)] * 2)
def test_crop_pad_and_shift_move_a_frame(array: Array, x: int, y: int, w: int, h: int) -> None:
    mask = km.Mask.from_numpy(array)
    around = np.pad(array != 0, 80)
    expected = around[80 + y : 80 + y + h, 80 + x : 80 + x + w]
    assert mask.crop((x, y, w, h)) == km.Mask.from_numpy(expected)
    height, width = array.shape
    shifted = around[80 - y : 80 - y + height, 80 - x : 80 - x + width]
    assert mask.shift(x, y) == km.Mask.from_numpy(shifted)
    padded = mask.pad(w, h, w + 1, 0)
    assert padded == km.Mask.from_numpy(np.pad(array, ((w, h), (w + 1, 0))))
    assert padded.crop((w + 1, w, width, height)) == mask


@given(arrays())
def test_flip_is_that_of_numpy(array: Array) -> None:
    mask = km.Mask.from_numpy(array)
    axes: tuple[Literal[0], Literal[1]] = (0, 1)
    for axis in axes:
        assert mask.flip(axis) == km.Mask.from_numpy(np.flip(array, axis))
        assert mask.flip(axis).flip(axis) == mask


@given(arrays())
def test_centroid_is_the_mean_of_pixel_centres(array: Array) -> None:
    y, x = np.nonzero(array)
    expected = (x.mean() + 0.5, y.mean() + 0.5) if len(x) else (0, 0)
    np.testing.assert_allclose(km.Mask.from_numpy(array).centroid, expected)


def test_transforms_of_huge_masks_allocate_no_pixels() -> None:
    mask = km.Mask.from_bbox((60000, 60000), (10, 20, 30, 40))
    assert mask.resize(6, 6).size == (6, 6)
    assert mask.resize(65535, 65535).area == 33 * 44
    assert mask.crop((10, 20, 30, 40)).area == 1200
    assert mask.flip(1).bbox == (60000 - 40, 20, 30, 40)
    assert mask.shift(10**30, 0).area == mask.shift(0, -(10**30)).area == 0
    assert (~km.Mask.zeros((60000, 60000))).resize(50000, 1).area == 50000


WIDEST = 2**32 - 1


def _transform_the_widest() -> None:
    full = ~km.Mask.zeros((1, WIDEST))
    assert full.resize(10, 10) == ~km.Mask.zeros((10, 10))
    assert full.resize(1, WIDEST) == full.flip(0) == full.flip(1) == full.shift(0, 0) == full
    assert (~km.Mask.zeros((1, 1))).resize(1, WIDEST) == full
    assert full.centroid == (WIDEST / 2, 0.5)
    assert full.shift(3, 0) == km.Mask.from_bbox(full.size, (3, 0, WIDEST, 1))
    assert full.crop((7, 0, 100, 1)) == ~km.Mask.zeros((1, 100))
    lower = km.Mask.from_bbox((2, 1), (0, 1, 1, 1))
    assert lower.resize(1, WIDEST, align="corner") == km.Mask.zeros((1, WIDEST))
    assert lower.flip(0).resize(1, WIDEST, align="corner") == full
    assert lower.resize(1, WIDEST) == full


def test_claimed_columns_are_not_gone_through() -> None:
    """When every column was looked at, the first resize took 89 seconds, the centroid 14."""
    process = multiprocessing.get_context("spawn").Process(target=_transform_the_widest)
    process.start()
    process.join(60)
    slow = process.is_alive()
    process.kill()
    process.join()
    assert not slow
    assert process.exitcode == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: (~km.Mask.zeros((2, 300_000_000))).shift(0, 1),
        lambda: (~km.Mask.zeros((2, 300_000_000))).pad(1, 0, 0, 0),
        lambda: km.Mask.from_bbox((2, 2**27 + 1), (0, 1, 2**27 + 1, 1)),
        lambda: km.Mask.from_bbox((2, 1), (0, 0, 1, 1)).resize(2, 2**31 - 1),
        lambda: (~km.Mask.zeros((3, 10**9))).crop((0, 1, 10**9, 3)),
    ],
)
def test_few_bytes_do_not_become_gigabytes_of_runs(call: Callable[[], object]) -> None:
    with pytest.raises(km.RLEError, match=r"up to \d+ runs, over the limit of 268435456"):
        call()


def test_the_limit_of_runs_goes_up_with_that_of_pixels_but_not_down() -> None:
    limit = km.get_max_pixels()
    try:
        km.set_max_pixels(0)
        assert km.Mask.from_bbox((4, 4), (1, 1, 2, 2)).shift(1, 1).area == 4
        km.set_max_pixels(2**29)
        with pytest.raises(km.RLEError, match="over the limit of 536870912"):
            km.Mask.from_bbox((3, 10**9), (0, 1, 10**9, 1))
    finally:
        km.set_max_pixels(limit)


@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [
        (lambda mask: mask.resize(-1, 2), km.RLEError, "size must not be negative"),
        (lambda mask: mask.resize(65536, 65536), km.RLEError, "the format ends at"),
        (lambda mask: mask.resize(1.5, 2), TypeError, "height must be an integer"),
        (lambda mask: mask.crop((0, 0, 1)), km.RLEError, "bbox must be"),
        (lambda mask: mask.crop((0, 0, -1, 1)), km.RLEError, "size must not be negative"),
        (lambda mask: mask.crop((0.5, 0, 1, 1)), TypeError, "x must be an integer"),
        (lambda mask: mask.pad(0, 0, -1, 0), km.RLEError, "pad must not be negative"),
        (lambda mask: mask.shift(0, 1.0), TypeError, "dy must be an integer"),
        (lambda mask: mask.flip(2), ValueError, "axis must be 0"),
        (lambda mask: mask.flip(True), TypeError, "axis must be an integer, got True"),
    ],
)
def test_transforms_that_cannot_be(
    call: Callable[[Any], object], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        call(km.Mask.zeros((3, 4)))


def test_what_new_alone_makes_is_harmless() -> None:
    """copyreg's way around every constructor: an empty mask of no size, not a crash."""
    mask, masks = km.Mask.__new__(km.Mask), km.MaskArray.__new__(km.MaskArray)
    assert mask == km.Mask.zeros((0, 0))
    assert (mask | mask, mask & ~mask, mask.area, mask.bbox) == (mask, mask, 0, (0, 0, 0, 0))
    assert (mask.counts, mask.runs.tolist(), mask.to_numpy().shape) == ("0", [0], (0, 0))
    assert (mask.iou(mask), mask.centroid, mask.crop((0, 0, 0, 0))) == (0.0, (0.0, 0.0), mask)
    assert (len(masks), masks.area.tolist(), masks.bbox.shape) == (0, [], (0, 4))


def test_numpy_does_not_take_over_the_operators() -> None:
    """As pixels, 0 - 1 would be 255."""
    mask, array = km.Mask.from_bbox((4, 4), (1, 1, 2, 2)), np.eye(4, dtype=np.uint8)
    for operation in (operator.or_, operator.and_, operator.sub, operator.xor):
        for a, b in ((mask, array), (array, mask)):
            with pytest.raises(TypeError):
                operation(a, b)
    assert (mask == array) is False
    assert (mask != array) is True
    np.testing.assert_array_equal(np.asarray(mask), mask.to_numpy())
