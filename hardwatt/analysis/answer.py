"""The sections of results.json that hold the answer: primary, pairs, equivalence, verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardwatt.analysis import equivalence, paired, resample, signedrank, verdicts
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, count, figure, of_estimate
from hardwatt.analysis.sections import AtMargin, EquivalenceResult, PairResult, Primary, ResultFigure, Verdict
from hardwatt.analysis.table import Table, vector
from hardwatt.core.errors import LabError
from hardwatt.instruments.figure import Figure

ESTIMATOR = "mean paired difference"
ROBUST = "Hodges-Lehmann"
Compute = Callable[[NDArray[np.float64], float, int], paired.Estimate]
ESTIMATORS: Mapping[tuple[str, str], Compute] = {
    (ESTIMATOR, "t"): lambda values, level, seed: paired.mean_difference(values, level),
    (ESTIMATOR, "studentised bootstrap"): resample.bootstrap_t,
    (ROBUST, "signed rank"): lambda values, level, seed: signedrank.hodges_lehmann(values, level),
}
"""Pairs that a plan can name: (estimator, interval), the usual interval of an estimator first."""
_RANK_EFFICIENCY = 0.955
"""Of rank methods against the mean, for normal differences (3 / pi)."""


def measured(measurement: Figure) -> ResultFigure:
    """Pass on a figure of the instruments as it is."""
    bounds = measurement.low, measurement.high
    return figure(measurement.value, measurement.unit, measurement.source, *bounds, share=measurement.share)


def differences(table: Table, outcome: str) -> list[ResultFigure]:
    """Difference of each pair; its bounds are the instruments' bounds, worst case."""
    columns, values = table.columns(outcome), vector(table, outcome)
    if columns is None or values is None:
        return []
    rows = []
    for first, second, value in zip(*(columns[arm] for arm in table.arms), values.tolist(), strict=True):
        low, high = min(value, second.low - first.high), max(value, second.high - first.low)
        rows.append(figure(value, first.unit, first.source, low, high, share=share_of(table, outcome)))
    return rows


def mean_of(table: Table, arm: str, outcome: str) -> ResultFigure:
    """Mean of an arm over the pairs, with the interval of that mean alone."""
    own = [table.figures[pair.runs[arm].run_id, outcome] for pair in table.pairs]
    estimate = paired.mean_difference([window.value for window in own], table.level)
    return of_estimate(estimate, own[0].unit, own[0].source, share_of(table, outcome))


def share_of(table: Table, outcome: str) -> float | None:
    """Share by which the counter of an outcome may be off in all windows alike; ``None`` where a window has none.

    The error is one and the same in both arms, so a difference is off by this share of itself, not of the arms.
    """
    columns = table.columns(outcome) or {}
    shares = [window.share for own in columns.values() for window in own]
    known = [share for share in shares if share is not None]
    return max(known) if known and len(known) == len(shares) else None


def estimator(planned: Mapping[str, Any]) -> tuple[str, Compute]:
    """Return name and function of the plan's estimator; raise `LabError` where this version has none of that name."""
    name = str(planned.get("estimator", ESTIMATOR))
    usual = next((interval for known, interval in ESTIMATORS if known == name), "")
    wanted = (name, str(planned.get("interval") or usual))
    if wanted not in ESTIMATORS:
        known = ", ".join(f"{kind!r} with the interval {interval!r}" for kind, interval in ESTIMATORS)
        raise LabError(
            f"the plan names the estimator {name!r} with the interval {wanted[1]!r}; this version has {known}",
            hint="analyse the bundle with the version of hardwatt that is named in its manifest",
        )
    return name, ESTIMATORS[wanted]


def primary(table: Table, planned: Mapping[str, Any], seed: int = 0) -> Primary:
    """Return the planned estimate: the estimator and level are the plan's, nothing else is tried."""
    name, compute = estimator(planned)
    level = float(planned.get("confidence", paired.LEVEL))
    values = vector(table, table.outcome)
    if values is None or not table.pairs:
        return _nothing(table, planned, level)
    estimate = compute(values, level, seed)
    sample, share = table.primary(table.pairs[0].runs[table.arms[0]]), share_of(table, table.outcome)
    least = paired.detectable_effect(values) if len(values) >= FEWEST_FOR_A_TEST else None
    if least is not None and name == ROBUST:
        least /= float(np.sqrt(_RANK_EFFICIENCY))
    return Primary(
        outcome=table.outcome,
        estimator=name,
        estimate=of_estimate(estimate, sample.unit, sample.source, share),
        method=estimate.method,
        level=figure(estimate.level * 100, "%", "plan"),
        direction=f"{table.arms[1]} minus {table.arms[0]}",
        arms={arm: mean_of(table, arm, table.outcome) for arm in table.arms},
        relative=_relative(table, level),
        detectable=figure(least, sample.unit, sample.source, share=share),
    )


