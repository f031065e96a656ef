"""Things removed from clips."""

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np

import klingmask as km
from klingmask.emulator.vision.removal import Removal
from klingmask.emulator.vision.scene import Scene
from klingmask.emulator.vision.segmenter import segment
from klingmask.emulator.vision.tracker import track
from tests.emulator.vision.moving_clips import (
    DOG,
    FRAMES,
    SIZE,
    Clip,
    Picture,
    Still,
    Twins,
)


def test_the_background_is_restored(
    followed: tuple[Clip, Scene, list[km.Mask]],
) -> None:
    clip, scene, masks = followed

    def frames() -> Iterator[Picture]:
        return (clip.frame(index) for index in range(FRAMES))

    removal = Removal(frames, scene, masks)
    off = []
    for index, picture in enumerate(frames()):
        before = picture.copy()
        after = removal(picture, index)
        inside = clip.truth(index).to_numpy(dtype="bool")
        far = cv2.dilate(inside.astype(np.uint8), np.ones((41, 41), np.uint8)) == 0
        if isinstance(clip, Twins):  # what moves close by may be taken for a part of it
            far &= False
        np.testing.assert_array_equal(after[far], before[far])
        if inside.any():
            wrong = np.abs(after.astype(int) - clip.empty(index))[inside].mean()
            there = np.abs(before.astype(int) - clip.empty(index))[inside].mean()
            off.append(wrong / there)
    # The ground is of blotches that nothing could guess: they come from other frames.
    if not isinstance(clip, Still):  # in which nothing tells the thing from the ground
        assert np.median(off) < 0.5


def test_clips_without_texture() -> None:
    plain = np.full((*SIZE, 3), 90, np.uint8)
    disc = plain.copy()
    cv2.circle(disc, (100, 100), 30, (200, 30, 30), -1)
    for pictures in ([disc], [disc, plain, disc], [plain, plain]):
        scene = Scene(pictures)
        mask = segment(pictures[0], [(100 / SIZE[1], 100 / SIZE[0])])
        masks = track(scene, {0: mask})
        assert len(masks) == len(pictures)
        removal = Removal(partial(iter, pictures), scene, masks)
        after = removal(pictures[0].copy(), 0)
        if pictures[0] is disc:
            assert np.abs(after.astype(int) - plain).max() < 12


def test_a_real_dog_is_removed(
    dog: tuple[list[Picture], Scene, list[km.Mask]],
) -> None:
    pictures, scene, masks = dog
    removal = Removal(lambda: pictures, scene, masks)
    for index, (_, (x, y, w, h)) in DOG.items():
        after = removal(pictures[index].copy(), index)
        inner = np.s_[y : y + h, x : x + w]
        off = np.abs(after[inner].astype(int) - pictures[85][inner])  # without the dog
        assert off.mean() < 8
        there = np.abs(pictures[index][inner].astype(int) - pictures[85][inner])
        assert there.mean() > 12
