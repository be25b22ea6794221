"""Faults of every kind, in every run, of many sizes: a pair keeps its value within its stated bounds, or is gone.

The bundles are forged consistently: each checksum is renewed after the fault.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import hardwatt
from hardwatt.analysis import arm_evidence
from hardwatt.analysis.model import Results
from hardwatt.analysis.results import analysed
from hardwatt.bundle import tables
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError
from hardwatt.delivery.arms import IdleArm, PullArm, PushArm
from hardwatt.experiment.arm import load_arm
from hardwatt.testing.recorded_node import T0_NS
from hardwatt.testing.synthetic_bundle import Spec, make_bundle
from tests.analysis import swaps
from tests.analysis.faults import (
    Fault,
    change_edge,
    change_json,
    change_manifest,
    change_plan,
    change_run,
    copy_run,
    runs,
    samples_file,
    spoilt,
    write_runs,
)
from tests.analysis.recorded_session import Line, edited, make_recorded

SHIPPED = Path(hardwatt.__file__).parent / "data" / "shipped-bundle"
NODE = "hardwatt_node_cpu_seconds_total"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recorded(tmp_path_factory.mktemp("recorded") / "session")


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("synthetic") / "bundle", Spec(pairs=3, window_seconds=30)).path


@dataclass(frozen=True)
class Answer:
    """Difference of each pair with the width of its bounds, and why runs are left out."""

    pairs: dict[str, tuple[float, float]]
    left_out: dict[str, str]


def of(results: Results) -> Answer:
    shown = {row.run: row.figure for row in results.runs if row.counts}
    by_pair: dict[str, dict[str, str]] = {}
    for row in results.runs:
        if row.counts:
            by_pair.setdefault(row.pair, {})[row.arm] = row.run
    first, second = (arm.name for arm in results.arms)
    pairs = {}
    for pair, names in by_pair.items():
        figures = [shown[names[arm]] for arm in (first, second)]
        widths = [(figure.high or 0.0) - (figure.low or 0.0) for figure in figures]
        pairs[pair] = ((figures[1].value or 0.0) - (figures[0].value or 0.0), sum(widths))
    return Answer(pairs, {row.run: row.reason for row in results.exclusions})


def answered(path: Path) -> Answer | None:
    """Return the answer of a bundle; None where it is refused."""
    try:
        return of(analysed(path))
    except LabError as error:
        assert error.message
        return None


def assert_bounded(sound: Answer, path: Path, other: float = 0.0) -> Answer | None:
    """The invariant: refused, excluded with a reason, or within the bounds of both answers.

    *other* is what the other instrument cannot tell: a value of the record that was changed by less stays.
    """
    given = answered(path)
    if given is None:
        return None
    for pair, (difference, width) in given.pairs.items():
        assert pair in sound.pairs, f"the pair {pair} is none of the sound bundle"
        true, true_width = sound.pairs[pair]
        assert abs(difference - true) <= width + true_width + other + 1e-9, (pair, difference, true, given.left_out)
    gone = set(sound.pairs) - set(given.pairs)
    assert all(given.left_out.values())
    assert bool(given.left_out) >= bool(gone)
    return given


@pytest.fixture(scope="module")
def truth(recorded: Path) -> Answer:
    answer = of(analysed(recorded))
    assert len(answer.pairs) == 3
    assert answer.left_out == {}
    return answer


@pytest.fixture(scope="module")
def shipped() -> Answer:
    return of(analysed(SHIPPED))


BLOCKS = {1, 2, 3}
SWAPS: dict[str, Fault] = {
    "in the runs table": partial(swaps.relabelled, blocks=BLOCKS, plan=False),
    "in the plan too": partial(swaps.relabelled, blocks=BLOCKS, plan=True),
    "in every name": partial(swaps.renamed, blocks=BLOCKS),
    "one pair in every name": partial(swaps.renamed, blocks={2}),
    "in every name, drawn by another seed": swaps.redrawn,
    "so, and fetched by the other's keys": swaps.redrawn_with_other_keys,
}


@pytest.mark.parametrize("name", SWAPS)
@pytest.mark.parametrize("bundle", ["recorded", "shipped"])
def test_arms_that_are_swapped_never_turn_the_answer_round(
    name: str, bundle: str, recorded: Path, truth: Answer, shipped: Answer, tmp_path: Path
) -> None:
    path, sound = (recorded, truth) if bundle == "recorded" else (SHIPPED, shipped)
    given = answered(spoilt(path, tmp_path, SWAPS[name]))
    swapped = {2} if name.startswith("one") else BLOCKS
    if given is not None:
        assert set(given.pairs) <= {pair for pair in sound.pairs if int(pair) not in swapped}
        assert given.left_out


def test_a_synthetic_bundle_with_all_arms_swapped_has_no_pair(synthetic: Path, tmp_path: Path) -> None:
    def fault(path: Path) -> None:
        swaps.renamed(path, {0, 1, 2})

    given = answered(spoilt(synthetic, tmp_path, fault))
    assert given is None or given.pairs == {}


def of_recording(number: int, change: Callable[[list[Line], int, int], list[Line]]) -> Fault:
    """Change the lines of the recording of a run; the change gets the window's ends in its realtime clock (ns)."""

    def fault(path: Path) -> None:
        run = runs(path)[number]
        file = path / "recording" / f"{run.run_id}.gz"
        lines = edited(
            gzip.decompress(file.read_bytes()), lambda lines: change(lines, run.t0_ms * 10**6, run.t1_ms * 10**6)
        )
        file.write_bytes(gzip.compress(lines, mtime=0))

    return fault


