"""From a click to a mask: the region of a picture that stands out as one thing.

Classical methods, for demos and tests. They do not replace the service's models, but
every answer is computed from the pixels. Many candidate regions are made - floods of
several tolerances, GrabCut in windows of several sizes - and the one wins whose edge
separates two colours most clearly along its whole length.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from klingmask import Mask
from klingmask.emulator.vision.regions import (
    Picture,
    Plane,
    Region,
    fill_small_holes,
    grab_cut,
    refine_edge,
    shrink,
    to_lab,
)

__all__ = ["segment"]

# Lengths are shares of the shorter side, areas shares of the frame.
CANDIDATE_SIDE = 160  # pixels of the shorter side at which candidates are made
TOLERANCES = 6, 9, 13, 18, 25, 35  # of floods, in L*, a* and b* as OpenCV scales them
WINDOWS = 0.08, 0.13, 0.2, 0.3, 0.45  # radii around the clicks in which GrabCut works
EDGE_BAND = 0.02  # colours are compared so far on either side of an edge
NOISE = 3.0  # a contrast that counts for nothing, in the units of TOLERANCES
MAX_AREA = 0.4  # a larger region is the background
MIN_AREA = 0.0004
NECKS = 0.01, 0.02, 0.035, 0.05  # half-widths at which a moving region is cut in two
AREA_POWER = 0.08  # the score grows with this power of the area: the whole before its parts
# A region that moves by itself gets at most so much on top of its contrast of at most 1. It is no
# more, as a thing that stands still for half of a clip is taken for background, and the
# background that it uncovers for something that moves.
MOTION_WEIGHT = 0.5
RING = np.ones((5, 5), np.uint8)

Clicks = list[tuple[int, int]]
"""(x, y) in pixels."""


def segment(
    picture: Picture, points: Sequence[tuple[float, float]], motion: Plane | None = None
) -> Mask:
    """Select the thing that the points are on.

    Parameters
    ----------
    picture : ndarray, shape (h, w, 3), uint8
        RGB.
    points : sequence of (float, float)
        x and y as shares of width and height, from the top left.
    motion : ndarray, float32, optional
        From 0 to 1, how clearly each pixel moves, as `Scene.motion` tells; of any size.
        What moves together is more likely to be a thing than what has one colour.

    Returns
    -------
    Mask
        With each of the points in it.
    """
    height, width = picture.shape[:2]
    small = shrink(picture, CANDIDATE_SIDE)
    lab = to_lab(cv2.bilateralFilter(small, 5, 20, 3))
    rows, columns = small.shape[:2]
    clicks = [(min(int(x * columns), columns - 1), min(int(y * rows), rows - 1)) for x, y in points]
    candidates = list(_candidates(small, lab, clicks))
    small_motion: Plane | None = None
    if motion is not None:
        small_motion = np.asarray(cv2.resize(motion, (columns, rows)), np.float32)
        candidates += _moving_candidates(small, small_motion, clicks)
    best, best_score = np.zeros((rows, columns), bool), -1.0
    for candidate in candidates:
        region = _clicked_parts(candidate, clicks)
        if (score := _score(lab, region, clicks, small_motion)) > best_score:
            best, best_score = region, score
    for click in clicks:  # the user is right: each click is in the result
        if not best[click[::-1]]:
            radius = max(1, int(EDGE_BAND * min(rows, columns)))
            cv2.circle(best.view(np.uint8), click, radius, 1, -1)
    refined = refine_edge(picture, best)
    for x, y in points:
        place = min(int(x * width), width - 1), min(int(y * height), height - 1)
        if not refined[place[::-1]]:
            radius = max(1, int(EDGE_BAND * min(height, width) / 2))
            cv2.circle(refined.view(np.uint8), place, radius, 1, -1)
    return Mask.from_numpy(refined)


def _candidates(small: Picture, lab: Picture, clicks: Clicks) -> Iterator[Region]:
    """Regions that may be the thing, by colour."""
    for tolerance in TOLERANCES:
        for fixed in (cv2.FLOODFILL_FIXED_RANGE, 0):
            step = tolerance if fixed else tolerance / 6
            yield np.logical_or.reduce([_flood(lab, click, step, fixed) for click in clicks])
    side = min(small.shape[:2])
    for window in WINDOWS:
        yield from _grab_cuts(small, clicks, window * side)


def _flood(lab: Picture, click: tuple[int, int], tolerance: float, fixed: int) -> Region:
    """Flood from a pixel.

    `fixed` compares each pixel with the clicked one; otherwise with its neighbour, so
    that the flood follows gradients.
    """
    mask = np.zeros((lab.shape[0] + 2, lab.shape[1] + 2), np.uint8)
    flags = 4 | (255 << 8) | cv2.FLOODFILL_MASK_ONLY | fixed
    cv2.floodFill(lab, mask, click, 0, (tolerance,) * 3, (tolerance,) * 3, flags)
    flooded: Region = mask[1:-1, 1:-1] > 0
    return cv2.morphologyEx(flooded.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0


def _grab_cuts(small: Picture, clicks: Clicks, radius: float) -> Iterator[Region]:
    """What GrabCut separates from the surroundings, in a window around the clicks."""
    rows, columns = small.shape[:2]
    hull = np.zeros((rows, columns), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.array(clicks, np.int32)), 1)
    distance = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    y, x = np.nonzero(distance <= 2 * radius)
    window = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
    near = distance[window]
    for inner in (0.35, 0.7):
        labels = np.full(near.shape, cv2.GC_BGD, np.uint8)
        labels[near < radius] = cv2.GC_PR_BGD
        labels[near < inner * radius] = cv2.GC_PR_FGD
        for click in clicks:
            center = click[0] - int(x.min()), click[1] - int(y.min())
            cv2.circle(labels, center, max(1, int(0.1 * radius)), cv2.GC_FGD, -1)
        if (labels == cv2.GC_BGD).sum() < 10:
            continue
        found = np.zeros((rows, columns), bool)
        found[window] = grab_cut(np.ascontiguousarray(small[window]), labels, 2)
        yield found


def _moving_candidates(small: Picture, motion: Plane, clicks: Clicks) -> Iterator[Region]:
    """Regions that move: whole, and cut at narrow necks, where two things may touch."""
    for level in (0.3, 0.5):
        whole = fill_small_holes(
            cv2.morphologyEx((motion > level).astype(np.uint8), cv2.MORPH_CLOSE, RING) > 0
        )
        yield whole
        depth = np.asarray(
            cv2.distanceTransform(whole.astype(np.uint8), cv2.DIST_L2, 5), np.float32
        )
        for neck in NECKS:
            half_width = neck * min(whole.shape)
            core = _clicked_parts(depth > half_width, _deepest_nearby(depth, clicks))
            distance = cv2.distanceTransform(1 - core.astype(np.uint8), cv2.DIST_L2, 5)
            part = whole & (distance <= 2 * half_width)
            yield part
            labels = np.where(distance < 4 * half_width, cv2.GC_PR_BGD, cv2.GC_BGD)
            labels[part] = cv2.GC_PR_FGD
            labels[core & (motion > 0.5)] = cv2.GC_FGD
            if core.any() and (labels == cv2.GC_BGD).any():
                yield grab_cut(small, labels.astype(np.uint8), 2)


def _deepest_nearby(depth: Plane, clicks: Clicks) -> Clicks:
    """Move each click to the deepest pixel in reach, so that it lies in a core."""
    reach = max(1, int(max(NECKS) * 2 * min(depth.shape)))
    moved = []
    for x, y in clicks:
        left, top = max(0, x - reach), max(0, y - reach)
        part = depth[top : y + reach + 1, left : x + reach + 1]
        row, column = np.unravel_index(int(part.argmax()), part.shape)
        moved.append((left + int(column), top + int(row)))
    return moved


def _clicked_parts(region: Region, clicks: Clicks) -> Region:
    """The connected components with a click in them, without small holes."""
    _, labels = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    parts = np.asarray(labels)
    clicked = [parts[y, x] for x, y in clicks]
    return fill_small_holes(np.isin(parts, clicked) & (parts > 0))


def _score(lab: Picture, region: Region, clicks: Clicks, motion: Plane | None = None) -> float:
    """How much a region looks like a thing.

    Its edge separates two colours, it is compact, the frame does not cut it off on
    several sides, it moves otherwise than its surroundings, and the clicks are in it.
    """
    area = region.mean()
    if not MIN_AREA < area < MAX_AREA:
        return 0.0
    clicks_inside = np.mean([region[y, x] for x, y in clicks])
    y, x = np.nonzero(region)
    pad = int(4 * EDGE_BAND * min(region.shape)) + 1
    part = np.s_[max(0, y.min() - pad) : y.max() + pad, max(0, x.min() - pad) : x.max() + pad]
    inside, colors = region[part].astype(np.float32), lab[part].astype(np.float32)
    edge = np.asarray(cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3)))) > 0
    sigma = max(1.0, EDGE_BAND * min(region.shape) / 2)
    means, variances = [], []
    for side in (inside, 1 - inside):
        weight = cv2.GaussianBlur(side, (0, 0), sigma)[edge][:, None] + 1e-6
        mean = cv2.GaussianBlur(colors * side[..., None], (0, 0), sigma)[edge] / weight
        of_squares = cv2.GaussianBlur(colors**2 * side[..., None], (0, 0), sigma)[edge] / weight
        means.append(mean)
        variances.append(np.maximum(of_squares - mean**2, 0))
    separation = (means[0] - means[1]) ** 2 / (variances[0] + variances[1] + NOISE**2)
    contrast = np.sqrt(separation.sum(1))
    mean_contrast = float(np.mean(contrast / (1 + contrast)))
    motion_contrast = 0.0
    if motion is not None:
        around = cv2.dilate(inside, np.ones((pad // 2 + 1,) * 2, np.uint8)) > inside
        if around.any():
            motion_contrast = max(0.0, float(motion[region].mean() - motion[part][around].mean()))
    hull = cv2.convexHull(np.column_stack([x, y]).astype(np.int32))
    compactness = min(1.0, float(region.sum()) / max(1.0, cv2.contourArea(hull)))
    sides = region[0], region[-1], region[:, 0], region[:, -1]
    on_border = float(np.concatenate(sides).sum())
    perimeter = float(edge.sum()) / 2 + 1
    cut_off = on_border / (perimeter + on_border)
    touched_sides = sum(bool(side.any()) for side in sides)
    shape = compactness**0.5 * (1 - cut_off) * (0.7 if touched_sides > 1 else 1.0)
    contrasts = mean_contrast + MOTION_WEIGHT * motion_contrast
    return float(clicks_inside * contrasts * area**AREA_POWER * shape)
