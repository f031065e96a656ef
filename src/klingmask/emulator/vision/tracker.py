"""A region followed through a clip: carried by optical flow, corrected by colour and motion.

Each step adds up log odds for each pixel: how deep it lies in the region that the flow
carried here, how much its colour is the region's, and whether it moves. A region that
is lost is looked for in the whole frame.
"""

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask
from klingmask.emulator.vision.color_model import ColorModel
from klingmask.emulator.vision.regions import Checkpoint, Picture, Plane, Region, fill_small_holes
from klingmask.emulator.vision.scene import Scene

__all__ = ["track"]

MAX_LOG_ODDS = 3.0  # of place, colour and motion each
SURE_DEPTH = 0.12  # share of the region's width; deeper pixels are inside for sure
SMOOTHING = 0.012  # share of the picture's shorter side over which log odds are averaged
LOST_AREA = 0.12  # share of the usual area; a smaller region is lost
SAME_COLORS = 0.55  # colour similarity from which on a region may be the one that was lost
MAX_GROWTH = 1.6  # of the larger of its area and its usual area, in one step
CRUMB = 0.1  # share of the largest part's area; smaller parts are noise
FOUND_AREAS = 0.3, 2.5  # shares of the usual area that a region found again may have


def track(
    scene: Scene, marks: Mapping[int, Mask], checkpoint: Checkpoint | None = None
) -> list[Mask]:
    """Follow a region from the frames on which it is marked to all others.

    Parameters
    ----------
    scene : Scene
        Of the clip.
    marks : mapping of int to Mask
        By frame, all of the video's size.
    checkpoint : callable, optional
        Called before each frame; may raise.

    Returns
    -------
    list of Mask
        One for each frame, of the video's size; empty where the region is out of sight.
        Each is followed from the nearest marked frame; the marks themselves stay as given.
    """
    pictures = scene.pictures
    # A file may claim more frames than can be read.
    marks = {min(index, len(pictures) - 1): mask for index, mask in marks.items()}
    size = next(iter(marks.values())).size
    rows, columns = pictures[0].shape[:2]
    regions = {
        index: mask.resize(rows, columns).to_numpy(dtype="bool") for index, mask in marks.items()
    }
    tracker = _Tracker(scene, regions)
    masks = [Mask.zeros(size)] * len(pictures)
    order = sorted(marks)
    for place, index in enumerate(order):
        masks[index] = marks[index]
        first = (order[place - 1] + index) // 2 + 1 if place else 0
        last = (index + order[place + 1]) // 2 if place + 1 < len(order) else len(pictures) - 1
        for direction in (range(index, last + 1), range(index, first - 1, -1)):
            tracker.start(index)
            for before, after in pairwise(direction):
                if checkpoint:
                    checkpoint()
                masks[after] = _enlarged(tracker.step(before, after), size)
    return masks


