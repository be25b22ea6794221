"""Joules of a stretch of time that is no run: raw samples of Prometheus -> energy of pods and nodes.

A pod's joules are its share of its node's CPU-seconds in the whole window, times the zone's joules in the same window
(idle included, as in 2022). Where load and watts change together within the window, that mean share differs from what
the sum of short windows gives. Windows are integrated by ``integrate``, as those of an experiment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import SeriesSamples
from hardwatt.instruments import node
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.windows import Rule, WindowError, integrate
from hardwatt.instruments.zones import ZoneCounter, hosts_of, metric_of, refuse_many, shown_once, zone_of
from hardwatt.instruments.zones import energy as zone_energy
from hardwatt.meter.accuracy import published
from hardwatt.meter.zones import place, synthetic

GAP_MS = 20_000.0
"""The longest silence that is accepted. A counter loses nothing in a gap; the bounds carry where in time it rose."""

POD_CPU = "hardwatt_pod_cpu_seconds_total"
"""CPU-seconds of each pod's cgroup by the recorder. A pod's series begins with all that it has used, and stays for five
minutes after its end."""
TAIL_MS = 2_000.0
"""A pod is read each second, and its reading is a second old when it is scraped."""
EVERY_ZONE = '{__name__=~"node_rapl_.+_joules_total|kepler_node_cpu_joules_total"}'
Samples = Mapping[str, Sequence[SeriesSamples]]


@dataclass(frozen=True)
class Energy:
    """Energy of one pod in a window; of the whole node where ``pod`` and ``namespace`` are empty."""

    node: str
    namespace: str
    pod: str
    joules: Figure
    cpu_seconds: Figure


def selectors(zone: str) -> dict[str, str]:
    """Return metric -> selector of all that ``energy`` needs for one kind of zone.

    Every zone is asked for: the one that another lies in tells its socket, and a die has a metric of its own.
    """
    names = (node.CPU, node.RANGE, "hardwatt_node_cpus", "hardwatt_meter_info")
    return {POD_CPU: POD_CPU, **{name: name for name in names}, metric_of(zone): EVERY_ZONE}


def energy(samples: Samples, zone: str, t0_ms: float, t1_ms: float) -> list[Energy]:
    """Return the energy of each node, and of each of its pods, between two moments (ms).

    ``samples`` holds the series of each of ``selectors(zone)`` from a little before the window on. Raise WindowError
    where they do not carry it.
    """
    energies: list[Energy] = []
    names = sorted({series.labels.get("node", "") for series in samples.get(node.CPU, ())})
    if not names:
        raise WindowError(f"no samples of {node.CPU}")
    for name in names:
        own = {
            metric: [series for series in part if series.labels.get("node", "") == name]
            for metric, part in samples.items()
        }
        energies += _of_node(name, own, zone, t0_ms, t1_ms)
    return energies


def _of_node(name: str, own: Samples, zone: str, t0: float, t1: float) -> list[Energy]:
    cpus = max((counts.values.max() for counts in own.get("hardwatt_node_cpus", ())), default=1024.0)
    joules = _zone_joules(name, own, zone, t0, t1)
    busy = _sum(own[node.CPU], Rule(GAP_MS, cpus), t0, t1, node.CPU)
    whole = Figure(busy[0], "CPU-seconds", "node meter, scraped every second", busy[1], busy[2])
    if whole.low <= 0:
        raise WindowError(f"the node {name} used no CPU-seconds")
    rows = [Energy(name, "", "", joules, whole)]
    if not own.get(POD_CPU):
        raise WindowError(f"no samples of {POD_CPU}")
    rule = Rule(GAP_MS, cpus, births=True, tail_ms=TAIL_MS)
    for (namespace, pod), series in sorted(_by_pod(own[POD_CPU]).items()):
        value, low, high = _sum(series, rule, t0, t1, f"{POD_CPU} of {pod}")
        used = Figure(value, "CPU-seconds", "recorder, cgroup of the pod", min(low, value), max(high, value))
        rows.append(Energy(name, namespace, pod, _share(used, whole, joules), used))
    return rows


def _share(used: Figure, whole: Figure, joules: Figure) -> Figure:
    return Figure(
        used.value / whole.value * joules.value,
        "J",
        f"share of the node's CPU-seconds, of: {joules.source}",
        used.low / whole.high * joules.low,
        used.high / whole.low * joules.high,
        accuracy=joules.accuracy,
    )


def _by_pod(series: Sequence[SeriesSamples]) -> dict[tuple[str, str], list[SeriesSamples]]:
    pods: dict[tuple[str, str], list[SeriesSamples]] = {}
    for samples in series:
        pods.setdefault((samples.labels.get("namespace", ""), samples.labels.get("pod", "")), []).append(samples)
    return pods


def _zone_joules(name: str, own: Samples, zone: str, t0: float, t1: float) -> Figure:
    ranges = {_folder(samples): float(samples.values[-1]) for samples in own.get(node.RANGE, ())}
    named = [(labels_with(samples.labels, metric), samples) for metric, part in own.items() for samples in part]
    once = [dict(labels) for labels in shown_once([labels for labels, _ in named])]
    series = [(labels["__name__"], samples) for labels, samples in named if labels in once]
    refuse_many(hosts_of(samples.labels for _, samples in series))
    counters = [
        ZoneCounter(domain, _frame([samples]), ranges.get(domain.folder))
        for metric, samples in series
        if (domain := zone_of(samples.labels, metric))
    ]
    if not any(place(counter.zone.name).kind == zone for counter in counters):
        raise WindowError(f"the node {name} has no zone {zone!r}")
    (value, low, high), counted, note = zone_energy(counters, zone, t0, t1, GAP_MS)
    modelled = all(synthetic(domain) for domain in counted)
    source = f"modelled from CPU-seconds, {zone}" if modelled else f"RAPL, {zone}"
    accuracy = None if modelled else published(counted[0])
    return Figure(value, "J", f"{source}; {note}" if note else source, low, high, accuracy=accuracy)


def labels_with(labels: Mapping[str, str], metric: str) -> dict[str, str]:
    """Return labels with the metric's name, which an answer about one metric may leave out."""
    return {"__name__": metric, **labels}


def _folder(samples: SeriesSamples) -> str:
    return samples.labels.get("path", "").rpartition("/")[2]


def _frame(series: Sequence[SeriesSamples]) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame({"series_id": [number] * samples.ts.size, "ts": samples.ts.astype(float), "value": samples.values})
        for number, samples in enumerate(series)
    )


def _sum(series: Sequence[SeriesSamples], rule: Rule, t0: float, t1: float, what: str) -> tuple[float, float, float]:
    """Return value, low and high of series added up; raise WindowError that says which was refused and why."""
    result = integrate(_frame(series), t0, t1, rule)
    if result.height == 0 and not rule.births:
        raise WindowError(f"no samples of {what}")
    if (bad := result.filter(pl.col("problem") != "")).height:
        raise WindowError(f"{what}: {bad['problem'][0]}")
    return float(result["value"].sum()), float(result["low"].sum()), float(result["high"].sum())
