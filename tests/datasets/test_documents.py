"""Bytes to JSON: every UTF, gzip, JSON Lines; what is something else is named."""

import gzip
import json
import tracemalloc
from contextlib import suppress

import pytest

import klingmask as km
from klingmask.datasets import documents, read_masks
from tests.datasets.files import FRAME, RESULT, RLE

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_utf_packed_or_not(encoding: str, packed: bool) -> None:
    """Windows writes byte order marks, PowerShell UTF-16."""
    frames = [{**FRAME, "frame_index": 3}, {"frame_index": 4, "rle_mask_list": []}]
    frames[0]["rle_mask_list"] = [{"object_id": "né", "rle_mask": RLE}]
    for text in (
        json.dumps(frames, ensure_ascii=False),
        "\r\n".join(json.dumps(frame, ensure_ascii=False) for frame in frames),
    ):
        content = text.encode(encoding)
        found = read_masks(gzip.compress(content) if packed else content)
        assert found.tracking() == {3: {"né": km.Mask.from_rle(RLE)}, 4: {}}


def test_text_with_a_byte_order_mark() -> None:
    assert len(read_masks("\ufeff" + json.dumps(RLE)).masks) == 1


def test_gzip_in_several_members() -> None:
    lines = [json.dumps(RLE).encode() + b"\n"] * 3
    assert len(read_masks(b"".join(map(gzip.compress, lines))).masks) == 3


def test_gzip_that_would_fill_the_memory() -> None:
    """Told after as much as a file of its size may unpack to, and with no more memory than that."""
    bomb = gzip.compress(b" " * (1 << 27))
    tracemalloc.start()
    try:
        with pytest.raises(km.RLEError, match=r"unpacks to more than \d+; .*gunzip"):
            read_masks(bomb)
        assert tracemalloc.get_traced_memory()[1] < 3 * documents.MIN_LIMIT
    finally:
        tracemalloc.stop()


def test_gzip_that_is_damaged() -> None:
    content = gzip.compress(json.dumps([RLE] * 100).encode())
    for place in range(len(content)):
        with pytest.raises(km.RLEError, match=r"gzip file that cannot|not a JSON"):
            read_masks(content[:place])
        damaged = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        with suppress(km.RLEError):  # a time or a name in the header may be anything
            assert len(read_masks(damaged).masks) == 100


def test_many_json_lines() -> None:
    lines = [json.dumps({**RESULT, "image_id": i}) for i in range(100_000)]
    found = read_masks("\n".join(lines))
    assert [labels["image"] for labels in found.labels] == list(range(100_000))


def test_a_broken_line_is_named() -> None:
    lines = [json.dumps(FRAME)] * 60
    lines[56] = lines[56][:-3]
    with pytest.raises(km.RLEError, match=r"not a JSON file.*: line 58 column 1 "):
        read_masks("\n".join(lines))
    lines[56] = "nothing"
    with pytest.raises(km.RLEError, match=r"not a JSON file.*: line 57 column 1 "):
        read_masks("\n".join(lines))


LONG = "7" * 5000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f'{{"size": [{LONG}, 3], "counts": "114"}}', "line 1 column 11 (char 10)"),
        (f'{{"size": [2, 3], "counts": [1, -{LONG}]}}', "line 1 column 33 (char 32)"),
        (f'[{{"a": "{LONG}\\""}},\n {{"frame_index": {LONG}}}]', "line 2 column 18"),
        (f'{json.dumps(RLE)}\n{{"frame_index": {LONG}}}', "line 2 column 17"),
        (LONG, "line 1 column 1 (char 0)"),
    ],
)
def test_an_integer_of_too_many_digits(text: str, place: str) -> None:
    with pytest.raises(km.RLEError) as caught:
        read_masks(text)
    assert f"an integer of 5000 digits: {place}" in str(caught.value)
    assert str(caught.value).endswith("; at most 4300 digits are read")
    assert len(str(caught.value)) < 200
