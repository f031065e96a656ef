"""Camera motion and background of a clip: what stays, and so what moves.

The camera's motion is a homography between frames, estimated from corners that are
tracked. With it, frames can be laid over each other; the median of each pixel is the
background without whatever passes by, which film makers call a clean plate. What differs
from the plate moves.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from klingmask.emulator.vision.regions import Checkpoint, Picture, Plane, Region, shrink
from klingmask.video import frames

__all__ = ["Camera", "Plate", "Scene", "quantiles", "scene_of"]

Matrix = npt.NDArray[np.float64]

# Lengths without a unit are shares of the picture's shorter side; levels go from 0 to 255.
MAX_CORNERS = 200  # tracked from frame to frame
INLIER_PIXELS = 1.5  # a corner that is farther off does not agree with a homography
INLIER_SHARE = 0.4  # of the corners that must agree with a homography
STILL = 0.002  # less camera motion than this counts as none
PLATE_REACH = 0.15  # after so much camera motion there is a new plate
PLATE_FRAMES = 17  # a plate is made of so many frames
NEIGHBOUR_REACH = 0.8  # frames that are farther off do not contribute to a plate
MAX_FLICKER = 12  # levels by which the background itself may change
SHADOW_WEIGHT = 0.25  # a difference that looks like a shadow counts so much
DARKEST_SHADOW = 0.65  # share of the light that a shadow leaves at least
CLEAR_CHANGE = 10.0  # levels beyond the flicker at which a pixel is as likely to move as not
KEPT_MOTIONS = 12  # frames whose motion is kept: those marked, and those at work


class Camera:
    """The camera's motion: a homography between any two frames of a shot.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (h, w, 3), uint8
        All of one size.
    checkpoint : callable, optional
        Called before each frame; may raise.

    Attributes
    ----------
    shots : list of int
        The number of the shot of each frame.
    """

    def __init__(self, pictures: Sequence[Picture], checkpoint: Checkpoint | None = None) -> None:
        self.size = pictures[0].shape[:2]
        self.shots = [0]
        self._to_first: list[Matrix] = [np.eye(3)]  # from a frame to the first of its shot
        # Frames are matched with a key frame rather than with the one before: errors add up less.
        key, key_to_first = _grey(pictures[0]), np.eye(3)
        corners = _corners(key)
        from_key = np.eye(3)  # to the frame before
        before = key
        for picture in pictures[1:]:
            if checkpoint:
                checkpoint()
            after = _grey(picture)
            match = _homography(key, after, corners, from_key)
            if match is None:  # too little of the key frame is left: the frame before is the next
                key, key_to_first, corners = before, self._to_first[-1], _corners(before)
                match = _homography(key, after, corners, np.eye(3))
            if match is None and _is_similar(before, after):
                match = np.eye(3)  # a plain background has no corners to track
            self.shots.append(self.shots[-1] + (match is None))
            if match is None:
                key, key_to_first, corners, match = after, np.eye(3), _corners(after), np.eye(3)
            self._to_first.append(key_to_first @ np.linalg.inv(match))
            before, from_key = after, match

    def homography(self, source: int, target: int) -> Matrix | None:
        """The homography from one frame to another; None if they are of different shots."""
        if self.shots[source] != self.shots[target]:
            return None
        matrix: Matrix = np.linalg.inv(self._to_first[target]) @ self._to_first[source]
        return matrix

    def distance(self, source: int, target: int) -> float:
        """How far the picture's corners move between two frames, in shorter sides."""
        matrix = self.homography(source, target)
        if matrix is None:
            return np.inf
        height, width = self.size
        corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
        moved = np.asarray(cv2.perspectiveTransform(corners, matrix)) - corners
        return float(np.abs(moved).max() / min(self.size))


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _corners(grey: Picture) -> npt.NDArray[np.float32]:
    spacing = max(4.0, min(grey.shape) / 40)
    found = cv2.goodFeaturesToTrack(grey, MAX_CORNERS, 0.005, spacing)
    return np.empty((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def _homography(
    before: Picture, after: Picture, corners: npt.NDArray[np.float32], guess: Matrix
) -> Matrix | None:
    """The homography that most tracked corners agree with; None if there is none."""
    if len(corners) < 8:
        return None
    start = cv2.perspectiveTransform(corners, guess).astype(np.float32)
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, start.copy(), flags=flags)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, corners.copy(), flags=flags)
    kept = (found > 0) & (again > 0) & (np.abs(back - corners).max(2) < 1)
    kept = np.asarray(kept).ravel()
    if kept.sum() < max(8, 0.5 * INLIER_SHARE * len(corners)):
        return None
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.findHomography(corners[kept], there[kept], cv2.RANSAC, INLIER_PIXELS)
    if matrix is None or np.sum(inliers) < max(8, INLIER_SHARE * kept.sum()):
        return None
    return np.asarray(matrix, np.float64)


