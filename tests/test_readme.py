"""The README, run: each command, each snippet, each row about bad input."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import klingmask as km
from klingmask import datasets, video
from tests.kling.server import Service, running
from tests.pictures import worst_tile

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def lines_of(language: str) -> list[str]:
    return [line for block in blocks(language) for line in block.splitlines() if line.strip()]


COMMANDS = [line.split("  #")[0].strip() for line in lines_of("sh")]


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        yield service


@pytest.fixture(scope="session")
def demo_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "clip.mp4"
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import draw, pathlib, sys; draw.clip(pathlib.Path(sys.argv[1]))",
            path,
        ],
        cwd=ROOT / "demo",
        check=True,
    )
    return path


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_clip: Path) -> Path:
    """An empty folder with the demo's files in it, as the snippets expect."""
    shutil.copytree(
        ROOT / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("out", "__pycache__")
    )
    out = tmp_path / "demo" / "out"
    out.mkdir()
    shutil.copy(demo_clip, out)
    size = video.frame_at(demo_clip, 0).shape[:2]
    box = km.Mask.from_bbox(size, (300, 500, 200, 80))
    tracking = {frame: {0: box.shift(9 * frame, 0)} for frame in range(6)}
    (out / "tracking.json").write_text(datasets.tracking_to_json(tracking))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_are_known() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]
    assert all(command.startswith("klingmask ") for command in COMMANDS[2:])
    assert len(COMMANDS) > 5
    # `make test` is what runs this; CI must run the same.
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()


def test_the_demo_draws_the_picture() -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    out = ROOT / "demo" / "out"
    made = [
        "mask.png",
        "overlay.png",
        "preview.mp4",
        "tracking.json",
        "removed.mp4",
        "sheet.png",
    ]
    for name in made:
        (out / name).unlink(missing_ok=True)
    done = subprocess.run(
        ["make", "demo"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert all((out / name).stat().st_size > 1000 for name in made)
    assert Path(done.stdout.split()[-1]) == out / "sheet.png"
    with Image.open(out / "sheet.png") as drawn, Image.open(ROOT / "docs" / "demo.png") as shown:
        assert drawn.size == shown.size
        # Other builds of FFmpeg and OpenCV round elsewhere; a missing overlay makes 44.
        assert worst_tile(drawn, shown) < 15
        clip, tracked, removed = np.split(np.asarray(shown), 3)
    assert worst_tile(clip, tracked) > 40
    assert worst_tile(clip, removed) > 40


@pytest.mark.parametrize("command", COMMANDS[2:])
def test_a_command(command: str, workplace: Path, service: Service) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if "bird.png" in command:
        masks = json.loads((workplace / "demo" / "reply.json").read_text())
        rle = masks["data"]["res"]["rle_mask_list"][1]["rle_mask"]
        (workplace / "bird.png").write_bytes(km.Mask.from_rle(rle).to_png())
    if command.startswith("klingmask task "):
        name = command.split()[2]
        service.tasks[name] = {"task_id": name, "polls": 1, "external": "of mine"}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={
            **os.environ,
            "PATH": path,
            "KLING_API_KEY": service.api_key,
            "KLING_BASE_URL": service.base_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if " -o " in command:
        assert (workplace / command.split(" -o ")[1].split()[0]).stat().st_size > 0


def test_the_snippets(workplace: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a line is an expression with a comment, the comment is its value."""
    monkeypatch.setenv("KLING_API_KEY", service.api_key)
    monkeypatch.setenv("KLING_BASE_URL", service.base_url)
    names: dict[str, Any] = {}
    checked = 0
    for line in lines_of("python"):
        code, _, comment = line.partition("  #")
        try:
            compile(code.strip(), "README.md", "eval")
        except SyntaxError:
            exec(code, names)  # noqa: S102 - the README is ours
            continue
        value = eval(code, names)  # noqa: S307
        if comment:
            assert repr(value) == comment.strip(), line
            checked += 1
    assert checked >= 7
    assert names["pixels"].shape == (540, 960)
    assert (workplace / "overlay.png").stat().st_size > 0
    assert (workplace / "edited.mp4").read_bytes() == service.files["/result.mp4"]
    assert len(service.created) == 1


ROWS = re.findall(r"^\| `(\{.*?\})` \| (.*?) \|$", README, re.MULTILINE)


def test_the_table_of_bad_input_is_read() -> None:
    assert len(ROWS) >= 10


@pytest.mark.parametrize(("rle", "message"), ROWS)
def test_a_row_about_bad_input(rle: str, message: str) -> None:
    with pytest.raises((km.RLEError, TypeError)) as caught:
        km.decode(json.loads(rle))
    assert str(caught.value) == message


def names_of_table(title: str) -> set[str]:
    """The names in a table's first column, written as `Mask.crop(bbox)`, `.area` or `m.iou(n)`."""
    table = README.split(f"\n| {title} | |\n", 1)[1].split("\n\n", 1)[0]
    cells = [re.split(r"(?<!\\)\|", row)[1] for row in table.splitlines()[1:]]
    spans = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    found = [re.fullmatch(r"(?:\w*\.)?([a-z]\w*)(?:\(.*\))?", span) for span in spans]
    return {match[1] for match in found if match}


@pytest.mark.parametrize("type_", [km.Mask, km.MaskArray])
def test_a_table_names_all_that_a_type_can_do(type_: type) -> None:
    public = {name for name in dir(type_) if not name.startswith("_")}
    named = names_of_table(f"`{type_.__name__}`")
    assert public - named == set()
    python = {
        "asarray",
        "bool",
        "hash",
        "len",
        "pickle",
    }  # what else values of the type are good for
    assert named - public <= python


def test_a_table_names_every_function() -> None:
    functions = {name for name in km.__all__ if name.islower() and not name.startswith("_")}
    assert names_of_table("functions") == functions


def test_the_types_are_named() -> None:
    spans = re.findall(r"`([^`\n]+)`", README)
    for name in set(km.__all__) - names_of_table("functions") - {"__version__"}:
        assert name in spans, name
