"""Do the instruments agree with each other? Spread over the windows that count, by arm, against what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hardwatt.analysis.bundle_sections import Asked, CrosscheckResult
from hardwatt.analysis.figures import figure
from hardwatt.analysis.sections import Check, ResultFigure
from hardwatt.analysis.table import Table
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments.crosschecks import BESIDE, Crosscheck, judged
from hardwatt.instruments.figure import Measured

BY_SAMPLES = "check.node_cpu_seconds_by_samples"
NAME = "instruments agree within their limits, in every window"


def crosschecks(table: Table, bundle: Bundle, measured: Measured) -> list[CrosscheckResult]:
    """Each comparison with its median over the windows; ``low`` and ``high`` are the extremes.

    ``asked`` has the limits (those of the window in the middle where they differ), ``arms`` the same by arm,
    ``sentence`` says in how many windows it holds.
    """
    kept = {run.run_id for run in table.runs}
    by_name: dict[str, list[Crosscheck]] = {}
    for check in judged(bundle, measured):
        if check.run_id in kept:
            by_name.setdefault(check.name, []).append(check)
    rows = [_row(table, own) for name, own in sorted(by_name.items()) if name != BY_SAMPLES]
    if table.outcome == "node_cpu_seconds" and (own := by_name.get(BY_SAMPLES)):
        rows.insert(0, _against_samples(table, own))
    return rows


def agreement(rows: Sequence[CrosscheckResult]) -> list[Check]:
    """Return one check over all comparisons: it names those that do not hold."""
    off = [f"{row.label}: {row.sentence}" for row in rows if row.status != "ok"]
    return [Check(NAME, "warning" if off else "ok", "; ".join(off))] if rows else []


def _row(table: Table, own: Sequence[Crosscheck]) -> CrosscheckResult:
    unit, source = own[0].figure.unit, own[0].figure.source
    values = [check.figure.value for check in own]
    limits = {
        side: [limit for check in own if (limit := getattr(check, side)) is not None] for side in ("least", "most")
    }
    off = [check for check in own if not check.holds]
    return CrosscheckResult(
        name=own[0].name,
        label=own[0].about,
        figure=_figure(values, unit, source),
        arms={arm: _of_arm(own, arm, values, unit, source) for arm in table.arms},
        asked=Asked(**{side: _figure(given, unit, "limit") if given else None for side, given in limits.items()}),
        status="warning" if off else "ok",
        sentence=_sentence(own, off) + _bias(table, own),
    )


def _of_arm(
    own: Sequence[Crosscheck], arm: str, values: Sequence[float], unit: str, source: str
) -> ResultFigure | None:
    mine = [value for check, value in zip(own, values, strict=True) if check.arm == arm]
    return _figure(mine, unit, source) if mine else None


def _sentence(own: Sequence[Crosscheck], off: Sequence[Crosscheck]) -> str:
    if not off:
        return "holds in every window"
    runs = ", ".join(check.run_id for check in off[:3]) + (" and others" if len(off) > 3 else "")
    return f"does not hold in {len(off)} of {len(own)} windows ({runs})"


def _bias(table: Table, own: Sequence[Crosscheck]) -> str:
    """Return by how much scrapes have more or less than the node's record, by arm; empty for another cross-check."""
    if not own[0].name.startswith(BESIDE):
        return ""
    parts = []
    for arm in table.arms:
        ratios = [check.figure.value for check in own if check.arm == arm]
        if ratios:
            percent = 100 * (float(np.median(ratios)) - 1)
            parts.append(f"{arm}: {abs(percent):.2g} % {'more' if percent >= 0 else 'less'}")
    return f"; scrapes have, of the record, in the median of {', of '.join(parts)}"


def _figure(values: Sequence[float], unit: str, source: str) -> ResultFigure:
    return figure(float(np.median(values)), unit, source, float(min(values)), float(max(values)))


def _against_samples(table: Table, own: Sequence[Crosscheck]) -> CrosscheckResult:
    """The window by its edges less by scrapes alone: a difference, in the outcome's unit."""
    primary = {run.run_id: table.primary(run).value for run in table.runs}
    values = [primary[check.run_id] - check.figure.value for check in own]
    unit, source = "CPU-seconds", "node meter, edges against scrapes"
    row = _row(table, own)
    other = {"least": "most", "most": "least"}
    asked = {
        side: _figure([primary[check.run_id] - (getattr(check, other[side]) or 0.0) for check in own], unit, "limit")
        for side in other
    }
    return replace(
        row,
        label="the window by its edges, less by samples alone",
        figure=_figure(values, unit, source),
        arms={arm: _of_arm(own, arm, values, unit, source) for arm in table.arms},
        asked=Asked(**asked),
    )
