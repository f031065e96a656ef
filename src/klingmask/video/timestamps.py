"""Timestamps that start at 0, always increase, and have no jumps.

Some files have other ones. The clock of a recording may start at ten hours. Two recordings may
be joined in one file, so that the clock starts again in the middle. Two frames may have the same
time. Players show the frames one after the other all the same.
"""

import math
from fractions import Fraction

from klingmask.video.reading import Packet

__all__ = ["FrameTimes", "JumpRemover"]

MAX_BACKWARD = Fraction(1, 10)
"""Seconds. A packet that is earlier than the one before by more than this follows a jump. This
and the next two are the values that FFmpeg's own tools have."""

MAX_FORWARD = Fraction(3600)
"""Seconds. A packet that is later than expected by more than this follows a jump."""

MAX_FORWARD_OF_BROADCASTS = Fraction(10)
"""The same for formats whose clock may jump, such as MPEG-TS."""

MAX_GAP_AFTER_JUMP = Fraction(1)
"""Seconds that a stream may pause where the clock jumps."""

MIN_STEP = Fraction(1, 1000)
"""Seconds between two frames of the same time: the resolution of Matroska."""


class JumpRemover:
    """Remove jumps from the timestamps of packets.

    Streams of one file jump together, but not after the same packet. The first stream that jumps
    is moved to where it would have gone on. The others are moved by the same time, if that makes
    sense for them, so that video and audio stay in sync.

    Parameters
    ----------
    clock_may_jump : bool
        Whether the format allows jumps (FFmpeg's flag AVFMT_TS_DISCONT).
    """

    def __init__(self, clock_may_jump: bool) -> None:
        self._max_forward = MAX_FORWARD_OF_BROADCASTS if clock_may_jump else MAX_FORWARD
        self._last_offset = Fraction(0)  # of the stream that jumped last
        self._offsets: dict[int, Fraction] = {}  # by stream, in seconds
        self._previous: dict[int, Fraction] = {}  # the time of the packet before
        self._expected: dict[int, Fraction] = {}  # the time at which it ends

    def correct(self, packet: Packet) -> None:
        """Change the timestamps of the next packet of the file."""
        time_base, stream = packet.time_base, packet.stream.index
        if packet.dts is None or not time_base:
            return
        time = packet.dts * time_base
        offset = self._offsets.get(stream, self._last_offset)
        if stream in self._expected:
            earliest = self._previous[stream] - MAX_BACKWARD
            expected = self._expected[stream]
            if not earliest <= time + offset <= expected + self._max_forward:
                if not earliest <= time + self._last_offset <= expected + MAX_GAP_AFTER_JUMP:
                    self._last_offset = expected - time
                offset = self._last_offset
        self._offsets[stream] = offset
        ticks = round(offset / time_base)
        packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
        self._previous[stream] = packet.dts * time_base
        self._expected[stream] = self._previous[stream] + (packet.duration or 0) * time_base


class FrameTimes:
    """Give each frame a timestamp that is later than the one before.

    Parameters
    ----------
    time_base : Fraction
        The time base of the source. `self.time_base`, which the timestamps have, is this or a
        fraction of it, so the timestamps of the source stay exact.
    rate : Fraction
        Frames per second, for frames without a time.
    """

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        while time_base > MIN_STEP / 10:
            time_base /= 2
        self.time_base = time_base
        self._frame_ticks = max(1, round(1 / rate / time_base))
        self._min_ticks = math.ceil(MIN_STEP / time_base)
        self._expected = 0
        self._earliest: int | None = None

    def next(self, seconds: Fraction | None) -> int:
        """Return the timestamp of the next frame.

        Parameters
        ----------
        seconds : Fraction, optional
            The time of the frame in the source. Without it, the frame follows the one before
            at the frame rate.
        """
        ticks = self._expected if seconds is None else round(seconds / self.time_base)
        if self._earliest is not None:
            ticks = max(ticks, self._earliest)
        self._expected, self._earliest = ticks + self._frame_ticks, ticks + self._min_ticks
        return ticks
