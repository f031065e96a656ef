"""What stays and what moves in a clip: the camera's way, and the scenery without what passes."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from klingmask.emulator.vision.regions import GoOn, Picture, Plane, Region, shrunk
from klingmask.video import frames

__all__ = ["Camera", "Plate", "Scene", "quantiles", "scene_of"]

Matrix = npt.NDArray[np.float64]

CORNERS = 200  # that are followed from frame to frame
OFF = 1.5  # pixels that a corner may be off the camera's motion
ENOUGH = 0.4  # share of the corners that must agree with it
STILL = 0.002  # of the shorter side: less is no motion of the camera
TRAVEL = 0.15  # of the shorter side, that the camera goes before there is a new plate
SAMPLES = 17  # frames that a plate is made of
CAP = 12  # levels, at most, that the scenery itself is taken to change by
SHADE = 0.25  # what a difference counts that is as of a shadow
DARKEST = 0.65  # what a shadow leaves of the light
CLEAR = 10.0  # levels beyond that, with which a pixel has clearly changed


class Camera:
    """How the camera moves: a homography from each frame to each other of the same shot.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (h, w, 3), uint8
        All of one size.
    go_on : callable, optional
        Asked before each frame; may raise.
    """

    def __init__(self, pictures: Sequence[Picture], go_on: GoOn | None = None) -> None:
        self.size = pictures[0].shape[:2]
        self.shots = [0]
        self._ways: list[Matrix] = [np.eye(3)]  # from the frame to the first one of its shot
        key, key_way = _grey(pictures[0]), np.eye(3)
        corners = _corners(key)
        last = np.eye(3)  # from the key to the frame before
        before = key
        for picture in pictures[1:]:
            if go_on:
                go_on()
            after = _grey(picture)
            moved = _moved(key, after, corners, last)
            if moved is None:  # too little of the key is still in sight: on from the frame before
                key, key_way, corners = before, self._ways[-1], _corners(before)
                moved = _moved(key, after, corners, np.eye(3))
            if moved is None and _alike(before, after):
                moved = np.eye(3)  # nothing to hold on to, as on a plain ground
            self.shots.append(self.shots[-1] + (moved is None))
            if moved is None:
                key, key_way, corners, moved = after, np.eye(3), _corners(after), np.eye(3)
            self._ways.append(key_way @ np.linalg.inv(moved))
            before, last = after, moved

    def between(self, source: int, target: int) -> Matrix | None:
        """The homography from one frame to another; None if they are of different shots."""
        if self.shots[source] != self.shots[target]:
            return None
        way: Matrix = np.linalg.inv(self._ways[target]) @ self._ways[source]
        return way

    def travel(self, source: int, target: int) -> float:
        """How far the picture's corners move, as a share of its shorter side."""
        way = self.between(source, target)
        if way is None:
            return np.inf
        height, width = self.size
        corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
        moved = np.asarray(cv2.perspectiveTransform(corners, way)) - corners
        return float(np.abs(moved).max() / min(self.size))


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _corners(grey: Picture) -> npt.NDArray[np.float32]:
    apart = max(4.0, min(grey.shape) / 40)
    found = cv2.goodFeaturesToTrack(grey, CORNERS, 0.005, apart)
    return np.empty((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)


def _moved(
    before: Picture, after: Picture, corners: npt.NDArray[np.float32], guess: Matrix
) -> Matrix | None:
    """The homography that most corners agree with; None if they do not."""
    if len(corners) < 8:
        return None
    start = cv2.perspectiveTransform(corners, guess).astype(np.float32)
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, start.copy(), flags=flags)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, corners.copy(), flags=flags)
    kept = (found > 0) & (again > 0) & (np.abs(back - corners).max(2) < 1)
    kept = np.asarray(kept).ravel()
    if kept.sum() < max(8, 0.5 * ENOUGH * len(corners)):
        return None
    cv2.setRNGSeed(0)
    way, agreed = cv2.findHomography(corners[kept], there[kept], cv2.RANSAC, OFF)
    if way is None or np.sum(agreed) < max(8, ENOUGH * kept.sum()):
        return None
    return np.asarray(way, np.float64)


