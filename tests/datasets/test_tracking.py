"""What is written is read again."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klingmask as km
from klingmask.datasets import read_masks, tracking_to_json
from tests.datasets.files import RLE
from tests.strategies import arrays

_objects = st.dictionaries(st.integers() | st.text(), arrays().map(km.Mask.from_numpy), max_size=3)


@given(st.dictionaries(st.integers(0, 2**40), _objects, max_size=4))
def test_what_is_written_is_read_again(tracking: dict[int, dict[int | str, km.Mask]]) -> None:
    found = read_masks(tracking_to_json(tracking))
    assert found.tracking() == tracking


def test_numbers_of_numpy_are_written_and_others_are_refused() -> None:
    mask = km.Mask.from_rle(RLE)
    numbers: Any = {np.int64(3): {np.uint8(4): mask, np.float64(1.5): mask}}
    assert read_masks(tracking_to_json(numbers)).tracking() == {3: {4: mask, 1.5: mask}}
    wrong: list[Any] = [{0: {(1, 2): mask}}, {0.0: {1: mask}}, {"0": {1: mask}}]
    for tracking in wrong:
        with pytest.raises(TypeError, match="integer"):
            tracking_to_json(tracking)
    with pytest.raises(ValueError, match="JSON compliant"):
        tracking_to_json({0: {float("nan"): mask}})
