"""The documented limits of a request: each function reads a field and refuses a wrong value.

Written from the reference (the Multi-Elements page of Kling's API reference), not
shared with the client: if one of the two has a limit wrong, tests show it. A body is
what JSON made of an unknown client's bytes, so values have any type.
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
"""Duration of a result -> shortest and longest source, in seconds."""
LENGTH_TOLERANCE = 0.1
"""Seconds that a source may be too long, as its length is a whole number of frames."""
RATE_TOLERANCE = 0.1
"""Frames a second that a source may be off: 29.97 is called 30."""
IMAGES = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}
IMAGE_BYTES = 10_000_000
IMAGE_SIDE = 300
IMAGE_RATIO = 2.5
PAGES = {"pageNum": (1, 1000), "pageSize": (30, 500)}
"""Parameter -> default and largest value; the smallest is 1."""


def _quoted(value: object) -> str:
    described = repr(value)
    return described if len(described) <= 60 else f"{described[:60]}..."


def text(body: Body, name: str, default: str | None = "") -> str:
    """Read a text; without a default it is required."""
    value = body.get(name)
    if value is None or value == "":
        if default is None:
            raise bad_value(f"{name} is required")
        return default
    if not isinstance(value, str):
        raise bad_value(f"{name} must be a text, got {_quoted(value)}")
    return value


def choice(body: Body, name: str, allowed: Sequence[str], default: str | None = None) -> str:
    """Read one of the allowed values."""
    value = text(body, name, default)
    if value not in allowed:
        raise bad_value(f"{name} must be one of {', '.join(allowed)}, got {_quoted(value)}")
    return value


def video_source(body: Body) -> tuple[str, str]:
    """Read the id or the URL of a video; the other is empty."""
    name, url = text(body, "video_id"), text(body, "video_url")
    if (name == "") == (url == ""):
        raise bad_value("exactly one of video_id and video_url must have a value")
    if url and not url.partition("?")[0].lower().endswith((".mp4", ".mov")):
        raise bad_value("video_url: only .mp4 and .mov are supported")
    return name, url


def video(width: int, height: int, rate: float, seconds: float) -> None:
    """Refuse a video that may not be edited."""
    if not all(SIDES[0] <= side <= SIDES[1] for side in (width, height)):
        raise bad_value(
            f"the video has {width} x {height} pixels; each side must have {SIDES[0]} to {SIDES[1]}"
        )
    if not any(abs(rate - known) < RATE_TOLERANCE for known in FRAME_RATES):
        raise bad_value(f"the video has {rate:g} frames a second; only 24, 30 or 60 are supported")
    if not any(_fits(seconds, length) for length in LENGTHS):
        raise bad_value(f"the video is {seconds:g} s long; it must be 2 to 5 s or 7 to 10 s")


def _fits(seconds: float, length: str) -> bool:
    least, most = LENGTHS[length]
    return least <= seconds <= most + LENGTH_TOLERANCE


def duration(body: Body, seconds: float) -> str:
    """Read the length of the result, which must fit the source's."""
    wanted = choice(body, "duration", tuple(LENGTHS), "5")
    if not _fits(seconds, wanted):
        least, most = LENGTHS[wanted]
        raise bad_value(
            f"duration {wanted} needs a video of {least:g} to {most:g} s; "
            f"this one is {seconds:g} s long"
        )
    return wanted


def frame_index(body: Body, total: int) -> int:
    """Read the index of one of the video's frames."""
    value = body.get("frame_index")
    if type(value) is not int or not 0 <= value < total:
        raise bad_value(f"frame_index must be an integer from 0 to {total - 1}")
    return value


def points(body: Body) -> list[tuple[float, float]]:
    """Read 1 to 10 points."""
    listed = body.get("points")
    if not isinstance(listed, list) or not 1 <= len(listed) <= POINTS:
        raise bad_value(f"points must be a list of 1 to {POINTS} points")
    return [(_share(point, "x"), _share(point, "y")) for point in listed]


def _share(point: object, axis: str) -> float:
    value = point.get(axis) if isinstance(point, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise bad_value(f"a point's {axis} must be a number from 0 to 1, got {_quoted(value)}")
    return float(value)


def model(body: Body) -> str:
    """Read the name of a model; an unknown one is a missing resource."""
    name = text(body, "model_name", "kling-v1-6")
    if name != "kling-v1-6":
        raise Refusal(1203, f"there is no model {_quoted(name)}")
    return name


def prompts(body: Body, n_images: int) -> tuple[str, str]:
    """Read prompt and negative prompt; the prompt must refer to the video and to each image."""
    prompt, negative = text(body, "prompt", None), text(body, "negative_prompt")
    for name, value in (("prompt", prompt), ("negative_prompt", negative)):
        if len(value) > CHARACTERS:
            raise bad_value(f"{name} has {len(value)} characters; the limit is {CHARACTERS}")
    given = {"video_1", *(f"image_{number + 1}" for number in range(n_images))}
    referred = set(re.findall(r"<<<(.*?)>>>", prompt))
    for name in sorted(given - referred):
        raise bad_value(f"prompt must refer to <<<{name}>>>")
    for name in sorted(referred - given):
        raise bad_value(f"prompt refers to <<<{name[:40]}>>>, which is not given")
    return prompt, negative


def images(body: Body, mode: str) -> list[bytes]:
    """Read the content of the images: as many as the mode takes, each within its limits."""
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
        SyntaxError,  # which Pillow raises for a broken PNG
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise bad_value(f"{name} is no image that can be read: {error}") from None
    if kind not in ("PNG", "JPEG", "MPO"):  # MPO: a JPEG with more than one picture
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
    """Read whether a result with a watermark is wanted, too."""
    info = body.get("watermark_info")
    enabled = False if info is None else info.get("enabled") if isinstance(info, dict) else None
    if not isinstance(enabled, bool):
        raise bad_value('watermark_info must be {"enabled": true or false}')
    return enabled


def callback_url(body: Body) -> str:
    """Read the URL that is called when the task's status changes, or an empty text."""
    url = text(body, "callback_url")
    if url:
        try:
            loopback.target(url)
        except ValueError as error:
            raise bad_value(f"callback_url: {error}") from None
    return url


def page(query: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Read the number and the size of a page."""
    values = []
    for name, (default, most) in PAGES.items():
        given = query.get(name, [str(default)])[-1]
        value = int(given) if re.fullmatch(r"[0-9]{1,9}", given) else 0
        if not 1 <= value <= most:
            raise bad_value(f"{name} must be an integer from 1 to {most}, got {_quoted(given)}")
        values.append(value)
    return values[0], values[1]
