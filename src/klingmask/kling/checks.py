"""The documented limits of the parameters, checked before anything is sent.

Source: the Multi-Elements page of Kling's API reference.
"""

import math
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Self, SupportsIndex, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit

from klingmask.kling.errors import InvalidRequestError
from klingmask.kling.urls import shown_url

__all__ = ["Duration", "EditMode", "Mode", "Point", "PointLike"]

EditMode: TypeAlias = Literal["addition", "swap", "removal"]
Mode: TypeAlias = Literal["std", "pro"]
Duration: TypeAlias = Literal["5", "10", 5, 10]

_Any = TypeVar("_Any")
_Text = TypeVar("_Text", bound=str)

MAX_FRAMES = 10
MAX_POINTS = 10
MAX_PROMPT = 2500
EDIT_MODES: tuple[EditMode, ...] = get_args(EditMode)
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_MODEL = "kling-v1-6"
"""The reference's default. A newer page of it does not list the parameter at all."""
DURATIONS: dict[Literal["5", "10"], tuple[float, float]] = {"5": (2.0, 5.0), "10": (7.0, 10.0)}
"""Seconds of the result, and the least and most seconds of its source."""
FRAME_SLACK = 0.1
"""Seconds by which a source may be longer: containers round to whole frames."""
OTHER_FORMATS = (".avi", ".flv", ".gif", ".m3u8", ".mkv", ".mpeg", ".mpg", ".webm", ".wmv")
"""Endings of URLs that are surely not those of an mp4 or mov."""
MAX_INT = 2**63 - 1


class Point(NamedTuple):
    """A click: x and y as shares of the frame's width and height, (0, 0) at the top left.

    The reference's "[0, 1] represents the top-left corner" can also be read to say that
    y points up; `Selection.clicks_inside` shows which reading a reply agrees with.
    """

    x: float
    y: float

    @classmethod
    def from_pixel(cls, x: float, y: float, size: Sequence[int]) -> Self:
        """Return the middle of pixel (x, y) of a frame of size (height, width)."""
        height, width = size
        if not (0 <= x < width and 0 <= y < height):
            raise InvalidRequestError(
                f"pixel ({x}, {y}) is not in a frame {width} wide and {height} high"
            )
        return cls((x + 0.5) / width, (y + 0.5) / height)


PointLike: TypeAlias = Point | tuple[float, float]


def points_of(points: Iterable[PointLike]) -> list[Point]:
    """Return 1 to 10 points with finite coordinates in [0, 1]."""
    points = listed(points, f"a frame takes a list of 1 to {MAX_POINTS} points")
    if not 1 <= len(points) <= MAX_POINTS:
        raise InvalidRequestError(f"a frame takes 1 to {MAX_POINTS} points, got {len(points)}")
    checked = []
    for point in points:
        try:
            if isinstance(point, str):
                raise TypeError
            x, y = (float(value) for value in point)
        except (TypeError, ValueError, OverflowError):
            raise InvalidRequestError(f"a point is (x, y), got {shown(point)}") from None
        if not (math.isfinite(x) and math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1):
            raise InvalidRequestError(
                f"a point's x and y are shares from 0 to 1, got ({x}, {y}); "
                "Point.from_pixel makes them from pixels"
            )
        checked.append(Point(x, y))
    return checked


def frame_index(index: SupportsIndex, total: int | None = None) -> int:
    """Return an index from 0, and below the total if that is known."""
    if isinstance(index, bool) or not isinstance(index, SupportsIndex):
        raise InvalidRequestError(f"frame_index must be an integer, got {shown(index)}")
    index = operator.index(index)
    if not 0 <= index <= (MAX_INT if total is None else total - 1):
        end = "" if total is None else f" to {total - 1}, the video's last frame"
        raise InvalidRequestError(f"frame_index goes from 0{end}, got {shown(index)}")
    return index


