"""The node: CPU-seconds by its meter, joules by its powercap zones, the cost of serving git by its unit."""

from collections.abc import Sequence
from itertools import pairwise

from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments import formula
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.power import integrate_power
from hardwatt.instruments.readings import POINTS, READ_AT, UNIT_READ_AT, Counter, counters, edges_of, scraped
from hardwatt.instruments.windows import Rule, WindowError, integrate
from hardwatt.instruments.zones import ZoneCounter, energy, hosts_of, metric_of, refuse_many, shown_once, zone_of
from hardwatt.meter.accuracy import published
from hardwatt.meter.zones import place

CPU = "hardwatt_node_cpu_seconds_total"
UNIT_CPU = "hardwatt_unit_cpu_seconds_total"
STEAL = "hardwatt_node_steal_seconds_total"
METER_CPU = "hardwatt_meter_cpu_seconds_total"
JOULES = metric_of("package")
DRAM = metric_of("dram")
RANGE = "hardwatt_powercap_max_energy_range_joules"
GIT_UNIT = "hardwatt-git.service"

WATTS = "hardwatt_imported_watts"
"""Readings of power that were measured elsewhere and imported."""

GAP_INTERVALS = 2.5
"""So many scrape intervals of silence refuse a window."""
UNIT_GAP_MS = 5000.0
"""Units are read once a second, beside the scrape's second; a slower scrape leaves longer silences."""
WRITTEN_MS = {1: 100.0, 2: 1000.0}
"""Schema of a bundle -> how often its meter wrote the modelled zone: what a scrape reads of it is at most this old."""


def cpus(bundle: Bundle) -> float:
    """CPUs of the node, from the host's facts; where they do not say, more than any node has."""
    value = bundle.manifest.host.get("cpus")
    return float(value) if isinstance(value, (int, float)) and value > 0 else 1024.0


def scrape_seconds(bundle: Bundle) -> float:
    """Return the scrape interval that the bundle declares, in seconds; one second where it declares none."""
    value = bundle.manifest.host.get("scrape_seconds")
    return float(value) if isinstance(value, (int, float)) and value > 0 else 1.0


def scrape_gap_ms(bundle: Bundle) -> float:
    """Return the longest silence that is accepted, by the scrape interval of the bundle."""
    return GAP_INTERVALS * scrape_seconds(bundle) * 1000


def cpu_seconds(bundle: Bundle, run: Run) -> Figure:
    """CPU-seconds of the whole node: read directly at both edges and every second between."""
    value, low, high = _window(
        counters(bundle, run, CPU, moment=READ_AT), run, _cpu_rule(bundle, scrape_gap_ms(bundle)), CPU
    )
    return Figure(value, "CPU-seconds", _scraped_every(bundle, "read at both edges and"), low, high)


def _scraped_every(bundle: Bundle, how: str = "scraped") -> str:
    seconds = scrape_seconds(bundle)
    return f"node meter, {how} every second" if seconds == 1 else f"node meter, {how} every {seconds:g} s"


def cpu_seconds_by_samples(bundle: Bundle, run: Run) -> Figure:
    """The same from scraped samples alone: a cross-check of the edges."""
    series = counters(bundle, run, CPU, moment=READ_AT, edges=False)
    value, low, high = _window(series, run, _cpu_rule(bundle, scrape_gap_ms(bundle)), CPU)
    return Figure(value, "CPU-seconds", _scraped_every(bundle), low, high)


def git_cpu_seconds(bundle: Bundle, run: Run) -> Figure:
    """CPU-seconds of serving git, which is billed to neither arm."""
    return unit_cpu_seconds(bundle, run, GIT_UNIT)


def unit_cpu_seconds(bundle: Bundle, run: Run, unit: str) -> Figure:
    """CPU-seconds of one systemd unit of the node."""
    series = [
        counter
        for counter in counters(bundle, run, UNIT_CPU, moment=UNIT_READ_AT)
        if counter.labels.get("unit") == unit
    ]
    gap = max(UNIT_GAP_MS, scrape_gap_ms(bundle))
    value, low, high = _window(series, run, _cpu_rule(bundle, gap), f"{UNIT_CPU} of {unit}")
    return Figure(value, "CPU-seconds", f"cgroup or processes of {unit}", low, high)


def units(bundle: Bundle) -> list[str]:
    """Return every unit whose CPU-seconds the bundle holds, but the git server."""
    rows = bundle.series.values()
    names = {labels.get("unit", "") for labels in rows if labels.get("__name__") == UNIT_CPU}
    return sorted(names - {"", GIT_UNIT})


