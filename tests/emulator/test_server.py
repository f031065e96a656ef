"""An emulator from outside, and its end while it is at work."""

import re
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import requests

from klingmask.emulator import Emulator, Fault, running
from tests.clips import make_clip
from tests.emulator.http_client import CLICK, OK, REMOVAL, Api, ended, eventually


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
def test_ending_during_a_preview(long: Path, end: str, codes: set[int]) -> None:
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
        asked = threading.Thread(target=lambda: preview_while_closing(api))
        asked.start()
        eventually(lambda: emulator.tasks[0].task_status != "submitted")
        results = emulator.service.results
        assert results.is_dir()
    asked.join(20)
    assert not results.exists()
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert left == []
    assert emulator.tasks[0].task_status == "processing"  # and not done to its end


def preview_while_closing(api: Api) -> None:
    """Ask for a preview of which the answer is that the emulator is closing, or nothing."""
    with suppress(requests.ConnectionError):
        assert api.preview().verdict == (503, 5001)


def test_the_client_is_not_imported() -> None:
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


def test_the_properties_of_an_emulator(api: Api, emulator: Emulator, folder: Path) -> None:
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
    assert ended(api, "mine")["task_status"] == "failed"
    assert emulator.tasks[0].task_status == "failed"


def test_urls_of_files(emulator: Emulator, folder: Path) -> None:
    url = emulator.url_of(folder / "square.mp4")
    assert requests.get(url, timeout=5).content == (folder / "square.mp4").read_bytes()
    assert emulator.url_of("square.mp4") == url
    with pytest.raises(ValueError, match="none of the emulator's folders"):
        emulator.url_of(folder.parent / "outside.mp4")
    with pytest.raises(FileNotFoundError, match=re.escape(f"none.mp4, here or in {folder}")):
        emulator.url_of("none.mp4")
