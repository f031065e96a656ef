"""Files of masks: each kind is recognised, labelled, and refused with a reason."""

import base64
import gzip
import json
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import klingmask as km
from klingmask.datasets import LabelledMasks, documents, find_masks, read_masks, tracking_to_json
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
    assert found.where(frame=0, object=9).labels == []
    with pytest.raises(km.RLEError, match=r"label 'image'; the labels are frame, object$"):
        found.where(frame=4, image=1)
    assert found.where(frame=0, object=9).where(image=1).labels == []
    assert found.where().labels == found.labels


DETECTIONS = [
    {"image_id": image, "category_id": category, "segmentation": RLE, "score": score}
    for image, category, score in ((1, 18, 0.25), (1, 1, 0.75), (2, 3.0, 0.5), (2, "x\x1b", 1.0))
]


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({"category": [18, 1]}, [0, 1]),
        ({"category": (1, "18")}, [0, 1]),
        ({"category": {3}}, [2]),
        ({"category": 3}, [2]),
        ({"category": "3"}, [2]),
        ({"category": 3.0}, [2]),
        ({"category": "3.0"}, [2]),
        ({"category": np.array([1, 18])}, [0, 1]),
        ({"category": np.int64(18)}, [0]),
        ({"category": np.array(18)}, [0]),
        ({"category": (each for each in (18, 1))}, [0, 1]),
        ({"category": []}, []),
        ({"score": lambda score: score > 0.5}, [1, 3]),
        ({"score": lambda score: np.bool_(score > 2)}, []),
        ({"score": {0.25, 0.5}.__contains__}, [0, 2]),
        ({"category": [18, 1], "score": lambda score: score > 0.5}, [1]),
        ({"category": [18, 1], "image": 2}, []),
        ({"image": range(2, 3)}, [2, 3]),
    ],
)
def test_where_any_of_and_predicates(wanted: dict[str, Any], places: list[int]) -> None:
    found = find_masks(DETECTIONS)
    chosen = found.where(**wanted)
    assert chosen.labels == [found.labels[place] for place in places]
    assert len(chosen.masks) == len(places)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"category": 99}, r"^no mask has category=99; category is one of 18, 1, 3.0, 'x\\x1b'$"),
        ({"category": [18, 99]}, "^no mask has category=99; "),
        ({"category": "18 "}, "^no mask has category=18 ; "),
        ({"category": None}, "^no mask has category=None; "),
        ({"image": 3, "category": 18}, "^no mask has image=3; image is one of 1, 2$"),
        ({"category_id": 18}, "the labels are category, image, score"),
        ({"category_id": bool}, "the labels are category, image, score"),
    ],
)
def test_where_a_value_that_no_mask_has(wanted: dict[str, Any], reason: str) -> None:
    with pytest.raises(km.RLEError, match=reason):
        find_masks(DETECTIONS).where(**wanted)


def test_where_names_few_of_many_values() -> None:
    found = find_masks([{**RESULT, "score": i / 1000} for i in range(1000)])
    with pytest.raises(km.RLEError, match=r"0.001, .*, \.\.\. \(1000 in all\)$") as caught:
        found.where(score=7)
    assert len(str(caught.value)) < 150


def test_detections_of_different_pictures_are_not_one_frame() -> None:
    found = find_masks(DETECTIONS)
    with pytest.raises(km.RLEError, match=r"image is 1, 2; choose one, as where\(image=1\)$"):
        found.tracking()
    assert list(found.where(image=1).tracking()[0]) == [0, 1]
    some = [RESULT, {"segmentation": RLE}]
    with pytest.raises(km.RLEError, match="image is 42, None; "):
        find_masks(some).tracking()
    sizes = [RLE, RLE, {"size": [3, 2], "counts": "6"}]
    with pytest.raises(km.RLEError, match=r"sizes are \(2, 3\), \(3, 2\); "):
        find_masks(sizes).tracking()
    assert list(find_masks(sizes[:2]).tracking()) == [0]


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


def test_the_repr_is_short() -> None:
    found = find_masks([{**RESULT, "image_id": "x" * 100}] * 100_000)
    assert repr(found) == (
        "LabelledMasks('COCO results', 100000 masks, labels: image, category, score)"
    )
    assert repr(find_masks(RLE)) == "LabelledMasks('an rle', 1 masks, labels: none)"


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
        (gzip.compress(b""), "not a JSON file: it is empty"),
        (gzip.compress(gzip.compress(b"{}")), "not a JSON file, but a gzip file"),
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
        for key in {key for labels in found.labels for key in labels}:
            assert found.where(**{key: found.labels[0].get(key)}).labels


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
