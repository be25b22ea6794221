"""Joules of CPU-seconds by a power model, with bounds where the model is not a straight line.

The meter applies its model ten times a second, a scrape sees one second's mean load. For a straight line that is the
same; else the mean of the watts lies between the model's lower and upper hull at the mean load (Jensen).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hardwatt.bundle.frames import pl
from hardwatt.instruments.windows import WindowError

Floats = npt.NDArray[np.float64]


def joules(samples: pl.DataFrame, t0_ms: float, t1_ms: float, points: Sequence[Sequence[float]], cpus: float) -> Floats:
    """Return value, low and high in joules of a counter of CPU-seconds (``ts`` in ms, ``value``) in a window.

    ``points`` are (utilisation, watts) of a machine with ``cpus`` CPUs. Raise WindowError where the counter goes back
    or has fewer than two moments.
    """
    frame = samples.select(pl.col("ts").cast(pl.Float64), pl.col("value").cast(pl.Float64))
    frame = frame.filter(pl.col("value").is_finite()).unique("ts").sort("ts")
    ts, counter = frame["ts"].to_numpy(), frame["value"].to_numpy()
    if ts.size < 2 or bool(np.any(np.diff(counter) < 0)):
        raise WindowError("the formula needs a counter that goes on")
    at = np.concatenate([[t0_ms], ts[(ts > t0_ms) & (ts < t1_ms)], [t1_ms]])
    seconds, gained = np.diff(at) / 1000, np.diff(np.interp(at, ts, counter))
    load = gained / (seconds * cpus)
    table = np.array(points, dtype=np.float64)
    lines = table, hull(table, 1.0), hull(table, -1.0)
    return np.array([float(watts(line, load) @ seconds) for line in lines])


def watts(points: Floats, load: Floats) -> Floats:
    """Return the watts at each load; above full load the last line goes on, as in the meter."""
    (before, low), (after, high) = points[-2], points[-1]
    beyond = np.clip(load - after, 0.0, None) * (high - low) / (after - before)
    return np.asarray(np.interp(load, points[:, 0], points[:, 1]) + beyond)


def hull(points: Floats, side: float) -> Floats:
    """Return the lower (side 1) or upper (side -1) hull of points that stand in order of load."""
    kept: list[Floats] = []
    for point in points:
        while len(kept) > 1 and side * _turn(kept[-2], kept[-1], point) <= 0:
            kept.pop()
        kept.append(point)
    return np.array(kept)


def _turn(a: Floats, b: Floats, c: Floats) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
