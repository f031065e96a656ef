"""Masks of a file are decoded and checked; any file is read or refused."""

import base64
import gzip
import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import klingmask as km
from klingmask.datasets import LabelledMasks, find_masks, read_masks
from tests.datasets.files import FRAME, RESULT, RLE, SAV


def test_a_path_is_not_what_is_in_the_file() -> None:
    with pytest.raises(TypeError, match=r"read_bytes\(\)"):
        read_masks(Path("masks.json"))  # type: ignore[arg-type]
    with pytest.raises(km.RLEError, match=r"read_bytes\(\)"):
        read_masks("masks.json")
    for text in ("{", "", "<html>"):
        with pytest.raises(km.RLEError, match=r"\(char \d\)$"):
            read_masks(text)


OTHER = {"size": [3, 2], "counts": "114"}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {
                "images": [
                    {"id": 41, "height": 9, "width": 9},
                    {"id": 42, "height": 4, "width": 5},
                ],
                "annotations": [RESULT],
            },
            r"rles\[0\]: its size \(2, 3\) .* image 42, \(4, 5\) \(image 42, category 18, sc.*\)$",
        ),
        (
            {
                "images": [{"id": 42, "height": 2, "width": 3}],
                "annotations": [RESULT, {**RESULT, "segmentation": OTHER}],
            },
            r"rles\[1\]: .* \(3, 2\) .* image 42, \(2, 3\); height and width are swapped \(",
        ),
        (
            {
                "image": {"image_id": 5, "height": 4, "width": 3},
                "annotations": [{"segmentation": RLE}],
            },
            r"\(2, 3\) is not that of the image, \(4, 3\) \(image 5\)$",
        ),
        (
            [
                {
                    "image": {"image_id": i, "height": i, "width": 3},
                    "annotations": [{"segmentation": RLE}],
                }
                for i in (2, 3)
            ],
            r"rles\[1\]: its size \(2, 3\) is not that of the image, \(3, 3\) \(image 3\)$",
        ),
        (
            {**FRAME, "height": 3, "width": 2},
            r"\(2, 3\) is not that of the frame, \(3, 2\); height and width are swapped \(",
        ),
        (
            {**SAV, "video_height": 480.0, "video_width": 848.0},
            r"\(2, 3\) is not that of the video, \(480, 848\)",
        ),
        (
            {
                "frame_index": 1,
                "rle_mask_list": [
                    {
                        "rle_mask": OTHER,
                        "png_mask": {
                            "base64": base64.b64encode(km.Mask.from_rle(RLE).to_png()).decode()
                        },
                    }
                ],
            },
            r"\(3, 2\) is not that of its png_mask, \(2, 3\); height and width are swapped",
        ),
    ],
)
def test_a_size_that_is_not_that_of_the_image(document: Any, reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason):
        find_masks(document)


@pytest.mark.parametrize("size", [(2, 3), (2.0, 3.0), (None, None), ("2", "9"), (float("inf"), 3)])
def test_a_size_that_is_that_of_the_image_or_not_said(size: tuple[Any, Any]) -> None:
    height, width = size
    image = {"id": 42, "height": height, "width": width}
    for document in (
        {"images": [image, {"id": 43, "height": 1, "width": 1}, 5, {}], "annotations": [RESULT]},
        {"images": [{**image, "id": 7}], "annotations": [RESULT]},
        {"images": None, "annotations": [RESULT]},
        {"image": image, "annotations": [RESULT]},
        {**SAV, "video_height": height, "video_width": width},
    ):
        assert find_masks(document).masks[0] == km.Mask.from_rle(RLE)


KEYS = [
    *("size", "counts", "code", "data", "res", "status", "rle_mask_list", "rle_mask"),
    *("masklet", "masklet_id", "video_frame_count", "annotations", "segmentation"),
    *("frame_index", "object_id"),
]
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(nested)
@example({"rle_mask_list": [{"rle_mask": RLE, "frame_index": {}}]})
def test_any_document_is_read_or_refused(document: Any) -> None:
    """Any other error than an RLEError fails the test, here and in what is done with the masks."""
    with suppress(km.RLEError):
        found = read_masks(json.dumps(document))
        assert len(found.masks) == len(found.labels)
        assert len(repr(found)) < 1000
        found.tracking()
        for key, value in found.labels[0].items() if found.labels else ():
            if isinstance(value, (int, float, str)):
                assert found.labels[0] in found.where(**{key: value}).labels


@given(st.binary() | st.binary().map(gzip.compress) | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(km.RLEError):
        assert isinstance(read_masks(content), LabelledMasks)


def test_counts_in_base64_are_told() -> None:
    text = km.Mask.from_rle(RLE).counts.encode()
    for packed, how in ((text, "base64,"), (zlib.compress(text), "base64 of zlib,")):
        counts = base64.b64encode(packed).decode()
        for document in (
            {**RLE, "counts": counts},
            [{**RESULT, "segmentation": {**RLE, "counts": counts}}],
        ):
            with pytest.raises(km.RLEError, match=f"rles.0.: byte .*; the counts are {how} which"):
                find_masks(document)
    for counts in ("!!!!", "AAAA", "eJz=", base64.b64encode(zlib.compress(b"!")).decode()):
        with pytest.raises(km.RLEError) as caught:
            find_masks({**RLE, "counts": counts})
        assert "base64" not in str(caught.value)


def test_python_objects_that_are_no_json() -> None:
    huge = 10**5000
    for document in (
        {"code": huge, "data": None},
        {"code": 0, "data": {"status": huge}},
        {"frame_index": huge, "rle_mask_list": huge},
        {huge: huge},
        [huge],
        huge,
        {1: 2},
        (RLE,),
        [RESULT, {3: RLE}],
        {"counts": "eJz=", "size": [huge, 3]},
        {"counts": "eJz=", "size": None},
        {"annotations": [RESULT], "images": [{"id": 42, "height": huge, "width": 1}]},
        {"annotations": [RESULT], "images": [{"id": [huge], "height": huge, "width": 1}]},
    ):
        with suppress(km.RLEError):
            find_masks(document)
    found = find_masks([{**RESULT, "image_id": huge}, RESULT])
    with pytest.raises(km.RLEError, match="different pictures"):
        found.tracking()
    assert len(found.where(image=huge).masks) == 1
