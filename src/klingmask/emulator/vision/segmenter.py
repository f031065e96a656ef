"""What is around a click: the region of a picture that stands out as one thing.

Classical methods, for demos and tests. They do not replace the service's models, but
every answer is worked out from the pixels: many regions are proposed - floods of several
tolerances, GrabCut in windows of several sizes - and the one is taken whose edge parts
two colours most clearly along its whole length.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from klingmask import Mask
from klingmask.emulator.vision.regions import (
    Picture,
    Plane,
    Region,
    cut_out,
    filled,
    grab_cut,
    shrunk,
)
from klingmask.emulator.vision.regions import lab as to_lab

__all__ = ["segment"]

# Lengths are shares of the shorter side, areas shares of the frame.
PROPOSING = 160  # pixels of the shorter side, about, at which regions are proposed
TOLERANCES = 6, 9, 13, 18, 25, 35  # of floods, in L*, a* and b* as OpenCV scales them
WINDOWS = 0.08, 0.13, 0.2, 0.3, 0.45  # how far from the clicks GrabCut looks
RIM = 0.02  # how far on either side of an edge colours are compared
NOISE = 3.0  # the contrast that counts for nothing, in the same units as TOLERANCES
LARGEST = 0.4  # of the frame: what is larger is no object, but the ground it stands on
SMALLEST = 0.0004
NARROW = 0.01, 0.02, 0.035, 0.05  # half the width at which what moves is cut in two
FINER = 0.08  # the power of the area that a region's worth rises with: whole before part
# What motion counts beside colour. It is no more, for where a thing stands for half of a
# clip, it is taken for the scenery, and what it uncovers for something that moves.
MOTION = 0.5
RING = np.ones((5, 5), np.uint8)


def segment(
    picture: Picture, points: Sequence[tuple[float, float]], moving: Plane | None = None
) -> Mask:
    """Select the thing that the points are on.

    Parameters
    ----------
    picture : ndarray, shape (h, w, 3), uint8
        RGB.
    points : sequence of (float, float)
        x and y as shares of width and height, from the top left.
    moving : ndarray, float32, optional
        From 0 to 1, how clearly something passes there, as `Scene.moving` tells; of any
        size. What moves as one is a better guess at a thing than what has one colour.

    Returns
    -------
    Mask
        With each of the points in it.
    """
    height, width = picture.shape[:2]
    small = shrunk(picture, PROPOSING)
    lab = to_lab(cv2.bilateralFilter(small, 5, 20, 3))
    rows, columns = small.shape[:2]
    clicks = [(min(int(x * columns), columns - 1), min(int(y * rows), rows - 1)) for x, y in points]
    passing: Plane | None = None
    if moving is not None:
        passing = np.asarray(cv2.resize(moving, (columns, rows)), np.float32)
    proposed = list(_proposals(small, lab, clicks))
    if passing is not None:
        proposed += _passing(small, passing, clicks)
    best, worth = np.zeros((rows, columns), bool), -1.0
    for region in proposed:
        found = _joined(region, clicks)
        if (value := _worth(lab, found, clicks, passing)) > worth:
            best, worth = found, value
    for click in clicks:  # whatever was found out: a click is right
        if not best[click[::-1]]:
            cv2.circle(best.view(np.uint8), click, max(1, int(RIM * min(rows, columns))), 1, -1)
    chosen = cut_out(picture, best)
    for x, y in points:
        place = min(int(x * width), width - 1), min(int(y * height), height - 1)
        if not chosen[place[::-1]]:
            dot = max(1, int(RIM * min(height, width) / 2))
            cv2.circle(chosen.view(np.uint8), place, dot, 1, -1)
    return Mask.from_numpy(chosen)


def _proposals(small: Picture, lab: Picture, clicks: list[tuple[int, int]]) -> Iterator[Region]:
    """Regions that may be the thing."""
    for tolerance in TOLERANCES:
        for fixed in (cv2.FLOODFILL_FIXED_RANGE, 0):
            step = tolerance if fixed else tolerance / 6
            yield np.logical_or.reduce([_flooded(lab, click, step, fixed) for click in clicks])
    side = min(small.shape[:2])
    for window in WINDOWS:
        yield from _standing_out(small, clicks, window * side)


def _flooded(lab: Picture, click: tuple[int, int], tolerance: float, fixed: int) -> Region:
    """The region around a pixel with its colour; not fixed: with colours that flow into it."""
    full = np.zeros((lab.shape[0] + 2, lab.shape[1] + 2), np.uint8)
    flags = 4 | (255 << 8) | cv2.FLOODFILL_MASK_ONLY | fixed
    cv2.floodFill(lab, full, click, 0, (tolerance,) * 3, (tolerance,) * 3, flags)
    flooded: Region = full[1:-1, 1:-1] > 0
    return cv2.morphologyEx(flooded.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0


def _standing_out(small: Picture, clicks: list[tuple[int, int]], reach: float) -> Iterator[Region]:
    """What GrabCut tells from the surroundings of a window around the clicks."""
    rows, columns = small.shape[:2]
    hull = np.zeros((rows, columns), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.array(clicks, np.int32)), 1)
    away = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    y, x = np.nonzero(away <= 2 * reach)
    part = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
    near = away[part]
    for inner in (0.35, 0.7):
        labels = np.full(near.shape, cv2.GC_BGD, np.uint8)
        labels[near < reach] = cv2.GC_PR_BGD
        labels[near < inner * reach] = cv2.GC_PR_FGD
        for click in clicks:
            spot = click[0] - int(x.min()), click[1] - int(y.min())
            cv2.circle(labels, spot, max(1, int(0.1 * reach)), cv2.GC_FGD, -1)
        if (labels == cv2.GC_BGD).sum() < 10:
            continue
        found = np.zeros((rows, columns), bool)
        found[part] = grab_cut(np.ascontiguousarray(small[part]), labels, 2)
        yield found


def _passing(small: Picture, moving: Plane, clicks: list[tuple[int, int]]) -> Iterator[Region]:
    """Parts of what moves: whole, and cut where it is narrow, as where two things touch."""
    for level in (0.3, 0.5):
        whole = filled(
            cv2.morphologyEx((moving > level).astype(np.uint8), cv2.MORPH_CLOSE, RING) > 0
        )
        yield whole
        depth = np.asarray(
            cv2.distanceTransform(whole.astype(np.uint8), cv2.DIST_L2, 5), np.float32
        )
        for narrow in NARROW:
            core = _joined(depth > narrow * min(whole.shape), _moved_into(depth, clicks))
            near = cv2.distanceTransform(1 - core.astype(np.uint8), cv2.DIST_L2, 5)
            part = whole & (near <= 2 * narrow * min(whole.shape))
            yield part
            labels = np.where(near < 4 * narrow * min(whole.shape), cv2.GC_PR_BGD, cv2.GC_BGD)
            labels[part] = cv2.GC_PR_FGD
            labels[core & (moving > 0.5)] = cv2.GC_FGD
            if core.any() and (labels == cv2.GC_BGD).any():
                yield grab_cut(small, labels.astype(np.uint8), 2)


def _moved_into(depth: Plane, clicks: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The clicks, each moved to the deepest place that is near."""
    reach = max(1, int(max(NARROW) * 2 * min(depth.shape)))
    moved = []
    for x, y in clicks:
        left, top = max(0, x - reach), max(0, y - reach)
        part = depth[top : y + reach + 1, left : x + reach + 1]
        row, column = np.unravel_index(int(part.argmax()), part.shape)
        moved.append((left + int(column), top + int(row)))
    return moved


