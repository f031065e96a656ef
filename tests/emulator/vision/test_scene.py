"""Scenes: kept, shared, and ended at any frame."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from klingmask.emulator.vision.removal import Removal
from klingmask.emulator.vision.scene import Scene, scene_of
from klingmask.emulator.vision.tracker import track
from tests.clips import make_clip
from tests.emulator.vision.moving_clips import (
    Clip,
)


def test_checkpoints_end_a_job() -> None:
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


def test_a_file_is_analysed_once(tmp_path: Path) -> None:
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
