"""Memory, threads and imports: what a long-running process depends on."""

import copy
import gc
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klingmask as km
from tests.strategies import Array, arrays


def attempt(call: Callable[[], object]) -> None:
    try:
        call()
    except (km.RLEError, TypeError):
        pass
    else:
        raise AssertionError("this was meant to fail")


def use_everything(array: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    """Every path that allocates, failing ones too."""
    rle = km.encode(array)
    mask = km.Mask.from_rle(rle)
    out = np.empty((2, *array.shape), np.uint8)
    masks = km.MaskArray.from_rles([rle, mask])
    km.decode(rle, order="F")
    masks.to_numpy(out=out[:, ::-1, ::-1])
    km.encode(np.asfortranarray(array))
    km.encode(out)
    _ = (mask | ~mask).area, (mask ^ mask).bbox, masks.union(), masks.iou(masks), masks[::-1].area
    _ = (
        mask.runs,
        mask.counts,
        hash(mask),
        masks.to_rles(),
        km.overlay(np.zeros((*mask.size, 3), "u1"), mask),
    )
    size = rle["size"]
    attempt(lambda: km.decode({"size": size, "counts": rle["counts"] + "1"}))
    attempt(lambda: km.decode({"size": size, "counts": rle["counts"][:-1] + "P"}))
    attempt(lambda: km.area([rle, {"size": size, "counts": "é"}]))
    attempt(lambda: km.area([rle, {"size": size, "counts": [0, -1]}]))
    attempt(lambda: km.area([rle, None]))  # type: ignore[list-item]
    attempt(lambda: km.union([rle, km.Mask.zeros((1, 1))]))
    attempt(lambda: km.encode(array.astype(complex)))


@pytest.mark.parametrize(("size", "rounds"), [((60, 80), 300), ((300, 400), 100)])
def test_memory_stays_flat(size: tuple[int, int], rounds: int) -> None:
    """tracemalloc sees the core's buffers too: they are Python's raw memory.

    What a call needs for itself is on the stack for the small mask, not for the large.
    """
    array = (np.random.default_rng(0).random(size) < 0.3).astype(np.uint8)
    tracemalloc.start()
    try:
        for _ in range(20):
            use_everything(array)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(rounds):
            use_everything(array)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    one_mask = km.Mask.from_numpy(array).runs.nbytes
    assert grown < 2 * one_mask  # a single leaked buffer an iteration would be far more


def test_a_million_decodes_leave_the_resident_size_flat() -> None:
    """What tracemalloc cannot see: pixels that come from calloc, the allocator's own waste."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("the resident size is read from Linux's /proc")
    rles = [km.encode(np.eye(n, n + 3, dtype=np.uint8)) for n in range(1, 41)]

    def decode(times: int) -> int:
        for _ in range(times // len(rles)):
            for rle in rles:
                km.decode(rle)
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = decode(100_000)
    assert decode(1_000_000) - before < 1 << 20


def test_a_batch_allocates_its_output_and_little_more() -> None:
    rng = np.random.default_rng(0)
    rles = [km.encode(rng.random((300, 400)) < 0.5) for _ in range(40)]  # as many runs as can be
    masks = km.MaskArray.from_rles(rles)
    out = masks.to_numpy()
    text = sum(len(rle["counts"]) for rle in rles)
    tracemalloc.start()
    try:
        calls: list[tuple[Callable[[], object], int]] = [
            (lambda: masks.to_numpy(), out.nbytes),
            (lambda: masks.to_numpy(out=out), 0),
            (lambda: km.decode(rles), out.nbytes),
            (lambda: km.decode(rles, out=out), 0),
            (lambda: km.area(rles), 0),
            (lambda: km.bbox(rles), 0),
            (lambda: km.encode(out), 16 * text),
        ]
        for call, allowed in calls:
            call()
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            call()
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak - allowed < 4 * out[0].nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [1, 4000, 40_000])
def test_a_mask_array_keeps_at_most_twice_its_runs(length: int) -> None:
    """Room is made for a run of each character; differences of long runs have several."""
    runs = [length, length, 5 * length, 5 * length] * min(10_000, 2**31 // (12 * length))
    rle = km.Mask.from_rle({"size": [sum(runs), 1], "counts": runs}).to_rle()
    assert (len(rle["counts"]) > 2.5 * len(runs)) == (length > 1)
    for n in 1, 50:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            masks = km.MaskArray.from_rles([rle] * n)
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert masks[0].runs.tolist() == runs
        assert kept <= 2 * n * masks[0].runs.nbytes + 200 * n + 1000


@pytest.mark.parametrize(
    "own",
    [
        lambda mask: mask.copy(),
        copy.copy,
        copy.deepcopy,
        lambda mask: km.MaskArray.from_rles([mask])[0],
        lambda mask: km.MaskArray.concatenate([mask])[0],
    ],
)
def test_a_mask_of_a_batch_keeps_it_until_it_has_runs_of_its_own(
    own: Callable[[km.Mask], km.Mask],
) -> None:
    stack = np.random.default_rng(0).random((50, 100, 100)) < 0.5
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        mask = km.MaskArray.from_numpy(stack)[3]
        shared = tracemalloc.get_traced_memory()[0] - before
        mask = own(mask)
        alone = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert shared > 40 * mask.runs.nbytes
    assert alone < 2 * mask.runs.nbytes


@pytest.mark.parametrize(
    "pick",
    [
        lambda masks: masks[np.array([3, 7])],
        lambda masks: masks[[3, 7]],
        lambda masks: masks[np.arange(50) % 25 == 3],
        lambda masks: masks[3:5].copy(),
        lambda masks: copy.copy(masks[3:5]),
        lambda masks: copy.deepcopy(masks[3:5]),
    ],
)
def test_masks_that_are_picked_keep_their_own_runs(
    pick: Callable[[km.MaskArray], km.MaskArray],
) -> None:
    stack = np.random.default_rng(0).random((50, 100, 100)) < 0.5
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = pick(km.MaskArray.from_numpy(stack))
        size = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert size < 2 * sum(mask.runs.nbytes for mask in kept)


def _pages_of_kept_masks(order: Literal["C", "F"], listed: bool) -> tuple[int, int]:
    """How many page faults it takes to decode masks of a small box and keep the arrays."""
    import resource

    masks = [km.Mask.from_bbox((1000, 1000), (k, k, 20, 20)) for k in range(100)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays: list[Any] = (
        list(km.decode(masks[:30], order=order))
        if listed
        else [mask.to_numpy(order=order) for mask in masks]
    )
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    for mask, array in zip(masks, arrays, strict=False):
        assert array.sum() == mask.area == 400
    return faults, len(arrays) * 1_000_000 // resource.getpagesize()


@pytest.mark.skipif(platform.system() != "Linux", reason="counts page faults as Linux does")
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("listed", [False, True])
def test_kept_pixels_take_the_pages_of_the_boxes_alone(
    order: Literal["C", "F"], listed: bool
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # a fresh heap
        faults, pages = pool.submit(_pages_of_kept_masks, order, listed).result()
    assert faults < pages // 3


@pytest.mark.parametrize("size", [(100, 100), (1000, 1000)])  # numpy's memory, and our blocks
def test_decoded_arrays_are_plain_arrays(size: tuple[int, int]) -> None:
    mask = km.Mask.from_bbox(size, (5, 5, 10, 10))
    for array in (mask.to_numpy(), mask.to_numpy(order="F")):
        assert array.flags.owndata
        assert array.base is None
        array.flags.writeable = False
        array.flags.writeable = True
        array[:] = 3
        array.resize((2000, 3), refcheck=False)
        assert array.sum() == 3 * min(6000, size[0] * size[1])


def _resident_after_much() -> int:
    """How many bytes stay in memory after 100 arrays of 4 MB were kept and dropped."""

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    mask = ~km.Mask.zeros((2000, 2000))
    mask.to_numpy()
    before = resident()
    kept = [mask.to_numpy() for _ in range(100)]
    assert resident() - before > 300 << 20
    del kept
    return resident() - before


@pytest.mark.skipif(platform.system() != "Linux", reason="reads the resident size as Linux has it")
def test_freed_blocks_are_kept_up_to_a_limit() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_resident_after_much).result() < 40 << 20


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 900), arrays()), max_size=12))
def test_memory_that_is_used_again_is_cleared(
    drawn: list[tuple[int, int, Array]],
) -> None:
    """Arrays of 64 KiB and more get the memory of those that were freed before."""
    kept = []
    for index, (h, w, array) in enumerate(drawn):
        image = np.resize(array, (h, w)) if array.size else np.zeros((h, w), np.uint8)
        mask = km.Mask.from_numpy(image)
        for order in ("C", "F"):
            decoded = mask.to_numpy(order=order, value=7)
            np.testing.assert_array_equal(decoded, 7 * image)
            decoded.fill(9)
            if index % 3 == 0:
                kept.append((decoded, decoded.copy()))
    for decoded, before in kept:
        np.testing.assert_array_equal(decoded, before)


def test_a_big_batch_does_not_come_from_the_system_each_time() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("how memory comes from the system is glibc's way here")
    import resource

    rng = np.random.default_rng(0)
    stack = rng.random((40, 400, 500)) < 0.2
    rles = km.MaskArray.from_numpy(stack).to_rles()
    size = sum(mask.runs.nbytes for mask in km.MaskArray.from_rles(rles))
    assert size > 4 << 20
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        km.MaskArray.from_rles(rles)
        km.MaskArray.from_numpy(stack)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    assert faults * resource.getpagesize() < size


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "1", None])
def test_threads_are_a_number(threads: Any) -> None:
    stack = np.zeros((2, 3, 4), np.uint8)
    masks = km.MaskArray.from_numpy(stack)
    calls: list[Callable[[], object]] = [
        lambda: km.decode(masks[0], threads=threads),
        lambda: km.decode([masks[0]], threads=threads),
        lambda: masks.to_numpy(threads=threads),
        lambda: km.encode(stack, threads=threads),
        lambda: km.encode(stack[0], threads=threads),
        lambda: km.MaskArray.from_numpy(stack, threads=threads),
        lambda: km.iou(masks, masks, threads=threads),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match="threads must be"):
            call()


@pytest.mark.parametrize("threads", [2, 3, 50])
def test_threads_change_nothing(threads: int) -> None:
    rng = np.random.default_rng(0)
    stack = (rng.random((17, 97, 203)) < rng.random((17, 1, 1))).astype(np.uint8)
    masks = km.MaskArray.from_numpy(stack, threads=threads)
    assert masks == km.MaskArray.from_numpy(stack)
    rles = km.encode(stack, threads=threads)
    assert rles == masks.to_rles()
    orders: tuple[Literal["C"], Literal["F"]] = ("C", "F")
    for order in orders:
        np.testing.assert_array_equal(masks.to_numpy(order=order, threads=threads), stack)
        decoded = km.decode(rles, order=order, dtype="bool", threads=threads)
        np.testing.assert_array_equal(decoded, stack.astype(bool))
    out = np.empty((97, 203, 17), np.uint8).transpose(2, 0, 1)
    assert masks.to_numpy(value=9, out=out, threads=threads) is out
    np.testing.assert_array_equal(out, 9 * stack)
    np.testing.assert_array_equal(masks.iou(rles[:5], threads=threads), masks.iou(rles[:5]))
    np.testing.assert_array_equal(km.iou(rles, rles, threads=threads), masks.iou(masks))
    nothing = km.MaskArray.from_rles([])
    assert nothing.to_numpy(threads=threads).shape == (0, 0, 0)
    assert nothing.iou(masks, threads=threads).shape == (0, 17)
    assert len(km.MaskArray.from_numpy(stack[:0], threads=threads)) == 0


def test_threads_hand_on_errors() -> None:
    masks = km.MaskArray.from_rles([km.Mask.zeros((3, 4))] * 5)
    other = km.MaskArray.from_rles([km.Mask.zeros((4, 3))])
    with pytest.raises(km.RLEError, match="one size"):
        masks.iou(other, threads=2)
    for threads, error in [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)]:
        calls: list[Callable[[Any], object]] = [
            lambda threads: masks.to_numpy(threads=threads),
            lambda threads: masks.iou(masks, threads=threads),
            lambda threads: km.decode(masks[0], threads=threads),
            lambda threads: km.decode(masks, threads=threads),
            lambda threads: km.encode(np.zeros((3, 4)), threads=threads),
            lambda threads: km.encode(np.zeros((2, 3, 4)), threads=threads),
            lambda threads: km.iou(masks, masks, threads=threads),
        ]
        for call in calls:
            with pytest.raises(error, match="threads must be"):
                call(threads)


def test_threads_share_masks() -> None:
    rng = np.random.default_rng(0)
    arrays = [(rng.random((97, 203)) < rng.random()).astype(np.uint8) for _ in range(16)]
    masks = km.MaskArray.from_numpy(np.array(arrays))

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(16)
        for i in order:
            np.testing.assert_array_equal(masks[i].to_numpy(), arrays[i])
            assert km.Mask.from_numpy(arrays[i]) == masks[i]
            assert masks[i] | masks[15] == masks[[i, 15]].union()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(40)]:
            done.result()


def stamps_within(call: Callable[[], object]) -> int:
    """How often this thread came to read the clock while another was in the call."""
    span: list[float] = []

    def worker() -> None:
        span.append(time.perf_counter())
        call()
        span.append(time.perf_counter())

    thread = threading.Thread(target=worker)
    thread.start()
    stamps = []
    while thread.is_alive():
        stamps.append(time.perf_counter())
        time.sleep(0.0005)
    thread.join()
    return sum(span[0] < stamp < span[1] for stamp in stamps)


def test_heavy_calls_let_other_threads_run() -> None:
    """With the switch interval out of reach, a thread runs only if the call lets it."""
    mask = km.Mask.from_bbox((8000, 8000), (1, 1, 7000, 7000))
    rows = np.empty(mask.size, np.uint8)
    columns = np.empty(mask.size, np.uint8, order="F")
    picture = np.zeros((*mask.size, 3), np.uint8)
    many = km.Mask.from_bbox((3, 2_000_000), (0, 1, 2_000_000, 1))  # runs
    others = km.Mask.from_bbox((3, 2_000_000), (0, 2, 2_000_000, 1))
    masks = km.MaskArray.from_rles([many, others])
    calls: list[Callable[[], object]] = [
        lambda: mask.to_numpy(out=rows),
        lambda: mask.to_numpy(out=columns),
        lambda: km.Mask.from_numpy(rows),
        lambda: km.Mask.from_numpy(columns),
        lambda: many | others,
        lambda: many.iou(others),
        lambda: km.MaskArray.concatenate([many, others]),
        lambda: masks.area,
        lambda: masks.flip(0),
        lambda: masks | many,
        lambda: many.shift(0, 1),
        lambda: many.flip(0),
        lambda: many.resize(6, 1_000_000),
        lambda: many.counts,
        lambda: km.overlay(picture, mask, (1, 2, 3), outline=1),
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        for call in calls:
            # A busy machine may keep this thread waiting for as long as a call takes.
            assert any(stamps_within(call) for _ in range(50))
    finally:
        sys.setswitchinterval(interval)


def test_import_brings_numpy_and_nothing_heavy() -> None:
    heavy = ["requests", "jwt", "PIL", "av", "click", "rich", "urllib3", "asyncio"]
    check = (
        "import sys, numpy; before = set(sys.modules); import klingmask;"
        f"loaded = [name for name in {heavy!r} if name in sys.modules and name not in before];"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