def joules(bundle: Bundle, run: Run) -> Figure:
    """Energy of the CPU packages by their powercap zones: every socket and die added up, wraps counted."""
    zones = _zones(bundle, run, "package")
    if not zones and (readings := counters(bundle, run, WATTS)):
        return _joules_of_readings(bundle, run, readings)
    return _joules_of_zones(bundle, run, zones, "package", "CPU packages")


def dram_joules(bundle: Bundle, run: Run) -> Figure:
    """Energy of the memory by its zones, which lie beside the packages."""
    return _joules_of_zones(bundle, run, _zones(bundle, run, "dram"), "dram", "memory")


def has_dram(bundle: Bundle) -> bool:
    """Tell whether the bundle holds a zone of memory."""
    zones = [zone_of(labels) for labels in shown_once(list(bundle.series.values()))]
    return any(zone is not None and place(zone.name).kind == "dram" for zone in zones)


def _zones(bundle: Bundle, run: Run, kind: str) -> list[ZoneCounter]:
    """Return the counters of a kind of zone, and the names of all other zones; nothing where there is none of it."""
    scraped_ones = shown_once(list(bundle.series.values()))
    read_ones = [labels_of(series) for edge in edges_of(bundle, run) for series in edge.values if _of_zone(series)]
    told = [(labels["__name__"], zone) for labels in [*scraped_ones, *read_ones] if (zone := zone_of(labels))]
    refuse_many(hosts_of(scraped_ones))
    moment = READ_AT if bundle.manifest.source == "modelled" else ""
    ranges = _ranges(bundle, run)
    measured = [
        ZoneCounter(zone, counter.points, ranges.get(zone.folder))
        for metric in sorted({metric for metric, zone in told if place(zone.name).kind == kind})
        for counter in counters(bundle, run, metric, moment=moment)
        if (zone := zone_of(counter.labels, metric))
    ]
    if not any(place(counter.zone.name).kind == kind for counter in measured):
        return []
    others = sorted(
        {zone for _, zone in told if place(zone.name).kind != kind} - {counter.zone for counter in measured}
    )
    return measured + [ZoneCounter(zone, pl.DataFrame(schema=POINTS)) for zone in others] if measured else []


def _of_zone(series: str) -> bool:
    return series.startswith("node_rapl_")


def _joules_of_zones(bundle: Bundle, run: Run, zones: Sequence[ZoneCounter], kind: str, covers: str) -> Figure:
    modelled = bundle.manifest.source == "modelled"
    if not zones:
        raise WindowError(f"no samples of {metric_of(kind)}")
    (value, low, high), counted, note = energy(zones, kind, run.t0_ms, run.t1_ms, scrape_gap_ms(bundle))
    # The zone's file is written just before the metrics: its value may be one writing younger than they say.
    slack = value / run.seconds * WRITTEN_MS[bundle.manifest.schema_version] / 1000 if modelled else 0.0
    model = bundle.manifest.power_model.get("name", "unnamed")
    source = f"modelled from CPU-seconds by the power model {model}" if modelled else f"RAPL, {covers}"
    source = _imported(bundle, f"{source}; {note}" if note else source)
    accuracy = None if modelled else published(counted[0])
    return Figure(value, "J", source, max(0.0, low - slack), high + slack, accuracy=accuracy)


def _joules_of_readings(bundle: Bundle, run: Run, readings: Sequence[Counter]) -> Figure:
    """Energy of readings of power, every series added up."""
    gap = scrape_gap_ms(bundle)
    parts = [integrate_power(reading.points, run.t0_ms, run.t1_ms, gap) for reading in readings]
    value, low, high = (sum(part[place] for part in parts) for place in range(3))
    return Figure(value, "J", _imported(bundle, "readings of power"), low, high)


def _imported(bundle: Bundle, source: str) -> str:
    name = bundle.manifest.host.get("imported")
    return f"{source}; imported from {name}" if name else source


