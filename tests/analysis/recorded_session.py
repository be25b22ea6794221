"""A session as the engine stores it, with recordings: plan, logs, boundaries, deliveries and scrapes agree."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardwatt.bundle import recording_file
from hardwatt.bundle.model import Delivery, Edge, Provenance, Run, SeriesSamples
from hardwatt.bundle.writer import Writer
from hardwatt.config.settings import ROOT
from hardwatt.core.files import write_json
from hardwatt.experiment.plan.run_table import Row, RunTable, make_session
from hardwatt.experiment.plan.study_file import load_study
from hardwatt.instruments.node import CPU
from hardwatt.instruments.readings import READ_AT
from hardwatt.instruments.recorded_window import at_ticks
from hardwatt.testing.recorded_node import T0_NS, RecordedNode

PAIRS, BEFORE, BETWEEN = 3, 20, 25
LEVEL_NS = 1_000_000_000_000
"""The node's counter at the start: a thousand CPU-seconds."""
CLOCK_MS = 3
"""The node's clock is ahead of the controller's."""
Line = dict[str, Any]


def make_recorded(folder: Path, *, session: int = 7, boot: str = "boot-1") -> Path:
    """Write a finished session of ``push-vs-pull`` and return its folder."""
    study = load_study(ROOT, "push-vs-pull")
    plan = make_session(study, session=session, pairs=PAIRS, code={"experiments/arms/push.py": "0" * 64})
    length = int(study.estimand.window_seconds)
    starts = {row.run_id: BEFORE + number * (length + BETWEEN) for number, row in enumerate(plan.rows)}
    folder.mkdir(parents=True)
    recording = _recording(folder, plan, starts, length, boot)
    facts = {"cpus": 2, "kind": "embedded"}
    about = Provenance(
        plan.seed, "modelled", "t", "", False, host=facts, protocol_sha256=plan.protocol_sha256, session=session
    )
    writer = Writer.create(folder / "bundle", plan.to_dict(), about)
    for row in plan.rows:
        _store(writer, row, recording, starts[row.run_id], length)
    writer.finish()
    return folder / "bundle"


def _recording(folder: Path, plan: RunTable, starts: dict[str, int], length: int, boot: str) -> Path:
    node = RecordedNode(folder / "recorder", boot=boot)
    node.values["node", "node"] = LEVEL_NS
    draw = np.random.default_rng(plan.seed)
    last = max(starts.values()) + length + BEFORE
    for second in range(last):
        running = [row for row in plan.rows if starts[row.run_id] - 3 <= second <= starts[row.run_id] + length + 3]
        busy = int(draw.integers(200_000_000, 420_000_000))
        node.values["node", "node"] += busy
        for pod in [key for key in node.values if key[0] == "pod"] if not running else ():
            node.end(*pod)
        for row in running:
            space, name = ("ci", "runner-1") if row.arm == "push" else ("flux-system", "source-controller-1")
            key = ("pod", f"uid-{row.run_id}")
            node.more[key] = {"namespace": space, "pod": name, "from_zero": True}
            node.values[key] = node.values.get(key, 0) + busy // 5
        node.tick()
    return folder / "recorder"


def _store(writer: Writer, row: Row, recording: Path, start: int, length: int) -> None:
    """Store one run; its planned window begins 0.3 s after a tick."""
    begin = round((T0_NS + (5 + start) * 1_000_000_000) / 1e6) + 300
    until = begin + 1000 * length
    t0, t1 = at_ticks(recording_file.read(recording), begin, until)
    lines = recording_file.cut([recording], t0 - 5000, t1 + 5000)
    writer.add_recording(row.run_id, lines)
    _scrapes(writer, row.run_id, recording, t0, t1)
    for edge, moment in (("start", begin), ("end", until)):
        asked = moment - CLOCK_MS
        writer.add_edge(Edge(row.run_id, edge, asked, asked, moment, {}))  # type: ignore[arg-type]
    commits, ready, fetches, deliveries = [], {}, [], []
    for index, offset in enumerate(row.offsets):
        revision = f"{row.run_id}.{index + 1}"
        started = begin - CLOCK_MS + round(1000 * offset)
        pushed, done = started + 200, started + 4200
        commits.append({
            "index": index, "revision": revision, "sha": "", "planned_seconds": offset, "started_ms": started,
            "pushed_ms": pushed, "late_seconds": 0.0,
        })  # fmt: skip
        ready[revision] = done
        fetches.append({"key": "runner" if row.arm == "push" else "flux", "repository": "workload", "time": ""})
        deliveries.append(Delivery(row.run_id, index, revision, pushed + CLOCK_MS, done + CLOCK_MS, "ready"))
    writer.add_deliveries(row.run_id, deliveries)
    log = {
        "run_id": row.run_id, "phase_seconds": row.phase_seconds, "clock_offset_ms": CLOCK_MS, "commits": commits,
        "ready_ms": ready, "fetches": fetches,
    }  # fmt: skip
    write_json(writer.path / "log" / f"{row.run_id}.json", log)
    count = len(deliveries)
    writer.add_run(Run(row.run_id, row.block, row.position, row.arm, 0, "done", "", t0, t1, (), count, count))


def _scrapes(writer: Writer, run_id: str, recording: Path, t0: int, t1: int) -> None:
    """Prometheus scrapes each fifteen seconds; the meter read the counter 0.1 s after a tick, and said so."""
    record = recording_file.read(recording)
    counter = record.node
    ticks = [record.nearest(moment) for moment in range(t0 - 5000, t1 + 5001, 5000)]
    at = np.array([round(int(record.t_ns[tick]) / 1e6) + 400 for tick in ticks], dtype=np.int64)
    read = np.array([int(record.t_ns[tick]) / 1e9 + 0.1 for tick in ticks])
    first, scale = LEVEL_NS * counter.scale, counter.scale
    rises = [(counter.rise(0, tick), counter.rise(tick, tick + 1)) for tick in ticks]
    values = np.array([first + (rise + 0.1 * step) * scale for rise, step in rises])
    labels = {"instance": "node:9100", "job": "meter"}
    writer.add_samples(run_id, CPU, [SeriesSamples({"__name__": CPU, **labels}, at, values)])
    writer.add_samples(run_id, READ_AT, [SeriesSamples({"__name__": READ_AT, **labels}, at, read)])


def edited(packed: bytes, change: Callable[[list[Line]], list[Line]]) -> bytes:
    """Return a recording's lines after a change, each with its checksum renewed."""
    lines = [json.loads(raw[9:]) for raw in packed.splitlines()]
    out = []
    for line in change(lines):
        text = json.dumps(line, separators=(",", ":")).encode()
        out.append(b"%08x %s\n" % (zlib.crc32(text), text))
    return b"".join(out)
