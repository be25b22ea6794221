"""The recorder: the primary record of a run's counters, and every figure that it gives.

Each figure is what a counter rose by between the ticks nearest to the window's ends, for exactly the window's length.
Whoever else looked (scrapes, Kepler) is a further instrument; ``beside`` shows how far it is from the record.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.recording import Counter, Recording
from hardwatt.instruments import formula
from hardwatt.instruments.cgroup import within
from hardwatt.instruments.crosschecks import BESIDE
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.interface import Found
from hardwatt.instruments.node import GIT_UNIT
from hardwatt.instruments.power import MAX_WATTS
from hardwatt.instruments.readings import edges_of
from hardwatt.instruments.recorded_window import Gain, Limits, Span, gained, span
from hardwatt.instruments.windows import WindowError
from hardwatt.instruments.zones import metric_of, note_on
from hardwatt.meter.accuracy import published
from hardwatt.meter.zones import Zone, choose, place, shown, synthetic

RAPL_UPDATE_SECONDS = 0.002
"""RAPL's registers are renewed about once a millisecond."""
MODEL_UPDATE_SECONDS = 0.1
"""A modelled register is renewed at each tick of the meter."""
STILL_TICKS = 2
"""A counter of energy that keeps its value for more ticks stands still. So that one that stops just before the end is
seen too, as many ticks beyond the window are looked at."""
LATE_SECONDS = 1.5
"""The ticks at a window's ends may make it so much longer or shorter than it was planned."""
CPU = "CPU-seconds"
SOURCES: Mapping[str, str] = {
    "machine-cgroup": "the machine's own cgroup",
    "cgroup-v1-root": "the root cgroup, version 1",
    "schedstat": "/proc/schedstat",
    "procstat": "/proc/stat, sampled at clock ticks",
}
"""The source of the node's CPU time, in words."""
_UNKNOWN = "(unknown)"


def figures(bundle: Bundle, run: Run) -> Found:
    """Yield every figure of a run from its recording; nothing where the bundle has none of it."""
    for name, figure in _of_window(bundle, run):
        yield name, _for_the_planned_length(bundle, run, figure)


def _for_the_planned_length(bundle: Bundle, run: Run, figure: Figure | str) -> Figure | str:
    """Return a figure of the window as it was cut for the length that was planned: ticks may be late by a moment."""
    planned = bundle.plan.window_seconds
    if isinstance(figure, str) or figure.unit not in (CPU, "J") or abs(run.seconds - planned) > LATE_SECONDS:
        return figure
    scale = planned / run.seconds
    value, low, high = (part * scale for part in (figure.value, figure.low, figure.high))
    return replace(figure, value=value, low=low, high=high)


def _of_window(bundle: Bundle, run: Run) -> Found:
    recording = bundle.recording(run.run_id)
    if recording is None:
        return
    try:
        window = span(recording, run.t0_ms, run.t1_ms)
    except WindowError as error:
        yield "node_cpu_seconds", error.reason
        yield "node_joules", error.reason
        return
    whole = _or_reason(lambda: node_cpu_seconds(bundle, window))
    yield "node_cpu_seconds", whole
    yield from energy(bundle, window)
    units = dict(_units(window))
    yield "git_cpu_seconds", units.get(GIT_UNIT, "the recording has no unit of the git server")
    for unit, figure in units.items():
        if unit != GIT_UNIT:
            yield f"{unit.removesuffix('.service')}_cpu_seconds", figure
    yield from _pods(window, whole, [figure for figure in units.values() if isinstance(figure, Figure)])
    yield _off_the_ends(bundle, run, window)
    yield from _checks(window)


def node_cpu_seconds(bundle: Bundle, window: Span) -> Figure:
    """Return the CPU-seconds of the whole node; raise WindowError where the record does not tell them."""
    recording = window.recording
    kinds = {run.run_id: bundle.manifest.recordings[run.run_id].node_kind for run in recorded(bundle)}
    first = next(iter(kinds.values()), recording.node_kind)
    if recording.node_kind != first:
        raise WindowError(
            f"the node's CPU time was read from {SOURCES.get(recording.node_kind)} here, and from "
            f"{SOURCES.get(first)} in run {next(iter(kinds))}: unequal kinds are not compared"
        )
    counters = recording.of("node")
    if len(counters) != 1:
        raise WindowError(f"the recording holds {len(counters)} counters of the node: it was started anew")
    gain = gained(counters, window, _cpu(recording))
    if parts := recording.of("node_low"):
        least = gained(parts, window, _cpu(recording)).low
        gain = Gain(gain.value, max(gain.low, min(least, gain.value)), gain.high)
    return _figure(gain, CPU, f"recorder, {SOURCES.get(recording.node_kind, recording.node_kind)}")


