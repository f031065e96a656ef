"""Every library of the field behind one face, each used as its own users would.

A method takes masks as they are at hand (rle dicts out of JSON, C- or F-order
arrays) and gives what the operation promises, with whatever copy this library
needs to get there. A library without a fitting call does not have the method.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import klingmask

Rle = dict[str, Any]
Rles = list[Rle]


class PycocotoolsLike:
    """Libraries with the face of pycocotools.mask."""

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def decode_c(self, rle: Rle) -> Any:
        return np.ascontiguousarray(self.mask.decode(rle))

    def decode_f(self, rle: Rle) -> Any:
        return self.mask.decode(rle)

    def encode_c(self, array: Any) -> Any:
        return self.mask.encode(np.asfortranarray(array))

    def encode_f(self, array: Any) -> Any:
        return self.mask.encode(array)

    def area_bbox(self, rles: Rles) -> Any:
        return self.mask.area(rles), self.mask.toBbox(rles)

    def iou(self, a: Rles, b: Rles) -> Any:
        return self.mask.iou(a, b, [0] * len(b))

    def union(self, rles: Rles) -> Any:
        return self.mask.merge(rles)

    def intersection(self, rles: Rles) -> Any:
        return self.mask.merge(rles, True)

    def decode_batch(self, rles: Rles) -> Any:
        out = np.empty((len(rles), *rles[0]["size"]), np.uint8)
        for rle, pixels in zip(rles, out, strict=True):
            pixels[...] = self.mask.decode(rle)
        return out

    def encode_batch(self, stack: Any) -> Any:
        return [self.mask.encode(np.asfortranarray(array)) for array in stack]


class Rlemasklib:
    """Its RLEMask class, which is faster than its functions."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.Mask = module.RLEMask

    def decode_c(self, rle: Rle) -> Any:
        return self.Mask.from_dict(rle).to_array(order="C")

    def decode_f(self, rle: Rle) -> Any:
        return self.Mask.from_dict(rle).to_array(order="F")

    def encode_c(self, array: Any) -> Any:
        return self.Mask.from_array(array).to_dict()

    encode_f = encode_c

    def area_bbox(self, rles: Rles) -> Any:
        return self.module.area(rles), self.module.to_bbox(rles)

    def columns(self, rles: Rles) -> Any:
        masks = [self.Mask.from_dict(rle) for rle in rles]
        areas = np.array([mask.area() for mask in masks])
        return areas, np.array([mask.bbox() for mask in masks])

    def iou(self, a: Rles, b: Rles) -> Any:
        return self.Mask.iou_matrix(
            [self.Mask.from_dict(rle) for rle in a], [self.Mask.from_dict(rle) for rle in b]
        )

    def union(self, rles: Rles) -> Any:
        return self.Mask.union([self.Mask.from_dict(rle) for rle in rles]).to_dict()

    def intersection(self, rles: Rles) -> Any:
        return self.Mask.intersection([self.Mask.from_dict(rle) for rle in rles]).to_dict()

    def decode_batch(self, rles: Rles) -> Any:
        out = np.zeros((len(rles), *rles[0]["size"]), np.uint8)
        for rle, pixels in zip(rles, out, strict=True):
            self.Mask.from_dict(rle).decode_into(pixels, fg_value=1)
        return out

    def encode_batch(self, stack: Any) -> Any:
        return [self.encode_c(array) for array in stack]


class Supervision:
    """Its MaskAnnotator, fed with masks as it keeps them: dense, or its CompactMask."""

    def __init__(self, module: Any, compact: bool = False) -> None:
        self.sv = module
        self.compact = compact

    def overlay(self, image: Any, _: Any, masks: Any, colors: Any, opacity: float) -> Any:
        sv = self.sv
        if getattr(self, "masks", None) is not masks:  # the detections are at hand, as ours are
            boxes = sv.mask_to_xyxy(masks)
            kept = masks
            if self.compact:
                kept = sv.CompactMask.from_dense(masks, boxes, image_shape=masks.shape[1:])
            self.detections = sv.Detections(boxes, kept, class_id=np.arange(len(masks)))
            palette = sv.ColorPalette([sv.Color(*color[::-1]) for color in colors])  # it is BGR
            self.annotator = sv.MaskAnnotator(palette, opacity)
            self.masks = masks
        return self.annotator.annotate(image, self.detections)


