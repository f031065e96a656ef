"""The edit as a whole: sessions, previews, waiting, downloads, callbacks."""

import base64
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klingmask as km
from klingmask import kling
from klingmask.kling import EditSession, KlingClient, Point, download, parse_callback, transport
from klingmask.kling.tracking import read_tracking
from klingmask.kling.transport import TimeLimits
from tests.kling.server import SIZE, Fault, Service, mask_at

REMOVAL = "Delete the chick from <<<video_1>>>"

# The words of the shapes that are read, for documents that nearly have one.
WORDS = [
    *("frame_index", "rle_mask_list", "rle_mask", "object_id", "size", "counts", "masklet"),
    *("masklet_id", "annotations", "segmentation", "video_frame_count", "0", "1", "task_id"),
    *("task_status", "task_result", "videos", "url", "task_info", "outputs", "id", "status"),
    *("billing", "created_at"),
]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(document=JSON)
def test_any_json_is_tracking_or_a_typed_error(document: Any) -> None:
    content = json.dumps(document).encode()
    with contextlib.suppress(kling.BadReplyError):
        read_tracking(content)
    with contextlib.suppress(kling.BadReplyError):
        parse_callback({}, content, None)


# ---- sessions ----


@pytest.fixture
def edit(client: KlingClient) -> EditSession:
    return client.edit_video(video_url="https://example.org/clip.mp4")


def test_an_edit_from_click_to_file(edit: EditSession, service: Service, tmp_path: Path) -> None:
    assert (edit.size, edit.seconds) == (SIZE, 5.0)
    selection = edit.add_selection(0, [edit.point(20, 10)])
    assert selection.masks == {0: km.Mask.from_bbox(SIZE, (16, 6, 9, 9))}
    assert (20, 10) in selection.union
    frame = np.zeros((*SIZE, 3), np.uint8)
    np.testing.assert_array_equal(
        selection.overlay(frame, outline=1), km.overlay(frame, selection.masks, outline=1)
    )
    tracking = edit.preview().tracking()
    assert tracking == {i: {0: selection.union.shift(i, 0)} for i in range(3)}
    task = edit.submit("removal", REMOVAL).wait()
    path = task.download(tmp_path / "out.mp4")
    assert path.read_bytes() == service.files["/result.mp4"]
    assert sorted(tmp_path.iterdir()) == [path]
    assert service.bodies("")[0]["duration"] == "5"
    for request in service.cdn_requests:
        assert "Authorization" not in request.headers
        assert "Cookie" not in request.headers
    assert "hidden" not in repr([edit, selection, task, task.video, edit.preview()])


def test_a_session_knows_its_points(edit: EditSession, service: Service) -> None:
    edit.add_selection(3, [(0.1, 0.1), (0.2, 0.2)])
    both = edit.add_selection(3, [(0.3, 0.3)])
    assert both.points == (Point(0.1, 0.1), Point(0.2, 0.2), Point(0.3, 0.3))
    before = len(service.requests)
    for call, reason in (
        (lambda: edit.add_selection(3, [(0.5, 0.5)] * 8), "has 3 points; 8 more"),
        (lambda: edit.add_selection(150, [(0.5, 0.5)]), "to 149"),
        (lambda: edit.delete_selection(3, [(0.1, 0.10000001)]), "was not added"),
        (lambda: edit.delete_selection(4, [(0.1, 0.1)]), "was not added"),
        (lambda: edit.delete_selection(3, [(0.1, 0.1)] * 2), "was not added"),
        (lambda: edit.submit("removal", REMOVAL, duration=10), "needs a video of 7 to 10 s"),
    ):
        with pytest.raises(kling.InvalidRequestError, match=reason):
            call()
    assert len(service.requests) == before
    assert edit.delete_selection(3, [(0.2, 0.2)]).points == (Point(0.1, 0.1), Point(0.3, 0.3))
    edit.add_selection(3, [(0.4, 0.4)] * 8)
    for index in range(4, 13):
        edit.add_selection(index, [(0.5, 0.5)])
    with pytest.raises(kling.InvalidRequestError, match="10 frames are marked"):
        edit.add_selection(13, [(0.5, 0.5)])
    edit.delete_selection(4, [(0.5, 0.5)])
    edit.add_selection(13, [(0.5, 0.5)])
    edit.clear_selection()
    assert edit.points == {}
    with pytest.raises(kling.InvalidRequestError, match="needs a selection"):
        edit.submit("removal", REMOVAL)
    service.faults["*"].append(Fault(400, 1201))
    with pytest.raises(kling.InvalidRequestError):
        edit.add_selection(0, [(0.5, 0.5)])
    assert edit.points == {}  # what was refused is not remembered


