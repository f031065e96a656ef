from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, Literal, Never, SupportsIndex, TypeAlias, TypeVar, final, overload

import numpy as np
import numpy.typing as npt

from klingmask.typing import RLE, BBox, Pixels, RLELike, Size

_Out = TypeVar("_Out", npt.NDArray[np.uint8], npt.NDArray[np.bool_])
_Number = TypeVar("_Number", bound=np.number[Any])
_Order: TypeAlias = Literal["C", "F"]
_UInt8: TypeAlias = Literal["uint8"] | type[np.uint8] | np.dtype[np.uint8]
_Bool: TypeAlias = Literal["bool"] | type[bool] | type[np.bool_] | np.dtype[np.bool_]
_Align: TypeAlias = Literal["center", "corner"]
_Many: TypeAlias = MaskArray | Iterable[RLELike]
_Indices: TypeAlias = (
    slice | list[int] | list[bool] | npt.NDArray[np.integer] | npt.NDArray[np.bool_]
)

simd_level: str

def _select_simd(level: str | None) -> str: ...

class RLEError(ValueError):
    """A mask that cannot be read, or masks of different sizes in one call.

    Attributes
    ----------
    position : int or None
        Where in the counts the defect is: the byte of a text, or the index in a list of run
        lengths.
    index : int or None
        Which rle of a list has the defect.

    Examples
    --------
    >>> try:
    ...     klingmask.area([{"size": [4, 4], "counts": "1!"}])
    ... except klingmask.RLEError as error:
    ...     print(error)
    ...     print(error.index, error.position)
    rles[0]: byte 1: the character '!' is outside 48..111 ('0'..'o')
    0 1
    """

    position: int | None
    index: int | None
    def __init__(
        self, message: str, position: int | None = None, index: int | None = None
    ) -> None: ...

def get_max_pixels() -> int | None:
    """Return the pixel limit: the largest image, in pixels, that is decoded; None for no limit.

    Returns
    -------
    int or None
        268435456 (2**28) unless `set_max_pixels` changed it.

    Examples
    --------
    >>> klingmask.get_max_pixels()
    268435456
    """

def set_max_pixels(limit: int | None) -> None:
    """Set the pixel limit: the largest image, in pixels, that is decoded.

    A few bytes of counts can claim an image of gigabytes. Functions that allocate pixels (decode,
    to_numpy, to_png, render_layer) refuse a mask of more than `limit` pixels. Functions that work
    on runs, or that write into the caller's `out`, do not look at the limit. Masks that are moved,
    flipped or resized may need many more runs than before: up to 2**28 (1 GiB), or `limit` if that
    is more.

    Parameters
    ----------
    limit : int or None
        Pixels, height x width, of a single mask; None for no limit. It holds for the whole process.

    Raises
    ------
    RLEError
        If `limit` is negative.

    Examples
    --------
    >>> klingmask.set_max_pixels(2**28)
    """

