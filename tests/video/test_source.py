"""Which files are opened, how, and which of their streams."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from klingmask.video import (
    VideoError,
    contact_sheet,
    frame_at,
    frames,
    overlay_video,
)
from tests.clips import greys, make_clip, tones
from tests.video import unusual
from tests.video.look import levels


def test_a_cover_is_not_the_video(tmp_path: Path) -> None:
    clip = unusual.with_cover_first(tmp_path / "cover.mp4")
    with av.open(str(clip)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic
    assert levels(clip) == list(range(10))


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    song = tmp_path / "song.mp4"
    with av.open(str(song), "w") as container:
        sound: Any = container.add_stream("aac", rate=48000)
        cover: Any = container.add_stream("png", rate=25)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "rgb24"
        cover.disposition = Disposition.attached_pic.value
        for tone in tones(48000, "stereo"):
            container.mux(sound.encode(tone))
        container.mux(sound.encode(None))
        shown = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
        container.mux(cover.encode(shown))
        container.mux(cover.encode(None))
    with pytest.raises(VideoError, match="only a cover picture"):
        next(frames(song))


def test_of_several_videos_the_one_by_default(tmp_path: Path) -> None:
    clip = unusual.with_two_videos(tmp_path / "two.mkv")
    assert frame_at(clip, 0).shape == (48, 64, 3)
    assert levels(clip) == list(range(10))


NAMES = [
    "2026-05-01T12:30:05.mp4",
    "100%.mp4",
    "%03d.mp4",
    "-clip.mp4",
    "file:clip.mp4",
    "http:clip.mp4",
    "concat:a|b.mp4",
    "pipe:0.mp4",
    "a clip?x=1&y=#2.mp4",
    "\u00fc\u6f22.mp4",
    "two\nlines.mp4",
    "n" * 250 + ".mp4",
    os.fsdecode(b"not-utf-8-\xff.mp4"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name(clip: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is taken for a protocol, an option or a pattern, as source or as destination."""
    monkeypatch.chdir(clip.parent)
    shutil.copy(clip, name)
    assert levels(Path(name)) == list(range(10))
    for source in (name, Path(name), Path(name).resolve()):
        assert frame_at(source, 9).shape == (48, 64, 3)
    Path(name).unlink()
    overlay_video("clip.mp4", {}, name)
    assert levels(Path(name)) == list(range(10))
    assert sorted(path.name for path in Path().iterdir()) == sorted(["clip.mp4", name])


def test_what_is_no_video_is_said_to_be_none(tmp_path: Path) -> None:
    wave = tmp_path / "tone.wav"
    with av.open(str(wave), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=48000)
        for tone in tones(48000, "stereo"):
            container.mux(sound.encode(tone))
    Image.new("RGB", (64, 48)).save(tmp_path / "picture.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "picture.jpg")
    Image.new("RGB", (64, 48)).save(tmp_path / "picture.avif")
    (tmp_path / "heic.mp4").write_bytes(
        (tmp_path / "picture.avif").read_bytes().replace(b"ftypavif", b"ftypheic")
    )
    (tmp_path / "notes.txt").write_text("this is no video\n" * 100)
    (tmp_path / "notes.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "subtitles.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    reasons = {
        "tone.wav": "has no video stream",
        "picture.png": "is a picture, not a video",
        "picture.jpg": "is a picture, not a video",
        "picture.avif": "is a picture, not a video",
        "heic.mp4": "is a picture, not a video",
        "notes.txt": "is a text file",
        "notes.mp4": "is not a video that can be read",
        "empty.mp4": "is not a video that can be read",
        "zeros.mp4": "is not a video that can be read",
        "subtitles.srt": "has no video stream",
    }
    for name, reason in reasons.items():
        with pytest.raises(VideoError, match=reason) as told:
            next(frames(tmp_path / name))
        assert str(told.value).startswith(str(tmp_path / name))
    with pytest.raises(IsADirectoryError):
        next(frames(tmp_path))
    with pytest.raises(FileNotFoundError, match="download the file first"):
        next(frames("https://example.org/clip.mp4"))


def test_a_file_that_leads_to_others_opens_none(clip: Path) -> None:
    """A playlist may come from a stranger."""
    for name, content in (
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile clip.mp4\n"),
    ):
        (clip.parent / name).write_text(content)
        with pytest.raises(VideoError):
            next(frames(clip.parent / name))


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    ts = make_clip(tmp_path / "clip.ts", greys(unusual.LEVELS), codec="libx264")
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: pipe.write_bytes(ts.read_bytes()))
        assert levels(pipe) == list(range(10))
        writing.result()
    for read_twice in (
        lambda: contact_sheet(pipe),
        lambda: overlay_video(pipe, [[], []], tmp_path / "out.mp4"),
    ):
        with pytest.raises(VideoError, match="save it as a file"):
            read_twice()