def joules_of_formula(bundle: Bundle, run: Run) -> Figure:
    """Modelled joules by what the model makes of the node's CPU-seconds; 1 where both tell the same."""
    model = bundle.manifest.power_model
    points, full = model.get("points", []), float(model.get("cpus", 0))
    if bundle.manifest.source != "modelled" or len(points) < 2 or full <= 0:
        raise WindowError("there is no power model to compare with")
    modelled, cpu = joules(bundle, run), cpu_seconds(bundle, run)
    (counter,) = counters(bundle, run, CPU, moment=READ_AT)
    value, low, high = formula.joules(counter.points, run.t0_ms, run.t1_ms, points, full)
    steepest = max((after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(points)) / full
    low, high = low - steepest * (cpu.value - cpu.low), high + steepest * (cpu.high - cpu.value)
    return Figure(
        modelled.value / value, "ratio", "modelled joules by the formula", modelled.low / high, modelled.high / low
    )


def edge_error(bundle: Bundle, run: Run) -> Figure:
    """Return the distance of the readings at the edges from the window's ends, both together, in seconds."""
    edges = edges_of(bundle, run)
    if {edge.edge for edge in edges} != {"start", "end"}:
        raise WindowError("the counters were not read at both edges")
    ends = {"start": run.t0_ms, "end": run.t1_ms}
    away = sum(abs(edge.values.get(READ_AT, edge.node_ms / 1000) * 1000 - ends[edge.edge]) for edge in edges) / 1000
    return Figure(away, "s", "moment of the meter's reading against the window's ends", away, away)


def meter_cost(bundle: Bundle, run: Run) -> Figure:
    """Return the cost of the meter itself: its CPU-seconds by the second of the window."""
    series = counters(bundle, run, METER_CPU, moment=READ_AT)
    value, low, high = (
        part / run.seconds for part in _window(series, run, _cpu_rule(bundle, scrape_gap_ms(bundle)), METER_CPU)
    )
    return Figure(value, "CPU-seconds per s", "the meter's own processor time", low, high)


def steal(bundle: Bundle, run: Run) -> Figure:
    """Time that the hypervisor took away, of all processor time that there was; it is in no CPU-second of ours."""
    series = counters(bundle, run, STEAL, moment=READ_AT)
    whole = run.seconds * cpus(bundle)
    parts = _window(series, run, _cpu_rule(bundle, scrape_gap_ms(bundle)), STEAL)
    value, low, high = (part / whole for part in parts)
    return Figure(value, "ratio", "stolen time by /proc/stat, of the CPUs' time", low, high)


def has_steal(bundle: Bundle) -> bool:
    """Tell whether the bundle holds stolen time: the embedded machine, a cgroup, has none of its own."""
    return any(labels.get("__name__") == STEAL for labels in bundle.series.values())


def resets(bundle: Bundle, run: Run) -> int:
    """Count the resets of the counters of the node and its services in the window."""
    rule = _cpu_rule(bundle, scrape_gap_ms(bundle))
    series = [*counters(bundle, run, CPU, moment=READ_AT), *counters(bundle, run, UNIT_CPU, moment=UNIT_READ_AT)]
    return sum(int(integrate(counter.points, run.t0_ms, run.t1_ms, rule)["resets"].sum()) for counter in series)


def scrape_gap(bundle: Bundle, run: Run) -> Figure:
    """The longest silence of the meter's scrapes in the window, in seconds."""
    frame = scraped(bundle, run, CPU)
    times = frame.filter(pl.col("ts").is_between(run.t0_ms, run.t1_ms))["ts"].sort()
    if times.len() < 2:
        raise WindowError(f"no samples of {CPU}")
    longest = float(times.diff().drop_nulls().to_numpy().max()) / 1000
    return Figure(longest, "s", "times of the scrapes", longest, longest)


def _cpu_rule(bundle: Bundle, max_gap_ms: float) -> Rule:
    return Rule(max_gap_ms=max_gap_ms, max_rate=cpus(bundle))


def _window(series: Sequence[Counter], run: Run, rule: Rule, what: str) -> tuple[float, float, float]:
    """Return value, low and high of one counter; raise WindowError where it is not one, or the window is refused."""
    if len(series) != 1:
        raise WindowError(f"{len(series)} counters instead of one of {what}" if series else f"no samples of {what}")
    result = integrate(series[0].points, run.t0_ms, run.t1_ms, rule)
    if result.height == 0:
        raise WindowError(f"no samples of {what}")
    row = result.row(0, named=True)
    if row["problem"]:
        raise WindowError(f"{what}: {row['problem']}")
    if row["resets"]:
        raise WindowError(f"{what}: began again from zero in the window: the node or its meter was started anew")
    return row["value"], row["low"], row["high"]


def _ranges(bundle: Bundle, run: Run) -> dict[str, float]:
    """Return where each zone wraps (joules) by the name of its folder."""
    return {
        counter.labels["path"].rpartition("/")[2]: float(counter.points["value"][0])
        for counter in counters(bundle, run, RANGE)
        if "path" in counter.labels
    }
