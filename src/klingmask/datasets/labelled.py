"""Masks with labels, chosen by label and grouped by frame."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

from klingmask._rle import Mask, MaskArray, RLEError
from klingmask.quoting import listed, printable, quoted

__all__ = ["LabelledMasks", "Labels", "as_text"]

Labels: TypeAlias = dict[str, int | float | str]
"""What a file says about a mask: frame, object, image, category, id, score."""


@dataclass(frozen=True, repr=False)
class LabelledMasks:
    """The masks of a file, and what the file says about each of them.

    Examples
    --------
    >>> rle = {"size": [2, 3], "counts": "114"}
    >>> found = find_masks([
    ...     {"image_id": 7, "category_id": 18, "segmentation": rle, "score": 0.9},
    ...     {"image_id": 7, "category_id": 1, "segmentation": rle, "score": 0.4},
    ... ])
    >>> found
    LabelledMasks('COCO results', 2 masks, labels: image, category, score)
    >>> found.labels[0]
    {'image': 7, 'category': 18, 'score': 0.9}
    >>> found.masks.area
    array([1, 1])
    """

    kind: str
    """What the file is, in words."""
    masks: MaskArray
    labels: list[Labels]
    """One dict for each mask, with those of the keys frame, object, image, category, id and score
    that the file has. COCO's image_id and category_id are called image and category."""
    every: int = 1
    """How many frames of the video lie between two annotated frames, plus 1: 4 in SA-V."""
    frames: tuple[Any, ...] = ()
    """All frames that the file lists, also frames without masks."""

    def __repr__(self) -> str:
        return (
            f"LabelledMasks({self.kind!r}, {len(self.labels)} masks, "
            f"labels: {', '.join(self._label_names()) or 'none'})"
        )

    def _label_names(self) -> list[str]:
        """Return the names of all labels, in the order in which they appear, safe to show."""
        names = dict.fromkeys(name for labels in self.labels for name in labels)
        return [printable(str(name)) for name in names]

    def where(self, **wanted: object) -> "LabelledMasks":
        """Choose the masks whose labels fulfil every condition.

        Parameters
        ----------
        **wanted
            One condition for each label that is named: a value; an iterable of values, of
            which any will do; or a function that takes the label's value and returns
            whether it will do. Values are compared as text, so ``"18"`` equals 18.
            A mask without the label does not fulfil the condition.

        Returns
        -------
        LabelledMasks
            Without masks if no mask fulfils all conditions at once, or if a function accepts
            no value.

        Raises
        ------
        RLEError
            If no mask has such a label (COCO's image_id is called image here), or if no mask
            has a value that is wanted. A function, as ``{18, 1}.__contains__``, chooses
            without this check.

        Examples
        --------
        >>> rle = {"size": [2, 3], "counts": "114"}
        >>> found = find_masks([
        ...     {"category_id": category, "segmentation": rle, "score": score}
        ...     for category, score in ((18, 0.9), (1, 0.4), (3, 0.8))
        ... ])
        >>> found.where(category=18).labels
        [{'category': 18, 'score': 0.9}]
        >>> len(found.where(category=[18, 1], score=lambda score: score > 0.5).labels)
        1
        """
        accepts = {name: self._condition(name, value) for name, value in wanted.items()}
        kept = [
            index
            for index, labels in enumerate(self.labels)
            if all(name in labels and accept(labels[name]) for name, accept in accepts.items())
        ]
        labels = [self.labels[index] for index in kept]
        return LabelledMasks(self.kind, self.masks[kept], labels, self.every, self.frames)

    def _condition(self, name: str, wanted: object) -> Callable[[Any], object]:
        """Return a function that tells whether a value of the label will do."""
        present = [labels[name] for labels in self.labels if name in labels]
        if self.labels and not present:
            names = ", ".join(sorted(self._label_names()))
            raise RLEError(
                f"no mask has the label {quoted(name)}; the labels are {names or 'none'}"
            )
        if callable(wanted):
            return wanted
        values = list(wanted) if _is_several(wanted) else [wanted]
        if present:
            self._check_values(name, values, present)
        texts = {text for value in values for text in _texts(value)}
        return lambda value: not texts.isdisjoint(_texts(value))

    @staticmethod
    def _check_values(name: str, values: list[object], present: list[Any]) -> None:
        """Raise an RLEError if no mask has one of the values."""
        known = {text for value in present for text in _texts(value)}
        for value in values:
            if _texts(value).isdisjoint(known):
                distinct = {as_text(each): each for each in present}.values()
                raise RLEError(
                    f"no mask has {name}={printable(as_text(value)[:60])}; "
                    f"{name} is one of {listed(distinct)}"
                )

    def tracking(self) -> dict[int, dict[int | float | str, Mask]]:
        """Group the masks by frame and object.

        A mask without a frame is of frame 0. A mask without an object id, or with an id that
        another mask of its frame has, gets its index in `masks` as (part of) its id.

        Returns
        -------
        dict
            Frame index -> object id -> mask. A frame that the file lists without masks has
            an empty dict.

        Raises
        ------
        RLEError
            If masks without a frame are of different images or of different sizes; if a frame
            index is not an integer, or an object id neither a number nor a str.

        Examples
        --------
        >>> rle = {"size": [2, 3], "counts": "114"}
        >>> frame = {"frame_index": 5, "rle_mask_list": [{"object_id": 7, "rle_mask": rle}]}
        >>> find_masks(frame).tracking()
        {5: {7: Mask(size=(2, 3), area=1, bbox=(0, 1, 1, 1))}}
        """
        self._check_one_image()
        frames: dict[int, dict[int | float | str, Mask]] = {
            _frame_index(frame): {} for frame in self.frames
        }
        for index, (labels, mask) in enumerate(zip(self.labels, self.masks, strict=True)):
            objects = frames.setdefault(_frame_index(labels.get("frame", 0)), {})
            name = labels.get("object", index)
            if not isinstance(name, (int, float, str)):
                raise RLEError(f"an object id must be a number or text, got {quoted(name)}")
            while name in objects:
                name = f"{name} ({index})"
            objects[name] = mask
        return frames

    def _check_one_image(self) -> None:
        """Raise an RLEError if the masks without a frame cannot be of one image."""
        frameless = [index for index, labels in enumerate(self.labels) if "frame" not in labels]
        images = {
            as_text(image): image
            for image in (self.labels[index].get("image") for index in frameless)
        }
        if len(images) > 1:
            first = next(image for image in images.values() if image is not None)
            raise RLEError(
                "the masks are of different pictures, not of frames of a video: image is "
                f"{listed(images.values())}; choose one, as where(image={as_text(first)})"
            )
        sizes = dict.fromkeys(map(tuple, self.masks.size[frameless].tolist()))
        if len(sizes) > 1:
            raise RLEError(
                f"the masks are not of one picture: their sizes are {listed(sizes)}; "
                "a file of several frames says the frame of each mask"
            )


def _is_several(wanted: object) -> TypeGuard[Iterable[object]]:
    """Return whether it is an iterable of values; a text and an array without axes are values."""
    single = isinstance(wanted, (str, bytes)) or getattr(wanted, "ndim", 1) == 0
    return isinstance(wanted, Iterable) and not single


def as_text(value: object) -> str:
    """Return a label's value as the text by which it is compared."""
    try:
        return str(value)
    except (ValueError, RecursionError):  # an integer of too many digits, a list in a list in ...
        return quoted(value)


def _texts(value: object) -> set[str]:
    """Return all texts that stand for a value: 18.0 may be written 18."""
    if isinstance(value, float) and value.is_integer():
        return {as_text(value), as_text(int(value))}
    return {as_text(value)}


def _frame_index(value: Any) -> int:
    if not isinstance(value, float) or value.is_integer():
        with suppress(TypeError, ValueError):
            return int(value)
    raise RLEError(f"a frame index must be an integer, got {quoted(value)}")