def _is_similar(before: Picture, after: Picture) -> bool:
    """Whether two frames may be of one shot: most of their pixels hardly change."""
    return float(np.median(cv2.absdiff(before, after))) < MAX_FLICKER


@dataclass
class Plate:
    """The background of one frame, without whatever passes by.

    Attributes
    ----------
    key : int
        The frame whose place the plate has.
    picture : ndarray, shape (h, w, 3), uint8
        The median of all frames that show a pixel.
    low, high : ndarray, shape (h, w, 3), uint8
        The range in which the background itself changes.
    seen : ndarray, shape (h, w), bool
        Where enough frames show the background.
    """

    key: int
    picture: Picture
    low: Picture
    high: Picture
    seen: Region


class Scene:
    """A clip with its camera motion, its background, and what moves before it.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (h, w, 3), uint8
        The frames, shrunk.
    checkpoint : callable, optional
        Called before each frame; may raise.

    Attributes
    ----------
    keys : list of int
        For each frame, the frame whose plate serves it.
    """

    def __init__(self, pictures: Sequence[Picture], checkpoint: Checkpoint | None = None) -> None:
        self.pictures = pictures
        self.camera = Camera(pictures, checkpoint)
        self._lock = threading.RLock()
        self._motions: dict[int, tuple[Plane, Region]] = {}
        self._plates: dict[int, Plate] = {}
        self.keys = self._spread_keys()

    def _spread_keys(self) -> list[int]:
        keys = [0]
        for index in range(1, len(self.pictures)):
            within_reach = self.camera.distance(index, keys[-1]) < PLATE_REACH
            keys.append(keys[-1] if within_reach else index)
        return keys

    def samples(self, key: int) -> list[int]:
        """Choose frames that show the surroundings of a key frame, spread evenly over the clip."""
        near = [
            index
            for index in range(len(self.pictures))
            if self.camera.distance(index, key) < NEIGHBOUR_REACH
        ]
        places = np.linspace(0, len(near) - 1, min(PLATE_FRAMES, len(near))).round().astype(int)
        return [near[place] for place in places]

    def plate(self, index: int) -> Plate:
        """The plate that serves a frame."""
        key = self.keys[index]
        with self._lock:
            if key not in self._plates:
                self._plates[key] = self._make_plate(key)
            return self._plates[key]

    def _make_plate(self, key: int) -> Plate:
        height, width = self.camera.size
        stack, seen = [], []
        for index in self.samples(key):
            matrix = self.camera.homography(index, key)
            assert matrix is not None  # noqa: S101 - samples are of one shot
            warped = cv2.warpPerspective(self.pictures[index], matrix, (width, height))
            stack.append(np.asarray(warped, np.uint8))
            full = np.full((height, width), 255, np.uint8)
            seen.append(cv2.warpPerspective(full, matrix, (width, height)) == 255)
        low, middle, high = quantiles(np.stack(stack), np.stack(seen), (0.25, 0.5, 0.75))
        # A neighbouring pixel's value is background, too: frames never lie exactly on each other.
        neighbours = np.ones((3, 3), np.uint8)
        flicker = np.full_like(middle, MAX_FLICKER)
        low = cv2.erode(cv2.max(low, cv2.subtract(middle, flicker)), neighbours).astype(np.uint8)
        high = cv2.dilate(cv2.min(high, cv2.add(middle, flicker)), neighbours).astype(np.uint8)
        seen_enough = np.sum(seen, 0) >= min(5, len(seen))
        return Plate(key, middle, low, high, seen_enough)

    def background(self, index: int) -> Picture:
        """The plate, in the place of a frame."""
        plate = self.plate(index)
        return self.warped(plate.picture, plate.key, index)

    def warped(self, picture: Picture, source: int, target: int) -> Picture:
        """A picture in one frame's place, moved to another's."""
        matrix = self.camera.homography(source, target)
        assert matrix is not None  # noqa: S101 - of one shot
        size = self.camera.size[::-1]
        if self.camera.distance(source, target) < STILL:
            return picture
        return np.asarray(cv2.warpPerspective(picture, matrix, size), np.uint8)

    def motion(self, index: int) -> tuple[Plane, Region]:
        """How clearly each pixel of a frame differs from the background.

        Returns
        -------
        motion : ndarray, shape (h, w), float32
            From 0, background, to 1.
        seen : ndarray, shape (h, w), bool
            Where the background is known; elsewhere the motion is 0.
        """
        with self._lock:  # several jobs may ask the same scene
            if index not in self._motions:
                if len(self._motions) > KEPT_MOTIONS:
                    self._motions.pop(next(iter(self._motions)))
                self._motions[index] = self._measure_motion(index)
            self._motions[index] = self._motions.pop(index)  # the least recently used goes first
            return self._motions[index]

    def _measure_motion(self, index: int) -> tuple[Plane, Region]:
        plate = self.plate(index)
        low, high, full = (
            self.warped(side, plate.key, index)
            for side in (plate.low, plate.high, plate.seen.astype(np.uint8) * 255)
        )
        seen = full == 255
        now = cv2.GaussianBlur(self.pictures[index], (3, 3), 0).astype(np.uint8)
        beyond = cv2.max(cv2.subtract(now, high), cv2.subtract(low, now))
        sums = cv2.transform(beyond.astype(np.float32), np.ones((1, 3), np.float32))
        change: Plane = np.asarray(sums, np.float32)
        # A change of all pixels, as by parallax or by the light, says nothing of any.
        usual = float(np.median(change[seen])) if seen.any() else 0.0
        rows, columns = np.nonzero(change > 0)
        shadow = _is_shadow(now[rows, columns], low[rows, columns])
        change[rows[shadow], columns[shadow]] *= SHADOW_WEIGHT
        change = np.asarray(cv2.GaussianBlur(np.maximum(change - 2 * usual, 0), (0, 0), 1.0))
        motion = np.where(seen, change / (change + CLEAR_CHANGE), 0).astype(np.float32)
        return motion, seen


