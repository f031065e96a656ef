"""The tracking file: formats that are read, and what is none of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import klingmask as km
from klingmask import kling
from klingmask.kling import EditSession
from klingmask.kling.objects import FrameSize
from klingmask.kling.tracking import read_tracking
from tests.kling.samples import png_base64
from tests.kling.server import Service, mask_at

SHAPES: list[Callable[[Any], Any]] = [
    lambda frames: frames,
    lambda frames: "\n".join(json.dumps(frame) for frame in frames).encode(),
    lambda frames: {"frames": frames},
    lambda frames: {"code": 5, "result": {"masks": frames}},
    lambda frames: {str(frame["frame_index"]): frame["rle_mask_list"] for frame in frames},
    lambda frames: {str(frame["frame_index"]): frame for frame in frames},
    lambda frames: {
        str(frame["frame_index"]): {"0": frame["rle_mask_list"][0]["rle_mask"]} for frame in frames
    },
    lambda frames: {
        str(frame["frame_index"]): [frame["rle_mask_list"][0]["rle_mask"]] for frame in frames
    },
]


@pytest.mark.parametrize("shape", SHAPES)
def test_tracking_in_every_expected_shape(
    edit: EditSession, service: Service, shape: Callable[[Any], Any]
) -> None:
    edit.add_selection(0, [(0.5, 0.5)])
    service.tracking_shape = shape
    tracking = edit.preview().tracking()
    one = mask_at([{"x": 0.5, "y": 0.5}])
    assert sorted(tracking) == [0, 1, 2]
    assert [list(tracking[i].values()) for i in range(3)] == [[one.shift(i, 0)] for i in range(3)]


def test_tracking_is_read_as_selections_are() -> None:
    """Parts, PNGs, a size the wrong way round, frames without masks."""
    left, right = km.Mask.from_bbox((4, 6), (0, 0, 2, 2)), km.Mask.from_bbox((4, 6), (3, 1, 2, 2))
    turned = {"size": [6, 4], "counts": right.counts}
    png = {"size": [6, 4], "base64": png_base64(right)}
    frames: list[Any] = [
        {"frame_index": 0},
        {"frame_index": 1, "rle_mask_list": None},
        {"frame_index": 2, "rle_mask_list": []},
        {
            "frame_index": 3.0,
            "rle_mask_list": [
                {"object_id": 5, "rle_mask": left.to_rle()},
                {"object_id": 5, "rle_mask": right.to_rle()},
                {"rle_mask": left.to_rle()},
            ],
        },
        {"frame_index": "4", "rle_mask_list": [{"object_id": 0, "png_mask": png}]},
        {
            "frame_index": 5,
            "rle_mask_list": [{"object_id": 0, "rle_mask": turned, "png_mask": png}],
        },
        {"frame_index": 5, "rle_mask_list": [{"object_id": 1, "rle_mask": left.to_rle()}]},
    ]
    expected = {
        0: {},
        1: {},
        2: {},
        3: {5: left | right, 2: left},
        4: {0: right},
        5: {0: right, 1: left},
    }
    lines = "\r\n".join(json.dumps(frame) for frame in frames)
    for text in (json.dumps(frames), lines, json.dumps({"n": 6, "data": {"frames": frames}})):
        assert read_tracking(text.encode()) == expected
        assert read_tracking(b"\xef\xbb\xbf" + text.encode()) == expected
    by_frame = {"3": {"5": left.to_rle(), "dog": right.to_rle()}, "4": None}
    assert read_tracking(json.dumps(by_frame).encode()) == {3: {5: left, "dog": right}, 4: {}}


def test_tracking_whose_parts_do_not_fit() -> None:
    listed = [
        {"object_id": 1, "rle_mask": km.Mask.zeros(size).to_rle()} for size in ((2, 2), (3, 3))
    ]
    content = json.dumps([{"frame_index": 7, "rle_mask_list": listed}]).encode()
    with pytest.raises(kling.BadReplyError, match="frame 7: the parts of object 1"):
        read_tracking(content)


# ---- the stream of SAM 2 ----


FRAME = (4, 6)


LEFT, RIGHT = km.Mask.from_bbox(FRAME, (0, 0, 2, 2)), km.Mask.from_bbox(FRAME, (3, 1, 2, 3))


EXPECTED = {0: {0: LEFT, 7: RIGHT}, 1: {}, 5: {0: RIGHT}}


def streamed(mask: Callable[[km.Mask], Any]) -> list[dict[str, Any]]:
    """Frames as Meta's SAM 2 demo server streams them."""
    return [
        {
            "frame_index": index,
            "results": [{"object_id": name, "mask": mask(one)} for name, one in masks.items()],
        }
        for index, masks in EXPECTED.items()
    ]