def _enlarged(chance: Plane, size: tuple[int, int]) -> Mask:
    if not (chance > 0.5).any():
        return Mask.zeros(size)
    return Mask.from_numpy(cv2.resize(chance, size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


class _Tracker:
    """The state between two frames.

    Attributes
    ----------
    chance : ndarray, shape (h, w), float32
        The region on the latest frame: inside where it is above 0.5.
    distractors : ndarray, shape (h, w), float32
        What else moves there, 0 to 1: the region must not grow into it when they meet.
    center : ndarray, shape (2,)
        The region's x and y when it was last seen.
    lost_for : int
        Frames since it was last seen.
    """

    def __init__(self, scene: Scene, marked: Mapping[int, Region]) -> None:
        self.scene, self.marked = scene, marked
        self.colors = ColorModel()
        for index, region in marked.items():
            if region.any():
                self.colors.learn(scene.pictures[index], region)
        self.usual_area = float(np.mean([region.sum() for region in marked.values()]))
        self.flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.motion_weight = self._weigh_motion()

    def _weigh_motion(self) -> float:
        """How well motion separates the region from its surroundings where it is marked, 0 to 1."""
        gains = [0.0]
        for index, region in self.marked.items():
            if region.any():
                motion, _ = self.scene.motion(index)
                around = (cv2.dilate(region.astype(np.uint8), _square(9)) > 0) & ~region
                gains.append(float(motion[region].mean() - motion[around].mean()))
        return float(np.clip(sum(gains) / len(self.marked) * 2, 0, 1))

    def start(self, index: int) -> None:
        """Begin at a marked frame."""
        region = self.marked[index]
        self.chance = region.astype(np.float32)
        self.distractors = self._find_distractors(index, region, None)
        self.center = np.zeros(2)
        self.lost_for = 0 if region.any() else 1
        if region.any():
            self.center = _center(region)

    def step(self, before: int, after: int) -> Plane:
        """Follow the region to the next frame; returns the chance of each pixel to be in it."""
        color, motion = self._log_odds(after)
        chance, distractors = None, np.zeros_like(color)
        if self.scene.camera.homography(before, after) is not None:
            back = self._flow(after, before)
            distractors = _warped(self.distractors, back)
            if not self.lost_for:
                carried = _warped(self.chance, back) > 0.5
                chance = self._follow(after, carried, distractors, color, motion)
        if chance is None:
            chance = self._find_again(after, distractors, color, motion)
        region = chance > 0.5
        self.lost_for = 0 if region.any() else self.lost_for + 1
        if region.any():
            self.center = _center(region)
        self.chance = chance
        self.distractors = self._find_distractors(after, region, distractors)
        return chance

    def _find_distractors(self, index: int, region: Region, carried: Plane | None) -> Plane:
        """What else moves on a frame.

        A distractor stays one. Something new is one if it is apart from the region while
        the region is in sight; if it touches the region, it may be a part that was missed.
        """
        motion, _ = self.scene.motion(index)
        moves = (motion > 0.5).astype(np.uint8)
        touching = cv2.dilate(region.astype(np.uint8), _square(3)) > 0
        if carried is None:
            return (moves & ~touching).astype(np.float32)
        side = 2 * max(1, round(SURE_DEPTH * np.sqrt(self.usual_area) / 2)) + 1
        distractors = cv2.dilate(carried, _square(side)) > 0.5
        if region.any():
            count, labels = cv2.connectedComponents(moves)
            apart = np.ones(count, bool)
            apart[np.unique(np.asarray(labels)[touching])] = False
            distractors |= apart[np.asarray(labels)]
        return (distractors & ~touching & (moves > 0)).astype(np.float32)

    def _log_odds(self, index: int) -> tuple[Plane, Plane]:
        """The log odds of each pixel to be in the region, by colour and by motion."""
        picture = self.scene.pictures[index]
        color = np.clip(self.colors.log_odds(picture), -MAX_LOG_ODDS, MAX_LOG_ODDS)
        if self.motion_weight < 0.1:
            return color, np.zeros_like(color)
        motion, seen = self.scene.motion(index)
        # If the plate has the region's colours somewhere, the region itself may have stood there
        # so long that it got into the plate, unless the place was beside the region on a marked
        # frame. Then standing still says little, and motion may be the uncovered background.
        in_plate = _probability(np.clip(self.colors.log_odds(self.scene.background(index)), -3, 3))
        beside = self._known_background(index)
        reliable = np.maximum(1 - in_plate, beside)
        signed = 2 * motion - 1
        reliability = np.where(
            signed > 0, np.maximum(reliable, _probability(color)), reliable + beside
        )
        scaled = np.where(seen, signed * reliability, 0).astype(np.float32)
        by_motion = scaled * (MAX_LOG_ODDS * self.motion_weight)
        # A moving pixel with the background's colour may well be the region: colour counts less.
        color = np.where(
            (color < 0) & (by_motion > 0), color * (1 - by_motion / MAX_LOG_ODDS), color
        )
        return color, by_motion

    def _known_background(self, index: int) -> Region:
        """Where a marked frame shows the background, right beside the region."""
        known = np.zeros(self.scene.camera.size, bool)
        for marked, region in self.marked.items():
            if self.scene.camera.homography(marked, index) is not None:
                motion, seen = self.scene.motion(marked)
                touching = cv2.dilate(region.astype(np.uint8), _square(5)) > 0
                background = (seen & (motion < 0.3) & ~touching).astype(np.uint8) * 255
                known |= self.scene.warped(background, marked, index) == 255
        return known

    def _flow(self, source: int, target: int) -> npt.NDArray[np.float32]:
        """How far each pixel of a frame moves to its place on another: (h, w, 2)."""
        one, other = (
            cv2.cvtColor(self.scene.pictures[index], cv2.COLOR_RGB2GRAY)
            for index in (source, target)
        )
        flow = np.zeros((*one.shape, 2), np.float32)
        return np.asarray(self.flow.calc(one, other, flow), np.float32)

    def _follow(
        self, index: int, carried: Region, distractors: Plane, color: Plane, motion: Plane
    ) -> Plane | None:
        """Correct the region that the flow carried here; None if it is not there."""
        area = float(carried.sum())
        if area < LOST_AREA * self.usual_area:
            return None
        sure_depth = SURE_DEPTH * np.sqrt(max(area, 0.5 * self.usual_area))
        within, without = (
            np.asarray(cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5))
            for side in (carried, ~carried)
        )
        depth = within - without
        place = np.clip(depth / sure_depth, -2, 1) * MAX_LOG_ODDS
        # A moving part that is connected with the region may have been missed until now.
        missed = self._connected_motion(motion, distractors, carried)
        place[missed] = np.maximum(place[missed], -0.5 * MAX_LOG_ODDS)
        total = place + color + motion - distractors * (self.motion_weight * 2 * MAX_LOG_ODDS)
        total[depth < -3 * sure_depth] = -MAX_LOG_ODDS
        picture = self.scene.pictures[index]
        chance = _guided_filter(picture, _probability(total))
        region = _overlapping_parts(chance > 0.5, carried)
        if region.sum() > MAX_GROWTH * max(area, self.usual_area):
            region &= carried
        similarity = self.colors.similarity(picture, region)
        if region.sum() < LOST_AREA * self.usual_area or similarity < 0.5 * SAME_COLORS:
            return None
        return _decided(chance, region)

    def _find_again(self, index: int, distractors: Plane, color: Plane, motion: Plane) -> Plane:
        """Look for a lost region in the whole frame; an empty one if it is not there."""
        picture = self.scene.pictures[index]
        chance = _guided_filter(picture, _probability(color + 2 * motion - 0.5))
        chance[(distractors > 0.5) & (self.motion_weight > 0.1)] = 0
        shapes = cv2.morphologyEx((chance > 0.5).astype(np.uint8), cv2.MORPH_OPEN, _square(3))
        shapes = cv2.morphologyEx(shapes, cv2.MORPH_CLOSE, _square(5))
        count, labels, stats, centers = cv2.connectedComponentsWithStats(shapes)
        best, best_score = np.zeros(chance.shape, bool), 0.0
        height, width = chance.shape
        for number in range(1, count):
            x, y, w, h, area = stats[number]
            on_border = x == 0 or y == 0 or x + w == width or y + h == height
            smallest = FOUND_AREAS[0] * (0.5 if on_border else 1.0)
            if not smallest * self.usual_area < area < FOUND_AREAS[1] * self.usual_area:
                continue
            region = np.asarray(labels) == number
            similarity = self.colors.similarity(picture, region)
            distance = float(np.linalg.norm(centers[number] - self.center)) / min(height, width)
            nearness = np.exp(-distance / (0.2 + 0.05 * self.lost_for))
            score = similarity * (0.7 + 0.3 * nearness)
            if similarity > SAME_COLORS and score > best_score:
                best, best_score = region, score
        whole = best | self._connected_motion(motion, distractors, best) if best.any() else best
        if whole.sum() > FOUND_AREAS[1] * self.usual_area:
            whole = best
        return _decided(chance, fill_small_holes(whole))

    def _connected_motion(self, motion: Plane, distractors: Plane, region: Region) -> Region:
        """What moves, is no distractor, and is connected with the region."""
        moves = (motion > 0.1 * MAX_LOG_ODDS) & (distractors < 0.5)
        count, labels = cv2.connectedComponents((moves | region).astype(np.uint8))
        connected = np.zeros(count, bool)
        connected[np.unique(np.asarray(labels)[region])] = True
        found: Region = connected[np.asarray(labels)] & moves
        return found


def _center(region: Region) -> npt.NDArray[np.float64]:
    y, x = np.nonzero(region)
    return np.array([x.mean(), y.mean()])


def _probability(log_odds: Plane) -> Plane:
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32)


