"""A region followed through a clip: carried by optical flow, put right by what it looks like."""

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask
from klingmask.emulator.vision.regions import GoOn, Picture, Plane, Region, filled, lab
from klingmask.emulator.vision.scene import Scene

__all__ = ["track"]

BITS = 4  # of each of L*, a* and b*, by which colours are told apart
BELIEVED = 3.0  # log odds, at most, that place, colour and motion each speak with
DEEP = 0.12  # share of the region's width, at which its inside is sure to be inside
SMOOTH = 0.012  # of the shorter side: over which what pixels say is averaged
LOST = 0.12  # share of its usual area below which the region is lost
ALIKE = 0.55  # how much of the colours must be the same, to be found again
GROWTH = 1.6  # of its area, and of its usual area, more than which it does not grow at once
CRUMB = 0.1  # of the largest part's area, less than which no part has
SIZES = 0.3, 2.5  # of the usual area, that it may be found again with


class Looks:
    """What a region looks like on the frames on which it was marked.

    That is, how often each colour is in it and around it. It is not learned anew on the
    way, so what is followed cannot turn into something else bit by bit.
    """

    def __init__(self) -> None:
        bins = 1 << BITS
        self._inside = np.zeros((bins, bins, bins), np.float32)
        self._around = np.zeros((bins, bins, bins), np.float32)
        self._odds = np.zeros(bins**3, np.float32)
        self._share = np.zeros(bins**3, np.float32)

    def learn(self, picture: Picture, region: Region) -> None:
        """Add a frame on which the region is known."""
        codes = _codes(picture)
        away = cv2.distanceTransform(1 - region.astype(np.uint8), cv2.DIST_L2, 5)
        reach = 0.5 * np.sqrt(region.sum()) + 2
        # The whole picture counts, what is near the region more.
        weights = np.where(region, 0, np.exp(-away / reach) + 0.1 * region.mean())
        bins = self._inside.shape
        self._inside += np.bincount(codes[region], minlength=np.prod(bins)).reshape(bins)
        counts = np.bincount(codes.ravel(), weights.ravel(), minlength=np.prod(bins))
        self._around += counts.reshape(bins).astype(np.float32)
        inside, around = _spread(self._inside), _spread(self._around)
        floor = 0.02 / np.prod(bins) ** 0.5
        self._odds = np.log((inside + floor) / (around + floor)).ravel().astype(np.float32)
        self._share = inside.ravel()

    def odds(self, picture: Picture) -> Plane:
        """How much more a pixel's colour is the region's: the logarithm of the odds."""
        odds: Plane = self._odds[_codes(picture)]
        return odds

    def likeness(self, picture: Picture, region: Region) -> float:
        """How much of the colours of a region are those of this one, from 0 to 1."""
        bins = self._inside.shape
        counts = np.bincount(_codes(picture)[region], minlength=np.prod(bins)).reshape(bins)
        return float(np.sqrt(_spread(counts.astype(np.float32)).ravel() * self._share).sum())


def _codes(picture: Picture) -> npt.NDArray[np.uint16]:
    """A number for each pixel's colour, a* and b* twice as fine: they seldom go far from grey."""
    first, second, third = (
        np.asarray(part, np.uint16) for part in cv2.split(cv2.LUT(lab(picture), _LEVELS))
    )
    return np.asarray((first << 2 * BITS) | (second << BITS) | third, np.uint16)


def _levels() -> Picture:
    value = np.arange(256)
    fine = np.clip((value - 128) * 2 + 128, 0, 255)
    return (np.stack([value, fine, fine], 1)[None] >> (8 - BITS)).astype(np.uint8)


_LEVELS = _levels()


def _spread(counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Counts as shares of their sum, each colour's spread to those beside it."""
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)], "edge")
        n = counts.shape[axis]
        before, after = (np.take(padded, range(o, o + n), axis) for o in (0, 2))
        counts = 0.25 * before + 0.5 * counts + 0.25 * after
    shares: npt.NDArray[np.float32] = (counts / max(1.0, float(counts.sum()))).astype(np.float32)
    return shares


