"""What the emulator sees and does: segments around clicks, follows them, edits frames.

Classical methods, for demos and tests: a flood fill in a perceptual colour space,
refined by GrabCut; dense optical flow; inpainting. They do not replace the
service's models, but every answer is worked out from the pixels.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask

__all__ = ["follow", "inpaint", "paste", "segment"]

Picture = npt.NDArray[np.uint8]

TOLERANCE = 14  # in L*, a* and b* as OpenCV scales them, from the clicked pixel
SMALL_HOLE = 0.05  # share of a region that a hole may have to be filled
EVEN = 0.01  # share of the frame from which on an evenly coloured region is taken for the object
REACH = 0.25, 0.175  # of the shorter side, how far an object goes from one click, or several
LOOK = 220  # pixels of the longer side, at which a patterned object is looked for
MARGIN = 0.15  # around the filled region, in which GrabCut looks
SMALL = 360  # pixels of the shorter side, about, at which things are followed


def segment(picture: Picture, points: Sequence[tuple[float, float]]) -> Mask:
    """Select what is around the points.

    An evenly coloured region, if each point is in one that is large enough;
    otherwise what stands out from the surroundings.

    Parameters
    ----------
    picture : ndarray, shape (h, w, 3), uint8
        RGB.
    points : sequence of (float, float)
        x and y as shares of width and height, from the top left.

    Returns
    -------
    Mask
    """
    height, width = picture.shape[:2]
    lab = cv2.cvtColor(cv2.medianBlur(picture, 3), cv2.COLOR_RGB2LAB).astype(np.uint8)
    seeds = [(min(int(x * width), width - 1), min(int(y * height), height - 1)) for x, y in points]
    floods = [_flooded(lab, seed) for seed in seeds]
    if all(flood.mean() >= EVEN for flood in floods):
        inside = np.logical_or.reduce(floods)
        chosen = _refined(picture, inside)
    else:
        inside = np.logical_or.reduce([f for f in floods if f.mean() < EVEN])
        chosen = _standing_out(picture, seeds)
        if chosen.sum() < inside.sum():
            chosen = _refined(picture, inside)
    for x, y in seeds:  # GrabCut may disagree with a click; the click is right
        if not chosen[y, x]:
            chosen |= inside
    for seed in seeds:
        if not chosen[seed[::-1]]:
            cv2.circle(chosen.view(np.uint8), seed, 3, 1, -1)
    return Mask.from_numpy(chosen)


def _flooded(lab: Picture, seed: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The region around a pixel that has its colour."""
    filled = np.zeros((lab.shape[0] + 2, lab.shape[1] + 2), np.uint8)
    flags = 4 | (255 << 8) | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
    cv2.floodFill(lab, filled, seed, 0, (TOLERANCE,) * 3, (TOLERANCE,) * 3, flags)
    inside: npt.NDArray[np.bool_] = filled[1:-1, 1:-1] > 0
    return inside


