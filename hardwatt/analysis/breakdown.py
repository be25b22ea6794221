"""The sections beside the answer: secondaries, attribution by namespace, deliveries, joules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hardwatt.analysis import equivalence, paired, resample
from hardwatt.analysis.answer import mean_of, share_of
from hardwatt.analysis.bundle_sections import CommitResult, Contrast, DeliveryCounts, DeliveryResult, Joules
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, count, figure, of_estimate
from hardwatt.analysis.sections import ResultFigure
from hardwatt.analysis.table import Table, noise, vector
from hardwatt.bundle.model import Delivery
from hardwatt.instruments.figure import Figure

NODE = "node_cpu_seconds"
CONTROLLER, NEIGHBOURS = "controller_cpu_seconds", "neighbours_cpu_seconds"
NAMESPACE = "cpu_seconds."
WATCHING = "watching."
GIT = "git_cpu_seconds"
UNIT = "_cpu_seconds"
KEPLER = "kepler_"
JOULES = "node_joules"
READY = "commit_to_ready_seconds"
PODS, KUBEPODS, UNSEEN = f"{NAMESPACE}pods", f"{NAMESPACE}kubepods", f"{NAMESPACE}unseen_in_pods"
LABELS = {
    GIT: "serving git",
    READY: "median time from commit to Ready in a window",
    "deliveries_ready": "revisions Ready in a window",
    CONTROLLER: "the controller's own processes",
    NEIGHBOURS: "everything on the host outside the node, the controller among it",
}
TOTALS = {
    PODS: "all pods",
    UNSEEN: "in pods, but seen in none (dead between two looks)",
}
_CLOCK = "cluster, times read by the engine in the node's clock"


def contrast(table: Table, outcome: str, label: str) -> Contrast | None:
    """One outcome in both arms and its paired difference, without interval; ``None`` where a window lacks it.

    An interval that is not adjusted would be read as a test, and there are many such rows.
    """
    values = vector(table, outcome)
    if values is None:
        return None
    sample = table.figures[table.pairs[0].runs[table.arms[0]].run_id, outcome]
    return Contrast(
        name=outcome,
        label=label,
        arms={arm: mean_of(table, arm, outcome) for arm in table.arms},
        difference=figure(float(values.mean()), sample.unit, sample.source, share=share_of(table, outcome)),
        p=None,
    )


def _with_interval(table: Table, row: Contrast, level: float) -> Contrast:
    """Give a contrast the interval of its paired difference at a level."""
    estimate = paired.mean_difference(_known(table, row.name), level)
    share = share_of(table, row.name)
    return replace(row, difference=of_estimate(estimate, row.difference.unit, row.difference.source, share))


def namespaces(table: Table) -> list[Contrast]:
    """CPU time by namespace, largest first."""
    others = {PODS, KUBEPODS, UNSEEN}
    names = [name for name in table.names() if name.startswith(NAMESPACE) and name not in others]
    rows = [row for name in names if (row := contrast(table, name, name.removeprefix(NAMESPACE)))]
    return sorted(rows, key=lambda row: (-max(row.arms[arm].value or 0.0 for arm in table.arms), row.label))


def totals(table: Table) -> list[Contrast]:
    """Compare the sum of the namespaces and the node outside pods, both arms."""
    rows = [contrast(table, name, label) for name, label in TOTALS.items()]
    if outside := _outside(table):
        rows.append(contrast(outside, "outside", "outside pods: kubelet, container runtime, git server, system"))
    return [row for row in rows if row]


def _outside(table: Table) -> Table | None:
    """A table whose outcome ``outside`` is the node less all pods; ``None`` where a window lacks one."""
    if table.outcome != NODE or table.columns(KUBEPODS) is None:
        return None
    figures = {}
    for run in table.runs:
        whole, pods = table.primary(run), table.figures[run.run_id, KUBEPODS]
        value, low, high = whole.value - pods.value, whole.low - pods.high, whole.high - pods.low
        figures[run.run_id, "outside"] = Figure(value, whole.unit, "node meter less the pods' own counter", low, high)
    return replace(table, figures=figures)


def incomplete(table: Table) -> list[str]:
    """Outcomes that some window of a complete pair lacks, so that no paired difference exists."""
    return [name for name in table.names() if table.columns(name) is None]


def secondaries(table: Table, seed: int, planned: Sequence[str] | None = None) -> list[Contrast]:
    """Every further outcome with its paired difference; from six pairs on with Holm's p-values over the *planned* ones.

    Their intervals are then Bonferroni's over the same rows; below six pairs, and for all others, there is none.

    A plan that names none (``None``) has them all for hypotheses. Parts of the node (namespaces, units) and checks of
    the rig are none unless they are planned: they stand apart, without p.
    """
    apart = (NAMESPACE, KEPLER, WATCHING, "check.", "closure.")
    known = [name for name in table.names() if not name.startswith(apart) and not _is_unit(name)]
    known += [name for name in planned or () if name not in known]
    known = [name for name in known if name not in (table.outcome, JOULES)]
    rows = [row for name in known if (row := contrast(table, name, _label(name)))]
    tested = [row for row in rows if planned is None or row.name in planned]
    if len(table.pairs) >= FEWEST_FOR_A_TEST:
        together = 1 - (1 - table.level) / max(1, len(tested))
        rows = [_with_interval(table, row, together) if row in tested else row for row in rows]
        raw = {row.name: resample.sign_flip(_known(table, row.name), seed, noise(table, row.name)).p for row in tested}
        source = "sign-flip permutation, two-sided, Holm over the secondaries"
        adjusted = {name: figure(p, "1", source) for name, p in equivalence.holm(raw).items()}
        rows = [replace(row, p=adjusted.get(row.name)) for row in rows]
    return rows


def _label(name: str) -> str:
    if name.startswith(NAMESPACE):
        return TOTALS.get(name) or f"CPU time of the pods in {name.removeprefix(NAMESPACE)}"
    if name.startswith(WATCHING):
        return f"CPU time of the pods of {name.removeprefix(WATCHING)}"
    return LABELS.get(name, name.replace("_", " "))


def units(table: Table) -> list[Contrast]:
    """CPU time of the node's services outside pods (kubelet, container runtime, SSH): a breakdown, not tested."""
    return [
        row
        for name in table.names()
        if _is_unit(name) and (row := contrast(table, name, name.removesuffix(UNIT).replace("_", " ")))
    ]