LOST = [
    Fault(reset="before"),
    Fault(reset="after"),
    Fault(500, 5000),
    Fault(500, 5000, works=True),
    Fault(cut=True),
]


@pytest.mark.parametrize("fault", LOST, ids=str)
def test_a_lost_reply_does_not_part_session_and_service(
    edit: EditSession, service: Service, fault: Fault
) -> None:
    """Whether the points were taken is not known: they are set again, each once."""
    first, second, third = (0.1, 0.5), (0.5, 0.5), (0.8, 0.5)

    def agree() -> bool:
        theirs = service.sessions[edit.session_id]
        return {
            index: [(point["x"], point["y"]) for point in points]
            for index, points in theirs.items()
            if points
        } == edit.points

    edit.add_selection(7, [first])
    edit.add_selection(3, [first, second])
    service.faults["/add-selection"].append(fault)
    selection = edit.add_selection(3, [third])
    assert agree()
    expected = mask_at([{"x": x, "y": y} for x, y in (first, second, third)])
    assert (selection.frame_index, selection.union) == (3, expected)
    service.faults["/delete-selection"].append(fault)
    selection = edit.delete_selection(3, [second])
    assert agree()
    assert selection.union == mask_at([{"x": x, "y": y} for x, y in (first, third)])
    service.faults["/delete-selection"].append(fault)
    assert edit.delete_selection(3, [first, third]).masks == {}
    assert agree()
    assert list(edit.points) == [7]
    with pytest.raises(kling.InvalidRequestError):
        edit.delete_selection(7, [second])


def agree(edit: EditSession, service: Service) -> bool:
    """Whether the session and the service have the same points."""
    theirs = service.sessions[edit.session_id]
    return {
        index: [(point["x"], point["y"]) for point in points]
        for index, points in theirs.items()
        if points
    } == edit.points


FIRST, SECOND, THIRD = (0.1, 0.5), (0.5, 0.5), (0.8, 0.5)
ODD = Fault(200, body=b'{"code": 0, "data": {"res": 5}}', works=True)
REJECTED = Fault(200, body=b'{"code": 0, "data": {"status": 3}}', works=True)
STOPPED = Fault(429, 1101)  # ends whatever is being put right


def lose_an_added_point(edit: EditSession, service: Service) -> None:
    """The reply to an add is odd, or a refusal of the recognition, although it was done."""
    for fault, error in ((ODD, kling.BadReplyError), (REJECTED, kling.RejectedSelectionError)):
        service.faults["/add-selection"].append(fault)
        with pytest.raises(error):
            edit.add_selection(3, [THIRD])


def break_off_in_the_middle(edit: EditSession, service: Service) -> None:
    """A lost reply; then the points are cleared, but cannot be set again."""
    service.faults["/add-selection"] += [Fault(reset="after"), Fault(), STOPPED]
    with pytest.raises(kling.AccountError):
        edit.add_selection(3, [THIRD])


def lose_a_deletion(edit: EditSession, service: Service) -> None:
    service.faults["/delete-selection"].append(ODD)
    with pytest.raises(kling.BadReplyError):
        edit.delete_selection(3, [FIRST])


def half_clear(edit: EditSession, service: Service) -> None:
    service.faults["/clear-selection"].append(Fault(body=b'{"code": 0}', works=True))
    with pytest.raises(kling.BadReplyError):
        edit.clear_selection()