def _standing_out(picture: Picture, seeds: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """What GrabCut tells from the rim of a window around the pixels, joined to them."""
    height, width = picture.shape[:2]
    reach = int(REACH[len(seeds) > 1] * min(height, width))
    left, top = (max(0, min(values) - reach) for values in zip(*seeds, strict=True))
    right = min(width, max(x for x, _ in seeds) + reach + 1)
    bottom = min(height, max(y for _, y in seeds) + reach + 1)
    part = picture[top:bottom, left:right]
    scale = max(1.0, max(part.shape[:2]) / LOOK)
    small = cv2.resize(
        part, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA
    )  # faster, and without the fine grain
    rows, columns = small.shape[:2]
    clicks = [
        (min(int((x - left) / scale), columns - 1), min(int((y - top) / scale), rows - 1))
        for x, y in seeds
    ]
    labels = np.full((rows, columns), cv2.GC_PR_BGD, np.uint8)
    for click in clicks:
        cv2.circle(labels, click, int(0.55 * reach / scale), cv2.GC_PR_FGD, -1)
    rim = max(2, min(rows, columns) // 25)
    labels[:rim] = labels[-rim:] = labels[:, :rim] = labels[:, -rim:] = cv2.GC_BGD
    for click in clicks:
        cv2.circle(labels, click, max(2, int(4 / scale)), cv2.GC_FGD, -1)
    found_out = _grab_cut(np.asarray(small, np.uint8), labels, 6)
    _, parts = cv2.connectedComponents(found_out.astype(np.uint8), connectivity=4)
    found = np.asarray(parts)
    kept = _filled(np.isin(found, [found[y, x] for x, y in clicks]) & (found > 0))
    large = cv2.resize(kept.astype(np.float32), (right - left, bottom - top))
    chosen = np.zeros((height, width), bool)
    chosen[top:bottom, left:right] = large > 0.5
    return _refined(picture, chosen)


def _grab_cut(picture: Picture, labels: Picture, rounds: int) -> npt.NDArray[np.bool_]:
    """What GrabCut makes of the labels: whether a pixel is foreground."""
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, picture.shape[1], picture.shape[0])  # not looked at: the labels say it all
    cv2.setRNGSeed(0)  # the same picture gives the same mask
    cv2.grabCut(picture, labels, whole, background, foreground, rounds, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _refined(picture: Picture, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The region with its edges where GrabCut finds them."""
    height, width = inside.shape
    x, y, w, h = Mask.from_numpy(inside).bbox
    pad_x, pad_y = int(w * MARGIN) + 8, int(h * MARGIN) + 8
    rows = slice(max(0, y - pad_y), min(height, y + h + pad_y))
    columns = slice(max(0, x - pad_x), min(width, x + w + pad_x))
    region = inside[rows, columns]
    near = cv2.dilate(region.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    core = cv2.erode(region.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if not core.any() or near.all():
        return inside.copy()
    labels = np.where(near, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    labels[region] = cv2.GC_PR_FGD
    labels[core] = cv2.GC_FGD
    part = np.ascontiguousarray(picture[rows, columns])
    refined = np.zeros_like(inside)
    refined[rows, columns] = _filled(_grab_cut(part, labels, 2))
    return refined


def _filled(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The region without its small holes, as an eye or a button makes them."""
    outside = (~np.pad(inside, 1)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    around = labels[0, 0]
    areas = np.asarray(stats)[:, cv2.CC_STAT_AREA]
    small = areas < SMALL_HOLE * inside.sum()
    small[[0, around]] = False  # component 0 is the region itself
    filled: npt.NDArray[np.bool_] = inside | small[np.asarray(labels)[1:-1, 1:-1]]
    return filled


def follow(pictures: Sequence[Picture], start: int, mask: Mask) -> list[Mask]:
    """Carry a mask from one frame to all: by optical flow, then to the edges that are there.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (h, w, 3), uint8
        The frames, as `shrunk` makes them.
    start : int
        The frame that the mask is of.
    mask : Mask
        Of the video's size.

    Returns
    -------
    list of Mask
        One a frame, of the video's size.
    """
    masks = [mask] * len(pictures)
    height, width = pictures[0].shape[:2]
    for order in (range(start, len(pictures)), range(start, -1, -1)):
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        inside = mask.resize(height, width).to_numpy(dtype="bool")
        for before, after in pairwise(order):
            if not inside.any():
                masks[after] = Mask.zeros(mask.size)
                continue
            greys = [cv2.cvtColor(pictures[at], cv2.COLOR_RGB2GRAY) for at in (after, before)]
            back = flow.calc(greys[0], greys[1], np.zeros((height, width, 2), np.float32))
            carried = _warped(inside.astype(np.float32), back) > 0.5
            # Flow is soft at the edge of what moves; uncorrected, the mask would lag behind.
            refined = _refined(pictures[after], carried)
            inside = refined if 0.7 < (refined.sum() + 1) / (carried.sum() + 1) < 1.4 else carried
            large = cv2.resize(inside.astype(np.float32), mask.size[::-1])
            masks[after] = Mask.from_numpy(large > 0.5)
    return masks


def shrunk(picture: Picture) -> Picture:
    """Smaller, as `follow` takes frames."""
    height, width = picture.shape[:2]
    scale = max(1, min(height, width) // SMALL)
    return cv2.resize(
        picture, (width // scale, height // scale), interpolation=cv2.INTER_AREA
    ).astype(np.uint8)


def _warped(values: npt.NDArray[np.float32], back: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Values of the frame before, at the places of the frame after."""
    height, width = values.shape
    flow = np.asarray(back, np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def inpaint(picture: Picture, mask: Mask) -> Picture:
    """Fill the mask from what is around it."""
    if not mask:
        return picture
    height, width = mask.size
    x, y, w, h = mask.bbox
    pad = 24
    rows = slice(max(0, y - pad), min(height, y + h + pad))
    columns = slice(max(0, x - pad), min(width, x + w + pad))
    hole = cv2.dilate(mask.to_numpy(value=255), np.ones((9, 9), np.uint8))[rows, columns]
    part = np.ascontiguousarray(picture[rows, columns])
    picture[rows, columns] = cv2.inpaint(part, np.ascontiguousarray(hole), 5, cv2.INPAINT_TELEA)
    return picture


def paste(picture: Picture, image: Picture, bbox: tuple[int, int, int, int]) -> Picture:
    """Lay an RGBA image into a box, as large as fits, in the middle of its foot."""
    x, y, w, h = bbox
    scale = min(w / image.shape[1], h / image.shape[0])
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    left, top = x + (w - width) // 2, y + h - height
    part = picture[top : top + height, left : left + width]
    small = small[: part.shape[0], : part.shape[1]]
    alpha = small[..., 3:].astype(np.uint16)
    part[...] = (small[..., :3] * alpha + part * (255 - alpha) + 127) // 255
    return picture