@final
class Mask:
    """One binary mask, kept as run lengths: an immutable value.

    A mask is made by `from_rle`, `from_numpy`, `from_bbox`, `from_png` or `zeros`. Masks of one
    size combine with ``| & - ^ ~``. ``==``, ``hash``, pickle and copy work as on any value;
    ``(x, y) in mask`` is whether a pixel is foreground, and ``bool(mask)`` whether any is.
    ``np.asarray(mask)`` is bool, so ``frame[mask] = 0`` blackens the foreground.

    Examples
    --------
    >>> mask = klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2))
    >>> mask
    Mask(size=(4, 6), area=6, bbox=(1, 1, 3, 2))
    >>> (2, 1) in mask
    True
    >>> (~mask).area
    18
    """

    __array_ufunc__: None
    def __init__(self) -> None: ...
    @staticmethod
    def from_rle(rle: RLELike, *, strict: bool = True) -> Mask:
        """Read a compressed or plain run-length mask.

        Parameters
        ----------
        rle : mapping or Mask
            ``{"size": [h, w], "counts": ...}``. The counts are the text of the COCO data set (str
            or bytes) or a list of run lengths, down the columns, background first.
        strict : bool
            False takes a missing tail as background and accepts codes that are longer than they
            need to be, as the sample code of Kling's API reference does.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the counts are not well-formed or do not fill the size; the message names the byte.
        TypeError
            If something is of the wrong type.

        Examples
        --------
        >>> klingmask.Mask.from_rle({"size": [2, 2], "counts": "112"}).runs.tolist()
        [1, 1, 2]
        """
    @staticmethod
    def from_numpy(array: npt.ArrayLike, threshold: float | None = None) -> Mask:
        """Take the non-zero pixels of an image, or the high scores, as foreground.

        Parameters
        ----------
        array : array_like, shape (h, w)
            Of any bool, integer or float dtype, memory order and strides. Without a threshold, NaN
            is foreground.
        threshold : float, optional
            Foreground is where ``array > threshold``: for scores.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the array is not two-dimensional or has 2**32 pixels or more.
        TypeError
            If the array is of another dtype, or `threshold` is not a number.

        Examples
        --------
        >>> klingmask.Mask.from_numpy([[0.2, 0.7], [0.9, 0.4]], threshold=0.5).area
        2
        """
    @staticmethod
    def from_bbox(size: Size, bbox: Iterable[SupportsIndex]) -> Mask:
        """Fill a box.

        Parameters
        ----------
        size : (int, int)
            Height and width of the image.
        bbox : (int, int, int, int)
            ``(x, y, w, h)`` in pixels. The part outside the image is cut off.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the size, or the width or height of the box, is negative, or the mask would have more
            runs than `set_max_pixels` allows.
        TypeError
            If anything is not an integer.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (4, 1, 9, 2)).bbox
        (4, 1, 2, 2)
        """
    @staticmethod
    def zeros(size: Size) -> Mask:
        """Make a mask without foreground.

        Parameters
        ----------
        size : (int, int)
            Height and width of the image.

        Returns
        -------
        Mask

        Examples
        --------
        >>> klingmask.Mask.zeros((4, 6)).area
        0
        """
    @staticmethod
    def from_png(source: bytes | str | PathLike[str]) -> Mask:
        """Read a PNG: pixels are foreground unless they are black or fully transparent.

        Needs the extra ``image``.

        Parameters
        ----------
        source : bytes or path
            The content of the PNG, or its path. Greyscale of any depth, palette (index 0 is
            background), RGB, and greyscale or RGB with an alpha channel.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If it is not a PNG, is damaged, or has more pixels than `set_max_pixels` allows.

        Examples
        --------
        >>> mask = klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2))
        >>> klingmask.Mask.from_png(mask.to_png()) == mask
        True
        """
    @property
    def size(self) -> tuple[int, int]:
        """(int, int): height and width of the image."""
    @property
    def area(self) -> int:
        """int: the number of foreground pixels."""
    @property
    def bbox(self) -> BBox:
        """(int, int, int, int): the bounding box (x, y, w, h), all 0 for an empty mask."""
    @property
    def centroid(self) -> tuple[float, float]:
        """(float, float): the mean x and y of the foreground; the first pixel's centre is at 0.5.

        (0.0, 0.0) for an empty mask.
        """
    @property
    def runs(self) -> npt.NDArray[np.uint32]:
        """Run lengths down the columns, background first: (n,) uint32, read-only."""
    @property
    def counts(self) -> str:
        """str: the runs as compressed text, the same that pycocotools would write."""
    def to_rle(self) -> RLE:
        """Return the mask as ``{"size": [h, w], "counts": str}``, ready for JSON.

        Returns
        -------
        dict

        Examples
        --------
        >>> klingmask.Mask.from_bbox((2, 2), (1, 0, 1, 1)).to_rle()
        {'size': [2, 2], 'counts': '211'}
        """
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: _UInt8 = "uint8",
        value: int = 1,
        out: None = None,
    ) -> npt.NDArray[np.uint8]:
        """Decode into pixels.

        Parameters
        ----------
        order : {"C", "F"}
            Memory order of the new array. "C": rows are contiguous; "F": columns are.
        dtype : dtype
            Of the new array: bool, an integer or a float type.
        value : int
            The value of foreground, which has to fit the dtype; background is 0.
        out : ndarray, shape (h, w), optional
            Decode into this uint8 or bool array, whatever its order and strides. `order` and
            `dtype` are ignored then.

        Returns
        -------
        ndarray, shape (h, w)
            `out` if it was given.

        Raises
        ------
        RLEError
            If the mask has more pixels than `set_max_pixels` allows (and `out` is not given), or
            `out` has the wrong shape or is read-only.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((2, 3), (1, 0, 1, 2)).to_numpy(value=255)
        array([[  0, 255,   0],
               [  0, 255,   0]], dtype=uint8)
        """
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: _Bool,
        value: int = 1,
        out: None = None,
    ) -> npt.NDArray[np.bool_]: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: type[_Number] | np.dtype[_Number],
        value: int = 1,
        out: None = None,
    ) -> npt.NDArray[_Number]: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: npt.DTypeLike = "uint8",
        value: int = 1,
        out: _Out,
    ) -> _Out: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: npt.DTypeLike,
        value: int = 1,
        out: Pixels | None = None,
    ) -> npt.NDArray[Any]: ...
    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]: ...
    def to_png(self) -> bytes:
        """Return the mask as a greyscale PNG, foreground 255.

        Needs the extra ``image``.

        Returns
        -------
        bytes

        Examples
        --------
        >>> klingmask.Mask.zeros((4, 6)).to_png()[1:4]
        b'PNG'
        """
    def _repr_png_(self) -> bytes | None: ...
    def copy(self) -> Mask:
        """Return the same mask with runs of its own.

        A mask that was taken from a MaskArray keeps the runs of the whole array in memory; its copy
        keeps only its own. ``copy.copy`` and ``copy.deepcopy`` do the same.

        Returns
        -------
        Mask

        Examples
        --------
        >>> masks = klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]])
        >>> masks[1].copy() == masks[1]
        True
        """
    def iou(self, other: Mask) -> float:
        """Return the intersection over union with another mask; 0.0 if both are empty.

        Parameters
        ----------
        other : Mask
            Of the same size.

        Returns
        -------
        float

        Raises
        ------
        RLEError
            If the sizes differ.

        Examples
        --------
        >>> left = klingmask.Mask.from_bbox((2, 4), (0, 0, 2, 2))
        >>> left.iou(klingmask.Mask.from_bbox((2, 4), (1, 0, 2, 2)))
        0.3333333333333333
        """
    @overload
    def resize(
        self, height: SupportsIndex, width: SupportsIndex, *, align: _Align = "center"
    ) -> Mask:
        """Return the mask on a grid of another size, by nearest neighbour.

        Parameters
        ----------
        height, width : int
            Or one pair (height, width).
        align : {"center", "corner"}
            "center": each pixel takes the value at its centre, column
            ``floor((x + 0.5) * w / width)`` of the mask and the row likewise, as Pillow's NEAREST,
            torch's "nearest-exact" and OpenCV's INTER_NEAREST_EXACT do. "corner": the value at its
            top left corner, column ``floor(x * w / width)``, as torch's "nearest" and OpenCV's
            INTER_NEAREST do.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If a size is negative or has 2**32 pixels or more, or the mask would have more runs than
            `set_max_pixels` allows.

        Examples
        --------
        >>> dot = klingmask.Mask.from_bbox((9, 9), (4, 4, 1, 1))
        >>> dot.resize(3, 3).bbox
        (1, 1, 1, 1)
        >>> dot.resize(3, 3, align="corner").area
        0
        """
    @overload
    def resize(self, height: Size, width: None = None, *, align: _Align = "center") -> Mask: ...
    def crop(self, bbox: Sequence[SupportsIndex]) -> Mask:
        """Return the part of the mask that lies in a box.

        Parameters
        ----------
        bbox : (int, int, int, int)
            ``(x, y, w, h)`` in pixels; outside the image is background.

        Returns
        -------
        Mask
            Of the size (h, w).

        Raises
        ------
        RLEError
            If `bbox` is not such a box, or the mask would have more runs than `set_max_pixels`
            allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2)).crop((0, 0, 2, 4)).area
        2
        """
    def pad(
        self, top: SupportsIndex, bottom: SupportsIndex, left: SupportsIndex, right: SupportsIndex
    ) -> Mask:
        """Return the mask with more background on each side.

        Parameters
        ----------
        top, bottom, left, right : int
            Pixels to add.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If a number is negative, or the mask would have more runs than `set_max_pixels` allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2)).pad(2, 0, 0, 1)
        Mask(size=(6, 7), area=6, bbox=(1, 3, 3, 2))
        """
    def shift(self, dx: SupportsIndex, dy: SupportsIndex) -> Mask:
        """Return the mask moved to the right by `dx` and down by `dy` pixels, of the same size.

        Parameters
        ----------
        dx, dy : int
            Negative to the left and up. Foreground that leaves the image is lost.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the mask would have more runs than `set_max_pixels` allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (1, 1, 3, 2)).shift(3, -2).bbox
        (4, 0, 2, 1)
        """
    def flip(self, axis: Literal[0, 1]) -> Mask:
        """Return the mask mirrored, as np.flip does it.

        Parameters
        ----------
        axis : {0, 1}
            0 turns it upside down, 1 swaps left and right.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the mask would have more runs than `set_max_pixels` allows.

        Examples
        --------
        >>> klingmask.Mask.from_bbox((4, 6), (0, 0, 2, 1)).flip(1).bbox
        (4, 0, 2, 1)
        """
    @overload
    def __or__(self, other: Mask, /) -> Mask:
        """Return the union: ``a | b``. With a MaskArray, one for each of its masks."""
    @overload
    def __or__(self, other: MaskArray, /) -> MaskArray: ...
    @overload
    def __and__(self, other: Mask, /) -> Mask:
        """Return the intersection: ``a & b``. With a MaskArray, one for each of its masks."""
    @overload
    def __and__(self, other: MaskArray, /) -> MaskArray: ...
    @overload
    def __sub__(self, other: Mask, /) -> Mask:
        """Return the pixels of this mask that are not in the other: ``a - b``."""
    @overload
    def __sub__(self, other: MaskArray, /) -> MaskArray: ...
    @overload
    def __xor__(self, other: Mask, /) -> Mask:
        """Return the pixels that are in exactly one of the two: ``a ^ b``."""
    @overload
    def __xor__(self, other: MaskArray, /) -> MaskArray: ...
    def __invert__(self) -> Mask:
        """Return the complement, foreground for background: ``~a``."""
    def __contains__(self, point: Iterable[SupportsIndex], /) -> bool:
        """Return whether the pixel (x, y) is foreground; False outside the image."""
    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Mask: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Mask: ...

