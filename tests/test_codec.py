"""decode and encode, against pycocotools and against the format's definition."""

import tracemalloc
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

import klingmask as km
from tests import reference
from tests.strategies import DTYPES, Array, arrays, layouts, stacks


def coco_rle(array: Array) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(array))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


@given(arrays(), st.data())
def test_encode_writes_what_pycocotools_writes(array: Array, data: st.DataObject) -> None:
    view = data.draw(layouts(array))
    assert km.encode(view) == coco_rle(array)


@given(arrays())
def test_decode_reads_what_pycocotools_reads(array: Array) -> None:
    rle = coco_rle(array)
    expected = coco.decode(rle)
    orders: tuple[Literal["C"], Literal["F"]] = ("C", "F")
    for order in orders:
        decoded = km.decode(rle, order=order)
        np.testing.assert_array_equal(decoded, expected)
        assert decoded.dtype == np.uint8
        assert decoded.flags.c_contiguous if order == "C" else decoded.flags.f_contiguous


LARGE = st.one_of(
    st.tuples(st.integers(1, 1100), st.integers(1, 1100)),
    st.tuples(st.integers(1, 3), st.integers(16_000, 17_000)),
)


@given(LARGE, st.data())
def test_few_pixels_in_a_large_image(size: tuple[int, int], data: st.DataObject) -> None:
    """Encoding passes over what is empty; it must not pass over a pixel."""
    h, w = size
    array = np.zeros(size, np.uint8)
    for _ in range(data.draw(st.integers(0, 4))):
        y, x = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
        high, wide = data.draw(st.tuples(*[st.sampled_from([1, 1, 2, 70])] * 2))
        array[y : y + high, x : x + wide] = data.draw(st.integers(1, 255))
    expected = coco_rle(array != 0)
    assert km.encode(array) == expected
    assert km.encode(np.asfortranarray(array)) == expected
    assert km.encode(array[None]) == [expected]


@given(arrays())
def test_encode_agrees_with_the_definition(array: Array) -> None:
    assert km.encode(array)["counts"] == reference.encode(array)


@given(stacks(least=0), st.data())
def test_a_stack_is_the_list_of_its_masks(stack: Array, data: st.DataObject) -> None:
    laid = data.draw(layouts(stack))
    if laid.flags.fnc and laid.shape[2] < min(laid.shape[:2]):
        laid = np.ascontiguousarray(laid)  # it would be taken for pycocotools' (h, w, n)
    rles = km.encode(laid)
    assert rles == [coco_rle(array) for array in stack]
    if len(stack):
        np.testing.assert_array_equal(km.decode(rles), stack)
        columns = km.decode(rles, order="F")
        np.testing.assert_array_equal(columns, stack)
        assert all(column.flags.f_contiguous for column in columns)


@given(arrays(), st.integers(0, 255), st.data())
def test_decode_into_any_memory(array: Array, value: int, data: st.DataObject) -> None:
    h, w = array.shape
    down, across = data.draw(st.tuples(*[st.sampled_from([1, 2, -1, -3])] * 2))
    room = np.full((abs(down) * h, abs(across) * w), 99, np.uint8)
    if data.draw(st.booleans()):
        room = np.asfortranarray(room)
    out = room[::down, ::across]
    untouched = np.ones(room.shape, bool)
    untouched[::down, ::across] = False
    assert km.decode(coco_rle(array), out=out, value=value) is out
    np.testing.assert_array_equal(out, array * np.uint8(value))
    assert (room[untouched] == 99).all()


def test_decode_leaves_nothing_of_what_was_in_memory_before() -> None:
    for side in (64, 600, 1024):  # near, and beyond
        narrow = np.zeros((side, side), np.uint8)
        narrow[3:9, 5:40] = 1
        rle = km.encode(narrow)
        for order in ("C", "F"):
            for _ in range(20):
                used = np.full((side, side), 7, np.uint8)
                del used  # its memory is the next to be given
                np.testing.assert_array_equal(km.decode(rle, order=order), narrow)