def _alike(before: Picture, after: Picture) -> bool:
    """Whether two frames may be of the same shot: most of their pixels are about the same."""
    return float(np.median(cv2.absdiff(before, after))) < CAP


@dataclass
class Plate:
    """The scenery around one frame, without what passes.

    Attributes
    ----------
    key : int
        The frame in whose place it stands.
    picture : ndarray, shape (h, w, 3), uint8
        The median of what was seen.
    low, high : ndarray, shape (h, w, 3), uint8
        Between which the scenery itself changes.
    seen : ndarray, shape (h, w), bool
        Where there was something to see.
    """

    key: int
    picture: Picture
    low: Picture
    high: Picture
    seen: Region


class Scene:
    """A clip's camera and scenery.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (h, w, 3), uint8
        The frames, small.
    go_on : callable, optional
        Asked before each frame; may raise.
    """

    def __init__(self, pictures: Sequence[Picture], go_on: GoOn | None = None) -> None:
        self.pictures = pictures
        self.camera = Camera(pictures, go_on)
        self._lock = threading.RLock()
        self._moving: dict[int, tuple[Plane, Region]] = {}
        self._plates: dict[int, Plate] = {}
        self.keys = self._spread_keys()

    def _spread_keys(self) -> list[int]:
        """For each frame, that frame in whose place its plate stands."""
        keys = [0]
        for index in range(1, len(self.pictures)):
            near = self.camera.travel(index, keys[-1]) < TRAVEL
            keys.append(keys[-1] if near else index)
        return keys

    def samples(self, key: int) -> list[int]:
        """Frames that show what is around the key, spread evenly over the clip."""
        near = [i for i in range(len(self.pictures)) if self.camera.travel(i, key) < 0.8]
        places = np.linspace(0, len(near) - 1, min(SAMPLES, len(near))).round().astype(int)
        return [near[place] for place in places]

    def plate(self, index: int) -> Plate:
        """The plate that is nearest to a frame."""
        key = self.keys[index]
        with self._lock:
            if key not in self._plates:
                self._plates[key] = self._made(key)
            return self._plates[key]

    def _made(self, key: int) -> Plate:
        height, width = self.camera.size
        stack, seen = [], []
        for index in self.samples(key):
            way = self.camera.between(index, key)
            assert way is not None  # noqa: S101 - samples are of one shot
            warped = cv2.warpPerspective(self.pictures[index], way, (width, height))
            stack.append(np.asarray(warped, np.uint8))
            full = np.full((height, width), 255, np.uint8)
            seen.append(cv2.warpPerspective(full, way, (width, height)) == 255)
        low, middle, high = quantiles(np.stack(stack), np.stack(seen), (0.25, 0.5, 0.75))
        # Within a pixel, and a few levels, of what is usually there, it is the scenery.
        ring = np.ones((3, 3), np.uint8)
        each = np.full_like(middle, CAP)
        low = cv2.erode(cv2.max(low, cv2.subtract(middle, each)), ring).astype(np.uint8)
        high = cv2.dilate(cv2.min(high, cv2.add(middle, each)), ring).astype(np.uint8)
        enough = np.sum(seen, 0) >= min(5, len(seen))
        return Plate(key, middle, low, high, enough)

    def ground(self, index: int) -> Picture:
        """The scenery as it is behind a frame."""
        plate = self.plate(index)
        return self.laid(plate.picture, plate.key, index)

    def laid(self, picture: Picture, key: int, index: int) -> Picture:
        """A picture that stands in one frame's place, in another's."""
        way = self.camera.between(key, index)
        assert way is not None  # noqa: S101 - of one shot
        size = self.camera.size[::-1]
        if self.camera.travel(key, index) < STILL:
            return picture
        return np.asarray(cv2.warpPerspective(picture, way, size), np.uint8)

    def moving(self, index: int) -> tuple[Plane, Region]:
        """How clearly each pixel of a frame is not the scenery, and where that is known."""
        with self._lock:  # a scene is kept, and several jobs may look at it
            return self._looked_at(index)

    def _looked_at(self, index: int) -> tuple[Plane, Region]:
        if index not in self._moving:
            if len(self._moving) > 12:  # the marked ones, and those that are being worked at
                self._moving.pop(next(iter(self._moving)))
            self._moving[index] = self._what_moves(index)
        self._moving[index] = self._moving.pop(index)  # the last one used is the last to go
        return self._moving[index]

    def _what_moves(self, index: int) -> tuple[Plane, Region]:
        plate = self.plate(index)
        low, high, full = (
            self.laid(side, plate.key, index)
            for side in (plate.low, plate.high, plate.seen.astype(np.uint8) * 255)
        )
        seen = full == 255
        now = cv2.GaussianBlur(self.pictures[index], (3, 3), 0).astype(np.uint8)
        beyond = cv2.max(cv2.subtract(now, high), cv2.subtract(low, now))
        sums = cv2.transform(beyond.astype(np.float32), np.ones((1, 3), np.float32))
        off: Plane = np.asarray(sums, np.float32)
        # Where all of the picture is off, as with parallax or a change of light, little is said.
        usual = float(np.median(off[seen])) if seen.any() else 0.0
        rows, columns = np.nonzero(off > 0)
        shaded = _shaded(now[rows, columns], low[rows, columns])
        off[rows[shaded], columns[shaded]] *= SHADE
        off = np.asarray(cv2.GaussianBlur(np.maximum(off - 2 * usual, 0), (0, 0), 1.0))
        moved = np.where(seen, off / (off + CLEAR), 0).astype(np.float32)
        return moved, seen


