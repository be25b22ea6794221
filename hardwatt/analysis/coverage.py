"""Coverage of the true mean by the primary interval: simulated, all experiments of a cell at once.

Each cell is a kind of differences and a number of pairs. Everything is drawn from one seed, so a cell gives the same
number wherever it is computed with the same numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from hardwatt.analysis.paired import LEVEL
from hardwatt.analysis.serial import newey_west_lags

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Floats]

PAIRS = (6, 10, 20, 40)
DRAWS = 20_000
SEED = 20_220_924
POINT = 0.01
"""Within one point of the level an interval is said to hold."""


def _ar(rho: float) -> Draw:
    def draw(rng: np.random.Generator, draws: int, n: int) -> Floats:
        """Stationary AR(1) with mean zero; shape (draws, n)."""
        noise = rng.standard_normal((draws, n))
        noise[:, 0] /= np.sqrt(1 - rho**2)
        return np.asarray(signal.lfilter([1.0], [1.0, -rho], noise, axis=1))

    return draw


def _lognormal(rng: np.random.Generator, draws: int, n: int) -> Floats:
    return np.asarray(rng.lognormal(0, 1, (draws, n)) - np.exp(0.5))


def _two_lognormal(rng: np.random.Generator, draws: int, n: int) -> Floats:
    return np.asarray(rng.lognormal(0, 1, (draws, n)) - rng.lognormal(0, 1, (draws, n)))


KINDS: dict[str, tuple[str, Draw]] = {
    "normal": ("normal", lambda rng, draws, n: rng.standard_normal((draws, n))),
    "skewed in both arms": ("each arm log-normal (skewness 6), so the difference has long tails", _two_lognormal),
    "skewed": ("exponential (skewness 2): one arm alone has a tail", lambda r, d, n: r.exponential(1, (d, n)) - 1),
    "very skewed": ("log-normal (skewness 6): one arm alone has a long tail", _lognormal),
    "autocorrelated, 0.1": ("autoregressive, lag-1 correlation 0.1", _ar(0.1)),
    "autocorrelated, 0.3": ("autoregressive, lag-1 correlation 0.3", _ar(0.3)),
    "autocorrelated, 0.6": ("autoregressive, lag-1 correlation 0.6", _ar(0.6)),
    "autocorrelated, -0.3": ("autoregressive, lag-1 correlation -0.3", _ar(-0.3)),
}


@dataclass(frozen=True)
class Cell:
    """Share of the simulated experiments whose interval holds the true mean."""

    kind: str
    n: int
    t: float
    """The primary interval."""
    newey_west: float

    @property
    def holds(self) -> bool:
        """Return True if the primary interval is within one point of its level."""
        return abs(self.t - LEVEL) <= POINT


def simulate(kind: str, n: int, draws: int = DRAWS, seed: int = SEED) -> Cell:
    """Coverage of 95 % intervals for *n* pairs of the *kind*, from *draws* experiments."""
    rng = np.random.default_rng([seed, n, *kind.encode()])
    d = KINDS[kind][1](rng, draws, n)
    mean = d.mean(axis=1)
    q = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
    shares = [float(np.mean(np.abs(mean) <= q * error)) for error in (_error(d, 0), _error(d, newey_west_lags(n)))]
    return Cell(kind, n, *shares)


def _error(d: Floats, lags: int) -> Floats:
    """Standard error of each row's mean, Newey-West with *lags* lags (none: the usual one); shape (draws,)."""
    n = d.shape[1]
    centred = d - d.mean(axis=1, keepdims=True)
    total = (centred**2).sum(axis=1)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * (centred[:, lag:] * centred[:, :-lag]).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(total, 0) / n / (n - 1)))


def table(draws: int = DRAWS) -> list[Cell]:
    """Every cell of the page."""
    return [simulate(kind, n, draws) for kind in KINDS for n in PAIRS]
