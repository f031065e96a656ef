"""Operations on pictures and regions that several modules of `vision` need."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask

__all__ = [
    "Checkpoint",
    "Picture",
    "Plane",
    "Region",
    "fill_small_holes",
    "grab_cut",
    "refine_edge",
    "shrink",
    "to_lab",
]

Checkpoint = Callable[[], None]
"""Called before each frame of a long job; raises to end the job."""

Picture = npt.NDArray[np.uint8]
"""(h, w, 3) RGB, or (h, w) grey."""

Region = npt.NDArray[np.bool_]
"""(h, w): which pixels belong to a thing."""

Plane = npt.NDArray[np.float32]
"""(h, w): one number for each pixel."""

ANALYSIS_SIDE = 288  # pixels of the shorter side, to which clips are shrunk for analysis
REFINING_SIDE = 720  # pixels of the shorter side at which edges are refined
SMALL_HOLE = 0.05  # share of a region's area; smaller holes are filled


def shrink(picture: Picture, shorter_side: int = ANALYSIS_SIDE) -> Picture:
    """Shrink a picture until its shorter side has so many pixels; never enlarge it."""
    height, width = picture.shape[:2]
    scale = min(1.0, shorter_side / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def to_lab(picture: npt.ArrayLike) -> Picture:
    """Convert RGB to CIELAB, where distances between colours are about as people see them."""
    return np.asarray(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2LAB), np.uint8)


def grab_cut(picture: Picture, labels: Picture, rounds: int) -> Region:
    """Run GrabCut from the labels; returns the foreground."""
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    box = (0, 0, picture.shape[1], picture.shape[0])  # ignored, as the labels cover everything
    # GrabCut takes minutes on a picture without any noise, so some is added.
    noise = np.random.default_rng(0).integers(0, 5, picture.shape, np.uint8)
    picture = cv2.add(picture, noise).astype(np.uint8)
    cv2.setRNGSeed(0)  # the same picture gives the same mask
    cv2.grabCut(picture, labels, box, background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def refine_edge(picture: Picture, region: Region) -> Region:
    """Scale a coarse region to the picture's size and let GrabCut place its edge.

    GrabCut decides only within a band around the coarse edge, which is as wide as the
    region is coarse.
    """
    height, width = picture.shape[:2]
    middle = shrink(picture, REFINING_SIDE)
    rows, columns = middle.shape[:2]
    coarseness = max(1.0, min(rows, columns) / min(region.shape))
    large = cv2.resize(region.astype(np.float32), (columns, rows)) > 0.5
    if not large.any():
        return cv2.resize(large.astype(np.uint8), (width, height)) > 0
    band = int(2 * coarseness) + 1
    x, y, w, h = Mask.from_numpy(large).bbox
    pad = 3 * band + max(w, h) // 8
    part = np.s_[max(0, y - pad) : y + h + pad, max(0, x - pad) : x + w + pad]
    inside = large[part].astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    possible, certain = cv2.dilate(inside, kernel) > 0, cv2.erode(inside, kernel) > 0
    refined = large.copy()
    if certain.any() and not possible.all():
        labels = np.where(possible, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
        labels[inside > 0] = cv2.GC_PR_FGD
        labels[certain] = cv2.GC_FGD
        cut = grab_cut(np.ascontiguousarray(middle[part]), labels, 1)
        smooth = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), max(0.5, coarseness / 3))
        refined[part] = fill_small_holes(smooth > 0.5)
    if (rows, columns) == (height, width):
        return refined
    return cv2.resize(refined.astype(np.float32), (width, height)) > 0.5


def fill_small_holes(region: Region) -> Region:
    """Fill the small holes of a region, such as an eye or a button leaves."""
    outside = (~np.pad(region, 1)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    surroundings = labels[0, 0]
    areas = np.asarray(stats)[:, cv2.CC_STAT_AREA]
    small = areas < SMALL_HOLE * region.sum()
    small[[0, surroundings]] = False  # component 0 is the region itself
    filled: Region = region | small[np.asarray(labels)[1:-1, 1:-1]]
    return filled
