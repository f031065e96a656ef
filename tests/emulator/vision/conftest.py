"""Clips in which something was selected and followed."""

import pytest

import klingmask as km
from klingmask.emulator.vision.regions import shrink
from klingmask.emulator.vision.scene import Scene
from klingmask.emulator.vision.segmenter import segment
from klingmask.emulator.vision.tracker import track
from klingmask.video import frames
from tests.conftest import shared_file
from tests.emulator.vision.moving_clips import CLIPS, FRAMES, Clip, Picture, selected


@pytest.fixture(scope="session", params=CLIPS, ids=lambda kind: kind.__name__)
def followed(request: pytest.FixtureRequest) -> tuple[Clip, Scene, list[km.Mask]]:
    """A clip, and where its thing was found after one click on frame 5."""
    clip = request.param()
    scene = Scene([clip.frame(index) for index in range(FRAMES)])
    return clip, scene, track(scene, {5: selected(clip, scene, 5)})


@pytest.fixture(scope="session")
def dog() -> tuple[list[Picture], Scene, list[km.Mask]]:
    """A real clip, and where the dog was found after one click."""
    pictures = list(frames(shared_file("dog.mp4")))
    scene = Scene([shrink(picture) for picture in pictures])
    mask = segment(pictures[0], [(600 / 1280, 430 / 720)], scene.motion(0)[0])
    return pictures, scene, track(scene, {0: mask})
