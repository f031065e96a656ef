"""Each documented limit, on both sides of it."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klingmask.emulator import running
from tests.clips import make_clip
from tests.emulator.conftest import FRAMES
from tests.emulator.http_client import ADDITION, BAD, CLICK, MISSING, OK, Api, encoded, image


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Api]:
    """For rows that leave no trace in each other: a session with one click; tasks are held."""
    with running(folder) as emulator, emulator.tasks_held():
        api = Api(emulator)
        assert api.init().verdict == OK
        assert api.add().verdict == OK
        yield api


def shown(value: object) -> str:
    """A row's name."""
    return repr(value)[:30]


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


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("a b#1.mp4", OK),
        ("a.MP4", OK),
        ("a.mov", OK),
        ("a.avi", BAD),
        ("text.mp4", BAD),
        ("half.mp4", BAD),
        ("picture.mp4", BAD),
    ],
)
def test_kinds_of_files(tmp_path: Path, folder: Path, name: str, verdict: tuple[int, int]) -> None:
    content = (folder / "square.mp4").read_bytes()
    if name == "a.mov":
        make_clip(tmp_path / name, [np.full((720, 720, 3), 90, np.uint8)] * 48, rate=24)
    else:
        contents = {
            "text.mp4": b"no video",
            "half.mp4": content[: len(content) // 2],
            "picture.mp4": image(),
        }
        (tmp_path / name).write_bytes(contents.get(name, content))
    with running(tmp_path) as emulator:
        assert Api(emulator).init(name).verdict == verdict


@pytest.mark.parametrize(
    ("video_id", "with_url", "verdict"),
    [
        ("", True, OK),
        (None, True, OK),
        ("video-1", True, BAD),
        ("", False, BAD),
        (None, False, BAD),
        ("video-1", False, MISSING),
    ],
)
def test_exactly_one_source(
    shared: Api, video_id: str | None, with_url: bool, verdict: tuple[int, int]
) -> None:
    url = shared.emulator.url_of("square.mp4") if with_url else video_id and ""
    body = {"video_id": video_id, "video_url": url}
    assert shared.post("/init-selection", body).verdict == verdict


def test_points_of_a_frame(api: Api) -> None:
    corners = [{"x": x, "y": y} for x in (0, 1, 0.5) for y in (0.0, 1.0, 0.5)]
    assert api.add(points=corners).verdict == OK
    assert api.add(points=[CLICK]).verdict == OK
    eleventh = api.add(points=[CLICK])
    assert eleventh.verdict == BAD
    assert "at most 10 points" in eleventh.message
    assert api.add(frame_index=1, points=[CLICK] * 10).verdict == OK


WRONG_POINTS: list[Any] = [
    *([CLICK, {"x": -0.001, "y": 0.5}], [CLICK, {"x": 0.5, "y": 1.001}]),
    *([CLICK, {"x": 10**400, "y": 0.5}], [CLICK, {"x": True, "y": 0.5}]),
    *([CLICK, {"x": "0.5", "y": 0.5}], [CLICK, {"x": None, "y": 0.5}]),
    *([CLICK, {"x": 0.5}], [CLICK, {}], [CLICK, [0.5, 0.5]], [CLICK, 0.5], [CLICK, None]),
    *([CLICK] * 11, [], None, 5, "x", CLICK),
]


@pytest.mark.parametrize("points", WRONG_POINTS, ids=shown)
def test_wrong_points(shared: Api, points: Any) -> None:
    assert shared.add(frame_index=2, points=points).verdict == BAD
    assert shared.delete(frame_index=2).verdict == BAD  # nothing of that was taken


def test_infinite_points_are_not_even_json(shared: Api) -> None:
    assert shared.add(points=[{"x": 1e400, "y": 0.5}]).verdict == (400, 1200)


def test_marked_frames(api: Api) -> None:
    for index in range(10):
        assert api.add(frame_index=index).verdict == OK
    answer = api.add(frame_index=10)
    assert answer.verdict == BAD
    assert "at most 10 frames" in answer.message
    assert api.add(frame_index=9).verdict == OK  # which is one of the ten
    assert api.delete(frame_index=0).verdict == OK
    assert api.add(frame_index=10).verdict == OK


@pytest.mark.parametrize("index", [1, FRAMES - 1])
def test_frame_indices(shared: Api, index: int) -> None:
    assert shared.add(frame_index=index).verdict == OK
    assert shared.delete(frame_index=index).verdict == OK


@pytest.mark.parametrize(
    "index", [-1, FRAMES, 10**30, 0.5, 1.0, "0", None, True, [0], {}], ids=shown
)
def test_wrong_frame_indices(shared: Api, index: Any) -> None:
    assert shared.add(frame_index=index).verdict == BAD
    assert shared.delete(frame_index=index).verdict == BAD


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


REFERENCE = " <<<video_1>>>"
FIELDS: dict[str, tuple[list[Any], list[Any]]] = {
    "prompt": (
        ["x" * (2500 - len(REFERENCE)) + REFERENCE, "删" * (2500 - len(REFERENCE)) + REFERENCE],
        [
            "x" * (2501 - len(REFERENCE)) + REFERENCE,
            "Delete it",
            "Delete it from <<<video_2>>>",
            "Delete <<<image_1>>> from <<<video_1>>>",
            *("", None, 7, ["<<<video_1>>>"]),
        ],
    ),
    "negative_prompt": (["", None, "x" * 2500], ["x" * 2501, 7]),
    "edit_mode": (["removal"], ["erase", "REMOVAL", "", None, 1, ["removal"], {}]),
    "mode": (["std", "pro", "", None], ["best", 1, True, [], {}]),
    "duration": (["5", "", None], ["10", "7", 5, 5.0, [], {}]),
    "watermark_info": (
        [{"enabled": True}, {"enabled": False}, None],
        ["x", {}, [], True, 1, {"enabled": "yes"}, {"enabled": None}, {"enabled": 1}],
    ),
    "callback_url": (
        ["http://127.0.0.1:9/x", "", None],
        [
            *("https://example.org/", "x", 5, {}, "http://["),
            *("http://example.org\\@127.0.0.1/", "http://127.0.0.1:x/"),
        ],
    ),
    "external_task_id": (["mine", "", None], [5, [], {}, True]),
    "image_list": ([[], None], ["x", {}, 5, [5], ["x"], [{"image": "x"}]]),
    "model_name": (["kling-v1-6", "", None], [5, []]),
    "session_id": ([], ["", None, 5, [], {}]),
}
ROWS = [
    (field, value, verdict)
    for field, sides in FIELDS.items()
    for values, verdict in zip(sides, (OK, BAD), strict=True)
    for value in values
]


@pytest.mark.parametrize(("field", "value", "verdict"), ROWS, ids=shown)
def test_a_field_of_a_task(shared: Api, field: str, value: Any, verdict: tuple[int, int]) -> None:
    before = len(shared.emulator.tasks)
    assert shared.create(**{field: value}).verdict == verdict
    assert len(shared.emulator.tasks) - before == (verdict == OK)


@pytest.mark.parametrize("field", ["model_name", "session_id"])
def test_what_a_task_names_must_exist(shared: Api, field: str) -> None:
    assert shared.create(**{field: "none"}).verdict == MISSING


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
    assert api.create(**ADDITION, image_list=one).verdict == OK
    api.add()
    assert api.create(**swap, image_list=one).verdict == OK


@pytest.mark.parametrize("count", range(4))
@pytest.mark.parametrize(("mode", "fine"), [("addition", {1, 2}), ("swap", {1}), ("removal", {0})])
def test_numbers_of_images(shared: Api, mode: str, fine: set[int], count: int) -> None:
    images = [{"image": encoded(image())}] * count
    references = " ".join(f"<<<image_{number + 1}>>>" for number in range(count))
    answer = shared.create(edit_mode=mode, prompt=f"<<<video_1>>> {references}", image_list=images)
    assert answer.verdict == (OK if count in fine else BAD)


@pytest.mark.parametrize(
    ("prompt", "verdict"),
    [
        ("<<<video_1>>> <<<image_1>>> <<<image_2>>>", OK),
        ("<<<video_1>>> <<<image_1>>>", BAD),
        ("<<<image_1>>> <<<image_2>>>", BAD),
        ("<<<video_1>>> <<<image_1>>> <<<image_2>>> <<<image_3>>>", BAD),
    ],
)
def test_references_to_images(shared: Api, prompt: str, verdict: tuple[int, int]) -> None:
    images = [{"image": encoded(image())}] * 2
    answer = shared.create(edit_mode="addition", prompt=prompt, image_list=images)
    assert answer.verdict == verdict


def padded(size: int) -> bytes:
    """A JPEG of that many bytes: what follows its end is not looked at."""
    content = image(kind="JPEG")
    return content + bytes(size - len(content))


IMAGES = {
    "the smallest": (image(300, 300), OK),
    "a JPEG": (image(300, 300, "JPEG"), OK),
    "too narrow": (image(299, 300), BAD),
    "too low": (image(300, 299), BAD),
    "tiny": (image(10, 10), BAD),
    "as wide as can be": (image(750, 300), OK),
    "as high as can be": (image(300, 750), OK),
    "too wide": (image(751, 300), BAD),
    "too high": (image(300, 751), BAD),
    "a GIF": (image(300, 300, "GIF"), BAD),
    "a BMP": (image(300, 300, "BMP"), BAD),
    "a WebP": (image(300, 300, "WEBP"), BAD),
    "as large as can be": (padded(10_000_000), OK),
    "too large": (padded(10_000_001), BAD),
    "no image": (b"no image", BAD),
    "cut": (image()[:100], BAD),
    "empty": (b"", BAD),
}


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


@pytest.mark.parametrize("name", IMAGES)
def test_images(shared: Api, shelf: tuple[Path, str], name: str) -> None:
    """The same limits, whether the image comes in the request or by a URL."""
    content, verdict = IMAGES[name]
    folder, base = shelf
    (folder / "image").write_bytes(content)
    for source in (encoded(content), f"{base}/image"):
        answer = shared.create(**ADDITION, image_list=[{"image": source}])
        assert answer.verdict == verdict, answer.message


SOURCES: dict[str, Any] = {
    "a data URL": f"data:image/png;base64,{encoded(image())}",
    "another character": encoded(image())[:-1] + "!",
    "another host": "https://example.org/cat.png",
    "another protocol": "ftp://127.0.0.1/cat.png",
    "a file": "file:///etc/passwd",
    "nothing there": "{shelf}/none.png",
    "a redirect": "{shelf}/redirect",
    "nobody there": "http://127.0.0.1:1/cat.png",
    "two hosts": "http://example.org\\@127.0.0.1/cat.png",
    "half a URL": "http://[",
    "empty": "",
    "null": None,
    "a number": 5,
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_that_are_not_opened(shared: Api, shelf: tuple[Path, str], name: str) -> None:
    folder, base = shelf
    (folder / "0").write_bytes(image())  # where the redirect leads
    source = SOURCES[name]
    if isinstance(source, str):
        source = source.replace("{shelf}", base)
    assert shared.create(**ADDITION, image_list=[{"image": source}]).verdict == BAD


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        ("pageNum=1000&pageSize=500", OK),
        ("other=1", OK),
        ("pageNum=1001", BAD),
        ("pageNum=0", BAD),
        ("pageNum=-1", BAD),
        ("pageSize=501", BAD),
        ("pageSize=0", BAD),
        ("pageNum=one", BAD),
        ("pageNum=1.0", BAD),
        ("pageNum=", BAD),
        ("pageNum=%D9%A1", BAD),
        ("pageNum=" + "9" * 5000, BAD),
    ],
    ids=shown,
)
def test_the_parameters_of_a_page(shared: Api, query: str, verdict: tuple[int, int]) -> None:
    assert shared.get(f"?{query}").verdict == verdict
