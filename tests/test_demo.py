"""The demo's files: drawn by its script, well-formed, and the same mask twice."""

import base64
import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

import klingmask as km
from tests.pictures import worst_tile

DEMO = Path(__file__).parents[1] / "demo"


def test_the_reply_is_consistent() -> None:
    reply = json.loads((DEMO / "reply.json").read_text())
    with Image.open(DEMO / "scene.png") as scene:
        size = (scene.height, scene.width)
    masks = []
    for entry in reply["data"]["res"]["rle_mask_list"]:
        masks.append(km.Mask.from_rle(entry["rle_mask"]))
        assert km.Mask.from_png(base64.b64decode(entry["png_mask"]["base64"])) == masks[-1]
        assert masks[-1].size == size
        assert masks[-1].to_rle() == entry["rle_mask"]
    assert len(masks) == 3
    assert sum(mask.area for mask in masks) == km.MaskArray.from_rles(masks).union().area


def test_the_script_draws_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("draw", DEMO / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    monkeypatch.setattr(draw, "HERE", tmp_path)
    draw.main()
    drawn = json.loads((tmp_path / "reply.json").read_text())["data"]["res"]["rle_mask_list"]
    shipped = json.loads((DEMO / "reply.json").read_text())["data"]["res"]["rle_mask_list"]
    for new, old in zip(drawn, shipped, strict=True):
        # Other versions of Pillow may place an edge pixel differently.
        assert km.iou(new["rle_mask"], old["rle_mask"]) > 0.99
    with Image.open(tmp_path / "scene.png") as scene, Image.open(DEMO / "scene.png") as before:
        assert worst_tile(scene.convert("RGB"), before.convert("RGB")) < 10