@given(arrays())
def test_decode_to_bool(array: Array) -> None:
    rle = coco_rle(array)
    decoded = km.decode(rle, dtype="bool")
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, array.astype(bool))
    # Bools must be 0 or 1 in memory, or numpy's own arithmetic goes wrong.
    assert set(np.unique(decoded.view(np.uint8))) <= {0, 1}
    out = np.empty(array.shape, np.bool_)
    np.testing.assert_array_equal(km.decode(rle, out=out), array.astype(bool))


@given(arrays())
def test_counts_as_text_bytes_or_runs_are_one_mask(array: Array) -> None:
    size, counts = list(array.shape), coco_rle(array)["counts"]
    mask = km.Mask.from_rle({"size": size, "counts": counts})
    runs = mask.runs.tolist()
    for same in (counts.encode(), bytearray(counts.encode()), runs, tuple(runs), mask.runs):
        assert km.Mask.from_rle({"size": tuple(size), "counts": same}) == mask
    assert sum(runs) == array.size
    assert 0 not in runs[1:]


@given(arrays(), st.data())
def test_empty_runs_are_merged(array: Array, data: st.DataObject) -> None:
    """Other writers split runs in two around an empty one; the mask is the same."""
    mask = km.Mask.from_numpy(array)
    runs = mask.runs.tolist()
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(runs) - 1))
        first = data.draw(st.integers(0, runs[at]))
        runs[at : at + 1] = [first, 0, runs[at] - first]
    deltas = [run - (runs[i - 2] if i > 2 else 0) for i, run in enumerate(runs)]
    text = "".join(reference.spell(delta) for delta in deltas)
    for counts in (runs, text):
        read = km.Mask.from_rle({"size": list(array.shape), "counts": counts})
        assert read == mask
        assert read.to_rle() == coco_rle(array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_dtype_and_order_encodes(dtype: str, order: Any) -> None:
    array = np.zeros((5, 7), np.dtype(dtype), order=order)
    array[1:4, 2] = 1
    assert km.encode(array) == coco_rle((array != 0).astype(np.uint8))


def test_what_counts_as_foreground() -> None:
    values = np.array([[0.0, -0.0, np.nan, np.inf, 5e-324, -1.0]])
    assert km.decode(km.encode(values)).tolist() == [[0, 0, 1, 1, 1, 1]]
    assert km.decode(km.encode(np.array([[0, 1, 2, 255]], np.uint8))).tolist() == [[0, 1, 1, 1]]
    assert km.decode(km.encode(np.array([[256, 0]], np.int32))).tolist() == [[1, 0]]
    assert km.encode([[0, 1], [1, 0]]) == km.encode(np.array([[0, 1], [1, 0]]))


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0), (0, 2**32 - 1), (2**32 - 1, 0)])
def test_sizes_with_a_zero(size: tuple[int, int]) -> None:
    for counts in ("", "0", [], [0], [0, 0, 0]):
        mask = km.Mask.from_rle({"size": list(size), "counts": counts})
        assert (mask.size, mask.area, mask.bbox) == (size, 0, (0, 0, 0, 0))
        assert mask.counts == "0"
        assert mask.to_numpy().shape == size
        assert mask.to_numpy(order="F").shape == size
        assert ~mask == mask == mask | mask
    rle = {"size": list(size), "counts": "0"}
    tracemalloc.start()
    try:
        assert km.encode(np.zeros(size, np.uint8)) == rle
        assert km.decode(rle).shape == size
        assert km.decode([rle, rle]).shape == (2, *size)
        assert km.decode([], out=np.zeros((0, 2**31, 2**31), np.uint8)).size == 0
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_real_masks(coco_results: list[dict[str, Any]], sav_file: dict[str, Any]) -> None:
    rles = [result["segmentation"] for result in coco_results]
    rles += [rle for frame in sav_file["masklet"] for rle in frame]
    assert len(rles) == 734 + 605
    for rle in rles:
        expected = coco.decode(rle)
        np.testing.assert_array_equal(km.decode(rle), expected)
        assert km.encode(expected) == rle
        assert km.encode(np.ascontiguousarray(expected)) == rle
        assert km.Mask.from_rle(rle).to_rle() == rle
