"""FILE and --where."""

import json
from typing import Any

import pytest
from PIL import Image

from tests.cli.shell import REPLY, Shell
from tests.clips import greys, make_clip


def test_where_takes_any_of_several_values(shell: Shell) -> None:
    shell.put("reply.json", REPLY)

    def chosen(*conditions: str, fails: bool = False) -> Any:
        where = [word for each in conditions for word in ("--where", each)]
        told = shell("info", "--json", "reply.json", *where, fails=fails)
        return told if fails else [mask["object"] for mask in json.loads(told)["masks"]]

    assert chosen("object=0", "object=4") == [0, 4]
    assert chosen("object=4", "frame=3", "object=4") == [4]
    assert "no mask has object=9; object is one of 0, 4" in chosen(
        "object=0", "object=9", fails=True
    )


@pytest.mark.parametrize(
    ("command", "name", "what"),
    [
        ("overlay", "image.png", "a PNG picture"),
        ("overlay", "image.jpg", "a JPEG picture"),
        ("overlay", "clip.mp4", "a video (MP4 or MOV)"),
        ("video", "clip.mp4", "a video (MP4 or MOV)"),
        ("sheet", "clip.mp4", "a video (MP4 or MOV)"),
    ],
)
def test_the_masks_come_first(shell: Shell, command: str, name: str, what: str) -> None:
    masks = shell.put("my masks.json", REPLY)
    if name == "clip.mp4":
        make_clip(shell.folder / name, greys([0, 90], (20, 30)))
    else:
        Image.new("RGB", (30, 20)).save(shell.folder / name)
    told = shell(command, name, masks, "-o", "out.png", fails=True)
    assert f"{name}: not a JSON file, but {what}; the masks come first: " in told
    assert f"klingmask {command} 'my masks.json' {name} -o ..." in told
    assert not (shell.folder / "out.png").exists()


def test_a_picture_for_masks_and_masks_for_a_picture(shell: Shell) -> None:
    masks = shell.put("masks.json", REPLY)
    Image.new("RGB", (30, 20)).save(shell.folder / "image.png")
    told = shell("info", "image.png", fails=True)
    assert "but a PNG picture; `klingmask encode` makes masks of PNG files" in told
    assert "`klingmask decode` makes pictures of JSON" in shell("encode", masks, fails=True)