@final
class MaskArray:
    """Many masks in one block of memory: a sequence with columns.

    A MaskArray is made by `from_rles`, `from_numpy` or `concatenate`. An integer index gives a
    `Mask` and a slice a MaskArray that share the array's memory: keeping one mask keeps the runs of
    all, and `copy` gives it runs of its own. An array of indices or bools gives a MaskArray with
    runs of its own. Sizes may differ, except in operations that combine masks. ``| & - ^`` go
    pairwise, or with one `Mask`; ``~`` goes over all.

    Examples
    --------
    >>> masks = klingmask.MaskArray.from_numpy([[[0, 1], [0, 1]], [[1, 1], [0, 0]]])
    >>> masks
    MaskArray(n=2, size=(2, 2))
    >>> masks.area
    array([2, 2])
    >>> (masks & masks[0]).area
    array([2, 1])
    """

    __array_ufunc__: None
    def __init__(self) -> None: ...
    @staticmethod
    def from_rles(rles: _Many, *, strict: bool = True) -> MaskArray:
        """Read many masks.

        Parameters
        ----------
        rles : iterable of mappings or Masks
            As `Mask.from_rle` takes them.
        strict : bool
            As for `Mask.from_rle`.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError, TypeError
            As `Mask.from_rle` does; the message says which of the rles it is.

        Examples
        --------
        >>> rle = {"size": [2, 2], "counts": "112"}
        >>> klingmask.MaskArray.from_rles([rle, rle]).bbox
        array([[0, 1, 1, 1],
               [0, 1, 1, 1]])
        """
    @staticmethod
    def from_numpy(
        array: npt.ArrayLike, threshold: float | None = None, *, threads: int = 1
    ) -> MaskArray:
        """Take the non-zero pixels, or the high scores, of a stack of images as foreground.

        Parameters
        ----------
        array : array_like, shape (n, h, w)
            As `Mask.from_numpy` takes it.
        threshold : float, optional
            As for `Mask.from_numpy`.
        threads : int
            How many threads share the images; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.from_numpy` does; and for an array that looks like pycocotools' (h, w, n).

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0.2, 0.7]], [[0.9, 0.6]]], 0.5).area
        array([1, 2])
        """
    @staticmethod
    def concatenate(parts: Iterable[RLELike | _Many]) -> MaskArray:
        """Join masks into one MaskArray with runs of its own.

        Parameters
        ----------
        parts : iterable of MaskArrays, Masks or lists of rles

        Returns
        -------
        MaskArray

        Examples
        --------
        >>> one = klingmask.Mask.from_bbox((2, 3), (0, 0, 1, 2))
        >>> two = klingmask.MaskArray.from_rles([one, ~one])
        >>> klingmask.MaskArray.concatenate([two, one]).area
        array([2, 4, 2])
        """
    def __len__(self) -> int:
        """Return len(self)."""
    @overload
    def __getitem__(self, key: int | np.integer[Any], /) -> Mask:
        """Return one mask for an integer, a MaskArray for a slice or an array as numpy takes it."""
    @overload
    def __getitem__(self, key: _Indices, /) -> MaskArray: ...
    def __iter__(self) -> Iterator[Mask]:
        """Implement iter(self)."""
    @property
    def size(self) -> npt.NDArray[np.int64]:
        """ndarray, shape (n, 2), int64: height and width of each mask's image."""
    @property
    def area(self) -> npt.NDArray[np.int64]:
        """ndarray, shape (n,), int64: the number of foreground pixels of each mask."""
    @property
    def bbox(self) -> npt.NDArray[np.int64]:
        """ndarray, shape (n, 4), int64: the bounding box (x, y, w, h) of each, all 0 if empty."""
    @property
    def centroid(self) -> npt.NDArray[np.float64]:
        """ndarray, shape (n, 2), float64: mean x and y of each mask, as `Mask.centroid` has it."""
    def iou(self, other: RLELike | _Many, *, threads: int = 1) -> npt.NDArray[np.float64]:
        """Return the intersection over union of every mask with every other.

        Parameters
        ----------
        other : MaskArray or list of rles
            m masks of the same size.
        threads : int
            How many threads share the n masks; worth it for large batches only.

        Returns
        -------
        ndarray, shape (n, m), float64
            0 where both masks are empty.

        Raises
        ------
        RLEError
            If the sizes differ.

        Examples
        --------
        >>> masks = klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]])
        >>> masks.iou(masks)
        array([[1. , 0.5],
               [0.5, 1. ]])
        """
    def union(self) -> Mask:
        """Return the pixels in any of the masks.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the sizes differ or there is no mask.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1, 0]], [[1, 1, 0]]]).union().area
        2
        """
    def intersection(self) -> Mask:
        """Return the pixels in all of the masks.

        Returns
        -------
        Mask

        Raises
        ------
        RLEError
            If the sizes differ or there is no mask.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1, 0]], [[1, 1, 0]]]).intersection().area
        1
        """
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: _UInt8 = "uint8",
        value: int = 1,
        out: None = None,
        threads: int = 1,
    ) -> npt.NDArray[np.uint8]:
        """Decode all masks, which must have one size.

        Parameters
        ----------
        order, dtype, value
            As for `Mask.to_numpy`; `order` is that of each mask.
        out : ndarray, shape (n, h, w), optional
            As for `Mask.to_numpy`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        ndarray, shape (n, h, w)

        Raises
        ------
        RLEError
            If the sizes differ, or as `Mask.to_numpy` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).to_numpy(dtype=bool)
        array([[[False,  True]],
        <BLANKLINE>
               [[ True,  True]]])
        """
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: _Bool,
        value: int = 1,
        out: None = None,
        threads: int = 1,
    ) -> npt.NDArray[np.bool_]: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: type[_Number] | np.dtype[_Number],
        value: int = 1,
        out: None = None,
        threads: int = 1,
    ) -> npt.NDArray[_Number]: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: npt.DTypeLike = "uint8",
        value: int = 1,
        out: _Out,
        threads: int = 1,
    ) -> _Out: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: npt.DTypeLike,
        value: int = 1,
        out: Pixels | None = None,
        threads: int = 1,
    ) -> npt.NDArray[Any]: ...
    def to_rles(self) -> list[RLE]:
        """Return every mask as `Mask.to_rle` gives it.

        Returns
        -------
        list of dict

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).to_rles()
        [{'size': [1, 2], 'counts': '11'}, {'size': [1, 2], 'counts': '02'}]
        """
    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.object_]: ...
    def copy(self) -> MaskArray:
        """Return the same masks with runs of their own.

        A slice of a MaskArray keeps the runs of all its masks in memory; its copy does not.
        ``copy.copy`` and ``copy.deepcopy`` do the same.

        Returns
        -------
        MaskArray

        Examples
        --------
        >>> masks = klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]])
        >>> masks[1:].copy() == masks[1:]
        True
        """
    @overload
    def resize(
        self,
        height: SupportsIndex,
        width: SupportsIndex,
        *,
        align: _Align = "center",
        threads: int = 1,
    ) -> MaskArray:
        """Return all masks on a grid of another size; see `Mask.resize`.

        Parameters
        ----------
        height, width, align
            As for `Mask.resize`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.resize` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).resize(2, 4).area
        array([4, 8])
        """
    @overload
    def resize(
        self, height: Size, width: None = None, *, align: _Align = "center", threads: int = 1
    ) -> MaskArray: ...
    def crop(self, bbox: Sequence[SupportsIndex], *, threads: int = 1) -> MaskArray:
        """Return the part of each mask that lies in one box; see `Mask.crop`.

        Parameters
        ----------
        bbox : (int, int, int, int)
            As for `Mask.crop`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.crop` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).crop((1, 0, 1, 1)).area
        array([1, 1])
        """
    def pad(
        self,
        top: SupportsIndex,
        bottom: SupportsIndex,
        left: SupportsIndex,
        right: SupportsIndex,
        *,
        threads: int = 1,
    ) -> MaskArray:
        """Return all masks with more background on each side; see `Mask.pad`.

        Parameters
        ----------
        top, bottom, left, right : int
            Pixels to add.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.pad` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).pad(1, 0, 2, 0).bbox
        array([[3, 1, 1, 1],
               [2, 1, 2, 1]])
        """
    def shift(self, dx: SupportsIndex, dy: SupportsIndex, *, threads: int = 1) -> MaskArray:
        """Return all masks moved to the right by `dx` and down by `dy`; see `Mask.shift`.

        Parameters
        ----------
        dx, dy : int
            As for `Mask.shift`.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.shift` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).shift(1, 0).area
        array([0, 1])
        """
    def flip(self, axis: Literal[0, 1], *, threads: int = 1) -> MaskArray:
        """Return each mask mirrored; see `Mask.flip`.

        Parameters
        ----------
        axis : {0, 1}
            0 turns each mask upside down, 1 swaps left and right.
        threads : int
            How many threads share the masks; worth it for large batches only.

        Returns
        -------
        MaskArray

        Raises
        ------
        RLEError
            As `Mask.flip` does.

        Examples
        --------
        >>> klingmask.MaskArray.from_numpy([[[0, 1]], [[1, 1]]]).flip(1).bbox
        array([[0, 0, 1, 1],
               [0, 0, 2, 1]])
        """
    def __or__(self, other: Mask | MaskArray, /) -> MaskArray:
        """Return the unions, pairwise or with one Mask: ``masks | other``."""
    def __and__(self, other: Mask | MaskArray, /) -> MaskArray:
        """Return the intersections, pairwise or with one Mask: ``masks & other``."""
    def __sub__(self, other: Mask | MaskArray, /) -> MaskArray:
        """Return the pixels not in the other, pairwise or with one Mask: ``masks - other``."""
    def __xor__(self, other: Mask | MaskArray, /) -> MaskArray:
        """Return the pixels in exactly one, pairwise or with one Mask: ``masks ^ other``."""
    def __invert__(self) -> MaskArray:
        """Return the complement of each mask: ``~masks``."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> MaskArray: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> MaskArray: ...

@overload
def decode(
    rle: RLELike | _Many,
    *,
    order: _Order = "C",
    dtype: _UInt8 = "uint8",
    value: int = 1,
    out: None = None,
    threads: int = 1,
    strict: bool = True,
) -> npt.NDArray[np.uint8]:
    """Decode one rle, or a list of one size, into pixels.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray
        As `Mask.from_rle` takes it.
    order, dtype, value, out
        As for `Mask.to_numpy`. For a list, `order` is that of each mask and `out` has the shape
        (n, h, w). If one of the rles cannot be read, some of the others may be in `out`.
    threads : int
        How many threads share the masks of a list; worth it for large batches only.
    strict : bool
        As for `Mask.from_rle`.

    Returns
    -------
    ndarray, shape (h, w), or (n, h, w) for a list

    Raises
    ------
    RLEError, TypeError
        As `Mask.from_rle` and `Mask.to_numpy` do; for a list, the message says which of the rles it
        is.

    Examples
    --------
    >>> klingmask.decode({"size": [2, 3], "counts": "222"})
    array([[0, 1, 0],
           [0, 1, 0]], dtype=uint8)
    """

@overload
def decode(
    rle: RLELike | _Many,
    *,
    order: _Order = "C",
    dtype: _Bool,
    value: int = 1,
    out: None = None,
    threads: int = 1,
    strict: bool = True,
) -> npt.NDArray[np.bool_]: ...
@overload
def decode(
    rle: RLELike | _Many,
    *,
    order: _Order = "C",
    dtype: type[_Number] | np.dtype[_Number],
    value: int = 1,
    out: None = None,
    threads: int = 1,
    strict: bool = True,
) -> npt.NDArray[_Number]: ...
@overload
def decode(
    rle: RLELike | _Many,
    *,
    order: _Order = "C",
    dtype: npt.DTypeLike = "uint8",
    value: int = 1,
    out: _Out,
    threads: int = 1,
    strict: bool = True,
) -> _Out: ...
@overload
def decode(
    rle: RLELike | _Many,
    *,
    order: _Order = "C",
    dtype: npt.DTypeLike,
    value: int = 1,
    out: Pixels | None = None,
    threads: int = 1,
    strict: bool = True,
) -> npt.NDArray[Any]: ...
@overload  # an array of any rank: its shape is tuple[Any, ...], which alone matches this
def encode(
    array: np.ndarray[tuple[Never, Never, Never, Never], Any],
    threshold: float | None = None,
    *,
    threads: int = 1,
) -> Any:
    """Encode an image, or a stack of them; non-zero pixels, or high scores, are foreground.

    Parameters
    ----------
    array : array_like, shape (h, w) or (n, h, w)
        Of any bool, integer or float dtype, memory order and strides.
    threshold : float, optional
        Foreground is where ``array > threshold``: for scores.
    threads : int
        How many threads share the images of a stack; worth it for large batches only.

    Returns
    -------
    dict, or list of n dicts
        ``{"size": [h, w], "counts": str}``, the counts that pycocotools would write.

    Raises
    ------
    RLEError, TypeError
        As `Mask.from_numpy` and `MaskArray.from_numpy` do.

    Examples
    --------
    >>> klingmask.encode([[0, 1, 0], [0, 1, 0]])
    {'size': [2, 3], 'counts': '222'}
    """

@overload
def encode(
    array: np.ndarray[tuple[int, int], Any] | Sequence[Sequence[float]] | Mask,
    threshold: float | None = None,
    *,
    threads: int = 1,
) -> RLE: ...
@overload
def encode(
    array: np.ndarray[tuple[int, int, int], Any]
    | Sequence[np.ndarray[tuple[int, int], Any]]
    | Sequence[Sequence[Sequence[float]]],
    threshold: float | None = None,
    *,
    threads: int = 1,
) -> list[RLE]: ...
@overload
def area(rle: RLELike) -> int:
    """Count the foreground pixels of one rle, or of each rle of a list.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray

    Returns
    -------
    int, or ndarray of shape (n,), int64

    Examples
    --------
    >>> klingmask.area({"size": [2, 3], "counts": "222"})
    2
    """

@overload
def area(rle: _Many) -> npt.NDArray[np.int64]: ...
@overload
def bbox(rle: RLELike) -> BBox:
    """Return the bounding box of one rle, or of each rle of a list.

    Parameters
    ----------
    rle : rle, Mask, or a list of them, or MaskArray

    Returns
    -------
    (int, int, int, int), or ndarray of shape (n, 4), int64
        ``(x, y, w, h)``, all 0 for an empty mask.

    Examples
    --------
    >>> klingmask.bbox({"size": [2, 3], "counts": "222"})
    (1, 0, 1, 2)
    """

@overload
def bbox(rle: _Many) -> npt.NDArray[np.int64]: ...
def union(rles: RLELike | _Many) -> RLE:
    """Return the pixels in any of the rles, as an rle; see `MaskArray.union`.

    Examples
    --------
    >>> klingmask.union([{"size": [1, 3], "counts": "12"}, {"size": [1, 3], "counts": "012"}])
    {'size': [1, 3], 'counts': '03'}
    """

def intersection(rles: RLELike | _Many) -> RLE:
    """Return the pixels in all of the rles, as an rle; see `MaskArray.intersection`.

    Examples
    --------
    >>> klingmask.intersection(
    ...     [{"size": [1, 3], "counts": "12"}, {"size": [1, 3], "counts": "021"}]
    ... )
    {'size': [1, 3], 'counts': '111'}
    """

def difference(a: RLELike, b: RLELike) -> RLE:
    """Return the pixels in rle `a` but not in rle `b`, as an rle.

    Examples
    --------
    >>> klingmask.difference({"size": [1, 3], "counts": "03"}, {"size": [1, 3], "counts": "12"})
    {'size': [1, 3], 'counts': '012'}
    """

def symmetric_difference(a: RLELike, b: RLELike) -> RLE:
    """Return the pixels in exactly one of two rles, as an rle.

    Examples
    --------
    >>> klingmask.symmetric_difference(
    ...     {"size": [1, 3], "counts": "021"}, {"size": [1, 3], "counts": "12"}
    ... )
    {'size': [1, 3], 'counts': '0110'}
    """

@overload
def complement(rle: RLELike) -> RLE:
    """Return the pixels not in the rle, as an rle; a list gives a list.

    Examples
    --------
    >>> klingmask.complement({"size": [1, 3], "counts": "12"})
    {'size': [1, 3], 'counts': '012'}
    """

@overload
def complement(rle: _Many) -> list[RLE]: ...
@overload
def iou(rles_a: RLELike, rles_b: RLELike, *, threads: int = 1) -> float:
    """Return the intersection over union; 0 where both masks are empty.

    Parameters
    ----------
    rles_a, rles_b : rle or list of rles
        n and m masks of one size.
    threads : int
        How many threads share the n masks; worth it for large batches only.

    Returns
    -------
    float or ndarray of float64
        Shape (n, m); a single rle leaves its axis out.

    Raises
    ------
    RLEError
        If the sizes differ.

    Examples
    --------
    >>> klingmask.iou({"size": [1, 3], "counts": "12"}, [{"size": [1, 3], "counts": "03"}])
    array([0.66666667])
    """

@overload
def iou(rles_a: RLELike, rles_b: _Many, *, threads: int = 1) -> npt.NDArray[np.float64]: ...
@overload
def iou(rles_a: _Many, rles_b: RLELike | _Many, *, threads: int = 1) -> npt.NDArray[np.float64]: ...
def _blend(
    pixels: npt.NDArray[np.uint8],
    layers: list[tuple[Mask, tuple[int, int, int, int], int, int]],
) -> None: ...
def _use_png(
    read: Callable[[bytes | str | PathLike[str]], object],
    write: Callable[[npt.NDArray[np.uint8]], bytes],
) -> None: ...
def _plurality(masks: MaskArray, groups: npt.NDArray[np.uint32], n_groups: int) -> MaskArray: ...
def _shown(value: object) -> str: ...
def _render(mask: Mask, color: tuple[int, ...]) -> npt.NDArray[np.uint8]: ...
