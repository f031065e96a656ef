"""Edit sessions: points here and at the service, and sessions that end."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import klingmask as km
from klingmask import kling
from klingmask.kling import EditSession, KlingClient, Point, transport
from tests.kling.samples import POINT, REMOVAL
from tests.kling.server import SIZE, Fault, Service, mask_at


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


# ---- points that may differ from the service's ----


def agree(edit: EditSession, service: Service) -> bool:
    """Whether the session and the service have the same points."""
    theirs = service.sessions[edit.session_id]
    return {
        index: [(point["x"], point["y"]) for point in points]
        for index, points in theirs.items()
        if points
    } == edit.points


FIRST, SECOND, THIRD = (0.1, 0.5), (0.5, 0.5), (0.8, 0.5)


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


# ---- sessions that end ----


def test_a_session_lives_a_day(edit: EditSession, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 - 60)
    edit.add_selection(0, [(0.5, 0.5)])
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 + 60)
    for call in (edit.preview, edit.clear_selection, lambda: edit.submit("removal", REMOVAL)):
        with pytest.raises(kling.SessionExpiredError, match="24 hours"):
            call()


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


CALLS: dict[str, tuple[str, Callable[[EditSession], object]]] = {
    "add": ("/add-selection", lambda edit: edit.add_selection(1, [POINT])),
    "delete": ("/delete-selection", lambda edit: edit.delete_selection(0, [POINT])),
    "clear": ("/clear-selection", lambda edit: edit.clear_selection()),
    "preview": ("/preview-selection", lambda edit: edit.preview()),
    "submit": ("POST /", lambda edit: edit.submit("removal", REMOVAL)),
}


ENDED = [
    Fault(400, 1201, "session expired"),
    Fault(400, 1200, "The session has expired"),
    Fault(400, 1201, "session_id is invalid"),
    Fault(400, 1201, "session 847570360458960960 not found"),
    Fault(400, 1201, "Session not exist"),
    Fault(404, 1203, "the session does not exist"),
    Fault(400, 1201, "invalid session id"),
    Fault(400, 1201, "no such session"),
    Fault(410, 4100, "session is no longer available"),
]


OTHER = [
    Fault(400, 1201, "points: must be in [0, 1]"),
    Fault(400, 1201, "session_id: 847, points invalid"),
    Fault(400, 1201, "the session has no selection"),
    Fault(400, 1200, ""),
    Fault(404, body=b"<html>session not found</html>"),
    Fault(400, body=b"session expired"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", ENDED, ids=lambda fault: fault.message)
def test_a_session_that_ended_at_the_service(
    marked: EditSession, service: Service, call: str, fault: Fault
) -> None:
    endpoint, ask = CALLS[call]
    service.faults[endpoint].append(fault)
    with pytest.raises(kling.SessionExpiredError, match="start a new one") as caught:
        ask(marked)
    assert fault.message in str(caught.value)
    assert (caught.value.code, caught.value.status) == (fault.code, fault.status)
    assert (caught.value.outcome, caught.value.request_id) == ("refused", "request-2")
    assert service.created == []
    if call == "submit":
        assert caught.value.external_task_id == service.bodies("")[0]["external_task_id"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", OTHER, ids=str)
def test_other_refusals_do_not_end_a_session(
    marked: EditSession, service: Service, call: str, fault: Fault
) -> None:
    endpoint, ask = CALLS[call]
    service.faults[endpoint].append(fault)
    with pytest.raises(kling.KlingError) as caught:
        ask(marked)
    assert not isinstance(caught.value, kling.SessionExpiredError)


def test_a_model_that_does_not_exist_does_not_end_a_session(
    marked: EditSession, service: Service
) -> None:
    service.faults["POST /"].append(Fault(404, 1203, "no such model"))
    with pytest.raises(kling.NotFoundError) as caught:
        marked.submit("removal", REMOVAL, model_name="kling-v9")
    assert not isinstance(caught.value, kling.SessionExpiredError)
    assert service.bodies("")[0]["model_name"] == "kling-v9"


def test_a_model_may_be_left_to_the_service(marked: EditSession, service: Service) -> None:
    marked.submit("removal", REMOVAL, model_name=None)
    marked.submit("removal", REMOVAL)
    first, second = service.bodies("")
    assert "model_name" not in first
    assert second["model_name"] == "kling-v1-6"
