"""Many requests at once, and the end while one is at work."""

import random
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from klingmask import Mask, kling
from klingmask.emulator import Emulator, Fault, running
from klingmask.emulator.vision import editing
from klingmask.kling import KlingClient
from tests.clips import make_clip
from tests.emulator.conftest import BAD, CLICK, FRAMES, OK, REMOVAL, SIDE, Api


def test_points_from_many_threads(api: Api) -> None:
    """Exactly ten of a frame's points and ten of the frames are taken, whoever comes first."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.add().code, range(16)))
        assert sorted(answers) == [0] * 10 + [1201] * 6
        answers = list(pool.map(lambda index: api.add(frame_index=index).code, range(1, 16)))
        assert sorted(answers) == [0] * 9 + [1201] * 6
        answers = list(pool.map(lambda _: api.delete().code, range(16)))
        assert sorted(answers) == [0] * 10 + [1201] * 6


def test_everything_at_once(api: Api) -> None:
    """No order of requests to one session is an error of the emulator's."""
    dice = random.Random(2)  # noqa: S311
    calls = [
        lambda: api.add(frame_index=dice.randrange(3)),
        lambda: api.delete(frame_index=dice.randrange(3)),
        api.clear,
        api.create,
        api.get,
        lambda: api.create(external_task_id="the one"),
        lambda: api.get("/the%20one"),
    ]
    with api.emulator.tasks_held(), ThreadPoolExecutor(8) as pool:
        wanted = [dice.choice(calls) for _ in range(150)]
        previews = [pool.submit(api.preview) for _ in range(2)]
        answers = list(pool.map(lambda call: call().code, wanted))
        assert set(answers) <= {0, 1201, 1203}
        assert {preview.result().code for preview in previews} <= {0, 1201}
    assert api.clear().verdict == OK
    assert api.preview().verdict == BAD
    assert api.add().verdict == OK


MARKED = (3, 20, 21, 47)


def mark(api: Api) -> None:
    for index in MARKED:
        point = {"x": (360 + 2 * index) / SIDE, "y": 0.5}
        assert api.add(frame_index=index, points=[point]).verdict == OK


def test_what_was_followed_is_kept(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks again, and the edit itself, get what was found the first time."""
    jobs = []
    follow = editing.follow

    def counted(*args: Any) -> list[Mask]:
        jobs.append(args)
        return follow(*args)

    monkeypatch.setattr(editing, "follow", counted)
    mark(api)
    res = api.preview().data["res"]
    listed = requests.get(res["tracking_output"], timeout=5).json()
    assert [entry["frame_index"] for entry in listed] == list(range(FRAMES))
    for index, entry in enumerate(listed):
        (found,) = entry["rle_mask_list"]
        square = Mask.from_bbox((SIDE, SIDE), (300 + 2 * index, 300, 120, 120))
        assert Mask.from_rle(found["rle_mask"]).iou(square) > 0.9, index
    again = api.preview().data["res"]
    assert again["video"].partition("?")[0] == res["video"].partition("?")[0]
    assert api.create().verdict == OK
    assert finished(api)["task_status"] == "succeed"
    assert len(jobs) == 1
    last = {"x": (360 + 2 * MARKED[-1]) / SIDE, "y": 0.5}
    assert api.delete(frame_index=MARKED[-1], points=[last]).verdict == OK
    other = api.preview().data["res"]
    assert other["video"].partition("?")[0] != res["video"].partition("?")[0]
    assert len(jobs) == 2


def finished(api: Api) -> Any:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        (task,) = api.get().data
        if task["task_status"] in ("succeed", "failed"):
            return task
        time.sleep(0.05)
    raise AssertionError(f"{task} goes on for ever")


def test_one_job_a_session(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, most, lock = [0], [0], threading.Lock()
    follow = editing.follow

    def counted(*args: Any) -> list[Mask]:
        with lock:
            jobs[0] += 1
            most[0] = max(most[0], jobs[0])
        try:
            time.sleep(0.2)
            return follow(*args)
        finally:
            with lock:
                jobs[0] -= 1

    monkeypatch.setattr(editing, "follow", counted)
    api.add()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(api.preview) for _ in range(3)]
        time.sleep(0.1)
        api.add(frame_index=1)
        asked += [pool.submit(api.preview) for _ in range(3)]
        videos = [preview.result().data["res"]["video"].partition("?")[0] for preview in asked]
    assert len(set(videos[:3])) == len(set(videos[3:])) == 1
    assert videos[0] != videos[3]
    assert most == [1]


def test_thousands_of_faulted_creates(
    api: Api, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails on the way, each call has one task, and each task its call."""
    slept = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: slept(seconds / 100))
    dice = random.Random(1)  # noqa: S311
    faults = [
        Fault(reset="before"),
        Fault(reset="after"),
        Fault(500, works=True),
        Fault(504, works=True),
        Fault(503),
        Fault(429, 1303),
        Fault(429, 1302, retry_after="0"),
        Fault(200, 5000, works=True),
        Fault(cut=True),
        Fault(body=b"<html>bad gateway</html>"),
        Fault(body=b'{"code": 0, "data": null}'),
        Fault(400, 1201),
        Fault(429, 1101),
        Fault(403, 1301),
    ]
    n = 2100
    emulator.plan("create-task", *(dice.choice([*faults, Fault(), Fault()]) for _ in range(2 * n)))
    lookups = [Fault(reset="after"), Fault(503), Fault(cut=True), *[Fault()] * 9]
    emulator.plan("get-task", *(dice.choice(lookups) for _ in range(n)))
    api.add()
    buyer = KlingClient(emulator.api_key, base_url=emulator.base_url, settle=0.0)

    def create(number: int) -> str | None:
        name = f"call-{number}"
        try:
            task = buyer.create_task(
                api.session_id, "removal", REMOVAL["prompt"], external_task_id=name
            )
        except (kling.InvalidRequestError, kling.AccountError, kling.PolicyError):
            return None
        except kling.UnknownOutcomeError as error:
            if error.code != 1201:  # a value refused after doubt: it may be the id
                raise
            return None
        assert task.external_task_id == name
        return task.task_id

    with emulator.tasks_held(), buyer, ThreadPoolExecutor(8) as pool:
        returned = [name for name in pool.map(create, range(n)) if name is not None]
        made = emulator.tasks
    assert len(set(returned)) == len(returned)
    assert set(returned) == {task.task_id for task in made}  # none lost, none paid for in vain
    assert len({task.external_task_id for task in made}) == len(made)  # none doubled
    assert n / 2 < len(made) < n


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip that takes longer to follow than anybody waits."""
    folder = tmp_path_factory.mktemp("long")
    noise = np.random.default_rng(0).integers(0, 255, (1080, 1080, 3)).astype(np.uint8)
    make_clip(folder / "long.mp4", (np.roll(noise, 3 * i, 1) for i in range(240)), rate=24)
    return folder


SCRIPT = """
    import sys, threading, time
    from contextlib import ExitStack
    from pathlib import Path
    from klingmask.emulator import running
    from klingmask.emulator.vision import editing
    from klingmask.kling import KlingClient

    at_work = threading.Event()
    track = editing.track

    def told(*args):
        at_work.set()
        return track(*args)

    editing.track = told

    def preview(session):
        try:
            session.preview()
        except BaseException:
            pass

    def main(stack):
        emulator = stack.enter_context(running(Path(sys.argv[1])))
        client = KlingClient(emulator.api_key, base_url=emulator.base_url)
        session = client.edit_video(video_url=emulator.url_of(Path(sys.argv[1], "long.mp4")))
        session.add_selection(0, [(0.5, 0.5)])
        threading.Thread(target=preview, args=(session,), daemon=True).start()
        assert at_work.wait(60)
        time.sleep(0.5)