def node_id(lines: list[Line]) -> int:
    return int(next(line["id"] for line in lines if line["k"] == "counter" and line["of"] == "node"))


def moved(lines: list[Line], t0: int, t1: int, *, share: float, by: Callable[[int], int], last: bool) -> list[Line]:
    """Change the node's reading at one tick of the window, or from there on (*last*)."""
    at, own = t0 + share * (t1 - t0), node_id(lines)
    place = next(n for n, line in enumerate(lines) if line["k"] == "r" and line["t"] >= at - 5 * 10**8)
    for number, line in enumerate(lines):
        for reading in line.get("v", []):
            if reading[0] == own and (number == place or (last and number > place)):
                reading[3] = by(reading[3])
    return lines


def shifted(lines: list[Line], _t0: int, _t1: int, *, seconds: float) -> list[Line]:
    for line in lines:
        if line["k"] == "r":
            line["t"] += round(seconds * 10**9)
    return lines


def dropped(lines: list[Line], t0: int, t1: int, *, share: float, count: int) -> list[Line]:
    """Leave ticks out and number the rest anew."""
    at = t0 + share * (t1 - t0)
    gone = [n for n, line in enumerate(lines) if line["k"] == "r" and line["t"] >= at - 5 * 10**8][:count]
    kept = [line for n, line in enumerate(lines) if n not in gone or line.get("full")]
    first = next(line["n"] for line in kept if line["k"] == "r")
    for number, line in enumerate(line for line in kept if line["k"] == "r"):
        line["n"] = first + number
    return kept


def of_counter(lines: list[Line], _t0: int, _t1: int, **changes: Any) -> list[Line]:
    return [{**line, **changes} if line["k"] == "counter" and line["of"] == "node" else line for line in lines]


def of_header(lines: list[Line], _t0: int, _t1: int, **changes: Any) -> list[Line]:
    return [{**line, **changes} if line["k"] == "file" else line for line in lines]


def restarted(lines: list[Line], t0: int, t1: int) -> list[Line]:
    """The counter begins again from zero in the middle of the window."""
    own, before = node_id(lines), 0
    for line in lines:
        for reading in line.get("v", []):
            if reading[0] == own:
                if line["t"] < (t0 + t1) / 2:
                    before = reading[3]
                else:
                    reading[3] -= before
    return lines


def one_percent(value: int) -> int:
    return round(value * 1.01)


def less(value: int) -> int:
    return round(value * 0.99)


def by(seconds: float) -> Callable[[int], int]:
    return lambda value: value + round(seconds * 10**9)


