"""Replies, typed: which way round a size is, and odd shapes."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

import klingmask as km
from klingmask import kling
from klingmask.kling import EditSession, KlingClient
from tests.kling.server import SIZE, Fault, Service, mask_at

POINT = (0.5, 0.25)
MASK = mask_at([{"x": POINT[0], "y": POINT[1]}])


def says(data: Any) -> Fault:
    return Fault(200, body=json.dumps({"code": 0, "data": data}).encode(), works=True)


def selected(size: tuple[int, int], png: km.Mask | None = None) -> Fault:
    """A selection of `MASK`, whose size is told as `size`."""
    entry: dict[str, Any] = {
        "object_id": 0,
        "rle_mask": {"size": list(size), "counts": MASK.counts},
    }
    if png is not None:
        encoded = base64.b64encode(png.to_png()).decode()
        entry["png_mask"] = {"size": list(size), "base64": encoded}
    return says({"status": 0, "res": {"frame_index": 0, "rle_mask_list": [entry]}})


@pytest.fixture
def edit(client: KlingClient) -> EditSession:
    return client.edit_video(video_id="v")


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
        says(
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


ODD: dict[str, Any] = {
    "nothing": {},
    "null": None,
    "a list": [],
    "a text": "",
    "a number": 5,
    "only a status": {"status": 0},
}
CALLS: dict[str, Callable[[KlingClient], object]] = {
    "init": lambda client: client.init_selection(video_id="v"),
    "add": lambda client: client.add_selection("session-1", 0, [POINT]),
    "delete": lambda client: client.delete_selection("session-1", 0, [POINT]),
    "preview": lambda client: client.preview_selection("session-1"),
    "get": lambda client: client.get_task("t"),
    "list": lambda client: client.list_tasks(),
    "iterate": lambda client: list(client.iter_tasks()),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("call", CALLS)
def test_a_reply_that_says_nothing(
    service: Service, client: KlingClient, call: str, odd: str
) -> None:
    """Is an error, not a selection of nothing, nor an account without tasks."""
    if (call, odd) in (("list", "a list"), ("iterate", "a list")):
        return
    service.faults["*"] += [says(ODD[odd])] * 2
    with pytest.raises(kling.BadReplyError):
        CALLS[call](client)
    missing = Fault(200, body=b'{"code": 0}')
    service.faults["*"] = [missing, missing]
    with pytest.raises(kling.BadReplyError):
        CALLS[call](client)


def test_a_clear_that_says_nothing(service: Service, client: KlingClient) -> None:
    for odd in (ODD[name] for name in ODD if name != "only a status"):
        service.faults["*"] = [says(odd)]
        with pytest.raises(kling.BadReplyError):
            client.clear_selection("session-1")


@pytest.mark.parametrize("name", ["", " ", ".", "..", "\ud800", "a\udfff", None, [], {}, True, 1.5])
def test_ids_that_cannot_be_asked_for(service: Service, client: KlingClient, name: Any) -> None:
    """A path would end elsewhere, or nowhere; nothing is lost, as the other id is known."""
    task = {"task_id": name, "task_status": "submitted"}
    service.faults["*"] = [says([task]), says(task)]
    with pytest.raises(kling.BadReplyError, match="task_id"):
        client.list_tasks()
    with pytest.raises(kling.BadReplyError, match="task_id"):
        client.get_task("t")
    service.faults["POST /"] = [says(task)]
    made = client.create_task("s", "removal", "<<<video_1>>>")  # it is looked for
    assert (made.task_id, service.created) == ("task-1", [made.external_task_id])
    service.faults["/init-selection"] = [
        says({"session_id": name, "fps": 30, "original_duration": 5000, "total_frame": 1})
    ]
    with pytest.raises(kling.BadReplyError, match="session_id"):
        client.init_selection(video_id="v")


def test_ids_with_slashes_stay_in_their_path(service: Service, client: KlingClient) -> None:
    name = "../a/b?c#d%2e"
    service.faults["*"] = [says({"task_id": name, "task_status": "submitted"})]
    task = client.task(name)
    with pytest.raises(kling.NotFoundError):
        task.refresh()
    assert service.requests[-1].path.endswith("/..%2Fa%2Fb%3Fc%23d%252e")


HUGE = "9" * 4000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", HUGE),
        ("original_duration", HUGE),
        ("original_duration", '"' + "9" * 5000 + '"'),
        ("fps", HUGE),
        ("fps", "1e999"),
        ("total_frame", '"' + "9" * 5000 + '"'),
        ("status", '"' + "9" * 5000 + '"'),
        ("width", "9" * 5000),
    ],
)
def test_numbers_that_are_too_large(
    service: Service, client: KlingClient, field: str, value: str
) -> None:
    """Are an error of the reply, or are taken as they are."""
    fields = {"session_id": '"s"', "fps": "30", "original_duration": "5000", "total_frame": "1"}
    pairs = ", ".join(f'"{name}": {text}' for name, text in {**fields, field: value}.items())
    body = f'{{"code": 0, "data": {{{pairs}}}}}'.encode()
    service.faults["*"] = [Fault(200, body=body)]
    if (field, value) == ("width", HUGE):
        assert client.init_selection(video_id="v").width == int(HUGE)
        return
    with pytest.raises(kling.BadReplyError) as caught:
        client.init_selection(video_id="v")
    assert len(str(caught.value)) < 600
