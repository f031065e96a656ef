"""Timestamps start at 0, increase, and have no jumps."""

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from klingmask.video.timestamps import FrameTimes, JumpRemover

MS = Fraction(1, 1000)


def played(remover: JumpRemover, packets: list[tuple[str, int]], duration: int = 40) -> list[Any]:
    """When packets of streams are played, all in milliseconds."""
    streams = {name: SimpleNamespace(index=index) for index, name in enumerate("va")}
    result = []
    for name, dts in packets:
        packet: Any = SimpleNamespace(
            stream=streams[name], dts=dts, pts=dts + 80, duration=duration, time_base=MS
        )
        remover.correct(packet)
        assert packet.pts == packet.dts + 80
        result.append(packet.dts)
    return result


def test_times_without_jumps_stay() -> None:
    dts = [1400, 1440, 1480, 1400, 9000, 9040]  # one of them late by less than a tenth of a second
    assert played(JumpRemover(clock_may_jump=True), [("v", time) for time in dts]) == dts
    dts = [0, 40, 3_600_000, 3_600_040]  # a slide that is shown for an hour
    assert played(JumpRemover(clock_may_jump=False), [("v", time) for time in dts]) == dts


def test_a_clock_that_begins_anew_goes_on() -> None:
    first = [("v", 1400), ("a", 1390), ("v", 1800), ("a", 1790), ("v", 2200), ("a", 2190)]
    expected = [time for _, time in first]
    again = played(JumpRemover(clock_may_jump=True), [*first, *first], 400)
    assert again == expected + [time + 1200 for time in expected]
    once = played(
        JumpRemover(clock_may_jump=True), [("v", 1400), ("v", 2200), ("v", 1500), ("v", 1540)]
    )
    assert once == [1400, 2200, 2240, 2280]
    late = [*first[:-1], ("v", 1400), ("a", 2190), ("a", 1390)]  # the sound comes a little later
    assert played(JumpRemover(clock_may_jump=True), late, 400) == [*expected[:-1], 2600, 2190, 2590]


def test_a_clock_that_jumps_ahead_goes_on() -> None:
    far = [("v", 50_000), ("a", 50_005), ("v", 50_040)]
    packets = [("v", 0), ("a", 0), ("v", 40), ("a", 40), *far]
    assert played(JumpRemover(clock_may_jump=True), packets) == [0, 0, 40, 40, 80, 85, 120]
    assert played(JumpRemover(clock_may_jump=False), packets) == [time for _, time in packets]
    apart = [("v", 0), ("a", 0), ("v", 50_000), ("a", 90_000)]  # each for itself
    assert played(JumpRemover(clock_may_jump=True), apart) == [0, 0, 40, 40]


def test_packets_without_times_are_left_alone() -> None:
    packet: Any = SimpleNamespace(
        stream=SimpleNamespace(index=0), dts=None, pts=7, duration=1, time_base=MS
    )
    JumpRemover(clock_may_jump=True).correct(packet)
    assert (packet.dts, packet.pts) == (None, 7)


@pytest.mark.parametrize("base", [Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 90000), MS])
def test_frames_always_go_on(base: Fraction) -> None:
    times = FrameTimes(base, Fraction(25))
    assert times.time_base <= MS / 10
    assert (base / times.time_base).denominator == 1  # the file's own times stay as they are
    step = max(base, 1800 * Fraction(1, 90000)) // base * base
    said = [0, 1, 1, 1, 2, 5, 4, 6]
    ticks = [times.next(index * step) for index in said]
    assert all(late - early >= MS / times.time_base for early, late in pairwise(ticks))
    kept = [ticks[place] * times.time_base / step for place in (0, 1, 4, 5, 7)]
    assert kept == [0, 1, 2, 5, 6]


def test_frames_without_times_come_evenly() -> None:
    times = FrameTimes(Fraction(1, 1200000), Fraction(25))
    seconds = [times.next(None) * times.time_base for _ in range(4)]
    assert seconds == [0, Fraction(1, 25), Fraction(2, 25), Fraction(3, 25)]
    assert times.next(Fraction(1)) * times.time_base == 1
    assert times.next(None) * times.time_base == Fraction(26, 25)
