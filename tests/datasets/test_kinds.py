"""Each kind of file is recognised and labelled, or refused with a reason."""

import gzip
import json
from typing import Any

import pytest

import klingmask as km
from klingmask.datasets import find_masks, read_masks
from tests.conftest import shared_file
from tests.datasets.files import FRAME, LABELS, REPLY, RESULT, RLE, SAV


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


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", ""])
@pytest.mark.parametrize(
    ("line", "kind", "labels"),
    [
        (RLE, "rle", {}),
        (FRAME, "frame", {"frame": 5, "object": 7}),
        (RESULT, "COCO results", LABELS),
        ({"object_id": 7, "rle_mask": RLE}, "rle_mask_list", {"object": 7}),
        (REPLY, "selection repl", {"frame": 5, "object": 7}),
        (
            {"image": {"image_id": 8}, "annotations": [{"id": 1, "segmentation": RLE}]},
            "annotations",
            {"image": 8, "id": 1},
        ),
    ],
)
def test_json_lines(line: Any, kind: str, labels: dict[str, Any], end: str, n: int) -> None:
    found = read_masks((json.dumps(line) + end) * n)
    assert kind in found.kind
    assert found.labels == [labels] * n
    assert len(found.masks) == n
    assert found.masks[n - 1] == km.Mask.from_rle(RLE)


def test_json_lines_of_sav_files_are_told() -> None:
    line = json.dumps(SAV) + "\n"
    assert len(read_masks(line).masks) == 3
    with pytest.raises(km.RLEError, match="2 SA-V files, each of a video of its own"):
        read_masks(line * 2)