OF_A_TICK = 0.42
"""CPU-seconds that the node uses between two ticks at most: a scrape lies somewhere between them."""
SHARES = (0.0, 0.31, 0.5, 1.0)
OF_RECORDING: dict[str, Callable[[list[Line], int, int], list[Line]]] = {
    **{f"one value {what} at {share:g}": partial(moved, share=share, by=change, last=False)
       for share in SHARES
       for what, change in (
           ("one percent more", one_percent), ("one percent less", less), ("0.1 back", by(-0.1)), ("5 back", by(-5.0)),
           ("5 more", by(5.0)), ("1 more", by(1.0)),
       )},
    **{f"from {share:g} on {what}": partial(moved, share=share, by=change, last=True)
       for share in SHARES
       for what, change in (
           ("one percent more", one_percent), ("one percent less", less), ("0.1 back", by(-0.1)), ("5 back", by(-5.0)),
           ("5 more", by(5.0)), ("1 more", by(1.0)), ("0.1 more", by(0.1)), ("0.2 back", by(-0.2)),
       )},
    **{f"its clock {seconds:+g} s": partial(shifted, seconds=seconds) for seconds in (0.7, -0.7, 0.1, 1.0, 30.0)},
    **{f"{count} ticks dropped at {share:g}": partial(dropped, share=share, count=count)
       for share in SHARES for count in (1, 2, 5, 20)},
    "a reset": restarted,
    "another unit": partial(of_counter, unit="us"),
    "another source": partial(of_counter, source="procstat"),
    "a coarse counter": partial(of_counter, granularity=10**9),
    "more CPUs": partial(of_header, cpus=64),
    "another boot": partial(of_header, boot="boot-2"),
}  # fmt: skip


@pytest.mark.parametrize("number", [3, *(pytest.param(other, marks=pytest.mark.long) for other in (0, 5))])
@pytest.mark.parametrize("name", OF_RECORDING)
def test_a_recording_that_was_changed_moves_no_pair_beyond_its_bounds(
    name: str, number: int, recorded: Path, truth: Answer, tmp_path: Path
) -> None:
    assert_bounded(truth, spoilt(recorded, tmp_path, of_recording(number, OF_RECORDING[name])), OF_A_TICK)


def _edges(number: int, edges: tuple[str, ...], names: tuple[str, ...], ms: int) -> Fault:
    def change(edge: dict[str, Any]) -> None:
        for name in names:
            edge[name] += ms

    def fault(path: Path) -> None:
        for edge in edges:
            change_edge(path, number, edge, change)

    return fault


def _window(number: int, start_ms: int, end_ms: int) -> Fault:
    def fault(path: Path) -> None:
        run = runs(path)[number]
        change_run(path, number, t0_ms=run.t0_ms + start_ms, t1_ms=run.t1_ms + end_ms)

    return fault


def _all_clocks(number: int, ms: int, start: bool, end: bool) -> Fault:
    """Window and boundaries alike, by every clock that the boundaries have."""
    whole = ("node_ms", "requested_ms", "replied_ms")

    def fault(path: Path) -> None:
        edges = (*(("start",) if start else ()), *(("end",) if end else ()))
        _edges(number, edges, whole, ms)(path)
        _window(number, ms * start, ms * end)(path)

    return fault


def _clocks() -> dict[str, Callable[[int], Fault]]:
    whole, node = ("node_ms", "requested_ms", "replied_ms"), ("node_ms",)
    cases: dict[str, Callable[[int], Fault]] = {}
    for ms in (700, -700, 300, -1000, 1000, 5000):
        for which in (("start",), ("end",), ("start", "end")):
            text = " and ".join(which)
            cases[f"the boundary at {text} {ms:+} ms"] = partial(_edges, edges=which, names=whole, ms=ms)
            cases[f"the node's clock at {text} {ms:+} ms"] = partial(_edges, edges=which, names=node, ms=ms)
            start, end = "start" in which, "end" in which
            cases[f"the window's {text} {ms:+} ms"] = partial(_window, start_ms=ms * start, end_ms=ms * end)
            cases[f"window and boundary at {text} {ms:+} ms"] = partial(_all_clocks, ms=ms, start=start, end=end)
    return cases


CLOCKS = _clocks()


@pytest.mark.parametrize("name", CLOCKS)
@pytest.mark.parametrize("bundle", ["recorded", pytest.param("shipped", marks=pytest.mark.long)])
def test_a_clock_that_was_shifted_moves_no_pair_beyond_its_bounds(
    name: str, bundle: str, recorded: Path, truth: Answer, shipped: Answer, tmp_path: Path
) -> None:
    path, sound = (recorded, truth) if bundle == "recorded" else (SHIPPED, shipped)
    assert_bounded(sound, spoilt(path, tmp_path, CLOCKS[name](2)))


