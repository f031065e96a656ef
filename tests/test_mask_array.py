"""MaskArray: columns, indexing, and the batch functions against pycocotools."""

import copy
import operator
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

import klingmask as km
from tests.strategies import Array, arrays, stacks


@given(stacks())
def test_columns_agree_with_pycocotools(stack: Array) -> None:
    masks = km.MaskArray.from_numpy(stack)
    rles = masks.to_rles()
    assert masks.area.dtype == masks.bbox.dtype == masks.size.dtype == np.int64
    assert masks.area.tolist() == coco.area(rles).tolist() == km.area(rles).tolist()
    assert masks.bbox.tolist() == coco.toBbox(rles).tolist() == km.bbox(rles).tolist()
    assert masks.size.tolist() == [list(stack.shape[1:])] * len(stack)
    np.testing.assert_array_equal(masks.to_numpy(), stack)
    assert masks == km.MaskArray.from_rles(rles)


@given(stacks())
def test_union_and_intersection_agree_with_pycocotools(stack: Array) -> None:
    masks = km.MaskArray.from_numpy(stack)
    rles = masks.to_rles()
    for intersect in (False, True):
        expected = coco.merge(rles, intersect=intersect)
        folded = masks.intersection() if intersect else masks.union()
        assert folded.to_rle() == {
            "size": list(expected["size"]),
            "counts": expected["counts"].decode(),
        }
        assert (km.intersection if intersect else km.union)(rles) == folded.to_rle()


@given(stacks(), st.data())
def test_iou_agrees_with_pycocotools(stack: Array, data: st.DataObject) -> None:
    masks = km.MaskArray.from_numpy(stack)
    split = data.draw(st.integers(0, len(stack)))
    a, b = masks[:split], masks[split:]
    table = a.iou(b)
    assert table.shape == (split, len(stack) - split)
    if table.size and stack[0].size:
        np.testing.assert_array_equal(table, coco.iou(a.to_rles(), b.to_rles(), [0] * len(b)))
        np.testing.assert_array_equal(table, km.iou(a.to_rles(), b.to_rles()))
        np.testing.assert_array_equal(table[0], km.iou(a[0].to_rle(), list(b)))
        np.testing.assert_array_equal(table[:, 0], km.iou(a, b[0]))


def test_iou_of_wide_images_goes_by_their_runs() -> None:
    """Where it went by the columns, this took a minute."""
    width = 2**32 - 20
    whole = km.Mask.from_rle({"size": [1, width], "counts": [0, width]})
    inner = km.Mask.from_rle({"size": [1, width], "counts": [1, width - 2, 1]})
    np.testing.assert_array_equal(km.iou([whole] * 100, [whole] * 100), np.ones((100, 100)))
    assert km.iou([whole] * 100, [inner] * 100)[50, 50] == (width - 2) / width


@given(st.lists(arrays(), max_size=8), st.data())
def test_indexing_is_that_of_numpy(drawn: list[Array], data: st.DataObject) -> None:
    masks = km.MaskArray.from_rles(km.Mask.from_numpy(array) for array in drawn)
    listed = list(masks)
    n = len(masks)
    assert n == len(drawn) == len(listed)
    numbers = np.arange(n)
    start, stop = data.draw(st.tuples(*[st.none() | st.integers(-10, 10)] * 2))
    step = data.draw(st.sampled_from([None, 1, 2, -1, -3]))
    chosen = data.draw(st.lists(st.integers(-n, n - 1), max_size=9)) if n else []
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    indices: list[Any] = [slice(start, stop, step), np.array(chosen, np.intp), keep, ...]
    for index in indices:
        picked = masks[index]
        assert list(picked) == [listed[i] for i in numbers[index]]
        assert picked.area.tolist() == masks.area[index].tolist()
        assert picked[::-1].area.tolist() == masks.area[index][::-1].tolist()
    for i in chosen:
        assert masks[i] == masks[np.int64(i)] == listed[i]


