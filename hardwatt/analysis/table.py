"""From runs and outcomes to complete pairs: which windows count, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardwatt.analysis import ties
from hardwatt.analysis.paired import LEVEL
from hardwatt.bundle.model import Run
from hardwatt.core.errors import LabError
from hardwatt.instruments.figure import Figure, Measured

ADDITIVE = ("CPU-seconds", "J")
"""Units of what a longer window has more of."""


@dataclass(frozen=True)
class Pair:
    """One block: one usable run of each arm."""

    block: int
    runs: dict[str, Run]
    """Arm name to its run."""

    @property
    def order(self) -> tuple[str, ...]:
        """The arms in the order in which they ran."""
        return tuple(sorted(self.runs, key=lambda arm: self.runs[arm].t0_ms))


@dataclass(frozen=True)
class Exclusion:
    """A run that the estimate does not use."""

    run_id: str
    arm: str
    reason: str


@dataclass(frozen=True)
class Table:
    """Complete pairs of two arms with every figure of their runs."""

    arms: tuple[str, str]
    """Baseline first; differences are second minus first."""
    outcome: str
    pairs: tuple[Pair, ...]
    exclusions: tuple[Exclusion, ...]
    figures: dict[tuple[str, str], Figure]
    """(run id, outcome) to its figure."""
    level: float = LEVEL
    """Of every interval that is shown."""
    window: float | None = None
    """The length in seconds that every figure is for; ``None``: each for the length of its own window."""

    @property
    def runs(self) -> list[Run]:
        """The runs of the complete pairs in the order in which they were made."""
        return sorted((run for pair in self.pairs for run in pair.runs.values()), key=lambda run: run.t0_ms)

    def seconds(self, run: Run) -> float:
        """Return the length that a run's figures are for."""
        return run.seconds if self.window is None else self.window

    def get(self, run: Run, outcome: str) -> Figure | None:
        """Return a figure of a run, or ``None`` where the instruments gave none."""
        return self.figures.get((run.run_id, outcome))

    def primary(self, run: Run) -> Figure:
        """Return the primary figure of a run of a complete pair."""
        return self.figures[run.run_id, self.outcome]

    def columns(self, outcome: str) -> dict[str, list[Figure]] | None:
        """Arm to its figures in the order of the pairs; ``None`` unless every pair has both."""
        by_arm: dict[str, list[Figure]] = {}
        for arm in self.arms:
            own = [self.get(pair.runs[arm], outcome) for pair in self.pairs]
            figures = [figure for figure in own if figure is not None]
            if not figures or len(figures) != len(own):
                return None
            by_arm[arm] = figures
        return by_arm

    def names(self) -> list[str]:
        """Names of all outcomes that runs of complete pairs have, sorted."""
        kept = {run.run_id for run in self.runs}
        return sorted({name for run_id, name in self.figures if run_id in kept})


def vector(table: Table, outcome: str) -> NDArray[np.float64] | None:
    """Differences of the pairs for an outcome, second arm minus first; ``None`` where one is missing.

    Differences that are equal or zero but for rounding are exactly equal or zero (`hardwatt.analysis.ties`).
    """
    numbers = _numbers(table, outcome)
    return None if numbers is None else ties.subtract(numbers[1], numbers[0])


def signed_places(table: Table, outcome: str) -> NDArray[np.int_]:
    """Places of the differences by size, with their signs: what signed-rank statistics are computed from.

    Empty where a difference is missing.
    """
    numbers = _numbers(table, outcome)
    return np.zeros(0, dtype=np.int_) if numbers is None else ties.signed_places(numbers[1], numbers[0])


def noise(table: Table, outcome: str) -> float:
    """Rounding of one difference of the pairs, in the outcome's unit; 0 where a text gave the values."""
    numbers = _numbers(table, outcome)
    return 0.0 if numbers is None else ties.noise(*numbers)


def _numbers(table: Table, outcome: str) -> tuple[list[ties.Number], list[ties.Number]] | None:
    columns = table.columns(outcome)
    if columns is None:
        return None
    first, second = ([figure.number for figure in columns[arm]] for arm in table.arms)
    return first, second


