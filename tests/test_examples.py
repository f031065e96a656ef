"""The examples in the docstrings are run."""

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

import klingmask
from klingmask import datasets
from tests.clips import greys, make_clip


@pytest.fixture
def example_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the examples read, in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_clip(Path("clip.mp4"), greys([20, 40, 60]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 30)).save("photo.jpg", exif=exif)
    Path("mask.png").write_bytes(klingmask.Mask.zeros((30, 40)).to_png())


@pytest.mark.parametrize(
    ("module", "least"),
    [
        ("cli.advice", 1),
        ("datasets.descriptions", 2),
        ("datasets.labelled", 8),
        ("datasets.reading", 2),
        ("datasets.tracking", 2),
        ("overlay", 13),
        ("pictures", 7),
        ("png", 2),
        ("video.overlay", 5),
        ("video.reading", 2),
        ("video.sheet", 1),
        ("video.writing", 2),
    ],
)
@pytest.mark.usefixtures("example_files")
def test_the_examples_of(module: str, least: int) -> None:
    names: dict[str, Any] = {
        "Path": Path,
        "find_masks": datasets.find_masks,
        "klingmask": klingmask,
        "km": klingmask,
    }
    found = importlib.import_module(f"klingmask.{module}")
    done = doctest.testmod(found, extraglobs=names)
    assert done.failed == 0
    assert done.attempted >= least
