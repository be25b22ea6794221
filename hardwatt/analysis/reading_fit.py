"""Readings of a bundle against each other: boundaries, samples, untouched answers, the engine's log.

A counter of the node rises from the first window to the last, the boundaries were read when the window began and
ended, and samples are those of the untouched answers. What contradicts that was not measured in this run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from hardwatt.analysis import runlog
from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Edge, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import VerifyError
from hardwatt.instruments import node
from hardwatt.instruments.readings import READ_AT, counters, edges_of, scraped
from hardwatt.instruments.recorded_window import APART

Reasons = Iterator[tuple[str, str]]
BOUNDARY_SECONDS = 0.25
"""The window's ends are the moments at which its boundaries were read: two ticks of the meter, and a slow reply."""
READING_SECONDS = 0.5
"""A reading at a boundary may be so old: some ticks of the meter."""
LOG_TOLERANCE_MS = 2
"""Times of the log and of the tables are whole milliseconds of two clocks."""
SCRAPES_TIMES = 2.0
"""The declared scrape interval may be so many times the measured one."""
CHECKED = (node.CPU, READ_AT, node.JOULES)
"""Samples that are compared with the untouched answers: those that the primary figures follow from."""
_CPUS, _INFO = "hardwatt_node_cpus", "hardwatt_meter_info"


def contradictions(bundle: Bundle) -> Iterator[str]:
    """Yield what the manifest says otherwise than the readings."""
    declared = bundle.manifest.host.get("cpus")
    counted = sorted({edge.values[_CPUS] for edge in bundle.edges if _CPUS in edge.values})
    if counted and isinstance(declared, (int, float)) and counted != [float(declared)]:
        yield f"the manifest has {declared:g} CPUs, the meter counted {', '.join(f'{count:g}' for count in counted)}"
    sources = {
        source
        for edge in bundle.edges
        for series in edge.values
        if series.startswith(_INFO) and (source := labels_of(series).get("source"))
    }
    if sources and sources != {bundle.manifest.source}:
        yield f"the manifest has the source {bundle.manifest.source}, the meter {', '.join(sorted(sources))}"
    interval, scrapes = bundle.manifest.host.get("scrape_seconds"), _interval(bundle)
    if isinstance(interval, (int, float)) and scrapes and interval > SCRAPES_TIMES * scrapes:
        yield f"the manifest has a scrape interval of {interval:g} s, the samples one of {scrapes:.3g} s"


def _interval(bundle: Bundle) -> float | None:
    """Return the median interval between two samples of the node's counter, in seconds."""
    for run in bundle.runs:
        times = scraped(bundle, run, node.CPU)["ts"].sort()
        if run.status == "done" and times.len() > 1:
            median: Any = times.diff().drop_nulls().median()
            return float(median) / 1000
    return None


