"""Errors speak of options, not of Python."""

import re

import pytest
from PIL import Image

from klingmask.cli.advice import in_options
from klingmask.kling import KlingError, errors
from tests.cli.shell import A, Shell
from tests.clips import greys, make_clip

PYTHON = re.compile(r"\w\(|klingmask\.\w|\b(None|True|False|strict|dict|client's)\b")
"""What nobody can type on the command line."""


OUT = ["-o", "out.png"]


@pytest.fixture
def files(shell: Shell) -> None:
    size = 2**15
    shell.put("huge.json", {"size": [size, size], "counts": [size**2]})
    shell.put("short.json", {"size": [2, 3], "counts": "1"})
    shell.put("inside.json", [{"image_id": 1, "segmentation": {"rle_mask": A.to_rle()}}])
    shell.put("polygon.json", [{"image_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6]]}])
    shell.put("images.json", [{"image_id": i, "segmentation": A.to_rle()} for i in (7, 8)])
    shell.put("masks.json", A.to_rle())
    Image.new("RGB", (5, 5)).save(shell.folder / "small.png")
    Image.new("1", (300, 300)).save(shell.folder / "large.png")
    make_clip(shell.folder / "clip.mp4", greys([0, 90], (10, 30)))


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["decode", "huge.json", *OUT], "klingmask --max-pixels N"),
        (["--max-pixels", "9", "encode", "large.png"], "klingmask --max-pixels N"),
        (["--max-pixels", "-1", "info", "masks.json"], "--max-pixels"),
        (["info", "short.json"], "the counts end with 1 of the 2 x 3"),
        (["info", "inside.json"], "'counts'"),
        (["info", "polygon.json"], "a polygon"),
        (["overlay", "images.json", "small.png", *OUT], "choose one, as --where image=7"),
        (["video", "images.json", "clip.mp4", "-o", "out.mp4"], "as --where image=7"),
        (["overlay", "masks.json", "small.png", *OUT], "the size (20, 30), the image (5, 5)"),
        (["sheet", "masks.json", "clip.mp4", *OUT], "the size (20, 30), the image (10, 30)"),
        (["overlay", "masks.json", "small.png", *OUT, "--opacity", "2"], "--opacity"),
        (["overlay", "masks.json", "small.png", *OUT, "--outline", "-1"], "--outline"),
        (["overlay", "masks.json", "clip.mp4", *OUT, "--frame", "-1"], "--frame"),
        (["video", "masks.json", "clip.mp4", *OUT, "--step", "0"], "--step"),
        (["sheet", "masks.json", "clip.mp4", *OUT, "--columns", "0"], "--columns"),
        (["sheet", "masks.json", "clip.mp4", *OUT, "--rows", "0"], "--rows"),
        (["sheet", "masks.json", "clip.mp4", *OUT, "--width", "0"], "--width"),
    ],
)
def test_errors_speak_of_options(shell: Shell, words: list[str], reason: str) -> None:
    told = shell(*words, fails=True)
    assert reason in told
    assert not PYTHON.search(told)


KINDS = [
    kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if isinstance(kind, type) and issubclass(kind, KlingError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_advice_about_the_service_is_for_the_command_line(kind: type[KlingError]) -> None:
    error = kind("x", "an-id") if kind is errors.UnknownOutcomeError else kind("x")
    assert not PYTHON.search(in_options(error))


def test_there_are_errors_about_the_service() -> None:
    assert len(KINDS) > 10