def track(scene: Scene, marks: Mapping[int, Mask], go_on: GoOn | None = None) -> list[Mask]:
    """Follow a region from the frames on which it is marked to all others.

    Parameters
    ----------
    scene : Scene
        Of the clip.
    marks : mapping of int to Mask
        By frame, all of the video's size.
    go_on : callable, optional
        Asked before each frame; may raise.

    Returns
    -------
    list of Mask
        One a frame, of the video's size; empty where the region is not to be seen. Each
        comes from the marked frame that is nearest; the marks themselves are as given.
    """
    pictures = scene.pictures
    # A file may say that it has more frames than can be read.
    marks = {min(index, len(pictures) - 1): mask for index, mask in marks.items()}
    size = next(iter(marks.values())).size
    rows, columns = pictures[0].shape[:2]
    known = {
        index: mask.resize(rows, columns).to_numpy(dtype="bool") for index, mask in marks.items()
    }
    looks = Looks()
    for index, region in known.items():
        if region.any():
            looks.learn(pictures[index], region)
    usual = float(np.mean([region.sum() for region in known.values()]))
    tracker = _Tracker(scene, looks, usual, known)
    masks = [Mask.zeros(size)] * len(pictures)
    order = sorted(marks)
    for place, index in enumerate(order):
        masks[index] = marks[index]
        first = (order[place - 1] + index) // 2 + 1 if place else 0
        last = (index + order[place + 1]) // 2 if place + 1 < len(order) else len(pictures) - 1
        for way in (range(index, last + 1), range(index, first - 1, -1)):
            tracker.start(index)
            for before, after in pairwise(way):
                if go_on:
                    go_on()
                masks[after] = _enlarged(tracker.step(before, after), size)
    return masks


