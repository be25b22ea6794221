"""Several independent samples at once: Welch's one-way analysis and Kruskal-Wallis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.signedrank import Test


def welch_one_way(samples: Sequence[ArrayLike]) -> Test | None:
    """Return Welch's test of "all means are equal" with unequal variances, as R's ``oneway.test``.

    ``None`` if a sample has fewer than two values or no scatter: its weight would be infinite.
    """
    columns = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if any(column.size < 2 or not ties.varies(column) for column in columns):
        return None
    k = len(columns)
    n = np.array([column.size for column in columns], dtype=np.float64)
    means = np.array([column.mean() for column in columns])
    weights = n / np.array([column.var(ddof=1) for column in columns])
    centre = float((weights * means).sum() / weights.sum())
    unequal = float(((1 - weights / weights.sum()) ** 2 / (n - 1)).sum()) / (k * k - 1)
    f = float((weights * (means - centre) ** 2).sum()) / (k - 1) / (1 + 2 * (k - 2) * unequal)
    below = 1 / (3 * unequal)
    p = float(stats.f.sf(f, k - 1, below))
    return Test(f, p, f"Welch's one-way analysis, F({k - 1}, {below:.4g}) = {f:.4g}")


def kruskal_wallis(samples: Sequence[ArrayLike]) -> Test:
    """Return the Kruskal-Wallis test, corrected for ties."""
    columns = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if not ties.varies(np.concatenate(columns)):
        return Test(0.0, 1.0, "Kruskal-Wallis: all values are equal")
    answer = stats.kruskal(*columns)
    h = float(answer.statistic)
    return Test(h, float(answer.pvalue), f"Kruskal-Wallis, H({len(columns) - 1}) = {h:.4g}")
