"""The gain of counters in a window of a recording: cut at the recorder's ticks, with bounds.

The estimate is the rise between the ticks nearest to the window's ends, by the second of their distance, times the
window's length, for the part of it in which the counter was there; it lies within the bounds. The bounds hold whatever
the counter did between two ticks. A reading says two things: the counter had at least this value when the reading
ended, and at most this value, and one step of it, when the reading began. A counter never falls and never gains faster
than its machine can; so each reading near an end bounds what the counter held there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hardwatt.bundle.recording import Counter, Recording
from hardwatt.core.errors import VerifyError
from hardwatt.instruments.windows import WindowError

NEAR = 3
"""So many ticks on each side of an end bound what a counter held there."""
APART = 1.5
"""An end of a window has to have a tick within so many of the recorder's intervals."""
STEPPED_SECONDS = 0.5
"""The realtime clock may leave the monotonic one's pace by so much in a window."""


@dataclass(frozen=True)
class Span:
    """A window in a recording: its ends on the monotonic clock, and the ticks that are nearest to them."""

    recording: Recording
    t0_ns: int
    t1_ns: int
    first: int
    last: int

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.t1_ns - self.t0_ns) / 1e9

    @property
    def off_seconds(self) -> float:
        """Distance of the two ticks from the window's ends, both together."""
        ticks = (self.recording.m_ns[self.first], self.t0_ns), (self.recording.m_ns[self.last], self.t1_ns)
        return sum(abs(int(tick) - end) for tick, end in ticks) / 1e9


@dataclass(frozen=True)
class Limits:
    """Bounds of a kind of counter beside its readings, in seconds or joules.

    ``rate``: the most that it gains in a second. ``update_seconds``: how old the value of a reading may be.
    """

    rate: float
    update_seconds: float = 0.0


@dataclass(frozen=True)
class Gain:
    """The gain of counters in a window, in seconds or joules: the truth lies between ``low`` and ``high``."""

    value: float
    low: float
    high: float

    def __add__(self, other: "Gain") -> "Gain":
        return Gain(self.value + other.value, self.low + other.low, self.high + other.high)


NOTHING = Gain(0.0, 0.0, 0.0)


def span(recording: Recording, t0_ms: float, t1_ms: float) -> Span:
    """Return a window, given in the node's realtime clock, in a recording. Raise WindowError where it is not in it."""
    if t1_ms <= t0_ms:
        raise WindowError("it ends before it starts")
    ends, ticks = [], []
    for name, moment in (("start", t0_ms), ("end", t1_ms)):
        tick = recording.nearest(moment)
        away = round(moment * 1e6) - int(recording.t_ns[tick])
        if abs(away) > APART * recording.tick_seconds * 1e9:
            raise WindowError(f"the recording has no tick within {abs(away) / 1e9:.1f} s of its {name}")
        ends.append(int(recording.m_ns[tick]) + away)
        ticks.append(tick)
    length = (t1_ms - t0_ms) / 1000
    if abs((ends[1] - ends[0]) / 1e9 - length) > STEPPED_SECONDS:
        raise WindowError(f"the node's clock was stepped in it by {length - (ends[1] - ends[0]) / 1e9:+.1f} s")
    if ticks[0] == ticks[1]:
        raise WindowError("it is shorter than the recorder's interval")
    return Span(recording, ends[0], ends[1], *ticks)


def at_ticks(recording: Recording, t0_ms: int, t1_ms: int) -> tuple[int, int]:
    """Return the moments (ms, realtime) of the ticks nearest to a window's ends: where it is cut."""
    first, last = (int(recording.t_ns[recording.nearest(moment)]) for moment in (t0_ms, t1_ms))
    return round(first / 1e6), round(last / 1e6)


def gained(counters: Sequence[Counter], window: Span, limits: Limits) -> Gain:
    """Return what counters gained together; raise WindowError where one of them was first read too late."""
    total = NOTHING
    for counter in counters:
        try:
            total += _gain(counter, window, limits)
        except VerifyError as error:
            raise WindowError(error.message) from error
    return total


def _gain(counter: Counter, window: Span, limits: Limits) -> Gain:
    recording = window.recording
    base = max(0, window.first - NEAR)
    over = counter.ended is not None and counter.ended.tick <= base
    if over or counter.first_tick > window.last + NEAR:
        return NOTHING
    started, ended = _reading(counter, recording, base, window.first), _reading(counter, recording, base, window.last)
    begin, stop = (started.middle, window.t0_ns), (ended.middle, window.t1_ns)
    # A pod that began or ended in the window has no pace there that the window's end could cut.
    if counter.from_zero and counter.first_tick > window.first:
        begin = (int(recording.m_ns[counter.first_tick - 1]),) * 2
    if counter.ended is not None and counter.ended.tick <= window.last:
        stop = (counter.ended.m_ns,) * 2
    length, whole = stop[0] - begin[0], stop[1] - begin[1]
    value = (ended.value - started.value) / length * whole if length > 0 else 0.0
    low0, high0 = _held(counter, window, base, window.t0_ns, window.first, limits)
    low1, high1 = _held(counter, window, base, window.t1_ns, window.last, limits)
    low, high = max(0.0, low1 - high0), max(0.0, high1 - low0)
    return Gain(min(max(value, low), high), low, high)


@dataclass(frozen=True)
class _Reading:
    """A reading in seconds or joules since the base tick, and its moments (ns)."""

    value: float
    earliest: int
    latest: int
    missed: float

    @property
    def middle(self) -> float:
        return (self.earliest + self.latest) / 2


def _reading(counter: Counter, recording: Recording, base: int, tick: int) -> _Reading:
    """Return what a counter held at a tick. Before it began it held nothing, if it counts from zero."""
    value = counter.rise(base, tick) * counter.scale
    missed = int(recording.missed_ns[tick]) / 1e9 if counter.kind == "node" else 0.0
    reading = recording.reading(counter, tick)
    if reading is None:
        start = int(recording.m_ns[tick])
        return _Reading(value, start, start + int(recording.span_ns[tick]), missed)
    return _Reading(value, reading.earliest_ns, reading.latest_ns, missed)


def _held(counter: Counter, window: Span, base: int, moment: int, near: int, limits: Limits) -> tuple[float, float]:
    """Return least and most of what a counter held at a moment, by every reading near it."""
    recording = window.recording
    step, error = counter.granularity * counter.scale, counter.error * counter.scale
    low, high = -error, float("inf")
    alive = moment if counter.ended is None else min(moment, counter.ended.m_ns)
    for tick in range(base if near == window.first else max(base, near - NEAR), near + NEAR + 1):
        if tick >= len(recording.m_ns):
            break
        reading = _reading(counter, recording, base, tick)
        late, early = max(0, reading.latest - moment), alive - reading.earliest
        low = max(low, reading.value - error - limits.rate * late / 1e9)
        age = max(0.0, early / 1e9 + limits.update_seconds)
        high = min(high, reading.value + step + error + reading.missed + limits.rate * age)
    return low, max(low, high)
