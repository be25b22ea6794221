"""Resampling: the sign-flip permutation test and the studentised bootstrap over pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL, Estimate, differences, mean_difference, standard_error
from hardwatt.analysis.signedrank import Test

EXACT_UP_TO = 20
DRAWS = 100_000
RESAMPLES = 10_000


def sign_flip(values: ArrayLike, seed: int = 0, noise: float = 0.0) -> Test:
    """Sign-flip permutation test of the mean, two-sided.

    All 2^n sign patterns for n <= 20, else 100,000 seeded draws with the +1 correction, which
    keeps the test valid. The smallest exact p is 2 / 2^n: six pairs are needed for p < 0.05. Sums that are equal but
    for rounding count as equal; *noise* is the rounding of one difference (`ties.noise`).
    """
    d = differences(values)
    observed = abs(d.sum())
    threshold = observed - max(1e-12 * np.abs(d).sum(), d.size * noise)
    if d.size <= EXACT_UP_TO:
        sums = _all_sums(d)
        p, method = float(np.mean(np.abs(sums) >= threshold)), f"sign-flip permutation, all 2^{d.size} patterns"
    else:
        hits = int(np.sum(np.abs(_drawn_sums(d, seed)) >= threshold))
        p, method = (hits + 1) / (DRAWS + 1), f"sign-flip permutation, {DRAWS} draws, seed {seed}"
    return Test(float(d.mean()), p, method)


def _all_sums(d: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _drawn_sums(d: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    sums = np.zeros(DRAWS)
    for value in d:  # one column at a time: memory stays at DRAWS numbers for any n
        sums += value * (2.0 * generator.integers(0, 2, DRAWS) - 1.0)
    return sums


def bootstrap_t(values: ArrayLike, level: float = LEVEL, seed: int = 0) -> Estimate:
    """Mean difference with the studentised bootstrap interval over pairs, 10,000 resamples.

    Resamples without spread (all draws equal) say nothing about t and are left out. Falls back
    on the t interval where there is no spread at all.
    """
    d = differences(values)
    if d.size < 2 or not ties.varies(d):
        return mean_difference(d, level)
    generator = np.random.default_rng(seed)
    draws = d[generator.integers(0, d.size, (RESAMPLES, d.size))]
    spread = draws.std(axis=1, ddof=1)
    kept = np.ptp(draws, axis=1) > ties.NO_SPREAD * np.abs(d).max()
    t = (draws.mean(axis=1)[kept] - d.mean()) / (spread[kept] / np.sqrt(d.size))
    lower, upper = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    error = standard_error(d)
    mean = float(d.mean())
    method = f"studentised bootstrap over pairs, {RESAMPLES} resamples, seed {seed}"
    return Estimate(mean, mean - float(upper) * error, mean - float(lower) * error, level, method, int(d.size))
