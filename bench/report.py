"""What `make bench` prints, draws and writes into the README.

Reads pytest-benchmark's JSON. Every operation and corpus is visited several times, and each visit
times all libraries. The ratio of a visit is the time of the fastest peer divided by ours: two
medians taken within a second or two. The median of these ratios is reported, because the speed of a
machine varies with time. Above 1, klingmask is faster. The table has the geometric mean over the
corpora, and the worst. All its figures are speeds: more is better.
"""

import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import matplotlib
import numpy as np

import klingmask as km
from bench import corpora
from bench.peers import COMMON, OURS, installed
from bench.test_speed import OPERATIONS, timed_call
from klingmask import video
from klingmask._rle import simd_level

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
FLOOR = "floor"
DECODE, ENCODE = "decode to C order", "encode from C order"
YARDSTICKS = "SHA-256", "memset"  # of what a second thread can give on a machine

LEVELS = {"scalar": "in plain C", "avx2": "with AVX2"}  # those that a machine may have a better of

Corpus = dict[str, dict[int, float]]
"""library -> visit -> seconds a mask."""

Times = dict[str, dict[str, Corpus]]
"""operation -> corpus -> what was measured on it."""


def read(path: Path) -> Times:
    """The medians of a run."""
    times: Times = {}
    for bench in json.loads(path.read_text())["benchmarks"]:
        info = bench["extra_info"]
        corpus = times.setdefault(info["operation"], {}).setdefault(info["corpus"], {})
        seconds = bench["stats"]["median"] / info["masks"]
        corpus.setdefault(info["peer"], {})[info["visit"]] = seconds
    return times


def fastest_peer(corpus: Corpus) -> str:
    """The peer to beat, in all visits together."""
    peers = (name for name in corpus if name not in (OURS, FLOOR))
    return min(peers, key=lambda name: statistics.median(corpus[name].values()))


def ahead(corpus: Corpus, other: str) -> float:
    """How much faster we are than another library, or than the floor."""
    ours, theirs = corpus[OURS], corpus[other]
    return statistics.median(theirs[visit] / ours[visit] for visit in ours)


def summary(times: Times) -> list[dict[str, Any]]:
    """One row an operation."""
    rows = []
    for operation, by_corpus in times.items():
        ratios = {name: ahead(c, fastest_peer(c)) for name, c in by_corpus.items()}
        floors = [ahead(c, FLOOR) for c in by_corpus.values() if FLOOR in c]
        common = [ahead(c, COMMON) for c in by_corpus.values() if COMMON in c]
        worst = min(ratios, key=lambda name: ratios[name])
        rows.append(
            {
                "operation": operation,
                "mean": statistics.geometric_mean(ratios.values()),
                "worst": ratios[worst],
                "worst_corpus": worst,
                "to_common": statistics.geometric_mean(common) if common else None,
                "of_floor": statistics.geometric_mean(floors) if floors else None,
                "fastest_peers": sorted({fastest_peer(c) for c in by_corpus.values()}),
                "ratios": ratios,
            }
        )
    return rows


def print_details(times: Times) -> None:
    """Microseconds a mask, for each library on each corpus."""
    for operation, by_corpus in times.items():
        names = list(dict.fromkeys(name for corpus in by_corpus.values() for name in corpus))
        print(f"\n{operation}: microseconds a mask")
        print("".join(f"{name:>23}" for name in ("corpus", *names, "fastest peer / us")))
        for name, corpus in by_corpus.items():
            middle = {peer: statistics.median(by.values()) for peer, by in corpus.items()}
            cells = [f"{middle[peer] * 1e6:.3f}" if peer in middle else "-" for peer in names]
            ratio = f"{ahead(corpus, fastest_peer(corpus)):.2f}"
            print("".join(f"{cell:>23}" for cell in (name, *cells, ratio)))