"""
ENDS = {
    "the block ends": "with ExitStack() as stack:\n    main(stack)",
    "the script ends": "stack = ExitStack()\nmain(stack)",
    "an error": "with ExitStack() as stack:\n    main(stack)\n    raise SystemExit(130)",
    "an interrupt": (
        "import signal\n"
        "with ExitStack() as stack:\n    main(stack)\n    signal.raise_signal(signal.SIGINT)"
    ),
}


@pytest.mark.parametrize(
    ("end", "codes"),
    [
        ("the block ends", {0}),
        ("the script ends", {0}),
        ("an error", {130}),
        ("an interrupt", {130, -2}),  # Python ends itself by the signal, which a shell calls 130
    ],
)
def test_the_end_while_a_preview_is_made(long: Path, end: str, codes: set[int]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT) + ENDS[end], str(long)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"terminate called" not in done.stderr
    assert done.returncode in codes, done.stderr.decode()


def test_nothing_is_left_behind(long: Path) -> None:
    """No thread and no file, although a preview and an edit were under way."""
    before = set(threading.enumerate())
    with running(long) as emulator:
        api = Api(emulator)
        api.init("long.mp4")
        api.add()
        assert api.create(duration="10").verdict == OK
        asked = threading.Thread(target=lambda: gone(api))
        asked.start()
        until = time.monotonic() + 60
        while emulator.tasks[0].task_status == "submitted" and time.monotonic() < until:
            time.sleep(0.01)
        results = emulator.service.results
        assert results.is_dir()
    asked.join(20)
    assert not results.exists()
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert left == []
    assert emulator.tasks[0].task_status == "processing"  # and not done to its end


def gone(api: Api) -> None:
    """Ask for a preview of which the answer is that the emulator is closing, or nothing."""
    with suppress(requests.ConnectionError):
        assert api.preview().verdict == (503, 5001)


def test_nothing_of_the_client_is_needed() -> None:
    """The emulator is another reading of the reference: it must not know the first."""
    code = (
        "import sys\n"
        "for name in ('requests', 'jwt', 'tenacity', 'klingmask.kling'):\n"
        "    sys.modules[name] = None\n"
        "from klingmask.emulator import running\n"
        "with running(): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_what_an_emulator_tells(api: Api, emulator: Emulator, folder: Path) -> None:
    assert emulator.folders == (folder.resolve(),)
    assert (emulator.clock_offset, emulator.rate_limit, emulator.parallel_tasks) == (0, None, None)
    assert list(emulator.tasks) == []
    api.add(points=[CLICK])
    emulator.plan("create-task", Fault(fails="no"))
    with emulator.tasks_held():
        made = api.create(external_task_id="mine", negative_prompt="blur")
        (task,) = emulator.tasks
        assert (task.task_id, task.external_task_id) == (made.data["task_id"], "mine")
        assert task.task_status == "submitted"
        assert task.body == {"session_id": api.session_id, **REMOVAL} | {
            "external_task_id": "mine",
            "negative_prompt": "blur",
        }
    assert finished(api)["task_status"] == "failed"
    assert emulator.tasks[0].task_status == "failed"
