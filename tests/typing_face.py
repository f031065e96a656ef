"""The public face as users write it, for type checkers: mypy reads this, nobody runs it.

`assert_type` holds a type that an editor shows. An ignored error must be one: mypy
complains of a "type: ignore" that ignores nothing.
"""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from PIL import Image

import klingmask as km
from klingmask import datasets, video
from klingmask.emulator import Emulator, MadeTask, running
from klingmask.kling import EditSession, KlingClient, KlingError, Selection, Task, prompts
from klingmask.typing import RLE, BBox

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


def masks_are_values(rle: dict[str, Any], scores: npt.NDArray[np.float32]) -> None:
    """Making, changing and measuring one."""
    mask = assert_type(km.Mask.from_rle(rle), km.Mask)
    assert_type(km.Mask.from_rle(rle, strict=False), km.Mask)
    assert_type(km.Mask.from_numpy(scores > 0.5), km.Mask)
    assert_type(km.Mask.from_numpy([[0, 1], [1, 0]]), km.Mask)
    assert_type(km.Mask.from_bbox((4, 6), (1, 1, 2, 2)), km.Mask)
    assert_type(km.Mask.from_bbox([4, 6], np.array([1, 1, 2, 2])), km.Mask)
    assert_type(km.Mask.zeros((4, 6)), km.Mask)
    for source in (b"...", "mask.png", Path("mask.png")):
        assert_type(km.Mask.from_png(source), km.Mask)
    assert_type(mask.size, tuple[int, int])
    assert_type(mask.area, int)
    assert_type(mask.bbox, BBox)
    assert_type(mask.centroid, tuple[float, float])
    assert_type(mask.runs, npt.NDArray[np.uint32])
    assert_type(mask.to_rle(), RLE)
    assert_type(mask.to_rle()["counts"], str)
    assert_type(mask.to_png(), bytes)
    assert_type(mask | mask, km.Mask)
    assert_type(~mask - mask & mask ^ mask, km.Mask)
    assert_type(mask.iou(mask), float)
    assert_type(mask.crop(mask.bbox).pad(1, 1, 1, 1).shift(2, 3).flip(0).resize(8, 9), km.Mask)
    assert_type((3, 4) in mask, bool)
    assert_type({mask: "a key"}[mask], str)
    mask.area = 5  # type: ignore[misc]
    mask | rle  # type: ignore[operator]
    km.Mask.from_rle("1P0")  # type: ignore[arg-type]
    mask.flip(2)  # type: ignore[arg-type]


def pixels_have_their_dtype(mask: km.Mask, masks: km.MaskArray) -> None:
    """uint8 unless bool is asked for; an array of one's own comes back as it is."""
    assert_type(mask.to_numpy(), UInt8)
    assert_type(mask.to_numpy(order="F"), UInt8)
    assert_type(mask.to_numpy(dtype="bool"), Bool)
    assert_type(mask.to_numpy(dtype=bool), Bool)
    assert_type(mask.to_numpy(dtype=np.uint8, value=255), UInt8)
    assert_type(masks.to_numpy(), UInt8)
    assert_type(masks.to_numpy(dtype=np.bool_, threads=2), Bool)
    out = np.zeros((3, 4, 5), np.bool_)
    assert_type(masks.to_numpy(out=out), Bool)
    assert_type(km.decode(mask), UInt8)
    assert_type(km.decode([mask, mask.to_rle()], dtype="bool"), Bool)
    assert_type(km.decode(masks, threads=2), UInt8)
    assert_type(km.decode(masks, out=out), Bool)
    mask.to_numpy(order="K")  # type: ignore[call-overload]


