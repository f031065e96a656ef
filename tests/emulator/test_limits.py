"""Each documented limit, on both sides of it."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klingmask.emulator import Emulator, running
from tests.clips import make_clip
from tests.emulator.conftest import BAD, CLICK, FRAMES, MISSING, OK, Api, encoded, image


def clip(
    path: Path, frames: int = 48, rate: int | Fraction = 24, size: tuple[int, int] = (720, 720)
) -> str:
    make_clip(path, [np.full((*size, 3), 90, np.uint8)] * frames, rate=rate)
    return path.name


@pytest.mark.parametrize(
    ("options", "verdict", "reason"),
    [
        ({"frames": 48}, OK, ""),  # 2 s
        ({"frames": 47}, BAD, "2 to 5 s or 7 to 10 s"),
        ({"frames": 120}, OK, ""),  # 5 s
        ({"frames": 124}, BAD, "5.16667 s long"),
        ({"frames": 166}, BAD, "6.91667 s long"),
        ({"frames": 168}, OK, ""),  # 7 s
        ({"frames": 240}, OK, ""),  # 10 s
        ({"frames": 244}, BAD, "10.1667 s long"),
        ({"rate": 30, "frames": 60}, OK, ""),
        ({"rate": 60, "frames": 120}, OK, ""),
        ({"rate": Fraction(30000, 1001), "frames": 60}, OK, ""),
        ({"rate": 25, "frames": 50}, BAD, "24, 30 or 60"),
        ({"rate": 23, "frames": 48}, BAD, "24, 30 or 60"),
        ({"rate": 50, "frames": 100}, BAD, "24, 30 or 60"),
        ({"size": (2160, 720)}, OK, ""),
        ({"size": (720, 2160)}, OK, ""),
        ({"size": (720, 718)}, BAD, "718 x 720"),
        ({"size": (718, 720)}, BAD, "720 x 718"),
        ({"size": (2162, 720)}, BAD, "720 to 2160"),
        ({"size": (720, 2162)}, BAD, "720 to 2160"),
    ],
)
def test_videos(
    tmp_path: Path, options: dict[str, Any], verdict: tuple[int, int], reason: str
) -> None:
    name = clip(tmp_path / "clip.mp4", **options)
    with running(tmp_path) as emulator:
        answer = Api(emulator).init(name)
    assert answer.verdict == verdict
    assert reason in answer.message
    if verdict == OK:
        wanted: dict[str, Any] = {"size": (720, 720), "rate": 24, "frames": 48} | options
        assert answer.data["total_frame"] == wanted["frames"]
        assert answer.data["fps"] == pytest.approx(float(wanted["rate"]))
        assert (answer.data["height"], answer.data["width"]) == wanted["size"]
        length = float(wanted["frames"] / wanted["rate"])
        assert answer.data["original_duration"] == pytest.approx(1000 * length, abs=1)
        assert answer.data["status"] == 0


def test_kinds_of_files(tmp_path: Path, folder: Path) -> None:
    content = (folder / "square.mp4").read_bytes()
    (tmp_path / "a b#1.mp4").write_bytes(content)
    (tmp_path / "a.MP4").write_bytes(content)
    (tmp_path / "a.avi").write_bytes(content)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "picture.mp4").write_bytes(image())
    make_clip(tmp_path / "a.mov", [np.full((720, 720, 3), 90, np.uint8)] * 48, rate=24)
    with running(tmp_path) as emulator:
        api = Api(emulator)
        for name in ("a b#1.mp4", "a.MP4", "a.mov"):
            assert api.init(name).verdict == OK, name
        for name in ("a.avi", "text.mp4", "half.mp4", "picture.mp4"):
            assert api.init(name).verdict == BAD, name


def test_exactly_one_source(api: Api, emulator: Emulator) -> None:
    url = emulator.url_of(emulator.folders[0] / "square.mp4")
    assert api.post("/init-selection", {"video_url": url, "video_id": ""}).verdict == OK
    assert api.post("/init-selection", {"video_url": url, "video_id": None}).verdict == OK
    assert api.post("/init-selection", {"video_url": url, "video_id": "video-1"}).verdict == BAD
    assert api.post("/init-selection", {"video_url": "", "video_id": ""}).verdict == BAD
    assert api.post("/init-selection", {}).verdict == BAD
    assert api.post("/init-selection", {"video_id": "video-1"}).verdict == MISSING


def test_points_of_a_frame(api: Api) -> None:
    corners = [{"x": x, "y": y} for x in (0, 1, 0.5) for y in (0.0, 1.0, 0.5)]
    assert api.add(points=corners).verdict == OK
    assert api.add(points=[CLICK]).verdict == OK
    eleventh = api.add(points=[CLICK])
    assert eleventh.verdict == BAD
    assert "at most 10 points" in eleventh.message
    assert api.add(frame_index=1, points=[CLICK] * 10).verdict == OK
    assert api.add(frame_index=2, points=[CLICK] * 11).verdict == BAD
    assert api.add(frame_index=2, points=[]).verdict == BAD
    for point in (
        {"x": -0.001, "y": 0.5},
        {"x": 0.5, "y": 1.001},
        {"x": 1e400, "y": 0.5},
        {"x": 10**400, "y": 0.5},
        {"x": True, "y": 0.5},
        {"x": "0.5", "y": 0.5},
        {"x": None, "y": 0.5},
        {"x": 0.5},
        {},
        [0.5, 0.5],
        0.5,
        None,
    ):
        verdict = api.add(frame_index=2, points=[CLICK, point]).verdict
        assert verdict in (BAD, (400, 1200)), point  # 1200: JSON knows no infinity
    for points in (None, 5, "x", {"x": 0.5, "y": 0.5}):
        assert api.add(frame_index=2, points=points).verdict == BAD, points
    assert api.delete(frame_index=2).verdict == BAD  # nothing of that was taken


def test_marked_frames(api: Api) -> None:
    for index in range(10):
        assert api.add(frame_index=index).verdict == OK
    answer = api.add(frame_index=10)
    assert answer.verdict == BAD
    assert "at most 10 frames" in answer.message
    assert api.add(frame_index=9).verdict == OK  # which is one of the ten
    assert api.delete(frame_index=0).verdict == OK
    assert api.add(frame_index=10).verdict == OK


def test_frame_numbers(api: Api) -> None:
    assert api.add(frame_index=0).verdict == OK
    assert api.add(frame_index=FRAMES - 1).verdict == OK
    strange: list[Any] = [-1, FRAMES, 10**30, 0.5, 1.0, "0", None, True, [0], {}]
    for index in strange:
        assert api.add(frame_index=index).verdict == BAD, index
        assert api.delete(frame_index=index).verdict == BAD, index


def test_deleted_points_must_match(api: Api) -> None:
    assert api.delete().verdict == BAD
    other = {"x": 0.45, "y": 0.5}
    assert api.add(points=[CLICK, other, CLICK]).verdict == OK
    assert api.delete(points=[{"x": 0.5000001, "y": 0.5}]).verdict == BAD
    assert api.delete(points=[CLICK] * 3).verdict == BAD
    left = api.delete(points=[CLICK, CLICK])
    assert left.verdict == OK
    assert left.data["res"]["rle_mask_list"]
    assert api.delete(points=[CLICK]).verdict == BAD
    last = api.delete(points=[other])
    assert last.data["res"] == {"frame_index": 0, "rle_mask_list": []}
    assert api.preview().verdict == BAD  # nothing is selected


def test_prompts(api: Api) -> None:
    api.add()
    reference = " <<<video_1>>>"
    for prompt, verdict in [
        ("x" * (2500 - len(reference)) + reference, OK),
        ("x" * (2501 - len(reference)) + reference, BAD),
        ("删" * (2500 - len(reference)) + reference, OK),  # characters, not bytes
        ("Delete it", BAD),
        ("Delete it from <<<video_2>>>", BAD),
        ("Delete <<<image_1>>> from <<<video_1>>>", BAD),
        ("", BAD),
        (None, BAD),
        (7, BAD),
        (["<<<video_1>>>"], BAD),
    ]:
        assert api.create(prompt=prompt).verdict == verdict, prompt
    for negative, verdict in [("", OK), (None, OK), ("x" * 2500, OK), ("x" * 2501, BAD), (7, BAD)]:
        assert api.create(negative_prompt=negative).verdict == verdict, negative


def test_choices(api: Api) -> None:
    api.add()
    made = 0
    table: list[tuple[str, list[Any], list[Any]]] = [
        ("edit_mode", ["removal"], ["erase", "REMOVAL", "", None, 1, ["removal"], {}]),
        ("mode", ["std", "pro", "", None], ["best", 1, True, [], {}]),
        ("duration", ["5", "", None], ["10", "7", 5, 5.0, [], {}]),
        ("watermark_info", [{"enabled": True}, {"enabled": False}, None], ["x", {}, [], True, 1]),
        ("watermark_info", [], [{"enabled": "yes"}, {"enabled": None}, {"enabled": 1}]),
        ("callback_url", ["http://127.0.0.1:9/x", "", None], ["https://example.org/", "x", 5, {}]),
        (
            "callback_url",
            [],
            ["http://example.org\\@127.0.0.1/", "http://127.0.0.1:x/", "http://["],
        ),
        ("external_task_id", ["mine", "", None], [5, [], {}, True]),
        ("image_list", [[], None], ["x", {}, 5, [5], ["x"], [{"image": "x"}]]),
        ("model_name", ["kling-v1-6", "", None], [5, []]),
        ("session_id", [], ["", None, 5, [], {}]),
    ]
    for field, good, bad in table:
        for value in good:
            assert api.create(**{field: value}).verdict == OK, (field, value)
            made += 1
        for value in bad:
            assert api.create(**{field: value}).verdict == BAD, (field, value)
    assert api.create(model_name="kling-v9").verdict == MISSING
    assert api.create(session_id="none").verdict == MISSING
    assert len(api.emulator.tasks) == made


def test_durations_fit_the_video(tmp_path: Path) -> None:
    clip(tmp_path / "long.mp4", frames=168)
    with running(tmp_path) as emulator, emulator.tasks_held():
        api = Api(emulator)
        assert api.init("long.mp4").verdict == OK
        api.add()
        assert api.create(duration="10").verdict == OK
        refused = api.create(duration="5")
        assert refused.verdict == BAD
        assert "2 to 5 s" in refused.message
        assert api.create().verdict == BAD  # "5" is the default


def test_a_selection_is_needed(api: Api) -> None:
    assert api.create().verdict == BAD
    swap = {"edit_mode": "swap", "prompt": "swap it from <<<image_1>>> for it from <<<video_1>>>"}
    one = [{"image": encoded(image())}]
    assert api.create(**swap, image_list=one).verdict == BAD
    addition = {"edit_mode": "addition", "prompt": "<<<video_1>>>, add <<<image_1>>>"}
    assert api.create(**addition, image_list=one).verdict == OK
    api.add()
    assert api.create(**swap, image_list=one).verdict == OK


@pytest.mark.parametrize(
    ("mode", "counts"), [("addition", {1, 2}), ("swap", {1}), ("removal", {0})]
)
def test_numbers_of_images(api: Api, mode: str, counts: set[int]) -> None:
    api.add()
    for count in range(4):
        images = [{"image": encoded(image())}] * count
        references = " ".join(f"<<<image_{number + 1}>>>" for number in range(count))
        answer = api.create(edit_mode=mode, prompt=f"<<<video_1>>> {references}", image_list=images)
        assert answer.verdict == (OK if count in counts else BAD), count


def test_references_to_images(api: Api) -> None:
    images = [{"image": encoded(image())}] * 2
    for prompt, verdict in [
        ("<<<video_1>>> <<<image_1>>> <<<image_2>>>", OK),
        ("<<<video_1>>> <<<image_1>>>", BAD),
        ("<<<image_1>>> <<<image_2>>>", BAD),
        ("<<<video_1>>> <<<image_1>>> <<<image_2>>> <<<image_3>>>", BAD),
    ]:
        answer = api.create(edit_mode="addition", prompt=prompt, image_list=images)
        assert answer.verdict == verdict, prompt


def padded(size: int) -> bytes:
    """A JPEG of that many bytes: what follows its end is not looked at."""
    content = image(kind="JPEG")
    return content + bytes(size - len(content))


IMAGES = [
    (image(300, 300), OK),
    (image(300, 300, "JPEG"), OK),
    (image(299, 300), BAD),
    (image(300, 299), BAD),
    (image(10, 10), BAD),
    (image(750, 300), OK),
    (image(300, 750), OK),
    (image(751, 300), BAD),
    (image(300, 751), BAD),
    (image(300, 300, "GIF"), BAD),
    (image(300, 300, "BMP"), BAD),
    (image(300, 300, "WEBP"), BAD),
    (padded(10_000_000), OK),
    (padded(10_000_001), BAD),
    (b"no image", BAD),
    (image()[:100], BAD),
    (b"", BAD),
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that another server on this machine gives out."""
    folder = tmp_path_factory.mktemp("shelf")

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            if "redirect" in self.path:
                self.send_response(302)
                self.send_header("Location", "/0")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_images(api: Api, shelf: tuple[Path, str], number: int) -> None:
    """The same limits, whether the image comes in the request or by a URL."""
    content, verdict = IMAGES[number]
    folder, base = shelf
    (folder / str(number)).write_bytes(content)
    for source in (encoded(content), f"{base}/{number}"):
        answer = api.create(
            edit_mode="addition",
            prompt="<<<video_1>>> <<<image_1>>>",
            image_list=[{"image": source}],
        )
        assert answer.verdict == verdict, answer.message


