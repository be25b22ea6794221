"""The gain of a counter in a window, from raw samples, with bounds. No loop over samples.

A counter only rises, so between two samples its value lies between theirs. The estimate is linear in between;
the bounds make no such assumption: every stretch that lies wholly inside the window belongs to it; of a stretch
that an edge cuts anything may, as long as neither side gained more than it can have in its time. A drop is a wrap
where the counter's range is known, else a reset; after a reset the counter starts at zero, and what it gained
before it was lost is bounded by its fastest stretch. A drop to more than a counter can have gained since a fresh
start is no reset, and a rise that is faster than possible is no reading, however short the stretch: both are refused.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hardwatt.bundle.frames import pl
from hardwatt.core.errors import RefusedError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RESULT = {
    "series_id": pl.Int64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "samples": pl.Int64,
    "resets": pl.Int64,
    "max_gap_ms": pl.Float64,
    "problem": pl.String,
}


FRESH_TIMES = 3.0
"""So much more than at its fastest a counter may have gained since it began again from zero."""
NO_FRESH_START = "goes back, and what follows is no fresh start"
RATE_SLACK = 1.1
"""Of the largest possible rate: the accounting of a kernel is not exact to the tick."""
STAMP_SLACK_MS = 200.0
"""So far a moment may lie from that of the reading: two writes of the meter."""


class WindowError(RefusedError):
    """A window that samples do not carry. ``reason`` names the fault."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the window is refused: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Rule:
    """Rule by which a kind of counter is integrated.

    ``max_gap_ms``: the longest silence that is accepted; longer ones refuse the window. ``max_rate``: what the
    counter can gain in a second at most. ``wrap``: its range; None means that a drop is a reset. ``births``:
    series may start (at zero) and end inside the window, as the counters of pods do. ``tail_ms``: how long before
    its end, or after its birth, a busy series was read and scraped at most; an idle one four times its last
    interval longer.
    """

    max_gap_ms: float
    max_rate: float
    wrap: float | None = None
    births: bool = False
    tail_ms: float = 0.0


@dataclass(frozen=True)
class _Samples:
    """Clean samples sorted by series and time: codes, ts and value of shape (n,), ids of shape (number of series,)."""

    ids: Ints
    code: Ints
    ts: Floats
    value: Floats
    conflict: Bools


def integrate(samples: pl.DataFrame, t0_ms: float, t1_ms: float, rule: Rule) -> pl.DataFrame:
    """Return one row a series: value, low, high, how many samples, resets, the longest gap, and the problem.

    ``samples`` has series_id, ts (ms) and value, in any order; NaN and repeated rows are allowed. Where
    ``problem`` is not empty the window of that series is refused, and its numbers mean nothing. Series with no
    sample that concerns the window are left out.
    """
    if t1_ms <= t0_ms:
        raise WindowError("it ends before it starts")
    clean = _clean(samples)
    count = clean.ids.size
    if count == 0:
        return pl.DataFrame(schema=RESULT)
    stretch = _stretches(clean, t0_ms, t1_ms, rule)
    first, last = _ends(clean)
    inside = np.add.reduceat((clean.ts >= t0_ms) & (clean.ts <= t1_ms), first, dtype=np.int64)
    head = _start(clean, first, t0_ms, t1_ms, rule, stretch)
    tail = _end(clean, last, t0_ms, t1_ms, rule, stretch)
    value, low, high = (stretch.sums[i] + head.sums[i] + tail.sums[i] for i in range(3))
    problem = np.where(clean.conflict, "one moment has two values", stretch.problem)
    problem = np.where(problem == "", head.problem, problem)
    problem = np.where(problem == "", tail.problem, problem)
    frame = pl.DataFrame(
        {
            "series_id": clean.ids,
            "value": value,
            "low": low,
            "high": high,
            "samples": inside,
            "resets": stretch.resets,
            "max_gap_ms": stretch.max_gap,
            "problem": problem.astype(object),
        },
        schema=RESULT,
    )
    concerned = (clean.ts[first] <= t1_ms) & (clean.ts[last] >= t0_ms)
    return frame.filter(concerned) if rule.births else frame