def multipart(frames: list[Any], line: str = "\r\n", *, ended: bool = True) -> bytes:
    """As the server sends them: a part with headers to a frame."""
    head = ["--frame", "Content-Type: application/json; charset=utf-8", "Frame-Current: -1", ""]
    parts = [line.join([*head, json.dumps(frame)]) for frame in frames]
    return line.join([*parts, "--frame--" if ended else "", ""]).encode()


STREAMS: dict[str, Callable[[list[Any]], bytes]] = {
    "a list": lambda frames: json.dumps(frames).encode(),
    "lines": lambda frames: "\n".join(map(json.dumps, frames)).encode(),
    "one after another": lambda frames: "".join(map(json.dumps, frames)).encode(),
    "values of several lines": lambda frames: "\n".join(
        json.dumps(frame, indent=2) for frame in frames
    ).encode(),
    "parts": multipart,
    "parts with short lines": lambda frames: multipart(frames, "\n"),
    "parts without an end": lambda frames: multipart(frames, ended=False),
    "under a key": lambda frames: json.dumps({"n": 3, "data": {"frames": frames}}).encode(),
    "by frame": lambda frames: json.dumps({f["frame_index"]: f for f in frames}).encode(),
    "by frame, bare": lambda frames: json.dumps(
        {f["frame_index"]: f["results"] for f in frames}
    ).encode(),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_stream_of_sam_2(stream: str) -> None:
    for mask in (
        km.Mask.to_rle,
        lambda mask: {**mask.to_rle(), "order": "F"},
        lambda mask: {"size": list(FRAME), "counts": mask.runs.tolist()},
    ):
        assert read_tracking(STREAMS[stream](streamed(mask))) == EXPECTED


def test_one_line_and_one_part() -> None:
    (frame,) = [frame for frame in streamed(km.Mask.to_rle) if frame["frame_index"] == 5]
    for content in (json.dumps(frame).encode(), multipart([frame])):
        assert read_tracking(content) == {5: {0: RIGHT}}


# ---- (h, w) or (w, h) ----


def turned(mask: km.Mask) -> dict[str, Any]:
    return {"size": list(mask.size[::-1]), "counts": mask.counts}


SEEN, TOLD = FrameSize(*FRAME, certain=True), FrameSize(*FRAME, certain=False)


@pytest.mark.parametrize("stream", STREAMS)
def test_sizes_the_wrong_way_round(stream: str) -> None:
    content = STREAMS[stream](streamed(turned))
    assert read_tracking(content, SEEN) == EXPECTED
    with pytest.raises(kling.BadReplyError, match="only if one of the two is swapped"):
        read_tracking(content, TOLD)
    for frame in (SEEN, TOLD, None):
        assert read_tracking(STREAMS[stream](streamed(km.Mask.to_rle)), frame) == EXPECTED


@pytest.mark.parametrize("size", [(8, 12), (2, 3), (400, 610)])
def test_masks_of_another_resolution(size: tuple[int, int]) -> None:
    """They are as the frames are: wide, or high."""
    mask = km.Mask.from_bbox(size, (0, 0, 2, 1))
    for rle in (mask.to_rle(), turned(mask)):
        content = json.dumps({"0": {"1": rle}}).encode()
        assert read_tracking(content, SEEN) == {0: {1: mask}}
    content = json.dumps({"0": {"1": mask.to_rle()}}).encode()
    assert read_tracking(content, TOLD) == {0: {1: mask}}


@pytest.mark.parametrize("size", [(4, 4), (6, 6), (4, 20), (1, 6), (0, 0), (0, 6)])
@pytest.mark.parametrize("frame", [SEEN, TOLD])
def test_masks_of_another_shape(size: tuple[int, int], frame: FrameSize) -> None:
    for sizes in (size, size[::-1]):
        content = json.dumps({"3": {"1": km.Mask.zeros(sizes).to_rle()}}).encode()
        with pytest.raises(kling.BadReplyError, match="frame 3: the mask of object 1: size"):
            read_tracking(content, frame)


def test_a_square_has_one_reading() -> None:
    mask = km.Mask.from_bbox((4, 4), (0, 1, 2, 2))
    content = json.dumps({"0": {"1": mask.to_rle()}}).encode()
    for certain in (True, False):
        assert read_tracking(content, FrameSize(4, 4, certain)) == {0: {1: mask}}


# ---- odd shapes ----


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not a JSON file"),
        (b"<html>", "not a JSON file"),
        (b"--", "not a JSON file"),
        (b"--frame\r\n\r\n{", "not a JSON file"),
        (b"--frame\r\nContent-Type: x\r\n\r\n", "not a JSON file"),
        (b"{}", "an empty object"),
        (b"[]", "a list of 0"),
        (b'{"masks": "none"}', "the keys masks"),
        (b"[1, 2]", "a list of 2"),
        (b'{"0": 5}', "frame 0 is 5"),
        (b'[{"frame_index": 0, "rle_mask_list": [{"rle_mask": {"size": [1, 1]}}]}]', "counts"),
        (b'[{"frame_index": 0, "results": [{"object_id": 0}]}]', "the mask of object 0"),
        (b'[{"frame_index": 0, "results": [{"mask": 5}]}]', "the mask of object 0 is 5"),
        (b'[{"frame_index": 0, "results": [5]}]', "frame 0: rle_mask_list"),
        (b'[{"frame_index": 0, "results": 5}]', "frame 0 is 5"),
        (b'[{"frame_index": -1, "results": []}]', "an integer from 0, not -1"),
        (b'[{"frame_index": true, "results": []}]', "an integer from 0, not True"),
        (b'[{"frame_index": 1.5, "results": []}]', r"an integer from 0, not 1\.5"),
        (b'[{"frame_index": 1e999, "results": []}]', "an integer from 0, not inf"),
        (b'[{"frame_index": null, "results": []}]', "an integer from 0, not None"),
        (b'[{"frame_index": "one", "results": []}]', "an integer from 0, not a text of 3"),
        (b'[{"frame_index": "%b", "results": []}]' % (b"1" * 5000), "not a text of 5000"),
        (b'[{"frame_index": %b, "results": []}]' % (b"1" * 5000), "not a JSON file"),
        (b'{"%b": []}' % (b"1" * 5000), "not a text of 5000"),
        (b'{"\xd9\xa3": []}', "the keys"),
        (b'[{"frame_index": 0, "results": [{"object_id": true, "mask": {}}]}]', "object_id True"),
        (b'[{"frame_index": 0, "results": [{"object_id": [], "mask": {}}]}]', "object_id an empty"),
        (b"\xff\xfe", "not a JSON file"),
        (b'{"a":' * 400 + b"[]" + b"}" * 400, "no masks"),
        (b'{"a":' * 10**5 + b"[]" + b"}" * 10**5, "not a JSON file"),
    ],
)
def test_tracking_that_is_something_else(content: bytes, found: str) -> None:
    with pytest.raises(kling.BadReplyError, match=found) as caught:
        read_tracking(content)
    assert len(str(caught.value)) < 400


def test_an_object_of_many_digits_is_a_name() -> None:
    name = "1" * 5000
    content = json.dumps({"3": {name: LEFT.to_rle(), "0012": RIGHT.to_rle()}}).encode()
    assert read_tracking(content) == {3: {name: LEFT, "0012": RIGHT}}