def _joined(region: Region, clicks: list[tuple[int, int]]) -> Region:
    """The parts of the region that have a click in them, without holes."""
    _, parts = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    found = np.asarray(parts)
    return filled(np.isin(found, [found[y, x] for x, y in clicks]) & (found > 0))


def _worth(
    lab: Picture, region: Region, clicks: list[tuple[int, int]], moving: Plane | None = None
) -> float:
    """How much the region looks like a thing: mostly, how well its edge parts two colours."""
    share = region.mean()
    if not SMALLEST < share < LARGEST:
        return 0.0
    held = np.mean([region[y, x] for x, y in clicks])
    y, x = np.nonzero(region)
    pad = int(4 * RIM * min(region.shape)) + 1
    part = np.s_[max(0, y.min() - pad) : y.max() + pad, max(0, x.min() - pad) : x.max() + pad]
    inside, colours = region[part].astype(np.float32), lab[part].astype(np.float32)
    edge = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3)))) > 0
    sigma = max(1.0, RIM * min(region.shape) / 2)
    means, spreads = [], []
    for side in (inside, 1 - inside):
        weight = cv2.GaussianBlur(side, (0, 0), sigma)[edge][:, None] + 1e-6
        first = cv2.GaussianBlur(colours * side[..., None], (0, 0), sigma)[edge] / weight
        second = cv2.GaussianBlur(colours**2 * side[..., None], (0, 0), sigma)[edge] / weight
        means.append(first)
        spreads.append(np.maximum(second - first**2, 0))
    apart = (means[0] - means[1]) ** 2 / (spreads[0] + spreads[1] + NOISE**2)
    contrast = np.sqrt(apart.sum(1))
    clear = float(np.mean(contrast / (1 + contrast)))
    # A thing is compact, and seldom cut off by the frame on several sides.
    rim = np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]])
    perimeter = float(edge.sum()) / 2 + 1
    hull = cv2.convexHull(np.column_stack([x, y]).astype(np.int32))
    compact = min(1.0, float(region.sum()) / max(1.0, cv2.contourArea(hull)))
    apart_by_motion = 0.0
    if moving is not None:
        around = cv2.dilate(inside, np.ones((pad // 2 + 1,) * 2, np.uint8)) > inside
        if around.any():
            apart_by_motion = max(0.0, float(moving[region].mean() - moving[part][around].mean()))
    borders = sum(bool(side.any()) for side in (region[0], region[-1], region[:, 0], region[:, -1]))
    cut_off = float(rim.sum()) / (perimeter + float(rim.sum()))
    shape = compact**0.5 * (1 - cut_off) * (0.7 if borders > 1 else 1.0)
    return float(held * (clear + MOTION * apart_by_motion) * share**FINER * shape)
