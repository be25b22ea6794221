"""The recorder: the primary record of a run's counters, and every figure that it gives.

Each figure is what a counter rose by between the ticks nearest to the window's ends, for exactly the window's length.
Whoever else looked (scrapes, Kepler) is a further instrument; ``beside`` shows how far it is from the record.
"""

from collections.abc import Mapping
from dataclasses import replace

from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments.crosschecks import BESIDE
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.interface import Found
from hardwatt.instruments.node import GIT_UNIT
from hardwatt.instruments.readings import edges_of
from hardwatt.instruments.recorded_energy import energy
from hardwatt.instruments.recorded_figures import CPU, cpu_limits, figure_of, or_reason, per_second, summed
from hardwatt.instruments.recorded_pods import pods as pods_of
from hardwatt.instruments.recorded_pods import units as units_of
from hardwatt.instruments.recorded_watching import outside, watching
from hardwatt.instruments.recorded_window import Gain, Span, gained, span
from hardwatt.instruments.windows import WindowError

LATE_SECONDS = 1.5
"""The ticks at a window's ends may make it so much longer or shorter than it was planned."""
SOURCES: Mapping[str, str] = {
    "machine-cgroup": "the machine's own cgroup",
    "cgroup-v1-root": "the root cgroup, version 1",
    "schedstat": "/proc/schedstat",
    "procstat": "/proc/stat, sampled at clock ticks",
}
"""The source of the node's CPU time, in words."""


def figures(bundle: Bundle, run: Run) -> Found:
    """Yield every figure of a run from its recording; nothing where the bundle has none of it.

    The estimate is that of the window at the recorder's ticks. Where the ends were planned elsewhere, its bounds hold
    the planned window too: what was gained between an end and its tick is not known.
    """
    recording = bundle.recording(run.run_id)
    if recording is None:
        return
    try:
        window = span(recording, run.t0_ms, run.t1_ms)
        planned = _planned(bundle, run, window)
    except WindowError as error:
        yield "node_cpu_seconds", error.reason
        yield "node_joules", error.reason
        return
    length = bundle.plan.window_seconds
    around = dict(_additive(bundle, planned)) if planned is not None else {}
    for name, figure in _of_window(bundle, run, window):
        figure = _for_length(figure, window.seconds, length)
        if planned is not None and name in around:
            figure = _with(figure, _for_length(around[name], planned.seconds, length))
        yield name, figure


def _planned(bundle: Bundle, run: Run, window: Span) -> Span | None:
    """Return the window as it was planned, where its ends are not those at which it was cut."""
    ends = {edge.edge: edge.node_ms for edge in edges_of(bundle, run)}
    t0, t1 = ends.get("start", run.t0_ms), ends.get("end", run.t1_ms)
    return None if (t0, t1) == (run.t0_ms, run.t1_ms) else span(window.recording, t0, t1)


def _with(figure: Figure | str, planned: Figure | str) -> Figure | str:
    """Return a figure whose bounds hold those of the planned window."""
    if isinstance(figure, str) or isinstance(planned, str) or figure.unit not in (CPU, "J"):
        return figure
    return replace(figure, low=min(figure.low, planned.low), high=max(figure.high, planned.high))


def _for_length(figure: Figure | str, seconds: float, planned: float) -> Figure | str:
    """Return a figure of a window of so many seconds for the length that was planned: ticks may be late by a moment."""
    if isinstance(figure, str) or figure.unit not in (CPU, "J") or abs(seconds - planned) > LATE_SECONDS:
        return figure
    value, low, high = (part * planned / seconds for part in (figure.value, figure.low, figure.high))
    return replace(figure, value=value, low=low, high=high)


def _additive(bundle: Bundle, window: Span) -> Found:
    """Yield the figures that a longer window has more of."""
    whole = or_reason(lambda: node_cpu_seconds(bundle, window))
    yield "node_cpu_seconds", whole
    yield from energy(bundle, window)
    units = dict(_unit_outcomes(window))
    yield from units.items()
    yield from pods_of(window, whole, [figure for figure in units.values() if isinstance(figure, Figure)])
    yield from watching(window)
    yield from outside(window, whole)


def _unit_outcomes(window: Span) -> Found:
    units = dict(units_of(window))
    yield "git_cpu_seconds", units.pop(GIT_UNIT, "the recording has no unit of the git server")
    for unit, figure in units.items():
        yield f"{unit.removesuffix('.service')}_cpu_seconds", figure


def _of_window(bundle: Bundle, run: Run, window: Span) -> Found:
    yield from _additive(bundle, window)
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
    gain = gained(counters, window, cpu_limits(recording))
    if parts := recording.of("node_low"):
        least = gained(parts, window, cpu_limits(recording)).low
        gain = Gain(gain.value, max(gain.low, min(least, gain.value)), gain.high)
    return figure_of(gain, CPU, f"recorder, {SOURCES.get(recording.node_kind, recording.node_kind)}")


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


def _off_the_ends(bundle: Bundle, run: Run, window: Span) -> tuple[str, Figure]:
    """Return how far the ticks are from the ends as they were planned, both together."""
    planned = {edge.edge: edge.node_ms for edge in edges_of(bundle, run)}
    moved = abs(planned.get("start", run.t0_ms) - run.t0_ms) + abs(planned.get("end", run.t1_ms) - run.t1_ms)
    off = window.off_seconds + moved / 1000
    return "check.edge_error", Figure(off, "s", "the recorder's ticks, off the window's ends", off, off)


def _checks(window: Span) -> Found:
    recording, seconds = window.recording, window.seconds
    own = summed(recording.of("self"), window, "recorder, its own cgroup or process")
    yield "check.meter_cost", per_second(own, seconds, "CPU-seconds per s", "the meter's own processor time")
    if recording.of("steal"):
        stolen = summed(recording.of("steal"), window, "stolen time by /proc/stat")
        yield "check.steal", per_second(stolen, seconds * recording.cpus, "ratio", "stolen time, of the CPUs' time")
    unseen = float(sum(window.first < pod.tick <= window.last for pod in recording.unseen))
    yield "check.unseen_pods", Figure(unseen, "pods", "folders of logs without a cgroup", unseen, unseen)
    longest = max((length for _, length in recording.gaps(window.first, window.last)), default=recording.tick_seconds)
    yield "check.record_gap", Figure(longest, "s", "ticks of the recorder", longest, longest)


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