def test_files_of_annotations_without_an_image() -> None:
    """Nothing would tell whose masks they are."""
    line = json.dumps({"annotations": [{"segmentation": RLE}]})
    assert read_masks(line).labels == [{}]
    with pytest.raises(km.RLEError, match="does not say of which image"):
        read_masks(f"{line}\n{line}")


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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file"),
        (b"{", "not a JSON file"),
        (b"nothing\nat all\n", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (b"\r\n \t", "not a JSON file: it is empty"),
        (b"\xef\xbb\xbf", "not a JSON file: it is empty"),
        (gzip.compress(b"", mtime=0), "not a JSON file: it is empty"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "not a JSON file, but a gzip file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a JSON file, but a PNG picture"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", r"not a JSON file, but a video \(MP4 or MOV\)"),
        (b"PK\x03\x04\x14\0", "not a JSON file, but a zip archive"),
        (b"<!doctype html>", "not a JSON file, but HTML or XML"),
        ("{'size': [1, 1]}".encode("cp1252"), r"it begins with \"\{'size'"),
        ('{"é": 1}'.encode("cp1252"), "not a JSON file: 'utf-8' codec"),
        (b"\x1b[2J\x9b", "not a JSON file: 'utf-8' codec"),
        (b"\x1b[2J", r"it begins with '\\x1b\[2J'"),
        (b"52 1005 1 375 1242 WSV:2d;1O10000", "MOTS text"),
        (b"0 1 2 2 3 114\r\n1 1 2 2 3 114\r\n", "MOTS text"),
        (b"{}", "this is an empty object"),
        (b"null", "this is null"),
        (b"5", "this is the number 5"),
        (b'"{}"', "this is the text '{}'"),
        (b'{"a": 1, "b": 2}', "this is an object with the keys a, b"),
        (b'{"\\u001b[2J": 1}', r"the keys '\\x1b\[2J'"),
        (json.dumps({"k" * 10**6: 1}).encode(), r"the keys 'k{20,40}\.\.\.k{20,40}'$"),
        (json.dumps(dict.fromkeys(map(str, range(99)))).encode(), "6, 7, \\.\\.\\.$"),
        (b"[[]]", "a list of 1, the first of them an empty list"),
        (b"[1, 2]", "a list of 2, the first of them the number 1"),
        (b"[[1], [2]]", "a list of 2, the first of them a list of 1"),
        (json.dumps([RLE, None]).encode(), "keys size, counts; entry 1 is null"),
        (json.dumps([RESULT] * 9 + [{"bbox": [1]}]).encode(), "entry 9 is an object with the keys"),
        (json.dumps({"a": RLE}).encode(), "an object with the keys a$"),
        (json.dumps({"counts": "1"}).encode(), "'size' is missing"),
        (json.dumps([{"counts": "1"}]).encode(), "'size' is missing"),
        (json.dumps({"code": "\x1b[2J", "data": 1}).encode(), r"code '\\x1b\[2J'"),
        (json.dumps({"code": 0, "data": {"status": "\x9b"}}).encode(), r"status '\\x9b'"),
        (json.dumps({"code": 1, "data": 1, "message": "\u202e"}).encode(), r"'\\u202e'"),
        (json.dumps({"code": 0, "data": [1]}).encode(), "its data is a list of 1"),
        (
            json.dumps({"masklet": 3}).encode(),
            "masklet must be a list of frames; it is the number 3",
        ),
        (json.dumps({"annotations": {"1": RESULT}}).encode(), "annotations must be a list"),
        (json.dumps({"annotations": [{"bbox": [1]}]}).encode(), "no segmentation; it is an object"),
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
        (
            json.dumps([{"video_id": 1, "segmentations": [RLE, None]}]).encode(),
            "YouTube-VIS: 'segmentations' has a mask for each frame, which is not read yet",
        ),
        (
            json.dumps({"videos": [], "annotations": [{"segmentations": [RLE]}]}).encode(),
            "entry 0 has no segmentation; .*YouTube-VIS",
        ),
        (
            json.dumps({"annotations": [{"file_name": "a.png", "segments_info": []}]}).encode(),
            "COCO panoptic: the masks are in PNG files",
        ),
        (json.dumps({"size": None, "counts": "13"}).encode(), r"rles\[0\]: size must be"),
        (json.dumps([{"rle_mask": 5}]).encode(), "an rle is a dict"),
        (json.dumps([RLE, {**RLE, "counts": "!"}]).encode(), r"rles\[1\]: byte 0: "),
        (
            json.dumps(
                [{**FRAME, "rle_mask_list": [{"rle_mask": {**RLE, "counts": "!"}}]}]
            ).encode(),
            r"rles\[0\]: byte 0: .* \(frame 5\)$",
        ),
    ],
)
def test_what_holds_no_masks(content: bytes, reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason):
        read_masks(content)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], r"entry 1 has an empty segmentation, \[\]: no mask at all"),
        (None, "entry 1 has an empty segmentation, None"),
        ({}, "'size' and 'counts'; 'counts' is missing"),
        ("", "entry 1 has an empty segmentation, ''"),
        ([[]], "segmentation of entry 1 is a list of 1"),
        ("114", "segmentation of entry 1 is the text '114', not an rle"),
        ([RLE], "segmentation of entry 1 is a list of 1.*keys size, counts, not an rle"),
        (7, "segmentation of entry 1 is the number 7"),
        (0, "segmentation of entry 1 is the number 0"),
        ([1, 2, 3, 4, 5, 6], "entry 1 is a polygon, as 1 of 2 entries are"),
        ([[1.5, 2, 3, 4]], "entry 1 is a polygon, as 1 of 2 entries are"),
    ],
)
def test_a_segmentation_that_is_no_rle(segmentation: Any, reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason):
        find_masks({"annotations": [RESULT, {"segmentation": segmentation}]})


def test_real_files() -> None:
    found = read_masks(shared_file("sav_000001_manual.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("an SA-V file", 605)
    assert found.labels[-1] == {"frame": 480, "object": 4}
    found = read_masks(shared_file("coco_val2014_fakesegm100.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("COCO results", 734)
    found = read_masks(shared_file("add_selection_reply.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("a selection reply", 5)
    found = read_masks(shared_file("panoptic/panoptic_coco_detection_format.json").read_bytes())
    assert (found.kind, len(found.masks)) == ("annotations", 50)
    with pytest.raises(km.RLEError, match="a polygon, as 428 of 432 entries are"):
        read_masks(shared_file("coco_val2014_gt50.json").read_bytes())
    with pytest.raises(km.RLEError, match="COCO panoptic"):
        read_masks(shared_file("panoptic/panoptic_examples.json").read_bytes())