def _shaded(now: Picture, low: Picture) -> Region:
    """Which pixels are the scenery, only darker: a shadow, which is not the thing."""
    bright = np.maximum(low.sum(1), 1).astype(np.float32)
    dim = now.sum(1).astype(np.float32) / bright
    tint = np.abs(now - low * dim[:, None]).max(1)
    shaded: Region = (dim > DARKEST) & (dim < 1) & (tint < 0.01 * bright + 2)
    return shaded


def quantiles(stack: Picture, seen: Region, shares: Sequence[float]) -> tuple[Picture, ...]:
    """Values of each pixel through a stack of pictures, of those in which it is seen."""
    values = np.where(seen[..., None], stack, 255)
    values.sort(axis=0)
    # What is not seen is at the end; what is seen and 255 does not mind being mixed up with it.
    last = np.maximum(seen.sum(0) - 1, 0)
    found = []
    for share in shares:
        place = np.rint(last * share).astype(np.intp)[None, ..., None]
        found.append(
            np.take_along_axis(values, np.broadcast_to(place, (1, *values.shape[1:])), 0)[0]
        )
    return tuple(found)


_kept: dict[tuple[Path, int], Scene] = {}
_looking = threading.Lock()


def scene_of(path: Path, go_on: GoOn | None = None) -> Scene:
    """The scene of a video file, which is looked at once: the last one is kept.

    Parameters
    ----------
    path : Path
        Any video file that FFmpeg reads.
    go_on : callable, optional
        Asked before each frame; may raise.

    Raises
    ------
    ValueError
        If the file is not a video that can be read.
    """
    name = path.resolve(), path.stat().st_mtime_ns
    with _looking:  # who asks for the same clip meanwhile gets what is found
        scene = _kept.get(name)
        if scene is None:
            _kept.clear()  # a clip's frames are many: two would be too much
            pictures = []
            for picture in frames(path):
                if go_on:
                    go_on()
                pictures.append(shrunk(picture))
            if not pictures:
                raise ValueError(f"{path} has no frames")
            scene = _kept[name] = Scene(pictures, go_on)
        return scene
