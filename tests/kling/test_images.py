"""Reference images: what a str is, and the limits."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from klingmask import kling
from klingmask.kling import KlingClient, images
from klingmask.kling.images import image_list
from tests.kling.samples import jpeg, png
from tests.kling.server import Service

FITS = png(300, 300)


RAW = base64.b64encode(FITS).decode()


SENT = [{"image": RAW}]


@pytest.mark.parametrize("size", [(300, 300), (300, 750), (750, 300)])
def test_pictures_within_the_limits(size: tuple[int, int]) -> None:
    for content in (png(*size), jpeg(*size)):
        assert image_list([content], "swap") == [{"image": base64.b64encode(content).decode()}]


def test_a_str_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere else; with and without a folder, and whatever else it looks like."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "9j").mkdir()
    for name in ("cut.png", "a b.PNG", "9j/cut.png", "iVBORw0KGgo.png", "http.png", "猫.jpeg"):
        (tmp_path / name).write_bytes(FITS)
        for source in (name, f"./{name}", str(tmp_path / name), Path(name)):
            assert image_list([source], "swap") == SENT
            assert image_list(source, "swap") == SENT  # type: ignore[arg-type]


def test_what_else_a_str_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("https://a.org/x.jpg", "http://a.org/x", "HTTPS://a.org/x.png?sign=1"):
        assert image_list([url], "swap") == [{"image": url}]
    wrapped = base64.encodebytes(FITS).decode()
    for text in (RAW, wrapped, f"{RAW}\n"):
        assert image_list([text], "swap") == SENT
    picture = base64.b64encode(jpeg(300, 300)).decode()
    assert picture.startswith("/9j/")
    assert image_list([picture], "swap") == [{"image": picture}]


def test_a_path_reaches_the_service(
    service: Service, client: KlingClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.png").write_bytes(FITS)
    prompt = "swap <<<image_1>>> for <<<video_1>>>"
    client.create_task("s", "swap", prompt, images=["cut.png"])
    edit = client.edit_video(video_id="v")
    edit.add_selection(0, [(0.5, 0.5)])
    edit.submit("swap", prompt, images=["cut.png"])
    assert [body["image_list"] for body in service.bodies("")] == [SENT, SENT]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_sent_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    shades = np.zeros((320, 480, 3), np.uint8)
    shades[:160, :240] = 255  # the top left quarter
    stream = io.BytesIO()
    Image.fromarray(shades).save(stream, kind, exif=exif)
    (sent,) = image_list([stream.getvalue()], "swap")
    with (
        Image.open(io.BytesIO(base64.b64decode(sent["image"]))) as image,
        Image.open(stream) as given,
    ):
        assert image.format == kind
        assert image.getexif().get(0x0112, 1) == 1
        seen = np.asarray(ImageOps.exif_transpose(given)).astype(int)
        assert np.abs(np.asarray(image) - seen).max() <= (40 if kind == "JPEG" else 0)
    assert (base64.b64decode(sent["image"]) == stream.getvalue()) == (orientation == 1)


def test_a_photo_that_is_too_large_once_it_is_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", quality=50, exif=exif)
    monkeypatch.setattr(images, "MAX_BYTES", len(stream.getvalue()))
    with pytest.raises(kling.InvalidRequestError, match="once it is turned"):
        image_list([stream.getvalue()], "swap")


def test_as_many_as_the_edit_takes() -> None:
    assert (
        image_list(["https://a.org/x.jpg"] * 2, "addition")
        == [{"image": "https://a.org/x.jpg"}] * 2
    )
    assert image_list(iter([FITS]), "swap") == SENT
    assert image_list([], "removal") == []


BAD: list[tuple[Any, Any, str]] = [
    ([], "swap", "takes 1 images"),
    ([FITS] * 2, "swap", "takes 1 images"),
    ([], "addition", "takes 1 to 2"),
    ([FITS] * 3, "addition", "takes 1 to 2"),
    ([FITS], "removal", "takes 0"),
    ([png(299, 300)], "swap", "at least 300"),
    ([png(300, 751)], "swap", r"1:2\.5"),
    ([b"x" * 10_000_001], "swap", "10 MB"),
    ([b"nothing"], "swap", "not an image"),
    ([b"GIF89a" + bytes(20)], "swap", "not an image|JPEG or PNG"),
    ([f"data:image/png;base64,{RAW}"], "swap", "data:"),
    ([RAW[:-1]], "swap", "base64 that is cut off"),
    (["none.png"], "swap", r"none\.png cannot be read: No such file"),
    ([Path("none.png")], "swap", r"none\.png cannot be read: No such file"),
    (["picture"], "swap", "a URL, raw base64 or the path"),
    (["ftp://a.org/x"], "swap", "a URL, raw base64 or the path"),
    (["file.gif"], "swap", r"\.jpg, \.jpeg or \.png"),
    ([Path("file.gif")], "swap", r"\.jpg, \.jpeg or \.png"),
    (["a\0.png"], "swap", "cannot be read"),
    (["\ud800.png"], "swap", "cannot be read"),
    (["https://a.org/\ud800"], "swap", "half of a character"),
    (["x" * 5000 + ".png"], "swap", "cannot be read"),
    (["x" * 5000], "swap", "a URL, raw base64 or the path"),
    ([""], "swap", "a URL, raw base64 or the path"),
    (None, "swap", "must be a list"),
    (5, "swap", "must be a list"),
    ([None], "swap", "got NoneType"),
    ([bytearray(FITS)], "swap", "got bytearray"),
]


@pytest.mark.parametrize(("sources", "mode", "reason"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_what_is_refused(sources: Any, mode: Any, reason: str) -> None:
    with pytest.raises(kling.InvalidRequestError, match=reason) as caught:
        image_list(sources, mode)
    assert len(str(caught.value)) < 6000