def paired(a: Callable[[], object], b: Callable[[], object], pairs: int) -> float:
    """The median of b's time over a's, measured in turn."""

    def seconds(call: Callable[[], object]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    a(), b()
    return statistics.median(seconds(b) / seconds(a) for _ in range(pairs))


def two_threads() -> dict[str, float]:
    """Throughput of two threads on disjoint batches, relative to one thread that does both in turn.

    For comparison also a hash, which needs arithmetic and little memory, and a memset.
    """
    texts = [bytes(1 << 18) for _ in range(2)]
    stacks = np.split(np.stack(corpora.masks("smooth-30")), 2)
    rles = [corpora.rles("smooth-30")[half::2] for half in range(2)]
    drawn = [corpora.drawn(128)[half::2] for half in range(2)]
    works: dict[str, Callable[[int], object]] = {
        "SHA-256": lambda half: hashlib.sha256(texts[half]),
        "memset": lambda half: stacks[half].fill(1),
        "batch decode": lambda half: km.decode(rles[half], out=stacks[half]),
        "batch encode": lambda half: km.encode(stacks[half]),
        "IoU 64 x 64": lambda half: km.iou(drawn[half], drawn[half]),
    }

    def scaling(work: Callable[[int], object]) -> float:
        def repeat(*halves: int) -> None:
            for _ in range(100):
                for half in halves:
                    work(half)

        def two() -> None:
            threads = [threading.Thread(target=repeat, args=(half,)) for half in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        return paired(two, lambda: repeat(0, 1), 21)

    return {name: scaling(work) for name, work in works.items()}


def threads_option() -> dict[str, float]:
    """How much faster `threads=2` is than `threads=1`, on a small batch and on a large one."""
    ratios = {}
    for n in (8, 256):
        rles = [corpora.rles("smooth-30")[i % 8] for i in range(n)]
        stack = km.decode(rles)
        works: dict[str, Callable[..., object]] = {
            "decode": partial(km.decode, rles, out=stack),
            "encode": partial(km.encode, stack),
        }
        for name, work in works.items():
            ratios[f"{name} of {n}"] = paired(
                partial(work, threads=2), partial(work, threads=1), 21
            )
    return ratios


def _many() -> list[Any]:
    return corpora.rles("smooth-30") * 16


MILLION = """
import resource, time
import klingmask
from bench import corpora

rles = corpora.tracked(605)
rles = (rles * (1_000_000 // len(rles) + 1))[:1_000_000]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
masks = klingmask.MaskArray.from_rles(rles)
seconds = time.perf_counter() - start
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def a_million() -> dict[str, float]:
    """Read a million tracked masks in a new process: microseconds and bytes a mask."""
    runs = [
        subprocess.run([sys.executable, "-c", MILLION], check=True, stdout=subprocess.PIPE)  # noqa: S603
        for _ in range(5)
    ]
    measured = [[float(number) for number in run.stdout.split()] for run in runs]
    seconds, size = (statistics.median(column) for column in zip(*measured, strict=True))
    return {"microseconds": seconds, "bytes": size / 1e6}


def keeping() -> dict[str, float]:
    """The speed of decoding 128 masks and keeping them, over that of dropping each."""
    rles = _many()
    stack = km.decode(rles)

    def dropped() -> None:
        for rle in rles:
            km.decode(rle)

    works: dict[str, Callable[[], object]] = {
        "one by one": lambda: [km.decode(rle) for rle in rles],
        "as a list": lambda: km.decode(rles),
        "with `out=`": lambda: km.decode(rles, out=stack),
    }
    return {name: paired(work, dropped, 11) for name, work in works.items()}


def video_share() -> float | None:
    """The overlay's own share of the time of overlay_video, on the shared clip."""
    source = corpora.SHARED / "dog.mp4"
    if not source.exists():
        return None
    masks = [km.Mask.from_numpy(array) for array in corpora.masks("smooth-30")[:4]]
    spent = 0.0

    def timed(*args: Any, **options: Any) -> Any:
        nonlocal spent
        start = time.perf_counter()
        laid = km.overlay(*args, **options)
        spent += time.perf_counter() - start
        return laid

    with TemporaryDirectory() as folder, patch.object(video, "overlay", timed):
        start = time.perf_counter()
        video.overlay_video(source, dict.fromkeys(range(10_000), masks), Path(folder) / "out.mp4")
        return spent / (time.perf_counter() - start)


def import_time() -> float:
    """The time of `import klingmask` over that of `import numpy`, in new processes."""

    def process(module: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)  # noqa: S603

    return paired(process("numpy"), process("klingmask"), 21)


def own_seconds() -> dict[str, float]:
    """What we take to decode and to encode, on some of the corpora."""
    seconds = {}
    for operation, (prepare, _) in OPERATIONS.items():
        if "decode" in operation or "encode" in operation:
            for name in ("smooth-30", "tiny"):
                call = timed_call(OURS, prepare(name))
                call()
                times = timeit.repeat(call, number=1, repeat=25)
                seconds[f"{operation} {name}"] = statistics.median(times)
    return seconds


def lower_levels() -> dict[str, float]:
    """Our speed with less than the best vector code of this machine, over that with it."""

    def measured(level: str) -> dict[str, float]:
        program = "import json, bench.report as r; print(json.dumps(r.own_seconds()))"
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program],
            env={**os.environ, "KLINGMASK_SIMD": level},
            check=True,
            stdout=subprocess.PIPE,
        )
        seconds: dict[str, float] = json.loads(done.stdout)
        return seconds

    def ratio(level: str) -> float:
        best, lower = measured(simd_level), measured(level)
        return statistics.geometric_mean(best[key] / lower[key] for key in best)

    below = [*takewhile(lambda level: level != simd_level, LEVELS)]
    return {level: statistics.median(ratio(level) for _ in range(3)) for level in below}


