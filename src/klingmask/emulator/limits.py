"""The documented limits of a request, as the service holds them.

Read off the reference alone and not shared with the client, so that a limit which
one of the two has wrong is seen. Values are what JSON made of a stranger's body: of
any type.

Source: the Multi-Elements page of Kling's API reference.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from PIL import Image, UnidentifiedImageError

from klingmask.emulator import loopback
from klingmask.emulator.faults import Refusal, bad_value

__all__ = [
    "MARKED_FRAMES",
    "POINTS",
    "callback_url",
    "choice",
    "duration",
    "frame_index",
    "images",
    "model",
    "page",
    "points",
    "prompts",
    "text",
    "video",
    "video_source",
    "watermark",
]

Body = Mapping[str, Any]

MARKED_FRAMES = 10
POINTS = 10
CHARACTERS = 2500
SIDES = 720, 2160
FRAME_RATES = 24, 30, 60
LENGTHS = {"5": (2.0, 5.0), "10": (7.0, 10.0)}
"""The duration of a result, and between how many seconds its source may be long."""
FRAME_ROUNDING = 0.1
"""Seconds that a file may be longer: its length is a whole number of frames."""
RATE_ROUNDING = 0.1
"""Frames a second that a file may be off: 29.97 is what most call 30."""
IMAGES = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}
IMAGE_BYTES = 10_000_000
IMAGE_SIDE = 300
IMAGE_RATIO = 2.5
PAGES = {"pageNum": (1, 1000), "pageSize": (30, 500)}
"""Default and largest value; the smallest is 1."""


def _shown(value: object) -> str:
    described = repr(value)
    return described if len(described) <= 60 else f"{described[:60]}..."


def text(body: Body, name: str, default: str | None = "") -> str:
    """A text; without a default it must be there and not be empty."""
    value = body.get(name)
    if value is None or value == "":
        if default is None:
            raise bad_value(f"{name} is required")
        return default
    if not isinstance(value, str):
        raise bad_value(f"{name} must be a text, got {_shown(value)}")
    return value


def choice(body: Body, name: str, allowed: Sequence[str], default: str | None = None) -> str:
    """One of the allowed values."""
    value = text(body, name, default)
    if value not in allowed:
        raise bad_value(f"{name} must be one of {', '.join(allowed)}, got {_shown(value)}")
    return value


def video_source(body: Body) -> tuple[str, str]:
    """The id and the URL of a video, of which one is empty."""
    name, url = text(body, "video_id"), text(body, "video_url")
    if (name == "") == (url == ""):
        raise bad_value("exactly one of video_id and video_url must have a value")
    if url and not url.partition("?")[0].lower().endswith((".mp4", ".mov")):
        raise bad_value("video_url: only .mp4 and .mov are supported")
    return name, url


def video(width: int, height: int, rate: float, seconds: float) -> None:
    """A video that may be edited."""
    if not all(SIDES[0] <= side <= SIDES[1] for side in (width, height)):
        raise bad_value(
            f"the video has {width} x {height} pixels; each side must have {SIDES[0]} to {SIDES[1]}"
        )
    if not any(abs(rate - known) < RATE_ROUNDING for known in FRAME_RATES):
        raise bad_value(f"the video has {rate:g} frames a second; only 24, 30 or 60 are supported")
    if not any(_fits(seconds, length) for length in LENGTHS):
        raise bad_value(f"the video is {seconds:g} s long; it must be 2 to 5 s or 7 to 10 s")


def _fits(seconds: float, length: str) -> bool:
    least, most = LENGTHS[length]
    return least <= seconds <= most + FRAME_ROUNDING


def duration(body: Body, seconds: float) -> str:
    """The length of a result, which must fit the source's."""
    wanted = choice(body, "duration", tuple(LENGTHS), "5")
    if not _fits(seconds, wanted):
        least, most = LENGTHS[wanted]
        raise bad_value(
            f"duration {wanted} needs a video of {least:g} to {most:g} s; "
            f"this one is {seconds:g} s long"
        )
    return wanted


def frame_index(body: Body, total: int) -> int:
    """The number of one of the video's frames."""
    value = body.get("frame_index")
    if type(value) is not int or not 0 <= value < total:
        raise bad_value(f"frame_index must be an integer from 0 to {total - 1}")
    return value


def points(body: Body) -> list[tuple[float, float]]:
    """1 to 10 points."""
    listed = body.get("points")
    if not isinstance(listed, list) or not 1 <= len(listed) <= POINTS:
        raise bad_value(f"points must be a list of 1 to {POINTS} points")
    return [(_share(point, "x"), _share(point, "y")) for point in listed]