def _clean(samples: pl.DataFrame) -> _Samples:
    frame = samples.select(
        pl.col("series_id").cast(pl.Int64), pl.col("ts").cast(pl.Float64), pl.col("value").cast(pl.Float64)
    )
    if not frame["value"].is_finite().all():
        frame = frame.filter(pl.col("value").is_finite())
    if not _in_order(frame):
        frame = frame.sort("series_id", "ts", "value")
    series, ts, value = (frame[name].to_numpy() for name in ("series_id", "ts", "value"))
    new = np.ones(series.size, dtype=np.bool_)
    new[1:] = series[1:] != series[:-1]
    ids, code = series[new], np.cumsum(new) - 1
    conflict = np.zeros(ids.size, dtype=np.bool_)
    again = np.zeros(ts.size, dtype=np.bool_)
    again[1:] = ~new[1:] & (ts[1:] == ts[:-1])
    if again.any():
        conflict[code[1:][again[1:] & (value[1:] != value[:-1])]] = True
        code, ts, value = code[~again], ts[~again], value[~again]
    return _Samples(ids, code, ts, value, conflict)


def _in_order(frame: pl.DataFrame) -> bool:
    """Tell whether samples stand as a bundle stores them, no moment twice: then there is nothing to sort."""
    series, ts = frame["series_id"].to_numpy(), frame["ts"].to_numpy()
    later = (series[1:] > series[:-1]) | ((series[1:] == series[:-1]) & (ts[1:] > ts[:-1]))
    return bool(later.all())


@dataclass(frozen=True)
class _Part:
    """The gain in one part of the window, per series: value, low and high, and what is wrong with it."""

    sums: tuple[Floats, Floats, Floats]
    problem: npt.NDArray[np.str_]


@dataclass(frozen=True)
class _Stretches(_Part):
    resets: Ints
    max_gap: Floats
    fastest: Floats
    covered: Floats
    last_length: Floats
    last_gain: Floats


def _stretches(clean: _Samples, t0: float, t1: float, rule: Rule) -> _Stretches:
    """The stretches between neighbouring samples of a series; the last sample of each has one of no length."""
    first, last = _ends(clean)
    length = np.diff(clean.ts, append=0.0)
    length[last] = 0.0
    after = np.append(clean.value[1:], 0.0)
    gain, reset, odd = _gains(clean.value, after, rule)
    gain[last], reset[last], odd[last] = 0.0, False, False
    overlap = np.minimum(clean.ts + length, t1) - np.maximum(clean.ts, t0)
    np.clip(overlap, 0.0, None, out=overlap)
    touched = overlap > 0
    pace = np.divide(gain, length, out=np.zeros(gain.size), where=length > 0)
    fastest = _largest(np.where(reset, 0.0, pace), first)
    gap = _largest(np.where(touched, length, 0.0), first)
    possible = rule.max_rate / 1000
    stale = reset & (after > np.minimum(FRESH_TIMES * fastest[clean.code], possible) * (length + rule.tail_ms))
    most = possible * (RATE_SLACK * length + max(STAMP_SLACK_MS, rule.tail_ms))

    def concerned(which: Bools) -> Bools:
        return np.bincount(clean.code[which & touched], minlength=clean.ids.size) > 0

    problem = np.where(gap > rule.max_gap_ms, "a gap longer than the declared one", "")
    problem = np.where(concerned(gain > most), "a rise faster than possible", problem)
    problem = np.where(concerned(stale), NO_FRESH_START, problem)
    problem = np.where(concerned(odd), "a drop that is no wrap", problem)
    whole = overlap == length
    inside = _added(np.where(whole, gain, 0.0), first)
    cut = np.flatnonzero(touched & ~whole)
    parts = _cut(gain[cut], length[cut], overlap[cut], possible)
    sums = [inside + np.bincount(clean.code[cut], part, clean.ids.size) for part in parts]
    lost = np.flatnonzero(reset & touched)
    owner = clean.code[lost]
    sums[2] += np.bincount(owner, np.minimum(fastest[owner], possible) * length[lost], clean.ids.size)
    resets = np.bincount(owner, minlength=clean.ids.size)
    before = np.where(last > first, last - 1, last)
    value, low, high = sums
    return _Stretches(
        (value, low, high), problem, resets, gap, fastest, _added(overlap, first), length[before], gain[before]
    )


