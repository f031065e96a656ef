"""Masks are chosen by label, and grouped by frame and object."""

from typing import Any

import numpy as np
import pytest

import klingmask as km
from klingmask.datasets import find_masks
from tests.datasets.files import FRAME, RESULT, RLE, SAV


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


def test_the_repr_is_short() -> None:
    found = find_masks([{**RESULT, "image_id": "x" * 100}] * 100_000)
    assert repr(found) == (
        "LabelledMasks('COCO results', 100000 masks, labels: image, category, score)"
    )
    assert repr(find_masks(RLE)) == "LabelledMasks('an rle', 1 masks, labels: none)"
