"""Audio of a source video in a new file: copied if browsers play it, otherwise encoded as AAC."""

from contextlib import suppress
from fractions import Fraction
from typing import cast

from klingmask.video.errors import VideoError
from klingmask.video.reading import Packet
from klingmask.video.source import MALFORMED, reason

try:
    import av
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.filter import Graph
except ImportError as error:
    raise ImportError(f"videos need {error.name}: pip install 'klingmask[video]'") from error

__all__ = ["MALFORMED_AUDIO", "AudioTrack", "can_be_decoded", "damaged_audio"]

MALFORMED_AUDIO = (av.error.InvalidDataError, av.error.PatchWelcomeError)
"""The errors of FFmpeg when it writes packets of malformed audio."""

_COPIED = {
    "mp4": {"aac", "mp3", "opus", "flac"},
    "mov": {"aac", "mp3"},
    "matroska": {"aac", "mp3", "opus", "flac"},
}
"""By format: the codecs that browsers play and that the format can hold."""

MIN_MP3_RATE = 16_000
"""Samples per second. MP4 has no standard way to hold MP3 with a lower rate."""

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples per second of AAC that all players support."""

_AAC_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Channel layouts by the number of channels. Other numbers become stereo."""

MAX_PRIMING = Fraction(1, 10)
"""Seconds before 0 that a decoder may need in order to start: 2112 samples for AAC, for example.
Earlier packets, which an edit list hides, are dropped."""


def can_be_decoded(stream: AudioStream) -> bool:
    """Return whether FFmpeg has a decoder for a stream, and the header is complete."""
    context = stream.codec_context  # None without a decoder
    return context is not None and context.sample_rate > 0 and context.layout.nb_channels > 0


def damaged_audio(name: str, error: Exception) -> VideoError:
    """Return the error for a file with malformed audio."""
    return VideoError(f"the audio of {name} is damaged: {reason(error)}")


class AudioTrack:
    """One audio stream of a file that is being written.

    Parameters
    ----------
    file : av.container.OutputContainer
    source : av.AudioStream
    start : Fraction
        The time of the source, in seconds, that becomes 0.
    name : str
        The name of the source file, for messages.
    """

    def __init__(
        self, file: OutputContainer, source: AudioStream, start: Fraction, name: str
    ) -> None:
        self._file = file
        self._start = start
        self._name = name
        self._last: int | None = None  # the timestamp of the packet before
        self._expected = 0  # the time at which it ends
        self._has_decoded = False
        self._graph: Graph | None = None
        self._graph_input: tuple[object, ...] = ()
        context = source.codec_context
        codec = context.codec.canonical_name
        self._is_copied = codec in _COPIED[file.format.name] and not (
            codec == "mp3" and context.sample_rate < MIN_MP3_RATE
        )
        if self._is_copied:
            self._stream = file.add_stream_from_template(source)
        else:
            rate = next((rate for rate in AAC_RATES if rate >= context.sample_rate), AAC_RATES[-1])
            self._stream = file.add_stream("aac", rate=rate)
            self._stream.layout = _AAC_LAYOUTS.get(context.layout.nb_channels, "stereo")

    def add(self, packet: Packet) -> None:
        """Copy or encode a packet. The last packet of a stream is empty."""
        if packet.size:
            self._set_timestamps(packet)
        if not self._is_copied:
            for frame in self._decode(packet):
                self._encode(frame)
        elif packet.size and not self._is_hidden(packet):
            self._copy(packet)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self._is_copied:
            self._encode(None)
            self._file.mux(self._stream.encode(None))

    def _set_timestamps(self, packet: Packet) -> None:
        start = round(self._start / packet.time_base)
        dts = packet.dts if packet.dts is not None else packet.pts
        dts = self._expected if dts is None else dts - start
        if self._is_copied and self._last is not None:
            dts = max(dts, self._last + 1)  # formats want increasing timestamps
        pts = dts if packet.pts is None else max(dts, packet.pts - start)
        packet.dts, packet.pts = dts, pts
        self._expected = dts + (packet.duration or 0)

    def _is_hidden(self, packet: Packet) -> bool:
        """Return whether the edit list of the source hides a packet that is not needed either."""
        time = cast("int", packet.dts) * packet.time_base
        return packet.is_discard and not -MAX_PRIMING <= time < 0

    def _copy(self, packet: Packet) -> None:
        dts = packet.dts
        packet.stream = self._stream
        try:
            self._file.mux(packet)
        except MALFORMED_AUDIO as error:
            if self._last is not None:
                raise damaged_audio(self._name, error) from error
            return  # the recording begins in the middle of a packet, which players ignore
        self._last = dts

    def _decode(self, packet: Packet) -> list[AudioFrame]:
        try:
            frames = cast("list[AudioFrame]", packet.decode())
        except MALFORMED as error:
            if self._has_decoded:
                raise damaged_audio(self._name, error) from error
            return []  # as above
        self._has_decoded = self._has_decoded or bool(frames)
        return frames

    def _encode(self, frame: AudioFrame | None) -> None:
        """Resample and encode a frame; None stands for the end."""
        if frame is not None:
            kind = (frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base)
            if kind != self._graph_input:  # the first frame, or the source changes its channels
                self._encode(None)
                self._graph, self._graph_input = self._resampler(frame), kind
        if self._graph is None:
            return
        self._graph.push(frame)
        with suppress(av.error.BlockingIOError, av.error.EOFError):  # nothing more for now
            while True:
                resampled = cast("AudioFrame", self._graph.pull())
                self._file.mux(self._stream.encode(resampled))

    def _resampler(self, template: AudioFrame) -> Graph:
        """Return filters that convert frames like the template to those that the encoder takes.

        Where the source has no audio for some time, `async=1` inserts silence.
        """
        graph, encoder = Graph(), self._stream.codec_context
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=template.sample_rate,
                format=template.format.name,
                layout=template.layout.name,
                time_base=template.time_base,
            ),
            graph.add("aresample", "async=1"),
            graph.add(
                "aformat",
                f"sample_rates={encoder.sample_rate}:sample_fmts={encoder.format.name}"
                f":channel_layouts={encoder.layout.name}",
            ),
            graph.add("abuffersink"),
        ).configure()
        return graph
