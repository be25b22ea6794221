"""Differences that remember each other: lag-1 autocorrelation, block bootstrap, HAC interval.

Neighbouring pairs share the machine's slow moods. Where the lag-1 autocorrelation is beyond 0.3 in size the
interval that takes pairs as independent is wrong (too narrow where it is positive), and these stand beside it.
Every function takes the differences in the order in which the pairs were made and keeps their unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL, Estimate, differences, mean_difference

WORRYING = 0.3
RESAMPLES = 10_000


def lag_one(values: ArrayLike) -> float | None:
    """Lag-1 autocorrelation of the differences around their mean; ``None`` where they do not vary."""
    d = differences(values)
    centred = d - d.mean()
    total = float(centred @ centred)
    # Equal differences leave rounding behind, and rounding has no memory.
    if total <= 1e-24 * float(d @ d) or d.size < 3:
        return None
    return float(centred[1:] @ centred[:-1]) / total


def worrying(rho: float | None) -> bool:
    """Return True if a lag-1 autocorrelation is beyond `WORRYING` in size, by more than rounding."""
    return rho is not None and abs(rho) - WORRYING > ties.RESOLUTION


def block_length(n: int) -> int:
    """Length of a block for *n* differences: the cube root of n, rounded up, and at least two."""
    return max(2, int(np.ceil(n ** (1 / 3) - 1e-9)))


def block_bootstrap(values: ArrayLike, level: float = LEVEL, seed: int = 0) -> Estimate:
    """Mean difference with the circular block bootstrap's percentile interval, 10,000 resamples.

    Blocks of neighbouring differences are drawn whole (Politis and Romano 1992), so that what neighbours
    share is resampled with them. Falls back on the t interval where there is no spread.
    """
    d = differences(values)
    n = int(d.size)
    if n < 4 or not ties.varies(d):
        return mean_difference(d, level)
    length = block_length(n)
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n, (RESAMPLES, -(-n // length)))
    places = (starts[:, :, None] + np.arange(length)) % n
    means = d[places.reshape(RESAMPLES, -1)[:, :n]].mean(axis=1)
    low, high = (float(bound) for bound in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
    method = f"circular block bootstrap, blocks of {length} pairs, {RESAMPLES} resamples, seed {seed}"
    return Estimate(float(d.mean()), low, high, level, method, n)


def hac_error(d: NDArray[np.float64], lags: int) -> float:
    """Standard error of the mean by Newey and West (1987): Bartlett weights, *lags* lags, scaled by n/(n-1)."""
    n = d.size
    centred = d - d.mean()
    total = float(centred @ centred)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return float(np.sqrt(max(total, 0.0) / n / (n - 1)))


def newey_west_lags(n: int) -> int:
    """Lags for *n* differences: floor(4 (n/100)^(2/9)), at least one, as Newey and West (1994) advise."""
    return max(1, int(np.floor(4 * (n / 100) ** (2 / 9))))


def hac_interval(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Mean difference with an autocorrelation-consistent (Newey-West) interval, t with n - 1 degrees."""
    d = differences(values)
    n = int(d.size)
    if n < 4:
        return mean_difference(d, level)
    lags = newey_west_lags(n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * hac_error(d, lags)
    mean = float(d.mean())
    return Estimate(mean, mean - half, mean + half, level, f"Newey-West, {lags} lags, t interval", n)