def recorded(bundle: Bundle) -> list[Run]:
    """Return the runs that are done and have a recording."""
    return [run for run in bundle.runs if run.status == "done" and run.run_id in bundle.manifest.recordings]


def node_kind(bundle: Bundle) -> str:
    """Return what the node's CPU time of a bundle was read from; empty where the bundle does not say."""
    if runs := recorded(bundle):
        return bundle.manifest.recordings[runs[0].run_id].node_kind
    told = {labels_of(series).get("cpu", "") for edge in bundle.edges for series in edge.values if _is_info(series)}
    return {"cgroup": "machine-cgroup", "procstat": "procstat"}.get(told.pop(), "") if len(told) == 1 else ""


def _is_info(series: str) -> bool:
    return series.startswith("hardwatt_meter_info{")


def _cpu(recording: Recording) -> Limits:
    return Limits(float(recording.cpus))


def _figure(gain: Gain, unit: str, source: str) -> Figure:
    return Figure(gain.value, unit, source, gain.low, gain.high)


def _or_reason(make: Callable[[], Figure]) -> Figure | str:
    try:
        return make()
    except WindowError as error:
        return error.reason


def energy(bundle: Bundle, window: Span) -> Found:
    """Yield the joules of the CPU packages and of memory, or why they are not known."""
    modelled = bundle.manifest.source == "modelled"
    counters = [counter for counter in window.recording.of("energy") if synthetic(_zone(counter)) == modelled]
    yield "node_joules", _or_reason(lambda: _joules(bundle, window, counters, "package", "CPU packages"))
    if any(place(counter.zone).kind == "dram" for counter in counters):
        yield "node_dram_joules", _or_reason(lambda: _joules(bundle, window, counters, "dram", "memory"))
    if modelled and len(bundle.manifest.power_model.get("points", [])) > 1:
        yield "check.joules_of_formula", _or_reason(lambda: _of_formula(bundle, window, counters))


def _zone(counter: Counter) -> Zone:
    return Zone(counter.zone, counter.name)


def _joules(bundle: Bundle, window: Span, counters: Sequence[Counter], kind: str, covers: str) -> Figure:
    modelled = bundle.manifest.source == "modelled"
    limits = Limits(MAX_WATTS, MODEL_UPDATE_SECONDS if modelled else RAPL_UPDATE_SECONDS)
    gains: dict[int, Gain] = {}
    problems = []
    for number, counter in enumerate(counters):
        problem = "" if place(counter.zone).kind != kind else _problem(counter, window)
        if not problem and place(counter.zone).kind == kind:
            try:
                gains[number] = gained([counter], window, limits)
            except WindowError as error:
                problem = error.reason
        problems.append(problem)
    zones = [_zone(counter) for counter in counters]
    several = sum(place(counter.zone).kind == kind for counter in counters) > 1
    readings = [list(_readings(counter, window)) for counter in counters] if several else None
    choice = choose(zones, problems, kind, readings)
    if choice.lacking:
        lacks = choice.lacking[0]
        raise WindowError(f"{metric_of(kind)} of {shown(zones[lacks])}: {problems[lacks]}")
    if not choice.counted:
        raise WindowError(f"the recording has no zone of {covers}")
    value, low, high = (
        sum(getattr(gains[number], part) for number in choice.counted) for part in ("value", "low", "high")
    )
    model = bundle.manifest.power_model.get("name", "unnamed")
    source = f"modelled from CPU-seconds by the power model {model}" if modelled else f"RAPL, {covers}"
    note = note_on(zones, choice)
    accuracy = published(zones[choice.counted[0]])
    return Figure(value, "J", f"{source}; {note}" if note else source, low, high, accuracy=accuracy)