def commit(path: Path) -> str:
    """What was measured."""
    info = json.loads(path.read_text())["commit_info"]
    return str(info["id"]) + ("-dirty" if info["dirty"] else "")


def machine(path: Path) -> str:
    """What the run was made on, and with."""
    info = json.loads(path.read_text())["machine_info"]
    cpu, timed = info["cpu"], info["versions"]
    names = ", ".join(f"{name} {timed[name]}" for name in sorted(timed) if name != OURS)
    return (
        f"{cpu['brand_raw']}, {cpu['count']} cores, {info['simd_level']}; "
        f"Python {info['python_version']}, {names}"
    )


def _speed(ratio: float) -> str:
    """Two decimals below 2, where one would hide who is ahead."""
    return f"{ratio:.1f} x" if ratio >= 2 else f"{ratio:.2f} x"


def markdown(
    rows: list[dict[str, Any]],
    threads: dict[str, float],
    option: dict[str, float],
    kept: dict[str, float],
    million: dict[str, float] | None,
    levels: dict[str, float],
    imports: float,
    took_each: dict[str, float],
    where: str,
) -> str:
    """The README's table, and what is said under it."""
    lines = [
        f"| operation | against the fastest peer | worst corpus | against {COMMON} "
        "| against memory | fastest peers |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        floor = f"{row['of_floor']:.0%}" if row["of_floor"] else "-"
        common = _speed(row["to_common"]) if row["to_common"] else "-"
        lines.append(
            f"| {row['operation']} | {_speed(row['mean'])} "
            f"| {_speed(row['worst'])} ({row['worst_corpus']}) | {common} | {floor} "
            f"| {', '.join(row['fastest_peers'])} |"
        )
    told = {name: f"{name} {ratio:.1f} x" for name, ratio in threads.items()}
    given = " and ".join(told[name] for name in YARDSTICKS)
    scaled = ", ".join(text for name, text in told.items() if name not in YARDSTICKS)
    anew = ", ".join(f"{name} masks {ratio:.1f} x" for name, ratio in option.items())
    keep = ", ".join(f"{1 / ratio:.1f} times {name}" for name, ratio in kept.items())
    lower = ", ".join(f"{LEVELS[name]} {x:.2f} x" for name, x in levels.items())
    below = (
        "Speed of decoding and encoding at a lower level (`KLINGMASK_SIMD`), relative to the best: "
        f"{lower}."
    )
    took = " and ".join(f"{seconds * 1e6:.0f} µs to {name}" for name, seconds in took_each.items())
    read = (
        f"`MaskArray.from_rles` of a million tracked masks takes {million['microseconds']:.2f} µs "
        f"and {million['bytes']:.0f} bytes a mask, in a new process, with memory from the system."
        if million
        else ""
    )
    notes = [
        f"A mask of 1280x720 (`smooth-30`, C order) takes {took}.",
        f"Throughput of two threads, each on its own batch, relative to one: {scaled}; for "
        f"comparison, {given}.",
        "`threads=2` starts threads at each call. Its speed relative to `threads=1`, at 1280x720: "
        f"{anew}.",
        "Decoding 128 such masks and keeping all takes longer than dropping each, because new "
        f"memory comes from the system page by page: {keep}.",
        *([read] if million else []),
        *([below] if lower else []),
        f"`import klingmask` takes {imports:.2f} x the time of `import numpy`.",
        f"Measured on {where}.",
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Every corpus as a dot, the geometric mean as a bar."""
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.2), layout="constrained")
    for y, row in enumerate(reversed(rows)):
        ratios = list(row["ratios"].values())
        axes.barh(y, row["mean"] - 1, left=1, color="#74c052", height=0.6)
        axes.plot(ratios, [y] * len(ratios), ".", color="#20402a", markersize=5)
    names = [f"{row['operation']}   {_speed(row['mean'])}" for row in reversed(rows)]
    axes.axvline(1, color="#404040", linewidth=1)
    axes.set_yticks(range(len(rows)), names)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g} x")
    axes.set_xlabel("times faster than the fastest peer (bar: geometric mean, dots: corpora)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def update_readme(table: str) -> None:
    """Put the table between its marks."""
    readme = ROOT / "README.md"
    pattern = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
    text, n = pattern.subn(lambda m: f"{m[1]}{table}\n{m[2]}", readme.read_text())
    if n != 1:
        raise SystemExit("README.md needs one <!-- bench --> ... <!-- /bench -->")
    readme.write_text(text)


def main(source: str) -> None:
    """Report on the run in the file `source`."""
    times = read(Path(source))
    rows = summary(times)
    print_details(times)
    threads, option, imports = two_threads(), threads_option(), import_time()
    kept, levels = keeping(), lower_levels()
    million = a_million() if corpora.SHARED.exists() else None
    where = machine(Path(source))
    measured = commit(Path(source))
    took = {
        verb: statistics.median(times[operation]["smooth-30"][OURS].values())
        for verb, operation in (("decode", DECODE), ("encode", ENCODE))
    }
    table = markdown(rows, threads, option, kept, million, levels, imports, took, where)
    print(f"\n{table}\n")
    _, missing = installed()
    for name, reason in missing.items():
        print(f"not installed, and so not timed: {name} ({reason})")
    if not corpora.SHARED.exists():
        print(f"without ../shared/data, not timed: {', '.join(sorted(corpora.NEEDS_SHARED))}")
    print("area and bbox: of 255 masks at most, for pycocotools' area fails beyond")
    share = video_share()
    if share is not None:
        print(f"overlay_video, 1280 x 720, four masks: {share:.1%} of the time is the overlay's")
    results = {
        "commit": measured,
        "overlay_share_of_video": share,
        "machine": where,
        "missing": missing,
        "rows": rows,
        "threads": threads,
        "threads=2": option,
        "keeping": kept,
        "a_million": million,
        "levels": levels,
        "import": imports,
        "seconds_a_mask": times,
    }
    if not corpora.SHARED.exists():
        print("the README's table, plot and results.json stay as they are: they need all corpora")
        return
    (ROOT / "bench" / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(rows, ROOT / "docs" / "bench.png")
    update_readme(table)


if __name__ == "__main__":
    main(sys.argv[1])
