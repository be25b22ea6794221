"""Bundle -> table of run x outcome. The one place where samples become numbers."""

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import RefusedError
from hardwatt.instruments import cgroup, controller, kepler, node, recorder
from hardwatt.instruments.crosschecks import FORMULA_LIMITS, OF_FORMULA
from hardwatt.instruments.figure import Figure, Measured, Outcome, Refusal
from hardwatt.instruments.interface import Found, Instrument
from hardwatt.instruments.readings import READ_AT, UNIT_READ_AT
from hardwatt.instruments.recorded_figures import CPU
from hardwatt.instruments.windows import WindowError

LARGE_BYTES = 16 * 2**20
"""A file of samples of that size, some six million of them, takes about a gigabyte of memory to integrate."""
READY_RESOLUTION_SECONDS = 1.0
"""Kubernetes writes when a condition changed in whole seconds."""

NAMESPACE = "cpu_seconds."
_WHOLE = tuple(f"{NAMESPACE}{whole}" for whole in ("pods", "kubepods", "unseen_in_pods"))

Reading = Callable[[Bundle, Run], Figure]


def outcomes(bundle: Bundle) -> list[Outcome]:
    """Return every figure of every run that is done; refused ones are in ``measure(bundle).refusals``."""
    return list(measure(bundle).outcomes)


def measure(bundle: Bundle) -> Measured:
    """Return every figure of every run that is done, and what was refused and why.

    Raise RefusedError where the bundle's source is neither RAPL nor a model.
    """
    if bundle.manifest.source not in ("rapl", "modelled"):
        raise RefusedError(f"the source {bundle.manifest.source!r} is no measurement", hint="use rapl or modelled")
    outcomes: list[Outcome] = []
    refused: list[Refusal] = []
    done = [run for run in bundle.runs if run.status == "done"]
    with ThreadPoolExecutor(_at_once(bundle)) as pool:
        # In the order of the runs, whichever is ready first.
        for run, figures in zip(done, pool.map(lambda run: list(_figures(bundle, run)), done), strict=True):
            for name, figure in figures:
                if isinstance(figure, Figure):
                    outcomes.append(Outcome(run.run_id, run.arm, run.block, run.position, name, figure))
                else:
                    refused.append(Refusal(run.run_id, name, figure))
    outcomes += _absent_namespaces(bundle, outcomes, refused)
    return Measured(tuple(outcomes), tuple(refused))


def _absent_namespaces(bundle: Bundle, outcomes: Sequence[Outcome], refused: Sequence[Refusal]) -> list[Outcome]:
    """Return zero for each namespace that had no pod in a recorded run and had pods in another one.

    A recording holds every pod: a namespace without one used nothing.
    """
    known = {(row.run_id, row.name): row for row in outcomes}
    refusals = {(row.run_id, row.name) for row in refused}
    names = sorted({row.name for row in outcomes if row.name.startswith(NAMESPACE) and row.name not in _WHOLE})
    nothing = Figure(0.0, CPU, "recorder, no pod of the namespace", 0.0, 0.0)
    return [
        replace(whole, name=name, figure=nothing)
        for run_id in sorted(bundle.manifest.recordings)
        if (whole := known.get((run_id, f"{NAMESPACE}pods")))
        for name in names
        if (run_id, name) not in known and (run_id, name) not in refusals
    ]


def _at_once(bundle: Bundle) -> int:
    """Two windows side by side, as long as each is small beside the memory of a laptop."""
    sizes = [entry.bytes for name, entry in bundle.manifest.files.items() if name.startswith("samples/")]
    return 2 if max(sizes, default=0) < LARGE_BYTES else 1


def _figures(bundle: Bundle, run: Run) -> Found:
    """Yield what every instrument says of a run, and what was delivered in it.

    Where the run has a recording, that is the record: what the others say of the same outcomes stands beside it.
    """
    record = dict(RECORDER.figures(bundle, run))
    if withheld := _another_formula(record.get(OF_FORMULA, "")):
        record |= {name: withheld for name in ("node_joules", "node_dram_joules") if name in record}
    yield from record.items()
    for instrument in INSTRUMENTS if not record or _scraped(bundle, run) else ():
        yield from recorder.beside(record, instrument.figures(bundle, run))
    yield from controller.figures(bundle, run)
    yield from _delivered(bundle, run)


