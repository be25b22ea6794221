"""Rows of a table's results: the headline, each contrast, all arms together, samples, pairs, equivalence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from hardwatt.analysis import multi_arm, paired
from hardwatt.analysis.distribution import five_numbers
from hardwatt.analysis.figures import count, figure, of_estimate
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.sections import EquivalenceResult, PairResult, Primary, ResultFigure, Robust
from hardwatt.analysis.tables import blocks, contrasts, describe, robust, several, unpaired, words
from hardwatt.analysis.tables.contrasts import Compared
from hardwatt.analysis.tables.design import Design
from hardwatt.analysis.tables.model import Sample, Stratum, TableContrast
from hardwatt.analysis.tables.request import TableRequest
from hardwatt.analysis.tables.select import Selected

MOST_PAIRS: Final = 500
MOST_POINTS: Final = 200


def primary(
    compared: Compared, design: Design, names: tuple[str, str], level: float, unit: str, source: str
) -> Primary:
    """Return the headline: the first contrast's estimate, and the arms' means."""
    means = {
        name: of_estimate(paired.mean_difference(values, design.asked.level), unit, source)
        for name, values in zip(names, compared.columns, strict=True)
    }
    estimator = "mean paired difference" if compared.pairs else "difference of means"
    return Primary(
        outcome=design.value,
        estimator=estimator,
        estimate=of_estimate(compared.estimate, unit, source),
        method=compared.estimate.method,
        level=figure(level * 100, "%", "given, or the usual one; shared by all contrasts"),
        direction=f"{names[1]} minus {names[0]}",
        arms=means,
        relative=_relative(compared),
        detectable=figure(_detectable(compared), unit, source),
    )


def _detectable(compared: Compared) -> float | None:
    if compared.pairs:
        return paired.detectable_effect(compared.pairs.differences) if compared.n[0] > 1 else None
    return unpaired.detectable_effect(compared.columns[0], compared.columns[1]) if len(compared.used) == 1 else None


def _relative(compared: Compared) -> ResultFigure:
    source = "exp(mean log ratio) - 1" if compared.pairs else "ratio of the means - 1, delta method"
    estimate = compared.relative
    if estimate is None:
        return figure(None, "%", source)
    bounds = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if bound is None else 100 * float(np.expm1(min(bound, 700.0))) for bound in bounds)
    return figure(value, "%", source, low, high)


def _p(value: float | None, source: str) -> ResultFigure | None:
    return None if value is None else figure(value, "1", source)


def _of(estimate: Estimate | None, unit: str, source: str) -> ResultFigure | None:
    return None if estimate is None else of_estimate(estimate, unit, source)


def contrast(
    compared: Compared,
    selected: Selected,
    adjusted: dict[str, float],
    level: float,
    asked_level: float,
    unit: str,
    source: str,
) -> TableContrast:
    """Return one arm against the baseline, with its p-values as they are and adjusted."""
    names = (selected.arms[0], selected.arms[compared.arm])
    tested = compared.test if compared.enough else None
    p = adjusted.get(str(compared.arm))
    rank = compared.rank if compared.enough else None
    outside = robust.without_flagged(compared, level)
    return TableContrast(
        arm=names[1],
        baseline=names[0],
        direction=f"{names[1]} minus {names[0]}",
        headline=compared.arm == 1,
        n={name: count(n, "rows", source) for name, n in zip(names, compared.n, strict=True)},
        estimate=of_estimate(compared.estimate, unit, source),
        method=compared.estimate.method,
        p=_p(tested.p if tested else None, tested.method if tested else ""),
        adjusted=_p(p, "adjusted by Holm over the contrasts"),
        relative=_relative(compared),
        shift=_of(compared.shift, unit, source),
        shift_method=compared.shift.method if compared.shift else "",
        rank=_p(rank.p if rank else None, rank.method if rank else ""),
        rank_method=rank.method if rank else "",
        dominance=_of(compared.dominance, "1", compared.dominance.method if compared.dominance else ""),
        size=_of(compared.size, "1", compared.size.method if compared.size else ""),
        without_flagged=_of(outside, unit, outside.method if outside else ""),
        strata=_strata(compared, selected, names, unit, source) if len(selected.strata) > 1 else [],
        word=words.verdict(compared, p, asked_level, 1, None).word,
    )


def _strata(compared: Compared, selected: Selected, names: tuple[str, str], unit: str, source: str) -> list[Stratum]:
    return [
        Stratum(
            levels=list(selected.strata[inside.stratum]),
            n={name: count(n, "rows", source) for name, n in zip(names, inside.n, strict=True)},
            estimate=_of(inside.estimate, unit, source),
            why=inside.why,
        )
        for inside in compared.strata
    ]


def together(selected: Selected, asked: TableRequest, compared: Sequence[Compared]) -> list[Robust]:
    """Test all arms at once, where there are more than two and one combination of factors."""
    if len(selected.arms) < 3 or len(selected.strata) > 1:
        return []
    if selected.pair is not None:
        return _blocks_together(selected)
    samples = [selected.of(arm) for arm in range(len(selected.arms))]
    samples = [sample for sample in samples if sample.size]
    if len(samples) < 3 or min(map(len, samples)) < contrasts.FEWEST_RUNS:
        return []
    one_way, ranks = several.welch_one_way(samples), several.kruskal_wallis(samples)
    named = (("Welch's one-way", one_way), ("Kruskal-Wallis", ranks))
    return [Robust(name, figure(test.p, "1", "p-value"), test.method) for name, test in named if test]


def _blocks_together(selected: Selected) -> list[Robust]:
    """Test all arms over the pairs, here blocks, in which every arm has a run."""
    arms = range(len(selected.arms))
    complete = [own for own in blocks.runs_by_pair(selected).values() if len(own) == len(selected.arms)]
    if not contrasts.FEWEST_PAIRS <= len(complete) <= blocks.EXACT_UP_TO:
        return []
    answer = multi_arm.several({selected.arms[arm]: [own[arm].number for own in complete] for arm in arms})
    among = f"{len(complete)} blocks in which every arm has a run"
    rows = []
    if answer.f is not None and answer.f_p is not None:
        method = f"mixed model with a random effect of the block, F = {answer.f:.4g}, {among}"
        rows.append(Robust("Mixed model", figure(answer.f_p, "1", "p-value"), method))
    if answer.friedman_p is not None:
        rows.append(Robust("Friedman", figure(answer.friedman_p, "1", "p-value"), f"Friedman's rank test, {among}"))
    return rows


def samples(selected: Selected, unit: str, source: str) -> list[Sample]:
    """Return each arm's runs: their distribution, and points for a picture."""
    marks = describe.flagged(selected)
    rows = []
    for arm, name in enumerate(selected.arms):
        values = selected.of(arm)
        if not values.size:
            continue
        deviation = float(values.std(ddof=1)) if values.size > 1 else None
        ordered = np.sort(values)
        chosen = np.unique(np.linspace(0, ordered.size - 1, min(ordered.size, MOST_POINTS)).round().astype(np.int64))
        rows.append(
            Sample(
                arm=name,
                n=count(int(values.size), "rows", source),
                mean=of_estimate(paired.mean_difference(values), unit, source),
                deviation=figure(deviation, unit, source),
                five=five_numbers(values, unit, source),
                flagged=count(int(marks[selected.arm == arm].sum()), "rows", "far from the median of its cell"),
                points=[figure(float(value), unit, source) for value in ordered[chosen]],
            )
        )
    return rows


