"""A region taken out of a clip: what is behind it, from other frames where that is to be seen."""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask
from klingmask.emulator.vision.regions import GoOn, Picture, Plane, Region
from klingmask.emulator.vision.scene import Scene, quantiles

__all__ = ["Removal"]

MARGIN = 0.008  # of the shorter side: how far soft edges reach beyond a mask
FEATHER = 0.004  # and over how much the new passes into what was there
HALO = 0.035  # how far beyond a mask what moves with it is taken for a part of it
UNLIKE = 24  # levels from which on two colours are not one in another light
QUALITY = 95  # of JPEG, in which sampled frames are kept
PART = 1 << 18  # pixels that are put together at once
GUESSED = 540  # pixels of the shorter side at which what is never seen is made up


class Removal:
    """Takes a region out of a clip, frame by frame.

    The scenery behind it is put together once for every stretch over which the camera
    stays about the same, from frames of the whole clip; what none of them shows is
    made up. So a filled place does not change from frame to frame.

    Parameters
    ----------
    frames : callable
        Gives the clip's frames (h, w, 3), uint8, from the first, as often as it is asked.
    scene : Scene
        Of the clip.
    masks : sequence of Mask
        One a frame, of the video's size.
    go_on : callable, optional
        Asked before each frame; may raise.
    """

    def __init__(
        self,
        frames: Callable[[], Iterable[Picture]],
        scene: Scene,
        masks: Sequence[Mask],
        go_on: GoOn | None = None,
    ) -> None:
        self.scene, self.masks, self.go_on = scene, masks, go_on
        self.size = masks[0].size
        self._key = -1
        self._ground: Picture = np.zeros((0, 0, 3), np.uint8)
        wanted = {index for key in self._keys() for index in scene.samples(key)}
        self._samples: dict[int, Picture] = {}  # packed: a panned clip has hundreds
        for index, picture in enumerate(frames()):
            if go_on:
                go_on()
            if index in wanted:
                self._samples[index] = _packed(picture)

    def _keys(self) -> list[int]:
        """The frames in whose place sceneries are wanted."""
        used = {self.scene.keys[index] for index, mask in enumerate(self.masks) if mask}
        return sorted(used)

    def __call__(self, picture: Picture, index: int) -> Picture:
        """The frame without the region.

        Parameters
        ----------
        picture : ndarray, shape (h, w, 3), uint8
            Is written to.
        index : int
            Of the frame.

        Returns
        -------
        ndarray, shape (h, w, 3), uint8
        """
        if self.go_on:
            self.go_on()
        index = min(index, len(self.masks) - 1)
        hole = self._hole(index)
        if not hole.any():
            return picture
        key = self.scene.keys[index]
        if key != self._key:
            self._ground = self._behind(key)
            self._key = key
        x, y, w, h = Mask.from_numpy(hole).bbox
        pad = 6 * self._pixels(MARGIN)
        top, left = max(0, y - pad), max(0, x - pad)
        part = np.s_[top : y + h + pad, left : x + w + pad]
        shape = hole[part].shape
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
        way = shift @ self._way(key, index)
        ground = cv2.warpPerspective(
            self._ground, way, shape[::-1], borderMode=cv2.BORDER_REPLICATE
        )
        picture[part] = _blended(
            picture[part], np.asarray(ground, np.uint8), hole[part], self._pixels(FEATHER)
        )
        return picture

    def _pixels(self, share: float) -> int:
        return max(1, round(share * min(self.size)))

    def _way(self, source: int, target: int) -> npt.NDArray[np.float64]:
        """The camera's way between two frames, in pixels of the video."""
        way = self.scene.camera.between(source, target)
        assert way is not None  # noqa: S101 - of one shot
        if self.scene.camera.travel(source, target) < 0.002:
            return np.eye(3)
        rows, columns = self.scene.camera.size
        height, width = self.size
        larger = np.diag([width / columns, height / rows, 1.0])
        scaled: npt.NDArray[np.float64] = larger @ way @ np.linalg.inv(larger)
        return scaled

    def _hole(self, index: int) -> Region:
        """What is to be filled: the mask, its soft edges, and what moves right beside it."""
        mask = self.masks[index]
        if not mask:
            return np.zeros(self.size, bool)
        hole = mask.to_numpy(dtype="uint8")
        moving, _ = self.scene.moving(index)
        near = cv2.dilate(cv2.resize(hole, moving.shape[::-1]), _disc(HALO * min(moving.shape)))
        beside = ((moving > 0.3) & (near > 0)).astype(np.uint8)
        whole = cv2.max(hole, cv2.resize(beside, self.size[::-1]))
        return np.asarray(cv2.dilate(whole, _disc(self._pixels(MARGIN)))) > 0

    def _behind(self, key: int) -> Picture:
        """The scenery in one frame's place, where it is wanted, from the frames that show it."""
        height, width = self.size
        wanted = self._wanted(key)
        values, known = [], []
        for index in self.scene.samples(key):
            if self.go_on:
                self.go_on()
            way = self._way(index, key)
            warped = cv2.warpPerspective(_unpacked(self._samples[index]), way, (width, height))
            full = np.where(self._hole(index), 0, 255).astype(np.uint8)
            seen = cv2.warpPerspective(full, way, (width, height)) == 255
            values.append(np.asarray(warped, np.uint8)[wanted])
            known.append(seen[wanted])
        ground = np.zeros((height, width, 3), np.uint8)
        # A part at a time: each is as large as all samples of it.
        parts = [
            quantiles(np.stack([v[at : at + PART] for v in values]), np.stack(part), (0.5,))[0]
            for at in range(0, len(values[0]), PART)
            for part in [[k[at : at + PART] for k in known]]
        ]
        ground[wanted] = np.concatenate(parts)
        never = np.zeros(self.size, bool)
        never[wanted] = ~np.any(known, 0)
        return _made_up(ground, never, wanted)

    def _wanted(self, key: int) -> Region:
        """Where a frame that has this plate has a hole, and what is around it."""
        rows, columns = self.scene.camera.size
        wanted = np.zeros((rows, columns), np.uint8)
        for index, mask in enumerate(self.masks):
            if mask and self.scene.keys[index] == key:
                small = mask.resize(rows, columns).to_numpy(value=255)
                wanted = np.maximum(wanted, self.scene.laid(small, index, key))
        reach = (HALO + 10 * MARGIN) * min(rows, columns)
        grown = cv2.dilate(wanted, _disc(reach))
        return cv2.resize(grown, self.size[::-1], interpolation=cv2.INTER_NEAREST) > 0


