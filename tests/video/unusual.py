"""Videos as people have them: cut, recorded, with covers, wrongly labelled."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.clips import greys, make_clip, remuxed

LEVELS = [20 * index for index in range(10)]
"""The grey of each frame of the clips here."""


def h264(path: Path, **options: Any) -> Path:
    """Ten frames with B-frames in between, and one key frame, the first."""
    given = {"bf": "2", "g": "50", **options.pop("options", {})}
    return make_clip(path, greys(LEVELS), codec="libx264", options=given, **options)


def cut_without_encoding(path: Path, hidden: int) -> Path:
    """An mp4 whose edit list hides the first frames, which the others need to be decoded."""
    whole = h264(path.with_name("whole.mp4"))

    def earlier(packet: "av.Packet[Any]") -> None:
        ticks = round(hidden / 25 / packet.time_base)
        assert packet.dts is not None
        assert packet.pts is not None
        packet.dts, packet.pts = packet.dts - ticks, packet.pts - ticks

    return remuxed(whole, path, earlier)


def with_cover_first(path: Path) -> Path:
    """An mp4 with a cover picture that comes before the video."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video: Any = container.add_stream("mpeg4", rate=25)
        video.height, video.width, video.pix_fmt, video.bit_rate = 48, 64, "yuv420p", 4_000_000
        cover: Any = container.add_stream("png", rate=25)
        cover.height, cover.width, cover.pix_fmt = 96, 96, "rgb24"
        cover.disposition = 1 << 10  # attached_pic
        for picture in greys(LEVELS):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
        shown = av.VideoFrame.from_ndarray(np.full((96, 96, 3), 255, np.uint8), "rgb24")
        container.mux(cover.encode(shown))
        container.mux(cover.encode(None))
    content = path.read_bytes()
    start = content.index(b"moov") - 4
    (size,) = struct.unpack_from(">I", content, start)
    boxes, place = [], start + 8
    while place < start + size:
        (length,) = struct.unpack_from(">I", content, place)
        boxes.append(content[place : place + length])
        place += length
    boxes.sort(key=lambda box: box[4:8] != b"udta")  # in which the cover is
    path.write_bytes(content[: start + 8] + b"".join(boxes) + content[start + size :])
    return path


def with_two_videos(path: Path) -> Path:
    """A Matroska file of which the second video is the one to show."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for place, size in enumerate([(96, 128), (48, 64)]):
            stream: Any = container.add_stream("ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            stream.disposition = place  # 1: default
            streams.append(stream)
        for level in LEVELS:
            for stream, size, grey in zip(
                streams, [(96, 128), (48, 64)], (255, level), strict=True
            ):
                picture = np.full((*size, 3), grey, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def raw_h264(path: Path) -> Path:
    """Frames without any times."""
    with av.open(str(path), "w", format="h264") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for picture in greys(LEVELS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def recording(path: Path, start: int = 0, **options: Any) -> Path:
    """An MPEG-TS whose clock starts at so many seconds."""
    return h264(path, pts=[start * 25 + index for index in range(10)], **options)


def joined_midway(path: Path) -> Path:
    """An MPEG-TS that begins after a key frame, so that some frames cannot be decoded."""
    whole = recording(path.with_name("whole.ts"), options={"g": "5", "bf": "0", "forced-idr": "1"})
    content = whole.read_bytes()
    packets = [content[place : place + 188] for place in range(0, len(content), 188)]
    starts = [
        place
        for place, packet in enumerate(packets)
        if packet[1] & 0x40 and (packet[1] & 0x1F) << 8 | packet[2] == 0x100
    ]
    tables = packets[:3]
    path.write_bytes(b"".join(tables + packets[starts[1] :]))
    return path


def said_to_be_longer(path: Path, frames: int) -> Path:
    """An AVI whose header says that there are more frames than there are."""
    make_clip(path, greys(LEVELS))
    content = bytearray(path.read_bytes())
    for name, place in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        struct.pack_into("<I", content, content.index(name) + place, frames)
    path.write_bytes(content)
    return path


def header_alone(path: Path) -> Path:
    """An mp4 with a header that tells of frames, and nothing after it."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for picture in greys(LEVELS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])
    return path


def quarters(size: tuple[int, int] = (48, 64)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of which each quarter has another grey."""
    height, width = size
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 2, : width // 2] = 220
    picture[: height // 2, width // 2 :] = 120
    return picture


STRETCHED = Fraction(16, 11)
"""Width by height of the pixels of a wide-screen PAL video."""
