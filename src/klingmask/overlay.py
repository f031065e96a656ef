"""Masks laid over pictures: colours, opacity, outlines.

Compositing is source-over on 8-bit channels without gamma, in integers. With
``a`` = the opacity in 255ths, a channel ``d`` under colour ``c`` becomes
``(c * a + d * (255 - a)) / 255``, rounded to the nearest integer (there are no
ties: 255 is odd).
"""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from klingmask._rle import Mask, RLEError
from klingmask.typing import RLELike

__all__ = ["Color", "Colors", "Masks", "overlay", "palette_color", "render_layer"]

Color: TypeAlias = Sequence[int]
"""(red, green, blue) or (red, green, blue, alpha), each 0 to 255."""

Masks: TypeAlias = RLELike | Iterable[RLELike] | Mapping[Any, RLELike]
"""One mask, some masks, or masks by object id."""

Colors: TypeAlias = Color | Sequence[Color] | Mapping[Any, Color] | npt.NDArray[np.integer[Any]]
"""One colour for all masks, one for each, or colours by object id."""

Image: TypeAlias = npt.NDArray[np.uint8]

# What the sample code of Kling's API reference draws a mask with.
KLING_GREEN = (116, 255, 82)
KLING_ALPHA = 163


def palette_color(index: int) -> tuple[int, int, int]:
    """Return the colour of the object with this index, the same every time.

    The first is Kling's green; each further one turns the hue by the golden
    angle, which keeps neighbours apart however many there are.
    """
    if index == 0:
        return KLING_GREEN
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in KLING_GREEN))
    turned = (hue + index * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(turned, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def overlay(
    image: npt.ArrayLike,
    masks: Masks,
    colors: Colors | None = None,
    opacity: float = KLING_ALPHA / 255,
    outline: int = 0,
    out: Image | None = None,
) -> Image:
    """Lay masks over an image, one after the other.

    Parameters
    ----------
    image : array_like, shape (h, w, 3) or (h, w, 4), uint8
        RGB, or RGBA with straight alpha.
    masks : mask, iterable of masks, or mapping from object id to mask
        Masks or rles of the image's size; the last is on top.
    colors : color, sequence of colors, or mapping from object id to color, optional
        (red, green, blue), each 0 to 255: one for all masks, or one for each.
        By default an object's colour goes by its id if that is an integer,
        else by its place.
    opacity : float
        Of the colour, 0 to 1; rounded to 255ths.
    outline : int
        Width in pixels of an opaque line along the inside of each mask's edge.
    out : ndarray, optional
        Where the result goes, shaped as the image; may be `image` itself.

    Returns
    -------
    ndarray, shape of `image`, uint8
        A new array, or `out`.

    Raises
    ------
    RLEError
        If a mask is not of the image's size, or a value is out of range.
    TypeError
        If the image is not uint8.
    """
    picture = np.asarray(image)
    if picture.dtype != np.uint8:
        raise TypeError(f"the image must be uint8, got {picture.dtype}")
    if picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise RLEError(f"the image must have the shape (h, w, 3) or (h, w, 4), got {picture.shape}")
    if not 0 <= opacity <= 1:
        raise RLEError(f"opacity must be between 0 and 1, got {opacity}")
    if outline < 0:
        raise RLEError(f"outline must not be negative, got {outline}")
    layers = _layers(masks, colors)
    for index, (mask, _) in enumerate(layers):
        if mask.size != picture.shape[:2]:
            raise RLEError(
                f"mask {index} has the size {mask.size}, the image {picture.shape[:2]}", index=index
            )
    if out is None:
        out = picture.copy()
    else:
        if out.dtype != np.uint8 or out.shape != picture.shape:
            raise RLEError(
                f"out must be uint8 of shape {picture.shape}, got {out.dtype} {out.shape}"
            )
        if out is not picture:
            out[...] = picture
    inside = np.empty(picture.shape[:2], np.bool_)
    for mask, color in layers:
        x, y, w, h = mask.bbox
        box = slice(y, y + h), slice(x, x + w)
        area = mask.to_numpy(out=inside)[box]
        _blend(out[box], area, color, round(opacity * 255))
        if outline:
            _blend(out[box], area & ~_eroded(area, outline), color, 255)
    return out


def render_layer(
    mask: RLELike, color: Color = (*KLING_GREEN, KLING_ALPHA)
) -> npt.NDArray[np.uint8]:
    """Draw a mask as a layer of its own, as Kling's reference does.

    Parameters
    ----------
    mask : Mask or rle
    color : (int, int, int, int)
        Red, green, blue and alpha, each 0 to 255.

    Returns
    -------
    ndarray, shape (h, w, 4), uint8
        The colour on the foreground, all 0 elsewhere.

    Raises
    ------
    RLEError
        If the mask has more pixels than `set_max_pixels` allows.
    """
    inside = Mask.from_rle(mask).to_numpy(dtype="bool")
    layer = np.zeros((*inside.shape, 4), np.uint8)
    layer[inside] = _color(color, 4)
    return layer


def _color(color: Color, channels: int) -> tuple[int, ...]:
    values = tuple(color)
    if len(values) != channels or not all(
        isinstance(value, (int, np.integer)) and 0 <= value <= 255 for value in values
    ):
        raise RLEError(f"a color must be {channels} integers from 0 to 255, got {color!r}")
    return values


def _layers(masks: Masks, colors: Colors | None) -> list[tuple[Mask, tuple[int, ...]]]:
    """Every mask with its colour, in drawing order."""
    if isinstance(masks, Mask) or (isinstance(masks, Mapping) and "counts" in masks):
        masks = [masks]
    if isinstance(masks, Mapping):
        ids, rles = list(masks), list(masks.values())
    else:
        rles = list(masks)
        ids = list(range(len(rles)))
    found = [Mask.from_rle(rle) for rle in rles]
    if colors is None:
        places = (key if isinstance(key, int) else place for place, key in enumerate(ids))
        chosen: list[Color] = [palette_color(place) for place in places]
    elif isinstance(colors, Mapping):
        missing = [key for key in ids if key not in colors]
        if missing:
            raise RLEError(f"colors has none for the object {missing[0]!r}")
        chosen = [colors[key] for key in ids]
    else:
        listed: list[Any] = list(colors)
        single = not any(isinstance(entry, (Sequence, np.ndarray)) for entry in listed)
        chosen = [listed] * len(ids) if single else listed
        if len(chosen) != len(ids):
            raise RLEError(f"there are {len(chosen)} colors for {len(ids)} masks")
    return [(mask, _color(color, 3)) for mask, color in zip(found, chosen, strict=True)]


def _blend(
    picture: Image, where: npt.NDArray[np.bool_], color: tuple[int, ...], alpha: int
) -> None:
    """Source-over of one colour, in place."""
    under = picture[where].astype(np.uint32)
    source = np.array(color, np.uint32)
    if picture.shape[2] == 3:
        picture[where] = (source * alpha + under * (255 - alpha) + 127) // 255
        return
    # Straight alpha: each side counts by what it covers, in 255 * 255ths.
    below = under[:, 3:] * (255 - alpha)
    cover = alpha * 255 + below
    mixed = source * (alpha * 255) + under[:, :3] * below
    under[:, :3] = (mixed + cover // 2) // np.maximum(cover, 1)
    under[:, 3:] = (cover + 127) // 255
    picture[where] = under


def _eroded(area: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Peel `steps` layers of pixels off, as seen from their four neighbours."""
    for _ in range(steps):
        edged = np.pad(area, 1)
        area = area & edged[:-2, 1:-1] & edged[2:, 1:-1] & edged[1:-1, :-2] & edged[1:-1, 2:]
    return area