def many_masks_are_columns(rles: list[RLE], stack: UInt8) -> None:
    """An array of masks is indexed as numpy's are."""
    masks = assert_type(km.MaskArray.from_rles(rles), km.MaskArray)
    assert_type(km.MaskArray.from_numpy(stack, threads=2), km.MaskArray)
    assert_type(km.MaskArray.from_rles(mask for mask in masks), km.MaskArray)
    assert_type(masks.area, Int64)
    assert_type(masks.bbox, Int64)
    assert_type(masks.size, Int64)
    assert_type(masks[0], km.Mask)
    assert_type(masks[np.int64(0)], km.Mask)
    assert_type(masks[1:3], km.MaskArray)
    assert_type(masks[masks.area > 100], km.MaskArray)
    assert_type(masks[[0, 2]], km.MaskArray)
    assert_type(list(masks), list[km.Mask])
    assert_type(len(masks), int)
    assert_type(masks.union(), km.Mask)
    assert_type(masks.intersection(), km.Mask)
    assert_type(masks.iou(masks), Float64)
    assert_type(masks.to_rles(), list[RLE])
    masks["one"]  # type: ignore[call-overload]


def functions_follow_their_arguments(rle: RLE, rles: list[RLE], masks: km.MaskArray) -> None:
    """One rle gives one answer, a list of them a column."""
    assert_type(km.area(rle), int)
    assert_type(km.area(rles), Int64)
    assert_type(km.area(masks), Int64)
    assert_type(km.bbox(rle), BBox)
    assert_type(km.bbox(rles), Int64)
    assert_type(km.iou(rle, rle), float)
    assert_type(km.iou(rle, rles), Float64)
    assert_type(km.iou(masks, rles, threads=2), Float64)
    assert_type(km.union(rles), RLE)
    assert_type(km.intersection(masks), RLE)
    assert_type(km.difference(rle, masks[0]), RLE)
    assert_type(km.symmetric_difference(rle, rle), RLE)
    assert_type(km.complement(rle), RLE)
    assert_type(km.complement(rles), list[RLE])
    assert_type(km.get_max_pixels(), int | None)
    try:
        km.area(rle)
    except km.RLEError as error:
        assert_type(error.position, int | None)
        assert_type(error.index, int | None)


def pictures_stay_what_they_are(mask: km.Mask, pixels: UInt8, image: Image.Image) -> None:
    """Arrays give arrays, Pillow's images images."""
    assert_type(km.overlay(pixels, mask), UInt8)
    assert_type(km.overlay(pixels, {"cat": mask}, {"cat": (1, 2, 3)}, outline=2), UInt8)
    assert_type(km.overlay(image, [mask], labels=True), Image.Image)
    assert_type(km.cutout(pixels, mask), UInt8)
    assert_type(km.cutout(image, mask, crop=True), Image.Image)
    assert_type(km.render_layer(mask), UInt8)
    for frame in video.frames("clip.mp4"):
        assert_type(frame, UInt8)
    assert_type(video.frame_at(Path("clip.mp4"), 12), UInt8)
    assert_type(video.contact_sheet("clip.mp4", {0: {"cat": mask}}, columns=3), UInt8)


def files_of_masks(content: bytes) -> None:
    """Labels are beside the masks."""
    found = datasets.read_masks(content)
    assert_type(found.masks, km.MaskArray)
    assert_type(found.where(image=3).masks.union(), km.Mask)
    assert_type(found.tracking(), dict[int, dict[int | float | str, km.Mask]])
    assert_type(datasets.tracking_to_json(found.tracking()), str)


def an_edit(client: KlingClient) -> None:
    """From the click to the file."""
    edit = assert_type(client.edit_video(video_url="https://example.org/a.mp4"), EditSession)
    selection = assert_type(edit.add_selection(0, [edit.point(20, 10)]), Selection)
    assert_type(selection.union, km.Mask)
    task = edit.submit("removal", prompts.removal("the chick"))
    assert_type(task.wait(timeout=60).download("out.mp4"), Path)
    assert_type(client.get_task("task"), Task)
    assert_type(client.list_tasks(), list[Task])
    client.create_task("s", "erase", "")  # type: ignore[arg-type]
    try:
        task.wait()
    except KlingError as error:
        assert_type(error.code, int | None)
        assert_type(error.request_id, str | None)


def an_emulator(folder: Path) -> None:
    """Of the service, for tests."""
    with running(folder, parallel_tasks=2) as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.url_of("clip.mp4"), str)
        assert_type(emulator.tasks, tuple[MadeTask, ...])