def _enlarged(soft: Plane, size: tuple[int, int]) -> Mask:
    if not (soft > 0.5).any():
        return Mask.zeros(size)
    return Mask.from_numpy(cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


class _Tracker:
    """From one frame to the next."""

    def __init__(
        self, scene: Scene, looks: Looks, usual: float, known: Mapping[int, Region]
    ) -> None:
        self.scene, self.looks, self.usual, self.known = scene, looks, usual, known
        self.flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # How far what moves in the clip is the region: on the marked frames, that is known.
        gains = [0.0]
        for index, region in known.items():
            if region.any():
                moving, _ = scene.moving(index)
                near = cv2.dilate(region.astype(np.uint8), _square(9)) > 0
                gains.append(float(moving[region].mean() - moving[near & ~region].mean()))
        self.trust = float(np.clip(sum(gains) / len(known) * 2, 0, 1))

    def start(self, index: int) -> None:
        """Begin at a marked frame."""
        region = self.known[index]
        self.soft = region.astype(np.float32)
        self.others = self._others(index, region, None)
        self.last = np.zeros(2)
        self.lost = 0
        if region.any():
            self._note(region)
        else:
            self.lost = 1

    def _others(self, index: int, region: Region, carried: Plane | None) -> Plane:
        """What else moves: it is not to be taken for a part of the region when they meet.

        Once something else, always something else; what comes anew is so if it is apart
        from the region, while that is in sight. What hangs together with it may be a
        part that was missed.
        """
        moving, _ = self.scene.moving(index)
        moves = (moving > 0.5).astype(np.uint8)
        near = cv2.dilate(region.astype(np.uint8), _square(3)) > 0
        if carried is None:
            return (moves & ~near).astype(np.float32)
        reach = 2 * max(1, round(DEEP * np.sqrt(self.usual) / 2)) + 1
        others = cv2.dilate(carried, _square(reach)) > 0.5
        if region.any():
            count, labels = cv2.connectedComponents(moves)
            apart = np.ones(count, bool)
            apart[np.unique(np.asarray(labels)[near])] = False
            others |= apart[np.asarray(labels)]
        return (others & ~near & (moves > 0)).astype(np.float32)

    def evidence(self, index: int) -> tuple[Plane, Plane]:
        """Log odds by colour, and by motion."""
        picture = self.scene.pictures[index]
        colour = np.clip(self.looks.odds(picture), -BELIEVED, BELIEVED)
        if self.trust < 0.1:
            return colour, np.zeros_like(colour)
        moving, seen = self.scene.moving(index)
        # Where the plate has the region's colours, it may be the region that stood there,
        # unless it was beside the region on a marked frame. If so, that it is not moving
        # says little, and that something moves is no more than that it has gone.
        like_ground = _chance(np.clip(self.looks.odds(self.scene.ground(index)), -3, 3))
        beside = self._beside(index)
        sure = np.maximum(1 - like_ground, beside)
        motion = 2 * moving - 1
        motion *= np.where(motion > 0, np.maximum(sure, _chance(colour)), sure + beside)
        motion = np.where(seen, motion, 0).astype(np.float32) * (BELIEVED * self.trust)
        # What is not the scenery may well have its colours: that says less then.
        colour = np.where((colour < 0) & (motion > 0), colour * (1 - motion / BELIEVED), colour)
        return colour, motion

    def _beside(self, index: int) -> Region:
        """Where there is the scenery for sure: it was seen to be beside the region."""
        beside = np.zeros(self.scene.camera.size, bool)
        for marked, region in self.known.items():
            if self.scene.camera.between(marked, index) is not None:
                moving, seen = self.scene.moving(marked)
                near = cv2.dilate(region.astype(np.uint8), _square(5)) > 0
                place = (seen & (moving < 0.3) & ~near).astype(np.uint8) * 255
                beside |= self.scene.laid(place, marked, index) == 255
        return beside

    def step(self, before: int, after: int) -> Plane:
        """How surely each pixel of the frame after is in the region."""
        colour, motion = self.evidence(after)
        held, others = None, np.zeros_like(colour)
        if self.scene.camera.between(before, after) is not None:
            back = self._flow(after, before)
            others = _warped(self.others, back)
            if not self.lost:
                held = self._carried(after, _warped(self.soft, back) > 0.5, others, colour, motion)
        if held is None:
            held = self._found(after, others, colour, motion)
        region = held > 0.5
        self.lost = 0 if region.any() else self.lost + 1
        if region.any():
            self._note(region)
        self.soft, self.others = held, self._others(after, region, others)
        return held

    def _flow(self, source: int, target: int) -> npt.NDArray[np.float32]:
        """Where each pixel of a frame is on another."""
        one, other = (
            cv2.cvtColor(self.scene.pictures[index], cv2.COLOR_RGB2GRAY)
            for index in (source, target)
        )
        flow = np.zeros((*one.shape, 2), np.float32)
        return np.asarray(self.flow.calc(one, other, flow), np.float32)

    def _carried(
        self, index: int, inside: Region, others: Plane, colour: Plane, motion: Plane
    ) -> Plane | None:
        """The region, from where flow has carried it; None if it is not there."""
        area = float(inside.sum())
        if area < LOST * self.usual:
            return None
        scale = DEEP * np.sqrt(max(area, 0.5 * self.usual))
        within, without = (
            np.asarray(cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5))
            for side in (inside, ~inside)
        )
        depth = within - without
        place = np.clip(depth / scale, -2, 1) * BELIEVED
        # A part that moves and hangs together with the rest may have been missed so far.
        missed = self._together(motion, others, inside)
        place[missed] = np.maximum(place[missed], -0.5 * BELIEVED)
        total = place + colour + motion - others * (self.trust * 2 * BELIEVED)
        total[depth < -3 * scale] = -BELIEVED
        chance = _guided(self.scene.pictures[index], _chance(total))
        refined = _kept(chance > 0.5, inside)
        if refined.sum() > GROWTH * max(area, self.usual):
            refined &= inside
        likeness = self.looks.likeness(self.scene.pictures[index], refined)
        if refined.sum() < LOST * self.usual or likeness < 0.5 * ALIKE:
            return None
        return _held(chance, refined)

    def _together(self, motion: Plane, others: Plane, region: Region) -> Region:
        """What moves, is nothing else, and hangs together with the region."""
        moves = (motion > 0.1 * BELIEVED) & (others < 0.5)
        count, labels = cv2.connectedComponents((moves | region).astype(np.uint8))
        joined = np.zeros(count, bool)
        joined[np.unique(np.asarray(labels)[region])] = True
        together: Region = joined[np.asarray(labels)] & moves
        return together

    def _note(self, region: Region) -> None:
        y, x = np.nonzero(region)
        self.last = np.array([x.mean(), y.mean()])

    def _found(self, index: int, others: Plane, colour: Plane, motion: Plane) -> Plane:
        """The region, looked for anew; nothing if it is not there."""
        picture = self.scene.pictures[index]
        chance = _guided(picture, _chance(colour + 2 * motion - 0.5))
        chance[(others > 0.5) & (self.trust > 0.1)] = 0
        shapes = cv2.morphologyEx((chance > 0.5).astype(np.uint8), cv2.MORPH_OPEN, _square(3))
        shapes = cv2.morphologyEx(shapes, cv2.MORPH_CLOSE, _square(5))
        count, labels, stats, centres = cv2.connectedComponentsWithStats(shapes)
        best, worth = np.zeros(chance.shape, bool), 0.0
        height, width = chance.shape
        for number in range(1, count):
            x, y, w, h, area = stats[number]
            at_rim = x == 0 or y == 0 or x + w == width or y + h == height
            least = SIZES[0] * (0.5 if at_rim else 1.0)
            if not least * self.usual < area < SIZES[1] * self.usual:
                continue
            region = np.asarray(labels) == number
            likeness = self.looks.likeness(picture, region)
            far = float(np.linalg.norm(centres[number] - self.last)) / min(height, width)
            value = likeness * (0.7 + 0.3 * np.exp(-far / (0.2 + 0.05 * self.lost)))
            if likeness > ALIKE and value > worth:
                best, worth = region, value
        whole = best | self._together(motion, others, best) if best.any() else best
        if whole.sum() > SIZES[1] * self.usual:
            whole = best
        return _held(chance, filled(whole))