def _decided(chance: Plane, region: Region) -> Plane:
    """The chances, moved above a half inside the region and below it outside."""
    return np.where(region, np.maximum(chance, 0.51), np.minimum(chance, 0.49)).astype(np.float32)


def _square(side: int) -> Picture:
    return np.ones((side, side), np.uint8)


def _overlapping_parts(region: Region, carried: Region) -> Region:
    """The parts of a region of which enough was in the carried one, without small holes."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    parts = np.asarray(labels, np.int32)
    areas = np.asarray(stats)[:, cv2.CC_STAT_AREA]
    shared = np.bincount(parts[carried], minlength=len(areas))
    kept = shared > 0.3 * areas
    kept[0] = False
    if kept.any():
        kept &= areas > CRUMB * areas[kept].max()
    return fill_small_holes(kept[parts])


def _guided_filter(picture: Picture, values: Plane) -> Plane:
    """Average values over their neighbourhood, but not across edges of the picture.

    K. He, J. Sun and X. Tang, "Guided Image Filtering", ECCV 2010.
    """
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = 2 * max(1, round(SMOOTHING * min(guide.shape))) + 1

    def mean(of: npt.ArrayLike) -> Plane:
        return np.asarray(cv2.blur(np.asarray(of, np.float32), (side, side)), np.float32)

    guide_mean, value_mean = mean(guide), mean(values)
    covariance = mean(guide * values) - guide_mean * value_mean
    slope = covariance / (mean(guide**2) - guide_mean**2 + 50)
    return mean(slope) * guide + mean(value_mean - slope * guide_mean)


def _warped(values: Plane, back: npt.NDArray[np.float32]) -> Plane:
    """Values of the frame before, in the places of the frame after."""
    height, width = values.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(values, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)
