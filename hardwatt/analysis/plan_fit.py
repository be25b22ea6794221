"""The runs of a bundle, held against its plan and against each other.

`misfits` names every run that does not fit, with the reason: the analysis excludes it. What concerns the whole bundle
(two copies of a table that differ, a run that is listed twice, two seeds) refuses the bundle.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from hardwatt.analysis import arm_evidence, drawn, reading_fit, record_fit
from hardwatt.bundle import tables
from hardwatt.bundle.manifest import PlannedRun
from hardwatt.bundle.model import Run
from hardwatt.bundle.protocol import protocol_sha256
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import VerifyError
from hardwatt.instruments.readings import edges_of

LENGTH_TOLERANCE = 0.01
"""Of the planned length: a window that is off by more is not the planned one. The engine's own rule."""
LENGTH_TOLERANCE_SECONDS = 0.5
TICKS_LONGER = 1.5
"""A window that is cut at the recorder's ticks may be so many of them longer or shorter."""
EARLY_SECONDS = 0.2
"""A commit cannot have been pushed before its time; the two clocks may differ by so much."""
_AGAIN = "copy the bundle again from where it was made"
Reasons = Iterator[tuple[str, str]]
"""Run id and reason."""


def imported(bundle: Bundle) -> bool:
    """Return True if a person gave the windows: their lengths are not planned, and nothing else is."""
    return bundle.manifest.host.get("kind") in ("import", "dump")


def refuse_contradictions(bundle: Bundle) -> None:
    """Raise `VerifyError` where the bundle contradicts itself as a whole."""
    problems = [*_unlike_copies(bundle), *_twice(bundle), *_unlike_plans(bundle), *drawn.unlike_draws(bundle)]
    problems += [*reading_fit.contradictions(bundle), *record_fit.unlike_summaries(bundle)]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems[:20])
        raise VerifyError(f"the bundle {bundle.path} contradicts itself:\n{lines}", hint=_AGAIN)


def misfits(bundle: Bundle) -> dict[str, str]:
    """Return run id -> why the run does not fit the plan, the other runs or its own readings; reasons by semicolon."""
    reasons: dict[str, list[str]] = {}

    def add(rows: Iterable[tuple[str, str]]) -> list[Run]:
        for run_id, reason in rows:
            reasons.setdefault(run_id, []).append(reason)
        return [run for run in done if run.run_id not in reasons]

    done = [run for run in bundle.runs if run.status == "done"]
    rest = add(_not_as_planned(bundle, done))
    rest = add(_unjustified_repeats(bundle, rest))
    rest = add(drawn.unlike_repeats(bundle, rest))
    if not imported(bundle):
        rest = add(_lengths(bundle, rest))
    rest = add(_deliveries(bundle, rest))
    rest = add(reading_fit.unlike_readings(bundle, rest))
    if not imported(bundle):
        rest = add(record_fit.unlike_begun(bundle, rest))
        rest = add(record_fit.unlike_windows(bundle, rest))
        rest = add(record_fit.unlike_scrapes(bundle, rest))
        rest = add(arm_evidence.unlike_arms(bundle, rest))
    rest = add(_overlaps(rest))
    rest = add(record_fit.repeated_readings(bundle, rest))
    rest = add(record_fit.unlike_boots(bundle, rest))
    rest = add(_out_of_order(bundle, rest))
    add(reading_fit.impossible_between(bundle, rest))
    return {run_id: "; ".join(texts) for run_id, texts in reasons.items()}


def missing(bundle: Bundle) -> list[PlannedRun]:
    """Return the planned runs that the runs table lacks, though no run of their block failed."""
    present = {run.run_id for run in bundle.runs} | set(bundle.manifest.discarded)
    failed = {run.block for run in bundle.runs if run.status == "failed"}
    return [row for row in bundle.plan.runs if row.run_id not in present and row.block not in failed]