def test_sources_of_images(api: Api, shelf: tuple[Path, str]) -> None:
    (shelf[0] / "0").write_bytes(image())
    for source in (
        f"data:image/png;base64,{encoded(image())}",
        encoded(image())[:-1] + "!",
        "https://example.org/cat.png",
        "ftp://127.0.0.1/cat.png",
        "file:///etc/passwd",
        f"{shelf[1]}/none.png",
        f"{shelf[1]}/redirect",
        "http://127.0.0.1:1/cat.png",
        "http://example.org\\@127.0.0.1/cat.png",
        "http://[",
        "",
        None,
        5,
    ):
        answer = api.create(
            edit_mode="addition",
            prompt="<<<video_1>>> <<<image_1>>>",
            image_list=[{"image": source}],
        )
        assert answer.verdict == BAD, source


def test_names_of_tasks_are_unique(api: Api) -> None:
    api.add()
    assert api.create(external_task_id="one").verdict == OK
    again = api.create(external_task_id="one")
    assert again.verdict == BAD
    assert "unique" in again.message
    assert api.create(external_task_id="two").verdict == OK
    assert len(api.emulator.tasks) == 2


def test_pages(api: Api) -> None:
    api.add()
    with api.emulator.tasks_held():
        for number in range(5):
            assert api.create(external_task_id=f"task-{number}").verdict == OK
        assert len(api.get().data) == 5
        pages = [api.get(f"?pageNum={page}&pageSize=2") for page in (1, 2, 3, 4)]
        names = [[task["task_info"]["external_task_id"] for task in page.data] for page in pages]
        assert names == [["task-4", "task-3"], ["task-2", "task-1"], ["task-0"], []]
    for query, verdict in [
        ("?pageNum=1000&pageSize=500", OK),
        ("?pageNum=1001", BAD),
        ("?pageNum=0", BAD),
        ("?pageNum=-1", BAD),
        ("?pageSize=501", BAD),
        ("?pageSize=0", BAD),
        ("?pageNum=one", BAD),
        ("?pageNum=1.0", BAD),
        ("?pageNum=", BAD),
        ("?pageNum=%D9%A1", BAD),
        ("?pageNum=" + "9" * 5000, BAD),
        ("?other=1", OK),
    ]:
        assert api.get(query).verdict == verdict, query
