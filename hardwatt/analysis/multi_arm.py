"""More than two arms: paired contrasts with Holm, and the mixed model with a random effect of the block.

With complete blocks the mixed model ``value ~ arm + place + (1 | block)`` by REML gives each contrast of arms from
within the blocks alone, with the pooled residual variance: the same numbers as the two-way analysis with blocks as
fixed effects, as long as the variance between blocks is not estimated as zero. That closed form is used here; the
tests hold it against statsmodels' MixedLM.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.equivalence import holm
from hardwatt.analysis.paired import LEVEL, POWER, Estimate, detectable_effect, mean_difference
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


@dataclass(frozen=True)
class _Fit:
    """The mixed model of all arms: differences from the first arm, and their covariance."""

    against_first: Floats
    covariance: Floats
    df: int
    variance: float
    about: str


def _mixed(
    y: Floats, places: NDArray[np.int_] | None, level: float
) -> tuple[list[Estimate] | None, float | None, float | None]:
    """Contrasts with the first arm, and the F test of arms, within blocks."""
    n, k = y.shape
    fit = _fit(y, places)
    if fit is None:
        return None, None, None
    estimates = [_of_fit(fit, np.eye(k - 1)[j], level, n) for j in range(k - 1)]
    if fit.variance <= (ties.NO_SPREAD * float(np.abs(y).max())) ** 2:
        return estimates, None, None
    f = float(fit.against_first @ np.linalg.solve(fit.covariance, fit.against_first)) / (k - 1)
    return estimates, f, float(stats.f.sf(f, k - 1, fit.df))


def _fit(y: Floats, places: NDArray[np.int_] | None) -> _Fit | None:
    """Fit the model; ``None`` without a degree of freedom, or where one effect cannot be told from another."""
    n, k = y.shape
    own = y - y.mean(axis=1, keepdims=True)
    effects = [np.tile(np.eye(k)[:, j], (n, 1)) for j in range(1, k)]
    place = [] if places is None else [(places == level_).astype(float) for level_ in np.unique(places)[1:]]
    full = _within(effects + place)
    coefficients, _, rank, _ = np.linalg.lstsq(full, own.ravel())
    df = n * k - n - int(rank)
    if df < 1 or rank < full.shape[1]:
        return None
    rest = own.ravel() - full @ coefficients
    variance = float(rest @ rest) / df
    covariance = variance * np.linalg.inv(full.T @ full)
    about = f"mixed model, block random, {'place fixed, ' if place else ''}{df} degrees"
    return _Fit(coefficients[: k - 1], covariance[: k - 1, : k - 1], df, variance, about)


def _of_fit(fit: _Fit, weights: Floats, level: float, n: int) -> Estimate:
    """Estimate a sum of differences from the first arm; ``weights`` are those of the other arms."""
    value = float(weights @ fit.against_first)
    half = float(stats.t.ppf(0.5 + level / 2, fit.df)) * _error(fit, weights)
    return Estimate(value, value - half, value + half, level, fit.about, n)


def _error(fit: _Fit, weights: Floats) -> float:
    return math.sqrt(max(0.0, float(weights @ fit.covariance @ weights)))


@dataclass(frozen=True)
class Combined:
    """A weighted sum of arms (weights that add up to zero), such as the difference between two differences."""

    paired: Estimate
    """From the sum in each block alone."""
    detectable: float | None
    """The true sum that a repeat of this experiment would show with a probability of 80 %; ``None`` for one block."""
    mixed: Estimate | None
    """From the mixed model of all arms, with the scatter of all of them; ``None`` where it cannot be fitted."""
    mixed_detectable: float | None


def combined(
    columns: Mapping[str, Sequence[ties.Number]],
    weights: Mapping[str, float],
    places: Mapping[str, Sequence[int]] | None = None,
    level: float = LEVEL,
) -> Combined:
    """Estimate a weighted sum of arms; *columns* and *places* as in `several`, *weights* maps arm to weight.

    Raises `LabError` where the weights do not add up to zero: blocks would not cancel.
    """
    arms = list(columns)
    w = np.array([float(weights.get(arm, 0.0)) for arm in arms])
    if abs(w.sum()) > 1e-9 or not w.any() or set(weights) - set(arms):
        raise LabError("the weights of a contrast name arms of the study and add up to zero")
    y = np.column_stack([ties.floats(columns[arm]) for arm in arms])
    sums = in_blocks(columns, weights)
    where = None if places is None else np.column_stack([np.asarray(places[arm]) for arm in arms])
    fit = _fit(y, where) or (_fit(y, None) if where is not None else None)
    paired = mean_difference(sums, level)
    if fit is None:
        return Combined(paired, detectable_effect(sums), None, None)
    factor = float(stats.t.ppf(0.975, fit.df) + stats.t.ppf(POWER, fit.df))
    return Combined(
        paired, detectable_effect(sums), _of_fit(fit, w[1:], level, y.shape[0]), factor * _error(fit, w[1:])
    )


def in_blocks(columns: Mapping[str, Sequence[ties.Number]], weights: Mapping[str, float]) -> Floats:
    """Return the weighted sum of arms in each block; exactly zero where it is zero but for rounding."""
    parts = [weight * ties.floats(columns[arm]) for arm, weight in weights.items() if weight]
    sums = np.sum(parts, axis=0)
    largest = max(float(np.abs(part).max()) for part in parts)
    return ties.settled(np.asarray(sums, dtype=np.float64), largest)


def _within(columns: Sequence[Floats]) -> Floats:
    """Columns of the design, each of shape (blocks, arms), with the block's mean taken out."""
    return np.column_stack([(c - c.mean(axis=1, keepdims=True)).ravel() for c in columns])