def _unlike_copies(bundle: Bundle) -> Iterator[str]:
    for name, frame in (
        ("runs", tables.runs_frame(bundle.runs)),
        ("deliveries", tables.deliveries_frame(bundle.deliveries)),
    ):
        file = f"{name}.csv"
        if file not in bundle.manifest.files:
            continue
        ours = _rows(frame.write_csv())
        theirs = _rows((bundle.path / file).read_text(encoding="utf-8"))
        if ours != theirs:
            differing = next((k for k, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
            place = "they have different numbers of rows" if differing is None else f"row {differing} is the first"
            yield f"{file} and {name}.parquet differ: {place}"


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def _twice(bundle: Bundle) -> Iterator[str]:
    for run_id, count in Counter(run.run_id for run in bundle.runs).items():
        if count > 1:
            yield f"the runs table lists {run_id} {count} times"
    for (run_id, index), count in Counter((row.run_id, row.index) for row in bundle.deliveries).items():
        if count > 1:
            yield f"the deliveries table lists commit {index} of {run_id} {count} times"
    for key in ("position", "arm"):
        for (block, _), count in Counter((row.block, getattr(row, key)) for row in bundle.plan.runs).items():
            if count > 1:
                yield f"the plan has two runs of the same {key} in block {block}"


def _unlike_plans(bundle: Bundle) -> Iterator[str]:
    plan, manifest = bundle.plan, bundle.manifest
    if plan.seed != manifest.seed:
        yield f"the plan has the seed {plan.seed}, the manifest {manifest.seed}"
    extra = plan.model_extra or {}
    named_hash = extra.get("protocol_sha256")
    if named_hash and named_hash != protocol_sha256(bundle.plan_as_stored):
        yield "the plan is not of the protocol whose checksum it names"
    for key in ("protocol_sha256", "session"):
        if key in extra and extra[key] != getattr(manifest, key):
            yield f"the plan and the manifest name two values of {key}"
    definition = extra.get("definition")
    if not isinstance(definition, Mapping):
        return
    primary: Any = definition.get("primary")
    defined: Mapping[str, Any] = primary if isinstance(primary, Mapping) else {}
    named = plan.primary.model_dump()
    for key in ("outcome", "estimator", "interval", "confidence"):
        if key in defined and key in named and defined[key] != named[key]:
            yield f"the plan names two primaries: {key} is {named[key]!r}, in the study's definition {defined[key]!r}"
    if list(definition.get("arms", plan.arms)) != list(plan.arms):
        yield "the plan's arms are not those of the study's definition"
    seconds = (definition.get("estimand") or {}).get("window_seconds", plan.window_seconds)
    if seconds != plan.window_seconds:
        yield f"the plan's windows have {plan.window_seconds:g} s, those of the study's definition {seconds:g} s"


def _not_as_planned(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    planned = {row.run_id: row for row in bundle.plan.runs}
    for run in runs:
        row = planned.get(run.run_id)
        if row is None and not run.repeat:
            yield run.run_id, "the plan has no such run"
        for what in ("arm", "block", "position", "repeat"):
            if row is not None and getattr(run, what) != getattr(row, what):
                yield run.run_id, f"its {what} is {getattr(run, what)}, the plan has {getattr(row, what)}"
        named = _arm_in(run.run_id, bundle.plan.arms)
        if named and named != run.arm:
            yield run.run_id, f"its name is of the arm {named}, its row of {run.arm}"


def _arm_in(run_id: str, arms: Sequence[str]) -> str:
    """Return the arm that a run's name ends with; empty where it names none."""
    return max((arm for arm in arms if run_id.endswith(f"-{arm}")), key=len, default="")


def _unjustified_repeats(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """A block is repeated only where a run of another failed: no more repeated blocks than failed ones."""
    failed = {run.block for run in bundle.runs if run.status == "failed"}
    own = {row.block for row in bundle.plan.runs}
    blocks = sorted({run.block for run in runs if run.repeat})
    for number, block in enumerate(blocks, start=1):
        reason = ""
        if number > len(failed):
            reason = f"it repeats a block, and {len(failed)} blocks have a failed run for {len(blocks)} repeated ones"
        elif block in own:
            reason = f"it repeats a block under the number of the planned block {block}"
        if reason:
            yield from ((run.run_id, reason) for run in runs if run.block == block and run.repeat)


def _lengths(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    planned = bundle.plan.window_seconds
    for run in runs:
        tick = reading_fit.tick_seconds(bundle, run)
        tolerance = max(LENGTH_TOLERANCE * planned, LENGTH_TOLERANCE_SECONDS, TICKS_LONGER * tick)
        if abs(run.seconds - planned) > tolerance:
            yield run.run_id, f"its window is {run.seconds:.2f} s long, the planned one {planned:g} s"


def _deliveries(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Commits of the runs table, the deliveries table and the plan's trace."""
    planned = {row.run_id: (row.model_extra or {}).get("offsets") for row in bundle.plan.runs}
    named = any(row.revision.startswith(row.run_id) for row in bundle.deliveries)
    for run in runs:
        rows = sorted((row for row in bundle.deliveries if row.run_id == run.run_id), key=lambda row: row.index)
        ready = sum(row.status == "ready" for row in rows)
        if (run.commits, run.ready) != (len(rows), ready):
            told = f"{run.ready} of {run.commits} commits Ready"
            yield run.run_id, f"the runs table has {told}, the deliveries table {ready} of {len(rows)}"
        if named and any(not row.revision.startswith(run.run_id) for row in rows):
            yield run.run_id, "its deliveries have revisions of another run"
        offsets: Any = planned.get(run.run_id)
        if offsets is None:
            continue
        if len(offsets) != len(rows):
            yield run.run_id, f"the deliveries table has {len(rows)} commits, the plan's trace {len(offsets)}"
        began = next((edge.node_ms for edge in edges_of(bundle, run) if edge.edge == "start"), run.t0_ms)
        early = [
            row.index
            for row, offset in zip(rows, offsets, strict=False)
            if row.committed_ms < began + 1000 * (offset - EARLY_SECONDS)
        ]
        if early:
            yield run.run_id, f"commit {early[0]} was pushed before the time that the plan's trace gives it"


def _overlaps(runs: Sequence[Run]) -> Reasons:
    ordered = sorted(runs, key=lambda run: (run.t0_ms, run.t1_ms))
    for first, second in combinations(ordered, 2):
        if second.t0_ms < first.t1_ms:
            yield first.run_id, f"its window overlaps that of {second.run_id}"
            yield second.run_id, f"its window overlaps that of {first.run_id}"


def _out_of_order(bundle: Bundle, runs: Sequence[Run]) -> Reasons:
    """Runs whose windows lie in another order than the plan's; repeated blocks come last."""
    if imported(bundle):
        return
    place = {row.run_id: number for number, row in enumerate(bundle.plan.runs)}
    last = len(place)
    ordered = sorted(runs, key=lambda run: (place.get(run.run_id, last), run.block, run.position))
    conflicts = [(a, b) for a, b in combinations(range(len(ordered)), 2) if ordered[a].t0_ms > ordered[b].t0_ms]
    for number in reading_fit.worst(conflicts):
        yield ordered[number].run_id, "its window lies in another order than the plan's"
