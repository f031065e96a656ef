"""Masks over pictures: colours, opacity, outlines, labels; layers and cut-outs.

Blending is source-over on 8-bit channels without gamma, in integers. With ``a`` = the opacity in
255ths, a channel ``d`` of an opaque pixel under colour ``c`` becomes
``(c * a + d * (255 - a)) / 255``, rounded to the nearest integer (there are no ties: 255 is odd).
``core/blend.c`` blends. This module checks the arguments.
"""

import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from klingmask._rle import Mask, MaskArray, RLEError, _blend, _plurality, _render, _shown
from klingmask.typing import RLELike

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

__all__ = ["Color", "Colors", "Masks", "cutout", "overlay", "palette_color", "render_layer"]

Color: TypeAlias = Sequence[int]
"""(red, green, blue) or (red, green, blue, alpha), each 0 to 255."""

Masks: TypeAlias = RLELike | Iterable[RLELike] | Mapping[Any, RLELike]
"""One mask, some masks, or masks by object id."""

Colors: TypeAlias = Color | Sequence[Color] | Mapping[Any, Color] | npt.NDArray[np.integer[Any]]
"""One colour for all masks, one for each, or colours by object id."""

Image: TypeAlias = npt.NDArray[np.uint8]

_T = TypeVar("_T")

# The colour and alpha of a mask in the sample code of Kling's API reference.
KLING_GREEN = (116, 255, 82)
KLING_ALPHA = 163

# Kling's green, then those of the colours of Okabe and Ito (Wong, "Points of view: Color
# blindness", Nature Methods 8, 2011) that differ from it for every form of colour vision.
_BASE = (
    KLING_GREEN,
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
)
_SHADES: tuple[Callable[[int], int], ...] = (
    lambda channel: channel,
    lambda channel: channel * 55 // 100,
    lambda channel: (channel + 255) // 2,
)
PALETTE = tuple(
    (shade(red), shade(green), shade(blue)) for shade in _SHADES for red, green, blue in _BASE
)


def palette_color(object_id: object) -> tuple[int, int, int]:
    """Return the colour of an object, the same for its id in every frame and run.

    Parameters
    ----------
    object_id : object
        An integer is an index into the palette of 18 colours, modulo 18: six that
        colour-blind people can tell apart, then darker and lighter shades of these.
        For any other object, a checksum of its text is the index.

    Returns
    -------
    (int, int, int)
        Red, green, blue, each 0 to 255.

    Examples
    --------
    >>> from klingmask.overlay import palette_color
    >>> palette_color(0), palette_color(18)
    ((116, 255, 82), (116, 255, 82))
    """
    if isinstance(object_id, (int, np.integer)):
        return PALETTE[int(object_id) % len(PALETTE)]
    return PALETTE[zlib.crc32(str(object_id).encode(errors="surrogatepass")) % len(PALETTE)]


