"""Two independent samples: Welch's interval, Mann-Whitney with the shift and its interval, effect sizes.

Differences are second sample minus first. The shift is the median of all differences between the samples; it and its
interval are found by bisection on the sorted samples, so that a million values need no list of their pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL, POWER, Estimate
from hardwatt.analysis.signedrank import Test
from hardwatt.core.errors import LabError

EXACT_UP_TO: Final = 50
"""Values in each sample, without ties: up to here the rank test is exact, as in R."""
NORMAL_FROM: Final = 5_000
"""Values in both samples: from here on the interval of Hedges' g is the normal approximation."""
_GATHERED: Final = 1 << 20
"""Differences that are listed once bisection has come so close."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Size, mean and variance of the mean of one sample."""

    n: int
    mean: float
    error2: float


def moments(values: Floats) -> Moments:
    """Return size, mean and squared standard error; values that are equal but for rounding have no scatter."""
    if not ties.varies(values):
        return Moments(int(values.size), float(values[0]), 0.0)
    error2 = float(values.var(ddof=1)) / values.size if values.size > 1 else 0.0
    return Moments(int(values.size), float(values.mean()), error2)


def welch(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> tuple[Estimate, Test | None]:
    """Return the difference of the means with Welch's interval, and Welch's t test.

    Without an interval and a test if a sample has one value; without a test if no sample scatters.
    """
    return combined([(_sample(first), _sample(second))], level)


def combined(strata: list[tuple[Floats, Floats]], level: float = LEVEL) -> tuple[Estimate, Test | None]:
    """Return the mean over strata of the differences of the means, each stratum with equal weight.

    Satterthwaite's degrees of freedom; with one stratum this is Welch's interval.
    """
    weight = 1 / len(strata)
    cells = [moments(values) for pair in strata for values in pair]
    value = weight * sum(after.mean - before.mean for before, after in zip(cells[::2], cells[1::2], strict=True))
    n = sum(cell.n for cell in cells)
    if any(cell.n < 2 for cell in cells):
        return Estimate(value, None, None, level, "difference of means; a sample of one value has no scatter", n), None
    error = _error(strata)
    kind = "Welch's t interval" if len(strata) == 1 else f"equal weight for {len(strata)} strata, Welch's t interval"
    if error == 0:
        method = f"difference of means; no scatter: every sample has one value only ({kind} of width zero)"
        return Estimate(value, value, value, level, method, n), None
    df = _degrees(strata)
    half = t_quantile(level, df) * error
    t = value / error
    method = f"difference of means, {kind} with {df:.4g} degrees of freedom"
    test = Test(t, two_sided(t, df), f"Welch's t test, t = {t:.4g}, {df:.4g} degrees of freedom")
    return Estimate(value, value - half, value + half, level, method, n), test


def t_quantile(level: float, df: float) -> float:
    """Return the quantile of the t distribution for a two-sided interval."""
    return float(stats.t.ppf(0.5 + level / 2, df))


def two_sided(t: float, df: float) -> float:
    """Return p of a t statistic, two-sided."""
    return 2 * float(stats.t.sf(abs(t), df))


def detectable_effect(first: Floats, second: Floats, alpha: float = 0.05, power: float = POWER) -> float | None:
    """Return the smallest true difference of means that a repeat would detect; ``None`` without scatter."""
    strata = [(first, second)]
    if min(first.size, second.size) < 2 or not (error := _error(strata)):
        return None
    df = _degrees(strata)
    return float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df)) * error


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of a difference against -margin and +margin."""

    p: float
    low: float
    high: float
    level: float
    equivalent: bool


def equivalence(strata: list[tuple[Floats, Floats]], margin: float, alpha: float) -> Equivalence | None:
    """Test whether the difference of the means lies within *margin* of zero; ``None`` without an interval.

    Equivalent exactly if the 1 - 2 *alpha* interval lies inside the margin.
    """
    if margin <= 0:
        raise LabError(f"the margin of an equivalence test is above zero, not {margin:g}")
    estimate, test = combined(strata, 1 - 2 * alpha)
    if estimate.low is None or estimate.high is None:
        return None
    inside = -margin < estimate.low and estimate.high < margin
    if test is None:
        p = 0.0 if inside else 1.0
    else:
        p = float(stats.t.sf((margin - abs(estimate.value)) / _error(strata), _degrees(strata)))
    return Equivalence(p, estimate.low, estimate.high, 1 - 2 * alpha, inside)


def _error(strata: list[tuple[Floats, Floats]]) -> float:
    cells = [moments(values) for pair in strata for values in pair]
    return float(np.sqrt(sum(cell.error2 for cell in cells))) / len(strata)


def _degrees(strata: list[tuple[Floats, Floats]]) -> float:
    """Return Satterthwaite's degrees of freedom; needs scatter in some sample."""
    cells = [moments(values) for pair in strata for values in pair]
    largest = max(cell.error2 for cell in cells)  # shares of it, because the square of a square may be no float
    shares = [(cell.error2 / largest, cell.n) for cell in cells]
    return sum(share for share, _ in shares) ** 2 / sum(share**2 / (n - 1) for share, n in shares)


