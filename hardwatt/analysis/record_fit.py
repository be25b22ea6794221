"""Recordings of a bundle against their windows, each other, and what a node's processors can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise

import numpy as np

from hardwatt.analysis import runlog
from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.recording import Recording
from hardwatt.core.errors import VerifyError
from hardwatt.instruments import node
from hardwatt.instruments.readings import READ_AT, edges_of, scraped
from hardwatt.instruments.recorded_window import at_ticks

Reasons = Iterator[tuple[str, str]]
FEWEST_STEPS = 8
"""So many equal steps of a counter, one after the other, are no coincidence."""
BEGAN_MS = 300
"""A window may begin so long before or after the moment that the log of its commits gives."""
LENGTH_SECONDS, LENGTH_DRIFT = 0.5, 0.0005
"""Boundaries are the planned length apart, but for a late moment and for what a clock may be slewed by."""
MOMENT_SECONDS = 0.005
"""The moment of a scrape's reading may be so far from the reading."""
SCRAPE_ERROR = 0.001
"""Rounding of a scrape and of the record together, in CPU-seconds."""


@dataclass(frozen=True)
class _Record:
    run: Run
    recording: Recording
    first: int
    last: int

    @property
    def m0(self) -> int:
        return int(self.recording.m_ns[self.first])

    @property
    def m1(self) -> int:
        return int(self.recording.m_ns[self.last])


