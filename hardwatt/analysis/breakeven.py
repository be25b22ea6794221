"""The break-even rate, the commits at which an arm becomes the cheaper one, with a Fieller interval.

A window of T seconds with n commits costs ``a T + b n`` more in the second arm than in the first: a is what it
costs to be there (in units by second), b what a commit costs (in units). Break-even is at n / T = -a / b commits by
second. A ratio's interval is not always two numbers (Fieller 1954): where b may be zero, it may reach infinity, and
where a and b have one sign no rate of commits turns the answer round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL, Estimate, differences
from hardwatt.core.errors import LabError

Word = Literal["always", "never", "above", "below", "open"]
HOUR = 3600.0


@dataclass(frozen=True)
class BreakEven:
    """The rates of commits at which the second arm is the cheaper one."""

    word: Word
    """``always`` or ``never`` cheaper at any rate (shown by both intervals), cheaper ``above`` or ``below`` the
    rate, or ``open``: the data allow more than one of these."""
    rate: float | None
    """Commits by hour at which both cost the same; ``None`` where no positive rate does."""
    low: float | None
    high: float | None
    """``None`` with a ``low``: unbounded above."""
    by_hour: Estimate
    """Additional cost of the second arm by hour without commits."""
    by_commit: Estimate
    """Additional cost of the second arm by commit."""


def break_even(values: ArrayLike, commits: ArrayLike, hours: ArrayLike, level: float = LEVEL) -> BreakEven:
    """Fit differences (second arm minus first) by hours and commits of each pair's windows; shapes all (n,).

    Raises `LabError` where the windows cannot tell both apart: all had the same commits by hour, or below four pairs.
    """
    d, n, t = differences(values), differences(commits), differences(hours)
    design = np.column_stack([t, n])
    if d.size < 4 or np.linalg.matrix_rank(design) < 2 or not ties.varies(n / t):
        raise LabError(
            "the break-even rate needs four pairs or more, with different commits by hour",
            hint="plan windows with few commits and windows with many",
        )
    (a, b), (v_aa, v_ab, v_bb), df = _fit(design, d)
    q = float(stats.t.ppf(0.5 + level / 2, df))
    by_hour, by_commit = _estimate(a, v_aa, q, level, d.size), _estimate(b, v_bb, q, level, d.size)
    low, high = _positive(fieller(-a, b, v_aa, -v_ab, v_bb, q))
    # A cost that rounding alone makes differ from zero crosses nothing.
    limit = ties.RESOLUTION * float(np.abs(d).max())
    crossing = abs(b) * float(n.max()) > limit and -a / b > 0
    return BreakEven(_word(by_hour, by_commit, low, high), -a / b if crossing else None, low, high, by_hour, by_commit)


def _fit(design: NDArray[np.float64], d: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, ...], int]:
    coefficients, *_ = np.linalg.lstsq(design, d)
    rest = d - design @ coefficients
    df = int(d.size) - 2
    covariance = float(rest @ rest) / df * np.linalg.inv(design.T @ design)
    a, b = (float(c) for c in coefficients)
    return (a, b), (float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])), df


def _estimate(value: float, variance: float, q: float, level: float, n: int) -> Estimate:
    half = q * math.sqrt(variance)
    return Estimate(value, value - half, value + half, level, f"least squares, t interval, {n - 2} degrees", n)


def fieller(a: float, b: float, v_aa: float, v_ab: float, v_bb: float, q: float) -> list[tuple[float, float]]:
    """Return Fieller's set for a / b: the ratios r with (a - r b)^2 <= q^2 Var(a - r b), as one or two intervals.

    One bounded interval where b differs from zero; else two rays, or the whole line.
    """
    # (b^2 - q^2 v_bb) r^2 - 2 (a b - q^2 v_ab) r + (a^2 - q^2 v_aa) <= 0
    square, half, constant = b * b - q * q * v_bb, a * b - q * q * v_ab, a * a - q * q * v_aa
    inner = half * half - square * constant
    if abs(square) < 1e-300:
        return [(-math.inf, math.inf)]
    if inner < 0:
        return [(-math.inf, math.inf)] if square < 0 else []
    ends = sorted(((half - math.sqrt(inner)) / square, (half + math.sqrt(inner)) / square))
    if square > 0:
        return [(ends[0], ends[1])]
    return [(-math.inf, ends[0]), (ends[1], math.inf)]


def _positive(parts: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    """The part of a set of ratios that is a rate: above zero. (None, None) where there is none."""
    kept = [(max(0.0, low), high) for low, high in parts if high > 0]
    if not kept:
        return None, None
    low, high = min(low for low, _ in kept), max(high for _, high in kept)
    return low, None if math.isinf(high) else high


def _word(by_hour: Estimate, by_commit: Estimate, low: float | None, high: float | None) -> Word:
    if low is None:
        return "never" if by_hour.value + by_commit.value > 0 else "always"
    if high is None or low == 0:
        return "open"
    return "above" if by_commit.value < 0 else "below"