def _is_shadow(now: Picture, low: Picture) -> Region:
    """Which pixels are darker background, of the same tint."""
    bright = np.maximum(low.sum(1), 1).astype(np.float32)
    light = now.sum(1).astype(np.float32) / bright
    tint = np.abs(now - low * light[:, None]).max(1)
    shadow: Region = (light > DARKEST_SHADOW) & (light < 1) & (tint < 0.01 * bright + 2)
    return shadow


def quantiles(stack: Picture, seen: Region, shares: Sequence[float]) -> tuple[Picture, ...]:
    """Take quantiles of each pixel through a stack of pictures.

    Parameters
    ----------
    stack : ndarray, shape (n, ..., 3), uint8
    seen : ndarray, shape (n, ...), bool
        Where a picture of the stack counts.
    shares : sequence of float
        As 0.5 for the median.

    Returns
    -------
    tuple of ndarray, shape (..., 3), uint8
        One for each share.
    """
    values = np.where(seen[..., None], stack, 255)
    values.sort(axis=0)
    # Unseen values are 255 and so come last; they may mix with seen ones that are 255, too.
    last = np.maximum(seen.sum(0) - 1, 0)
    found = []
    for share in shares:
        place = np.rint(last * share).astype(np.intp)[None, ..., None]
        found.append(
            np.take_along_axis(values, np.broadcast_to(place, (1, *values.shape[1:])), 0)[0]
        )
    return tuple(found)


_latest: dict[tuple[Path, int], Scene] = {}
_analysing = threading.Lock()


def scene_of(path: Path, checkpoint: Checkpoint | None = None) -> Scene:
    """Analyse a video file; the latest scene is kept for the next call.

    Parameters
    ----------
    path : Path
        Any video file that FFmpeg reads.
    checkpoint : callable, optional
        Called before each frame; may raise.

    Raises
    ------
    ValueError
        If the file is not a video that can be read.
    """
    name = path.resolve(), path.stat().st_mtime_ns
    with _analysing:  # a second caller waits and gets the scene of the first
        scene = _latest.get(name)
        if scene is None:
            _latest.clear()  # two clips would be too much memory
            pictures = []
            for picture in frames(path):
                if checkpoint:
                    checkpoint()
                pictures.append(shrink(picture))
            if not pictures:
                raise ValueError(f"{path} has no frames")
            scene = _latest[name] = Scene(pictures, checkpoint)
        return scene
