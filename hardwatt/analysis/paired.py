"""The primary answer: the mean of the paired differences, with a studentised interval.

The unit of analysis is the pair (block): d_i = second arm minus first arm. Energy bills and
break-even rates need the mean, so the mean is primary and everything rank-based is robustness.
Every function takes a one-dimensional array of differences and keeps its unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.core.errors import LabError

LEVEL = 0.95
POWER = 0.80


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its interval, in the unit of the differences."""

    value: float
    low: float | None
    """``None`` where no interval exists (one pair)."""
    high: float | None
    level: float
    method: str
    n: int


def differences(values: ArrayLike) -> NDArray[np.float64]:
    """Return *values* as a vector of finite differences, or raise `LabError`."""
    d = np.asarray(values, dtype=np.float64)
    if d.ndim != 1 or d.size == 0:
        raise LabError("no complete pair to analyse", hint="look at the exclusions of the bundle")
    if not np.isfinite(d).all():
        raise LabError("a paired difference is not a finite number")
    return d


def mean_difference(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Estimate the mean paired difference with the one-sample t interval.

    Same numbers as ``scipy.stats.ttest_rel(b, a).confidence_interval(level)``; with one pair
    there is a value and no interval.
    """
    d = differences(values)
    n, mean = int(d.size), _mean(d)
    method = f"mean paired difference, t interval with {n - 1} degrees of freedom"
    if n == 1:
        return Estimate(mean, None, None, level, "one difference, no interval", n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * standard_error(d)
    return Estimate(mean, mean - half, mean + half, level, method, n)


def standard_error(d: NDArray[np.float64]) -> float:
    """Standard error of the mean of *d* (needs two or more differences); 0 where they are equal but for rounding."""
    return float(d.std(ddof=1) / np.sqrt(d.size)) if ties.varies(d) else 0.0


def _mean(d: NDArray[np.float64]) -> float:
    """The mean; that of equal differences is the difference, which a sum of floats may miss by its last bit."""
    return float(d.mean()) if np.ptp(d) else float(d[0])


def detectable_effect(values: ArrayLike, alpha: float = 0.05, power: float = POWER) -> float | None:
    """Smallest true mean difference that a repeat of this experiment would detect.

    (t_{1-alpha/2, n-1} + t_{power, n-1}) * s_d / sqrt(n), the usual planning formula, here with
    the achieved standard deviation. ``None`` below two pairs, where there is no spread.
    """
    d = differences(values)
    if d.size < 2:
        return None
    df = d.size - 1
    factor = float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df))
    return factor * standard_error(d)


def pairs_needed(sd: float, effect: float, alpha: float = 0.05, power: float = POWER) -> int:
    """Number of pairs that it takes to see *effect* when differences scatter by *sd*.

    ((z_{1-alpha/2} + z_power) * sd / effect)^2 + z_{1-alpha/2}^2 / 2, rounded up; never below
    two, because one pair has no spread.
    """
    if effect == 0:
        raise LabError("no number of pairs detects an effect of zero")
    z_alpha, z_power = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))
    n = ((z_alpha + z_power) * sd / effect) ** 2 + z_alpha**2 / 2
    return max(2, int(np.ceil(n)))
