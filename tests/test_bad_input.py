"""What is not a mask: every defect is refused with its reason and its place."""

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import klingmask as km
from klingmask import _rle
from tests import reference
from tests.strategies import Array, arrays


def rle(counts: object, size: object = (4, 4)) -> dict[str, Any]:
    return {"size": size, "counts": counts}


BLANK = km.Mask.zeros((3, 4))


class Liar(np.ndarray[Any, Any]):
    """An array that says of itself what is not so; what it holds is what counts."""

    shape: Any = (10**6, 3000, 3000)
    dtype: Any = np.dtype(np.uint8)
    flags: Any = np.ones(1).flags
    astype: Any = staticmethod(lambda *_: np.zeros(5, bool))

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, key: object) -> Any:
        return np.zeros((10**6, 50, 50), np.uint8)


def test_an_array_is_not_asked_what_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (4, 50, 60)).astype(np.uint8)
    expected = km.MaskArray.from_numpy(pixels)
    for dtype in (np.uint8, np.int32, np.float64):
        lying = pixels.astype(dtype).view(Liar)
        for threads in (1, 2):
            assert list(km.MaskArray.from_numpy(lying, threads=threads)) == list(expected)
        assert km.encode(lying) == expected.to_rles()
        assert km.encode(np.asarray(lying)[0].view(Liar)) == expected[0].to_rle()
        assert km.Mask.from_numpy(np.asarray(lying)[0].view(Liar)) == expected[0]
    for threads in (1, 2):
        out = np.zeros((4, 50, 60), np.uint8).view(Liar)
        assert expected.to_numpy(out=out, threads=threads) is out
        np.testing.assert_array_equal(np.asarray(out), pixels)
    for wrong in ((3, 3), (1, 50, 60), (10**6, 3, 3)):
        with pytest.raises(km.RLEError, match="must have the shape"):
            expected[0].to_numpy(out=np.zeros(wrong, np.uint8).view(Liar))
    picture = np.full((50, 60, 3), 9, np.uint8)
    laid = np.zeros((50, 60, 3), np.uint8).view(Liar)
    assert km.overlay(picture.view(Liar), expected[0], out=laid) is laid
    np.testing.assert_array_equal(np.asarray(laid), km.overlay(picture, expected[0]))
    with pytest.raises(km.RLEError, match="out must be uint8 of shape"):
        km.overlay(picture, expected[0], out=np.zeros((3, 3, 3), np.uint8).view(Liar))
    with pytest.raises(TypeError, match="uint8 or bool"):
        expected[0].to_numpy(out=np.zeros((50, 60), np.float32).view(Liar))
    with pytest.raises(km.RLEError, match="read-only"):
        expected[0].to_numpy(out=np.frombuffer(bytes(3000), np.uint8).reshape(50, 60).view(Liar))


@pytest.mark.parametrize(
    ("counts", "position", "reason"),
    [
        ("!", 0, "outside 48..111"),
        ("1/", 1, "'/' is outside"),
        ("1p", 1, "'p' is outside"),
        ("1\0", 1, r"'\\x00' is outside"),
        (b"1\0", 1, r"'\\x00' is outside"),
        (b"1\xff", 1, "outside"),
        ("11é", 2, "'é' is outside"),
        ("11\udc80", 2, "outside"),
        ("1" + "P", 1, "ends inside a code"),
        ("1" + "P" * 7 + "0", 1, "more characters than its run needs"),
        ("1" + "P0", 1, "more characters than its run needs"),
        ("1" + "oO", 1, "more characters than its run needs"),
        ("O", 0, "a run of -1 pixels"),
        ("111M", 3, "a run of -2 pixels"),
        ("2?", 1, "add up to 17, past the 4 x 4 = 16"),
        ("PPPPPP1", 0, "past the 4 x 4 = 16"),
        ("1", 1, "end with 1 of the 4 x 4 = 16"),
        ("", 0, "end with 0 of the 4 x 4 = 16"),
    ],
)
def test_a_malformed_text(counts: str | bytes, position: int, reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason) as caught:
        km.decode(rle(counts))
    assert caught.value.position == position
    assert str(caught.value).startswith(f"byte {position}: ")
    assert caught.value.index is None


