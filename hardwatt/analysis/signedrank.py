"""Signed-rank methods: the null distribution, Hodges-Lehmann with its exact interval, Wilcoxon.

The distribution is counted exactly, so that the interval is the one that R's
``wilcox.test(..., conf.int = TRUE, exact = TRUE)`` prints; scipy has the test but no interval.

Differences that are equal but for rounding are ties (`hardwatt.analysis.ties`). Differences alone do not show how large
the raw values were: for runs of a table pass `hardwatt.analysis.table.signed_places` to the test and the correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL, Estimate, differences


def null_distribution(n: int) -> NDArray[np.float64]:
    """P(V = v) for v = 0 .. n(n+1)/2, V the sum of positive ranks of *n* differences under H0."""
    p = np.zeros(n * (n + 1) // 2 + 1)
    p[0] = 1.0
    for rank in range(1, n + 1):
        shifted = np.zeros_like(p)
        shifted[rank:] = p[: p.size - rank]
        p = (p + shifted) / 2
    return p


def walsh_averages(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """All (d_i + d_j) / 2 for i <= j, sorted; n(n+1)/2 of them."""
    i, j = np.triu_indices(d.size)
    return np.sort((d[i] + d[j]) / 2)


def hodges_lehmann(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Median of the Walsh averages, with the interval that inverts the exact signed-rank test.

    The interval's level is at least *level* where that can be reached; the level that it has
    is returned, since ranks only allow steps (six pairs: 96.9 %; five pairs: 93.8 % at most).
    """
    d = ties.settled(differences(values))
    walsh = walsh_averages(d)
    cumulative = np.cumsum(null_distribution(int(d.size)))
    # The slack keeps a probability that is equal in exact arithmetic from counting as below.
    k = max(1, int(np.searchsorted(cumulative, (1 - level) / 2 - 1e-12)))
    achieved = 1 - 2 * float(cumulative[k - 1])
    method = "Hodges-Lehmann, interval by inverting the exact signed-rank test"
    low, high = float(walsh[k - 1]), float(walsh[walsh.size - k])
    return Estimate(float(np.median(walsh)), low, high, achieved, method, int(d.size))


@dataclass(frozen=True)
class Test:
    """A two-sided test of "no difference"."""

    statistic: float
    p: float
    method: str


def wilcoxon(values: ArrayLike) -> Test:
    """Wilcoxon signed-rank test, zeros by Pratt; exact where there are neither ties nor zeros."""
    d = ties.settled(differences(values))
    if not d.any():
        return Test(0.0, 1.0, "Wilcoxon signed-rank: every difference is zero")
    magnitudes = np.abs(d)
    smooth = np.unique(magnitudes).size == d.size and magnitudes.all()
    exact = bool(smooth) and d.size <= 50
    answer = stats.wilcoxon(d, zero_method="pratt", method="exact" if exact else "asymptotic")
    kind = "exact" if exact else "normal approximation"
    return Test(float(answer.statistic), float(answer.pvalue), f"Wilcoxon signed-rank, zeros by Pratt, {kind}")


def rank_biserial(values: ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation, (W+ - W-) / (n(n+1)/2); zeros ranked, not counted."""
    d = ties.settled(differences(values))
    ranks = stats.rankdata(np.abs(d))
    total = d.size * (d.size + 1) / 2
    return float((ranks[d > 0].sum() - ranks[d < 0].sum()) / total)