def pairs(compared: Compared, names: tuple[str, str], unit: str, source: str) -> list[PairResult]:
    """Return the headline's pairs, up to ``MOST_PAIRS``; none where runs are not paired."""
    if compared.pairs is None:
        return []
    rows = []
    for pair, difference in zip(compared.pairs.pairs[:MOST_PAIRS], compared.pairs.differences, strict=False):
        runs = dict(zip(names, (pair.first, pair.second), strict=True))
        known = all(run.order is not None for run in runs.values())
        row = PairResult(
            pair=pair.name,
            order=sorted(runs, key=lambda name: runs[name].order or 0.0) if known else [],
            values={name: figure(float(run.number), unit, source) for name, run in runs.items()},
            difference=figure(float(difference), unit, source),
            derived=None,
        )
        rows.append(row)
    return rows


def equivalent_within(
    compared: Compared, asked: TableRequest, several_: int, unit: str, source: str
) -> EquivalenceResult | None:
    """Return whether the arms differ by less than the margin; None without one, or where no test is known."""
    if asked.margin is None or not compared.many:
        return None
    from hardwatt.analysis import equivalence

    alpha = 0.05 / several_
    if compared.pairs:
        tost = equivalence.tost(compared.pairs.differences, asked.margin, alpha)
        answer = unpaired.Equivalence(tost.p, tost.low, tost.high, tost.level, tost.equivalent)
    else:
        if len(compared.used) > 1:
            return None
        tested = unpaired.equivalence([compared.columns], asked.margin, alpha)
        if tested is None:
            return None
        answer = tested
    return EquivalenceResult(
        margin=figure(asked.margin, unit, "--margin"),
        interval=figure(compared.estimate.value, unit, source, answer.low, answer.high),
        level=figure(answer.level * 100, "%", "twice the one-sided level of the tests"),
        p=figure(answer.p, "1", "two one-sided t tests"),
        equivalent=answer.equivalent,
    )