class CompactSupervision(Supervision):
    """The same with masks that it keeps as runs."""

    def __init__(self, module: Any) -> None:
        super().__init__(module, compact=True)


class OpenCV:
    """The best that a careful user would write with numpy and OpenCV."""

    def __init__(self, module: Any) -> None:
        self.cv2 = module
        self.prepared: tuple[Any, list[Any]] = (None, [])

    def overlay(self, image: Any, _: Any, masks: Any, colors: Any, opacity: float) -> Any:
        if self.prepared[0] is not masks:  # boxes, tints and crops are at hand, as our runs are
            ready = []
            for mask, color in zip(masks, colors, strict=True):
                x, y, w, h = self.cv2.boundingRect(mask.view(np.uint8))
                crop = np.ascontiguousarray(mask[y : y + h, x : x + w]).view(np.uint8)
                tint = np.full((h, w, 3), color, np.uint8)
                ready.append((np.s_[y : y + h, x : x + w], crop, tint))
            self.prepared = masks, ready
        for box, crop, tint in self.prepared[1]:
            part = image[box]
            self.cv2.copyTo(self.cv2.addWeighted(tint, opacity, part, 1 - opacity, 0), crop, part)
        return image

    def layer(self, _: Any, mask: Any, color: Any) -> Any:
        """Pixels as numbers of 32 bits: a set one times the color."""
        whole = np.array(color, np.uint8).view(np.uint32)
        return np.multiply(mask, whole, dtype=np.uint32).view(np.uint8).reshape(*mask.shape, 4)


class Klingmask:
    """The library of this repository."""

    def decode_c(self, rle: Rle) -> Any:
        return klingmask.decode(rle)

    def decode_f(self, rle: Rle) -> Any:
        return klingmask.decode(rle, order="F")

    def encode_c(self, array: Any) -> Any:
        return klingmask.encode(array)

    encode_f = encode_c

    def area_bbox(self, rles: Rles) -> Any:
        return klingmask.area(rles), klingmask.bbox(rles)

    def columns(self, rles: Rles) -> Any:
        masks = klingmask.MaskArray.from_rles(rles)
        return masks.area, masks.bbox

    def iou(self, a: Rles, b: Rles) -> Any:
        return klingmask.iou(a, b)

    def union(self, rles: Rles) -> Any:
        return klingmask.union(rles)

    def intersection(self, rles: Rles) -> Any:
        return klingmask.intersection(rles)

    def overlay(self, image: Any, masks: Any, _: Any, colors: Any, opacity: float) -> Any:
        return klingmask.overlay(image, masks, colors, opacity, out=image)

    def layer(self, mask: Any, _: Any, color: Any) -> Any:
        return klingmask.render_layer(mask, color)

    def decode_batch(self, rles: Rles) -> Any:
        return klingmask.decode(rles)

    def encode_batch(self, stack: Any) -> Any:
        return klingmask.encode(stack)


OURS = "klingmask"
COMMON = "pycocotools"  # what most users have
_FACES = {
    "pycocotools": ("pycocotools.mask", PycocotoolsLike),
    "hotcoco": ("hotcoco.mask", PycocotoolsLike),
    "faster-coco-eval": ("faster_coco_eval.core.mask", PycocotoolsLike),
    "ultrafast-pycocotools": ("ultrafast_pycocotools.mask", PycocotoolsLike),
    "rlemasklib": ("rlemasklib", Rlemasklib),
    "supervision": ("supervision", Supervision),
    "supervision CompactMask": ("supervision", CompactSupervision),
    "OpenCV by hand": ("cv2", OpenCV),
}


def installed() -> tuple[dict[str, Any], dict[str, str]]:
    """The libraries that can be timed, and why each of the others cannot."""
    found: dict[str, Any] = {OURS: Klingmask()}
    missing = {}
    for name, (module, face) in _FACES.items():
        try:
            found[name] = face(import_module(module))
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def versions() -> dict[str, str]:
    """The versions that were timed."""
    found = {}
    for name in (*_FACES, "opencv-python-headless", OURS, "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
