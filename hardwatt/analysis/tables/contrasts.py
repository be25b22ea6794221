"""One arm against the baseline, unpaired or paired: estimate, tests and effect sizes, inside strata and together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardwatt.analysis import paired, signedrank, ties
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.signedrank import Test
from hardwatt.analysis.tables import blocks, unpaired
from hardwatt.analysis.tables.blocks import Pairs, Run
from hardwatt.analysis.tables.select import Selected
from hardwatt.core.errors import LabError

FEWEST_RUNS = 4
"""In each arm: below, no two-sided rank test can reach five percent."""
FEWEST_PAIRS = 6
Floats = NDArray[np.float64]


class NothingToCompareError(LabError):
    """Two arms that share no cell, or no pair."""


@dataclass(frozen=True)
class InStratum:
    """A contrast in one combination of the further factors."""

    stratum: int
    n: tuple[int, int]
    estimate: Estimate | None
    why: str = ""


@dataclass(frozen=True)
class Compared:
    """One arm against the baseline."""

    arm: int
    n: tuple[int, int]
    """Rows of the baseline and of the arm; of pairs the same number twice."""
    estimate: Estimate
    test: Test | None
    relative: Estimate | None
    shift: Estimate | None
    rank: Test | None
    dominance: Estimate | None
    size: Estimate | None
    columns: tuple[Floats, Floats]
    """The values that were compared, baseline first."""
    centred: tuple[Floats, Floats]
    """The same minus the mean of their stratum, so that strata do not count as scatter."""
    strata: tuple[InStratum, ...] = ()
    pairs: Pairs | None = None
    scatter: bool = True
    used: tuple[int, ...] = field(default=(0,))
    """Strata that the estimate rests on."""

    @property
    def enough(self) -> bool:
        """Return True if there are enough runs or pairs for a test, and they scatter."""
        return self.many and self.scatter

    @property
    def many(self) -> bool:
        """Return True if there are enough runs or pairs for a test."""
        return min(self.n) >= (FEWEST_PAIRS if self.pairs else FEWEST_RUNS)


def unpaired_contrast(selected: Selected, arm: int, level: float) -> Compared:
    """Compare an arm with the baseline, rows as independent runs.

    Raises `NothingToCompareError` that names the empty cells if no stratum has both arms.
    """
    cells = [(selected.of(0, k), selected.of(arm, k)) for k in range(len(selected.strata))]
    inside, used = [], []
    enough = any(min(a.size, b.size) >= 2 for a, b in cells)
    for stratum, (a, b) in enumerate(cells):
        why = _missing(selected, arm, (a.size, b.size), enough and len(cells) > 1)
        inside.append(InStratum(stratum, (a.size, b.size), None if why else unpaired.welch(a, b, level)[0], why))
        if not why:
            used.append(stratum)
    if not used:
        raise NothingToCompareError(_empty(selected, arm, inside))
    compared = [cells[k] for k in used]
    estimate, test = unpaired.combined(compared, level)
    first, second = (np.concatenate([pair[k] for pair in compared]) for k in (0, 1))
    alone = len(used) == 1
    scatter = any(ties.varies(values) for pair in compared for values in pair)
    return Compared(
        arm,
        (first.size, second.size),
        estimate,
        test,
        relative(compared, level),
        unpaired.shift(first, second, level) if alone else None,
        unpaired.mann_whitney(first, second) if alone else None,
        unpaired.cliffs_delta(first, second, level) if alone else None,
        unpaired.hedges_g(first, second, level) if alone else None,
        (first, second),
        (_centred(compared, 0), _centred(compared, 1)),
        tuple(inside),
        scatter=scatter,
        used=tuple(used),
    )


def _missing(selected: Selected, arm: int, sizes: tuple[int, int], two: bool) -> str:
    for name, size in zip((selected.arms[0], selected.arms[arm]), sizes, strict=True):
        if size == 0:
            return f"no usable run of {name}"
        if size == 1 and two:
            return f"one run of {name} has no scatter"
    return ""


def _empty(selected: Selected, arm: int, inside: Sequence[InStratum]) -> str:
    names = (selected.arms[0], selected.arms[arm])
    if len(selected.strata) == 1:
        return f"{names[0]} and {names[1]} cannot be compared: {inside[0].why}"
    cells = "; ".join(f"{' / '.join(selected.strata[cell.stratum])}: {cell.why}" for cell in inside[:6])
    more = f"; and {len(inside) - 6} more" if len(inside) > 6 else ""
    return f"no combination of the other factors has both {names[0]} and {names[1]}: {cells}{more}"


def _centred(strata: Sequence[tuple[Floats, Floats]], place: int) -> Floats:
    if len(strata) == 1:
        return strata[0][place]
    return np.concatenate([pair[place] - pair[place].mean() for pair in strata])


def relative(strata: Sequence[tuple[Floats, Floats]], level: float) -> Estimate | None:
    """Return log(ratio of means), averaged over strata, by the delta method; ``None`` unless all means are positive."""
    logs, errors2, df_below = [], [], 0.0
    for cell in strata:
        before, after = (unpaired.moments(values) for values in cell)
        if min(float(values.min()) for values in cell) <= 0:
            return None
        logs.append(np.log(after.mean / before.mean))
        for sample in (before, after):
            error2 = sample.error2 / sample.mean**2 / len(strata) ** 2
            errors2.append(error2)
            df_below += error2**2 / (sample.n - 1) if sample.n > 1 else 0.0
    value, error2 = float(np.mean(logs)), sum(errors2)
    n = sum(values.size for cell in strata for values in cell)
    if any(values.size < 2 for cell in strata for values in cell):
        return Estimate(value, None, None, level, "log ratio of means", n)
    half = unpaired.t_quantile(level, error2**2 / df_below) * float(np.sqrt(error2)) if error2 else 0.0
    return Estimate(value, value - half, value + half, level, "log ratio of means, delta method", n)


def paired_contrast(
    selected: Selected, runs: dict[tuple[str, int], dict[int, Run]], arm: int, level: float
) -> Compared:
    """Compare an arm with the baseline inside pairs.

    Raises `NothingToCompareError` if no pair is complete.
    """
    pairs = blocks.pairs_of(selected, runs, 0, arm)
    if not pairs.pairs:
        raise NothingToCompareError(
            f"no pair has both {selected.arms[0]} and {selected.arms[arm]} in equal levels of all other factors"
        )
    d = pairs.differences
    n = int(d.size)
    signed = ties.signed_places(pairs.second, pairs.first)
    first, second = ties.floats(pairs.first), ties.floats(pairs.second)
    estimate = paired.mean_difference(d, level)
    scatter = ties.varies(d)
    tested = n >= FEWEST_PAIRS
    dominance = Estimate(signedrank.rank_biserial(signed), None, None, level, "rank-biserial correlation", n)
    size = float(d.mean()) / float(d.std(ddof=1)) if n > 1 and scatter else None
    return Compared(
        arm,
        (n, n),
        estimate,
        _paired_t(d) if tested and scatter else None,
        _log_ratio(first, second, level),
        blocks.signed_rank(d, level) if tested else None,
        signedrank.wilcoxon(signed) if tested else None,
        dominance,
        None if size is None else Estimate(size, None, None, level, "mean(d)/sd(d)", n),
        (first, second),
        (first, second),
        _paired_strata(selected, pairs, d, level),
        pairs,
        scatter=scatter or not tested,
        used=tuple(sorted({pair.stratum for pair in pairs.pairs})),
    )


def _paired_t(d: Floats) -> Test:
    t = float(d.mean()) / paired.standard_error(d)
    p = unpaired.two_sided(t, d.size - 1)
    return Test(t, p, f"paired t test, t = {t:.4g}, {d.size - 1} degrees of freedom")


def _log_ratio(first: Floats, second: Floats, level: float) -> Estimate | None:
    if min(float(first.min()), float(second.min())) <= 0:
        return None
    return paired.mean_difference(np.log(second) - np.log(first), level)


def _paired_strata(selected: Selected, pairs: Pairs, d: Floats, level: float) -> tuple[InStratum, ...]:
    stratum = np.array([pair.stratum for pair in pairs.pairs])
    rows = []
    for number in range(len(selected.strata)):
        own = d[stratum == number]
        why = "" if own.size else "no complete pair"
        estimate = paired.mean_difference(own, level) if own.size else None
        rows.append(InStratum(number, (own.size, own.size), estimate, why))
    return tuple(rows)
