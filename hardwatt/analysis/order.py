"""Effects of the order of runs: the place in a pair, what a run leaves behind, a slope over the session.

Pairs are a two-period crossover: with t the effect of the second arm and p that of the second place, a pair that
began with the first arm shows t + p, one that began with the second shows t - p (Hills and Armitage 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL, Estimate, differences

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Crossover:
    """Estimates of a two-period crossover, in the unit of the outcome; ``None`` with one pair in an order."""

    treatment: Estimate | None
    """Second arm minus first, the effect of the place taken out."""
    period: Estimate | None
    """Second place minus first."""
    carry_over: Estimate | None
    """Sum of a pair that began with the first arm, minus that of the others: what an arm leaves to the next."""


def crossover(values: ArrayLike, sums: ArrayLike, forward: Sequence[bool], level: float = LEVEL) -> Crossover:
    """Split differences (second arm minus first) by *forward*: whether the pair began with the first arm.

    *sums* are the sums of both runs of each pair. Two-sample t intervals with pooled variance.
    """
    d, totals = differences(values), differences(sums)
    first = np.asarray(forward, dtype=bool)
    if min(int(first.sum()), int((~first).sum())) < 2:
        return Crossover(None, None, None)
    treatment = _contrast(d[first], d[~first], (0.5, 0.5), level, "mean of the two orders' means")
    period = _contrast(d[first], d[~first], (0.5, -0.5), level, "half the difference of the two orders' means")
    carried = _contrast(totals[first], totals[~first], (1.0, -1.0), level, "difference of the two orders' mean sums")
    return Crossover(treatment, period, carried)


def _contrast(first: Floats, second: Floats, weights: tuple[float, float], level: float, what: str) -> Estimate:
    df = first.size + second.size - 2
    scatter = float(((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()) / df
    error = np.sqrt(scatter * (weights[0] ** 2 / first.size + weights[1] ** 2 / second.size))
    value = weights[0] * float(first.mean()) + weights[1] * float(second.mean())
    half = float(stats.t.ppf(0.5 + level / 2, df)) * float(error)
    return Estimate(value, value - half, value + half, level, f"{what}, t interval, {df} degrees", df + 2)


def theil_sen(values: ArrayLike, places: ArrayLike | None = None, level: float = LEVEL) -> Estimate:
    """Theil-Sen slope of *values* over *places* (0, 1, 2, ... where left out) with its rank interval (Sen 1968).

    In the unit of the values by that of the places. Needs two different places; below three values there is no
    interval.
    """
    y = ties.settled(differences(values))
    x = np.arange(y.size, dtype=np.float64) if places is None else ties.settled(differences(places))
    answer = stats.theilslopes(y, x, alpha=level)
    known = y.size > 2
    low, high = (float(answer[2]), float(answer[3])) if known else (None, None)
    return Estimate(float(answer[0]), low, high, level, "Theil-Sen slope, rank interval", int(y.size))