@overload
def overlay(
    image: "PILImage",
    masks: Masks,
    colors: Colors | None = None,
    opacity: float | Sequence[float] | Mapping[Any, float] = KLING_ALPHA / 255,
    outline: int | Sequence[int] | Mapping[Any, int] = 0,
    out: None = None,
    *,
    labels: bool | Sequence[object] | Mapping[Any, object] = False,
    overlap: Literal["over", "majority"] = "over",
) -> "PILImage": ...
@overload
def overlay(
    image: npt.ArrayLike,
    masks: Masks,
    colors: Colors | None = None,
    opacity: float | Sequence[float] | Mapping[Any, float] = KLING_ALPHA / 255,
    outline: int | Sequence[int] | Mapping[Any, int] = 0,
    out: Image | None = None,
    *,
    labels: bool | Sequence[object] | Mapping[Any, object] = False,
    overlap: Literal["over", "majority"] = "over",
) -> Image: ...
def overlay(
    image: Any,
    masks: Masks,
    colors: Colors | None = None,
    opacity: float | Sequence[float] | Mapping[Any, float] = KLING_ALPHA / 255,
    outline: int | Sequence[int] | Mapping[Any, int] = 0,
    out: Image | None = None,
    *,
    labels: bool | Sequence[object] | Mapping[Any, object] = False,
    overlap: Literal["over", "majority"] = "over",
) -> Any:
    """Blend masks over an image, one after the other.

    Parameters
    ----------
    image : array_like, shape (h, w, 3) or (h, w, 4), uint8; or a PIL image
        RGB, or RGBA with straight alpha; any strides. A PIL image is first rotated
        upright, as its EXIF orientation says.
    masks : mask, iterable of masks, or mapping from object id to mask
        Masks or rles of the image's size; the last is on top.
    colors : color, sequence of colors, or mapping from object id to color, optional
        (red, green, blue), each 0 to 255: one for all masks, or one for each.
        By default `palette_color` of the object id, or of the index in a list: an id
        has the same colour in every frame and run.
    opacity : float, sequence of floats, or mapping from object id to float
        Opacity of the colour, 0 to 1, rounded to 255ths: one for all masks, or one
        for each.
    outline : int, sequence of ints, or mapping from object id to int
        Width in pixels of an opaque line along the inside of each mask's edge.
    out : ndarray, optional
        A uint8 array of the image's shape for the result; may be `image` itself.
    labels : bool, sequence, or mapping from object id to text
        Text to write at each mask's centroid; True writes the object's id, or its
        index in a list. Needs the extra ``image``.
    overlap : {"over", "majority"}
        Where masks overlap, "over" blends one over the other, in their order.
        "majority" blends one colour over each pixel: that of most of its masks. In a
        tie, the colour of the later mask wins.

    Returns
    -------
    ndarray, shape of `image`, uint8; or a PIL image if `image` is one
        A new array, or `out`.

    Raises
    ------
    RLEError
        If a mask is not of the image's size, or a value is out of range.
    TypeError
        If the image is not uint8.

    Examples
    --------
    >>> import klingmask
    >>> import numpy as np
    >>> image = np.zeros((2, 3, 3), np.uint8)
    >>> mask = klingmask.Mask.from_bbox((2, 3), (1, 0, 1, 2))
    >>> laid = klingmask.overlay(image, mask, colors=(255, 0, 100), opacity=0.4)
    >>> laid[0].tolist()
    [[0, 0, 0], [102, 0, 40], [0, 0, 0]]
    """
    if _is_pil(image):
        from PIL.Image import fromarray

        from klingmask.pictures import pixels_of

        laid = overlay(
            pixels_of(image),
            masks,
            colors,
            opacity,
            outline,
            out,
            labels=labels,
            overlap=overlap,
        )
        return fromarray(laid)
    picture = _checked_picture(image)
    if overlap not in ("over", "majority"):
        raise ValueError(f"overlap must be 'over' or 'majority', got {_shown(overlap)}")
    ids, found = _with_ids(masks)
    for index, mask in enumerate(found):
        _check_size(mask, picture, f"mask {index}", index)
    layers = list(
        zip(
            found,
            [(*color, 255) for color in _colors(colors, ids)],
            [_opacity(value) for value in _each(opacity, ids, "opacity")],
            [_outline(value) for value in _each(outline, ids, "outline")],
            strict=True,
        )
    )
    if out is None:
        out = target = picture.copy(order="C")
    else:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be a uint8 array, got {type(out).__name__}")
        # As a plain ndarray: a subclass may override shape and dtype. A view: see _checked_picture.
        target = picture if out is image else np.asarray(out).view()
        if target.dtype != np.uint8 or target.shape != picture.shape:
            raise RLEError(
                f"out must be uint8 of shape {picture.shape}, got {target.dtype} {target.shape}"
            )
        if not target.flags.writeable:
            raise RLEError("out is read-only")
        if target is not picture:
            target[...] = picture
    if overlap == "majority":
        layers = _majority(layers)
    _lay(target, layers)
    if labels is not False:
        write_labels(target, label_places(dict(zip(ids, found, strict=True)), labels))
    return out


def render_layer(
    mask: RLELike, color: Color = (*KLING_GREEN, KLING_ALPHA)
) -> npt.NDArray[np.uint8]:
    """Draw a mask as a transparent layer, as the sample code of Kling's reference does.

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

    Examples
    --------
    >>> import klingmask
    >>> mask = klingmask.Mask.from_bbox((1, 2), (1, 0, 1, 1))
    >>> klingmask.render_layer(mask).tolist()
    [[[0, 0, 0, 0], [116, 255, 82, 163]]]
    """
    return _render(Mask.from_rle(mask), _color(color, 4))


