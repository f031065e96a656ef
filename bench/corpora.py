"""The masks that are timed: real ones where they are at hand, drawn ones beside them.

A corpus is a list of masks as C-contiguous arrays. The real ones come from
../shared/data, which the public repository does not carry; without it they are
left out, and the report says so.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

Array = npt.NDArray[np.uint8]

SHARED = Path(__file__).parents[2] / "shared" / "data"
HD, FHD, UHD = (720, 1280), (1080, 1920), (2160, 3840)


def _decoded(rle: Any) -> Array:
    return np.ascontiguousarray(coco.decode(rle))


@cache
def _sav() -> list[Any]:
    """Every object of the SA-V clip, frame by frame, where it is to be seen."""
    masklet = json.loads((SHARED / "sav_000001_manual.json").read_text())["masklet"]
    rles = [rle for frame in masklet for rle in frame]
    return [rle for rle in rles if coco.area(rle)]


def _spread(items: list[Any], n: int) -> list[Any]:
    """Pick n of the items, evenly spread."""
    return [items[i * len(items) // n] for i in range(n)]


def _scaled(array: Array, size: tuple[int, int]) -> Array:
    """Nearest neighbour; the portrait clip is turned to fit the landscape size."""
    array = array.T
    rows = np.arange(size[0]) * array.shape[0] // size[0]
    columns = np.arange(size[1]) * array.shape[1] // size[1]
    return np.ascontiguousarray(array[np.ix_(rows, columns)])


def sav() -> list[Array]:
    """Tracked objects, 848 x 480."""
    return [_decoded(rle) for rle in _spread(_sav(), 32)]


def sav_hd() -> list[Array]:
    """The same at 720 x 1280."""
    return [_scaled(_decoded(rle), HD) for rle in _spread(_sav(), 16)]


def sav_uhd() -> list[Array]:
    """The same at 2160 x 3840."""
    return [_scaled(_decoded(rle), UHD) for rle in _spread(_sav(), 6)]


def coco_detections() -> list[Array]:
    """Detections on COCO val2014; sizes vary."""
    results = json.loads((SHARED / "coco_val2014_fakesegm100.json").read_text())
    return [_decoded(result["segmentation"]) for result in _spread(results, 64)]


def _smooth(size: tuple[int, int], fill: float, seed: int) -> Array:
    """One blob with a wavy edge, about `fill` of the image."""
    rng = np.random.default_rng(seed)
    h, w = size
    y, x = np.ogrid[:h, :w]
    dy, dx = (y - h / 2) / h, (x - w / 2) / w
    angle, radius = np.arctan2(dy, dx), np.hypot(dy, dx)
    wave = sum(rng.normal() / k * np.cos(k * angle + rng.random() * 6.28) for k in range(2, 9))
    level = radius * (1 + 0.15 * wave)
    return (level < np.quantile(level, fill)).astype(np.uint8)


def smooth_10() -> list[Array]:
    """One large wavy shape, 720 x 1280, 10 % set."""
    return [_smooth(HD, 0.1, seed) for seed in range(8)]


def smooth_30() -> list[Array]:
    """The same, 30 % set."""
    return [_smooth(HD, 0.3, seed) for seed in range(8)]


def smooth_50() -> list[Array]:
    """The same, 50 % set."""
    return [_smooth(HD, 0.5, seed) for seed in range(8)]


def smooth_fhd() -> list[Array]:
    """The same, 1080 x 1920, 30 % set: together 20 MB, more than half of many caches."""
    return [_smooth(FHD, 0.3, seed) for seed in range(10)]


def smooth_uhd() -> list[Array]:
    """One large wavy shape, 2160 x 3840, 30 % set."""
    return [_smooth(UHD, 0.3, seed) for seed in range(4)]


def noisy() -> list[Array]:
    """A smooth shape with its pixels flipped here and there, 720 x 1280."""
    masks = []
    for seed in range(8):
        flips = np.random.default_rng(seed).random(HD) < 0.015
        masks.append(_smooth(HD, 0.3, seed) ^ flips.astype(np.uint8))
    return masks


def tiny() -> list[Array]:
    """Two thousand shapes of 28 x 28."""
    return [_smooth((28, 28), 0.2 + 0.5 * (seed % 7) / 7, seed) for seed in range(2000)]


ALL: dict[str, Callable[[], list[Array]]] = {
    "sav": sav,
    "sav-hd": sav_hd,
    "sav-uhd": sav_uhd,
    "coco": coco_detections,
    "smooth-10": smooth_10,
    "smooth-30": smooth_30,
    "smooth-50": smooth_50,
    "smooth-fhd": smooth_fhd,
    "smooth-uhd": smooth_uhd,
    "noisy": noisy,
    "tiny": tiny,
}
NEEDS_SHARED = {"sav", "sav-hd", "sav-uhd", "coco"}


@cache
def masks(name: str) -> list[Array]:
    """The masks of a corpus, made once."""
    return ALL[name]()


def rle(array: Array) -> dict[str, Any]:
    """A mask as it comes out of a JSON file."""
    encoded = coco.encode(np.asfortranarray(array))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


@cache
def rles(name: str) -> list[dict[str, Any]]:
    """The rles of a corpus, made once."""
    return [rle(array) for array in masks(name)]


@cache
def tracked(n: int) -> list[dict[str, Any]]:
    """Take n moments of the SA-V objects: rles of one size, for operations between masks."""
    return [{"size": list(r["size"]), "counts": r["counts"]} for r in _spread(_sav(), n)]


@cache
def drawn(n: int) -> list[dict[str, Any]]:
    """Draw n overlapping rles of 720 x 1280, for operations between masks."""
    made = []
    for seed in range(n):
        shift = np.random.default_rng(seed).integers(-300, 300, 2)
        made.append(rle(np.roll(_smooth(HD, 0.04 + 0.1 * (seed % 5) / 5, seed), shift, (0, 1))))
    return made
