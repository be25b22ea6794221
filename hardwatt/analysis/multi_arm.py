"""More than two arms: paired contrasts with Holm, and the mixed model with a random effect of the block.

With complete blocks the mixed model ``value ~ arm + place + (1 | block)`` by REML gives each contrast of arms from
within the blocks alone, with the pooled residual variance: the same numbers as the two-way analysis with blocks as
fixed effects, as long as the variance between blocks is not estimated as zero. That closed form is used here; the
tests hold it against statsmodels' MixedLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.equivalence import holm
from hardwatt.analysis.paired import LEVEL, Estimate, mean_difference
from hardwatt.analysis.resample import sign_flip
from hardwatt.core.errors import LabError

Floats = NDArray[np.float64]
FEWEST_FOR_A_TEST = 6


@dataclass(frozen=True)
class Contrast:
    """One arm against the baseline."""

    arm: str
    paired: Estimate
    """From this pair of arms alone: the primary kind of estimate."""
    mixed: Estimate | None
    """From the mixed model of all arms; ``None`` where its residuals have no degree of freedom."""
    p: float | None
    """Sign-flip permutation, Holm over the contrasts; ``None`` below six blocks."""


@dataclass(frozen=True)
class Several:
    """All arms together."""

    contrasts: tuple[Contrast, ...]
    f: float | None
    """F statistic of "all arms are equal" in the mixed model."""
    f_p: float | None
    friedman_p: float | None
    """Friedman's rank test, from six blocks on."""


def several(
    columns: Mapping[str, Sequence[ties.Number]],
    places: Mapping[str, Sequence[int]] | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Several:
    """Compare every arm with the first; *columns* maps arm to its values by block, all equally long.

    *places* maps arm to its place in each block; with it the model also has an effect of the place. Raises
    `LabError` for fewer than two arms, or blocks that are not complete.
    """
    arms = list(columns)
    if len(arms) < 2 or len({len(column) for column in columns.values()}) != 1 or not len(columns[arms[0]]):
        raise LabError("several arms need the same blocks in every arm, and two arms or more")
    y = np.column_stack([ties.floats(columns[arm]) for arm in arms])
    where = None if places is None else np.column_stack([np.asarray(places[arm]) for arm in arms])
    n, tested = y.shape[0], y.shape[0] >= FEWEST_FOR_A_TEST
    estimates, f, f_p = _mixed(y, where, level)
    if estimates is None and where is not None:
        # Places that follow from the arm (one order only) cannot be told from it.
        estimates, f, f_p = _mixed(y, None, level)
    first = columns[arms[0]]
    against = {arm: ties.subtract(columns[arm], first) for arm in arms[1:]}
    raw = {arm: sign_flip(d, seed, ties.noise(columns[arm], first)).p for arm, d in against.items()} if tested else {}
    adjusted = holm(raw)
    contrasts = tuple(
        Contrast(
            arm,
            mean_difference(against[arm], level),
            estimates[k - 1] if estimates else None,
            adjusted.get(arm),
        )
        for k, arm in enumerate(arms)
        if k
    )
    friedman = _friedman(list(columns.values())) if tested and len(arms) > 2 else None
    return Several(contrasts, f if n > 1 else None, f_p if n > 1 and tested else None, friedman)


def _friedman(columns: Sequence[Sequence[ties.Number]]) -> float | None:
    """Return p of Friedman's test; ``None`` where all arms are tied in every block."""
    places = ties.places([value for column in columns for value in column]).reshape(len(columns), -1)
    return float(stats.friedmanchisquare(*places).pvalue) if np.ptp(places, axis=0).any() else None


def _mixed(
    y: Floats, places: NDArray[np.int_] | None, level: float
) -> tuple[list[Estimate] | None, float | None, float | None]:
    """Contrasts with the first arm, and the F test of arms, within blocks."""
    n, k = y.shape
    own = y - y.mean(axis=1, keepdims=True)
    effects = [np.tile(np.eye(k)[:, j], (n, 1)) for j in range(1, k)]
    place = [] if places is None else [(places == level_).astype(float) for level_ in np.unique(places)[1:]]
    full = _within(effects + place)
    coefficients, _, rank, _ = np.linalg.lstsq(full, own.ravel())
    df = n * k - n - int(rank)
    if df < 1 or rank < full.shape[1]:
        return None, None, None
    rest = own.ravel() - full @ coefficients
    variance = float(rest @ rest) / df
    covariance = variance * np.linalg.inv(full.T @ full)
    q = float(stats.t.ppf(0.5 + level / 2, df))
    estimates = []
    for j in range(k - 1):
        value, half = float(coefficients[j]), q * float(np.sqrt(covariance[j, j]))
        about = f"mixed model, block random, {'place fixed, ' if place else ''}{df} degrees"
        estimates.append(Estimate(value, value - half, value + half, level, about, n))
    b, c = coefficients[: k - 1], covariance[: k - 1, : k - 1]
    if variance <= (ties.NO_SPREAD * float(np.abs(y).max())) ** 2:
        return estimates, None, None
    f = float(b @ np.linalg.solve(c, b)) / (k - 1)
    return estimates, f, float(stats.f.sf(f, k - 1, df))


def _within(columns: Sequence[Floats]) -> Floats:
    """Columns of the design, each of shape (blocks, arms), with the block's mean taken out."""
    return np.column_stack([(c - c.mean(axis=1, keepdims=True)).ravel() for c in columns])
