"""Selected objects: their masks, and which number of a size is the height."""

import base64
import json
from typing import Any

import pytest

import klingmask as km
from klingmask import kling
from klingmask.kling import EditSession, KlingClient
from tests.kling.samples import POINT, replying
from tests.kling.server import SIZE, Fault, Service, mask_at


def test_masks_that_do_not_decode(service: Service, client: KlingClient) -> None:
    listed = [
        {"object_id": 1, "rle_mask": {"size": [2, 2], "counts": "!"}},
        {"object_id": 2, "png_mask": {"size": [2, 2], "base64": "AAAA"}},
        {"object_id": "c", "rle_mask": km.Mask.zeros((2, 2)).to_rle()},
    ]
    body = {"code": 0, "data": {"res": {"rle_mask_list": listed}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    reply = client.add_selection("s", 0, [POINT])
    with pytest.raises(kling.BadReplyError, match=r"the mask of object 1: byte 0"):
        _ = reply.objects[0].mask
    with pytest.raises(kling.BadReplyError, match="the PNG of object 2"):
        _ = reply.objects[1].mask
    assert reply.objects[2].mask.size == (2, 2)


def test_masks_that_come_in_parts(service: Service, client: KlingClient) -> None:
    """Two entries of one object are one mask; a nameless one has its place for a name."""
    left, right = km.Mask.from_bbox((4, 6), (0, 0, 2, 2)), km.Mask.from_bbox((4, 6), (3, 1, 2, 2))
    listed = [
        {"object_id": 1, "rle_mask": left.to_rle()},
        {"object_id": 1, "rle_mask": right.to_rle()},
        {"object_id": None, "rle_mask": left.to_rle()},
    ]
    data = {"status": 0, "session_id": "s", "res": {"frame_index": 0.0, "rle_mask_list": listed}}
    body = json.dumps({"code": 0, "data": data}).encode()
    service.faults["*"].append(Fault(200, body=body))
    reply = client.add_selection("s", 0, [POINT])
    assert reply.masks == {1: left | right, 2: left}
    assert reply.union == left | right
    assert [one.mask for one in reply.objects] == [left, right, left]


def test_the_png_settles_the_size(service: Service, client: KlingClient) -> None:
    mask = km.Mask.from_bbox((4, 6), (1, 1, 3, 2))
    encoded = base64.b64encode(mask.to_png()).decode()
    for size, png_text, expected in (
        ([6, 4], encoded, mask),  # (w, h), as the reference's example can be read
        ([4, 6], encoded, mask),
        ([6, 4], "AAAA", km.Mask.from_rle({"size": [6, 4], "counts": mask.counts})),
    ):
        entry = {
            "object_id": 0,
            "rle_mask": {"size": size, "counts": mask.counts},
            "png_mask": {"size": size, "base64": png_text},
        }
        body = {"code": 0, "data": {"res": {"rle_mask_list": [entry]}}}
        service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
        assert client.add_selection("s", 0, [POINT]).union == expected


def test_masks_of_different_sizes(service: Service, client: KlingClient) -> None:
    def reply(first: Any, second: Any) -> kling.SelectionReply:
        listed = [
            {"object_id": name, "rle_mask": km.Mask.zeros(size).to_rle()}
            for name, size in ((first, (2, 2)), (second, (3, 3)))
        ]
        body = {"code": 0, "data": {"res": {"frame_index": 4, "rle_mask_list": listed}}}
        service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
        return client.add_selection("s", 4, [POINT])

    with pytest.raises(kling.BadReplyError, match="the masks of frame 4"):
        _ = reply(0, 1).union
    with pytest.raises(kling.BadReplyError, match="the parts of object 0"):
        _ = reply(0, 0).masks


@pytest.mark.parametrize("size", [5, True, None, "64", {}, [1.5, 2]])
def test_a_size_that_is_none(service: Service, client: KlingClient, size: Any) -> None:
    """Beside a PNG that can be read."""
    mask = km.Mask.from_bbox((4, 6), (1, 1, 3, 2))
    entry = {
        "rle_mask": {"size": size, "counts": mask.counts},
        "png_mask": {"base64": base64.b64encode(mask.to_png()).decode()},
    }
    body = {"code": 0, "data": {"res": {"rle_mask_list": [entry]}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    reply = client.add_selection("s", 0, [POINT])
    with pytest.raises(kling.BadReplyError, match="the mask of object 0"):
        _ = reply.masks
    assert reply.objects[0].png_mask == mask


# ---- (h, w) or (w, h) ----


MASK = mask_at([{"x": POINT[0], "y": POINT[1]}])


def selected(size: tuple[int, int], png: km.Mask | None = None) -> Fault:
    """A selection of `MASK`, whose size is told as `size`."""
    entry: dict[str, Any] = {
        "object_id": 0,
        "rle_mask": {"size": list(size), "counts": MASK.counts},
    }
    if png is not None:
        encoded = base64.b64encode(png.to_png()).decode()
        entry["png_mask"] = {"size": list(size), "base64": encoded}
    return replying({"status": 0, "res": {"frame_index": 0, "rle_mask_list": [entry]}})


TURNED = (SIZE[1], SIZE[0])


def turned_tracking(frames: list[Any]) -> list[Any]:
    for frame in frames:
        for entry in frame["rle_mask_list"]:
            entry["rle_mask"]["size"].reverse()
    return frames


def test_tracking_follows_the_selection_s_png(edit: EditSession, service: Service) -> None:
    service.faults["/add-selection"].append(selected(TURNED, MASK))
    assert edit.add_selection(0, [POINT]).union == MASK
    service.tracking_shape = turned_tracking
    assert edit.preview().tracking() == {i: {0: MASK.shift(i, 0)} for i in range(3)}
    service.tracking_shape = lambda frames: frames  # and what is right stays right
    assert edit.preview().tracking() == {i: {0: MASK.shift(i, 0)} for i in range(3)}
    # So do later selections that have no PNG.
    service.faults["/add-selection"].append(selected(TURNED))
    assert edit.add_selection(0, [(0.1, 0.1)]).union == MASK


def test_the_png_outweighs_init_selection(client: KlingClient, service: Service) -> None:
    """Which may have width and height the wrong way round, as the reference's example."""
    service.faults["/init-selection"].append(
        replying(
            {
                "session_id": "session-1",
                "fps": 30,
                "original_duration": 5000,
                "total_frame": 150,
                "width": SIZE[0],
                "height": SIZE[1],
            }
        )
    )
    edit = client.edit_video(video_id="v")
    assert edit.add_selection(0, [POINT]).union == MASK  # with its PNG
    assert edit.preview().tracking()[2] == {0: MASK.shift(2, 0)}


def test_what_cannot_be_told_is_refused(edit: EditSession, service: Service) -> None:
    service.faults["/add-selection"].append(selected(TURNED))
    selection = edit.add_selection(0, [POINT])
    for read in (lambda: selection.masks, lambda: selection.union, selection.clicks_inside):
        with pytest.raises(
            kling.BadReplyError, match=r"64 x 36 pixels .* only if one of the two is swapped"
        ):
            read()
    service.tracking_shape = turned_tracking
    with pytest.raises(kling.BadReplyError, match="only if one of the two is swapped"):
        edit.preview().tracking()


def test_without_a_session_a_size_is_h_w(client: KlingClient, service: Service) -> None:
    """So the reference's code sample has it, and nothing says how large the video is."""
    client.init_selection(video_id="v")
    service.faults["/add-selection"].append(selected(SIZE))
    assert client.add_selection("session-1", 0, [POINT]).union == MASK


def test_a_png_that_is_another_s(client: KlingClient, service: Service) -> None:
    client.init_selection(video_id="v")
    service.faults["/add-selection"].append(selected(SIZE, km.Mask.zeros((5, 5))))
    reply = client.add_selection("session-1", 0, [POINT])
    with pytest.raises(kling.BadReplyError, match=r"size \[36, 64\] does not fit frames of 5 x 5"):
        _ = reply.union