def unlike_readings(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield the runs whose readings contradict each other, each with its reasons."""
    with_edges = any(edges_of(bundle, run) for run in runs)
    lacking = {metric: _without(bundle, runs, metric) for metric in (node.CPU, READ_AT)}
    keys = _usual_keys(bundle, runs)
    recorded = bundle.manifest.recordings
    for run in runs:
        if recorded and run.run_id not in recorded:
            yield run.run_id, "it has no recording, other runs do"
        if with_edges:
            tick = tick_seconds(bundle, run)
            yield from ((run.run_id, reason) for reason in _boundaries(run, edges_of(bundle, run), tick))
        for metric, without in lacking.items():
            if run.run_id in without and not (run.run_id in recorded and _without_dump(bundle, run)):
                yield run.run_id, f"it has no samples of {metric}, other runs do"
        for metric in CHECKED:
            if _unlike_raw(bundle, run, metric):
                yield run.run_id, f"its samples of {metric} are not those of the untouched answers"
        yield from ((run.run_id, reason) for reason in _unlike_log(bundle, run, keys))


def _without_dump(bundle: Bundle, run: Run) -> bool:
    """Return True if Prometheus did not run: the record is what the figures of a run are made of."""
    return not any(name.startswith("samples/") and f"/run={run.run_id}/" in name for name in bundle.manifest.files)


def _without(bundle: Bundle, runs: Sequence[Run], metric: str) -> set[str]:
    """Return the runs without samples of *metric*; none where no run has any."""
    empty = {run.run_id for run in runs if scraped(bundle, run, metric).is_empty()}
    return set() if len(empty) == len(runs) else empty


def tick_seconds(bundle: Bundle, run: Run) -> float:
    """Return the interval of the recorder that cut a run's window; 0 where the run has no recording."""
    entry = bundle.manifest.recordings.get(run.run_id)
    return 0.0 if entry is None else entry.tick_seconds


def _boundaries(run: Run, edges: Sequence[Edge], tick: float) -> Iterator[str]:
    """Compare a window's ends with the readings there; one that was cut at ticks may be as far off as a record may."""
    ends = {"start": run.t0_ms, "end": run.t1_ms}
    read = {edge.edge: edge for edge in edges}
    for name, moment in ends.items():
        if name not in read:
            yield f"its counters were not read at its {name}, those of other runs were"
            continue
        edge = read[name]
        away = abs(edge.node_ms - moment) / 1000
        if away > max(BOUNDARY_SECONDS, APART * tick):
            yield f"its {name} lies {away:.2f} s from the reading there"
        own = abs(edge.values.get(READ_AT, moment / 1000) - moment / 1000)
        if own > max(READING_SECONDS, APART * tick):
            yield f"the meter read the counters of its {name} {own:.2f} s away from it"
        if edge.replied_ms - edge.requested_ms > 1000 * READING_SECONDS:
            yield f"the reading at its {name} took {(edge.replied_ms - edge.requested_ms) / 1000:.2f} s"


def _unlike_raw(bundle: Bundle, run: Run, metric: str) -> bool:
    """Return True if the samples of a metric are not those of the untouched answers, where these are kept."""
    prefix = f"raw/{run.run_id}/{metric}."
    if not any(name.startswith(prefix) for name in bundle.manifest.files):
        return False
    kept: set[tuple[str, int, float]] = set()
    try:
        for body in bundle.raw(run.run_id, metric):
            for series in json.loads(body.body)["data"]["result"]:
                labels = json.dumps(series["metric"], sort_keys=True)
                kept |= {(labels, round(1000 * float(at)), float(value)) for at, value in series["values"]}
    except (ValueError, KeyError, TypeError, VerifyError):
        return True
    names = {number: json.dumps(labels, sort_keys=True) for number, labels in bundle.series.items()}
    frame = bundle.samples(metric, run.run_id).select("series_id", "ts", "value").collect()
    frame = frame.filter(pl.col("value").is_finite())
    stored = {(names.get(number, ""), ts, value) for number, ts, value in frame.iter_rows()}
    return stored != {sample for sample in kept if abs(sample[2]) < float("inf")}


def _usual_keys(bundle: Bundle, runs: Sequence[Run]) -> dict[str, frozenset[str]]:
    """Return arm -> keys under which most of its runs fetched from the git server."""
    by_arm: dict[str, Counter[frozenset[str]]] = {}
    for run in runs:
        if (keys := _keys(bundle, run)) is not None:
            by_arm.setdefault(run.arm, Counter())[keys] += 1
    return {
        arm: keys
        for arm, counted in by_arm.items()
        for keys, count in counted.most_common(1)
        if 2 * count > sum(counted.values())
    }


def _keys(bundle: Bundle, run: Run) -> frozenset[str] | None:
    """Return the keys of a run's fetches; None where the log has none."""
    notes = runlog.read(bundle, run)
    return frozenset(str(fetch.get("key", "")) for fetch in notes["fetches"]) if notes.get("fetches") else None


def _unlike_log(bundle: Bundle, run: Run, usual: Mapping[str, frozenset[str]]) -> Iterator[str]:
    notes = runlog.read(bundle, run)
    if not notes:
        return
    if notes.get("run_id", run.run_id) != run.run_id:
        yield f"its log is of the run {notes['run_id']}"
    planned = next((row.model_extra or {} for row in bundle.plan.runs if row.run_id == run.run_id), {})
    if "phase_seconds" in planned and notes.get("phase_seconds", planned["phase_seconds"]) != planned["phase_seconds"]:
        yield "its log has another seeded delay than the plan"
    commits = {str(commit.get("revision")): commit for commit in notes.get("commits", [])}
    offsets = [commit.get("planned_seconds") for commit in commits.values()]
    if "offsets" in planned and commits and offsets != list(planned["offsets"]):
        yield "its log has another trace of commits than the plan"
    if _other_times(bundle, run, notes, commits):
        yield "its deliveries table has other times than its log"
    keys = _keys(bundle, run)
    others = {arm for arm, their in usual.items() if their == keys and arm != run.arm}
    if keys is not None and run.arm in usual and usual[run.arm] != keys and others:
        yield f"it fetched as the arm {' or '.join(sorted(others))} does, not as {run.arm}"


def _other_times(bundle: Bundle, run: Run, notes: Mapping[str, Any], commits: Mapping[str, Any]) -> bool:
    offset, ready = notes.get("clock_offset_ms"), notes.get("ready_ms", {})
    if not commits or offset is None:
        return False
    for row in bundle.deliveries:
        if row.run_id != run.run_id or row.revision not in commits:
            continue
        told = [(row.committed_ms, commits[row.revision]["pushed_ms"])]
        told += [(row.ready_ms, ready[row.revision])] if row.ready_ms is not None and row.revision in ready else []
        if any(abs(at - offset - logged) > LOG_TOLERANCE_MS for at, logged in told):
            return True
    return False


def impossible_between(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield the runs between which the node's counter fell, or rose faster than its processors can."""
    spans = [(run, span) for run in sorted(runs, key=lambda run: run.t0_ms) if (span := _span(bundle, run))]
    most = node.cpus(bundle)
    conflicts = [(a, b) for a, b in combinations(range(len(spans)), 2) if _impossible(spans[a][1], spans[b][1], most)]
    for number in worst(conflicts):
        yield (
            spans[number][0].run_id,
            f"its {node.CPU} does not continue that of the other runs: it was not measured between them",
        )


Span = tuple[float, float, float, float]
"""Moment and value of a counter at the start of a window, then at its end; seconds."""


def _span(bundle: Bundle, run: Run) -> Span | None:
    if bundle.manifest.recordings:
        return _recorded_span(bundle, run)
    own = counters(bundle, run, node.CPU, moment=READ_AT)
    if len(own) != 1:
        return None
    near = own[0].points.filter(pl.col("ts").is_between(run.t0_ms - 500, run.t1_ms + 500)).sort("ts", "value")
    if near.height < 2:
        return None
    first, last = near.row(0, named=True), near.row(-1, named=True)
    return first["ts"] / 1000, first["value"], last["ts"] / 1000, last["value"]


def _recorded_span(bundle: Bundle, run: Run) -> Span | None:
    try:
        recording = bundle.recording(run.run_id)
        counter = None if recording is None else recording.node
    except VerifyError:
        return None
    if recording is None or counter is None:
        return None
    ends = []
    for moment in (run.t0_ms, run.t1_ms):
        tick = recording.nearest(moment)
        reading = recording.reading(counter, tick)
        if reading is None:
            return None
        ends += [int(recording.t_ns[tick]) / 1e9, reading.value * counter.scale]
    return ends[0], ends[1], ends[2], ends[3]


def _impossible(before: Span, after: Span, most: float) -> bool:
    """Return True if a counter cannot have gone from the one window to the other, with or without a fresh start."""
    seconds = max(0.0, after[0] - before[2]) + 1.0
    fresh = after[1] <= most * seconds
    rise = after[1] - before[3]
    return not fresh and not 0 <= rise <= most * seconds


def worst(conflicts: Sequence[tuple[int, int]]) -> list[int]:
    """Return whom to leave out so that no conflict is left: the most involved first; of equals, all."""
    left, gone = list(conflicts), []
    while left:
        counted = Counter(number for pair in left for number in pair)
        most = max(counted.values())
        out = sorted(number for number, count in counted.items() if count == most)
        gone += out
        left = [pair for pair in left if not set(pair) & set(out)]
    return gone