def _scraped(bundle: Bundle, run: Run) -> bool:
    """Tell whether the bundle holds a dump of a run: an experiment runs without Prometheus too."""
    return any(name.startswith("samples/") and f"/run={run.run_id}/" in name for name in bundle.manifest.files)


def _of_node(bundle: Bundle, run: Run) -> Found:
    readings = {name: _or_reason(reading, bundle, run) for name, reading in _READINGS.items()}
    withheld = _another_formula(readings[OF_FORMULA])
    if withheld:
        readings["node_joules"] = withheld
    yield from readings.items()
    if node.has_dram(bundle):
        yield "node_dram_joules", withheld or _or_reason(node.dram_joules, bundle, run)
    if node.has_steal(bundle):
        yield "check.steal", _or_reason(node.steal, bundle, run)
    for unit, figure in _services(bundle, run).items():
        yield unit_outcome(unit), figure


def _another_formula(ratio: Figure | str) -> str:
    """Return why modelled joules are withheld: the bundle's power model does not give them, whatever their bounds.

    The empty text where it may give them, or where there is nothing to compare.
    """
    if isinstance(ratio, str) or (ratio.high >= FORMULA_LIMITS[0] and ratio.low <= FORMULA_LIMITS[1]):
        return ""
    return f"withheld: the zone has {ratio.value:.3g} times the joules that the power model of the bundle gives"


def _services(bundle: Bundle, run: Run) -> dict[str, Figure | str]:
    return {unit: _or_reason(partial(node.unit_cpu_seconds, unit=unit), bundle, run) for unit in node.units(bundle)}


def unit_outcome(unit: str) -> str:
    """Return the outcome's name of a unit: kubelet_cpu_seconds of kubelet.service."""
    return f"{unit.removesuffix('.service')}_cpu_seconds"


def _or_reason(reading: Reading, bundle: Bundle, run: Run) -> Figure | str:
    try:
        return reading(bundle, run)
    except WindowError as error:
        return error.reason


_READINGS: dict[str, Reading] = {
    "node_cpu_seconds": node.cpu_seconds,
    "node_joules": node.joules,
    "git_cpu_seconds": node.git_cpu_seconds,
    "check.node_cpu_seconds_by_samples": node.cpu_seconds_by_samples,
    OF_FORMULA: node.joules_of_formula,
    "check.edge_error": node.edge_error,
    "check.scrape_gap": node.scrape_gap,
    "check.meter_cost": node.meter_cost,
}


def _of_cgroups(bundle: Bundle, run: Run) -> Found:
    """Yield CPU-seconds by namespace, and how well they and those of services add up to the node's."""
    try:
        by_cgroups = cgroup.attribution(bundle, run)
    except WindowError as error:
        for namespace in cgroup.namespaces(bundle) or ["*"]:
            yield f"cpu_seconds.{namespace}", error.reason
        return
    for namespace, figure in by_cgroups.by_namespace.items():
        yield f"cpu_seconds.{namespace}", figure
    yield "cpu_seconds.pods", by_cgroups.pods
    resets = float(by_cgroups.resets + node.resets(bundle, run))
    yield "check.resets", Figure(resets, "resets", "counters of the node, services and pods", resets, resets)
    if by_cgroups.kubepods is None:
        yield "closure.pods_of_kubepods", "kubepods' own counter was not scraped"
        return
    yield "cpu_seconds.kubepods", by_cgroups.kubepods
    lost = _difference(by_cgroups.kubepods, by_cgroups.pods, "kubepods' own counter less its pods")
    yield "cpu_seconds.unseen_in_pods", lost
    yield "closure.pods_of_kubepods", _ratio(by_cgroups.pods, by_cgroups.kubepods, "pods seen by kubepods' own counter")
    whole = _or_reason(node.cpu_seconds, bundle, run)
    if isinstance(whole, Figure):
        yield "closure.kubepods_of_node", _ratio(by_cgroups.kubepods, whole, "kubepods' own counter by the node meter")
        yield "check.cpu_lost_of_node", _signed_ratio(lost, whole)
        services = [service for service in _services(bundle, run).values() if isinstance(service, Figure)]
        if services:
            parts = [by_cgroups.kubepods, *services, *_git(bundle, run)]
            yield "closure.attributed_of_node", _ratio(_sum(parts), whole, "pods and services by the node meter")