def _cut(gain: Floats, length: Floats, overlap: Floats, possible: float) -> tuple[Floats, Floats, Floats]:
    """Return the part inside the window of stretches that an edge cuts: by a straight line, at least, and at most."""
    part = gain * overlap / length
    least = np.minimum(part, np.clip(gain - possible * (length - overlap), 0.0, None))
    return part, least, np.maximum(part, np.minimum(gain, possible * overlap))


def _added(values: Floats, first: Ints) -> Floats:
    """Sums by series, of values in order of series."""
    return np.asarray(np.add.reduceat(values, first))


def _largest(values: Floats, first: Ints) -> Floats:
    """The largest value of each series, of values in order of series."""
    return np.asarray(np.maximum.reduceat(values, first))


def _gains(before: Floats, after: Floats, rule: Rule) -> tuple[Floats, Bools, Bools]:
    """Return what each stretch gained, which of them hold a reset, and which a drop that cannot be a wrap."""
    gain = after - before
    drop = gain < 0
    if rule.wrap is None:
        return np.where(drop, after, gain), drop, np.zeros(drop.size, dtype=np.bool_)
    wrapped = np.where(drop, gain + rule.wrap, gain)
    # A wrap that gained more than half the range is a counter that started anew.
    return wrapped, np.zeros(drop.size, dtype=np.bool_), drop & ((wrapped < 0) | (wrapped > rule.wrap / 2))


def _ends(clean: _Samples) -> tuple[Ints, Ints]:
    """Return the position of the first and the last sample of every series."""
    first = np.searchsorted(clean.code, np.arange(clean.ids.size), side="left")
    last = np.searchsorted(clean.code, np.arange(clean.ids.size), side="right") - 1
    return first.astype(np.int64), last.astype(np.int64)


def _start(clean: _Samples, first: Ints, t0: float, t1: float, rule: Rule, stretch: _Stretches) -> _Part:
    """Return the gain between the start of the window and the first sample of a series."""
    missing = np.clip(np.minimum(clean.ts[first], t1) - t0, 0.0, None)
    if not rule.births:
        return _extrapolated(missing, stretch, rule, "no sample at or before its start")
    began = clean.value[first]
    born = (missing > 0) & (clean.ts[first] <= t1)
    possible = rule.max_rate / 1000 * rule.max_gap_ms
    problem = np.where(born & (began > possible), "starts inside with more than it can have gained", "")
    value = np.where(born, began, 0.0)
    # Born so early that a part may have been gained before the window.
    low = np.where(missing > (rule.tail_ms or rule.max_gap_ms), value, 0.0)
    return _Part((value, low, value), problem)


def _end(clean: _Samples, last: Ints, t0: float, t1: float, rule: Rule, stretch: _Stretches) -> _Part:
    """Return the gain between the last sample of a series and the end of the window."""
    missing = np.clip(t1 - np.maximum(clean.ts[last], t0), 0.0, None)
    if not rule.births:
        return _extrapolated(missing, stretch, rule, "no sample at or after its end")
    none = np.zeros(missing.size)
    pace = np.where(stretch.fastest > 0, stretch.fastest, rule.max_rate / 1000)
    died = (clean.ts[last] < t1) & (clean.ts[last] >= t0)
    idle = np.where(stretch.last_gain > 0, 0.0, 4 * stretch.last_length)
    unread = np.minimum(rule.tail_ms + idle, rule.max_gap_ms) if rule.tail_ms else rule.max_gap_ms
    tail = np.where(died, np.minimum(missing, unread) * pace, 0.0)
    return _Part((none, none, tail), np.full(missing.size, ""))


def _extrapolated(missing: Floats, stretch: _Stretches, rule: Rule, text: str) -> _Part:
    """Up to the declared gap the estimate goes on at the window's mean pace; the bounds are none and the fastest."""
    problem = np.where(missing > rule.max_gap_ms, text, "")
    pace = np.divide(stretch.sums[0], stretch.covered, out=np.zeros(missing.size), where=stretch.covered > 0)
    most = missing * stretch.fastest
    return _Part((np.minimum(missing * pace, most), np.zeros(missing.size), most), problem)