def test_an_index_that_is_no_int() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((1, 1)), km.Mask.zeros((2, 2))])

    class Second:
        def __index__(self) -> int:
            return 1

    indices: list[Any] = [np.array(1), np.int8(1), (1,), Second()]
    for index in indices:
        assert masks[index] == masks[1]


def test_an_error_names_the_mask_of_the_whole_array() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((2, 3))] * 40 + [km.Mask.zeros((3, 3))] * 8)
    for threads in (1, 2):
        with pytest.raises(km.RLEError, match="mask 40 has") as caught:
            masks.iou(masks[:3], threads=threads)
        assert caught.value.index == 40
        with pytest.raises(km.RLEError, match=r"one size, got \(2, 3\) and \(3, 3\)") as caught:
            masks[:40].iou(masks[40:], threads=threads)
        assert caught.value.index is None


def test_wrong_indices() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((1, 1))] * 3)
    for index in (3, -4, [3], [True], np.array([[0]]), "0", 0.0, None, (0, 0), True, (5,)):
        with pytest.raises(IndexError):
            masks[index]  # type: ignore[index]


def test_sizes_may_differ_until_masks_meet() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((2, 3)), km.Mask.from_bbox((5, 4), (1, 1, 2, 3))])
    assert masks.size.tolist() == [[2, 3], [5, 4]]
    assert masks.area.tolist() == [0, 6]
    assert masks.bbox.tolist() == [[0, 0, 0, 0], [1, 1, 2, 3]]
    for meet in (
        masks.union,
        masks.intersection,
        masks.to_numpy,
        lambda: masks.iou(masks),
        lambda: masks[:1].iou(masks[1:]),
        lambda: km.decode(masks),
    ):
        with pytest.raises(km.RLEError, match="one size"):
            meet()


def test_no_masks() -> None:
    none = km.MaskArray.from_rles([])
    assert len(none) == 0
    assert none.area.shape == (0,)
    assert none.bbox.shape == (0, 4)
    assert none.size.shape == (0, 2)
    assert none.iou(none).shape == (0, 0)
    assert none.to_numpy().shape == (0, 0, 0)
    assert none.to_rles() == []
    assert km.decode([]).shape == (0, 0, 0)
    out = np.empty((0, 5, 5), np.uint8)
    assert none.to_numpy(out=out) is out
    for fold in (none.union, none.intersection, lambda: km.union([])):
        with pytest.raises(km.RLEError, match="no masks"):
            fold()


def test_a_value() -> None:
    masks = km.MaskArray.from_numpy(np.eye(12).reshape(3, 4, 12))
    assert masks == km.MaskArray.from_rles(masks.to_rles())
    assert masks != masks[:2]
    assert masks != list(masks)
    assert hash(masks) == hash(masks[:])
    assert pickle.loads(pickle.dumps(masks)) == masks
    assert masks.copy() == copy.copy(masks) == copy.deepcopy(masks) == masks
    assert repr(masks) == "MaskArray(n=3, size=(4, 12))"
    assert repr(masks[:0]) == "MaskArray(n=0)"
    bare = km.MaskArray.__new__(km.MaskArray)
    assert (repr(bare), bare.to_numpy().shape, bare.to_rles()) == ("MaskArray(n=0)", (0, 0, 0), [])
    assert masks[1] in masks
    assert km.MaskArray.from_rles(masks) is masks
    with pytest.raises(TypeError, match=r"MaskArray\.from_rles"):
        km.MaskArray()
    with pytest.raises(TypeError, match=r"MaskArray\.from_rles"):
        km.MaskArray([])  # type: ignore[call-arg]


OPERATORS = (operator.or_, operator.and_, operator.sub, operator.xor)


@given(stacks(0), st.data())
def test_operators_go_pairwise_or_with_one_mask(stack: Array, data: st.DataObject) -> None:
    masks = km.MaskArray.from_numpy(stack)
    order = data.draw(st.permutations(range(len(stack))))
    others = masks[np.array(order, int)]
    for operate in OPERATORS:
        assert list(operate(masks, others)) == [
            operate(a, b) for a, b in zip(masks, others, strict=True)
        ]
        if len(masks):
            assert list(operate(masks, masks[0])) == [operate(mask, masks[0]) for mask in masks]
            assert list(operate(masks[0], masks)) == [operate(masks[0], mask) for mask in masks]
    assert list(~masks) == [~mask for mask in masks]


