"""Several estimates of one thing: do they agree, and what do they say together?

Random effects by DerSimonian and Laird (1986), with the interval of Hartung and Knapp (2001), which does not
pretend that the variance between experiments is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hardwatt.analysis.paired import LEVEL, Estimate, differences, standard_error
from hardwatt.core.errors import LabError


@dataclass(frozen=True)
class Pooled:
    """The joint estimate of several experiments."""

    estimate: Estimate
    q: float
    """Cochran's Q."""
    p: float
    """Of Q: "all experiments estimate the same"."""
    between_variance: float
    """tau squared, in the square of the unit."""


def welch(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Estimate:
    """Estimate the mean difference of the *second* experiment less that of the *first*; Welch's interval."""
    a, b = differences(first), differences(second)
    value, n = float(b.mean() - a.mean()), int(a.size + b.size)
    if min(a.size, b.size) < 2:
        return Estimate(value, None, None, level, "one pair, no interval", n)
    variances = standard_error(a) ** 2, standard_error(b) ** 2
    total = sum(variances)
    if total == 0:
        return Estimate(value, value, value, level, "no scatter in either", n)
    df = total**2 / (variances[0] ** 2 / (a.size - 1) + variances[1] ** 2 / (b.size - 1))
    half = float(stats.t.ppf(0.5 + level / 2, df)) * float(np.sqrt(total))
    return Estimate(value, value - half, value + half, level, f"Welch, {df:.1f} degrees", n)


def pool(values: ArrayLike, variances: ArrayLike, level: float = LEVEL) -> Pooled:
    """Pool estimates with the variances of each (shapes (k,), k >= 2)."""
    y, v = differences(values), differences(variances)
    if y.size < 2 or y.size != v.size or (v <= 0).any():
        raise LabError("pooling needs two experiments or more, each with scatter between its pairs")
    k, w = int(y.size), 1 / v
    fixed = float((w * y).sum() / w.sum())
    q = float((w * (y - fixed) ** 2).sum())
    between = max(0.0, (q - (k - 1)) / float(w.sum() - (w**2).sum() / w.sum()))
    weights = 1 / (v + between)
    mean = float((weights * y).sum() / weights.sum())
    scatter = float((weights * (y - mean) ** 2).sum()) / (k - 1)
    error = np.sqrt(scatter / float(weights.sum()))
    half = float(stats.t.ppf(0.5 + level / 2, k - 1)) * float(error)
    method = f"random effects (DerSimonian-Laird), Hartung-Knapp interval, {k - 1} degrees"
    estimate = Estimate(mean, mean - half, mean + half, level, method, k)
    return Pooled(estimate, q, float(stats.chi2.sf(q, k - 1)), between)