def video_source(video_id: str | None, video_url: str | None) -> dict[str, str]:
    """Return the one that is given; a URL must not end like a format other than mp4 or mov."""
    if bool(video_id) == bool(video_url):
        raise InvalidRequestError("give exactly one of video_id and video_url")
    if not video_url:
        return {"video_id": identifier(video_id or "", "video_id")}
    if not isinstance(video_url, str):
        raise InvalidRequestError(f"video_url must be a text, got {type(video_url).__name__}")
    try:
        parts = urlsplit(video_url)
    except ValueError:
        raise InvalidRequestError("video_url must be a URL; this one cannot be parsed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError(f"video_url must be a URL, got {shown_url(video_url)}")
    if parts.path.lower().endswith(OTHER_FORMATS):
        raise InvalidRequestError(
            f"video_url must be that of an mp4 or mov, got {shown_url(video_url)}"
        )
    return {"video_url": sendable(video_url, "video_url")}


def identifier(value: str, name: str) -> str:
    """Return a text that is not empty and can be sent."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(f"{name} must be a text that is not empty, got {shown(value)}")
    return sendable(value, name)


def sendable(text: str, name: str) -> str:
    """Return a text without lone surrogates, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        place = error.start
    else:
        return text
    raise InvalidRequestError(
        f"{name} has half of a character (a lone surrogate) at {place}, got {shown(text)}"
    )


def flag(value: bool, name: str) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be True or False, got {shown(value)}")
    return value


def callback_url(url: str | None) -> str:
    """Return a URL that the service can call, or an empty text."""
    if not url:
        return ""
    if not isinstance(url, str):
        raise InvalidRequestError(f"callback_url must be a text, got {type(url).__name__}")
    if not re.match(r"https?://[^/\s]", url):
        raise InvalidRequestError(
            f"callback_url must start with https:// or http://, got {shown_url(url)}"
        )
    return sendable(url, "callback_url")


def listed(values: Iterable[_Any], wanted: str) -> list[_Any]:
    """Return the values of an iterable that is not a single point."""
    if isinstance(values, Point) or not isinstance(values, Iterable):
        raise InvalidRequestError(f"{wanted}, got a single {type(values).__name__}")
    return list(values)


def shown(value: object) -> str:
    """Return the repr of a value for a message, cut to a readable length."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of more than 4300 digits
        return f"a very large {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


def one_of(value: str, allowed: Iterable[_Text], name: str) -> _Text:
    """Return one of the allowed values."""
    allowed = tuple(allowed)
    for one in allowed:
        if value == one:
            return one
    raise InvalidRequestError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")


def prompts(prompt: str, negative: str, edit_mode: str, n_images: int) -> None:
    """Check the lengths, and that the prompt refers to the video and to each image."""
    for name, text in (("prompt", prompt), ("negative_prompt", negative)):
        if not isinstance(text, str):
            raise InvalidRequestError(f"{name} must be a text, got {shown(text)}")
        if len(text) > MAX_PROMPT:
            raise InvalidRequestError(
                f"{name} must not exceed {MAX_PROMPT} characters, got {len(text)}"
            )
        sendable(text, name)
    if not prompt.strip():
        raise InvalidRequestError("prompt must not be empty; klingmask.kling.prompts makes prompts")
    needed = ["<<<video_1>>>", *(f"<<<image_{i + 1}>>>" for i in range(n_images))]
    missing = [reference for reference in needed if reference not in prompt]
    if missing:
        raise InvalidRequestError(
            f"the prompt of {edit_mode} must refer to {', '.join(needed)}; "
            f"{missing[0]} is missing (klingmask.kling.prompts makes such prompts)"
        )
    allowed = set(needed)
    for reference in re.findall(r"<<<.*?>>>", prompt):
        if reference not in allowed:
            raise InvalidRequestError(
                f"the prompt refers to {reference}, but there are only {', '.join(needed)}"
            )


def duration(wanted: str | int | None, seconds: float | None) -> Literal["5", "10"]:
    """Return "5" or "10".

    Parameters
    ----------
    wanted : str, int or None
        None derives it from the source's length.
    seconds : float or None
        The source's length, which it must fit; None if that is not known.
    """
    if wanted is None:
        if seconds is None:
            return "5"
        for name, (least, most) in DURATIONS.items():
            if least <= seconds <= most + FRAME_SLACK:
                return name
        raise InvalidRequestError(
            f"the video is {seconds:g} s long; it must be 2 to 5 s or 7 to 10 s"
        )
    name = one_of(shown(wanted) if isinstance(wanted, int) else wanted, DURATIONS, "duration")
    least, most = DURATIONS[name]
    if seconds is not None and not least <= seconds <= most + FRAME_SLACK:
        raise InvalidRequestError(
            f"a duration of {name} s needs a video of {least:g} to {most:g} s, not {seconds:g} s"
        )
    return name


def page(number: int, size: int) -> dict[str, int]:
    """Return the parameters of a page of tasks."""
    for name, value, most in (("page_num", number, 1000), ("page_size", size, 500)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InvalidRequestError(f"{name} goes from 1 to {most}, got {shown(value)}")
    return {"pageNum": number, "pageSize": size}


def task_id(value: str | None, external: str | None) -> str:
    """Return the one that is given."""
    if (value is None) == (external is None):
        raise InvalidRequestError("give exactly one of task_id and external_task_id")
    found: Any = value if external is None else external
    name = "task_id" if external is None else "external_task_id"
    if found in (".", ".."):  # a URL's path would lose these
        raise InvalidRequestError(f"{name} {found!r} is no task id")
    return identifier(found, name)


def seconds(value: float, name: str) -> float:
    """Return a number of seconds that is not negative."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1e9:
        raise InvalidRequestError(f"{name} must be a number of seconds from 0, got {shown(value)}")
    return float(value)


def timeouts(value: float | tuple[float, float]) -> tuple[float, float]:
    """Return the seconds to connect and those for a reply, from a pair or one number for both."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise InvalidRequestError(
            f"timeout must be a number or a pair of numbers, got {shown(value)}"
        )
    connect, read = (seconds(one, "timeout") for one in pair)
    if not (connect and read):
        raise InvalidRequestError(f"timeout must be more than 0 seconds, got {shown(value)}")
    return connect, read
