"""Pairs of a table: which runs make a pair, repetitions in it as their mean, and statistics for many pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis import resample, signedrank, ties
from hardwatt.analysis.paired import LEVEL, Estimate
from hardwatt.analysis.signedrank import Test
from hardwatt.analysis.tables.select import LeftOut, Selected

EXACT_UP_TO: Final = 1_000
"""Pairs up to which the signed-rank interval and the permutation test are computed as for few."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """The value of an arm in a pair: a row, or the mean of repetitions."""

    number: ties.Number
    repetitions: int
    order: float | None
    """Place in the run order, of the first repetition."""


@dataclass(frozen=True)
class PairOfRuns:
    """Two arms in equal levels of every pair column and factor."""

    name: str
    stratum: int
    first: Run
    second: Run


@dataclass(frozen=True)
class Pairs:
    """The complete pairs of two arms, and the rows whose pair is not complete."""

    pairs: tuple[PairOfRuns, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def first(self) -> list[ties.Number]:
        return [pair.first.number for pair in self.pairs]

    @property
    def second(self) -> list[ties.Number]:
        return [pair.second.number for pair in self.pairs]

    @property
    def differences(self) -> Floats:
        """Second arm minus first; equal or zero but for rounding is equal or zero."""
        return ties.subtract(self.second, self.first)

    @property
    def repetitions(self) -> int:
        """The most rows that one arm has in a pair."""
        return max((run.repetitions for pair in self.pairs for run in (pair.first, pair.second)), default=0)


def runs_by_pair(selected: Selected) -> dict[tuple[str, int], dict[int, Run]]:
    """Return (pair, stratum) to arm to its run; rows with the same three are repetitions, and averaged."""
    rows: dict[tuple[str, int], dict[int, list[int]]] = {}
    for row, name in enumerate(selected.pair or ()):
        key = (name, int(selected.stratum[row]))
        rows.setdefault(key, {}).setdefault(int(selected.arm[row]), []).append(row)
    return {key: {arm: _run(selected, own) for arm, own in arms.items()} for key, arms in rows.items()}


def _run(selected: Selected, rows: Sequence[int]) -> Run:
    exact = [ties.exact(selected.texts[row].replace(",", ".")) for row in rows]
    known = [number for number in exact if number is not None]
    number: ties.Number = float(selected.values[rows].mean())
    if len(known) == len(rows):
        number = sum(known, Fraction(0)) / len(known)
    order = None if selected.order is None else float(selected.order[rows].min())
    return Run(number, len(rows), order)


def pairs_of(selected: Selected, runs: dict[tuple[str, int], dict[int, Run]], arm: int, against: int) -> Pairs:
    """Return the complete pairs of two arms in the order of the file, or of the runs where an order is declared."""
    several = len(selected.strata) > 1
    complete, missing = [], []
    for (name, stratum), own in runs.items():
        shown = " / ".join((name, *selected.strata[stratum])) if several else name
        if arm in own and against in own:
            complete.append(PairOfRuns(shown, stratum, own[arm], own[against]))
        else:
            for here in set(own) & {arm, against}:
                other = selected.arms[against if here == arm else arm]
                missing.append(LeftOut(f"pair {shown}", selected.arms[here], f"the pair has no usable run of {other}"))
    if selected.order is not None:
        complete.sort(key=lambda pair: min(pair.first.order or 0.0, pair.second.order or 0.0))
    return Pairs(tuple(complete), tuple(missing))


def signed_rank(d: Floats, level: float = LEVEL) -> Estimate:
    """Return the Hodges-Lehmann estimate; beyond 1,000 pairs its interval is the normal approximation.

    Bisection over the sorted differences then replaces the list of their means.
    """
    if d.size <= EXACT_UP_TO:
        return signedrank.hodges_lehmann(d, level)
    ordered, n = np.sort(d), int(d.size)
    total = n * (n + 1) // 2
    value = 0.5 * (_walsh(ordered, (total + 1) // 2) + _walsh(ordered, total // 2 + 1))
    deviation = np.sqrt(n * (n + 1.0) * (2 * n + 1) / 24)
    place = max(1, int(np.floor(total / 2 - float(stats.norm.ppf(0.5 + level / 2)) * deviation)))
    low, high = _walsh(ordered, place), _walsh(ordered, total + 1 - place)
    method = "Hodges-Lehmann, interval by inverting the signed-rank test, normal approximation"
    return Estimate(value, low, high, level, method, n)


def _walsh(d: Floats, place: int) -> float:
    """Return the Walsh average with *place* from 1 on, to the resolution of floats; *d* is sorted."""
    low, high = float(d[0]), float(d[-1])
    index = np.arange(d.size)
    for _ in range(200):
        middle = low + (high - low) / 2
        if not low < middle < high:
            break
        count = int(np.maximum(np.searchsorted(d, 2 * middle - d, side="right") - index, 0).sum())
        low, high = (low, middle) if count >= place else (middle, high)
    return high


def permutation(pairs: Pairs, seed: int) -> Test:
    """Return the sign-flip test; beyond 1,000 pairs its normal approximation."""
    d = pairs.differences
    if d.size <= EXACT_UP_TO:
        return resample.sign_flip(d, seed, ties.noise(pairs.first, pairs.second))
    scale = float(np.sqrt((d**2).sum()))
    z = abs(float(d.sum())) / scale if scale else 0.0
    return Test(float(d.mean()), 2 * float(stats.norm.sf(z)), "sign-flip permutation, normal approximation")
