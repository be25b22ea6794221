"""The node's level at the gates: what an arm leaves behind for the next window, in the answer's unit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from hardwatt.analysis import paired, runlog, ties
from hardwatt.analysis.bundle_sections import CarryOver
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, figure
from hardwatt.analysis.sections import Check, ResultFigure
from hardwatt.analysis.table import Table, vector
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle

FEWEST = 2
NAME = "the node's level at the gate does not depend on the arm"
_UNITS: Mapping[str, tuple[str, str]] = {"node_cpu_seconds": ("cores", "cores"), "node_joules": ("watts", "W")}
"""Outcome -> key of the gate's reading, and its unit."""
_SOURCE = "gate of the engine, before the window"


def carry_over(bundle: Bundle, table: Table, margin: float | None, *, declared: bool) -> CarryOver | None:
    """Compare the gates of both arms, pair by pair; ``None`` where they were not recorded.

    A level that differs by *d* cores is *d* times T CPU-seconds in a window, if it lasts. With *declared* (the study
    named the gate a covariate in advance) the estimate is given at equal gates too.
    """
    levels = _levels(bundle, table)
    if levels is None or len(table.pairs) < FEWEST:
        return None
    first, second = (np.array([levels[pair.runs[arm].run_id] for pair in table.pairs]) for arm in table.arms)
    seconds, unit = bundle.plan.window_seconds, bundle.plan.primary.unit
    estimate = paired.mean_difference(second - first, table.level)
    tested = len(table.pairs) >= FEWEST_FOR_A_TEST
    bounds = (estimate.low, estimate.high) if tested else (None, None)
    scaled = [None if bound is None else bound * seconds for bound in bounds]
    apart = bool(second.min() > first.max() or first.min() > second.max())
    shown = apart or (bounds[0] is not None and bounds[1] is not None and (bounds[0] > 0 or bounds[1] < 0))
    reading = _UNITS[table.outcome][1]
    means = {
        arm: figure(float(own.mean()), reading, _SOURCE) for arm, own in zip(table.arms, (first, second), strict=True)
    }
    size = figure(estimate.value * seconds, unit, f"{_SOURCE}, times the window's length", *scaled)
    return CarryOver(
        arms=means,
        after=_after(bundle, table, levels, reading),
        difference=figure(estimate.value, reading, _SOURCE, *bounds),
        size=size,
        depends=shown,
        says=_says(table.arms, means, size, seconds, apart=apart, shown=shown, margin=margin),
        adjusted=_adjusted(table, second - first, unit) if declared else None,
        declared=declared,
    )


def _levels(bundle: Bundle, table: Table) -> dict[str, float] | None:
    """Return the reading of each run's gate; ``None`` where one lacks it."""
    if table.outcome not in _UNITS:
        return None
    key, levels = _UNITS[table.outcome][0], {}
    for pair in table.pairs:
        for run in pair.runs.values():
            value = _reading(bundle, run, key)
            if value is None:
                return None
            levels[run.run_id] = value
    return levels


def _reading(bundle: Bundle, run: Run, key: str) -> float | None:
    passed: Any = runlog.read(bundle, run).get("gate") or {}
    value = passed.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _after(bundle: Bundle, table: Table, levels: Mapping[str, float], unit: str) -> dict[str, ResultFigure]:
    """Return the mean level by the arm of the run before, whatever became of that run."""
    by_arm: dict[str, list[float]] = {}
    runs = sorted(bundle.runs, key=lambda run: run.t0_ms)
    for before, run in itertools.pairwise(runs):
        if run.run_id in levels:
            by_arm.setdefault(before.arm, []).append(levels[run.run_id])
    return {arm: figure(float(np.mean(own)), unit, _SOURCE) for arm, own in sorted(by_arm.items())}


def _says(
    arms: Sequence[str], means: Mapping[str, ResultFigure], size: ResultFigure, seconds: float, *,
    apart: bool, shown: bool, margin: float | None,
) -> str:  # fmt: skip
    low, high = sorted(arms, key=lambda arm: means[arm].value or 0.0)
    unit = means[low].unit
    value = abs(size.value or 0.0)
    distance = f"{value / seconds:.2g} {unit} more, which is {value:.2g} {size.unit} in a window of {seconds:g} s"
    text = (
        f"Before windows of {high} the node used {means[high].value:.3f} {unit}, before windows of {low} "
        f"{means[low].value:.3f}: {distance}."
    )
    if not shown:
        return f"{text} That such a level depends on the arm is not shown."
    if apart:
        text += f" Every gate of {high} was above every gate of {low}."
    text += f" That is carry-over from what ran before: if the level lasts, so much of the difference is not {high}'s."
    if margin is not None and value > margin:
        text += f" It is more than the margin of {margin:.2g} {size.unit}."
    return text


def _adjusted(table: Table, gates: np.ndarray[Any, Any], unit: str) -> ResultFigure | None:
    """Return the difference at equal gates: the intercept of the paired differences over those of the gates."""
    values = vector(table, table.outcome)
    if values is None or len(values) < FEWEST_FOR_A_TEST or not ties.varies(gates):
        return None
    design = np.column_stack([np.ones_like(gates), gates])
    coefficients, *_ = np.linalg.lstsq(design, values, rcond=None)
    free = len(values) - 2
    rest = values - design @ coefficients
    variance = float(rest @ rest) / free * float(np.linalg.inv(design.T @ design)[0, 0])
    reach = float(stats.t.ppf((1 + table.level) / 2, free)) * variance**0.5
    value = float(coefficients[0])
    return figure(value, unit, "paired differences at equal gates, least squares", value - reach, value + reach)


def check(carried: CarryOver | None) -> list[Check]:
    """Return the check of the gates; nothing where they were not recorded."""
    if carried is None:
        return []
    return [Check(NAME, "warning" if carried.depends else "ok", carried.says if carried.depends else "")]