@pytest.mark.parametrize(
    ("counts", "position", "reason"),
    [
        ([3, -1, 14], 1, "a run of -1 pixels"),
        ([3, 14], 1, "add up to 17, past the 4 x 4 = 16"),
        ([3, 2**32], 1, "a run of 4294967296 pixels"),
        ([3, 2**63], 1, "a run of 9223372036854775808 pixels"),
        ([3, 2**70], 1, "a run of 1180591620717411303424 pixels"),
        ([3, 2], 2, "end with 5 of the 4 x 4 = 16"),
        (np.array([-1, 17]), 0, "a run of -1 pixels"),
    ],
)
def test_malformed_run_lengths(counts: object, position: int, reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason) as caught:
        km.decode(rle(counts))
    assert caught.value.position == position
    assert str(caught.value).startswith(f"run {position}: ")


@pytest.mark.parametrize(
    ("value", "error", "reason"),
    [
        (rle([1, 15.0]), TypeError, "run 1 must be an integer, got 15.0"),
        (rle([1, np.nan]), TypeError, "run 1 must be an integer, got nan"),
        (rle([True, False]), TypeError, "run 0 must be an integer, got True"),
        (rle(["1", "5"]), TypeError, "run 0 must be an integer, got '1'"),
        (rle([None]), TypeError, "run 0 must be an integer, got None"),
        (rle([[1, 15]]), km.RLEError, "flat list"),
        (rle([[1], [1, 2]]), km.RLEError, "flat list"),
        (rle(None), TypeError, "got NoneType"),
        (rle(16), TypeError, "got int"),
        (rle("@", (-1, 4)), km.RLEError, "must not be negative"),
        (rle("@", (4, -4)), km.RLEError, "must not be negative"),
        (rle("@", (4.0, 4)), TypeError, "height must be an integer, got 4.0"),
        (rle("@", (4, "4")), TypeError, "width must be an integer, got '4'"),
        (rle("@", (4, True)), TypeError, "width must be an integer, got True"),
        (rle("@", (4, None)), TypeError, "width must be an integer, got None"),
        (rle("@", (4,)), km.RLEError, r"\(height, width\)"),
        (rle("@", (4, 4, 1)), km.RLEError, r"\(height, width\)"),
        (rle("@", 16), TypeError, r"\(height, width\)"),
        (rle("@", "44"), TypeError, r"\(height, width\)"),
        (rle("@", {4: 4, 5: 5}), TypeError, r"\(height, width\)"),
        (rle("@", (2**16, 2**16)), km.RLEError, "ends at 2\\*\\*32 - 1"),
        (rle("@", (2**32, 0)), km.RLEError, "ends at 2\\*\\*32 - 1"),
        (rle("@", (2**80, 2**80)), km.RLEError, "ends at 2\\*\\*32 - 1"),
        ({"size": [4, 4]}, km.RLEError, "'counts' is missing"),
        ({"counts": "@"}, km.RLEError, "'size' is missing"),
        ({}, km.RLEError, "is missing"),
        ({"object_id": 0, "rle_mask": rle("@")}, km.RLEError, "pass its 'rle_mask'"),
        ("@", TypeError, "got str"),
        (None, TypeError, "got NoneType"),
        (7, TypeError, "got int"),
    ],
)
def test_what_is_no_rle(value: Any, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        km.Mask.from_rle(value)
    with pytest.raises(error):
        km.decode(value)
    with pytest.raises(error):
        km.union([value])


def test_an_error_in_a_list_says_which() -> None:
    good, bad = km.encode(np.eye(4)), rle("1")
    with pytest.raises(km.RLEError, match=r"^rles\[2\]: byte 1: ") as caught:
        km.area([good, good, bad])
    assert (caught.value.index, caught.value.position) == (2, 1)
    with pytest.raises(TypeError, match=r"^rles\[1\]: "):
        km.area([good, 5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"^rles\[0\]: .*MaskArray\.from_numpy\(stack\)"):
        km.area(np.zeros((2, 4, 4)))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.index, again.position) == (str(caught.value), 2, 1)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_list_that_is_decoded_names_the_first_that_cannot_be(order: Any, threads: int) -> None:
    good = km.encode(np.eye(60, 70, dtype=np.uint8))
    bad = {"size": [60, 70], "counts": good["counts"] + "1"}
    out = np.zeros((5, 60, 70) if order == "C" else (5, 70, 60), np.uint8)
    out = out if order == "C" else out.swapaxes(1, 2)
    with pytest.raises(km.RLEError, match=r"rles\[3\]: byte \d+: the runs add up") as caught:
        km.decode([good, good, good, bad, bad], out=out, threads=threads)
    assert (caught.value.index, caught.value.position) == (3, len(good["counts"]))
    np.testing.assert_array_equal(out[:3], [np.eye(60, 70)] * 3)
    with pytest.raises(km.RLEError, match="outside 48"):
        km.decode([{"size": [0, 5], "counts": "zz"}], threads=threads)


@pytest.mark.parametrize(
    "array", [np.zeros(4), np.zeros((1, 2, 3, 4)), np.zeros(()), np.zeros((2, 2, 2))]
)
def test_a_wrong_number_of_axes(array: Array) -> None:
    with pytest.raises(km.RLEError, match="must have the shape"):
        km.Mask.from_numpy(array)
    if array.ndim != 3:
        with pytest.raises(km.RLEError, match="must have the shape"):
            km.encode(array)
        with pytest.raises(km.RLEError, match="must have the shape"):
            km.MaskArray.from_numpy(array)


@pytest.mark.parametrize("dtype", ["complex64", "U1", "S1", "O", "M8[s]", "V1"])
def test_a_wrong_dtype(dtype: str) -> None:
    with pytest.raises(TypeError, match="bool, integers or floats"):
        km.encode(np.zeros((2, 2), dtype))


@pytest.mark.parametrize("where", ["value", "threads"])
def test_out_is_looked_at_last(where: str) -> None:
    """What turns into an integer is the caller's code: it may do to `out` what it likes."""
    masks = km.MaskArray.from_rles([km.Mask.from_bbox((64, 64), (0, 0, 64, 64))] * 2)

    for change in (
        lambda out: out.resize((8192, 1, 1), refcheck=False),  # another shape of the same memory
        lambda out: out.resize((0, 0), refcheck=False),
        lambda out: out.setflags(write=False),
    ):
        for fill in (masks.to_numpy, lambda **given: km.decode(masks.to_rles(), **given)):
            out = np.zeros((2, 64, 64), np.uint8)

            class Changing:
                def __index__(self, change: Any = change, out: Any = out) -> int:
                    change(out)
                    return 1

            with pytest.raises(km.RLEError, match=r"^out "):
                fill(out=out, **{where: Changing()})  # type: ignore[call-overload]
            assert not out.any()


def test_a_number_is_an_int_and_no_more() -> None:
    class Small(int):
        def __le__(self, other: object) -> bool:
            return True

        def __lt__(self, other: object) -> bool:
            return False

    with pytest.raises(km.RLEError, match="value 256 does not fit uint8"):
        km.decode(km.Mask.zeros((2, 2)), value=Small(256))
    with pytest.raises(ValueError, match="threads must be at least 1, got -1"):
        km.decode([km.Mask.zeros((2, 2))], threads=Small(-1))


untyped: Any = km
HUGE = 10**5000  # int refuses to write more than 4,300 digits


@pytest.mark.parametrize(
    ("call", "position"),
    [
        (lambda: untyped.area(rle("0", [HUGE, HUGE])), None),
        (lambda: untyped.area(rle("0", [-HUGE, 1])), None),
        (lambda: untyped.area(rle("0", [HUGE, 1, 1])), None),
        (lambda: untyped.area(rle([3, HUGE])), 1),
        (lambda: untyped.area(rle([3, -HUGE])), 1),
        (lambda: untyped.area(rle([0, 1, [HUGE]])), None),
        (lambda: untyped.Mask.zeros((HUGE, 1)), None),
        (lambda: untyped.Mask.from_bbox((4, 4), (0, 0, -HUGE, 1)), None),
        (lambda: untyped.Mask.from_bbox((4, 4), (0, 0, HUGE)), None),
        (lambda: untyped.Mask.zeros((3, 4)).crop((0, 0, -HUGE, 1)), None),
        (lambda: untyped.Mask.zeros((3, 4)).crop((0, 0, HUGE)), None),
        (lambda: untyped.Mask.zeros((3, 4)).pad(0, 0, -HUGE, 0), None),
        (lambda: untyped.Mask.zeros((3, 4)).resize(HUGE, 1), None),
        (lambda: untyped.Mask.zeros((3, 4)).to_numpy(value=HUGE), None),
        (lambda: untyped.set_max_pixels(-HUGE), None),
        (lambda: untyped.overlay(np.zeros((3, 4, 3), np.uint8), [], [(HUGE, 0, 0)]), None),
        (lambda: untyped.render_layer(untyped.Mask.zeros((3, 4)), (HUGE, 0, 0, 0)), None),
        (lambda: untyped.overlay(np.zeros((3, 4, 3), np.uint8), [BLANK], opacity=HUGE), None),
        (lambda: untyped.overlay(np.zeros((3, 4, 3), np.uint8), [BLANK], outline=-HUGE), None),
    ],
)
def test_an_integer_of_thousands_of_digits(
    call: Callable[[], object], position: int | None
) -> None:
    with pytest.raises(km.RLEError) as caught:
        call()
    assert caught.value.position == position
    assert len(str(caught.value)) < 300


def test_an_integer_of_thousands_of_digits_in_a_list_says_where() -> None:
    with pytest.raises(
        km.RLEError, match=r"rles\[1\]: run 1: a run of 2\*\*16609 or more"
    ) as caught:
        km.MaskArray.from_rles([BLANK, rle([3, HUGE])])
    assert (caught.value.index, caught.value.position) == (1, 1)
    with pytest.raises(km.RLEError, match=r"rles\[2\]: size .*2\*\*16609 or more"):
        km.area([BLANK, BLANK, rle("0", [HUGE, 1])])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: untyped.Mask.zeros((3, 4)).flip(HUGE), ValueError),
        (lambda: untyped.decode([BLANK], threads=-HUGE), ValueError),
        (lambda: untyped.decode(BLANK, order=HUGE), ValueError),
        (lambda: untyped.MaskArray.from_rles([BLANK])[HUGE], IndexError),
        (lambda: untyped.Mask.zeros([HUGE]), km.RLEError),
        (lambda: untyped.Mask.zeros(HUGE), TypeError),
        (lambda: untyped.Mask.zeros(([HUGE], 1)), TypeError),
    ],
)
def test_messages_with_an_integer_of_thousands_of_digits(
    call: Callable[[], object], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert "digits" not in str(caught.value), "int's own refusal"


@pytest.mark.parametrize(
    "answer", [np.ones(5), np.ones(1), np.array(True), np.ones((9, 9), bool), np.ones((3, 4))]
)
def test_a_threshold_does_not_answer_by_itself(answer: Array) -> None:
    class Answering(float):
        __array_ufunc__ = None

        def __lt__(self, other: object) -> Any:
            return answer

    scores = np.linspace(0, 1, 12).reshape(3, 4)
    assert km.Mask.from_numpy(scores, Answering(0.5)).area == 6
    for threshold, area in ((10**400, 0), (-(10**400), 12), (np.inf, 0), (np.nan, 0)):
        assert km.Mask.from_numpy(scores, threshold).area == area


def test_counts_that_are_reshaped_meanwhile() -> None:
    counts = np.empty(1, object)

    class Reshaping:
        def __index__(self) -> int:
            counts.shape = ()
            return 12

    counts[0] = Reshaping()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of setting a shape
        assert km.Mask.from_rle(rle(counts, (3, 4))) == BLANK


def test_private_functions_check_what_they_would_crash_on() -> None:
    private: Any = _rle
    wide = km.Mask.from_bbox((300, 400), (0, 0, 400, 300))
    layer = ((1, 2, 3, 4), 1, 1)
    calls: list[Callable[[], object]] = [
        lambda: private._blend(np.zeros((3, 4, 3), np.uint8), [(wide, *layer)]),
        lambda: private._blend(np.zeros((3, 4, 3), np.uint8), [(None, *layer)]),
        lambda: private._blend(np.zeros(3, np.uint8), []),
        lambda: private._plurality(km.MaskArray.from_rles([wide]), np.array([5], np.uint32), 1),
        lambda: private._plurality(km.MaskArray.from_rles([wide]), np.zeros(0, np.uint32), 1),
    ]
    for call in calls:
        with pytest.raises(km.RLEError):
            call()


def test_messages_stay_short() -> None:
    with pytest.raises(TypeError, match=r"got 'x{100}") as caught:
        untyped.Mask.zeros("x" * 10**6)
    assert len(str(caught.value)) < 300


def test_a_wrong_out() -> None:
    mask = km.Mask.zeros((3, 5))
    with pytest.raises(km.RLEError, match=r"shape \(3, 5\), got \(5, 3\)"):
        mask.to_numpy(out=np.empty((5, 3), np.uint8))
    with pytest.raises(km.RLEError, match="read-only"):
        mask.to_numpy(out=np.broadcast_to(np.uint8(0), (3, 5)))
    with pytest.raises(TypeError, match="uint8 or bool array, got float64"):
        mask.to_numpy(out=np.empty((3, 5)))  # type: ignore[type-var]
    with pytest.raises(TypeError, match="got list"):
        mask.to_numpy(out=[[0] * 5] * 3)  # type: ignore[call-overload]
    for dtype in ("U1", "object", "complex64", "datetime64[s]"):
        with pytest.raises(TypeError, match="dtype must be bool, an integer or a float type"):
            mask.to_numpy(dtype=dtype)
    with pytest.raises(km.RLEError, match="value 128 does not fit int8"):
        mask.to_numpy(dtype="int8", value=128)
    with pytest.raises(ValueError, match="'C' or 'F'"):
        mask.to_numpy(order="A")  # type: ignore[call-overload]
    with pytest.raises(km.RLEError, match="value 256"):
        mask.to_numpy(value=256)
    with pytest.raises(km.RLEError, match="value 2 does not fit bool"):
        mask.to_numpy(dtype="bool", value=2)


def test_strict_off_takes_a_missing_tail_as_background() -> None:
    short = rle("32", (4, 4))
    with pytest.raises(km.RLEError, match="strict=False"):
        km.decode(short)
    expected = np.zeros(16, np.uint8)
    expected[3:5] = 1
    np.testing.assert_array_equal(km.decode(short, strict=False), expected.reshape(4, 4).T)
    assert km.Mask.from_rle(rle("", (2, 2)), strict=False) == km.Mask.zeros((2, 2))
    assert km.MaskArray.from_rles([short], strict=False).area.tolist() == [2]
    assert km.Mask.from_rle(rle([3, 2]), strict=False) == km.Mask.from_rle(short, strict=False)
    padded = rle("P0" + "4" + "<", (4, 4))
    assert km.Mask.from_rle(padded, strict=False) == km.Mask.from_rle(rle([0, 4, 12]))
    for broken in ("!", "1P", "O", "111M", "2?", "P" * 7 + "0"):
        with pytest.raises(km.RLEError):
            km.decode(rle(broken), strict=False)


ALPHABET = "".join(chr(code) for code in range(48, 112))


@settings(max_examples=2000)
@given(arrays(), st.data())
def test_a_mutated_text_is_refused_or_well_formed(array: Array, data: st.DataObject) -> None:
    """The law: exactly what the definition calls well-formed decodes, to its pixels."""
    text = km.encode(array)["counts"]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        new = data.draw(st.text(st.sampled_from(ALPHABET), max_size=2) | st.text(max_size=2))
        text = text[:at] + new + text[at + data.draw(st.integers(0, 2)) :]
    mutated = {"size": list(array.shape), "counts": text}
    expected = reference.decode(mutated)
    if expected is None:
        with pytest.raises(km.RLEError) as caught:
            km.decode(mutated)
        assert caught.value.position is not None
        assert 0 <= caught.value.position <= len(text)
    else:
        np.testing.assert_array_equal(km.decode(mutated), expected)


@settings(max_examples=2000)
@given(
    st.text(st.sampled_from(ALPHABET), max_size=12), st.tuples(st.integers(0, 6), st.integers(0, 6))
)
@example("0", (0, 0))
@example("@", (4, 4))
@example("000000@", (4, 4))
@example("oO", (0, 0))
def test_any_text_is_refused_or_well_formed(text: str, size: tuple[int, int]) -> None:
    candidate = {"size": list(size), "counts": text}
    expected = reference.decode(candidate)
    if expected is None:
        with pytest.raises(km.RLEError):
            km.Mask.from_rle(candidate)
    else:
        np.testing.assert_array_equal(km.decode(candidate), expected)


def test_a_tiny_text_does_not_become_gigabytes(pixel_limit: Any) -> None:
    huge = rle([2**32 - 1], (65535, 65537))
    assert km.get_max_pixels() == 2**28
    mask = km.Mask.from_rle(huge)  # runs are cheap
    assert (mask.area, (~mask).area) == (0, 2**32 - 1)
    for allocate in (
        lambda: km.decode(huge),
        lambda: km.decode([huge]),
        lambda: km.decode(huge, order="F", dtype="bool"),
        lambda: km.render_layer(mask),
        mask.to_png,
        lambda: np.asarray(mask),
    ):
        with pytest.raises(km.RLEError, match=r"268435456.*klingmask\.set_max_pixels\(\)"):
            allocate()
    assert mask._repr_png_() is None

    small = rle([16])
    pixel_limit(15)
    with pytest.raises(km.RLEError, match="over the limit of 15"):
        km.decode(small)
    assert km.decode(small, out=np.ones((4, 4), np.uint8)).sum() == 0
    pixel_limit(16)
    assert km.decode([small, small]).shape == (2, 4, 4)  # the limit is for one mask
    pixel_limit(None)
    assert km.get_max_pixels() is None
    assert km.decode(small).shape == (4, 4)
    with pytest.raises(km.RLEError, match="must not be negative"):
        pixel_limit(-1)
    with pytest.raises(TypeError, match="must be an integer"):
        pixel_limit(1.5)


@pytest.mark.parametrize("size", [(2**32 - 1, 1), (1, 2**32 - 1), (65535, 65537), (3, 2**30)])
def test_runs_of_four_billion_pixels(size: tuple[int, int]) -> None:
    total = size[0] * size[1]
    everything = ~km.Mask.zeros(size)
    corner = km.Mask.from_bbox(size, (size[1] - 1, size[0] - 1, 1, 1))
    assert everything.area == total
    assert everything.bbox == (0, 0, size[1], size[0])
    assert corner.bbox == (size[1] - 1, size[0] - 1, 1, 1)
    assert (everything - corner).area == total - 1
    assert everything & corner == corner
    assert (everything ^ corner) | corner == everything
    assert everything.iou(corner) == 1 / total
    assert (size[1] - 1, size[0] - 1) in corner
    assert (0, 0) not in corner
    assert km.Mask.from_rle(corner.to_rle()) == corner
    masks = km.MaskArray.from_rles([everything, corner])
    assert masks.area.tolist() == [total, 1]
    assert masks.union() == everything
