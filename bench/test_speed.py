"""Every operation on every corpus by every library: checked equal, then timed.

Run by `make bench`; report.py reads what this measures. No time is asserted.
"""

import operator
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import klingmask
from bench import corpora
from bench.peers import OURS, installed

PEERS, MISSING = installed()
FLOOR = "floor"


@dataclass(frozen=True)
class Work:
    """One operation on one corpus."""

    method: str
    arguments: tuple[Any, ...]
    masks: int
    plain: Callable[[Any], Any]
    """A result as something that == compares, memory layout included."""
    floor: Callable[[], object] | None = None
    same: Callable[[Any, Any], bool] = operator.eq
    """Whether a peer's result, made plain, is the right one."""
    one_by_one: bool = False
    """Whether the method takes a single mask, and the argument is a list of them."""
    kept: bool = False
    """Whether all results are kept until the last is made, as a list of arrays is."""


def _layout(order: str) -> Callable[[Any], Any]:
    def plain(arrays: Any) -> Any:
        flag = "C_CONTIGUOUS" if order == "C" else "F_CONTIGUOUS"
        return [(a.shape, a.dtype.str, a.flags[flag], a.tobytes("C")) for a in arrays]

    return plain


def _text(rle: Any) -> tuple[list[int], str]:
    counts = rle["counts"]
    return [int(n) for n in rle["size"]], counts if isinstance(counts, str) else counts.decode()


def _texts(rles: Any) -> Any:
    return [_text(rle) for rle in rles]


def _numbers(columns: Any) -> Any:
    return [np.asarray(column, np.float64).tolist() for column in columns]


def _table(table: Any) -> Any:
    return np.asarray(table).round(12).tolist()


def _fill(shapes: list[tuple[int, ...]]) -> Callable[[], object]:
    """Take a memset of as many bytes as the masks have pixels."""
    buffers = {shape: np.empty(shape, np.uint8) for shape in set(shapes)}
    for buffer in buffers.values():
        buffer.fill(1)

    def fill() -> None:
        for shape in shapes:
            buffers[shape].fill(1)

    return fill


def _scan(arrays: Any) -> Callable[[], object]:
    """A read of all pixels: memchr for a byte that is not there."""
    texts = [np.ascontiguousarray(array).tobytes() for array in arrays]
    return lambda: [text.find(b"\xff") for text in texts]


def _decode(order: str, kept: bool = False) -> Callable[[str], Work]:
    def work(corpus: str) -> Work:
        rles = corpora.rles(corpus)
        shapes = [array.shape for array in corpora.masks(corpus)]
        method = f"decode_{order.lower()}"
        floor = None if kept else _fill(shapes)
        return Work(method, (rles,), len(rles), _layout(order), floor, one_by_one=True, kept=kept)

    return work


def _encode(order: Any) -> Callable[[str], Work]:
    def work(corpus: str) -> Work:
        arrays = [np.asarray(array, order=order) for array in corpora.masks(corpus)]
        method = f"encode_{order.lower()}"
        return Work(method, (arrays,), len(arrays), _texts, _scan(arrays), one_by_one=True)

    return work


def _measure(method: str) -> Callable[[str], Work]:
    def work(corpus: str) -> Work:
        rles = corpora.rles(corpus)[:255]  # pycocotools' area fails beyond 255 masks
        return Work(method, (rles,), len(rles), _numbers)

    return work


def _batch(method: str) -> Callable[[str], Work]:
    def work(corpus: str) -> Work:
        rles, arrays = corpora.rles(corpus)[:255], corpora.masks(corpus)[:255]
        if method == "decode_batch":
            return Work(
                method,
                (rles,),
                len(rles),
                lambda stack: _layout("C")([stack]),
                _fill([(len(rles), *arrays[0].shape)]),
            )
        return Work(method, (np.stack(arrays),), len(rles), _texts, _scan(arrays))

    return work


def _between(method: str, n: int, m: int = 0) -> Callable[[str], Work]:
    def work(corpus: str) -> Work:
        rles = (corpora.tracked if corpus == "sav" else corpora.drawn)(n + m)
        if method == "iou":
            return Work(method, (rles[:n], rles[-m:]), n * m, _table)
        return Work(method, (rles,), n, _text)

    return work


COLORS = [(255, 60, 0), (0, 114, 178), (116, 255, 82), (204, 121, 167)]


def _overlay(corpus: str) -> Work:
    """Four masks onto one frame, in place; results may differ by rounding."""
    arrays = corpora.masks(corpus)[:4]
    masks = [klingmask.Mask.from_numpy(array) for array in arrays]
    image = np.random.default_rng(0).integers(0, 256, (*arrays[0].shape, 3)).astype(np.uint8)
    # Where masks overlap, supervision shows one of them, the others blend all.
    alone = sum(arrays) <= 1

    def close(result: Any, expected: Any) -> bool:
        return bool(np.abs(result[alone].astype(int) - expected[alone]).max() <= 1)

    arguments = (image, masks, np.array(arrays, bool), COLORS[: len(arrays)], 0.5)
    return Work("overlay", arguments, 4, np.copy, same=close)