def _packed(picture: Picture) -> Picture:
    """A frame as JPEG, about a tenth of its size, hardly worse than its video made it."""
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return np.asarray(packed, np.uint8)


def _unpacked(packed: Picture) -> Picture:
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _disc(radius: float) -> Picture:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _made_up(picture: Picture, hole: Region, known: Region | None = None) -> Picture:
    """The picture with a hole filled from what is around it; nothing is known but there."""
    if known is not None and not (known & ~hole).any():
        return picture
    if not hole.any() or hole.all():
        return picture
    unknown = hole if known is None else hole | ~known
    y, x = np.nonzero(hole)
    part = np.s_[max(0, y.min() - 8) : y.max() + 9, max(0, x.min() - 8) : x.max() + 9]
    height, width = hole[part].shape
    scale = min(1.0, GUESSED / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture[part], size, interpolation=cv2.INTER_AREA)
    place = cv2.resize(unknown[part].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    guessed = cv2.inpaint(small, place.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    large = cv2.resize(guessed, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = picture.copy()
    picture[part] = np.where(hole[part][..., None], large, picture[part])
    return picture


def _blended(picture: Picture, ground: Picture, hole: Region, feather: int) -> Picture:
    """The ground in the hole, in the light that there is around it."""
    size = max(1, hole.shape[1] // feather), max(1, hole.shape[0] // feather)
    before, after, inside = (
        np.asarray(cv2.resize(of.astype(np.float32), size, interpolation=cv2.INTER_AREA))
        for of in (picture, ground, hole)
    )
    ring = (cv2.dilate(inside, _disc(4)) > 0) & (inside == 0)
    off = before - after
    # What differs by much is no light, but some thing that stands beside the hole.
    ring &= np.abs(off).max(2) < UNLIKE
    sums = cv2.GaussianBlur(off * ring[..., None], (0, 0), 6)
    counts = np.asarray(cv2.GaussianBlur(ring.astype(np.float32), (0, 0), 6))[..., None]
    light = cv2.resize(sums / (counts + 1e-3), hole.shape[::-1])
    soft = np.asarray(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), feather), np.float32)
    alpha: Plane = np.minimum(2 * soft, 1)[..., None]  # all of the hole is filled
    mixed = picture + (ground + light - picture) * alpha
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)
