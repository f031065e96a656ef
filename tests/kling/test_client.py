"""The eight endpoints: requests as the reference has them, replies typed."""

import base64
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from klingmask import kling
from klingmask.kling import KlingClient, prompts
from tests.conftest import shared_file
from tests.kling.samples import REMOVAL, png
from tests.kling.server import PREFIX, Request, Service, mask_at

SESSION = "847570360458960960"


CLICK = (0.7738498789346246, 0.297142857142857)


POINTS = {"session_id": SESSION, "frame_index": 0, "points": [{"x": CLICK[0], "y": CLICK[1]}]}


CREATE: dict[str, Any] = {
    "model_name": "kling-v1-6",
    "session_id": SESSION,
    "edit_mode": "removal",
    "image_list": [],
    "prompt": REMOVAL,
    "negative_prompt": "",
    "mode": "std",
    "duration": "5",
    "callback_url": "",
    "external_task_id": "",
}


# The bodies that the reference's page shows, by endpoint.
EXAMPLES: dict[str, dict[str, Any]] = {
    "/init-selection": {
        "video_id": "",
        "video_url": "https://v1-kling.klingai.com/kcdn/cdn-kcdn112452/kling-qa-test/"
        "animals-output-5s.mp4",
    },
    "/add-selection": POINTS,
    "/delete-selection": POINTS,
    "/clear-selection": {"session_id": SESSION},
    "/preview-selection": {"session_id": SESSION},
    "": CREATE,
}


def test_the_examples_are_those_of_the_reference() -> None:
    reference = shared_file("../kling/multi-elements.txt").read_text()
    examples: dict[str, Any] = {}
    for block in reference.split("curl --request POST")[1:]:
        url = block.split("--url ")[1].split()[0]
        examples[url.split(PREFIX)[1]] = json.loads(block.split("--data '")[1].split("'")[0])
    assert examples == EXAMPLES


def test_requests_are_those_of_the_reference(service: Service, client: KlingClient) -> None:
    service.sessions[SESSION] = {}
    client.init_selection(video_url=EXAMPLES["/init-selection"]["video_url"])
    client.add_selection(SESSION, 0, [CLICK])
    client.delete_selection(SESSION, 0, [CLICK])
    client.clear_selection(SESSION)
    client.preview_selection(SESSION)
    client.create_task(SESSION, "removal", REMOVAL, duration="5", external_task_id="mine")
    for endpoint, example in EXAMPLES.items():
        (sent,) = service.bodies(endpoint)
        if endpoint == "/init-selection":  # exactly one of the two may be sent
            assert sent == {"video_url": example["video_url"]}
        elif endpoint == "":
            assert sent == example | {"external_task_id": "mine"}
        else:
            assert sent == example
    for request in service.requests:
        assert request.headers["Authorization"] == f"Bearer {service.api_key}"
        if request.method == "POST":
            assert request.headers["Content-Type"] == "application/json"


def test_bodies_of_the_other_edits(service: Service, client: KlingClient, tmp_path: Path) -> None:
    """As the reference describes the fields of which its example has none."""
    picture = png(300, 300)
    raw = base64.b64encode(picture).decode()
    (tmp_path / "b.png").write_bytes(picture)
    url = "https://example.org/a.jpg"
    client.create_task(
        SESSION,
        "swap",
        "swap a cat from <<<image_1>>> for the dog from <<<video_1>>>",
        images=[url],
        negative_prompt="blur",
        mode="pro",
        duration=10,
        watermark=True,
        callback_url="https://example.org/told",
        external_task_id="a swap",
    )
    client.create_task(
        SESSION,
        "addition",
        prompts.addition(("a hat", "a scarf")),
        images=[tmp_path / "b.png", raw],
        watermark=False,
        external_task_id="an addition",
    )
    swap, addition = service.bodies("")
    assert swap == CREATE | {
        "edit_mode": "swap",
        "image_list": [{"image": url}],
        "prompt": "swap a cat from <<<image_1>>> for the dog from <<<video_1>>>",
        "negative_prompt": "blur",
        "mode": "pro",
        "duration": "10",
        "watermark_info": {"enabled": True},
        "callback_url": "https://example.org/told",
        "external_task_id": "a swap",
    }
    assert addition == CREATE | {
        "edit_mode": "addition",
        "image_list": [{"image": raw}, {"image": raw}],
        "prompt": "Using the context of <<<video_1>>>, seamlessly add a hat from <<<image_1>>> "
        "and a scarf from <<<image_2>>>",
        "watermark_info": {"enabled": False},
        "external_task_id": "an addition",
    }


