"""Coverage of the true mean by the pooled interval: simulated, for few sessions and every spread between them.

A session's mean is a draw between sessions, and the mean of its pairs, whose differences scatter by one. Beside the t
interval over sessions, which `hardwatt pool` gives, stands that of Hartung and Knapp, which weighs sessions by pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis.coverage import POINT, SEED
from hardwatt.analysis.paired import LEVEL

Floats = NDArray[np.float64]

SESSIONS = (3, 5, 8, 12)
SPREADS = (0.0, 1.0, 3.0)
"""Standard deviation between sessions, in standard deviations of a pair's difference."""
DRAWS = 20_000
DESIGNS: dict[str, tuple[tuple[int, ...], str]] = {
    "6 pairs in each session": ((6,), "normal"),
    "3, 6 and 12 pairs in turn": ((3, 6, 12), "normal"),
    "6 pairs, sessions with a tail to one side": ((6,), "exponential"),
}
"""Kind of sessions -> their pairs, in turn, and the distribution of what differs between them."""


@dataclass(frozen=True)
class SessionCell:
    """Share of the simulated series whose 95 % interval holds the true mean."""

    design: str
    spread: float
    sessions: int
    t: float
    hartung_knapp: float

    @property
    def holds(self) -> bool:
        """Return True if the t interval is within one point of its level."""
        return abs(self.t - LEVEL) <= POINT


def simulate(design: str, spread: float, sessions: int, draws: int = DRAWS, seed: int = SEED) -> SessionCell:
    """Coverage of both intervals for so many sessions, from *draws* series; the true mean is zero."""
    rng = np.random.default_rng([seed, sessions, round(10 * spread), *design.encode()])
    counts, shape = DESIGNS[design]
    pairs = np.resize(np.array(counts, dtype=np.float64), sessions)
    size = (draws, sessions)
    apart = rng.standard_normal(size) if shape == "normal" else rng.exponential(1, size) - 1
    means = spread * apart + rng.standard_normal(size) / np.sqrt(pairs)
    variances = rng.chisquare(pairs - 1, size) / (pairs - 1) / pairs
    return SessionCell(design, spread, sessions, _t(means), _hartung_knapp(means, variances))


def _t(means: Floats) -> float:
    """Share of series whose t interval over their means, shape (draws, sessions), holds zero."""
    sessions = means.shape[1]
    half = _quantile(sessions) * means.std(axis=1, ddof=1) / np.sqrt(sessions)
    return float(np.mean(np.abs(means.mean(axis=1)) <= half))


def _hartung_knapp(means: Floats, variances: Floats) -> float:
    """Share of series whose random-effects interval holds zero: the arithmetic of `pooling.pool`, for all at once."""
    free = means.shape[1] - 1
    weights = 1 / variances
    total = weights.sum(axis=1)
    fixed = (weights * means).sum(axis=1) / total
    q = (weights * (means - fixed[:, None]) ** 2).sum(axis=1)
    between = np.maximum(0.0, (q - free) / (total - (weights**2).sum(axis=1) / total))
    weights = 1 / (variances + between[:, None])
    total = weights.sum(axis=1)
    mean = (weights * means).sum(axis=1) / total
    error = np.sqrt((weights * (means - mean[:, None]) ** 2).sum(axis=1) / free / total)
    return float(np.mean(np.abs(mean) <= _quantile(free + 1) * error))


def _quantile(sessions: int) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2, sessions - 1))


def table(draws: int = DRAWS) -> list[SessionCell]:
    """Every cell of the page."""
    return [simulate(design, spread, k, draws) for design in DESIGNS for spread in SPREADS for k in SESSIONS]