@overload
def cutout(image: "PILImage", mask: RLELike, *, crop: bool = False) -> "PILImage": ...
@overload
def cutout(image: npt.ArrayLike, mask: RLELike, *, crop: bool = False) -> Image: ...
def cutout(image: Any, mask: RLELike, *, crop: bool = False) -> Any:
    """Cut the foreground out of an image.

    Parameters
    ----------
    image : array_like, shape (h, w, 3) or (h, w, 4), uint8; or a PIL image
        RGB or RGBA. A PIL image is first rotated upright, as its EXIF orientation says.
    mask : Mask or rle
        A mask of the image's size.
    crop : bool
        Whether to keep only the mask's bounding box.

    Returns
    -------
    ndarray, shape (h, w, 4), uint8; or a PIL image if `image` is one
        RGBA: the image on the foreground, transparent (all 0) elsewhere. With `crop`,
        h and w are those of the box.

    Raises
    ------
    RLEError
        If the mask is not of the image's size, or is empty and `crop` is true.

    Examples
    --------
    >>> import klingmask
    >>> import numpy as np
    >>> image = np.full((2, 3, 3), 200, np.uint8)
    >>> mask = klingmask.Mask.from_bbox((2, 3), (1, 0, 1, 2))
    >>> klingmask.cutout(image, mask)[0].tolist()
    [[0, 0, 0, 0], [200, 200, 200, 255], [0, 0, 0, 0]]
    >>> klingmask.cutout(image, mask, crop=True).shape
    (2, 1, 4)
    """
    if _is_pil(image):
        from PIL.Image import fromarray

        from klingmask.pictures import pixels_of

        return fromarray(cutout(pixels_of(image), mask, crop=crop))
    picture, found = _checked_picture(image), Mask.from_rle(mask)
    _check_size(found, picture, "the mask")
    if crop:
        if not found:
            raise RLEError("an empty mask has no box to crop to")
        x, y, w, h = found.bbox
        picture, found = picture[y : y + h, x : x + w], found.crop(found.bbox)
    cut = np.empty((*found.size, 4), np.uint8)
    cut[..., :3] = picture[..., :3]
    cut[..., 3] = picture[..., 3] if picture.shape[2] == 4 else 255
    cut *= found.to_numpy()[..., None]
    return cut


# A mask, its colour and alpha, the opacity in 255ths and the outline's width.
_Layer: TypeAlias = tuple[Mask, tuple[int, int, int, int], int, int]


def _is_pil(image: object) -> bool:
    """Whether an image is a PIL image. If PIL is not imported yet, it cannot be one."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def _checked_picture(image: npt.ArrayLike) -> Image:
    """Return a checked view: code of the caller that runs for colours may reshape its own array."""
    picture = np.asarray(image).view()
    if picture.dtype != np.uint8:
        raise TypeError(f"the image must be uint8, got {picture.dtype}")
    if picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise RLEError(f"the image must have the shape (h, w, 3) or (h, w, 4), got {picture.shape}")
    return picture


def _check_size(mask: Mask, picture: Image, name: str, index: int | None = None) -> None:
    size = picture.shape[:2]
    if mask.size == size:
        return
    if mask.size == size[::-1]:
        hint = "one of them may be turned by 90 degrees"
    elif _same_shape(mask.size, size):
        hint = f"mask.resize{size} would fit it"
    else:
        hint = "the mask is of another image, or of one that was cropped or turned"
    raise RLEError(f"{name} has the size {mask.size}, the image {size}; {hint}", index=index)


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one shape: scaled to the other, one is off by less than a pixel."""
    (height, width), (tall, wide) = one, other
    if not (height and width and tall and wide):
        return False
    return abs(width * tall / height - wide) < 1 or abs(height * wide / width - tall) < 1


def _lay(picture: Image, layers: list[_Layer]) -> None:
    """Blend the layers over the picture, in place, with any strides."""
    if picture.strides[1:] == (picture.shape[2], 1) or picture.size == 0:
        _blend(picture, layers)
        return
    contiguous = np.ascontiguousarray(picture)
    _blend(contiguous, layers)
    picture[...] = contiguous


def _majority(layers: list[_Layer]) -> list[_Layer]:
    """One layer for each colour: the pixels at which most masks have that colour."""
    last = {tint: place for place, (_, tint, _, _) in enumerate(layers)}
    ranks = {tint: rank for rank, tint in enumerate(sorted(last, key=last.__getitem__))}
    masks = MaskArray.from_rles(mask for mask, _, _, _ in layers)
    groups = np.array([ranks[tint] for _, tint, _, _ in layers], np.uint32)
    winners = _plurality(masks, groups, len(ranks))
    return [(winners[rank], *layers[last[tint]][1:]) for tint, rank in ranks.items()]


