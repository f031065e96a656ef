"""How often each colour occurs in a region and around it."""

import cv2
import numpy as np
import numpy.typing as npt

from klingmask.emulator.vision.regions import Picture, Plane, Region, to_lab

__all__ = ["ColorModel"]

BITS = 4  # of each of L*, a* and b*: a histogram has 16 x 16 x 16 bins

_Histogram = npt.NDArray[np.float32]


class ColorModel:
    """Two histograms, of a region and of its surroundings, on the frames where it is marked.

    The model does not learn on the way through a clip, so that what is followed cannot
    turn into something else bit by bit.
    """

    def __init__(self) -> None:
        bins = 1 << BITS
        self._inside = np.zeros((bins, bins, bins), np.float32)
        self._around = np.zeros((bins, bins, bins), np.float32)
        self._log_odds = np.zeros(bins**3, np.float32)
        self._inside_shares = np.zeros(bins**3, np.float32)

    def learn(self, picture: Picture, region: Region) -> None:
        """Add a frame on which the region is known."""
        bins = _bins(picture)
        distance = cv2.distanceTransform(1 - region.astype(np.uint8), cv2.DIST_L2, 5)
        reach = 0.5 * np.sqrt(region.sum()) + 2
        # All of the picture counts as surroundings, but more so near the region.
        weights = np.where(region, 0, np.exp(-distance / reach) + 0.1 * region.mean())
        shape = self._inside.shape
        self._inside += np.bincount(bins[region], minlength=np.prod(shape)).reshape(shape)
        counts = np.bincount(bins.ravel(), weights.ravel(), minlength=np.prod(shape))
        self._around += counts.reshape(shape).astype(np.float32)
        inside, around = _shares(self._inside), _shares(self._around)
        floor = 0.02 / np.prod(shape) ** 0.5
        self._log_odds = np.log((inside + floor) / (around + floor)).ravel().astype(np.float32)
        self._inside_shares = inside.ravel()

    def log_odds(self, picture: Picture) -> Plane:
        """How much more each pixel's colour belongs to the region than to its surroundings."""
        log_odds: Plane = self._log_odds[_bins(picture)]
        return log_odds

    def similarity(self, picture: Picture, region: Region) -> float:
        """How much the colours of a region are those of this one: Bhattacharyya's coefficient."""
        shape = self._inside.shape
        counts = np.bincount(_bins(picture)[region], minlength=np.prod(shape)).reshape(shape)
        shares = _shares(counts.astype(np.float32)).ravel()
        return float(np.sqrt(shares * self._inside_shares).sum())


def _bins(picture: Picture) -> npt.NDArray[np.uint16]:
    """The number of each pixel's bin."""
    first, second, third = (
        np.asarray(part, np.uint16) for part in cv2.split(cv2.LUT(to_lab(picture), _LEVELS))
    )
    return np.asarray((first << 2 * BITS) | (second << BITS) | third, np.uint16)


def _levels() -> Picture:
    """For each value of L*, a* and b*, its bin.

    a* and b* are seldom far from grey, so their bins are half as wide.
    """
    value = np.arange(256)
    fine = np.clip((value - 128) * 2 + 128, 0, 255)
    return (np.stack([value, fine, fine], 1)[None] >> (8 - BITS)).astype(np.uint8)


_LEVELS = _levels()


def _shares(counts: _Histogram) -> _Histogram:
    """Counts as shares of their sum, smoothed over neighbouring bins."""
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)], "edge")
        n = counts.shape[axis]
        before, after = (np.take(padded, range(o, o + n), axis) for o in (0, 2))
        counts = 0.25 * before + 0.5 * counts + 0.25 * after
    shares: _Histogram = (counts / max(1.0, float(counts.sum()))).astype(np.float32)
    return shares