def unlike_windows(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield runs that are not cut at the ticks of their own recording, or whose counter rises faster than possible."""
    for record in _records(bundle, runs):
        planned = {edge.edge: edge.node_ms for edge in edges_of(bundle, record.run)}
        if len(planned) == 2:
            length, wished = (planned["end"] - planned["start"]) / 1000, bundle.plan.window_seconds
            if abs(length - wished) > LENGTH_SECONDS + LENGTH_DRIFT * wished:
                yield record.run.run_id, f"its boundaries are {length:.2f} s apart, the planned window is {wished:g} s"
            wanted = at_ticks(record.recording, planned["start"], planned["end"])
            if wanted != (record.run.t0_ms, record.run.t1_ms):
                yield record.run.run_id, "its window is not cut at the recorder's ticks nearest to its boundaries"
        if (tick := _too_fast(record)) is not None:
            moment = (int(record.recording.m_ns[tick]) - record.m0) / 1e9
            yield record.run.run_id, f"its record rises faster than the processors can, {moment:.0f} s into the window"


def _records(bundle: Bundle, runs: Sequence[Run]) -> list[_Record]:
    records = []
    for run in sorted(runs, key=lambda run: run.t0_ms):
        try:
            recording = bundle.recording(run.run_id)
        except VerifyError:
            continue
        if recording is not None:
            first, last = (recording.nearest(moment) for moment in (run.t0_ms, run.t1_ms))
            records.append(_Record(run, recording, first, last))
    return records


def _too_fast(record: _Record) -> int | None:
    """Return the tick at which the node's counter has gained more than its processors can; None: none."""
    recording = record.recording
    if len(recording.of("node")) != 1:
        return None
    counter = recording.node
    slack = (counter.granularity + 2 * counter.error) * counter.scale
    ticks = range(max(record.first - 1, counter.first_tick), min(record.last + 2, len(recording.m_ns)))
    for before, after in pairwise(ticks):
        earlier, later = recording.reading(counter, before), recording.reading(counter, after)
        if earlier is None or later is None:
            continue
        seconds = (later.latest_ns - earlier.earliest_ns) / 1e9
        most = recording.cpus * seconds + slack + int(recording.missed_ns[before]) / 1e9
        if counter.rise(before, after) * counter.scale > most:
            return after
    return None


def unlike_boots(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield runs of another boot of the node than those around them, or out of the order of its monotonic clock."""
    records = _records(bundle, runs)
    stretches = [(boot, list(part)) for boot, part in groupby(records, key=lambda record: record.recording.boot)]
    sizes = Counter(record.recording.boot for record in records)
    came_back = {boot for boot, count in Counter(boot for boot, _ in stretches).items() if count > 1}
    for place, (boot, part) in enumerate(stretches):
        around = {stretches[other][0] for other in (place - 1, place + 1) if 0 <= other < len(stretches)}
        between = around & came_back
        if between and any(sizes[other] >= sizes[boot] for other in between):
            yield from ((record.run.run_id, "its record is of another boot of the node") for record in part)
    for block in {record.run.block for record in records}:
        pair = [record for record in records if record.run.block == block]
        if len({record.recording.boot for record in pair}) > 1:
            yield from ((record.run.run_id, "the runs of its block are of two boots of the node") for record in pair)
    for first, second in combinations(records, 2):
        if first.recording.boot == second.recording.boot and second.m0 < first.m1:
            reason = "by the node's monotonic clock its window does not lie after the one before"
            yield first.run.run_id, reason
            yield second.run.run_id, reason


def repeated_readings(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield the runs whose counter took the very steps that another run's took: one is a copy of the other."""
    by_steps: dict[tuple[float, ...], list[Run]] = {}
    recorded = {record.run.run_id: record for record in _records(bundle, runs)}
    for run in runs:
        steps = _steps_recorded(recorded[run.run_id]) if run.run_id in recorded else _steps_scraped(bundle, run)
        if len(steps) >= FEWEST_STEPS and len(set(steps)) > FEWEST_STEPS // 2:
            by_steps.setdefault(steps, []).append(run)
    for same in by_steps.values():
        for run in same if len(same) > 1 else ():
            others = ", ".join(other.run_id for other in same if other is not run)
            yield run.run_id, f"its readings are those of {others}"


def _steps_recorded(record: _Record) -> tuple[float, ...]:
    if len(record.recording.of("node")) != 1:
        return ()
    counter = record.recording.node
    ticks = range(max(record.first, counter.first_tick), record.last + 1)
    return tuple(float(counter.rise(before, after)) for before, after in pairwise(ticks))


def _steps_scraped(bundle: Bundle, run: Run) -> tuple[float, ...]:
    samples = scraped(bundle, run, node.CPU).filter(pl.col("ts").is_between(run.t0_ms, run.t1_ms)).sort("ts")
    return tuple(round(step, 6) for step in samples["value"].diff().drop_nulls().to_list())


def unlike_begun(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield the runs whose boundaries lie elsewhere than the log of their commits has them."""
    for run in runs:
        start = next((edge for edge in edges_of(bundle, run) if edge.edge == "start"), None)
        if start is None:
            continue
        for commit in runlog.read(bundle, run).get("commits", []):
            try:
                begun = commit["started_ms"] - 1000 * (commit["planned_seconds"] + commit["late_seconds"])
            except (KeyError, TypeError):
                continue
            if not -BEGAN_MS <= begun - start.requested_ms <= BEGAN_MS:
                away = (begun - start.requested_ms) / 1000
                yield run.run_id, f"by the log of its commits its window began {away:+.2f} s from its boundary"
                break


def unlike_scrapes(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Yield the runs whose scrapes hold another course of the node's counter than their record.

    A scrape that tells the moment of its reading lies between the ticks around it. Both may count from different
    starts, so the distance has to be one number that every scrape allows.
    """
    for record in _records(bundle, runs):
        if record.recording.node_kind == "machine-cgroup" and len(record.recording.of("node")) == 1:
            apart = _apart(record, _scrapes(bundle, record.run))
            if apart > SCRAPE_ERROR:
                yield record.run.run_id, f"its scrapes and its record differ by {apart:.3f} CPU-seconds at least"


def _scrapes(bundle: Bundle, run: Run) -> list[tuple[float, float]]:
    """Return (moment of reading in seconds, value) of each scrape of the node's counter."""
    moments = scraped(bundle, run, READ_AT).select("ts", at="value")
    samples = scraped(bundle, run, node.CPU).select("ts", "value").join(moments, on="ts", how="inner")
    return [(row["at"], row["value"]) for row in samples.sort("at").iter_rows(named=True)]


def _apart(record: _Record, scrapes: Sequence[tuple[float, float]]) -> float:
    """Return by how much scrapes and record contradict each other at least, in CPU-seconds; below zero: not at all."""
    recording, counter = record.recording, record.recording.node
    starts, ends = recording.t_ns / 1e9, (recording.t_ns + recording.span_ns) / 1e9
    least, most = -float("inf"), float("inf")
    for at, value in scrapes:
        before = int(np.searchsorted(ends, at - MOMENT_SECONDS, side="right")) - 1
        after = int(np.searchsorted(starts, at + MOMENT_SECONDS, side="left"))
        if before < counter.first_tick or after >= len(starts):
            continue
        low, high = (counter.rise(counter.first_tick, tick) * counter.scale for tick in (before, after))
        least, most = max(least, value - high), min(most, value - low)
    return least - most


def unlike_summaries(bundle: Bundle) -> Iterator[str]:
    """Yield what the manifest says of recordings and they do not hold."""
    declared = bundle.manifest.host.get("cpus")
    for run_id, entry in bundle.manifest.recordings.items():
        recording = bundle.recording(run_id)
        if recording is None:
            continue
        summary = recording.summary()
        other = [key for key, value in entry.model_dump().items() if key in summary and summary[key] != value]
        if other:
            yield f"the manifest has another {other[0]} of the recording of {run_id} than its file"
        if isinstance(declared, (int, float)) and recording.cpus != declared:
            yield f"the manifest has {declared:g} CPUs, the recording of {run_id} {recording.cpus}"
