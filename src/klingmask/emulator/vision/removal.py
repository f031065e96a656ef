"""A region removed from a clip: filled with the background that other frames show."""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from klingmask import Mask
from klingmask.emulator.vision.regions import Checkpoint, Picture, Plane, Region
from klingmask.emulator.vision.scene import Scene, quantiles

__all__ = ["Removal"]

# Lengths without a unit are shares of the picture's shorter side.
MARGIN = 0.008  # a mask's soft edge reaches so far beyond it
FEATHER = 0.004  # width over which the filling fades into the frame
HALO = 0.035  # what moves within this distance of a mask is removed with it
OTHER_THING = 24  # levels; colours farther apart are not one colour in two lights
JPEG_QUALITY = 95  # of frames that are kept in memory
PART_PIXELS = 1 << 18  # pixels whose samples are sorted at once: bounds memory
INPAINTING_SIDE = 540  # pixels of the shorter side at which unseen background is inpainted


class Removal:
    """Removes a region from a clip, frame by frame.

    For every stretch over which the camera hardly moves, the background is put together
    once, from frames of the whole clip; what none of them shows is inpainted. So the
    filling does not flicker.

    Parameters
    ----------
    frames : callable
        Returns the clip's frames (h, w, 3), uint8, from the first; called as often as needed.
    scene : Scene
        Of the clip.
    masks : sequence of Mask
        One for each frame, of the video's size.
    checkpoint : callable, optional
        Called before each frame; may raise.
    """

    def __init__(
        self,
        frames: Callable[[], Iterable[Picture]],
        scene: Scene,
        masks: Sequence[Mask],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.scene, self.masks, self.checkpoint = scene, masks, checkpoint
        self.size = masks[0].size
        self._key = -1
        self._background: Picture = np.zeros((0, 0, 3), np.uint8)
        keys = sorted({scene.keys[index] for index, mask in enumerate(masks) if mask})
        wanted = {index for key in keys for index in scene.samples(key)}
        self._samples: dict[int, Picture] = {}  # as JPEG: a clip with a moving camera has hundreds
        for index, picture in enumerate(frames()):
            if checkpoint:
                checkpoint()
            if index in wanted:
                self._samples[index] = _compressed(picture)

    def __call__(self, picture: Picture, index: int) -> Picture:
        """Remove the region from a frame.

        Parameters
        ----------
        picture : ndarray, shape (h, w, 3), uint8
            The frame; is written to.
        index : int
            Its number.

        Returns
        -------
        ndarray, shape (h, w, 3), uint8
        """
        if self.checkpoint:
            self.checkpoint()
        index = min(index, len(self.masks) - 1)
        hole = self._hole(index)
        if not hole.any():
            return picture
        key = self.scene.keys[index]
        if key != self._key:
            self._background = self._assemble(key)
            self._key = key
        x, y, w, h = Mask.from_numpy(hole).bbox
        pad = 6 * self._pixels(MARGIN)
        top, left = max(0, y - pad), max(0, x - pad)
        part = np.s_[top : y + h + pad, left : x + w + pad]
        shape = hole[part].shape
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
        filling = cv2.warpPerspective(
            self._background,
            shift @ self._homography(key, index),
            shape[::-1],
            borderMode=cv2.BORDER_REPLICATE,
        )
        picture[part] = _blended(
            picture[part], np.asarray(filling, np.uint8), hole[part], self._pixels(FEATHER)
        )
        return picture

    def _pixels(self, share: float) -> int:
        return max(1, round(share * min(self.size)))

    def _homography(self, source: int, target: int) -> npt.NDArray[np.float64]:
        """The camera's motion between two frames, in pixels of the video."""
        matrix = self.scene.camera.homography(source, target)
        assert matrix is not None  # noqa: S101 - of one shot
        if self.scene.camera.distance(source, target) < 0.002:
            return np.eye(3)
        rows, columns = self.scene.camera.size
        height, width = self.size
        scale = np.diag([width / columns, height / rows, 1.0])
        scaled: npt.NDArray[np.float64] = scale @ matrix @ np.linalg.inv(scale)
        return scaled

    def _hole(self, index: int) -> Region:
        """What is filled: the mask, its soft edge, and what moves right beside it."""
        mask = self.masks[index]
        if not mask:
            return np.zeros(self.size, bool)
        hole = mask.to_numpy(dtype="uint8")
        motion, _ = self.scene.motion(index)
        near = cv2.dilate(cv2.resize(hole, motion.shape[::-1]), _disc(HALO * min(motion.shape)))
        beside = ((motion > 0.3) & (near > 0)).astype(np.uint8)
        whole = cv2.max(hole, cv2.resize(beside, self.size[::-1]))
        return np.asarray(cv2.dilate(whole, _disc(self._pixels(MARGIN)))) > 0

    def _assemble(self, key: int) -> Picture:
        """The background of a key frame: for each pixel, the median of the frames that show it."""
        height, width = self.size
        wanted = self._wanted(key)
        values, known = [], []
        for index in self.scene.samples(key):
            if self.checkpoint:
                self.checkpoint()
            matrix = self._homography(index, key)
            sample = _decompressed(self._samples[index])
            warped = cv2.warpPerspective(sample, matrix, (width, height))
            full = np.where(self._hole(index), 0, 255).astype(np.uint8)
            seen = cv2.warpPerspective(full, matrix, (width, height)) == 255
            values.append(np.asarray(warped, np.uint8)[wanted])
            known.append(seen[wanted])
        background = np.zeros((height, width, 3), np.uint8)
        background[wanted] = np.concatenate(
            [
                quantiles(
                    np.stack([sample[start : start + PART_PIXELS] for sample in values]),
                    np.stack([seen[start : start + PART_PIXELS] for seen in known]),
                    (0.5,),
                )[0]
                for start in range(0, len(values[0]), PART_PIXELS)
            ]
        )
        unseen = np.zeros(self.size, bool)
        unseen[wanted] = ~np.any(known, 0)
        return _inpainted(background, unseen, wanted)

    def _wanted(self, key: int) -> Region:
        """Where any frame that uses this key frame has a hole, and some surroundings."""
        rows, columns = self.scene.camera.size
        wanted = np.zeros((rows, columns), np.uint8)
        for index, mask in enumerate(self.masks):
            if mask and self.scene.keys[index] == key:
                small = mask.resize(rows, columns).to_numpy(value=255)
                wanted = np.maximum(wanted, self.scene.warped(small, index, key))
        reach = (HALO + 10 * MARGIN) * min(rows, columns)
        grown = cv2.dilate(wanted, _disc(reach))
        return cv2.resize(grown, self.size[::-1], interpolation=cv2.INTER_NEAREST) > 0


def _compressed(picture: Picture) -> Picture:
    """A frame as JPEG: about a tenth of its size, hardly worse than its video."""
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(content, np.uint8)


def _decompressed(content: Picture) -> Picture:
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def _disc(radius: float) -> Picture:
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _inpainted(picture: Picture, hole: Region, known: Region) -> Picture:
    """Fill a hole from its surroundings, of which only the known pixels count."""
    if not (known & ~hole).any() or not hole.any():
        return picture
    unknown = hole | ~known
    y, x = np.nonzero(hole)
    part = np.s_[max(0, y.min() - 8) : y.max() + 9, max(0, x.min() - 8) : x.max() + 9]
    height, width = hole[part].shape
    scale = min(1.0, INPAINTING_SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture[part], size, interpolation=cv2.INTER_AREA)
    place = cv2.resize(unknown[part].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    filled = cv2.inpaint(small, place.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    large = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = picture.copy()
    picture[part] = np.where(hole[part][..., None], large, picture[part])
    return picture


def _blended(picture: Picture, filling: Picture, hole: Region, feather: int) -> Picture:
    """Fill the hole, in the light of its surroundings on this frame."""
    size = max(1, hole.shape[1] // feather), max(1, hole.shape[0] // feather)
    before, after, inside = (
        np.asarray(cv2.resize(of.astype(np.float32), size, interpolation=cv2.INTER_AREA))
        for of in (picture, filling, hole)
    )
    ring = (cv2.dilate(inside, _disc(4)) > 0) & (inside == 0)
    difference = before - after
    ring &= np.abs(difference).max(2) < OTHER_THING
    sums = cv2.GaussianBlur(difference * ring[..., None], (0, 0), 6)
    counts = np.asarray(cv2.GaussianBlur(ring.astype(np.float32), (0, 0), 6))[..., None]
    light = cv2.resize(sums / (counts + 1e-3), hole.shape[::-1])
    soft = np.asarray(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), feather), np.float32)
    alpha: Plane = np.minimum(2 * soft, 1)[..., None]  # 1 in all of the hole
    mixed = picture + (filling + light - picture) * alpha
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)
