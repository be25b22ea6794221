"""Joules of a stretch of time that is no run: raw samples of Prometheus -> energy of pods and nodes.

A pod's joules are its share of its node's CPU-seconds in the whole window, times the zone's joules in the same window
(idle included, as in 2022). Where load and watts change together within the window, that mean share differs from what
the sum of short windows gives. Windows are integrated by ``integrate``, as those of an experiment.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import SeriesSamples
from hardwatt.instruments import cgroup, node
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.windows import Rule, WindowError, integrate

GAP_MS = 20_000.0
"""The longest silence that is accepted. A counter loses nothing in a gap; the bounds carry where in time it rose."""

PODS = f'{cgroup.CPU}{{container="",image="",pod!=""}}'
Samples = Mapping[str, Sequence[SeriesSamples]]


@dataclass(frozen=True)
class Energy:
    """Energy of one pod in a window; of the whole node where ``pod`` and ``namespace`` are empty."""

    node: str
    namespace: str
    pod: str
    joules: Figure
    cpu_seconds: Figure


def zone_metric(zone: str) -> str:
    """Return the metric that counts a zone's joules."""
    return f"node_rapl_{zone}_joules_total"


def selectors(zone: str) -> dict[str, str]:
    """Return metric -> selector of all that ``energy`` needs for one zone."""
    names = (zone_metric(zone), node.CPU, node.RANGE, "hardwatt_node_cpus", "hardwatt_meter_info")
    return {cgroup.CPU: PODS, **{name: name for name in names}}


def energy(samples: Samples, zone: str, t0_ms: float, t1_ms: float) -> list[Energy]:
    """Return the energy of each node, and of each of its pods, between two moments (ms).

    ``samples`` holds the series of each of ``selectors(zone)`` from a little before the window on. Raise WindowError
    where they do not carry it.
    """
    found: list[Energy] = []
    names = sorted({one.labels.get("node", "") for one in samples.get(node.CPU, ())})
    if not names:
        raise WindowError(f"no samples of {node.CPU}")
    for name in names:
        own = {metric: [one for one in part if one.labels.get("node", "") == name] for metric, part in samples.items()}
        found += _of_node(name, own, zone, t0_ms, t1_ms)
    return found


def _of_node(name: str, own: Samples, zone: str, t0: float, t1: float) -> list[Energy]:
    cpus = max((one.values.max() for one in own.get("hardwatt_node_cpus", ())), default=1024.0)
    joules = _zone_joules(name, own, zone, t0, t1)
    busy = _sum(own[node.CPU], Rule(GAP_MS, cpus), t0, t1, node.CPU)
    whole = Figure(busy[0], "CPU-seconds", "node meter, scraped every second", busy[1], busy[2])
    if whole.low <= 0:
        raise WindowError(f"the node {name} used no CPU-seconds")
    rows = [Energy(name, "", "", joules, whole)]
    rule = Rule(GAP_MS, cpus, births=True, tail_ms=cgroup.TAIL_MS)
    for (namespace, pod), series in sorted(_by_pod(own.get(cgroup.CPU, ())).items()):
        value, low, high = _sum(series, rule, t0, t1, f"{cgroup.CPU} of {pod}")
        used = Figure(value, "CPU-seconds", "cAdvisor, cgroup of the pod", min(low, value), max(high, value))
        rows.append(Energy(name, namespace, pod, _share(used, whole, joules), used))
    return rows


def _share(used: Figure, whole: Figure, joules: Figure) -> Figure:
    return Figure(
        used.value / whole.value * joules.value,
        "J",
        f"share of the node's CPU-seconds, of: {joules.source}",
        used.low / whole.high * joules.low,
        used.high / whole.low * joules.high,
    )


def _by_pod(series: Sequence[SeriesSamples]) -> dict[tuple[str, str], list[SeriesSamples]]:
    found: dict[tuple[str, str], list[SeriesSamples]] = {}
    for one in series:
        found.setdefault((one.labels.get("namespace", ""), one.labels.get("pod", "")), []).append(one)
    return found


def _zone_joules(name: str, own: Samples, zone: str, t0: float, t1: float) -> Figure:
    metric = zone_metric(zone)
    counters = _without_twins(own.get(metric, ()))
    if not counters:
        raise WindowError(f"the node {name} has no zone {zone!r}")
    ranges = {_folder(one): float(one.values[-1]) for one in own.get(node.RANGE, ())}
    parts = [
        _sum([one], Rule(GAP_MS, node.MAX_WATTS, ranges.get(_folder(one))), t0, t1, f"{metric} of {_folder(one)}")
        for one in counters
    ]
    value, low, high = (sum(part[i] for part in parts) for i in range(3))
    modelled = all("synthetic-model" in _folder(one) for one in counters)
    return Figure(value, "J", f"modelled from CPU-seconds, {zone}" if modelled else f"RAPL, {zone}", low, high)


def _folder(one: SeriesSamples) -> str:
    return one.labels.get("path", "").rpartition("/")[2]


def _without_twins(series: Sequence[SeriesSamples]) -> list[SeriesSamples]:
    """Leave out the memory-mapped twin of a zone that is there itself."""
    own = {re.sub("^intel-rapl:", "", _folder(one)) for one in series if "mmio" not in _folder(one)}
    return [one for one in series if "mmio" not in _folder(one) or _folder(one).partition(":")[2] not in own]


def _sum(series: Sequence[SeriesSamples], rule: Rule, t0: float, t1: float, what: str) -> tuple[float, float, float]:
    """Return value, low and high of series added up; raise WindowError that says which was refused and why."""
    frames = [
        pl.DataFrame({"series_id": [number] * one.ts.size, "ts": one.ts.astype(float), "value": one.values})
        for number, one in enumerate(series)
    ]
    result = integrate(pl.concat(frames), t0, t1, rule)
    if result.height == 0 and not rule.births:
        raise WindowError(f"no samples of {what}")
    if (bad := result.filter(pl.col("problem") != "")).height:
        raise WindowError(f"{what}: {bad['problem'][0]}")
    return float(result["value"].sum()), float(result["low"].sum()), float(result["high"].sum())
