"""Read pictures as a good viewer shows them: turned, and with the right brightness.

All parts of klingmask that open a picture, or are given one as a PIL image, use this module. It
turns a photo as its EXIF orientation says. Masks then lie where people saw things when they marked
them.
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
    "TRANSPOSITIONS",
    "PictureError",
    "UnknownPictureError",
    "orientation_of",
    "pixels_of",
    "read_picture",
    "upright",
    "upright_content",
]

Pixels = npt.NDArray[np.uint8]

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation: the operation that makes a picture upright."""

_ANIMATED_FORMATS = {"AVIF", "GIF", "PNG", "WEBP"}
"""Formats in which several pictures are an animation. In others they are pages, for example."""

_ORIENTATION_KEYS = (
    "exif",
    "xmp",
    "XML:com.adobe.xmp",
    "Raw profile type exif",
    "Raw profile type xmp",
)
"""The keys of `Image.info` in which Pillow looks for the orientation."""


class PictureError(ValueError):
    """A picture cannot be read."""


class UnknownPictureError(PictureError):
    """A file is not a picture, or has a format that Pillow does not know."""


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image.

    Parameters
    ----------
    image : PIL.Image.Image

    Returns
    -------
    int
        1 to 8. It is 1, which means upright, if the metadata has none or is malformed.

    Examples
    --------
    >>> orientation_of(Image.new("RGB", (4, 3)))
    1
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises errors of many types; viewers show the picture all the same
        return 1
    return found if found in TRANSPOSITIONS else 1


def upright(image: Image.Image) -> Image.Image:
    """Turn and mirror an image as its EXIF orientation says.

    Parameters
    ----------
    image : PIL.Image.Image

    Returns
    -------
    PIL.Image.Image
        The same object if it is upright, otherwise a new image without an orientation.

    Examples
    --------
    >>> with Image.open("photo.jpg") as image:  # its orientation is 6
    ...     image.size, upright(image).size
    ((40, 30), (30, 40))
    """
    image.load()  # Pillow turns TIFF images here, and removes their orientation
    operation = TRANSPOSITIONS.get(orientation_of(image))
    if operation is None:
        return image
    turned = image.transpose(operation)
    for key in _ORIENTATION_KEYS:
        turned.info.pop(key, None)
    return turned


def pixels_of(image: Image.Image) -> Pixels:
    """Return the pixels of an image, upright.

    Parameters
    ----------
    image : PIL.Image.Image
        An image of any mode but "I" and "F".

    Returns
    -------
    ndarray, shape (h, w, 3) or (h, w, 4), uint8
        RGB, or RGBA if the image has transparency.

    Raises
    ------
    PictureError
        If the mode is "I" or "F": the numbers in such an image have no known range.

    Examples
    --------
    >>> pixels_of(Image.new("L", (4, 3))).shape
    (3, 4, 3)
    """
    if image.mode in ("F", "I"):
        raise PictureError(
            f"an image of mode {image.mode!r} cannot be shown, because the range of its numbers "
            "is unknown; convert it to 'L' or 'RGB'"
        )
    if image.mode.startswith("I;16"):  # Image.convert would set all above 255 to white
        grey = (np.asarray(upright(image)) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return np.asarray(upright(image).convert(mode))


def read_picture(source: str | PathLike[str] | BinaryIO, frame: int = 0) -> Pixels:
    """Read the pixels of a picture file, upright.

    Parameters
    ----------
    source : path or binary file
        A file of any format that Pillow reads.
    frame : int
        The index of a frame of an animation, counted from 0. For other pictures it is ignored.

    Returns
    -------
    ndarray, shape (h, w, 3) or (h, w, 4), uint8
        RGB, or RGBA if the picture has transparency.

    Raises
    ------
    UnknownPictureError
        If the file is not a picture that Pillow knows.
    PictureError
        If the file is damaged, or has more pixels than `set_max_pixels` allows.
    IndexError
        If an animation has no such frame.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> read_picture("photo.jpg").shape
    (40, 30, 3)
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
            total = getattr(image, "n_frames", 1)
            if total > 1 and image.format in _ANIMATED_FORMATS:
                if not 0 <= frame < total:
                    raise IndexError(
                        f"frame {frame} of an animation with {total} frames, counted from 0"
                    )
                image.seek(frame)
            return pixels_of(image)
    except UnidentifiedImageError as error:
        raise UnknownPictureError(f"{name} is not a picture that can be read") from error
    except (PictureError, IndexError, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of many types about malformed files
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from the operating system: there is no such file, for example
        raise PictureError(f"{name} is not a picture that can be read: {error}") from error


def upright_content(content: bytes) -> bytes:
    """Return a picture file whose pixels are upright, for readers that ignore the orientation.

    Parameters
    ----------
    content : bytes
        A picture file of any format that Pillow writes.

    Returns
    -------
    bytes
        The same bytes if the picture is upright, otherwise a new file of the same format.

    Raises
    ------
    PictureError
        If the file is not a picture, or is damaged.

    Examples
    --------
    >>> content = Path("photo.jpg").read_bytes()
    >>> turned = upright_content(content)
    >>> turned == content, upright_content(turned) == turned
    (False, True)
    """
    try:
        with Image.open(BytesIO(content)) as image:
            if orientation_of(image) == 1:
                return content
            stream = BytesIO()
            # MPO, which phones write, is JPEG with further pictures; only the first is kept.
            format_ = "JPEG" if image.format == "MPO" else image.format
            options = {"icc_profile": image.info.get("icc_profile")}
            upright(image).save(stream, format_, quality=95, **options)
            return stream.getvalue()
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises errors of many types about malformed files
        raise PictureError(f"this is not a picture that can be read: {error}") from error