def _color(color: Color, channels: int) -> tuple[int, ...]:
    if isinstance(color, (str, bytes)):
        raise TypeError(f"a color is {channels} integers from 0 to 255, got {_shown(color)}")
    values = tuple(color)
    if len(values) != channels or not all(
        isinstance(value, (int, np.integer)) and 0 <= value <= 255 for value in values
    ):
        raise RLEError(f"a color must be {channels} integers from 0 to 255, got {_shown(color)}")
    return values


def _opacity(value: float) -> int:
    if not 0 <= value <= 1:
        raise RLEError(f"opacity must be between 0 and 1, got {_shown(value)}")
    return round(float(value) * 255)


def _outline(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"outline must be an integer, got {_shown(value)}")
    if value < 0:
        raise RLEError(f"outline must not be negative, got {_shown(value)}")
    return min(int(value), 2**32 - 1)


def _with_ids(masks: Masks) -> tuple[list[Any], list[Mask]]:
    """Object ids and masks, in drawing order. In a list, the indices are the ids."""
    if isinstance(masks, Mask) or (isinstance(masks, Mapping) and "counts" in masks):
        masks = [masks]
    if isinstance(masks, Mapping):
        return list(masks), [Mask.from_rle(rle) for rle in masks.values()]
    found = [Mask.from_rle(rle) for rle in masks]
    return list(range(len(found))), found


def _each(values: Any, ids: list[Any], name: str) -> list[Any]:
    """One value for each mask: `values` is one for all, a sequence, or a mapping from id."""
    if isinstance(values, Mapping):
        missing = [key for key in ids if key not in values]
        if missing:
            raise RLEError(f"{name} has none for the object {_shown(missing[0])}")
        return [values[key] for key in ids]
    if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
        return [values] * len(ids)
    if len(values) != len(ids):
        raise RLEError(f"there are {len(values)} {name} for {len(ids)} masks")
    return list(values)


def _colors(colors: Colors | None, ids: list[Any]) -> list[tuple[int, int, int]]:
    if colors is None:
        return [palette_color(key) for key in ids]
    if not isinstance(colors, Mapping):
        if isinstance(colors, (str, bytes)):
            _color(colors, 3)  # refuses it
        listed: list[Any] = list(colors)
        single = not any(isinstance(entry, (Sequence, np.ndarray)) for entry in listed)
        colors = [listed] * len(ids) if single else listed
    chosen = []
    for color in _each(colors, ids, "colors"):
        red, green, blue = _color(color, 3)
        chosen.append((red, green, blue))
    return chosen


def label_places(
    masks: Masks, labels: bool | Sequence[object] | Mapping[Any, object] = True
) -> list[tuple[str, float, float]]:
    """Return the label and the centroid (x, y) of each mask that has foreground and a label."""
    ids, found = _with_ids(masks)
    texts = ids if labels is True else _each(labels, ids, "labels")
    return [
        (str(text), *mask.centroid)
        for mask, text in zip(found, texts, strict=True)
        if mask and text is not None and str(text)
    ]


def write_labels(picture: Image, labels: Iterable[tuple[str, float, float]]) -> None:
    """Write texts on a picture, white with a black border, centred at (x, y)."""
    try:
        from PIL import Image as Pillow
        from PIL import ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError("labels need Pillow: pip install 'klingmask[image]'") from error

    height, width = picture.shape[:2]
    size = max(11, height // 40)
    font = ImageFont.load_default(size)
    for text, x, y in labels:
        left, top, right, bottom = font.getbbox(text, stroke_width=size // 8)
        w, h = int(right - left) + 1, int(bottom - top) + 1
        x0 = max(0, min(int(x - w / 2), width - w))
        y0 = max(0, min(int(y - h / 2), height - h))
        patch = picture[y0 : y0 + h, x0 : x0 + w]
        drawn = Pillow.fromarray(np.ascontiguousarray(patch))
        ImageDraw.Draw(drawn).text(
            (-left, -top),
            text,
            (255,) * picture.shape[2],
            font,
            stroke_width=size // 8,
            stroke_fill=(0, 0, 0, 255)[: picture.shape[2]],
        )
        patch[...] = np.asarray(drawn)
