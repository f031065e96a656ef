"""Files of masks: each kind is recognised, labelled, and refused with a reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klingmask as km
from klingmask.datasets import find_masks, read_masks, tracking_to_json
from tests.conftest import shared_file
from tests.strategies import arrays

RLE = {"size": [2, 3], "counts": "114"}
FRAME = {"frame_index": 5, "rle_mask_list": [{"object_id": 7, "rle_mask": RLE}]}
REPLY = {"code": 0, "message": "SUCCEED", "request_id": "x", "data": {"status": 0, "res": FRAME}}
RESULT = {"image_id": 42, "category_id": 18, "segmentation": RLE, "score": 0.5}
LABELS = {"image": 42, "category": 18, "score": 0.5}
SAV = {"video_frame_count": 7.0, "masklet_id": [4, 9], "masklet": [[RLE, None], [RLE, RLE]]}


@pytest.mark.parametrize(
    ("document", "kind", "labels"),
    [
        (RLE, "an rle", [{}]),
        ([RLE, RLE], "a list of rles", [{}, {}]),
        ([], "a list of rles", []),
        (REPLY, "a selection reply", [{"frame": 5, "object": 7}]),
        (FRAME, "a frame of masks", [{"frame": 5, "object": 7}]),
        ([FRAME, FRAME], "frames of masks", [{"frame": 5, "object": 7}] * 2),
        (FRAME["rle_mask_list"], "an rle_mask_list", [{"object": 7}]),
        ([RESULT], "COCO results", [LABELS]),
        ({"annotations": [{"id": 3, **RESULT}]}, "annotations", [{**LABELS, "id": 3}]),
        (
            SAV,
            "an SA-V file",
            [{"frame": 0, "object": 4}, {"frame": 4, "object": 4}, {"frame": 4, "object": 9}],
        ),
        ({"masklet": [[RLE], [RLE]]}, "an SA-V file", [{"frame": i, "object": 0} for i in (0, 1)]),
    ],
)
def test_a_kind_of_file(document: Any, kind: str, labels: list[dict[str, Any]]) -> None:
    found = read_masks(json.dumps(document).encode())
    assert found.kind == kind
    assert found.labels == labels
    assert found.masks == km.MaskArray.from_rles([RLE] * len(labels))


def test_json_lines() -> None:
    lines = "\n".join(json.dumps({**FRAME, "frame_index": i}) for i in range(3)) + "\n\n"
    found = read_masks(lines)
    assert found.kind == "frames of masks"
    assert [labels["frame"] for labels in found.labels] == [0, 1, 2]


@pytest.mark.parametrize("key", ["frame", "frame_idx"])
def test_frames_without_an_index_are_refused(key: str) -> None:
    """They would all be taken for the first frame."""
    frames = [{key: i, "rle_mask_list": FRAME["rle_mask_list"]} for i in range(3)]
    reason = rf"entry 0 has no frame_index.*keys {key}, rle_mask_list"
    with pytest.raises(km.RLEError, match=reason):
        find_masks(frames)
    assert len(find_masks(frames[:1]).masks) == 1
    with pytest.raises(km.RLEError, match="entry 1 has no frame_index"):
        find_masks([FRAME, frames[1]])


_objects = st.dictionaries(st.integers() | st.text(), arrays().map(km.Mask.from_numpy), max_size=3)


@given(st.dictionaries(st.integers(0, 2**40), _objects, max_size=4))
def test_what_is_written_is_read_again(tracking: dict[int, dict[int | str, km.Mask]]) -> None:
    found = read_masks(tracking_to_json(tracking))
    assert found.tracking() == tracking


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"frame_index": 5, "rle_mask_list": []}, [5]),
        ([{"frame_index": i, "rle_mask_list": []} for i in (3, 1)], [3, 1]),
        ({**REPLY, "data": {"res": {"frame_index": 2, "rle_mask_list": []}}}, [2]),
        ({"masklet": [[None], []], "video_frame_count": 7}, [0, 4]),
        ([], []),
    ],
)
def test_a_listed_frame_without_masks_has_none(document: Any, expected: list[int]) -> None:
    assert find_masks(document).tracking() == {frame: {} for frame in expected}


def test_numbers_of_numpy_are_written_and_others_are_refused() -> None:
    mask = km.Mask.from_rle(RLE)
    numbers: Any = {np.int64(3): {np.uint8(4): mask, np.float64(1.5): mask}}
    assert read_masks(tracking_to_json(numbers)).tracking() == {3: {4: mask, 1.5: mask}}
    wrong: list[Any] = [{0: {(1, 2): mask}}, {0.0: {1: mask}}, {"0": {1: mask}}]
    for tracking in wrong:
        with pytest.raises(TypeError, match="integer"):
            tracking_to_json(tracking)
    with pytest.raises(ValueError, match="JSON compliant"):
        tracking_to_json({0: {float("nan"): mask}})


def test_a_path_is_not_what_is_in_the_file() -> None:
    with pytest.raises(TypeError, match=r"read_bytes\(\)"):
        read_masks(Path("masks.json"))  # type: ignore[arg-type]
    with pytest.raises(km.RLEError, match=r"read_bytes\(\)"):
        read_masks("masks.json")
    for text in ("{", "", "<html>"):
        with pytest.raises(km.RLEError, match=r"\(char \d\)$"):
            read_masks(text)


@pytest.mark.parametrize("index", [None, 2.7, float("inf"), "x", [1]])
def test_what_is_no_frame_index(index: object) -> None:
    with pytest.raises(km.RLEError, match="frame index must be an integer"):
        find_masks([{**FRAME, "frame_index": index}]).tracking()


def test_what_is_no_object_id() -> None:
    frame = {"frame_index": 5, "rle_mask_list": [{"object_id": [1], "rle_mask": RLE}]}
    with pytest.raises(km.RLEError, match=r"object id must be a number or text, got \[1\]"):
        find_masks([frame]).tracking()


def test_ids_that_come_twice_lose_no_mask() -> None:
    names = ["a (2)", "a", "a", "a (2)"]
    entries = [{"object_id": name, "rle_mask": RLE} for name in names]
    objects = find_masks({"frame_index": 5, "rle_mask_list": entries}).tracking()[5]
    assert list(objects)[:2] == ["a (2)", "a"]
    assert len(objects) == 4


def test_where_chooses_by_label() -> None:
    found = find_masks(SAV)
    assert found.where(frame=4, object="9").labels == [{"frame": 4, "object": 9}]
    assert len(found.where(frame="4").masks) == 2
    assert len(found.where(frame=5).masks) == 0
    with pytest.raises(km.RLEError, match=r"label 'image'; the labels are frame, object$"):
        found.where(frame=4, image=1)
    assert found.where(frame=5).where(image=1).labels == []
    assert found.where().labels == found.labels


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file"),
        (b"{", "not a JSON file"),
        (b"nothing\nat all\n", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (b"{}", "this is an empty object"),
        (b"5", "this is int"),
        (b'{"a": 1, "b": 2}', "this is an object with the keys a, b"),
        (b"[[]]", "a list of 1, the first of them list"),
        (b"[1, 2]", "a list of 2, the first of them int"),
        (json.dumps([RLE, RESULT]).encode(), "no masks found"),
        (json.dumps({**REPLY, "code": 1201, "message": "bad"}).encode(), "code 1201, 'bad'"),
        (json.dumps({"code": 0, "data": {"status": 3}}).encode(), "data.status 3"),
        (json.dumps({"code": 0, "data": {"task_id": 3}}).encode(), "no data.res.rle_mask_list"),
        (json.dumps({"code": 0, "data": None}).encode(), "no data.res.rle_mask_list"),
        (json.dumps({"rle_mask_list": 3}).encode(), "rle_mask_list must be a list"),
        (json.dumps({"rle_mask_list": [{"object_id": 3}]}).encode(), "with an rle_mask each"),
        (json.dumps({"masklet": [RLE]}).encode(), r"masklet\[0\] must be a list"),
        (
            json.dumps({"annotations": [{"segmentation": [[1, 2, 3, 4]]}]}).encode(),
            "a polygon, .*annToRLE",
        ),
        (json.dumps({"annotations": [3]}).encode(), "entry 0 has no segmentation"),
        (json.dumps({"size": None, "counts": "13"}).encode(), r"rles\[0\]: size must be"),
        (json.dumps([{"rle_mask": 5}]).encode(), "an rle is a dict"),
        (json.dumps([RLE, {**RLE, "counts": "!"}]).encode(), r"rles\[1\]: byte 0: "),
    ],
)
def test_what_holds_no_masks(content: bytes, reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason):
        read_masks(content)


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
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        found = read_masks(json.dumps(document))
    except (km.RLEError, TypeError):
        return  # any other error would fail the test
    assert len(found.masks) == len(found.labels)


def test_real_files() -> None:
    found = read_masks(shared_file("sav_000001_manual.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("an SA-V file", 605)
    assert found.labels[-1] == {"frame": 480, "object": 4}
    found = read_masks(shared_file("coco_val2014_fakesegm100.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("COCO results", 734)
    found = read_masks(shared_file("add_selection_reply.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("a selection reply", 5)
