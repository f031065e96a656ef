"""The emulator's segmenter on clips whose truth is known: selected, followed, taken out."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import klingmask as km
from klingmask.emulator.vision.regions import shrink
from klingmask.emulator.vision.removal import Removal
from klingmask.emulator.vision.scene import Scene, scene_of
from klingmask.emulator.vision.segmenter import segment
from klingmask.emulator.vision.tracker import track
from klingmask.video import frames
from tests.clips import make_clip
from tests.conftest import shared_file

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


@pytest.fixture(scope="module", params=CLIPS, ids=lambda kind: kind.__name__)
def followed(request: pytest.FixtureRequest) -> tuple[Clip, Scene, list[km.Mask]]:
    """A clip, and where its thing was found after one click on frame 5."""
    clip = request.param()
    scene = Scene([clip.frame(index) for index in range(FRAMES)])
    return clip, scene, track(scene, {5: selected(clip, scene, 5)})


def test_one_click_selects_and_follows(
    followed: tuple[Clip, Scene, list[km.Mask]],
) -> None:
    clip, _, masks = followed
    ious = [overlap(mask, clip.truth(index)) for index, mask in enumerate(masks)]
    # A flood from the click, followed by flow, has 0.55: the patch that was clicked on.
    assert ious[5] > (0.6 if isinstance(clip, Still) else 0.8)
    assert np.mean(ious) > (0.6 if isinstance(clip, Still) else 0.7)


def test_what_is_removed_is_as_if_it_had_never_been(
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


@pytest.mark.parametrize("n", [1, 3])
def test_each_click_is_in_the_selection(n: int) -> None:
    clip = Clip()
    picture = clip.frame(0)
    rng = np.random.default_rng(n)
    for _ in range(3):  # wherever they are: on the thing, on the ground, on the rim
        points = [tuple(rng.random(2)) for _ in range(n)]
        points[0] = (0.0, float(np.nextafter(1.0, 0)))
        mask = segment(picture, points)
        assert mask.size == SIZE
        assert all((int(x * SIZE[1]), int(y * SIZE[0])) in mask for x, y in points)


def test_a_still_picture_is_enough_to_select() -> None:
    clip = Clip()
    x, y, _, _ = clip.thing_at(5)
    mask = segment(clip.frame(5), [(x / SIZE[1], y / SIZE[0])])
    assert mask.iou(clip.truth(5)) > 0.6


def test_nothing_is_found_where_nothing_is() -> None:
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


def test_a_caller_can_end_it_at_any_frame() -> None:
    class EndedError(Exception):
        pass

    asked = limit = 0

    def checkpoint() -> None:
        nonlocal asked
        asked += 1
        if asked == limit:
            raise EndedError

    clip = Clip()
    pictures = [clip.frame(index) for index in range(8)]
    scene = Scene(pictures)
    masks = [clip.truth(index) for index in range(8)]
    jobs: list[Callable[[], object]] = [
        lambda: Scene(pictures, checkpoint),
        lambda: track(scene, {3: masks[3]}, checkpoint),
        lambda: Removal(lambda: pictures, scene, masks, checkpoint),
    ]
    for job in jobs:
        for last in (1, 4):
            asked, limit = 0, last
            with pytest.raises(EndedError):
                job()


def test_many_may_look_at_one_scene() -> None:
    """At once, they find what each finds alone."""
    clip = Clip()
    pictures = [clip.frame(index) for index in range(20)]
    marks = [{index: clip.truth(index)} for index in (0, 7, 13, 40)]
    shared = Scene(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda marked: track(shared, marked), marks))
    assert found == [track(Scene(pictures), marked) for marked in marks]


def test_a_file_is_looked_at_once(tmp_path: Path) -> None:
    """Also if several ask at the same time; if one of them is ended, another goes on."""

    class EndedError(Exception):
        pass

    def ended() -> None:
        raise EndedError

    clip, path = Clip(), tmp_path / "clip.mp4"
    make_clip(path, (clip.frame(index) for index in range(12)), rate=24)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(scene_of, path, ended)
        others = [pool.submit(scene_of, path) for _ in range(3)]
        with suppress(EndedError):
            first.result()
        assert len({id(other.result()) for other in others}) == 1
    assert len(scene_of(path).pictures) == 12
    before = scene_of(path)
    make_clip(path, (clip.frame(index) for index in range(6)), rate=24)
    assert len(scene_of(path).pictures) == 6  # another file by the same name
    assert scene_of(path) is not before


def test_clips_with_little_in_them() -> None:
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


@pytest.fixture(scope="module")
def dog() -> tuple[list[Picture], Scene, list[km.Mask]]:
    """A real clip, and where the dog was found after one click."""
    pictures = list(frames(shared_file("dog.mp4")))
    scene = Scene([shrink(picture) for picture in pictures])
    mask = segment(pictures[0], [(600 / 1280, 430 / 720)], scene.motion(0)[0])
    return pictures, scene, track(scene, {0: mask})


# Boxes around the dog, and in its middle, by eye.
DOG = {
    25: ((490, 290, 250, 290), (600, 400, 60, 60)),
    125: ((760, 360, 460, 230), (920, 420, 120, 50)),
    212: ((730, 310, 310, 270), (860, 390, 50, 50)),
    275: ((400, 320, 360, 300), (580, 430, 50, 50)),
}


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
