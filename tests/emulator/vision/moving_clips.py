"""Drawn clips of a thing that moves, whose truth is known."""

from typing import Any

import cv2
import numpy as np

import klingmask as km
from klingmask.emulator.vision.scene import Scene
from klingmask.emulator.vision.segmenter import segment

Picture = np.ndarray[Any, np.dtype[np.uint8]]
SIZE = (216, 384)
FRAMES = 40


def texture(seed: int, size: tuple[int, int], tint: tuple[int, int, int], grain: float) -> Picture:
    """A ground of blotches of all sizes, around one colour."""
    noise = np.random.default_rng(seed)
    height, width = size
    picture = np.zeros((height, width, 3), np.float32)
    for scale in (2, 6, 18):
        blotches = noise.normal(size=(height // scale + 2, width // scale + 2, 3))
        blotches = 0.3 * blotches + 0.7 * blotches[..., :1]
        picture += cv2.resize(blotches.astype(np.float32), (width, height)) * grain
    return np.asarray(np.clip(picture + np.array(tint), 0, 255), np.uint8)


def patched(seed: int) -> Picture:
    """The texture of a thing of two colours: one its own, one almost the ground's."""
    picture = texture(seed, (120, 120), (105, 125, 95), 22)
    own = texture(seed + 1, (120, 120), (185, 120, 70), 22)
    blotches = np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32)
    share = cv2.resize(blotches, (120, 120), interpolation=cv2.INTER_CUBIC) > 0
    return np.where(share[..., None], own, picture)


class Clip:
    """A thing that moves over a ground, seen by a camera that moves."""

    ground = texture(1, (300, 700), (90, 120, 80), 14)
    thing = patched(2)

    def thing_at(self, index: int) -> tuple[float, float, float, float]:
        """Its middle, and half its width and height, as the camera sees it."""
        return 110 + 4.0 * index, 110 + 20 * np.sin(index / 6), 34, 26

    def camera_at(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - others move
        return 20, 20

    def truth(self, index: int) -> km.Mask:
        x, y, a, b = self.thing_at(index)
        rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
        return km.Mask.from_numpy(((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1)

    def empty(self, index: int) -> Picture:
        """The frame, were the thing not there."""
        left, top = self.camera_at(index)
        return self.ground[top : top + SIZE[0], left : left + SIZE[1]].copy()

    def frame(self, index: int) -> Picture:
        picture = self.empty(index)
        self.draw(picture, index)
        # A lens is never quite sharp, and a sensor never quite still.
        noise = np.random.default_rng(index).normal(0, 2, picture.shape)
        soft = cv2.GaussianBlur(picture, (3, 3), 0.7).astype(float)
        return np.clip(soft + noise, 0, 255).astype(np.uint8)

    def draw(self, picture: Picture, index: int) -> None:
        x, y, a, b = self.thing_at(index)
        height, width = self.thing.shape[:2]
        # The texture goes with the thing, and grows with it.
        way = np.array([[2 * a / width, 0, x - a], [0, 2 * b / height, y - b]])
        drawn = cv2.warpAffine(self.thing, way, SIZE[::-1], borderMode=cv2.BORDER_REPLICATE)
        inside = self.truth(index).to_numpy(dtype="bool")
        picture[inside] = np.asarray(drawn)[inside]


class Panned(Clip):
    """The camera goes along: the ground moves more than the thing."""

    def thing_at(self, index: int) -> tuple[float, float, float, float]:
        return 150 + 1.5 * index, 105 + 12 * np.sin(index / 5), 36, 28

    def camera_at(self, index: int) -> tuple[int, int]:
        return 10 + 5 * index, 30 + round(10 * np.sin(index / 9))


class Twins(Clip):
    """A second thing, of almost the same colours, passes close by."""

    other = patched(7)

    def thing_at(self, index: int) -> tuple[float, float, float, float]:
        return 90 + 5.0 * index, 80.0, 32, 26

    def draw(self, picture: Picture, index: int) -> None:
        super().draw(picture, index)
        rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
        x, y = 300 - 5.0 * index, 142.0
        inside = ((columns - x) / 32) ** 2 + ((rows - y) / 26) ** 2 < 1
        way = np.array([[64 / 120, 0, x - 32], [0, 52 / 120, y - 26]])
        picture[inside] = np.asarray(cv2.warpAffine(self.other, way, SIZE[::-1]))[inside]


class Away(Clip):
    """The thing leaves the picture and comes back elsewhere."""

    def thing_at(self, index: int) -> tuple[float, float, float, float]:
        if index < 20:
            return 250 + 12.0 * index, 90, 34, 26
        return 250 + 12.0 * (40 - index), 140, 34, 26


class Nearing(Clip):
    """The thing comes nearer: twice as wide at the end."""

    def thing_at(self, index: int) -> tuple[float, float, float, float]:
        scale = 1 + index / FRAMES
        return 130 + 3.0 * index, 105, 26 * scale, 20 * scale


class Still(Clip):
    """Nothing moves but the camera: motion tells nothing."""

    def thing_at(self, index: int) -> tuple[float, float, float, float]:
        return 200 - 2.0 * index, 110, 34, 26

    def camera_at(self, index: int) -> tuple[int, int]:
        return 20 + 2 * index, 30


CLIPS = [Clip, Panned, Twins, Away, Nearing, Still]


def selected(clip: Clip, scene: Scene, index: int, n: int = 1) -> km.Mask:
    """What one click in the middle of the thing selects, or several around it."""
    x, y, a, b = clip.thing_at(index)
    spots = [(0, 0), (0.5, 0.3), (-0.5, -0.3), (-0.5, 0.3), (0.5, -0.3)][:n]
    points = [((x + u * a) / SIZE[1], (y + v * b) / SIZE[0]) for u, v in spots]
    return segment(clip.frame(index), points, scene.motion(index)[0])


def overlap(found: km.Mask, truth: km.Mask) -> float:
    return found.iou(truth) if found or truth else 1.0


# Boxes around the dog, and in its middle, by eye.
DOG = {
    25: ((490, 290, 250, 290), (600, 400, 60, 60)),
    125: ((760, 360, 460, 230), (920, 420, 120, 50)),
    212: ((730, 310, 310, 270), (860, 390, 50, 50)),
    275: ((400, 320, 360, 300), (580, 430, 50, 50)),
}