def test_what_does_not_pair() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((2, 3)), km.Mask.zeros((2, 4))])
    for operate in OPERATORS:
        with pytest.raises(km.RLEError, match="as many masks on both sides, got 2 and 1"):
            operate(masks, masks[:1])
        with pytest.raises(
            km.RLEError, match=r"in pair 1 they have \(2, 4\) and \(2, 3\)"
        ) as caught:
            operate(masks, masks[0])
        assert caught.value.index == 1
        with pytest.raises(TypeError, match="unsupported operand"):
            operate(masks, 3)
        with pytest.raises(TypeError, match=r"from_numpy\(stack\)"):
            operate(masks, np.zeros((2, 2, 3)))
        assert list(operate(masks, masks)) == [operate(mask, mask) for mask in masks]
        assert operate(masks[:0], masks[0]) == masks[:0] == operate(masks[0], masks[:0])


@pytest.mark.parametrize(
    "change",
    [
        lambda m, **threads: m.resize(7, 11, **threads),
        lambda m, **threads: m.resize((7, 11), align="corner", **threads),
        lambda m, **threads: m.crop((-2, 1, 9, 5), **threads),
        lambda m, **threads: m.pad(1, 0, 2, 3, **threads),
        lambda m, **threads: m.shift(-3, 2, **threads),
        lambda m, **threads: m.flip(0, **threads),
        lambda m, **threads: m.flip(1, **threads),
    ],
)
@given(drawn=st.lists(arrays(), max_size=8))
def test_what_a_mask_can_do_all_can_do(change: Any, drawn: list[Array]) -> None:
    masks = km.MaskArray.from_rles(km.Mask.from_numpy(array) for array in drawn)
    expected = [change(mask) for mask in masks]
    assert list(change(masks)) == expected
    assert list(change(masks, threads=3)) == expected
    np.testing.assert_array_equal(
        masks.centroid, np.array([mask.centroid for mask in masks]).reshape(-1, 2)
    )


def test_an_array_with_one_that_cannot_be_changed() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((2, 3)), km.Mask.zeros((65535, 65535))])
    with pytest.raises(km.RLEError, match=r"size \(65538, 65535\) has \d+ pixels"):
        masks.pad(3, 0, 0, 0)
    with pytest.raises(km.RLEError, match=r"2[*][*]32 - 1"):
        masks.pad(10**30, 0, 0, 0)
    wide = km.MaskArray.from_rles([~km.Mask.zeros((2, 300_000_000))] * 2)
    with pytest.raises(km.RLEError, match=r"over the limit of 268435456"):
        wide.shift(0, 1)


@given(st.lists(st.lists(arrays(), max_size=3), max_size=4))
def test_concatenate(parts: list[list[Array]]) -> None:
    arrays_ = [km.MaskArray.from_rles(map(km.Mask.from_numpy, part)) for part in parts]
    joined = km.MaskArray.concatenate(arrays_)
    assert list(joined) == [mask for part in arrays_ for mask in part]
    assert km.MaskArray.concatenate([part.to_rles() for part in arrays_]) == joined
    assert km.MaskArray.concatenate(list(joined)) == joined


def test_the_layout_of_pycocotools_is_refused() -> None:
    stack = np.asfortranarray(np.zeros((40, 50, 3), np.uint8))
    stack[5, 6, 1] = 1
    calls: tuple[Callable[..., object], ...] = (km.encode, km.MaskArray.from_numpy)
    for call in calls:
        for threads in (1, 2):
            with pytest.raises(km.RLEError, match=r"np\.moveaxis\(array, -1, 0\)"):
                call(stack, threads=threads)
    assert km.encode(np.moveaxis(stack, -1, 0))[1] == km.encode(stack[..., 1])
    assert len(km.encode(np.ascontiguousarray(stack))) == 40