def _layer(corpus: str) -> Work:
    """A mask as a layer of its own."""
    array = corpora.masks(corpus)[0]
    arguments = (klingmask.Mask.from_numpy(array), array.astype(bool), (116, 255, 82, 163))
    return Work("layer", arguments, 1, lambda x: x.tobytes(), _fill([(*array.shape, 4)]))


SINGLE = list(corpora.ALL)
ONE_SIZE = [name for name in SINGLE if name != "coco"]
KEPT = [name for name in SINGLE if not name.endswith("uhd")]
PAIRED = ["sav", "drawn"]
LAID = ["smooth-30", "sav-hd", "noisy", "smooth-uhd"]

OPERATIONS: dict[str, tuple[Callable[[str], Work], list[str]]] = {
    "decode to C order": (_decode("C"), SINGLE),
    "decode to F order": (_decode("F"), SINGLE),
    "decode to C order, kept": (_decode("C", kept=True), KEPT),
    "decode to F order, kept": (_decode("F", kept=True), KEPT),
    "encode from C order": (_encode("C"), SINGLE),
    "encode from F order": (_encode("F"), SINGLE),
    "area and bbox": (_measure("area_bbox"), SINGLE),
    "MaskArray, area, bbox": (_measure("columns"), SINGLE),
    "IoU 64 x 64": (_between("iou", 64, 64), PAIRED),
    "IoU 500 x 100": (_between("iou", 500, 100), PAIRED),
    "union of 64": (_between("union", 64), PAIRED),
    "intersection of 64": (_between("intersection", 64), PAIRED),
    "batch decode": (_batch("decode_batch"), ONE_SIZE),
    "batch encode": (_batch("encode_batch"), ONE_SIZE),
    "overlay of 4 masks, in place": (_overlay, LAID),
    "render_layer": (_layer, LAID),
}
CASES = [(operation, corpus) for operation, (_, names) in OPERATIONS.items() for corpus in names]

_prepared: dict[tuple[str, str], tuple[Work, Any]] = {}


def _prepare(operation: str, corpus: str) -> tuple[Work, Any]:
    """The work and its right answer; only the latest is kept."""
    if (operation, corpus) not in _prepared:
        _prepared.clear()
        work = OPERATIONS[operation][0](corpus)
        _prepared[operation, corpus] = work, work.plain(_result(OURS, work))
    return _prepared[operation, corpus]


def _function(peer: str, work: Work) -> Callable[..., Any]:
    """A peer that has no masks of its own answers `columns` with its area and bbox."""
    method = work.method
    if method == "columns" and not hasattr(PEERS[peer], method):
        method = "area_bbox"
    function: Callable[..., Any] = getattr(PEERS[peer], method)
    return function


def _result(peer: str, work: Work) -> Any:
    """All that comes out, to be compared; what is written in place goes to a copy."""
    if work.method == "overlay":
        image, *others = work.arguments
        return _function(peer, work)(image.copy(), *others)
    function = _function(peer, work)
    return list(map(function, *work.arguments)) if work.one_by_one else function(*work.arguments)


def timed_call(peer: str, work: Work) -> Callable[[], object]:
    """What is timed; a result is dropped before the next is made, unless all are kept."""
    function = _function(peer, work)
    if work.method == "overlay":  # again and again onto the same image
        image, *others = work.arguments
        own = image.copy()
        return lambda: function(own, *others)
    if work.kept:
        return lambda: list(map(function, *work.arguments))
    if work.one_by_one:
        return lambda: deque(map(function, *work.arguments), maxlen=0)
    return lambda: function(*work.arguments)


@pytest.mark.parametrize("peer", [FLOOR, *PEERS])
@pytest.mark.parametrize("visit", range(5))
@pytest.mark.parametrize(("operation", "corpus"), CASES)
def test_speed(benchmark: Any, operation: str, corpus: str, visit: int, peer: str) -> None:
    """Check that the peer's answer is the right one, then time it.

    One after the other, several times: what else the machine does does not hit one alone.
    """
    if corpus in corpora.NEEDS_SHARED and not corpora.SHARED.exists():
        pytest.skip("needs ../shared/data, which the public repository does not carry")
    work, expected = _prepare(operation, corpus)
    if peer == FLOOR:
        if work.floor is None:
            pytest.skip("no floor for this operation")
        call: Callable[[], Any] = work.floor
    else:
        if not hasattr(PEERS[peer], "area_bbox" if work.method == "columns" else work.method):
            pytest.skip(f"{peer} has no {work.method}")
        call = timed_call(peer, work)
        assert visit > 0 or work.same(work.plain(_result(peer, work)), expected)
    benchmark.group = f"{operation} | {corpus}"
    benchmark.extra_info.update(
        operation=operation, corpus=corpus, visit=visit, peer=peer, masks=work.masks
    )
    benchmark(call)
