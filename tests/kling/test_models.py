"""Replies, typed: odd shapes, numbers as texts, ids."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import klingmask as km
from klingmask import kling
from klingmask.kling import KlingClient, parse_callback
from klingmask.kling.models import InitReply, PreviewReply, Reply, SelectionReply, Task
from klingmask.kling.tracking import read_tracking
from tests.conftest import shared_file
from tests.kling.samples import POINT, replying
from tests.kling.server import Fault, Service

# ---- replies that say nothing ----


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
    service.faults["*"] += [replying(ODD[odd])] * 2
    with pytest.raises(kling.BadReplyError):
        CALLS[call](client)
    missing = Fault(200, body=b'{"code": 0}')
    service.faults["*"] = [missing, missing]
    with pytest.raises(kling.BadReplyError):
        CALLS[call](client)


@pytest.mark.parametrize("odd", [name for name in ODD if name != "only a status"])
def test_a_clear_that_says_nothing(service: Service, client: KlingClient, odd: str) -> None:
    service.faults["*"] = [replying(ODD[odd])]
    with pytest.raises(kling.BadReplyError):
        client.clear_selection("session-1")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        "",
        {"status": 0},
        {"status": 0, "session_id": "s"},
        {"res": None},
        {"res": {}},
        {"res": {"frame_index": 0}},
        {"res": {"rle_mask_list": None}},
        {"res": {"rle_mask_list": [{"object_id": True}]}},
        {"res": {"rle_mask_list": [{"object_id": {}}]}},
        {"res": 5},
        {"res": {"rle_mask_list": [5]}},
        {"res": {"rle_mask_list": {}}},
        {"res": {"frame_index": "three", "rle_mask_list": []}},
        {"status": "ok"},
    ],
)
def test_wrong_shapes(service: Service, client: KlingClient, data: Any) -> None:
    body = json.dumps({"code": 0, "data": data}).encode()
    service.faults["*"].append(Fault(200, body=body))
    with pytest.raises(kling.BadReplyError):
        client.add_selection("s", 0, [POINT])


# Names of fields and values of them, for documents that nearly are a reply.
WORDS = [
    *("frame_index", "rle_mask_list", "results", "rle_mask", "mask", "object_id", "size"),
    *("counts", "png_mask", "base64", "0", "1", "task_id", "task_status", "task_result"),
    *("videos", "url", "task_info", "outputs", "id", "status", "billing", "created_at", "res"),
    *("session_id", "fps", "width", "height", "total_frame", "original_duration", "duration"),
    *("code", "data", "message", "request_id", "external_task_id", "charge_type", "amount"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["unit", "succeed", "..", "\ud800", "99999999999999999999"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=14,
)
RLE = {"size": [1, 2], "counts": "02"}
OBJECT = {"object_id": 0, "rle_mask": RLE, "png_mask": {"size": [1, 2], "base64": "AAAA"}}
TASK = {
    "task_id": "1",
    "task_status": "succeed",
    "task_status_msg": "",
    "task_info": {"external_task_id": "e"},
    "task_result": {"videos": [{"id": "v", "url": "https://a.org/x", "duration": "5"}]},
    "created_at": 1722769557708,
    "final_unit_deduction": "3.5",
}
READERS: dict[str, tuple[Callable[[Any], Any], type, Any]] = {
    "init": (
        lambda data: InitReply.parse({"data": data}),
        InitReply,
        {
            "status": 0,
            "session_id": "1",
            "fps": 30.0,
            "original_duration": 5000,
            "width": 2,
            "height": 1,
            "total_frame": 150,
            "normalized_video": "https://a.org/x",
        },
    ),
    "selection": (
        lambda data: SelectionReply.parse({"data": data}),
        SelectionReply,
        {"status": 0, "res": {"frame_index": 3, "rle_mask_list": [OBJECT]}},
    ),
    "clear": (lambda data: Reply.parse({"data": data}), Reply, {"status": 0, "session_id": "1"}),
    "preview": (
        lambda data: PreviewReply.parse({"data": data}),
        PreviewReply,
        {"status": 0, "res": {"video": "u", "video_cover": "u", "tracking_output": "u"}},
    ),
    "task": (lambda data: Task.parse({"data": data}), Task, TASK),
    "tasks": (lambda data: Task.parse_list({"data": data}), list, [TASK, TASK]),
    "callback": (
        lambda document: parse_callback({}, json.dumps(document).encode(), None),
        Task,
        {
            "id": "1",
            "status": "succeeded",
            "outputs": [{"id": "v", "url": "https://a.org/x"}],
            "billing": [{"charge_type": "unit", "amount": "3.5"}],
        },
    ),
    "tracking": (
        lambda document: read_tracking(json.dumps(document).encode()),
        dict,
        [
            {"frame_index": 0, "rle_mask_list": [OBJECT]},
            {"frame_index": 1, "results": [{"object_id": 1, "mask": RLE}]},
        ],
    ),
}


def paths_in(document: Any) -> list[tuple[Any, ...]]:
    """The keys and places that lead to each value of a document."""
    if isinstance(document, dict):
        inside = list(document.items())
    elif isinstance(document, list):
        inside = list(enumerate(document))
    else:
        inside = []
    return [(), *((key, *rest) for key, value in inside for rest in paths_in(value))]


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value at the end of a path."""
    if not path:
        return value
    copied: Any = document.copy()
    copied[path[0]] = replaced(document[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize("reader", READERS)
@given(data=st.data())
def test_any_json_is_a_reply_or_a_typed_error(reader: str, data: st.DataObject) -> None:
    """One or two values of a good reply are anything."""
    read, kind, document = READERS[reader]
    assert isinstance(read(document), kind)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(paths_in(document)))
        document = replaced(document, path, data.draw(JSON))
    try:
        reply = read(document)
    except kling.BadReplyError as error:
        assert error.message  # noqa: PT017 - one of the two is raised, or none
        return
    except kling.RejectedSelectionError as error:
        assert error.rejection != 0  # noqa: PT017
        return
    assert isinstance(reply, kind)
    assert kind in (list, dict) or repr(reply).startswith(kind.__name__)
    if isinstance(reply, Task):
        assert reply.task_id.strip() not in ("", ".", "..")
        assert reply.task_status
    if isinstance(reply, InitReply):
        assert reply.session_id
    if isinstance(reply, SelectionReply):
        with suppress(kling.BadReplyError):
            assert reply.union.size
    if isinstance(reply, dict):
        assert all(type(index) is int and index >= 0 for index in reply)
        assert all(isinstance(mask, km.Mask) for masks in reply.values() for mask in masks.values())


# ---- ids and numbers ----


@pytest.mark.parametrize("name", ["", " ", ".", "..", "\ud800", "a\udfff", None, [], {}, True, 1.5])
def test_ids_that_cannot_be_asked_for(service: Service, client: KlingClient, name: Any) -> None:
    """A path would end elsewhere, or nowhere; nothing is lost, as the other id is known."""
    task = {"task_id": name, "task_status": "submitted"}
    service.faults["*"] = [replying([task]), replying(task)]
    with pytest.raises(kling.BadReplyError, match="task_id"):
        client.list_tasks()
    with pytest.raises(kling.BadReplyError, match="task_id"):
        client.get_task("t")
    service.faults["POST /"] = [replying(task)]
    made = client.create_task("s", "removal", "<<<video_1>>>")  # it is looked for
    assert (made.task_id, service.created) == ("task-1", [made.external_task_id])
    service.faults["/init-selection"] = [
        replying({"session_id": name, "fps": 30, "original_duration": 5000, "total_frame": 1})
    ]
    with pytest.raises(kling.BadReplyError, match="session_id"):
        client.init_selection(video_id="v")


def test_ids_with_slashes_stay_in_their_path(service: Service, client: KlingClient) -> None:
    name = "../a/b?c#d%2e"
    service.faults["*"] = [replying({"task_id": name, "task_status": "submitted"})]
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


def test_numbers_may_come_as_text(service: Service, client: KlingClient) -> None:
    """A session that was paid for is not lost over a quoted number."""
    data = {
        "session_id": 5,
        "fps": "30",
        "original_duration": "5000",
        "width": "64",
        "height": 36.0,
        "total_frame": "150",
    }
    service.faults["*"].append(Fault(200, body=json.dumps({"code": 0, "data": data}).encode()))
    opened = client.init_selection(video_id="v")
    assert (opened.session_id, opened.fps, opened.original_duration) == ("5", 30.0, 5000)
    assert (opened.width, opened.height, opened.total_frame) == (64, 36, 150)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("name", ["original_duration", "fps", "total_frame", "width"])
def test_numbers_that_are_none(
    service: Service, client: KlingClient, name: str, number: str
) -> None:
    data = {"session_id": "s", "fps": 30, "original_duration": 5000, "total_frame": 150}
    text = json.dumps({"code": 0, "data": {**data, name: "?"}}).replace('"?"', number)
    service.faults["*"].append(Fault(200, body=text.encode()))
    with pytest.raises(kling.BadReplyError, match=f"{name} should be"):
        client.init_selection(video_id="v")


# ---- what a reply is about ----


def test_a_reply_is_about_the_frame_asked_for(service: Service, client: KlingClient) -> None:
    for named, frame in (("", 30), ('"frame_index": 30, ', 30), ('"frame_index": 29, ', None)):
        body = f'{{"code": 0, "data": {{"res": {{{named}"rle_mask_list": []}}}}}}'
        service.faults["*"].append(Fault(200, body=body.encode()))
        if frame:
            assert client.add_selection("s", 30, [POINT]).frame_index == frame
            continue
        with pytest.raises(kling.BadReplyError, match="about frame 29, the request about 30"):
            client.add_selection("s", 30, [POINT])


def test_a_wrong_shape_can_be_asked_about(service: Service, client: KlingClient) -> None:
    body = {"code": 0, "request_id": "r7", "data": {"res": {"rle_mask_list": [5]}}}
    service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    with pytest.raises(kling.BadReplyError) as caught:
        client.add_selection("s", 0, [POINT])
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (0, 200, "r7")


def test_a_shape_is_told_without_what_is_in_it(service: Service, client: KlingClient) -> None:
    for data in (["https://a.org/x?sign=hidden"], {"https://a.org/x?sign=hidden": 1}):
        body = json.dumps({"code": 0, "data": data}).encode()
        service.faults["*"].append(Fault(200, body=body))
        with pytest.raises(kling.BadReplyError) as caught:
            client.get_task("t")
        assert "hidden" not in str(caught.value)
    for content in (b"https://a.org/x?sign=hidden", b'["https://a.org/x?sign=hidden"]'):
        with pytest.raises(kling.BadReplyError, match=r"x\?\[\.\.\.\]") as caught:
            parse_callback({}, content, None)
        assert "hidden" not in str(caught.value)
        assert caught.value.__context__ is None


def test_a_refused_video_is_not_a_matter_of_points(service: Service, client: KlingClient) -> None:
    refused = Fault(200, body=b'{"code": 0, "request_id": "r", "data": {"status": 7, "new": 1}}')
    service.faults["*"] += [refused, refused]
    with pytest.raises(kling.RejectedSelectionError, match="another one") as caught:
        client.init_selection(video_id="v")
    assert "points" not in str(caught.value)
    assert caught.value.raw == {"status": 7, "new": 1}
    with pytest.raises(kling.RejectedSelectionError, match="other points"):
        client.add_selection("s", 0, [POINT])


def test_the_documented_reply(service: Service, client: KlingClient) -> None:
    reply = shared_file("add_selection_reply.json").read_bytes()
    service.faults["*"].append(Fault(200, body=reply))
    selected = client.add_selection("s", 0, [POINT])
    raw = json.loads(reply)["data"]["res"]["rle_mask_list"]
    assert [one.mask.to_rle()["counts"] for one in selected.objects] == [
        entry["rle_mask"]["counts"] for entry in raw
    ]


def test_refused_recognition(service: Service, client: KlingClient) -> None:
    body = {"code": 0, "message": "", "request_id": "r9", "data": {"status": 3}}
    for _ in range(2):
        service.faults["*"].append(Fault(200, body=json.dumps(body).encode()))
    with pytest.raises(kling.RejectedSelectionError, match=r"data\.status 3") as caught:
        client.add_selection("s", 0, [POINT])
    assert (caught.value.rejection, caught.value.raw) == (3, {"status": 3})
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (0, 200, "r9")
    with pytest.raises(kling.RejectedSelectionError):
        client.init_selection(video_id="v")


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
