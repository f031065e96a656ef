"""Regions of pictures: what the emulator's modules have in common."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask

__all__ = ["GoOn", "Picture", "Plane", "Region", "cut_out", "filled", "grab_cut", "lab", "shrunk"]

GoOn = Callable[[], None]
"""Asked before each frame, so that a long job can be ended: it raises."""

Picture = npt.NDArray[np.uint8]
Region = npt.NDArray[np.bool_]
Plane = npt.NDArray[np.float32]

SMALL = 288  # pixels of the shorter side, about, at which clips are looked at
CUTTING = 720  # and at which edges are cut out
SMALL_HOLE = 0.05  # share of a region that a hole may have to be filled


def shrunk(picture: Picture, shorter: int = SMALL) -> Picture:
    """The picture with so many pixels, about, on its shorter side, if it has more."""
    height, width = picture.shape[:2]
    scale = min(1.0, shorter / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def lab(picture: npt.ArrayLike) -> Picture:
    """The picture in CIELAB, in which distances are about as one sees them."""
    return np.asarray(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2LAB), np.uint8)


def grab_cut(picture: Picture, labels: Picture, rounds: int) -> Region:
    """What GrabCut makes of the labels: whether a pixel is foreground."""
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, picture.shape[1], picture.shape[0])  # not looked at: the labels say it all
    # Of a picture without any grain it would take minutes.
    grain = np.random.default_rng(0).integers(0, 5, picture.shape, np.uint8)
    picture = cv2.add(picture, grain).astype(np.uint8)
    cv2.setRNGSeed(0)  # the same picture gives the same mask
    cv2.grabCut(picture, labels, whole, background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def cut_out(picture: Picture, region: Region) -> Region:
    """The region, of any scale, in the picture's size, its edge where GrabCut finds it."""
    height, width = picture.shape[:2]
    middle = shrunk(picture, CUTTING)
    rows, columns = middle.shape[:2]
    coarse = max(1.0, min(rows, columns) / min(region.shape))
    large = cv2.resize(region.astype(np.float32), (columns, rows)) > 0.5
    if not large.any():
        return cv2.resize(large.astype(np.uint8), (width, height)) > 0
    band = int(2 * coarse) + 1
    x, y, w, h = Mask.from_numpy(large).bbox
    pad = 3 * band + max(w, h) // 8
    part = np.s_[max(0, y - pad) : y + h + pad, max(0, x - pad) : x + w + pad]
    inside = large[part].astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    near, core = cv2.dilate(inside, kernel) > 0, cv2.erode(inside, kernel) > 0
    refined = large.copy()
    if core.any() and not near.all():
        labels = np.where(near, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
        labels[inside > 0] = cv2.GC_PR_FGD
        labels[core] = cv2.GC_FGD
        cut = grab_cut(np.ascontiguousarray(middle[part]), labels, 1)
        soft = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), max(0.5, coarse / 3))
        refined[part] = filled(soft > 0.5)
    if (rows, columns) == (height, width):
        return refined
    return cv2.resize(refined.astype(np.float32), (width, height)) > 0.5


def filled(region: Region) -> Region:
    """The region without its small holes, as an eye or a button makes them."""
    outside = (~np.pad(region, 1)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    around = labels[0, 0]
    areas = np.asarray(stats)[:, cv2.CC_STAT_AREA]
    small = areas < SMALL_HOLE * region.sum()
    small[[0, around]] = False  # component 0 is the region itself
    without: Region = region | small[np.asarray(labels)[1:-1, 1:-1]]
    return without
