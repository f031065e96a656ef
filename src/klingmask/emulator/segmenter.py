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
MARGIN = 0.15  # around the filled region, in which GrabCut looks
SMALL = 360  # pixels of the shorter side, about, at which things are followed


def segment(picture: Picture, points: Sequence[tuple[float, float]]) -> Mask:
    """Select what is around the points.

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
    lab = cv2.cvtColor(cv2.medianBlur(picture, 3), cv2.COLOR_RGB2LAB)
    filled = np.zeros((height + 2, width + 2), np.uint8)
    seeds = [(min(int(x * width), width - 1), min(int(y * height), height - 1)) for x, y in points]
    for seed in seeds:
        flags = 4 | (255 << 8) | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
        cv2.floodFill(lab, filled, seed, 0, (TOLERANCE,) * 3, (TOLERANCE,) * 3, flags)
    inside = filled[1:-1, 1:-1] > 0
    refined = _refined(picture, inside)
    for x, y in seeds:  # GrabCut may disagree with a click; the click is right
        if not refined[y, x]:
            refined |= inside
    return Mask.from_numpy(refined)


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
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, part.shape[1], part.shape[0])  # not looked at: the labels say it all
    cv2.setRNGSeed(0)  # the same picture gives the same mask
    cv2.grabCut(part, labels, whole, background, foreground, 2, cv2.GC_INIT_WITH_MASK)
    refined = np.zeros_like(inside)
    refined[rows, columns] = _filled((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
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
