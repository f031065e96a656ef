"""Contact sheets."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from klingmask.video import VideoError, contact_sheet
from tests.clips import greys, make_clip, turn_by_90
from tests.video import unusual

SIZE = (48, 64)
LEFT = km.Mask.from_bbox(SIZE, (0, 0, 32, 48))


def test_contact_sheets(clip: Path) -> None:
    sheet = contact_sheet(clip, {9: LEFT}, columns=3, rows=2, width=300)
    assert sheet.shape == (150, 300, 3)
    greys_shown = [int(sheet[y + 50, x + 80, 1]) for y in (0, 75) for x in (0, 100, 200)]
    expected = [20 * index for index in (0, 2, 4, 5, 7, 9)]
    assert np.abs(np.subtract(greys_shown, expected)).max() < 8
    assert np.ptp(sheet[110, 220].astype(int)) > 30 > np.ptp(sheet[110, 20].astype(int))
    pictures = contact_sheet(greys([10, 200]), columns=4, rows=4, width=400)
    assert pictures.shape == (150, 400, 3)
    assert contact_sheet(greys([10]), rows=1, columns=1, width=64).shape == (48, 64, 3)
    with pytest.raises(ValueError, match="no frames"):
        contact_sheet([])
    with pytest.raises(ValueError, match="columns and rows must be at least 1, got 0 and 3"):
        contact_sheet(clip, columns=0)
    with pytest.raises(ValueError, match="a width of 63 is too small for 4 columns"):
        contact_sheet(clip, width=63)


def test_frames_are_those_that_there_are(tmp_path: Path) -> None:
    """Evenly spaced over the video, whatever its header says of their number."""
    clips = [
        unusual.said_to_be_longer(tmp_path / "long.avi", 500),
        unusual.said_to_be_longer(tmp_path / "short.avi", 3),
        unusual.raw_h264(tmp_path / "raw.h264"),
        make_clip(tmp_path / "right.mp4", greys(unusual.LEVELS)),
    ]
    for clip in clips:
        sheet = contact_sheet(clip, [[LEFT], []], columns=4, rows=1, width=400)
        greys_shown = [round(float(sheet[60, x, 0]) / 20) for x in (90, 190, 290, 390)]
        assert greys_shown == [0, 3, 6, 9]
        tinted = [int(np.ptp(sheet[40, x].astype(int))) > 30 for x in (20, 120, 220, 320)]
        assert tinted == [True, True, False, False]  # the first mask stands for the first five
    cut = unusual.cut_without_encoding(tmp_path / "cut.mp4", 6)
    assert contact_sheet(cut, columns=8, rows=1, width=400).shape == (75, 400, 3)  # four frames
    with pytest.raises(VideoError, match="no frame that can be decoded"):
        contact_sheet(unusual.header_alone(tmp_path / "nothing.mp4"))


@pytest.mark.parametrize("width", [1600, 1599, 1000, 333])
@pytest.mark.parametrize("columns", [1, 3, 7])
def test_a_sheet_is_as_wide_as_it_is_to_be(width: int, columns: int) -> None:
    sheet = contact_sheet(greys([200] * 10), columns=columns, rows=2, width=width)
    assert sheet.shape[1] == width
    if columns == 7:
        assert sheet[5, width - 2].min() > 100  # without empty room at the end


def test_a_sheet_has_the_shapes_that_players_show(tmp_path: Path) -> None:
    clip = unusual.h264(tmp_path / "clip.mp4", pixel_aspect=unusual.STRETCHED)
    sheet = contact_sheet(clip, columns=1, rows=1, width=640)
    assert sheet.shape == (round(640 * 48 / 64 * 11 / 16), 640, 3)
    turn_by_90(clip)
    sheet = contact_sheet(clip, columns=1, rows=1, width=300)
    assert sheet.shape == (round(300 * 64 / 48 * 16 / 11), 300, 3)


def test_tall_frames_are_shown_whole_and_no_taller_than_there_is_room() -> None:
    """2 kB of a video of 16 x 4096 pixels made a sheet of gigabytes."""
    tall = np.full((4096, 16, 3), 200, np.uint8)
    tall[2048:] = 120
    sheet = contact_sheet([tall] * 12, columns=4, rows=3, width=400)
    assert sheet.shape == (3 * 250, 400, 3)
    middle = sheet[:250, 40:60, 0].max(axis=1).astype(int)
    assert abs(middle[60] - 200) < 10 > abs(middle[190] - 120)
    wide = contact_sheet([np.full((16, 4096, 3), 200, np.uint8)], width=400)
    assert wide.shape == (3, 400, 3)


def test_a_sheet_has_a_limit(pixel_limit: Any) -> None:
    pixel_limit(400 * 300)
    assert contact_sheet(greys([90] * 4), columns=1, rows=1, width=400).shape == (300, 400, 3)
    with pytest.raises(ValueError, match="a sheet of 600 x 400 pixels is over the limit of 120000"):
        contact_sheet(greys([90] * 4), columns=1, rows=2, width=400)


def test_labels_and_lines_can_be_seen_on_the_sheet() -> None:
    """They are drawn at the size of the sheet, and not made smaller with the frame."""
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    mask = km.Mask.from_bbox((1080, 1920), (480, 270, 960, 540))
    plain, lettered = (
        contact_sheet(
            [frame], {0: {"bird": mask}}, columns=4, rows=1, width=480, outline=0, labels=labels
        )
        for labels in (False, True)
    )
    changed = np.abs(plain.astype(int) - lettered).max(axis=2) > 40
    rows, columns = np.nonzero(changed)
    assert 8 <= np.ptp(rows) <= 20  # a word of eleven pixels, in the middle of the mask
    assert 18 <= np.ptp(columns) <= 60
    assert abs(rows.mean() - 135) < 12
    assert abs(columns.mean() - 240) < 12
    outlined = contact_sheet(
        [frame], {0: mask}, columns=1, rows=1, width=480, outline=3, opacity=0, colors=(255, 0, 0)
    )
    line = outlined[135, :, 0] > 200
    assert 4 <= line.sum() <= 8  # three pixels on each side


def test_pictures_of_pillow_are_taken_upright() -> None:
    picture = Image.fromarray(unusual.quarters())
    exif = picture.getexif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    picture.save(stream, "PNG", exif=exif)
    with Image.open(stream) as turned:
        mask = {0: km.Mask.from_bbox((64, 48), (0, 0, 24, 32))}
        sheet = contact_sheet([turned], mask, columns=1, rows=1, width=96)
    assert sheet.shape == (128, 96, 3)
    assert np.abs(sheet[20:60, 60:90].astype(int) - 220).max() < 12  # top left before