def _problem(counter: Counter, window: Span) -> str:
    """Return why a zone's counter does not carry the window; empty: it does."""
    begin = max(counter.first_tick, window.first - STILL_TICKS - 1)
    stop = min(len(window.recording.m_ns) - 1, window.last + STILL_TICKS + 1)
    moved = counter.ticks[(counter.ticks > begin) & (counter.ticks <= stop)]
    marks = np.concatenate([[begin], moved, [stop]])
    longest = int(np.diff(marks).max())
    if longest > STILL_TICKS:
        return f"stands still for {longest * window.recording.tick_seconds:.0f} s"
    if counter.ended is not None and counter.ended.tick < window.last:
        return "ends in it"
    if counter.wraps_at and (problem := _unsure_wraps(counter, window)):
        return problem
    return ""


def _unsure_wraps(counter: Counter, window: Span) -> str:
    """Return a problem where the recorder was silent for so long that a wrap may have gone unseen."""
    recording = window.recording
    total = counter.rise(window.first, window.last) * counter.scale
    pace = total / recording.seconds(window.first, window.last)
    silence = max((seconds for _, seconds in recording.gaps(window.first, window.last)), default=0.0)
    unsure = 2 * pace * silence > counter.wraps_at * counter.scale
    return f"may have wrapped unseen in a silence of {silence:.0f} s" if unsure else ""


def _readings(counter: Counter, window: Span) -> Iterator[tuple[float, float]]:
    """Yield (seconds, value) at every tick of the window, for a look at counters that move together."""
    m = window.recording.m_ns
    for tick in range(window.first, window.last + 1):
        reading = window.recording.reading(counter, tick)
        if reading is not None:
            yield int(m[tick]) / 1e9, reading.value * counter.scale


def _of_formula(bundle: Bundle, window: Span, counters: Sequence[Counter]) -> Figure:
    model, recording = bundle.manifest.power_model, window.recording
    told = _joules(bundle, window, counters, "package", "CPU packages")
    node = recording.node
    ticks = range(window.first, window.last + 1)
    rows = [(int(recording.m_ns[tick]) / 1e6, node.rise(window.first, tick) * node.scale) for tick in ticks]
    points = pl.DataFrame(rows, schema={"ts": pl.Float64, "value": pl.Float64}, orient="row")
    begin, end = rows[0][0], rows[-1][0]
    value, low, high = formula.joules(points, begin, end, model["points"], float(model.get("cpus", 0) or 1))
    scaled = window.seconds / ((end - begin) / 1000)
    value, low, high = value * scaled, low * scaled, high * scaled
    ratios = [float(part) for part in (told.value / value, told.low / high, told.high / low)]
    return Figure(ratios[0], "ratio", "modelled joules by the formula", ratios[1], ratios[2])


def _units(window: Span) -> Iterator[tuple[str, Figure | str]]:
    """Yield each unit with its CPU-seconds. One that was restarted has several counters."""
    by_name: dict[str, list[Counter]] = {}
    for counter in window.recording.of("unit"):
        by_name.setdefault(counter.name, []).append(counter)
    for name, counters in sorted(by_name.items()):
        yield name, _sum(counters, window, f"recorder, cgroup or processes of {name}")


def _sum(counters: Sequence[Counter], window: Span, source: str) -> Figure | str:
    return _or_reason(lambda: _figure(gained(counters, window, _cpu(window.recording)), CPU, source))


def _pods(window: Span, whole: Figure | str, services: Sequence[Figure]) -> Found:
    by_namespace: dict[str, list[Counter]] = {}
    for counter in window.recording.of("pod"):
        by_namespace.setdefault(counter.namespace or _UNKNOWN, []).append(counter)
    parts = {name: _sum(own, window, "recorder, cgroups of pods") for name, own in sorted(by_namespace.items())}
    for name, part in parts.items():
        if isinstance(part, str):
            yield f"cpu_seconds.{name}", part
    known = {name: part for name, part in parts.items() if isinstance(part, Figure)}
    parents = [counter for counter in window.recording.of("pods") if counter.name == "kubepods"]
    parent = _sum(parents, window, "recorder, the cgroup of all pods") if parents else "it has no cgroup of all pods"
    if len(known) < len(parts):
        return
    narrowed = within(known, parent) if isinstance(parent, Figure) else known
    for name, part in narrowed.items():
        yield f"cpu_seconds.{name}", part
    pods = _together(list(known.values()), "recorder, cgroups of pods")
    yield "cpu_seconds.pods", pods
    if isinstance(parent, str):
        yield "closure.pods_of_kubepods", parent
        return
    yield "cpu_seconds.kubepods", parent
    source = "kubepods' own counter less its pods"
    lost = Figure(parent.value - pods.value, CPU, source, parent.low - pods.high, parent.high - pods.low)
    yield "cpu_seconds.unseen_in_pods", lost
    yield "closure.pods_of_kubepods", _ratio(pods, parent, "pods by kubepods' own counter")
    if isinstance(whole, Figure):
        yield "closure.kubepods_of_node", _ratio(parent, whole, "kubepods' own counter by the node's")
        yield "check.cpu_lost_of_node", _signed(lost, whole)
        every = _together([parent, *services], "pods and services")
        yield "closure.attributed_of_node", _ratio(every, whole, "pods and services by the node's counter")


