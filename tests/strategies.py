"""Masks as hypothesis draws them: noise, blocks, ellipses, and the extremes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

Array = npt.NDArray[np.uint8]


@st.composite
def sizes(draw: DrawFn) -> tuple[int, int]:
    """Mostly small; some one pixel thin and long; some empty."""
    drawn: tuple[int, int] = draw(
        st.one_of(
            st.tuples(st.integers(1, 40), st.integers(1, 40)),
            st.tuples(st.integers(1, 130), st.integers(1, 130)),
            st.tuples(st.just(1), st.integers(0, 1200)),
            st.tuples(st.integers(0, 1200), st.just(1)),
            st.tuples(st.integers(0, 3), st.integers(500, 1100)),
            st.tuples(st.integers(500, 1100), st.integers(0, 3)),
        )
    )
    return drawn


@st.composite
def arrays(draw: DrawFn, size: tuple[int, int] | None = None) -> Array:
    """A mask of 0 and 1, C-contiguous."""
    h, w = size or draw(sizes())
    kind = draw(st.sampled_from(["noise", "blocks", "ellipse", "empty", "full"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "noise":
        return (rng.random((h, w)) < draw(st.floats(0, 1))).astype(np.uint8)
    if kind == "blocks":
        step = draw(st.integers(2, 40))
        coarse = (rng.random((h // step + 1, w // step + 1)) < 0.5).astype(np.uint8)
        return coarse.repeat(step, 0).repeat(step, 1)[:h, :w]
    if kind == "ellipse":
        y, x = np.ogrid[:h, :w]
        cy, cx, ry, rx = rng.random(4) * [h, w, h, w]
        inside: npt.NDArray[np.bool_] = ((y - cy) / (ry + 1)) ** 2 + ((x - cx) / (rx + 1)) ** 2 < 1
        return inside.astype(np.uint8)
    return np.full((h, w), kind == "full", np.uint8)


@st.composite
def stacks(draw: DrawFn, least: int = 1, most: int = 6) -> Array:
    """Masks of one size: (n, h, w)."""
    size = draw(sizes())
    drawn = [draw(arrays(size)) for _ in range(draw(st.integers(least, most)))]
    return np.array(drawn, np.uint8).reshape(len(drawn), *size)


@st.composite
def pairs(draw: DrawFn) -> tuple[Array, Array]:
    """Two masks of one size, often overlapping."""
    size = draw(sizes())
    return draw(arrays(size)), draw(arrays(size))


DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "longdouble", ">i4", ">f8"),
]


@st.composite
def layouts(draw: DrawFn, array: Array) -> npt.NDArray[Any]:
    """The same mask in any dtype, with any non-zero values, and any strides."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = -128 if dtype.kind in "if" else 1
    values = rng.integers(low, 128, array.shape)
    values[values == 0] = 1
    typed = np.where(array, values, 0).astype(dtype)
    steps = draw(st.tuples(*[st.sampled_from([1, 1, 2, 3, -1, -2])] * array.ndim))
    axes = draw(st.permutations(range(array.ndim)))
    shape = [abs(step) * length for step, length in zip(steps, array.shape, strict=True)]
    room = np.full([shape[axis] for axis in axes], 77).astype(dtype)
    view = room.transpose(np.argsort(axes))[tuple(slice(None, None, step) for step in steps)]
    view[...] = typed
    return view