def _again(path: Path, number: int, *, planned: bool, later_s: int, deep: bool) -> None:
    """A block again as a fourth one: tables, samples, logs, recordings; with *deep* the times in them too."""
    rows = runs(path)
    pair = [row for row in rows if row.block == rows[number].block]
    for row in pair:
        again = f"p{4:03d}-{row.position + 1}-{row.arm}"
        copy_run(path, path, row.run_id, again)
        recording = path / "recording" / f"{row.run_id}.gz"
        body = gzip.decompress(recording.read_bytes())
        if deep:
            body = edited(body, partial(_later_lines, seconds=later_s))
        (path / "recording" / f"{again}.gz").write_bytes(gzip.compress(body, mtime=0))
        change_manifest(path, partial(_entry, old=row.run_id, new=again))
        for name in ("start", "end"):
            change_json(path / "edges" / f"{again}.{name}.json", partial(_later_edge, seconds=later_s))
        change_json(path / "log" / f"{again}.json", partial(_later_log, old=row.run_id, new=again, seconds=later_s))
        ms = 1000 * later_s
        rows.append(replace(row, run_id=again, block=4, t0_ms=row.t0_ms + ms, t1_ms=row.t1_ms + ms))
        told = tables.deliveries_from(pl.read_parquet(path / "deliveries.parquet"))
        own = [
            replace(one, run_id=again, revision=one.revision.replace(row.run_id, again),
                    committed_ms=one.committed_ms + ms, ready_ms=(one.ready_ms or 0) + ms)
            for one in told if one.run_id == row.run_id
        ]  # fmt: skip
        tables.write_both(path / "deliveries", tables.deliveries_frame([*told, *own]))
    write_runs(path, rows)
    if planned:
        change_plan(path, partial(_planned, pair=[row.run_id for row in pair]))


def _planned(plan: dict[str, Any], *, pair: list[str]) -> None:
    by_id = {row["run_id"]: row for row in plan["runs"]}
    for run_id in pair:
        row = by_id[run_id]
        plan["runs"].append({**row, "block": 4, "run_id": f"p004-{row['position'] + 1}-{row['arm']}"})
    plan["pairs"] = 4


def _entry(manifest: dict[str, Any], *, old: str, new: str) -> None:
    manifest["recordings"][new] = manifest["recordings"][old]


def _later_lines(lines: list[Line], *, seconds: int) -> list[Line]:
    for line in lines:
        for key in ("t", "m"):
            if key in line:
                line[key] += seconds * 10**9
        for reading in line.get("v", []):
            reading[3] += seconds * 310_000_000
    return lines


def _later_edge(edge: dict[str, Any], *, seconds: int) -> None:
    for name in ("node_ms", "requested_ms", "replied_ms"):
        edge[name] += 1000 * seconds


def _later_log(log: dict[str, Any], *, old: str, new: str, seconds: int) -> None:
    text = json.dumps(log).replace(old, new)
    log.clear()
    log.update(json.loads(text))
    for commit in log["commits"]:
        commit["started_ms"] += 1000 * seconds
        commit["pushed_ms"] += 1000 * seconds
    log["ready_ms"] = {name: at + 1000 * seconds for name, at in log["ready_ms"].items()}


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("later_s", [0, 600])
def test_a_pair_that_was_copied_with_its_recording_is_no_further_pair(
    planned: bool, deep: bool, later_s: int, recorded: Path, truth: Answer, tmp_path: Path
) -> None:
    def fault(path: Path) -> None:
        _again(path, 0, planned=planned, later_s=later_s, deep=deep)

    given = assert_bounded(truth, spoilt(recorded, tmp_path, fault))
    assert given is None or "4" not in given.pairs


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_run_of_another_session_is_none_of_this_one(
    boot: str, number: int, fitted: bool, recorded: Path, truth: Answer, tmp_path: Path
) -> None:
    """Its recording, alone or with its times set to fit the place."""
    other = make_recorded(tmp_path / "other", session=8, boot=boot)
    run = runs(recorded)[number]
    theirs = next(row for row in runs(other) if row.arm == run.arm)

    def fault(path: Path) -> None:
        body = gzip.decompress((other / "recording" / f"{theirs.run_id}.gz").read_bytes())
        if fitted:
            by_s = (run.t0_ms - theirs.t0_ms) // 1000
            body = edited(body, partial(_moved_lines, seconds=by_s))
        (path / "recording" / f"{run.run_id}.gz").write_bytes(gzip.compress(body, mtime=0))
        theirs_of = json.loads((other / "manifest.json").read_text())["recordings"][theirs.run_id]
        change_manifest(path, lambda manifest: manifest["recordings"].update({run.run_id: theirs_of}))

    assert_bounded(truth, spoilt(recorded, tmp_path / "copy", fault))


