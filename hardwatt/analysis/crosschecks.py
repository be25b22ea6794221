"""Do the instruments agree with each other? Spread over the windows that count, and a word on each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardwatt.analysis.figures import Json, figure
from hardwatt.analysis.table import Table

BY_SAMPLES = "check.node_cpu_seconds_by_samples"
SEEN = "closure.pods_of_kubepods"
LABELS = {
    "check.edge_error": "readings at the edges, off the window's ends by",
    "check.joules_of_formula": "joules of the zone, of those that the formula gives",
    "check.meter_cost": "what the meter itself costs",
    "check.kepler_unseen": "CPU time that Kepler did not see",
    "closure.kepler_pods_of_active": "joules of Kepler's pods, of the node's active joules",
    "check.scrape_gap": "longest silence between two scrapes",
    SEEN: "CPU time of the pods that were seen, of all pods' own counter",
    "closure.kubepods_of_node": "CPU time of all pods, of the node",
}
_BIAS = "check.kepler_bias."
CLOSURE = (0.95, 1.05)


def crosschecks(table: Table) -> list[Json]:
    """Each comparison with its median over the windows; ``low`` and ``high`` are the extremes."""
    rows = [
        {"name": name, "label": _label(name), "figure": _spread(table, name)}
        for name in table.names()
        if name.startswith(("check.", "closure.")) and name != BY_SAMPLES
    ]
    if by_samples := _against_samples(table):
        rows.insert(
            0, {"name": BY_SAMPLES, "label": "the window by its edges, less by samples alone", "figure": by_samples}
        )
    return rows


def _label(name: str) -> str:
    if name.startswith(_BIAS):
        return f"Kepler's share of {name.removeprefix(_BIAS)}, over its share by cgroups"
    return LABELS.get(name, name)


def _spread(table: Table, name: str) -> Json:
    own = [one for run in table.runs if (one := table.get(run, name)) is not None]
    return _figure([one.value for one in own], own[0].unit, own[0].source)


def _figure(values: Sequence[float], unit: str, source: str) -> Json:
    return figure(float(np.median(values)), unit, source, float(min(values)), float(max(values)))


def _against_samples(table: Table) -> Json | None:
    values = [
        table.primary(run).value - one.value
        for run in table.runs
        if table.outcome == "node_cpu_seconds" and (one := table.get(run, BY_SAMPLES)) is not None
    ]
    return _figure(values, "CPU-seconds", "node meter, edges against scrapes") if values else None


def closure_check(table: Table) -> list[Json]:
    """Say whether the pods that were seen add up to the pods' own counter within five percent."""
    known = [(run.run_id, one) for run in table.runs if (one := table.get(run, SEEN)) is not None]
    if not known:
        return []
    off = [run_id for run_id, one in known if not CLOSURE[0] <= one.value <= CLOSURE[1]]
    name = "pods that were seen add up to all pods within five percent, in every window"
    return [{"name": name, "status": "warning" if off else "ok", "detail": ", ".join(off)}]
