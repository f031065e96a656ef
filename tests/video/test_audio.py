"""Audio is copied, or encoded as AAC, and played when it was."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import greys, make_clip, tones
from tests.video.look import copied, tone


@pytest.mark.parametrize(
    ("name", "audio", "rate", "layout", "expected"),
    [
        ("clip.mkv", "pcm_s16le", 192_000, "stereo", ("aac", 48_000, 2)),
        ("clip.mkv", "pcm_s16le", 96_000, "mono", ("aac", 48_000, 1)),
        ("clip.mkv", "pcm_s16le", 12_345, "stereo", ("aac", 16_000, 2)),
        ("clip.mkv", "pcm_s24le", 48_000, "5.1", ("aac", 48_000, 6)),
        ("clip.mkv", "pcm_s16le", 48_000, "quad", ("aac", 48_000, 2)),
        ("clip.mkv", "pcm_s16le", 48_000, "hexadecagonal", ("aac", 48_000, 2)),
        ("clip.mkv", "flac", 192_000, "stereo", ("flac", 192_000, 2)),
        ("clip.avi", "mp2", 48_000, "stereo", ("aac", 48_000, 2)),
        ("clip.avi", "ac3", 48_000, "5.1", ("aac", 48_000, 6)),
        ("clip.webm", "libopus", 48_000, "stereo", ("opus", 48_000, 2)),
        ("clip.ts", "aac", 44_100, "stereo", ("aac", 44_100, 2)),
        ("clip.mov", "adpcm_ima_qt", 8_000, "mono", ("aac", 8_000, 1)),
    ],
)
def test_every_sound(
    tmp_path: Path, name: str, audio: str, rate: int, layout: str, expected: tuple[str, int, int]
) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "mpeg4"
    clip = make_clip(
        tmp_path / name,
        greys([90] * 25),
        codec=codec,
        audio=audio,
        sample_rate=rate,
        layout=layout,
    )
    for target in ("out.mp4", "out.mov", "out.mkv"):
        out = copied(clip, tmp_path / target)
        with av.open(str(out)) as container:
            context = container.streams.audio[0].codec_context
            found = (context.name, context.sample_rate, context.layout.nb_channels)
        if target == "out.mov" and expected[0] in ("flac", "opus"):
            assert found == ("aac", 48_000, 2)  # which a mov cannot hold as they are
        else:
            assert found == expected
        seconds = tone(out)[1] / found[1]
        assert abs(seconds - 1) < 0.2


def test_silence_in_between_stays(tmp_path: Path) -> None:
    """Sound that is encoded anew is played when it was: with a gap of three seconds."""
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        sound: Any = container.add_stream("pcm_s16le", rate=48_000)
        sound.layout = "mono"
        for picture in greys([90] * 125):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        for part in (0, 4):
            for wave in tones(48_000, "mono"):
                assert wave.pts is not None
                wave.pts += part * 48_000
                container.mux(sound.encode(wave))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    out = copied(clip, tmp_path / "out.mp4")
    with av.open(str(out)) as container:
        heard = np.zeros(5 * 48_000 + 4096)
        for frame in container.decode(audio=0):
            assert frame.time is not None
            start = max(0, round(frame.time * 48_000))
            block = frame.to_ndarray()[0]
            heard[start : start + len(block)] = block[: len(heard) - start]
    loud = [float(np.abs(heard[at * 48_000 : (at + 1) * 48_000]).mean()) > 0.01 for at in range(5)]
    assert loud == [True, False, False, False, True]
