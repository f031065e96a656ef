"""The documented limits, on both sides."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klingmask import kling
from klingmask.kling import KlingClient, checks
from tests.kling.samples import POINT, REMOVAL
from tests.kling.server import Service

HUGE = 10**5000  # which Python does not write as a text


# ---- points and frames ----

GOOD_POINTS = [(0, 0), (1, 1), (0.5, 0.25)]


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array])
def test_points_in_any_sequence(kind: Callable[[Any], Any]) -> None:
    assert checks.points_of(kind(GOOD_POINTS)) == GOOD_POINTS
    assert len(checks.points_of(kind([(0.1, 0.1)] * 10))) == 10


BAD_POINTS: dict[str, Any] = {
    "none": [],
    "too many": [(0.1, 0.1)] * 11,
    "x over 1": [(1.0001, 0)],
    "y under 0": [(0, -0.0001)],
    "NaN": [(math.nan, 0)],
    "infinity": [(math.inf, 0)],
    "one coordinate": [(1,)],
    "letters": ["ab"],
    "digits": ["01"],
    "a number": [5],
    "a single Point": kling.Point(0.5, 0.5),
    "None for x": [(None, 1)],
    "a single tuple": (0.5, 0.5),
    "None": None,
    "no sequence": 5,
    "a text": "0.5",
    "a huge number": [(10**400, 0)],
    "a number that cannot be written": [(HUGE, 0)],
    "a dict": [{"x": 0.5, "y": 0.5}],
}


@pytest.mark.parametrize("name", BAD_POINTS)
def test_points_that_are_refused(name: str) -> None:
    with pytest.raises(kling.InvalidRequestError, match="point"):
        checks.points_of(BAD_POINTS[name])


def test_a_point_is_the_middle_of_a_pixel() -> None:
    assert kling.Point.from_pixel(0, 0, (2, 4)) == (0.125, 0.25)
    assert kling.Point.from_pixel(3, 1, (2, 4)) == (0.875, 0.75)


@pytest.mark.parametrize(("x", "y"), [(4, 0), (0, 2), (-1, 0)])
def test_a_pixel_outside_of_the_frame(x: int, y: int) -> None:
    with pytest.raises(kling.InvalidRequestError, match="not in a frame 4 wide and 2 high"):
        kling.Point.from_pixel(x, y, (2, 4))


# ---- videos ----


@pytest.mark.parametrize(
    "url",
    [
        "https://a.org/b.mp4",
        "https://a.org/b.MOV?x=1",
        "https://a.org/b?c=.mp4",
        "https://a.org/objects/83a7f0?Expires=1&Signature=abc",
        "https://a.org/v1.2/clip",
        "https://a.org/",
        "http://a.org",
    ],
)
def test_a_video_url_needs_no_suffix(url: str) -> None:
    assert checks.video_source(None, url) == {"video_url": url}


def test_a_video_id() -> None:
    assert checks.video_source("id", None) == {"video_id": "id"}


@pytest.mark.parametrize(
    ("video_id", "url"),
    [
        (None, None),
        ("id", "https://a.org/b.mp4"),
        ("", ""),
        (None, "https://a.org/b.avi"),
        (None, "https://a.org/b.WEBM?name=b.mp4"),
        (None, "https://a.org/b.gif"),
        (None, "clip.mp4"),
        (None, "https://[::1"),
        (" ", None),
        (None, Path("/clip.mp4")),
        (None, 5),
        (5, None),
        ("\ud800", None),
    ],
)
def test_videos_that_are_refused(video_id: Any, url: Any) -> None:
    with pytest.raises(kling.InvalidRequestError, match=r"video_(id|url)"):
        checks.video_source(video_id, url)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(2, "5"), (5, "5"), (5.03, "5"), (7, "10"), (10, "10"), (None, "5")],
)
def test_a_duration_fits_the_video(seconds: float | None, expected: str) -> None:
    for wanted in (None, expected, int(expected)):
        assert checks.duration(wanted, seconds) == expected


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [(None, 1.9), (None, 6), (None, 10.2), ("5", 7), ("10", 5), ("7", 7), (True, 5), (5.0, 5)],
)
def test_durations_that_do_not_fit(wanted: Any, seconds: float) -> None:
    with pytest.raises(kling.InvalidRequestError, match=r"duration|the video is"):
        checks.duration(wanted, seconds)


# ---- prompts ----

LONGEST = REMOVAL + "x" * (2500 - len(REMOVAL))


def test_the_longest_prompts() -> None:
    checks.prompts(LONGEST, "y" * 2500, "removal", 0)


@pytest.mark.parametrize(
    ("prompt", "negative", "mode", "n_images", "reason"),
    [
        (LONGEST + "x", "", "removal", 0, "2500 characters, got 2501"),
        (REMOVAL, "y" * 2501, "removal", 0, "negative_prompt must not exceed"),
        ("", "", "removal", 0, "must not be empty"),
        ("Delete it", "", "removal", 0, "<<<video_1>>> is missing"),
        ("<<<video_1>>>", "", "swap", 1, "<<<image_1>>> is missing"),
        ("<<<video_1>>> <<<image_1>>>", "", "addition", 2, "<<<image_2>>> is missing"),
        ("<<<video_1>>> <<<image_1>>>", "", "removal", 0, "refers to <<<image_1>>>"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_prompts_that_are_refused(
    prompt: str, negative: str, mode: str, n_images: int, reason: str
) -> None:
    with pytest.raises(kling.InvalidRequestError, match=reason):
        checks.prompts(prompt, negative, mode, n_images)


# ---- calls ----


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda c: c.add_selection("", 0, [POINT]), "session_id"),
        (lambda c: c.add_selection("s", -1, [POINT]), "frame_index goes from 0"),
        (lambda c: c.add_selection("s", 1.0, [POINT]), "must be an integer"),
        (lambda c: c.create_task("s", "erase", REMOVAL), "edit_mode must be one of"),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, model_name=" "),
            "model_name must be a text that is not empty",
        ),
        (lambda c: c.create_task("s", "removal", REMOVAL, mode="best"), "mode must be one of"),
        (lambda c: c.create_task("s", "removal", REMOVAL, duration=6), "duration must be one"),
        (lambda c: c.create_task("s", "removal", REMOVAL, external_task_id=" "), "external_task"),
        (lambda c: c.get_task(), "exactly one of task_id"),
        (lambda c: c.get_task("a", external_task_id="b"), "exactly one of task_id"),
        (lambda c: c.get_task(".."), "no task id"),
        (lambda c: c.get_task("\ud800"), "half of a character"),
        (lambda c: c.get_task(5), "must be a text"),
        (lambda c: c.clear_selection("x" * 10**6 + "\ud800"), r"got 'x{79}\.\.\."),
        (lambda c: c.get_task("..", external_task_id=None), "no task id"),
        (lambda c: c.create_task("s", "removal", f"{REMOVAL}\ud800"), "prompt has half of a ch"),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, negative_prompt="\udfff blur"),
            "negative_prompt has half of a character .* at 0",
        ),
        (lambda c: c.create_task("\ud800", "removal", REMOVAL), "session_id has half of a"),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, external_task_id="\ud800"),
            "external_task_id has half of a",
        ),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, model_name="\ud800"),
            "model_name has half of a",
        ),
        (
            lambda c: c.create_task("s", "removal", REMOVAL, callback_url="https://a.org/\ud800"),
            "callback_url has half of a",
        ),
        (lambda c: c.init_selection(video_url="https://a.org/\ud800"), "video_url has half of a"),
        (lambda c: c.init_selection(video_id="\ud800"), "video_id has half of a"),
        (
            lambda c: c.add_selection("s", HUGE, [POINT]),
            "frame_index goes from 0, got a very large",
        ),
        (lambda c: c.add_selection("s", 2**63, [POINT]), "frame_index goes from 0"),
        (lambda c: c.add_selection("s", 0, [(HUGE, 0)]), "a point is"),
        (lambda c: c.list_tasks(HUGE), "page_num goes from 1 to 1000, got a very large int"),
        (lambda c: c.create_task("s", "removal", REMOVAL, duration=HUGE), "duration must be one"),
        (lambda c: c.create_task("s", "removal", REMOVAL, mode=HUGE), "mode must be one of"),
        (lambda c: c.get_task(HUGE), "task_id must be a text that is not empty, got a very"),
        (lambda c: c.create_task("s", "removal", REMOVAL, watermark="yes"), "True or False"),
        (lambda c: c.create_task("s", "removal", REMOVAL, watermark={1}), "True or False"),
        (lambda c: c.create_task("s", "removal", REMOVAL, callback_url=5), "callback_url must"),
        (lambda c: c.create_task("s", "removal", REMOVAL, callback_url=Path("x")), "must be a"),
        (lambda c: c.create_task("s", "removal", REMOVAL, callback_url="me.org"), "callback_url m"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_nothing_is_sent_that_is_over_a_limit(
    service: Service, client: KlingClient, call: Callable[[KlingClient], object], reason: str
) -> None:
    with pytest.raises(kling.InvalidRequestError, match=reason):
        call(client)
    assert service.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        0,
        -1,
        (1, 0),
        (1, 2, 3),
        "30",
        None,
        True,
        float("inf"),
        (),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_a_timeout_is_checked_at_once(wrong: Any) -> None:
    with pytest.raises(kling.InvalidRequestError, match="timeout must be"):
        KlingClient("key", timeout=wrong)
    if wrong != 0:
        for name in ("retry_for", "settle"):
            with pytest.raises(kling.InvalidRequestError, match=f"{name} must be"):
                KlingClient("key", **{name: wrong})
