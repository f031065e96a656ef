"""Draws the demo's clip, and a picture with the service reply that goes with it.

They show a pond with three birds, one of which swims through the clip. The reply
has the shape of Kling's add-selection endpoint: a compressed mask of each bird,
and the same as a PNG. Run it to make picture and reply anew: python demo/draw.py
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

import klingmask as km

HERE = Path(__file__).parent
WIDTH, HEIGHT = 960, 540
SCALE = 3  # drawn larger, then shrunk: smooth edges

Box = tuple[float, float, float, float]
Paint = Callable[[ImageDraw.ImageDraw], None]


def _scaled(*values: float) -> list[float]:
    return [value * SCALE for value in values]


def _around(x: float, y: float, rx: float, ry: float) -> list[float]:
    return _scaled(x - rx, y - ry, x + rx, y + ry)


def background() -> Image.Image:
    """Sky, sun, hills, and a pond with ripples."""
    rows = np.linspace(0, 1, HEIGHT * SCALE)[:, None]
    sky = (1 - rows) * np.array([96, 160, 224]) + rows * np.array([250, 226, 190])
    pixels = np.repeat(sky[:, None, :], WIDTH * SCALE, axis=1).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    draw.ellipse(_around(770, 110, 46, 46), fill=(255, 244, 200))
    draw.ellipse(_around(180, 420, 420, 190), fill=(104, 148, 96))
    draw.ellipse(_around(760, 430, 460, 160), fill=(84, 130, 84))
    draw.rectangle(_scaled(0, 330, WIDTH, HEIGHT), fill=(70, 120, 150))
    for index in range(26):
        x, y = (index * 211) % WIDTH, 345 + (index * 67) % 190
        draw.line(_scaled(x, y, x + 70, y), fill=(104, 152, 178), width=2 * SCALE)
    return image


def bird(x: float, y: float, size: float, body: str, wing: str, flip: int) -> Paint:
    """A swimming bird whose body is centred on (x, y)."""

    def paint(draw: ImageDraw.ImageDraw) -> None:
        def spot(dx: float, dy: float, rx: float, ry: float, color: str) -> None:
            draw.ellipse(
                _around(x + flip * dx * size, y + dy * size, rx * size, ry * size), fill=color
            )

        spot(0, 0, 60, 34, body)
        draw.polygon(
            _scaled(
                *(x - flip * 40 * size, y - 14 * size),
                *(x - flip * 86 * size, y - 34 * size),
                *(x - flip * 50 * size, y + 16 * size),
            ),
            fill=body,
        )
        draw.polygon(
            _scaled(
                *(x + flip * 68 * size, y - 56 * size),
                *(x + flip * 96 * size, y - 46 * size),
                *(x + flip * 66 * size, y - 40 * size),
            ),
            fill="#e8842c",
        )
        spot(46, -48, 27, 26, body)
        spot(-8, -2, 34, 17, wing)
        spot(54, -54, 4.5, 4.5, "#202020")

    return paint


BIRDS = {
    0: bird(300, 400, 1.35, "#f6d04a", "#dba832", 1),
    1: bird(640, 372, 0.8, "#f4f1ea", "#d8d2c4", -1),
    2: bird(700, 470, 1.0, "#8a6a4a", "#6d5138", -1),
}


def silhouette(paint: Paint) -> km.Mask:
    """The pixels that are at least half covered by what is painted."""
    canvas = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "black")
    paint(ImageDraw.Draw(canvas))
    covered = Image.fromarray((np.asarray(canvas).any(axis=2) * np.uint8(255)).astype(np.uint8))
    shrunk = covered.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    return km.Mask.from_numpy(np.asarray(shrunk) >= 128)


def clip(path: Path, seconds: int = 2) -> None:
    """Write a clip of 1280 x 720 at 24 frames a second, in which the yellow bird swims."""
    pond = background()
    for key in (1, 2):
        BIRDS[key](ImageDraw.Draw(pond))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index in range(24 * seconds):
            image = pond.copy()
            bird(260 + 5 * index, 400, 1.35, "#f6d04a", "#dba832", 1)(ImageDraw.Draw(image))
            frame = image.resize((stream.width, stream.height), Image.Resampling.BOX)
            pixels = av.VideoFrame.from_ndarray(np.asarray(frame), "rgb24")
            pixels = pixels.reformat(format="yuv420p", dst_colorspace="ITU709")
            container.mux(stream.encode(pixels))
        container.mux(stream.encode(None))


def main() -> None:
    """Write scene.png and reply.json beside this file."""
    image = background()
    hidden = km.Mask.zeros((HEIGHT, WIDTH))
    masks: dict[int, km.Mask] = {}
    for paint in BIRDS.values():
        paint(ImageDraw.Draw(image))
    for key, paint in reversed(BIRDS.items()):  # from the front: what is in front hides
        masks[key] = silhouette(paint) - hidden
        hidden |= masks[key]
    scene = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    scene.quantize(128).save(HERE / "scene.png", optimize=True)
    found = [
        {
            "object_id": key,
            "rle_mask": masks[key].to_rle(),
            "png_mask": {
                "size": [HEIGHT, WIDTH],
                "base64": base64.b64encode(masks[key].to_png()).decode(),
            },
        }
        for key in BIRDS
    ]
    reply = {
        "code": 0,
        "message": "SUCCEED",
        "request_id": "demo",
        "data": {
            "status": 0,
            "session_id": "demo",
            "final_unit_deduction": "0",
            "res": {"frame_index": 0, "rle_mask_list": found},
        },
    }
    (HERE / "reply.json").write_text(json.dumps(reply, indent=1) + "\n")


if __name__ == "__main__":
    main()
