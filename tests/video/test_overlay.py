"""Masks on the frames that they belong to."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klingmask as km
from klingmask import datasets
from klingmask.overlay import Masks
from klingmask.video import (
    Tracking,
    VideoWarning,
    contact_sheet,
    frame_at,
    frames,
    overlay_video,
)
from klingmask.video.overlay import MasksByFrame
from tests.clips import greys, make_clip
from tests.conftest import shared_file
from tests.video import unusual

SIZE = (48, 64)
LEFT = km.Mask.from_bbox(SIZE, (0, 0, 32, 48))
RIGHT = km.Mask.from_bbox(SIZE, (32, 0, 32, 48))


def seen(path: Path) -> list[tuple[bool, bool]]:
    """Whether the left and the right half of every frame are tinted."""
    tinted = [np.ptp(picture.astype(int), axis=2) > 30 for picture in frames(path)]
    return [(bool(half[24, 8]), bool(half[24, 56])) for half in tinted]


def test_masks_come_on_their_frames(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 8)), tmp_path / "out.mp4"
    none, left, right = (False, False), (True, False), (False, True)
    by_frame: dict[int, Masks] = {0: {"a": LEFT}, 4: {"b": RIGHT.to_rle()}}
    cases: list[tuple[Tracking, int | None, list[tuple[bool, bool]]]] = [
        (by_frame, None, [left, *[none] * 3, right, *[none] * 3]),
        (by_frame, 2, [left, left, none, none, right, right, none, none]),
        (by_frame, 9, [left] * 4 + [right] * 4),
        ([[LEFT], [RIGHT]], None, [left] * 4 + [right] * 4),
        ([LEFT, RIGHT], 3, [left] * 3 + [right] * 3 + [none] * 2),
        ({7: LEFT}, None, [none] * 7 + [left]),
        ({}, None, [none] * 8),
        ([], None, [none] * 8),
    ]
    for tracking, step, expected in cases:
        overlay_video(clip, tracking, out, step=step, colors=(250, 20, 40))
        assert seen(out) == expected


@pytest.mark.parametrize(
    ("tracking", "step", "told"),
    [
        ({100: LEFT, 3: LEFT}, None, ": 100$"),
        ({-1: LEFT, 8: {"a": LEFT}}, None, ": -1, 8$"),
        ([LEFT] * 30, 1, r": 8, 9, 10, \.\.\. \(22 in all\)$"),
        ([[LEFT]] * 3, 4, ": 8$"),
        ({8: km.MaskArray.from_rles([LEFT])}, None, ": 8$"),
        ({100: [], 200: {}, 300: km.MaskArray.from_rles([])}, None, None),
        ({-3: LEFT}, 4, None),  # it stands until frame 0
        ({7: LEFT}, 100, None),
    ],
)
def test_masks_of_frames_that_are_not_there_are_told_of(
    tmp_path: Path, tracking: Tracking, step: int | None, told: str | None
) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 8)), tmp_path / "out.mp4"
    calls: list[Any] = [
        lambda: overlay_video(clip, tracking, out, step=step),
        lambda: contact_sheet(clip, tracking, step=step, columns=2, rows=1, width=64),
    ]
    for call in calls:
        if told is None:
            call()
        else:
            with pytest.warns(VideoWarning, match=rf"clip\.mp4 has 8 frames; .*{told}"):
                call()
    assert len(seen(out)) == 8


def test_sequences_are_spread_over_the_frames_that_there_are(tmp_path: Path) -> None:
    """And not over those that the header promises."""
    clip, out = unusual.said_to_be_longer(tmp_path / "clip.avi", 40), tmp_path / "out.mp4"
    overlay_video(clip, [[LEFT], [RIGHT]], out, colors=(250, 20, 40))
    assert seen(out) == [(True, False)] * 5 + [(False, True)] * 5


def test_sav_files_are_spread_over_the_video(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 8)), tmp_path / "out.mp4"
    document = {
        "video_frame_count": 8.0,
        "masklet_id": [5, 6],
        "masklet": [[LEFT.to_rle(), None], [None, RIGHT.to_rle()]],
    }
    expected = [(True, False)] * 4 + [(False, True)] * 4
    overlay_video(clip, document, out)
    assert seen(out) == expected
    overlay_video(clip, datasets.find_masks(document), out)
    assert seen(out) == expected
    overlay_video(clip, document, out, step=1)
    assert seen(out) == [(True, False), (False, True)] + [(False, False)] * 6
    assert datasets.find_masks(document).tracking() == {0: {5: LEFT}, 4: {6: RIGHT}}


def test_masks_do_not_stand_on_a_listed_frame_without_any(tmp_path: Path) -> None:
    clip, out = make_clip(tmp_path / "clip.mp4", greys([90] * 4)), tmp_path / "out.mp4"
    tracking = {0: {5: LEFT}, 1: {}, 3: {6: RIGHT}}
    expected = [(True, False), (False, False), (False, False), (False, True)]
    for given in (tracking, datasets.read_masks(datasets.tracking_to_json(tracking))):
        overlay_video(clip, given, out, step=3)
        assert seen(out) == expected


def test_a_tracking_that_stands_for_ever() -> None:
    """The number of frames that masks stand for comes from a file: it must cost nothing."""
    rle = km.Mask.from_bbox(SIZE, (0, 0, 4, 4)).to_rle()
    endless = {"masklet": [[None], [rle]], "video_frame_count": 9e15}
    started = time.monotonic()
    by_frame = MasksByFrame(endless, None, lambda: 3)
    assert [bool(by_frame[index]) for index in (0, 1, 5 * 10**15)] == [False, False, True]
    assert time.monotonic() - started < 1


def test_a_real_clip_with_real_masks(tmp_path: Path) -> None:
    """The SA-V masks, made to fit, over a real clip: green where they are, alike elsewhere."""
    document = json.loads(shared_file("sav_000001_manual.json").read_text())
    found = datasets.find_masks(document)
    tracking = {
        frame: {key: mask.resize(720, 1280) for key, mask in objects.items()}
        for frame, objects in found.tracking().items()
        if frame < 40
    }
    clip, out = shared_file("dog.mp4"), tmp_path / "out.mp4"
    overlay_video(clip, tracking, out, step=found.every, colors=(116, 255, 82))
    for index in (0, 13, 38):
        union = km.MaskArray.from_rles(tracking[index // 4 * 4].values()).union()
        before, after = frame_at(clip, index).astype(int), frame_at(out, index).astype(int)
        greener = (after - before)[..., 1] - (after - before)[..., 0]
        inside, outside = union.to_numpy(dtype="bool"), ~union.to_numpy(dtype="bool")
        assert np.abs(after - before)[outside].mean() < 8
        assert greener[inside].mean() > 40 > 5 > abs(greener[outside].mean())