def _share(point: object, axis: str) -> float:
    value = point.get(axis) if isinstance(point, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise bad_value(f"a point's {axis} must be a number from 0 to 1, got {_shown(value)}")
    return float(value)


def model(body: Body) -> str:
    """The name of a model; one that there is not is a missing resource."""
    name = text(body, "model_name", "kling-v1-6")
    if name != "kling-v1-6":
        raise Refusal(1203, f"there is no model {_shown(name)}")
    return name


def prompts(body: Body, n_images: int) -> tuple[str, str]:
    """Prompt and negative prompt; the first refers to the video and to each image."""
    prompt, negative = text(body, "prompt", None), text(body, "negative_prompt")
    for name, value in (("prompt", prompt), ("negative_prompt", negative)):
        if len(value) > CHARACTERS:
            raise bad_value(f"{name} has {len(value)} characters; the limit is {CHARACTERS}")
    there = {"video_1", *(f"image_{number + 1}" for number in range(n_images))}
    named = set(re.findall(r"<<<(.*?)>>>", prompt))
    for missing in sorted(there - named):
        raise bad_value(f"prompt must refer to <<<{missing}>>>")
    for stranger in sorted(named - there):
        raise bad_value(f"prompt refers to <<<{stranger[:40]}>>>, which there is not")
    return prompt, negative


def images(body: Body, mode: str) -> list[bytes]:
    """The images' files: as many as the mode takes, each within its limits."""
    listed = body.get("image_list")
    listed = [] if listed is None else listed
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise bad_value('image_list must be a list of {"image": ...}')
    least, most = IMAGES[mode]
    if not least <= len(listed) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise bad_value(f"{mode} takes {wanted} images, got {len(listed)}")
    return [_image(entry, f"image {place + 1}") for place, entry in enumerate(listed)]


def _image(entry: Body, name: str) -> bytes:
    source = text(entry, "image", None)
    if source.startswith("data:"):
        raise bad_value(f"{name}: raw base64 must not have a prefix")
    if "://" in source[:10]:
        try:
            content = loopback.fetch(source, IMAGE_BYTES + 1)
        except loopback.FAILURES as error:
            raise bad_value(f"{name} cannot be fetched: {error}") from None
    else:
        try:
            content = base64.b64decode(source, validate=True)
        except ValueError:
            raise bad_value(f"{name} must be a URL or base64") from None
    if len(content) > IMAGE_BYTES:
        raise bad_value(f"{name} has more than {IMAGE_BYTES} bytes")
    try:
        with Image.open(BytesIO(content)) as image:
            kind, (width, height) = image.format, image.size
            image.verify()
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,  # Pillow's word for a broken PNG
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise bad_value(f"{name} is no image that can be read: {error}") from None
    if kind not in ("PNG", "JPEG", "MPO"):  # MPO: a phone's JPEG with a second picture in it
        raise bad_value(f"{name}: only .jpg, .jpeg and .png are supported, got {kind}")
    if min(width, height) < IMAGE_SIDE:
        raise bad_value(
            f"{name} has {width} x {height} pixels; each side must have {IMAGE_SIDE} or more"
        )
    if max(width, height) > IMAGE_RATIO * min(width, height):
        raise bad_value(
            f"{name} has {width} x {height} pixels; the ratio must be from 1:2.5 to 2.5:1"
        )
    return content


def watermark(body: Body) -> bool:
    """Whether a watermarked result is wanted too."""
    info = body.get("watermark_info")
    enabled = False if info is None else info.get("enabled") if isinstance(info, dict) else None
    if not isinstance(enabled, bool):
        raise bad_value('watermark_info must be {"enabled": true or false}')
    return enabled


def callback_url(body: Body) -> str:
    """Where changes are told, if they are."""
    url = text(body, "callback_url")
    if url:
        try:
            loopback.target(url)
        except ValueError as error:
            raise bad_value(f"callback_url: {error}") from None
    return url


def page(query: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Number and size of a page."""
    found = []
    for name, (default, most) in PAGES.items():
        said = query.get(name, [str(default)])[-1]
        value = int(said) if re.fullmatch(r"[0-9]{1,9}", said) else 0
        if not 1 <= value <= most:
            raise bad_value(f"{name} must be an integer from 1 to {most}, got {_shown(said)}")
        found.append(value)
    return found[0], found[1]
