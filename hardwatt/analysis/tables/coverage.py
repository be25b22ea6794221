"""The coverage of the unpaired intervals: simulated, all experiments of a cell at once.

Everything is drawn from one seed, so that a cell gives the same number wherever it is computed with the same numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis.coverage import POINT, SEED
from hardwatt.analysis.paired import LEVEL
from hardwatt.analysis.tables.unpaired import null_distribution

Floats = NDArray[np.float64]
Sampler = Callable[[np.random.Generator, tuple[int, int]], Floats]

SIZES = ((5, 5), (10, 10), (10, 30), (30, 30))
"""Runs of the baseline and of the arm."""
DRAWS = 10_000


@dataclass(frozen=True)
class Kind:
    """Two populations whose difference of means, and whose shift where they differ by one, is known."""

    about: str
    first: Sampler
    second: Sampler
    difference: float
    """Of the means, second minus first."""
    shift: float | None
    """``None`` if the populations differ by more than a shift."""


def _normal(mean: float, deviation: float) -> Sampler:
    return lambda rng, shape: rng.normal(mean, deviation, shape)


def _lognormal(more: float) -> Sampler:
    return lambda rng, shape: rng.lognormal(0, 1, shape) + more


KINDS: dict[str, Kind] = {
    "normal": Kind("normal, equal variances", _normal(0, 1), _normal(0.5, 1), 0.5, 0.5),
    "unequal": Kind("normal, the arm scatters three times as much", _normal(0, 1), _normal(0.5, 3), 0.5, 0.5),
    "skewed": Kind("both log-normal (skewness 6), shifted", _lognormal(0), _lognormal(0.5), 0.5, 0.5),
    "one tail": Kind(
        "the arm log-normal (skewness 6), the baseline normal",
        _normal(float(np.exp(0.5)), 1),
        _lognormal(0.5),
        0.5,
        None,
    ),
}


@dataclass(frozen=True)
class Cell:
    """Share of the simulated experiments whose interval holds the truth."""

    kind: str
    sizes: tuple[int, int]
    welch: float
    shift: float | None

    @property
    def holds(self) -> bool:
        """Return True if Welch's interval is within one point of its level."""
        return abs(self.welch - LEVEL) <= POINT


def simulate(name: str, sizes: tuple[int, int], draws: int = DRAWS, seed: int = SEED) -> Cell:
    """Return the coverage of 95 % intervals for samples of these sizes, from *draws* experiments."""
    rng = np.random.default_rng([seed, *sizes, *name.encode()])
    kind = KINDS[name]
    a, b = kind.first(rng, (draws, sizes[0])), kind.second(rng, (draws, sizes[1]))
    shift = None if kind.shift is None else float(np.mean(kept_by_ranks(a, b - kind.shift)))
    return Cell(name, sizes, float(np.mean(inside_welch(a, b, kind.difference))), shift)


def inside_welch(a: Floats, b: Floats, truth: float) -> NDArray[np.bool_]:
    """Return for each row whether Welch's interval holds *truth*."""
    errors2 = [values.var(axis=1, ddof=1) / values.shape[1] for values in (a, b)]
    total = errors2[0] + errors2[1]
    df = total**2 / (errors2[0] ** 2 / (a.shape[1] - 1) + errors2[1] ** 2 / (b.shape[1] - 1))
    distance = np.abs(b.mean(axis=1) - a.mean(axis=1) - truth)
    return np.asarray(distance <= stats.t.ppf(0.5 + LEVEL / 2, df) * np.sqrt(total))


def kept_by_ranks(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Return for each row whether the exact Mann-Whitney test keeps "no difference": the interval then holds zero."""
    m, n = a.shape[1], b.shape[1]
    u = (b[:, :, None] > a[:, None, :]).sum(axis=(1, 2))
    below = np.cumsum(null_distribution(m, n))
    # As for the interval: its place is the first whose probability is not below half of what is left out.
    place = max(1, int(np.searchsorted(below, (1 - LEVEL) / 2 - 1e-12)))
    return np.asarray((u >= place) & (m * n - u >= place))


def table(draws: int = DRAWS) -> list[Cell]:
    """Every cell of the page."""
    return [simulate(name, sizes, draws) for name in KINDS for sizes in SIZES]