def interrupt(edit: EditSession, service: Service) -> None:
    """The user gives up while the service is at work."""
    sent = len(service.requests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_parse_reply", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            edit.add_selection(3, [THIRD])
    assert len(service.requests) > sent


@pytest.mark.parametrize(
    "part",
    [lose_an_added_point, break_off_in_the_middle, lose_a_deletion, half_clear, interrupt],
)
def test_nothing_is_paid_for_on_other_points(
    edit: EditSession, service: Service, part: Callable[[EditSession, Service], None]
) -> None:
    """Session and service have parted; what comes next makes them agree, or is not done."""
    edit.add_selection(3, [FIRST, SECOND])
    edit.add_selection(7, [FIRST])
    mine = dict(edit.points)
    for next_ in (
        lambda: edit.submit("removal", REMOVAL),
        edit.preview,
        lambda: edit.add_selection(9, [FIRST]),
        lambda: edit.delete_selection(9, [FIRST]),
    ):
        before = dict(edit.points)
        part(edit, service)
        assert edit.points == before
        assert not agree(edit, service)
        made, sent = len(service.created), len(service.requests)
        service.faults["/clear-selection"].append(STOPPED)
        with pytest.raises(kling.AccountError):
            next_()
        assert len(service.requests) == sent + 1  # it was not even asked for
        assert (edit.points, len(service.created)) == (before, made)
        next_()
        assert agree(edit, service)
    assert edit.points == mine
    assert len(service.created) == 1
    service.faults["/add-selection"] += [ODD]
    with pytest.raises(kling.BadReplyError):
        edit.add_selection(3, [THIRD])
    edit.clear_selection()  # which is right whatever was there
    assert (edit.points, agree(edit, service)) == ({}, True)


def test_points_are_set_again_until_it_succeeds(edit: EditSession, service: Service) -> None:
    edit.add_selection(3, [FIRST])
    edit.add_selection(7, [FIRST])
    lost = Fault(reset="after")
    service.faults["/add-selection"] += [lost, lost, Fault(), lost, Fault(500, 5000, works=True)]
    service.faults["/clear-selection"] += [lost, Fault(503, 5001)]
    selection = edit.add_selection(3, [SECOND])
    assert agree(edit, service)
    assert edit.points == {3: [FIRST, SECOND], 7: [FIRST]}
    assert selection.union == mask_at([{"x": x, "y": y} for x, y in (FIRST, SECOND)])


def test_what_was_refused_leaves_no_doubt(edit: EditSession, service: Service) -> None:
    edit.add_selection(3, [FIRST])
    service.faults["/add-selection"].append(Fault(400, 1201))
    with pytest.raises(kling.InvalidRequestError):
        edit.add_selection(3, [SECOND])
    edit.preview()
    assert service.bodies("/clear-selection") == []


def test_a_session_that_the_service_forgot(edit: EditSession, service: Service) -> None:
    edit.add_selection(3, [FIRST])
    del service.sessions[edit.session_id]
    for call in (
        edit.preview,
        edit.clear_selection,
        lambda: edit.add_selection(3, [SECOND]),
        lambda: edit.delete_selection(3, [FIRST]),
    ):
        with pytest.raises(kling.SessionExpiredError, match="start a new one") as caught:
            call()
        assert isinstance(caught.value, kling.NotFoundError)
        assert (caught.value.code, caught.value.request_id) == (1203, "request-2")


def test_pixels_need_a_size(client: KlingClient, service: Service) -> None:
    data = {"session_id": "s", "fps": 30.0, "original_duration": 5000, "total_frame": 150}
    service.faults["*"].append(Fault(200, body=json.dumps({"code": 0, "data": data}).encode()))
    edit = client.edit_video(video_id="v")
    with pytest.raises(kling.InvalidRequestError, match="did not say how large"):
        edit.point(10, 10)


def test_a_repr_decodes_nothing(edit: EditSession, service: Service) -> None:
    listed = [{"object_id": 4, "rle_mask": {"size": [2, 2], "counts": "!"}}] * 2
    body = {"code": 0, "data": {"res": {"frame_index": 2, "rle_mask_list": listed}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    selection = edit.add_selection(2, [FIRST])
    assert repr(selection) == "Selection(frame_index=2, objects=[4])"


def test_a_session_lives_a_day(edit: EditSession, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 - 60)
    edit.add_selection(0, [(0.5, 0.5)])
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 + 60)
    for call in (edit.preview, edit.clear_selection, lambda: edit.submit("removal", REMOVAL)):
        with pytest.raises(kling.SessionExpiredError, match="24 hours"):
            call()


def test_clicks_tell_the_y_axis(edit: EditSession, service: Service) -> None:
    assert edit.add_selection(0, [(0.5, 0.2)]).clicks_inside() == (True, False)
    assert edit.add_selection(1, [(0.5, 0.5)]).clicks_inside() == (True, True)
    upside_down = mask_at([{"x": 0.5, "y": 0.8}])
    listed = [{"object_id": 0, "rle_mask": upside_down.to_rle()}]
    body = {"code": 0, "data": {"res": {"frame_index": 2, "rle_mask_list": listed}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    clicks = edit.add_selection(2, [(0.5, 0.2)]).clicks_inside()
    assert (clicks.y_down, clicks.y_up) == (False, True)
    assert edit.add_selection(3, [(1.0, 1.0)]).clicks_inside().y_down  # the last pixel
    assert edit.delete_selection(1, [(0.5, 0.5)]).clicks_inside() == (False, False)


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


def png_of(mask: km.Mask) -> str:
    return base64.b64encode(mask.to_png()).decode()


def test_tracking_is_read_as_selections_are() -> None:
    """Parts, PNGs, a size the wrong way round, frames without masks."""
    left, right = km.Mask.from_bbox((4, 6), (0, 0, 2, 2)), km.Mask.from_bbox((4, 6), (3, 1, 2, 2))
    turned = {"size": [6, 4], "counts": right.counts}
    png = {"size": [6, 4], "base64": png_of(right)}
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


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not a JSON file"),
        (b"<html>", "not a JSON file"),
        (b"{}", "an empty object"),
        (b'{"masks": "none"}', "the keys masks"),
        (b"[1, 2]", "a list of 2"),
        (b'{"0": 5}', "frame 0 is 5"),
        (b'[{"frame_index": 0, "rle_mask_list": [{"rle_mask": {"size": [1, 1]}}]}]', "counts"),
        (b"\xff\xfe", "not a JSON file"),
    ],
)
def test_tracking_that_is_something_else(content: bytes, found: str) -> None:
    with pytest.raises(kling.BadReplyError, match=found):
        read_tracking(content)


# ---- waiting ----


def test_waiting(
    edit: EditSession, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    edit.add_selection(0, [(0.5, 0.5)])
    pauses: list[float] = []
    monkeypatch.setattr("klingmask.kling.task.time.sleep", pauses.append)
    service.polls_until_done = 12
    task = edit.submit("removal", REMOVAL)
    assert task.wait(progress=True).task.task_status == "succeed"
    assert "task" in capsys.readouterr().err
    assert pauses == sorted(pauses)
    assert 1 == pauses[0] < pauses[-1] <= 15
    service.final = "failed"
    with pytest.raises(kling.TaskFailedError, match="the sky is too blue"):
        edit.submit("removal", REMOVAL).wait()


def test_waiting_has_an_end(edit: EditSession, service: Service) -> None:
    edit.add_selection(0, [(0.5, 0.5)])
    service.polls_until_done = 10**6
    task = edit.submit("removal", REMOVAL)
    with pytest.raises(kling.RequestTimeoutError, match="wait\\(\\) can be called again"):
        task.wait(timeout=0.2)
    with pytest.raises(kling.BadReplyError, match="has no video"):
        _ = task.video
    again = edit.client.task(external_task_id=task.task.external_task_id)
    assert again.task.task_id == task.task.task_id


def test_waiting_ends_in_time_whatever_the_service_does(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    """A reply that does not come, or refusals that would be tried again for longer."""
    service.polls_until_done = 10**6
    for fault in (Fault(delay=5), Fault(503, 5001), Fault(reset="before")):
        with make(retry_for=60.0, timeout=(30.0, 30.0)) as client:
            task = client.create_task("s", "removal", REMOVAL)
            service.faults[f"/{task.task_id}"] = [fault] * 999
            started = time.monotonic()
            with pytest.raises(kling.RequestTimeoutError, match="is still submitted after"):
                client.task(external_task_id=task.external_task_id).wait(timeout=0.4)
            assert time.monotonic() - started < 3


# ---- downloads ----


SHORT = TimeLimits((2.0, 1.0), 0.3)


def test_a_download_is_taken_up_where_it_broke(
    service: Service, tmp_path: Path, capsys: Any
) -> None:
    content = service.files["/result.mp4"]
    service.cdn_faults += [Fault(cut=True), Fault(503), Fault(cut=True)]
    url = f"{service.cdn_url}/result.mp4?sign=hidden"
    path = download.download(url, tmp_path / "out.mp4", progress=True)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
    ranges = [request.headers.get("Range") for request in service.cdn_requests]
    starts = [int(span.removeprefix("bytes=").removesuffix("-")) if span else 0 for span in ranges]
    block = 1 << 16  # what was read of a block that broke off is read again
    half, quarter = len(content) // 2, len(content) // 4
    assert len(starts) == 4
    assert starts[0] == 0 < half - block < starts[1] == starts[2] <= half
    assert starts[2] + quarter - block < starts[3] < len(content)
    assert "out.mp4" in capsys.readouterr().err


def test_a_download_goes_on_as_long_as_something_comes(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More breaks than there would be time for, were each of them counted."""
    monkeypatch.setattr(transport, "pause", lambda *_: 0.1)
    content = service.files["/result.mp4"]
    service.cdn_faults += [Fault(cut=True)] * 8
    started = time.monotonic()
    limits = TimeLimits((2.0, 1.0), 0.5)
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a", limits=limits)
    assert path.read_bytes() == content
    assert len(service.cdn_requests) == 9
    assert time.monotonic() - started > limits.retry_for


def test_a_download_has_the_client_s_patience(
    service: Service, make: Callable[..., KlingClient], tmp_path: Path
) -> None:
    with make(retry_for=0.5) as client:
        edit = client.edit_video(video_id="v")
        edit.add_selection(0, [(0.5, 0.5)])
        preview = edit.preview()
        service.polls_until_done = 0
        task = edit.submit("removal", REMOVAL)
        for get in (
            preview.tracking,
            lambda: preview.download(tmp_path / "a"),
            lambda: task.download(tmp_path / "b"),
        ):
            service.cdn_faults = [Fault(503, headers={"Retry-After": "0.2"})] * 99
            service.cdn_requests.clear()
            with pytest.raises(kling.RequestConnectionError) as caught:
                get()
            assert caught.value.retry_after == 0.2
            assert 1 < len(service.cdn_requests) < 99


def test_a_file_that_changed_is_taken_anew(service: Service, tmp_path: Path) -> None:
    real, other = service.files["/result.mp4"], b"another file, much shorter"
    service.cdn_faults.append(Fault(cut=True, headers={"ETag": '"old"'}))
    path = download.download(f"{service.cdn_url}/result.mp4", tmp_path / "a.mp4")
    assert path.read_bytes() == real
    service.cdn_faults.append(Fault(cut=True, headers={"ETag": 'W/"weak"'}))
    service.files["/result.mp4"] = other
    assert download.download(f"{service.cdn_url}/result.mp4", path).read_bytes() == other


def test_a_part_of_another_file_is_not_taken(service: Service, tmp_path: Path) -> None:
    """The same ETag, but another length; or a rest that is refused: from the start again."""
    url, content = f"{service.cdn_url}/result.mp4", service.files["/result.mp4"]
    service.cdn_faults += [
        Fault(cut=True),
        Fault(headers={"Content-Range": f"bytes {len(content) // 2}-9/10"}),
        Fault(cut=True),
        Fault(416),
    ]
    assert download.download(url, tmp_path / "a.mp4").read_bytes() == content
    ranges = ["Range" in request.headers for request in service.cdn_requests]
    assert ranges == [False, True, False, True, False]


def test_downloads_that_fail_leave_nothing(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "klingmask")
    path = tmp_path / "out.mp4"
    path.write_bytes(b"from before")
    service.files["/empty"] = b""
    with pytest.raises(kling.BadReplyError, match="is empty"):
        download.download(f"{service.cdn_url}/empty", path)
    assert download.fetch(f"{service.cdn_url}/empty") == b""
    failures: list[tuple[str, list[Fault], type[Exception]]] = [
        (f"{service.cdn_url}/gone?sign=hidden", [], kling.BadReplyError),
        (f"{service.cdn_url}/result.mp4?sign=hidden", [Fault(cut=True)] * 40, kling.KlingError),
        (f"{service.cdn_url}/result.mp4?sign=hidden", [Fault(500)] * 40, kling.KlingError),
        ("http://127.0.0.1:9/x?sign=hidden", [], kling.RequestConnectionError),
        ("http://example.org/x?sign=hidden", [], kling.BadReplyError),
        (
            f"{service.cdn_url}/result.mp4",
            [Fault(302, headers={"Location": "http://example.org/?sign=hidden"})],
            kling.BadReplyError,
        ),
        (
            f"{service.cdn_url}/result.mp4",
            [Fault(302, headers={"Location": "/result.mp4?sign=hidden"})] * 9,
            kling.BadReplyError,
        ),
    ]
    for url, faults, error in failures:
        service.cdn_faults = list(faults)
        for call in (
            lambda url=url: download.download(url, path, limits=SHORT),
            lambda url=url: download.fetch(url, limits=SHORT),
        ):
            with pytest.raises(error) as caught:
                call()
            assert "hidden" not in str(caught.value)
            service.cdn_faults = list(faults)
        assert path.read_bytes() == b"from before"
        assert list(tmp_path.iterdir()) == [path]
    assert "hidden" not in " ".join(record.getMessage() for record in caplog.records)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        download.download(f"{service.cdn_url}/result.mp4", tmp_path / "no" / "out.mp4")


def test_redirects_within_https_are_followed(service: Service, tmp_path: Path) -> None:
    service.cdn_faults.append(Fault(302, headers={"Location": "/result.mp4"}))
    path = download.download(f"{service.cdn_url}/elsewhere", tmp_path / "out.mp4")
    assert path.read_bytes() == service.files["/result.mp4"]


def test_a_new_task_may_not_be_known_at_once(
    service: Service, make: Callable[..., KlingClient]
) -> None:
    absent = Fault(404, 1203, "no such task")
    with make(settle=5.0) as client:
        edit = client.edit_video(video_id="v")
        edit.add_selection(0, [(0.5, 0.5)])
        task = edit.submit("removal", REMOVAL)
        service.faults["/task-1"] += [absent]
        assert task.wait().task.task_status == "succeed"
    with make(settle=0.0) as client:  # which is not a matter of for ever
        edit = client.edit_video(video_id="v")
        edit.add_selection(0, [(0.5, 0.5)])
        task = edit.submit("removal", REMOVAL)
        service.faults["/task-2"] += [absent]
        with pytest.raises(kling.NotFoundError):
            task.wait()
    with make(settle=60.0) as client:  # nor of a task that was there before
        task = client.task("task-2")
        task.refresh()
        service.faults["/task-2"] += [absent]
        with pytest.raises(kling.NotFoundError):
            task.wait()


def test_a_video_without_a_url_hides_no_other(
    service: Service, client: KlingClient, tmp_path: Path
) -> None:
    videos = [{"id": "v", "url": None, "watermark_url": f"{service.cdn_url}/result.mp4"}]
    data = {
        "task_id": "t",
        "task_status": "succeed",
        "task_result": {"videos": videos},
        "created_at": "1722769557708",
    }
    service.faults["GET /"].append(
        Fault(200, body=json.dumps({"code": 0, "data": [data]}).encode())
    )
    service.faults["/t"].append(Fault(200, body=json.dumps({"code": 0, "data": data}).encode()))
    (listed,) = client.list_tasks()
    assert listed.created_at is not None
    assert listed.created_at.isoformat() == "2024-08-04T11:05:57.708000+00:00"
    task = client.task("t").wait()
    with pytest.raises(kling.BadReplyError, match="no URL"):
        task.download(tmp_path / "a.mp4")
    path = task.download(tmp_path / "a.mp4", watermarked=True)
    assert path.read_bytes() == service.files["/result.mp4"]


def test_a_reason_is_shown_without_signatures(service: Service, client: KlingClient) -> None:
    reason = "cannot read https://a.org/x.mp4?sign=hidden"
    data = {"task_id": "t", "task_status": "failed", "task_status_msg": reason}
    service.faults["/t"].append(Fault(200, body=json.dumps({"code": 0, "data": data}).encode()))
    task = client.task("t")
    assert task.task.raw["task_status_msg"] == reason
    with pytest.raises(kling.TaskFailedError, match=r"x\.mp4\?\[\.\.\.\]") as caught:
        task.wait()
    assert "hidden" not in str(caught.value) + repr(task.task)


@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_a_tracking_file_that_is_nested_too_deeply(depth: int) -> None:
    with pytest.raises(kling.BadReplyError):
        read_tracking(b'{"a":' * depth + b"[]" + b"}" * depth)


def test_another_task_is_not_taken_for_one_s_own(service: Service, client: KlingClient) -> None:
    other = {"task_id": "o", "task_status": "succeed", "task_info": {"external_task_id": "e"}}
    body = Fault(200, body=json.dumps({"code": 0, "data": other}).encode())
    service.create({"external_task_id": "mine"})
    task = client.task("task-1")
    service.faults["*"] += [body] * 4
    for ask in (
        task.wait,
        task.refresh,
        lambda: client.get_task("x"),
        lambda: client.get_task(external_task_id="x"),
    ):
        with pytest.raises(kling.BadReplyError, match="the task o came instead"):
            ask()
    service.faults["*"] += [body] * 3
    assert client.get_task("o").task_id == client.get_task("e").task_id == "o"
    assert client.get_task(external_task_id="e").task_id == "o"
    other["task_info"] = {}
    service.faults["*"].append(Fault(200, body=json.dumps({"code": 0, "data": other}).encode()))
    assert client.get_task(external_task_id="x").task_id == "o"
