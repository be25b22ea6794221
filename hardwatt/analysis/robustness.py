"""The section "robustness": the same differences by other means. Supports or questions, replaces nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardwatt.analysis import order, paired, resample, serial, signedrank, ties
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, figure, of_estimate
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.sections import Check, Robust
from hardwatt.analysis.table import Pair, Table, noise, signed_places, vector
from hardwatt.instruments.figure import Figure

Floats = NDArray[np.float64]


def robustness(table: Table, seed: int, level: float = paired.LEVEL) -> list[Robust]:
    """Other estimators and tests, order, trend and memory, from six pairs on; empty below."""
    values = vector(table, table.outcome)
    if values is None or values.size < FEWEST_FOR_A_TEST:
        return []
    sample = table.primary(table.pairs[0].runs[table.arms[0]])
    rows = [_estimated("Hodges-Lehmann", signedrank.hodges_lehmann(values, level), sample)]
    rows.append(_estimated("Studentised bootstrap", resample.bootstrap_t(values, level, seed), sample))
    signed = signed_places(table, table.outcome)
    flips = resample.sign_flip(values, seed, noise(table, table.outcome))
    for name, test in (("Sign flips", flips), ("Wilcoxon", signedrank.wilcoxon(signed))):
        rows.append(Robust(name, figure(test.p, "1", "p-value, two-sided"), test.method))
    rows += _sizes(values, signed)
    rows += _subsets(table, sample, level)
    rows += _places(table, values, sample, level)
    rows += _trends(table, values, sample, level)
    rows += _memory(values, sample, level, seed)
    return rows


def memory_check(table: Table) -> list[Check]:
    """Say whether neighbouring pairs are independent enough for the interval; nothing below six pairs."""
    values = vector(table, table.outcome)
    if values is None or values.size < FEWEST_FOR_A_TEST:
        return []
    rho = serial.lag_one(values)
    name = "neighbouring pairs are independent enough (lag-1 autocorrelation within 0.3)"
    if rho is None or not serial.worrying(rho):
        return [Check(name, "ok", "")]
    detail = f"lag-1 autocorrelation {rho:.2f}: read the block bootstrap under robustness beside the interval"
    return [Check(name, "warning", detail)]


def _estimated(name: str, estimate: Estimate, sample: Figure, unit: str = "") -> Robust:
    method = f"{estimate.method}; level {estimate.level:.1%}".replace("%", " %")
    return Robust(name, of_estimate(estimate, unit or sample.unit, sample.source), method)


def _sizes(values: Floats, signed: NDArray[np.int_]) -> list[Robust]:
    size = float(values.mean()) / float(values.std(ddof=1)) if ties.varies(values) else None
    r = figure(signedrank.rank_biserial(signed), "1", "matched-pairs rank-biserial correlation")
    return [
        Robust("Cohen's d_z", figure(size, "1", "mean over standard deviation"), "mean(d)/sd(d)"),
        Robust("Rank-biserial correlation", r, "(W+ - W-) / (n(n+1)/2)"),
    ]


def _subsets(table: Table, sample: Figure, level: float) -> Iterator[Robust]:
    """The mean difference without pairs that were repeated, and without pairs that carry a flag."""
    for name, left_out in (("Without repeated pairs", repeated), ("Without flagged windows", flagged)):
        kept = tuple(pair for pair in table.pairs if not left_out(pair))
        if len(kept) == len(table.pairs):
            continue
        gone = len(table.pairs) - len(kept)
        values = vector(replace(table, pairs=kept), table.outcome) if kept else None
        if values is None:
            yield Robust(name, figure(None, sample.unit, sample.source), "no pair is left")
            continue
        estimate = paired.mean_difference(values, level)
        yield _estimated(name, replace(estimate, method=f"{estimate.method}; {gone} left out"), sample)


def repeated(pair: Pair) -> bool:
    """Return True if a pair was made in place of one that failed."""
    return any(run.repeat for run in pair.runs.values())


def flagged(pair: Pair) -> bool:
    """Return True if a window of a pair carries a flag."""
    return any(run.flags for run in pair.runs.values())


def _places(table: Table, values: Floats, sample: Figure, level: float) -> Iterator[Robust]:
    first, second = (np.array([table.primary(pair.runs[arm]).value for pair in table.pairs]) for arm in table.arms)
    split = order.crossover(values, first + second, [pair.order == table.arms for pair in table.pairs], level)
    rows = (
        ("Estimate without the effect of the place", split.treatment),
        ("Effect of the place (second window minus first)", split.period),
        ("Carry-over (what an arm leaves to the next)", split.carry_over),
    )
    for name, estimate in rows:
        if estimate is None:
            method = "needs two pairs in each order"
            yield Robust(name, figure(None, sample.unit, sample.source), method)
        else:
            yield _estimated(name, estimate, sample)


def _trends(table: Table, values: Floats, sample: Figure, level: float) -> Iterator[Robust]:
    yield _estimated("Trend of the differences", order.theil_sen(values, level=level), sample, f"{sample.unit} by pair")
    runs = np.array([table.primary(run).value for run in table.runs])
    yield _estimated("Drift of the windows", order.theil_sen(runs, level=level), sample, f"{sample.unit} by window")


def _memory(values: Floats, sample: Figure, level: float, seed: int) -> Iterator[Robust]:
    rho = serial.lag_one(values)
    source = "lag-1 autocorrelation of the differences"
    method = "above 0.3 in size, pairs are not independent"
    yield Robust("Autocorrelation", figure(rho, "1", source), method)
    if serial.worrying(rho):
        yield _estimated("Block bootstrap", serial.block_bootstrap(values, level, seed), sample)
        yield _estimated("Newey-West interval", serial.hac_interval(values, level), sample)