def kepler(table: Table) -> list[Contrast]:
    """Kepler's joules of pods by namespace: a secondary instrument with a known bias, so nothing here is tested."""
    names = [name for name in table.names() if name.startswith(f"{KEPLER}joules.")]
    return [row for name in names if (row := contrast(table, name, name.partition(".")[2]))]


def _is_unit(name: str) -> bool:
    return name.endswith(UNIT) and name not in (NODE, GIT, CONTROLLER, NEIGHBOURS)


def _known(table: Table, outcome: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = vector(table, outcome)
    return np.zeros(0) if values is None else values


def joules(table: Table, source: str, model: Mapping[str, Any]) -> Joules | None:
    """Joules of the node: beside the answer where they are modelled, with the formula."""
    row = contrast(table, JOULES, "energy of the node")
    if row is None:
        return None
    return Joules(**vars(_with_interval(table, row, table.level)), formula=formula(source, model))


def formula(source: str, model: Mapping[str, Any]) -> str:
    """The model in words with its constants, or what the counter is."""
    if source == "rapl":
        return "read from the host's energy counter (RAPL), reset- and wrap-aware"
    name = model.get("title") or model.get("name", "unnamed")
    idle, slope = model.get("idle_watts"), model.get("watts_per_cpu")
    points, cpus = model.get("points") or [], model.get("cpus")
    if cpus and len(points) == 2:
        (_, idle), (_, full) = points
        slope = (full - idle) / cpus
    if idle is not None and slope is not None:
        return f"joules = {idle:g} W x seconds + {slope:g} J per CPU-second x CPU-seconds ({_about(name, model)})"
    if points and cpus:
        steps = ", ".join(f"{watts:g} W at {load:.0%}".replace("%", " %") for load, watts in points)
        return f"watts by the share of {cpus} CPUs in use, straight lines between {steps} ({_about(name, model)})"
    return f"joules = a fixed function of CPU-seconds and time; the bundle does not hold its constants ({name})"


def floor_watts(source: str, model: Mapping[str, Any]) -> float | None:
    """Return the watts of idle processors by the power model; ``None`` for a counter, where nobody knows."""
    if source != "modelled":
        return None
    points = model.get("points") or []
    idle = points[0][1] if points else model.get("idle_watts")
    return None if idle is None else float(idle)


def _about(name: str, model: Mapping[str, Any]) -> str:
    said = [f"model: {name}"]
    if covers := model.get("covers"):
        said.append(f"covers {covers}")
    if model.get("assumption"):
        said.append("an assumption, measured on nothing")
    elif source := model.get("source"):
        said.append(f"numbers from {source}")
    return "; ".join(said)


def delivery(table: Table, deliveries: Sequence[Delivery]) -> DeliveryResult:
    """Count the outcomes of commits by arm, and list the time to Ready of each."""
    arm_of = {run.run_id: run.arm for run in table.runs}
    own = sorted((d for d in deliveries if d.run_id in arm_of), key=lambda d: (d.committed_ms, d.run_id, d.index))
    rows = [
        CommitResult(
            run=d.run_id,
            arm=arm_of[d.run_id],
            commit=d.index + 1,
            status=d.status,
            figure=figure((d.ready_ms - d.committed_ms) / 1000, "s", _CLOCK),
        )
        for d in own
        if d.ready_ms is not None
    ]
    return DeliveryResult({arm: _counted([d for d in own if arm_of[d.run_id] == arm]) for arm in table.arms}, rows)


def _counted(own: Sequence[Delivery]) -> DeliveryCounts:

    def became(status: str) -> ResultFigure:
        return count(sum(d.status == status for d in own), "commits", "Deployment status read from the cluster")

    times = [(d.ready_ms - d.committed_ms) / 1000 for d in own if d.ready_ms is not None]
    return DeliveryCounts(
        commits=count(len(own), "commits", "deliveries table of the bundle"),
        ready=became("ready"),
        late=became("late"),
        coalesced=became("coalesced"),
        failed=became("failed"),
        median=figure(float(np.median(times)) if times else None, "s", _CLOCK),
        longest=figure(max(times) if times else None, "s", _CLOCK),
    )