def test_numpy_gets_masks_and_no_pixels(tmp_path: Path) -> None:
    """Of an image too large to be decoded: pixels would raise an error."""
    masks = km.MaskArray.from_rles(
        [km.Mask.from_bbox((60000, 60000), (k, 0, 1, 2)) for k in (1, 2)]
    )
    held = np.asarray(masks)
    assert held.shape == (2,)
    assert held.dtype == object
    assert held.tolist() == list(masks)
    np.savez(tmp_path / "masks.npz", masks=masks)
    assert (tmp_path / "masks.npz").stat().st_size < 2000
    with np.load(tmp_path / "masks.npz", allow_pickle=True) as file:
        assert file["masks"].tolist() == list(masks)
    with pytest.raises(TypeError, match=r"to_numpy\(\)"):
        np.asarray(masks, dtype=np.uint8)
    with pytest.raises(ValueError, match="always a new one"):
        np.array(masks, copy=False)
    for operate in (operator.or_, operator.and_, operator.sub, operator.xor):
        with pytest.raises(TypeError):
            operate(np.ones((2, 3)), masks)


def test_what_is_no_list_of_rles() -> None:
    rle = km.Mask.zeros((1, 1)).to_rle()
    wrong: list[Any] = ["00", b"00", 7, None, rle, km.Mask.zeros((1, 1))]
    for value in wrong:
        with pytest.raises(TypeError, match="a list of rles was expected"):
            km.MaskArray.from_rles(value)


def test_a_slice_keeps_its_runs_alive() -> None:
    tail = km.MaskArray.from_numpy(np.random.default_rng(1).random((50, 40, 40)) < 0.5)[40:]
    expected = tail.area.tolist()
    more = [km.MaskArray.from_numpy(np.ones((50, 40, 40))) for _ in range(20)]
    assert tail.area.tolist() == expected
    assert [masks.area.tolist() for masks in more] == [[1600] * 50] * 20


def test_real_masks(coco_results: list[dict[str, Any]], sav_file: dict[str, Any]) -> None:
    rles = [result["segmentation"] for result in coco_results]
    masks = km.MaskArray.from_rles(rles)
    assert masks.to_rles() == rles
    assert masks.area.tolist() == [coco.area(rle) for rle in rles]
    assert masks.bbox.tolist() == [coco.toBbox(rle).tolist() for rle in rles]
    frame, later = sav_file["masklet"][0], sav_file["masklet"][60]
    np.testing.assert_array_equal(km.iou(frame, later), coco.iou(frame, later, [0] * 5))
    union = coco.merge(frame)
    assert km.union(frame) == {"size": union["size"], "counts": union["counts"].decode()}


@pytest.mark.parametrize("width", [1088, 1100])  # whole cache lines, and not
@pytest.mark.parametrize("n", [16, 31])  # more than the caches hold; and fresh memory
def test_large_outputs(width: int, n: int) -> None:
    """They are written otherwise; the pixels are the same."""
    rng = np.random.default_rng(0)
    stack = np.zeros((n, 1000, width), np.uint8)
    for k, image in enumerate(stack):
        y, x, h, w = rng.integers(1, 500, 4)
        image[y : y + h, x : x + w + 64 * (k % 9)] = 1
        image[:, : k % 3] = 1
    stack[2] = rng.random(stack[2].shape) < 0.3
    stack[3:5] = [[[0]], [[1]]]
    rles = km.encode(stack)
    out = np.full_like(stack, 7)
    for threads in (1, 2):
        np.testing.assert_array_equal(km.decode(rles, threads=threads), stack)
        np.testing.assert_array_equal(km.decode(rles, out=out, threads=threads), stack)
        out.fill(7)
    part = np.full((n, 1024, width + 64), 7, np.uint8)
    km.decode(rles, out=part[:, 5:1005, 3 : width + 3], value=255)
    np.testing.assert_array_equal(part[:, 5:1005, 3 : width + 3], 255 * stack)
    assert np.count_nonzero(part == 7) == part.size - stack.size