def _nothing(table: Table, planned: Mapping[str, Any], level: float) -> Primary:
    unit, source = str(planned.get("unit", "1")), "no complete pair"
    empty = figure(None, unit, source)
    return Primary(
        outcome=table.outcome,
        estimator=str(planned.get("estimator", ESTIMATOR)),
        estimate=empty,
        method="no complete pair, no estimate",
        level=figure(level * 100, "%", "plan"),
        direction=f"{table.arms[1]} minus {table.arms[0]}",
        arms=dict.fromkeys(table.arms, empty),
        relative=figure(None, "%", source),
        detectable=empty,
    )


def _relative(table: Table, level: float) -> ResultFigure:
    """Change in percent of the first arm: exp of the mean log ratio, minus one, with its t interval."""
    columns = table.columns(table.outcome)
    source = f"exp(mean log ratio of {table.arms[1]} to {table.arms[0]}) - 1"
    first, second = (
        np.array([window.value for window in columns[arm]]) if columns else np.zeros(1) for arm in table.arms
    )
    if min(first.min(), second.min()) <= 0:
        return figure(None, "%", source)
    estimate = paired.mean_difference(np.log(second) - np.log(first), level)
    bounds = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if bound is None else 100 * float(np.expm1(bound)) for bound in bounds)
    return figure(value, "%", source, low, high)


def pairs(table: Table, derived: str | None) -> list[PairResult]:
    """Every pair: both figures, their difference, and the derived joules where there are any."""
    rows = []
    own = differences(table, table.outcome)
    further = differences(table, derived) if derived else [None] * len(own)
    for pair, difference, derived_difference in zip(table.pairs, own, further, strict=True):
        row = PairResult(
            pair=str(pair.block),
            order=list(pair.order),
            values={arm: measured(table.primary(pair.runs[arm])) for arm in table.arms},
            difference=difference,
            derived=derived_difference,
        )
        rows.append(row)
    return rows


def verdict(table: Table, first: Primary, equal: EquivalenceResult | None) -> Verdict:
    """Say in a word what the interval allows to say; below six pairs it allows nothing."""
    n, estimate = len(table.pairs), first.estimate
    if n == 0:
        return Verdict("nothing", "No pair is complete, so there is no answer.")
    if n < FEWEST_FOR_A_TEST:
        why = (
            "Fewer than six pairs are a description: nothing is tested and no verdict is given, whether or not the "
            "interval holds zero, as it leans on a normal distribution that so few pairs cannot show."
        )
        return Verdict("description", why)
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        raise LabError("the estimate of six pairs or more has no interval")
    return verdicts.decided(low, high, equal)


def equivalent(table: Table, planned: Mapping[str, Any]) -> EquivalenceResult | None:
    """TOST against the plan's margin, from six pairs on; ``None`` without margin or with fewer."""
    values, margin = vector(table, table.outcome), planned.get("margin")
    if values is None or margin is None or values.size < FEWEST_FOR_A_TEST:
        return None
    sample = table.primary(table.pairs[0].runs[table.arms[0]])
    return _against(values, float(margin), sample)


MULTIPLES = (0.25, 1.0, 4.0)


def _against(values: NDArray[np.float64], margin: float, sample: Figure) -> EquivalenceResult:
    answer = equivalence.tost(values, margin)
    return EquivalenceResult(
        margin=figure(answer.margin, sample.unit, "plan"),
        interval=figure(answer.mean, sample.unit, sample.source, answer.low, answer.high),
        level=figure(answer.level * 100, "%", "twice the one-sided level of the tests"),
        p=figure(answer.p, "1", "two one-sided t tests"),
        equivalent=answer.equivalent,
    )


def at_multiples(table: Table, first: Primary, equal: EquivalenceResult | None, because: str) -> (
    EquivalenceResult | None
):  # fmt: skip
    """Add the answers at a quarter of the margin, at the margin and at four times of it, and the margin's reason."""
    values, estimate = vector(table, table.outcome), first.estimate
    if equal is None or values is None or equal.margin.value is None or estimate.low is None or estimate.high is None:
        return equal
    sample, rows = table.primary(table.pairs[0].runs[table.arms[0]]), []
    for times in MULTIPLES:
        there = _against(values, times * equal.margin.value, sample)
        word = verdicts.decided(estimate.low, estimate.high, there).word
        rows.append(AtMargin(figure(times, "times the margin", "analysis"), there.margin, there.equivalent, word))
    return replace(equal, at=rows, because=because)


def counted_pairs(table: Table) -> ResultFigure:
    """Number of complete pairs."""
    return count(len(table.pairs), "pairs", "runs table of the bundle")
