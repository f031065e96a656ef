"""When frames and sound are played: from 0 on, always forward, and without jumps.

Files say when things are to be played, and some say it oddly: a recording starts at ten
hours, two recordings stand one behind the other in a file and the clock begins anew, or
two frames have one time. Players play them on, one after the other; so does this.
"""

import math
from fractions import Fraction

from klingmask.video.reading import Packet

__all__ = ["FrameClock", "PacketClock"]

BACKWARD = Fraction(1, 10)
"""Seconds by which a packet may be earlier than the one before: more means a new beginning."""
FORWARD = Fraction(3600)
"""Seconds by which it may be later. This and the next are what FFmpeg's own player has."""
FORWARD_OF_BROADCASTS = Fraction(10)
"""The same for formats whose clock may jump, such as MPEG-TS."""
TOGETHER = Fraction(1)
"""Seconds of nothing that a stream may have where the clock begins anew for all of them."""
TICK = Fraction(1, 1000)
"""Seconds between two frames of one time; what Matroska can tell apart."""


class PacketClock:
    """Takes the jumps out of the times of packets, of all streams alike.

    Parameters
    ----------
    jumps : bool
        Whether the format's clock may jump (FFmpeg's flag TS_DISCONT).
    """

    def __init__(self, jumps: bool) -> None:
        self._forward = FORWARD_OF_BROADCASTS if jumps else FORWARD
        self._latest = Fraction(0)  # what was last added to a stream's times
        self._added: dict[int, Fraction] = {}
        self._expected: dict[int, Fraction] = {}
        self._before: dict[int, Fraction] = {}

    def set(self, packet: Packet) -> None:
        """Change the times of a packet, which come in the file's order."""
        base, stream = packet.time_base, packet.stream.index
        if packet.dts is None or not base:
            return
        said = packet.dts * base
        added = self._added.get(stream, self._latest)
        if stream in self._expected:
            expected, before = self._expected[stream], self._before[stream]
            if not before - BACKWARD <= said + added <= expected + self._forward:
                # What another stream jumped by keeps the two together, if it may be the same jump.
                if not before - BACKWARD <= said + self._latest <= expected + TOGETHER:
                    self._latest = expected - said
                added = self._latest
        self._added[stream] = added
        ticks = round(added / base)
        packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
        self._before[stream] = packet.dts * base
        self._expected[stream] = self._before[stream] + (packet.duration or 0) * base


class FrameClock:
    """Gives every frame its time, in ticks of a base of its own.

    Parameters
    ----------
    base : Fraction
        Seconds of the file's ticks.
    rate : Fraction
        Frames a second, for frames that have no time.
    """

    def __init__(self, base: Fraction, rate: Fraction) -> None:
        while base > TICK / 10:  # so fine that a millisecond has some ticks
            base /= 2
        self.base = base
        self._usual = max(1, round(1 / rate / base))
        self._least = math.ceil(TICK / base)
        self._usually = 0  # when a frame without a time is shown
        self._earliest: int | None = None

    def ticks(self, seconds: Fraction | None) -> int:
        """When the next frame is shown."""
        ticks = self._usually if seconds is None else round(seconds / self.base)
        if self._earliest is not None:
            ticks = max(ticks, self._earliest)
        self._usually, self._earliest = ticks + self._usual, ticks + self._least
        return ticks