def _off_the_ends(bundle: Bundle, run: Run, window: Span) -> tuple[str, Figure]:
    """Return how far the ticks are from the ends as they were planned, both together."""
    planned = {edge.edge: edge.node_ms for edge in edges_of(bundle, run)}
    moved = abs(planned.get("start", run.t0_ms) - run.t0_ms) + abs(planned.get("end", run.t1_ms) - run.t1_ms)
    off = window.off_seconds + moved / 1000
    return "check.edge_error", Figure(off, "s", "the recorder's ticks, off the window's ends", off, off)


def _checks(window: Span) -> Found:
    recording, seconds = window.recording, window.seconds
    own = _sum(recording.of("self"), window, "recorder, its own cgroup or process")
    yield "check.meter_cost", _per_second(own, seconds, "CPU-seconds per s", "the meter's own processor time")
    if recording.of("steal"):
        stolen = _sum(recording.of("steal"), window, "stolen time by /proc/stat")
        yield "check.steal", _per_second(stolen, seconds * recording.cpus, "ratio", "stolen time, of the CPUs' time")
    unseen = float(sum(window.first < pod.tick <= window.last for pod in recording.unseen))
    yield "check.unseen_pods", Figure(unseen, "pods", "folders of logs without a cgroup", unseen, unseen)
    longest = max((length for _, length in recording.gaps(window.first, window.last)), default=recording.tick_seconds)
    yield "check.record_gap", Figure(longest, "s", "ticks of the recorder", longest, longest)


def _per_second(figure: Figure | str, whole: float, unit: str, source: str) -> Figure | str:
    if isinstance(figure, str):
        return figure
    return Figure(figure.value / whole, unit, source, figure.low / whole, figure.high / whole)


def _together(parts: Sequence[Figure], source: str) -> Figure:
    value, low, high = (float(sum(getattr(part, name) for part in parts)) for name in ("value", "low", "high"))
    return Figure(value, CPU, source, low, high)


def _ratio(part: Figure, whole: Figure, source: str) -> Figure | str:
    if whole.low <= 0:
        return "the whole may be nothing"
    return Figure(part.value / whole.value, "ratio", source, part.low / whole.high, part.high / whole.low)


def _signed(part: Figure, whole: Figure) -> Figure | str:
    if whole.low <= 0:
        return "the whole may be nothing"
    ends = [part.low / whole.low, part.low / whole.high, part.high / whole.low, part.high / whole.high]
    return Figure(part.value / whole.value, "ratio", f"{part.source}, by the node's", min(ends), max(ends))


def beside(record: Mapping[str, Figure | str], other: Found) -> Found:
    """Yield what another instrument says, as a ratio to the record where both tell the same outcome.

    An outcome that the record has is never replaced by another instrument's: its figure becomes a check, and so do
    its reasons.
    """
    for name, figure in other:
        if name not in record:
            yield name, figure
            continue
        check = f"{BESIDE}{name}"
        own = record[name]
        if name.startswith(("check.", "closure.")):
            continue
        if isinstance(figure, str) or isinstance(own, str):
            yield check, figure if isinstance(figure, str) else "the record does not tell it"
        elif own.low > 0:
            source = "scrapes, by the record"
            yield check, Figure(figure.value / own.value, "ratio", source, figure.low / own.high, figure.high / own.low)
