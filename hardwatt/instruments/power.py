"""Joules of a window by readings of power, with bounds."""

import numpy as np
import numpy.typing as npt

from hardwatt.bundle.frames import pl
from hardwatt.instruments.windows import WindowError

MAX_WATTS = 20_000.0
"""More than any node draws."""
Floats = npt.NDArray[np.float64]


def integrate_power(samples: pl.DataFrame, t0_ms: float, t1_ms: float, max_gap_ms: float) -> tuple[float, float, float]:
    """Return joules, low and high of one series of watts (``ts`` in ms, ``value``) between two moments.

    Readings are joined by straight lines. The bounds say only that power between two readings is not outside them;
    whatever was faster than the readings is in no bound. NaN and repeated rows are allowed.

    Raise WindowError for a gap, a moment with two values, watts below zero, or readings that do not reach an edge.
    """
    frame = samples.select(pl.col("ts").cast(pl.Float64), pl.col("value").cast(pl.Float64))
    frame = frame.filter(pl.col("value").is_finite()).unique().sort("ts")
    ts, watts = frame["ts"].to_numpy(), frame["value"].to_numpy()
    if not ts.size:
        raise WindowError("no readings of power")
    if bool(np.any(np.diff(ts) == 0)):
        raise WindowError("one moment has two values")
    if ts[0] > t0_ms or ts[-1] < t1_ms:
        raise WindowError(f"no reading at or {'before its start' if ts[0] > t0_ms else 'after its end'}")
    begin, end = ts[:-1], ts[1:]
    touched = (end > t0_ms) & (begin < t1_ms)
    if bool(np.any(watts[:-1][touched] < 0)) or bool(np.any(watts[1:][touched] < 0)):
        raise WindowError("watts below zero")
    if bool(np.any(watts[:-1][touched] > MAX_WATTS)) or bool(np.any(watts[1:][touched] > MAX_WATTS)):
        raise WindowError(f"watts above any node's ({MAX_WATTS:.0f} W)")
    if bool(np.any((end - begin)[touched] > max_gap_ms)):
        raise WindowError("a gap longer than the declared one")
    seconds = np.clip(np.minimum(end, t1_ms) - np.maximum(begin, t0_ms), 0.0, None) / 1000
    least, most = np.minimum(watts[:-1], watts[1:]), np.maximum(watts[:-1], watts[1:])
    value = _by_lines(ts, watts, t0_ms, t1_ms)
    return value, min(value, float(seconds @ least)), max(value, float(seconds @ most))


def _by_lines(ts: Floats, watts: Floats, t0_ms: float, t1_ms: float) -> float:
    inside = (ts > t0_ms) & (ts < t1_ms)
    at = np.concatenate([[t0_ms], ts[inside], [t1_ms]])
    return float(np.trapezoid(np.interp(at, ts, watts), at) / 1000)