def test_replies_are_typed_and_keep_what_is_unknown(client: KlingClient) -> None:
    opened = client.init_selection(video_id="123")
    assert (opened.width, opened.height, opened.fps) == (64, 36, 30.0)
    assert (opened.original_duration, opened.total_frame) == (5000, 150)
    assert (opened.request_id, opened.final_unit_deduction) == ("request-1", "0")
    assert opened.raw["new_field"] == {"a": 1}
    selected = client.add_selection(opened.session_id, 3, [CLICK, (0.2, 0.5)])
    expected = mask_at([{"x": CLICK[0], "y": CLICK[1]}, {"x": 0.2, "y": 0.5}])
    assert selected.masks == {0: expected}
    assert selected.union == selected.objects[0].png_mask == expected
    assert (selected.frame_index, selected.bbox) == (3, expected.bbox)
    fewer = client.delete_selection(opened.session_id, 3, [(0.2, 0.5)])
    assert fewer.union == mask_at([{"x": CLICK[0], "y": CLICK[1]}])
    assert client.clear_selection(opened.session_id).request_id == "request-1"
    preview = client.preview_selection(opened.session_id)
    assert preview.video.endswith("/result.mp4?sign=hidden")
    task = client.create_task(opened.session_id, "removal", REMOVAL, external_task_id="mine")
    assert (task.task_status, task.external_task_id, task.ended) == ("submitted", "mine", False)
    assert task.created_at is not None
    assert task.created_at.isoformat() == "2024-08-04T11:05:57.708000+00:00"
    for asked in (client.get_task(task.task_id), client.get_task(external_task_id="mine")):
        assert asked.task_id == task.task_id
    done = client.get_task(task.task_id)
    assert (done.task_status, done.final_unit_deduction) == ("succeed", "3.5")
    assert done.videos[0].duration == "5.0"
    assert pickle.loads(pickle.dumps(done)) == done


def test_pages(service: Service, client: KlingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        service.create({"external_task_id": f"e{i}"})
    assert [task.task_id for task in client.list_tasks(2, 3)] == ["task-4", "task-3", "task-2"]
    assert [task.task_id for task in client.iter_tasks(3)] == [f"task-{i}" for i in range(7, 0, -1)]
    tasks = client.iter_tasks(3)
    latest = next(tasks)
    service.create({"external_task_id": "late"})  # moves the others on to the next page
    rest = [task.task_id for task in tasks]
    assert [latest.task_id, *rest] == [f"task-{i}" for i in range(7, 0, -1)]
    real = service.page

    def capped(request: Request) -> Any:
        request.query["pageSize"] = ["2"]
        return real(request)

    monkeypatch.setattr(service, "page", capped)
    assert len(list(client.iter_tasks(500))) == 8  # pages that are never full
    first = Request("GET", PREFIX, {"pageNum": ["1"], "pageSize": ["3"]}, {}, None)
    monkeypatch.setattr(service, "page", lambda _: real(first))
    assert len(list(client.iter_tasks(3))) == 3  # the same page for ever
    for page, size in ((0, 1), (1001, 1), (1, 0), (1, 501), (True, 1)):
        with pytest.raises(kling.InvalidRequestError, match="goes from 1 to"):
            client.list_tasks(page, size)


def test_threads_share_a_client(
    service: Service, client: KlingClient, caplog: pytest.LogCaptureFixture
) -> None:
    def work(i: int) -> str:
        session = client.init_selection(video_id=f"v{i}").session_id
        client.add_selection(session, i, [CLICK])
        task = client.create_task(session, "removal", REMOVAL, external_task_id=f"e{i}")
        return str(client.get_task(task.task_id).external_task_id)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(48))) == [f"e{i}" for i in range(48)]
    assert len(service.created) == 48
    assert "pool is full" not in caplog.text


def test_ids_do_not_leave_their_path(service: Service, client: KlingClient) -> None:
    with pytest.raises(kling.NotFoundError):
        client.get_task("../../other?x=1#y")
    assert service.requests[0].path == f"{PREFIX}/..%2F..%2Fother%3Fx%3D1%23y"


def test_slips_are_seen_by_type_checkers(client: KlingClient) -> None:
    """mypy complains of an ignored error that there is none of."""
    with pytest.raises(kling.InvalidRequestError):
        client.create_task("s", "remove", REMOVAL)  # type: ignore[arg-type]
    with pytest.raises(kling.InvalidRequestError):
        client.create_task("s", "removal", REMOVAL, mode="bets")  # type: ignore[arg-type]
    with pytest.raises(kling.InvalidRequestError):
        client.create_task("s", "removal", REMOVAL, duration=7)  # type: ignore[arg-type]
    edit = client.edit_video(video_id="v")
    with pytest.raises(TypeError, match="negativ_prompt"):
        edit.submit("removal", REMOVAL, negativ_prompt="blur")  # type: ignore[call-arg]
