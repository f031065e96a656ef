"""Pictures, as a good viewer shows them: upright, in the shape and the shades of their file.

Every part of klingmask that opens a picture, or is handed one by Pillow, reads it here. A photo
whose metadata (EXIF) says that it is to be turned or mirrored is turned and mirrored, so masks lie
where people saw things when they marked them. Of a file of several pictures, the first is read.
"""

from io import BytesIO
from os import PathLike, fspath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from klingmask import get_max_pixels

try:
    from PIL import ExifTags, Image, UnidentifiedImageError
except ImportError as error:
    raise ImportError("pictures need Pillow: pip install 'klingmask[image]'") from error

__all__ = [
    "PictureError",
    "UnknownPictureError",
    "orientation",
    "pixels",
    "read",
    "upright",
    "upright_content",
]

Pixels = npt.NDArray[np.uint8]

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""


_ANIMATIONS = {"AVIF", "GIF", "PNG", "WEBP"}
"""Formats whose pictures are shown one after the other; in others they are pages, or sizes."""

_METADATA = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type xmp")
"""Where Pillow keeps what says how a picture is to be turned."""


class PictureError(ValueError):
    """A picture that cannot be read."""


class UnknownPictureError(PictureError):
    """A file that is no picture, or of a kind that Pillow does not know."""


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 is upright, and said of most."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow lets through what its parsing runs into; viewers show the picture
        return 1
    return found if found in TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its metadata says.

    Parameters
    ----------
    image : PIL.Image.Image

    Returns
    -------
    PIL.Image.Image
        The same image if it is upright, or else a new one without that metadata.

    Examples
    --------
    >>> upright(Image.open("photo.jpg")).size  # doctest: +SKIP
    (3024, 4032)
    """
    image.load()  # by which Pillow makes a TIFF upright itself
    turn = TURNS.get(orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in _METADATA:
        turned.info.pop(name, None)
    return turned


def pixels(image: Image.Image) -> Pixels:
    """Give the pixels of an image as it is shown.

    Parameters
    ----------
    image : PIL.Image.Image
        Of any mode.

    Returns
    -------
    ndarray, shape (h, w, 3) or (h, w, 4), uint8
        RGB, or RGBA if the image has transparency.

    Raises
    ------
    PictureError
        If the image cannot be read, or has numbers instead of shades.
    """
    if image.mode in ("F", "I"):
        raise PictureError(
            f"an image of mode {image.mode!r} has numbers in it, of which nobody knows how bright "
            "they are: convert it to 'L' or 'RGB'"
        )
    if image.mode.startswith("I;16"):  # which convert would cut off at 255
        shades = (np.asarray(upright(image)) >> 8).astype(np.uint8)
        return np.repeat(shades[..., None], 3, axis=-1)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(upright(image).convert(mode))


def read(source: str | PathLike[str] | BinaryIO, frame: int = 0) -> Pixels:
    """Read a picture of any kind that Pillow knows.

    Parameters
    ----------
    source : path, or file open for reading bytes
    frame : int
        Of an animation, counted from 0. Other pictures have but one, whatever the number.

    Returns
    -------
    ndarray, shape (h, w, 3) or (h, w, 4), uint8
        RGB, or RGBA if the picture has transparency; upright.

    Raises
    ------
    UnknownPictureError
        If it is no picture.
    PictureError
        If it is damaged, or has more pixels than `set_max_pixels` allows.
    IndexError
        If an animation has no such frame.

    Examples
    --------
    >>> read("photo.jpg").shape  # doctest: +SKIP
    (4032, 3024, 3)
    """
    name = fspath(source) if isinstance(source, str | PathLike) else "the picture"
    try:
        with Image.open(source) as image:
            limit = get_max_pixels()
            if limit is not None and image.width * image.height > limit:
                raise PictureError(
                    f"{name} has {image.height} x {image.width} pixels, over the limit of {limit}; "
                    "klingmask.set_max_pixels() raises it"
                )
            many = getattr(image, "n_frames", 1)
            if many > 1 and image.format in _ANIMATIONS:
                if not 0 <= frame < many:
                    raise IndexError(f"frame {frame} of a picture with {many}, counted from 0")
                image.seek(frame)
            return pixels(image)
    except UnidentifiedImageError as error:
        raise UnknownPictureError(f"{name} is not a picture that can be read") from error
    except (PictureError, IndexError, MemoryError):
        raise
    except Exception as error:  # Pillow lets through whatever its parsing runs into
        if isinstance(error, OSError) and error.errno is not None:
            raise  # that of the system: no such file, no permission
        raise PictureError(f"{name} is not a picture that can be read: {error}") from error


def upright_content(content: bytes) -> bytes:
    """Give the content of a picture's file, written anew if its metadata would turn it.

    Parameters
    ----------
    content : bytes
        A file that Pillow reads.

    Returns
    -------
    bytes
        The same, or a file of the same format whose pixels are upright.

    Raises
    ------
    PictureError
        If it cannot be read.

    Examples
    --------
    >>> content = Path("photo.jpg").read_bytes()  # doctest: +SKIP
    >>> upright_content(content) == content  # doctest: +SKIP
    False
    """
    try:
        with Image.open(BytesIO(content)) as image:
            if orientation(image) == 1:
                return content
            stream = BytesIO()
            kept = {"icc_profile": image.info.get("icc_profile")}
            # A JPEG of several pictures (MPO), as phones make them, becomes one of the first.
            kind = "JPEG" if image.format == "MPO" else image.format
            # Of JPEG alone this is more than usual; other formats pay no heed.
            upright(image).save(stream, kind, quality=95, **kept)
            return stream.getvalue()
    except MemoryError:
        raise
    except Exception as error:  # Pillow lets through whatever its parsing runs into
        raise PictureError(f"the picture cannot be read: {error}") from error
