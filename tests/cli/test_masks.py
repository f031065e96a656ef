"""`info`, `decode` and `encode`."""

import json
from typing import Any

import numpy as np
import pytest

from tests.cli.shell import REPLY, A, B, Shell


def test_info(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    told = json.loads(shell("info", "--json", "reply.json"))
    expected = [
        {"frame": 3, "object": 0, "size": [20, 30], "area": 50, "bbox": [2, 3, 10, 5]},
        {"frame": 3, "object": 4, "size": [20, 30], "area": 120, "bbox": [8, 6, 10, 12]},
    ]
    assert told == {"kind": "a selection reply", "masks": expected}
    table = shell("info", "reply.json")
    for word in ("a selection reply", "frame", "object", "120", "[8, 6, 10, 12]"):
        assert word in table
    chosen = json.loads(shell("info", "--json", "--where", "object=4", "reply.json"))
    assert chosen["masks"] == expected[1:]


def test_a_table_of_many_masks_is_short(shell: Shell) -> None:
    shell.put("many.json", [{"image_id": i, "segmentation": A.to_rle()} for i in range(2345)])
    told = shell("info", "many.json")
    assert "2345 masks" in told
    assert "the first 100; --where chooses others, --json tells all" in " ".join(told.split())
    assert len(told.splitlines()) < 120
    masks = json.loads(shell("info", "--json", "many.json"))["masks"]
    assert [mask["image"] for mask in masks] == list(range(2345))
    few = shell("info", "many.json", "--where", "image=2000")
    assert "│ 2000" in few
    assert "the first" not in few


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (A.to_rle(), 1),
        ([A.to_rle(), B.to_rle()], 2),
        ([{"image_id": 1, "category_id": 2, "segmentation": A.to_rle(), "score": 1.0}], 1),
        ({"masklet": [[A.to_rle(), B.to_rle()], [A.to_rle(), B.to_rle()]]}, 4),
    ],
)
def test_standard_input_of_every_kind(shell: Shell, document: Any, count: int) -> None:
    content = json.dumps(document).encode()
    assert len(json.loads(shell("info", "--json", stdin=content))["masks"]) == count
    shell("decode", "-", "-o", "masks.npy", stdin=content)
    masks = np.load(shell.folder / "masks.npy")
    assert masks.shape == (count, 20, 30)
    np.testing.assert_array_equal(masks[0], A.to_numpy())


def test_decode_and_encode_round_trip(shell: Shell) -> None:
    shell.put("reply.json", REPLY)
    shell("decode", "reply.json", "-o", "masks")
    names = sorted(path.name for path in (shell.folder / "masks").iterdir())
    assert names == ["00000.png", "00001.png"]
    rles = json.loads(shell("encode", *(f"masks/{name}" for name in names)))
    assert rles == [A.to_rle(), B.to_rle()]
    shell("decode", "reply.json", "--where", "object=4", "-o", "one.png")
    shell("encode", "one.png", "-o", "one.json")
    assert json.loads((shell.folder / "one.json").read_text()) == B.to_rle()
    content = (shell.folder / "one.png").read_bytes()
    assert json.loads(shell("encode", "-", stdin=content)) == B.to_rle()


def test_the_pixel_limit_is_an_option(shell: Shell) -> None:
    shell.put("one.json", A.to_rle())
    assert "limit of 599" in shell(
        "--max-pixels", "599", "decode", "one.json", "-o", "x.npy", fails=True
    )
    shell("--max-pixels", "600", "decode", "one.json", "-o", "x.npy")
