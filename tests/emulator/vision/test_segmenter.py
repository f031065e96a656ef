"""Things selected by clicks."""

import numpy as np
import pytest

from klingmask.emulator.vision.segmenter import segment
from tests.emulator.vision.moving_clips import SIZE, Clip


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
