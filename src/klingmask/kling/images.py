"""Reference images: reading them, checking the documented limits, encoding them as base64.

Source: the Multi-Elements page of Kling's API reference.
"""

import base64
import re
from collections.abc import Iterable
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias

from klingmask.kling.checks import EditMode, listed, sendable, shown
from klingmask.kling.errors import InvalidRequestError

__all__ = ["ImageSource", "image_list"]

ImageSource: TypeAlias = str | bytes | PathLike[str]
"""A picture. A str is a URL, the raw base64 of a JPEG or PNG, or else a path; bytes are the
content of a file."""

COUNTS: dict[EditMode, tuple[int, int]] = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}
"""The least and most images of each edit mode."""
MAX_BYTES = 10 * 10**6
MIN_SIDE = 300  # pixels
MAX_ASPECT = 2.5
SUFFIXES = (".jpg", ".jpeg", ".png")

_BASE64_OF_A_PICTURE = re.compile(r"(iVBORw0KGgo|/9j/)[A-Za-z0-9+/=\s]*\Z")
"""The base64 of a PNG or JPEG, by its first bytes. The name of a picture file does not match: it
has a dot before its suffix."""


def image_list(sources: Iterable[ImageSource], edit_mode: EditMode) -> list[dict[str, str]]:
    """Return the image_list of a request.

    Raises
    ------
    InvalidRequestError
        If there are too few or too many images, or one exceeds the limits.
    """
    if isinstance(sources, (str, bytes, PathLike)):
        sources = [sources]
    sources = listed(sources, "images must be a list")
    least, most = COUNTS[edit_mode]
    if not least <= len(sources) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidRequestError(f"{edit_mode} takes {wanted} images, got {len(sources)}")
    return [{"image": _image(source, f"image {place + 1}")} for place, source in enumerate(sources)]


def _image(source: ImageSource, name: str) -> str:
    """Return a URL as it is, and anything else as raw base64."""
    if isinstance(source, str) and re.match(r"(?i)https?://", source):
        return sendable(source, name)
    content = _upright(_checked(_content(source, name), name), name)
    return base64.b64encode(content).decode()


def _content(source: ImageSource, name: str) -> bytes:
    """Return the content of a picture's file."""
    if isinstance(source, bytes):
        return source
    if not isinstance(source, (str, PathLike)):
        raise InvalidRequestError(
            f"{name}: a URL, a path, base64 or bytes, got {type(source).__name__}"
        )
    if isinstance(source, str):
        if source.startswith("data:"):
            raise InvalidRequestError(f"{name}: give raw base64, without the data: prefix")
        if _BASE64_OF_A_PICTURE.match(source):
            try:
                return base64.b64decode(source)
            except ValueError:
                raise InvalidRequestError(f"{name}: base64 that is cut off") from None
    path = Path(fspath(source))
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequestError(
            f"{name}: must be a URL, raw base64 or the path of a .jpg, .jpeg or .png, "
            f"got {shown(fspath(source))}"
        )
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InvalidRequestError(f"{name}: {path} cannot be read: {reason}") from None


def _checked(content: bytes, name: str) -> bytes:
    """Return the content of a picture's file if it is within the limits."""
    if len(content) > MAX_BYTES:
        raise InvalidRequestError(f"{name}: more than {MAX_BYTES} bytes, the limit of 10 MB")
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError("to check images, Pillow is needed: 'klingmask[image]'") from error
    try:
        with Image.open(BytesIO(content)) as image:
            format_, (width, height) = image.format, image.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidRequestError(f"{name}: not an image that can be read: {error}") from None
    if format_ not in ("JPEG", "PNG", "MPO"):
        raise InvalidRequestError(f"{name}: must be JPEG or PNG, got {format_}")
    if min(width, height) < MIN_SIDE:
        raise InvalidRequestError(
            f"{name}: {width} x {height}; each side must have at least {MIN_SIDE} pixels"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidRequestError(
            f"{name}: {width} x {height}; the sides' ratio must be between 1:2.5 and 2.5:1"
        )
    return content


def _upright(content: bytes, name: str) -> bytes:
    """Return the content of a picture's file, turned as its EXIF orientation says.

    So the service cannot read it lying on its side, whether or not it looks at EXIF.
    """
    from klingmask.pictures import PictureError, upright_content

    try:
        turned = upright_content(content)
    except PictureError as error:
        raise InvalidRequestError(f"{name}: {error}") from None
    if len(turned) > MAX_BYTES:
        raise InvalidRequestError(
            f"{name}: more than {MAX_BYTES} bytes (10 MB) once it is turned as its EXIF "
            "orientation says; save it upright and smaller"
        )
    return turned