def _git(bundle: Bundle, run: Run) -> list[Figure]:
    figure = _or_reason(node.git_cpu_seconds, bundle, run)
    return [figure] if isinstance(figure, Figure) else []


def _sum(parts: Sequence[Figure]) -> Figure:
    value, low, high = (sum(getattr(part, name) for part in parts) for name in ("value", "low", "high"))
    return Figure(value, parts[0].unit, "cgroups", low, high)


def _signed_ratio(part: Figure, whole: Figure) -> Figure | str:
    """Return a share whose part may be below zero."""
    if whole.low <= 0:
        return "the whole may be nothing"
    ends = [part.low / whole.low, part.low / whole.high, part.high / whole.low, part.high / whole.high]
    return Figure(part.value / whole.value, "ratio", f"{part.source}, by the node meter", min(ends), max(ends))


def _delivered(bundle: Bundle, run: Run) -> Found:
    rows = [row for row in bundle.deliveries if row.run_id == run.run_id]
    ready = [row for row in rows if row.status == "ready"]
    count = float(len(ready))
    yield "deliveries_ready", Figure(count, "deployments", "conditions read from the cluster", count, count)
    waits = [(row.ready_ms - row.committed_ms) / 1000 for row in rows if row.ready_ms is not None]
    if not waits:
        yield "commit_to_ready_seconds", "no commit became Ready"
        return
    median = statistics.median(waits)
    low, high = max(0.0, median - READY_RESOLUTION_SECONDS), median + READY_RESOLUTION_SECONDS
    source = "median from the commit's push to the Ready condition"
    yield "commit_to_ready_seconds", Figure(median, "s", source, min(low, median), high)


def _difference(whole: Figure, part: Figure, source: str) -> Figure:
    return Figure(whole.value - part.value, whole.unit, source, whole.low - part.high, whole.high - part.low)


def _ratio(part: Figure, whole: Figure, source: str) -> Figure | str:
    if whole.low <= 0:
        return "the whole may be nothing"
    return Figure(part.value / whole.value, "ratio", source, part.low / whole.high, part.high / whole.low)


RECORDER = Instrument(
    "recorder",
    (),
    "every counter of the node: its CPU time, energy zones, units and pods, ended ones too; the primary record",
    "what a counter can have gained between the window's end and the tick beside it, its granularity, the age of "
    "RAPL's registers; not in it is the counter's own error, which is stated apart (hardwatt.meter.accuracy)",
    recorder.figures,
)
"""The primary instrument; bundles of schema 1 have no record for it."""
INSTRUMENTS = (
    Instrument(
        "node",
        (
            node.CPU, node.STEAL, READ_AT, node.UNIT_CPU, UNIT_READ_AT, node.METER_CPU, node.JOULES, node.DRAM,
            node.RANGE,
        ),
        "the whole node, its kernel and services included; joules: CPU packages, memory beside them",
        "read at both edges: what can be gained between an edge and the reading beside it",
        _of_node,
    ),
    Instrument(
        "cgroup",
        (cgroup.CPU,),
        "processes of pods, ended ones too; the primary attribution",
        "what a pod gained after its last reading, narrowed by all pods' own counter",
        _of_cgroups,
    ),
    Instrument(
        "kepler",
        (kepler.POD, kepler.ACTIVE, kepler.INFO, *kepler.CPU_SEEN),
        "processes that live longer than its interval, with the energy of those that do not; secondary",
        "half a second of staleness, and its bias, which is shown beside it",
        kepler.figures,
    ),
)  # fmt: skip
"""Every instrument, the primary first."""