def _moved_lines(lines: list[Line], *, seconds: int) -> list[Line]:
    for line in lines:
        for key in ("t", "m"):
            if key in line:
                line[key] += seconds * 10**9
    return lines


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("what", ["commits", "ready", "position", "block", "repeat"])
def test_a_number_of_the_runs_table_that_was_changed_excludes_its_run(
    what: str, number: int, recorded: Path, truth: Answer, tmp_path: Path
) -> None:
    def fault(path: Path) -> None:
        change_run(path, number, **{what: getattr(runs(path)[number], what) + 1})

    given = assert_bounded(truth, spoilt(recorded, tmp_path, fault))
    assert given is None or runs(recorded)[number].run_id in given.left_out


@pytest.mark.parametrize("key", ["session", "protocol_sha256", "seed", "all of them"])
def test_a_bundle_of_another_session_than_its_plan_is_refused(key: str, recorded: Path, tmp_path: Path) -> None:
    changes = {"session": 8, "protocol_sha256": "0" * 64, "seed": 5}
    mine = changes if key == "all of them" else {key: changes[key]}

    def fault(path: Path) -> None:
        change_manifest(path, lambda manifest: manifest.update(mine))
        change_plan(path, lambda plan: plan.update(mine))

    assert answered(spoilt(recorded, tmp_path, fault)) is None


@pytest.mark.parametrize("factor", [1.01, 0.99, 1.0005])
@pytest.mark.parametrize("which", ["all", "one", "from the middle on"])
@pytest.mark.parametrize("number", [0, 4])
def test_scrapes_that_were_changed_move_no_pair_of_a_recorded_bundle(
    factor: float, which: str, number: int, recorded: Path, truth: Answer, tmp_path: Path
) -> None:
    def fault(path: Path) -> None:
        run = runs(path)[number]
        file = samples_file(path, run.run_id)
        middle = (run.t0_ms + run.t1_ms) // 2
        rows = pl.lit(True) if which == "all" else pl.col("ts") >= middle
        if which == "one":
            first = pl.read_parquet(file).filter(rows)["ts"].min()
            rows = pl.col("ts") == first
        value = pl.when(rows).then(pl.col("value") * factor).otherwise("value")
        pl.read_parquet(file).with_columns(value=value).write_parquet(file)

    given = assert_bounded(truth, spoilt(recorded, tmp_path, fault))
    if which != "all" and abs(factor - 1) > 0.005:
        assert given is None or runs(recorded)[number].run_id in given.left_out


def test_recordings_exchanged_between_runs_exclude_both(recorded: Path, truth: Answer, tmp_path: Path) -> None:
    def fault(path: Path) -> None:
        first, second = (path / "recording" / f"{run.run_id}.gz" for run in runs(path)[:2])
        shutil.move(first, path / "x")
        shutil.move(second, first)
        shutil.move(path / "x", second)

    given = assert_bounded(truth, spoilt(recorded, tmp_path, fault))
    assert given is None or "1" not in given.pairs


def test_the_sound_session_is_of_the_engines_own_plan(recorded: Path, truth: Answer) -> None:
    assert runs(recorded)[0].t0_ms > T0_NS // 10**6
    # What the node used between a planned end and its tick, at four ends: at most 0.42 CPU-seconds a second.
    assert all(width < 4 * 0.42 for _, width in truth.pairs.values())


def test_the_kinds_of_arms_are_those_of_their_classes() -> None:
    by_kind = {arm_evidence.FLUX_DELIVERS: PullArm, arm_evidence.FLUX_RUNS: PullArm, arm_evidence.NOTHING: IdleArm}
    for name, kind in arm_evidence.KINDS.items():
        arm = load_arm(ROOT, name)
        if name != "push-ci":  # Buildbot's: a class of its own
            assert issubclass(arm, by_kind.get(kind, PushArm)), name
            assert (kind == arm_evidence.NOTHING) == issubclass(arm, IdleArm), name