def build(
    runs: Sequence[Run],
    measured: Measured,
    arms: Sequence[str],
    outcome: str,
    misfits: Mapping[str, str] | None = None,
) -> Table:
    """Join runs and outcomes into complete pairs of two arms; runs of other arms are left aside.

    *misfits* maps run ids to the reason why the run does not count, whatever was measured.

    A run counts if it is done and has the primary outcome; of repeats in a block the last one that
    counts is taken, so a pair that was run again replaces the failed one.

    Raises `LabError` where *arms* are not two: more are compared two by two (`hardwatt.analysis.extra_sections`).
    """
    if len(arms) != 2:
        raise LabError(f"this analysis compares two arms, the plan has {len(arms)}: {', '.join(arms)}")
    runs = [run for run in runs if run.arm in arms]
    figures = {(o.run_id, o.name): o.figure for o in measured.outcomes}
    refused = {r.run_id: r.reason for r in measured.refusals if r.name == outcome}
    unfit = misfits or {}
    reasons = {run.run_id: unfit.get(run.run_id) or _reason(run, outcome, figures, refused) for run in runs}
    usable = [run for run in runs if not reasons[run.run_id]]
    pairs = _pairs(usable, arms)
    kept = {run.run_id for pair in pairs for run in pair.runs.values()}
    exclusions = tuple(
        Exclusion(run.run_id, run.arm, reasons[run.run_id] or _left_over(run, usable))
        for run in runs
        if run.run_id not in kept
    )
    return Table((arms[0], arms[1]), outcome, pairs, exclusions, figures)


def _reason(run: Run, outcome: str, figures: dict[tuple[str, str], Figure], refused: dict[str, str]) -> str:
    if run.status != "done":
        return f"the run {run.status}: {run.reason or 'no reason recorded'}"
    if (run.run_id, outcome) not in figures:
        return refused.get(run.run_id, f"no {outcome} was measured")
    return ""


def _pairs(usable: Iterable[Run], arms: Sequence[str]) -> tuple[Pair, ...]:
    blocks: dict[int, dict[str, Run]] = {}
    for run in sorted(usable, key=lambda run: (run.block, run.repeat, run.t0_ms)):
        blocks.setdefault(run.block, {})[run.arm] = run
    return tuple(Pair(block, runs) for block, runs in sorted(blocks.items()) if set(runs) == set(arms))


def complete(
    runs: Iterable[Run], figures: Mapping[tuple[str, str], Figure], arms: Sequence[str], outcome: str
) -> list[dict[str, Run]]:
    """Blocks in which every one of *arms* (two or more) has a usable run; arm name to run."""
    usable = [run for run in runs if run.status == "done" and (run.run_id, outcome) in figures and run.arm in arms]
    return [pair.runs for pair in _pairs(usable, arms)]


def for_length(measured: Measured, runs: Sequence[Run], seconds: float) -> Measured:
    """Return the figures for windows of exactly *seconds*, by the actual length of each window."""
    factor = {run.run_id: seconds / run.seconds for run in runs if run.status == "done"}
    outcomes = tuple(
        replace(row, figure=_times(row.figure, factor.get(row.run_id, 1.0))) if row.figure.unit in ADDITIVE else row
        for row in measured.outcomes
    )
    return replace(measured, outcomes=outcomes)


def _times(figure: Figure, factor: float) -> Figure:
    if factor == 1:
        return figure
    value, low, high = (factor * number for number in (figure.value, figure.low, figure.high))
    return replace(figure, value=value, low=low, high=high, exact=None)


def without(table: Table, left_out: Callable[[Pair], bool], reason: str) -> Table:
    """Return the table without the pairs that *left_out* names; their runs are exclusions with *reason*."""
    gone = [run for pair in table.pairs if left_out(pair) for run in pair.runs.values()]
    kept = tuple(pair for pair in table.pairs if not left_out(pair))
    exclusions = (*table.exclusions, *(Exclusion(run.run_id, run.arm, reason) for run in gone))
    return replace(table, pairs=kept, exclusions=exclusions)


def _left_over(run: Run, usable: Sequence[Run]) -> str:
    others = [other for other in usable if other.block == run.block and other is not run]
    if any(other.arm == run.arm for other in others):
        return "replaced by a later attempt at the same place"
    return "the other arm of its pair has no usable run"