def _chance(odds: Plane) -> Plane:
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def _held(chance: Plane, region: Region) -> Plane:
    """The chances, on the right side of a half inside the region and outside."""
    return np.where(region, np.maximum(chance, 0.51), np.minimum(chance, 0.49)).astype(np.float32)


def _square(side: int) -> Picture:
    return np.ones((side, side), np.uint8)


def _kept(region: Region, carried: Region) -> Region:
    """Those parts of the region that were in the one carried there, without holes."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    parts = np.asarray(labels, np.int32)
    areas = np.asarray(stats)[:, cv2.CC_STAT_AREA]
    shared = np.bincount(parts[carried], minlength=len(areas))
    good = shared > 0.3 * areas
    good[0] = False
    if good.any():  # crumbs are noise
        good &= areas > CRUMB * areas[good].max()
    return filled(good[parts])


def _guided(picture: Picture, values: Plane) -> Plane:
    """Values averaged over what is around, but not across the picture's edges: a guided filter."""
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    side = 2 * max(1, round(SMOOTH * min(guide.shape))) + 1

    def mean(of: npt.ArrayLike) -> Plane:
        return np.asarray(cv2.blur(np.asarray(of, np.float32), (side, side)), np.float32)

    middle, average = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * average) / (mean(guide**2) - middle**2 + 50)
    return mean(slope) * guide + mean(average - slope * middle)


def _warped(values: Plane, back: npt.NDArray[np.float32]) -> Plane:
    """Values of the frame before, at the places of the frame after."""
    height, width = values.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(values, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)
