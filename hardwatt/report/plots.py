"""The places of marks in the plots: pixels from figures, nothing else. The SVG itself is a template.

Each plot is laid out twice, for a wide and a narrow screen, and CSS shows one: text then keeps
its size on a phone, which a scaled picture would not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hardwatt.analysis.bundle_sections import RunResult
from hardwatt.analysis.figures import known
from hardwatt.analysis.model import Results
from hardwatt.analysis.sections import ResultFigure
from hardwatt.report.numbers import number

WIDE, NARROW = 760, 340


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A linear axis from values to pixels, with round ticks."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, stop: float) -> Scale:
        """Span *values* with a margin on both sides; a single value still gets a span."""
        known = [v for v in values if v is not None and math.isfinite(v)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
        return cls(low - margin, high + margin, start, stop)

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)

    def ticks(self, wanted: int) -> list[Tick]:
        step = _round_step((self.high - self.low) / max(1, wanted))
        places = _places(step)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [Tick(self.at(k * step), number(k * step, places)) for k in range(first, last + 1)]


def _round_step(step: float) -> float:
    power = float(10.0 ** math.floor(math.log10(step)))
    return next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= step * 0.999)


def _places(step: float) -> int:
    """Digits after the point that tell steps apart exactly: two for steps of 0.25."""
    return next((k for k in range(12) if abs(step * 10**k - round(step * 10**k)) < 1e-6), 12)


@dataclass(frozen=True)
class Mark:
    """One drawn value: place, arm (its colour and shape) and the text shown on hover."""

    x: float
    y: float
    arm: str
    title: str


@dataclass(frozen=True)
class Plot:
    """A laid out plot; a template decides how it looks."""

    width: int
    height: float
    scale: Scale
    ticks: list[Tick]
    unit: str
    source: str
    marks: list[Mark] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def _wanted(width: int) -> int:
    return 7 if width >= WIDE else 4


def _row_height(rows: int) -> float:
    return max(14.0, min(34.0, 620 / max(1, rows)))


def pairs(results: Results, width: int) -> Plot | None:
    """Every pair: a row each, both arms on one axis. ``None`` without a complete pair."""
    rows = results.pairs
    if not rows:
        return None
    names = list(rows[0].values)
    left, top, step = 64, 14, _row_height(len(rows))
    first = results.primary.estimate
    scale = Scale.over((known(row.values[name]) for row in rows for name in names), left + 8, width - 16)
    laid = []
    for index, row in enumerate(rows):
        y = top + step * (index + 0.5)
        marks = [_mark(scale, row.values[name], y, name, f"pair {row.pair}, {name}") for name in names]
        laid.append({"label": row.pair, "y": y, "marks": marks})
    height = top + step * len(rows) + 46
    return Plot(width, height, scale, scale.ticks(_wanted(width)), first.unit, first.source, rows=laid)


def _mark(scale: Scale, figure: ResultFigure, y: float, arm: str, what: str) -> Mark:
    value = known(figure)
    return Mark(scale.at(value), round(y, 2), arm, f"{what}: {number(value, 3)} {figure.unit}")


def changes(results: Results, width: int) -> Plot | None:
    """The differences of the pairs around zero, and their mean with its interval below. ``None`` without a pair."""
    rows, estimate = results.pairs, results.primary.estimate
    if not rows:
        return None
    left, top, step = 64, 14, _row_height(len(rows))
    bounds = [estimate.low, estimate.high, estimate.value, 0.0]
    values = [known(row.difference) for row in rows]
    scale = Scale.over([*values, *(b for b in bounds if b is not None)], left + 8, width - 16)
    laid = [
        {
            "label": row.pair,
            "mark": _mark(scale, row.difference, top + step * (i + 0.5), "", f"pair {row.pair}"),
        }
        for i, row in enumerate(rows)
    ]
    y = top + step * len(rows) + 22
    ends = [scale.at(b) if b is not None else None for b in (estimate.low, estimate.high)]
    summary = {"y": y, "x": scale.at(known(estimate)), "low": ends[0], "high": ends[1], "zero": scale.at(0.0)}
    return Plot(
        width,
        y + 66,
        scale,
        scale.ticks(_wanted(width)),
        estimate.unit,
        estimate.source,
        rows=laid,
        extra=summary,
    )


def sequence(results: Results, width: int) -> Plot | None:
    """The runs in the order in which they were made: drift would show here. Those that do not count are crosses.

    ``None`` where no run has a figure.
    """
    runs = recorded(results)
    left, top, bottom = 56, 12, 190
    values = [run.figure.value for run in runs if run.figure.value is not None]
    if not values:
        return None
    scale = Scale.over(values, bottom, top)
    across = columns(len(runs), left, width)
    marks, crosses = [], []
    for run, x in zip(runs, across, strict=True):
        value, what = run.figure.value, f"run {run.position}, {run.arm}"
        if run.counts and value is not None:
            text = f"{what}: {number(value, 3)} {run.figure.unit}"
            marks.append(Mark(x, scale.at(value), run.arm, text))
        else:
            y = bottom - 8.0 if value is None else scale.at(value)
            crosses.append(Mark(x, y, run.arm, f"{what}: does not count"))
    figure = results.primary.estimate
    extra = {"bottom": bottom, "left": left, "places": places(runs, across, width), "crosses": crosses}
    return Plot(width, bottom + 44, scale, scale.ticks(4), figure.unit, figure.source, marks=marks, extra=extra)


def arm_names(results: Results) -> list[str]:
    """Return the names of the arms in their order."""
    return [arm.name for arm in results.arms]


def recorded(results: Results) -> list[RunResult]:
    """Return the recorded runs of a bundle; none of a table."""
    return results.runs if isinstance(results, Results) else []


def columns(count: int, left: float, width: int) -> list[float]:
    """Places of *count* columns side by side."""
    gap = (width - left - 24) / max(1, count)
    return [round(left + gap * (i + 0.5), 2) for i in range(count)]


def places(runs: Sequence[RunResult], across: Sequence[float], width: int) -> list[Tick]:
    """Numbers of the runs below their columns, as many as there is room for."""
    every = max(1, math.ceil(len(runs) / (_wanted(width) * 2)))
    return [Tick(x, str(run.position)) for x, run in list(zip(across, runs, strict=True))[::every]]


def ready(results: Results, width: int) -> Plot | None:
    """Commit to Ready: every revision of every window, one row per arm. ``None`` without any."""
    if not (rows := results.delivery.commits):
        return None
    names = [arm.name for arm in results.arms]
    left, top, step = 64, 10, 58.0
    scale = Scale.over([0.0, *(known(row.figure) for row in rows)], left + 8, width - 16)
    marks = []
    for lane, name in enumerate(names):
        own = [row for row in rows if row.arm == name]
        for index, row in enumerate(own):
            # Dots are spread over the lane in their order, so that equal times stay visible.
            y = top + step * lane + 12 + (step - 24) * ((index * 7) % 11) / 10
            marks.append(_mark(scale, row.figure, y, name, f"{row.run}, commit {row.commit}"))
    lanes = [{"label": name, "y": top + step * (i + 0.5)} for i, name in enumerate(names)]
    figure = rows[0].figure
    height = top + step * len(names) + 46
    return Plot(width, height, scale, scale.ticks(_wanted(width)), figure.unit, figure.source, marks, lanes)
