"""Things followed through clips."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

import klingmask as km
from klingmask.emulator.vision.scene import Scene
from klingmask.emulator.vision.segmenter import segment
from klingmask.emulator.vision.tracker import track
from tests.emulator.vision.moving_clips import (
    DOG,
    FRAMES,
    SIZE,
    Away,
    Clip,
    Nearing,
    Picture,
    Still,
    overlap,
)


def test_one_click_selects_and_follows(
    followed: tuple[Clip, Scene, list[km.Mask]],
) -> None:
    clip, _, masks = followed
    ious = [overlap(mask, clip.truth(index)) for index, mask in enumerate(masks)]
    # A flood from the click, followed by flow, has 0.55: the patch that was clicked on.
    assert ious[5] > (0.6 if isinstance(clip, Still) else 0.8)
    assert np.mean(ious) > (0.6 if isinstance(clip, Still) else 0.7)


def test_out_of_sight_is_empty() -> None:
    clip = Away()
    scene = Scene([clip.frame(index) for index in range(FRAMES)])
    gone = [index for index in range(FRAMES) if not clip.truth(index)]
    masks = track(scene, {0: clip.truth(0)})
    assert len(gone) > 8
    assert not any(masks[index] for index in gone)
    assert all(masks[index].iou(clip.truth(index)) > 0.6 for index in (0, 4, 36, 39))
    assert all(not mask for mask in track(scene, {0: km.Mask.zeros(SIZE)}))


def test_marks_are_kept_and_each_frame_follows_the_nearest() -> None:
    clip = Nearing()
    scene = Scene([clip.frame(index) for index in range(FRAMES)])
    marks = {index: clip.truth(index) for index in (3, 20, 38)}
    masks = track(scene, marks)
    assert all(masks[index] == mask for index, mask in marks.items())
    assert np.mean([masks[i].iou(clip.truth(i)) for i in range(FRAMES)]) > 0.75


def test_the_nearest_mark_is_followed() -> None:
    """On a plain ground nothing moves, so each frame has the mark that it got it from."""
    plain = [np.full((*SIZE, 3), 90, np.uint8)] * 48
    marks = {index: km.Mask.from_bbox(SIZE, (6 * index, 80, 60, 60)) for index in (3, 20, 21, 47)}
    masks = track(Scene(plain), marks)
    ends = {3: range(12), 20: range(12, 21), 21: range(21, 35), 47: range(35, 48)}
    for index, span in ends.items():
        assert all(masks[frame].iou(marks[index]) > 0.8 for frame in span)


def test_a_cut_to_another_shot_and_back() -> None:
    clip, rng = Clip(), np.random.default_rng(5)
    other = [cv2.resize(rng.integers(0, 255, (9, 16, 3), np.uint8), SIZE[::-1]) for _ in range(1)]
    pictures = [clip.frame(index) for index in range(24)]
    pictures[8:16] = [np.asarray(other[0], np.uint8)] * 8
    scene = Scene(pictures)
    assert scene.camera.homography(0, 7) is not None
    assert scene.camera.homography(7, 8) is None
    masks = track(scene, {2: clip.truth(2)})
    assert masks[7].iou(clip.truth(7)) > 0.7
    assert masks[20].iou(clip.truth(20)) > 0.6


def test_threads_share_a_scene() -> None:
    """At once, they find what each finds alone."""
    clip = Clip()
    pictures = [clip.frame(index) for index in range(20)]
    marks = [{index: clip.truth(index)} for index in (0, 7, 13, 40)]
    shared = Scene(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda marked: track(shared, marked), marks))
    assert found == [track(Scene(pictures), marked) for marked in marks]


def test_a_real_dog_is_selected_lost_and_found_again(
    dog: tuple[list[Picture], Scene, list[km.Mask]],
) -> None:
    _, _, masks = dog
    around = km.Mask.from_bbox(masks[0].size, (380, 330, 340, 230))
    assert (masks[0] & around).area > 0.95 * masks[0].area
    assert masks[0].area > 20_000
    for index, (outer, inner) in DOG.items():
        box, middle = (km.Mask.from_bbox(masks[0].size, box) for box in (outer, inner))
        assert (masks[index] & box).area > 0.9 * masks[index].area
        assert (masks[index] & middle).area > 0.8 * middle.area
    assert not any(masks[80:96])  # it is behind the right edge of the picture


def test_a_real_person_is_selected_and_followed(
    dog: tuple[list[Picture], Scene, list[km.Mask]],
) -> None:
    pictures, scene, _ = dog
    mask = segment(pictures[0], [(310 / 1280, 380 / 720)], scene.motion(0)[0])
    masks = track(scene, {0: mask})
    for index, outer, inner in (
        (0, (210, 200, 260, 340), (270, 290, 60, 60)),
        (125, (180, 130, 260, 400), (285, 215, 40, 70)),
        (243, (100, 80, 220, 450), (150, 200, 50, 150)),
    ):
        box, middle = (km.Mask.from_bbox(mask.size, box) for box in (outer, inner))
        assert (masks[index] & box).area > 0.95 * masks[index].area
        assert (masks[index] & middle).area > 0.7 * middle.area