def _sample(values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise LabError("a sample needs one finite value or more")
    return sample


def mann_whitney(first: ArrayLike, second: ArrayLike) -> Test:
    """Return the Mann-Whitney test, two-sided: exact without ties up to 50 values a sample, else as R approximates."""
    a, b = _sample(first), _sample(second)
    if not ties.varies(np.concatenate([a, b])):
        return Test(a.size * b.size / 2, 1.0, "Mann-Whitney: all values are equal")
    exact = _exact(a, b)
    answer = stats.mannwhitneyu(b, a, method="exact" if exact else "asymptotic", use_continuity=True)
    kind = "exact" if exact else "normal approximation with ties and continuity corrected"
    return Test(float(answer.statistic), min(1.0, float(answer.pvalue)), f"Mann-Whitney, {kind}")


def _exact(a: Floats, b: Floats) -> bool:
    return max(a.size, b.size) <= EXACT_UP_TO and np.unique(np.concatenate([a, b])).size == a.size + b.size


def shift(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Estimate:
    """Return the Hodges-Lehmann shift with the interval that inverts the Mann-Whitney test.

    Exact without ties up to 50 values a sample; its level is then at least *level* where that can be reached, and the
    level that it has is returned. Else the normal approximation, corrected for ties.
    """
    a, b = np.sort(_sample(first)), np.sort(_sample(second))
    total = a.size * b.size
    value = 0.5 * (ordered_difference(a, b, (total + 1) // 2) + ordered_difference(a, b, total // 2 + 1))
    place, achieved, how = _place(a, b, level)
    if place < 1:
        return Estimate(value, None, None, level, "Hodges-Lehmann shift; too few values for an interval", total)
    low, high = ordered_difference(a, b, place), ordered_difference(a, b, total + 1 - place)
    method = f"Hodges-Lehmann shift, interval by inverting the Mann-Whitney test, {how}"
    return Estimate(value, low, high, achieved, method, int(a.size + b.size))


def _place(a: Floats, b: Floats, level: float) -> tuple[int, float, str]:
    """Return which ordered difference bounds the interval, the level that it has, and how it was found."""
    m, n = a.size, b.size
    if _exact(a, b):
        cumulative = np.cumsum(null_distribution(m, n))
        # The slack keeps a probability that is equal in exact arithmetic from counting as below.
        place = int(np.searchsorted(cumulative, (1 - level) / 2 - 1e-12))
        if place < 1:
            place = 1
        return place, 1 - 2 * float(cumulative[place - 1]), "exact"
    _, counts = np.unique(np.concatenate([a, b]), return_counts=True)
    size = float(m + n)
    tied = float((counts.astype(np.float64) ** 3 - counts).sum()) / (size * (size - 1)) if size > 1 else 0.0
    deviation = np.sqrt(m * n / 12 * (size + 1 - tied))
    place = int(np.floor(m * n / 2 - float(stats.norm.ppf(0.5 + level / 2)) * deviation))
    return place, level, "normal approximation with ties corrected"


def null_distribution(m: int, n: int) -> Floats:
    """P(U = u) for u = 0 .. mn under "no difference", without ties (the recurrence of Mann and Whitney)."""
    row = [np.ones(1)] * (n + 1)
    for i in range(1, m + 1):
        current = [np.ones(1)]
        for j in range(1, n + 1):
            p = np.zeros(i * j + 1)
            p[j:] += i / (i + j) * row[j]
            p[: i * (j - 1) + 1] += j / (i + j) * current[j - 1]
            current.append(p)
        row = current
    return row[n]


def ordered_difference(a: Floats, b: Floats, place: int) -> float:
    """Return the difference ``b_j - a_i`` with *place* from 1 on among all of them; *a* and *b* are sorted.

    Bisection over the value; once few differences are left between the bounds, these are listed.
    """
    low, high = float(b[0] - a[-1]), float(b[-1] - a[0])
    below, above = 0, a.size * b.size
    while above - below > _GATHERED:
        middle = low + (high - low) / 2
        if not low < middle < high:
            return high
        count = _at_most(a, b, middle)
        if count >= place:
            high, above = middle, count
        else:
            low, below = middle, count
    # Rounding may leave the last difference outside the sum of its bound, so that the ends have no bound.
    return _listed(a, b, low if below else -np.inf, high if above < a.size * b.size else np.inf, place - below)


def _at_most(a: Floats, b: Floats, value: float) -> int:
    return int(np.searchsorted(b, a + value, side="right").sum())


def _listed(a: Floats, b: Floats, low: float, high: float, place: int) -> float:
    """Return the ordered difference among those above *low* and at most *high*."""
    start = np.zeros(a.size, dtype=np.int64) if low == -np.inf else np.searchsorted(b, a + low, side="right")
    stop = np.searchsorted(b, a + high, side="right") if np.isfinite(high) else np.full(a.size, b.size)
    counts = np.maximum(stop - start, 0)
    rows = np.repeat(np.arange(a.size), counts)
    offsets = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    differences = b[start[rows] + offsets] - a[rows]
    return float(np.partition(differences, place - 1)[place - 1])


def cliffs_delta(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Estimate:
    """Return Cliff's delta, P(second > first) - P(second < first), with Cliff's asymmetric interval.

    Feng and Cliff 2004 with t quantiles; of samples that do not overlap the bound of Cliff for that case.
    """
    a, b = np.sort(_sample(first)), np.sort(_sample(second))
    m, n = a.size, b.size
    by_b = (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right") - m) / m
    by_a = (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right") - n) / -n
    value = float(by_b.mean())
    method = "Cliff's delta, asymmetric interval by Cliff's consistent variance"
    if m < 2 or n < 2:
        return Estimate(value, None, None, level, "Cliff's delta; one value has no interval", m + n)
    quantile = float(stats.t.ppf(0.5 + level / 2, m + n - 2))
    if abs(value) == 1:
        fewest = min(m, n)
        bound = (fewest - quantile**2) / (fewest + quantile**2)
        low, high = (bound, 1.0) if value > 0 else (-1.0, -bound)
        return Estimate(value, low, high, level, "Cliff's delta; the samples do not overlap, Cliff's bound", m + n)
    equal = float(np.sum(np.searchsorted(a, b, "right") - np.searchsorted(a, b, "left")))
    scatter = m * n - equal - m * n * value**2
    rows, across = float(((by_a - value) ** 2).sum()), float(((by_b - value) ** 2).sum())
    variance = (n**2 * rows + m**2 * across - scatter) / (float(m) * n * (m - 1) * (n - 1))
    variance = max(variance, (1 - value**2) / (m * n - 1))
    spread = quantile * np.sqrt(variance)
    centre, below = value - value**3, 1 - value**2 + spread**2
    half = spread * np.sqrt((1 - value**2) ** 2 + spread**2)
    return Estimate(value, float((centre - half) / below), float((centre + half) / below), level, method, m + n)


def hedges_g(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Estimate | None:
    """Return Hedges' g, the difference in pooled standard deviations, with its interval; ``None`` without scatter.

    The interval inverts the noncentral t distribution; beyond 5,000 values it is the normal approximation.
    """
    a, b = _sample(first), _sample(second)
    df = a.size + b.size - 2
    if a.size < 2 or b.size < 2 or not (ties.varies(a) or ties.varies(b)):
        return None
    pooled = np.sqrt(((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / df)
    d = float((b.mean() - a.mean()) / pooled)
    correction = (
        float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2)) if df > 1 else 1
    )
    scale = float(np.sqrt(1 / a.size + 1 / b.size))
    if a.size + b.size > NORMAL_FROM or abs(d / scale) > 35:
        half = float(stats.norm.ppf(0.5 + level / 2)) * np.sqrt(scale**2 + d**2 / (2 * df))
        bounds, how = (d - half, d + half), "normal approximation"
    else:
        bounds = _noncentral(d / scale, df, level, scale)
        how = "noncentral t"
    low, high = (float(correction * bound) for bound in bounds)
    return Estimate(correction * d, low, high, level, f"Hedges' g, interval by the {how}", a.size + b.size)


def _noncentral(t: float, df: int, level: float, scale: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    bounds = [float(special.nctdtrinc(df, p, t)) for p in (1 - tail, tail)]
    return bounds[0] * scale, bounds[1] * scale
