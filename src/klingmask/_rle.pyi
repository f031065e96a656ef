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
    position: int | None
    index: int | None
    def __init__(
        self, message: str, position: int | None = None, index: int | None = None
    ) -> None: ...

def get_max_pixels() -> int | None: ...
def set_max_pixels(limit: int | None) -> None: ...

@final
class Mask:
    __array_ufunc__: None
    def __init__(self) -> None: ...
    @staticmethod
    def from_rle(rle: RLELike, *, strict: bool = True) -> Mask: ...
    @staticmethod
    def from_numpy(array: npt.ArrayLike, threshold: float | None = None) -> Mask: ...
    @staticmethod
    def from_bbox(size: Size, bbox: Iterable[SupportsIndex]) -> Mask: ...
    @staticmethod
    def zeros(size: Size) -> Mask: ...
    @staticmethod
    def from_png(source: bytes | str | PathLike[str]) -> Mask: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def area(self) -> int: ...
    @property
    def bbox(self) -> BBox: ...
    @property
    def centroid(self) -> tuple[float, float]: ...
    @property
    def runs(self) -> npt.NDArray[np.uint32]: ...
    @property
    def counts(self) -> str: ...
    def to_rle(self) -> RLE: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: _UInt8 = "uint8",
        value: int = 1,
        out: None = None,
    ) -> npt.NDArray[np.uint8]: ...
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
    def to_png(self) -> bytes: ...
    def _repr_png_(self) -> bytes | None: ...
    def copy(self) -> Mask: ...
    def iou(self, other: Mask) -> float: ...
    @overload
    def resize(
        self, height: SupportsIndex, width: SupportsIndex, *, align: _Align = "center"
    ) -> Mask: ...
    @overload
    def resize(self, height: Size, width: None = None, *, align: _Align = "center") -> Mask: ...
    def crop(self, bbox: Sequence[SupportsIndex]) -> Mask: ...
    def pad(
        self, top: SupportsIndex, bottom: SupportsIndex, left: SupportsIndex, right: SupportsIndex
    ) -> Mask: ...
    def shift(self, dx: SupportsIndex, dy: SupportsIndex) -> Mask: ...
    def flip(self, axis: Literal[0, 1]) -> Mask: ...
    @overload
    def __or__(self, other: Mask, /) -> Mask: ...
    @overload
    def __or__(self, other: MaskArray, /) -> MaskArray: ...
    @overload
    def __and__(self, other: Mask, /) -> Mask: ...
    @overload
    def __and__(self, other: MaskArray, /) -> MaskArray: ...
    @overload
    def __sub__(self, other: Mask, /) -> Mask: ...
    @overload
    def __sub__(self, other: MaskArray, /) -> MaskArray: ...
    @overload
    def __xor__(self, other: Mask, /) -> Mask: ...
    @overload
    def __xor__(self, other: MaskArray, /) -> MaskArray: ...
    def __invert__(self) -> Mask: ...
    def __contains__(self, point: Iterable[SupportsIndex], /) -> bool: ...
    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Mask: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Mask: ...

@final
class MaskArray:
    __array_ufunc__: None
    def __init__(self) -> None: ...
    @staticmethod
    def from_rles(rles: _Many, *, strict: bool = True) -> MaskArray: ...
    @staticmethod
    def from_numpy(
        array: npt.ArrayLike, threshold: float | None = None, *, threads: int = 1
    ) -> MaskArray: ...
    @staticmethod
    def concatenate(parts: Iterable[RLELike | _Many]) -> MaskArray: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: int | np.integer[Any], /) -> Mask: ...
    @overload
    def __getitem__(self, key: _Indices, /) -> MaskArray: ...
    def __iter__(self) -> Iterator[Mask]: ...
    @property
    def size(self) -> npt.NDArray[np.int64]: ...
    @property
    def area(self) -> npt.NDArray[np.int64]: ...
    @property
    def bbox(self) -> npt.NDArray[np.int64]: ...
    @property
    def centroid(self) -> npt.NDArray[np.float64]: ...
    def iou(self, other: RLELike | _Many, *, threads: int = 1) -> npt.NDArray[np.float64]: ...
    def union(self) -> Mask: ...
    def intersection(self) -> Mask: ...
    @overload
    def to_numpy(
        self,
        *,
        order: _Order = "C",
        dtype: _UInt8 = "uint8",
        value: int = 1,
        out: None = None,
        threads: int = 1,
    ) -> npt.NDArray[np.uint8]: ...
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
    def to_rles(self) -> list[RLE]: ...
    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.object_]: ...
    def copy(self) -> MaskArray: ...
    @overload
    def resize(
        self,
        height: SupportsIndex,
        width: SupportsIndex,
        *,
        align: _Align = "center",
        threads: int = 1,
    ) -> MaskArray: ...
    @overload
    def resize(
        self, height: Size, width: None = None, *, align: _Align = "center", threads: int = 1
    ) -> MaskArray: ...
    def crop(self, bbox: Sequence[SupportsIndex], *, threads: int = 1) -> MaskArray: ...
    def pad(
        self,
        top: SupportsIndex,
        bottom: SupportsIndex,
        left: SupportsIndex,
        right: SupportsIndex,
        *,
        threads: int = 1,
    ) -> MaskArray: ...
    def shift(self, dx: SupportsIndex, dy: SupportsIndex, *, threads: int = 1) -> MaskArray: ...
    def flip(self, axis: Literal[0, 1], *, threads: int = 1) -> MaskArray: ...
    def __or__(self, other: Mask | MaskArray, /) -> MaskArray: ...
    def __and__(self, other: Mask | MaskArray, /) -> MaskArray: ...
    def __sub__(self, other: Mask | MaskArray, /) -> MaskArray: ...
    def __xor__(self, other: Mask | MaskArray, /) -> MaskArray: ...
    def __invert__(self) -> MaskArray: ...
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
) -> npt.NDArray[np.uint8]: ...
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
) -> Any: ...
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
def area(rle: RLELike) -> int: ...
@overload
def area(rle: _Many) -> npt.NDArray[np.int64]: ...
@overload
def bbox(rle: RLELike) -> BBox: ...
@overload
def bbox(rle: _Many) -> npt.NDArray[np.int64]: ...
def union(rles: RLELike | _Many) -> RLE: ...
def intersection(rles: RLELike | _Many) -> RLE: ...
def difference(a: RLELike, b: RLELike) -> RLE: ...
def symmetric_difference(a: RLELike, b: RLELike) -> RLE: ...
@overload
def complement(rle: RLELike) -> RLE: ...
@overload
def complement(rle: _Many) -> list[RLE]: ...
@overload
def iou(rles_a: RLELike, rles_b: RLELike, *, threads: int = 1) -> float: ...
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
