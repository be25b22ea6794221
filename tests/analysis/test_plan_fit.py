"""Runs that do not fit the plan, the other runs or their own readings are refused or excluded by name."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import hardwatt
from hardwatt.analysis import plan_fit, table
from hardwatt.analysis.context import FIT
from hardwatt.analysis.results import analysed
from hardwatt.bundle import tables
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import VerifyError
from hardwatt.instruments import node
from hardwatt.instruments.figure import Measured, Outcome, Refusal
from hardwatt.instruments.node import CPU
from hardwatt.instruments.readings import READ_AT
from hardwatt.instruments.windows import WindowError
from hardwatt.meter.record_file import encode
from hardwatt.testing.recorded_node import RecordedNode
from hardwatt.testing.synthetic_bundle import Spec, make_bundle
from tests.analysis.faults import (
    Fault,
    all_of_edge_later,
    change_edge,
    change_manifest,
    change_plan,
    change_run,
    change_samples,
    copy_run,
    fourth_block,
    inside,
    later,
    runs,
    samples_file,
    spoilt,
    times,
    write_runs,
)
from tests.instruments.test_recorder import bundled, recorded
from tests.instruments.test_recorder import run as recorded_run

SHIPPED = Path(hardwatt.__file__).parent / "data" / "shipped-bundle"


@pytest.fixture(scope="module", params=["shipped", "synthetic"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "shipped":
        return SHIPPED
    return make_bundle(tmp_path_factory.mktemp("sound") / "bundle", Spec(pairs=3, window_seconds=30)).path


def answer(path: Path) -> tuple[dict[int, float], dict[str, str]]:
    """Return block -> difference of its pair, and run -> why it is excluded, by the primary outcome alone."""
    bundle = Bundle.open(path)
    bundle.verify()
    plan_fit.refuse_contradictions(bundle)
    unfit = plan_fit.misfits(bundle)
    outcomes, refusals = [], []
    for run in bundle.runs:
        try:
            figure = node.cpu_seconds(bundle, run)
            outcomes.append(Outcome(run.run_id, run.arm, run.block, run.position, "node_cpu_seconds", figure))
        except WindowError as error:
            refusals.append(Refusal(run.run_id, "node_cpu_seconds", error.reason))
    measured = table.for_length(Measured(tuple(outcomes), tuple(refusals)), bundle.runs, bundle.plan.window_seconds)
    data = table.build(bundle.runs, measured, bundle.plan.arms, "node_cpu_seconds", unfit)
    vector = table.vector(data, "node_cpu_seconds")
    assert vector is not None
    differences = dict(zip((pair.block for pair in data.pairs), vector.tolist(), strict=True))
    lacking = {row.run_id: "missing" for row in plan_fit.missing(bundle)}
    return differences, {row.run_id: row.reason for row in data.exclusions} | lacking


def of_copy(path: Path) -> tuple[dict[int, float], dict[str, str]] | None:
    """Return the answer of a copy; None where it is refused, because its seed does not draw its plan."""
    try:
        return answer(path)
    except VerifyError as error:
        assert "seed draws" in error.message
        return None


def hole(frame: pl.DataFrame, run: Run) -> pl.DataFrame:
    return frame.filter(~pl.col("ts").is_between(inside(run, 10), inside(run, 15)))


def back(by: float, *, only_one: bool, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
    """The counter falls by so much below the sample before, for one sample or from there on."""
    ordered = frame.sort("ts")
    place = int((ordered["ts"] < inside(run, 12)).sum())
    step = ordered["value"][place] - ordered["value"][place - 1] + by
    index = pl.int_range(pl.len())
    which = index == place if only_one else index >= place
    return ordered.with_columns(value=pl.col("value") - pl.when(which).then(step).otherwise(0.0))


def reset(frame: pl.DataFrame, run: Run) -> pl.DataFrame:
    at = frame.filter(pl.col("ts") < inside(run, 12)).sort("ts")["value"][-1]
    return frame.with_columns(
        value=pl.when(pl.col("ts") < inside(run, 12)).then("value").otherwise(pl.col("value") - at)
    )


def scaled(frame: pl.DataFrame, _run: Run) -> pl.DataFrame:
    return frame.with_columns(value=pl.col("value") * 1.01)


def one_scaled(frame: pl.DataFrame, run: Run) -> pl.DataFrame:
    at = frame.filter(pl.col("ts") >= inside(run, 12))["ts"].min()
    return frame.with_columns(value=pl.when(pl.col("ts") == at).then(pl.col("value") * 1.01).otherwise("value"))


def shifted(frame: pl.DataFrame, _run: Run) -> pl.DataFrame:
    return frame.with_columns(ts=pl.col("ts") + 700)


def read_later(frame: pl.DataFrame, _run: Run) -> pl.DataFrame:
    return frame.with_columns(value=pl.col("value") + 0.7)


def samples_of_another_clock(path: Path) -> None:
    change_samples(path, 1, shifted)
    change_samples(path, 1, lambda frame, run: read_later(shifted(frame, run), run), READ_AT)


def arms_swapped(path: Path, *, in_plan: bool) -> None:
    rows = runs(path)
    other = {rows[0].arm: rows[1].arm, rows[1].arm: rows[0].arm}
    change_run(path, 0, arm=rows[1].arm)
    change_run(path, 1, arm=rows[0].arm)
    if in_plan:

        def change(plan: dict[str, Any]) -> None:
            for row in plan["runs"]:
                if row["block"] == rows[0].block:
                    row["arm"] = other[row["arm"]]

        change_plan(path, change)


def order_swapped(path: Path) -> None:
    """The windows of a pair change places in the plan and in the table."""
    first, second = runs(path)[:2]
    change_run(path, 0, position=second.position)
    change_run(path, 1, position=first.position)

    def change(plan: dict[str, Any]) -> None:
        plan["runs"][0]["position"], plan["runs"][1]["position"] = second.position, first.position
        plan["runs"][:2] = plan["runs"][1::-1]

    change_plan(path, change)


def windows_exchanged(path: Path) -> None:
    first, _, third, *_ = runs(path)
    change_run(path, 0, t0_ms=third.t0_ms, t1_ms=third.t1_ms)
    change_run(path, 2, t0_ms=first.t0_ms, t1_ms=first.t1_ms)


def run_removed(path: Path) -> None:
    write_runs(path, runs(path)[1:])
    file = path / "deliveries.parquet"
    rows = tables.deliveries_from(pl.read_parquet(file))
    kept = {row.run_id for row in runs(path)}
    tables.write_both(path / "deliveries", tables.deliveries_frame([row for row in rows if row.run_id in kept]))


def both_edges_later(path: Path) -> None:
    for edge in ("start", "end"):
        change_edge(path, 0, edge, all_of_edge_later)


def no_edges(path: Path) -> None:
    for file in path.glob(f"edges/{runs(path)[0].run_id}.*"):
        file.unlink()


def no_samples(path: Path) -> None:
    samples_file(path, runs(path)[0].run_id).unlink()


def commit_removed(path: Path) -> None:
    rows = tables.deliveries_from(pl.read_parquet(path / "deliveries.parquet"))
    tables.write_both(path / "deliveries", tables.deliveries_frame(rows[1:]))


def commit_renamed(path: Path) -> None:
    rows = tables.deliveries_from(pl.read_parquet(path / "deliveries.parquet"))
    rows[0] = replace(rows[0], revision=rows[-1].revision)
    tables.write_both(path / "deliveries", tables.deliveries_frame(rows))


def _t(number: int, **by_ms: int) -> Fault:
    def change(path: Path) -> None:
        run = runs(path)[number]
        change_run(path, number, **{name: getattr(run, name) + by for name, by in by_ms.items()})

    return change


def _s(number: int, change: Callable[[pl.DataFrame, Run], pl.DataFrame], metric: str = CPU) -> Fault:
    return lambda path: change_samples(path, number, change, metric)


def _e(number: int, edge: str, change: Callable[[dict[str, Any]], None]) -> Fault:
    return lambda path: change_edge(path, number, edge, change)


EXCLUDED: dict[str, tuple[Fault, set[int]]] = {
    "a hole of five seconds": (_s(0, hole), {0}),
    "no samples": (no_samples, {0}),
    "no moments of reading": (lambda path: samples_file(path, runs(path)[0].run_id, READ_AT).unlink(), {0}),
    "one sample 0.1 back": (_s(0, lambda f, r: back(0.1, only_one=True, frame=f, run=r)), {0}),
    "the counter 0.1 back": (_s(0, lambda f, r: back(0.1, only_one=False, frame=f, run=r)), {0}),
    "the counter 5 back": (_s(0, lambda f, r: back(5.0, only_one=False, frame=f, run=r)), {0}),
    "a reset": (_s(0, reset), {0}),
    "all samples one percent more": (_s(0, scaled), {0}),
    "one sample one percent more": (_s(0, one_scaled), {0}),
    "the first reading one percent more": (_e(0, "start", times(CPU, 1.01)), {0}),
    "the last reading one percent less": (_e(0, "end", times(CPU, 0.99)), {0}),
    "the first reading 0.7 s later": (_e(0, "start", later(READ_AT, 0.7)), {0}),
    "the last reading 0.7 s earlier": (_e(0, "end", later(READ_AT, -0.7)), {0}),
    "the whole first boundary 0.7 s later": (_e(0, "start", all_of_edge_later), {0}),
    "both boundaries 0.7 s later": (both_edges_later, {0}),
    "the window's start 0.7 s later": (_t(0, t0_ms=700), {0}),
    "the window 0.7 s later": (_t(0, t0_ms=700, t1_ms=700), {0}),
    "a window one percent longer": (_t(0, t1_ms=450), {0}),
    "no boundaries": (no_edges, {0}),
    "one commit more in the runs table": (lambda path: change_run(path, 0, commits=4), {0}),
    "one commit less Ready": (lambda path: change_run(path, 0, ready=2), {0}),
    "a commit less in the deliveries table": (commit_removed, {0}),
    "a commit of another run": (commit_renamed, {0}),
    "arms swapped": (partial(arms_swapped, in_plan=False), {0, 1}),
    "arms swapped in the plan too": (partial(arms_swapped, in_plan=True), {0, 1}),
    "places swapped, in the plan too": (order_swapped, {0, 1}),
    "windows exchanged": (windows_exchanged, {0, 2}),
    "another block": (lambda path: change_run(path, 0, block=runs(path)[2].block), {0}),
    "a repeat that nobody made": (lambda path: change_run(path, 0, repeat=1), {0}),
    "a run less": (run_removed, set()),
}


@pytest.fixture(scope="module")
def truth(sound: Path) -> dict[int, float]:
    differences, excluded = answer(sound)
    assert excluded == {}
    return differences


@pytest.mark.parametrize("name", EXCLUDED)
def test_a_fault_excludes_its_run_and_moves_no_other_pair(
    name: str, sound: Path, truth: dict[int, float], tmp_path: Path
) -> None:
    fault, whose = EXCLUDED[name]
    rows = runs(sound)
    given = of_copy(spoilt(sound, tmp_path, fault))
    if given is None:
        assert name.endswith("in the plan too")
        return
    differences, excluded = given
    assert {rows[number].run_id for number in whose} <= set(excluded)
    assert all(excluded.values())
    gone = {rows[number].block for number in whose} or {rows[0].block}
    assert differences == pytest.approx({block: value for block, value in truth.items() if block not in gone})


def test_samples_of_another_clock_exclude_their_run_or_stay_within_bounds(
    sound: Path, truth: dict[int, float], tmp_path: Path
) -> None:
    # A scrape shows it only where it lies within the 0.7 s after a boundary; the answer is cut at boundaries.
    given = of_copy(spoilt(sound, tmp_path, samples_of_another_clock))
    assert given is not None
    differences, excluded = given
    run = runs(sound)[1]
    kept = {block: value for block, value in truth.items() if block != run.block or run.run_id not in excluded}
    # Its bounds: a meter's tick of 0.1 s at 0.4 CPU-seconds a second, at both ends.
    assert differences == pytest.approx(kept, abs=2 * 0.1 * 0.4)


COPIES: dict[str, Fault] = {
    "not planned": partial(fourth_block, planned=False),
    "planned": partial(fourth_block, planned=True),
    "planned, ten minutes later": partial(fourth_block, planned=True, later_ms=600_000),
    "as a repeat": partial(fourth_block, planned=False, later_ms=600_000, named={"repeat": 1}),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_pair_that_was_copied_is_no_further_pair(
    name: str, sound: Path, truth: dict[int, float], tmp_path: Path
) -> None:
    """The copy is excluded; where original and copy cannot be told apart, both are."""
    given = of_copy(spoilt(sound, tmp_path, COPIES[name]))
    if given is None:
        assert name.startswith("planned")
        return
    differences, excluded = given
    block = max(truth) + 1
    assert block not in differences
    assert sum(f"p{block:03d}-" in run_id for run_id in excluded) == 2
    assert differences.items() <= truth.items()
    assert len(differences) >= len(truth) - 1


def csv_alone(path: Path) -> None:
    file = path / "runs.csv"
    text = file.read_text()
    file.write_text(text.replace(str(runs(path)[0].t0_ms), str(runs(path)[0].t0_ms - 700)))


def row_twice(path: Path) -> None:
    write_runs(path, [*runs(path), runs(path)[0]])


def seed_of_manifest(manifest: dict[str, Any]) -> None:
    manifest["seed"] += 1


def many_cpus(manifest: dict[str, Any]) -> None:
    manifest["host"]["cpus"] = 64


def slow_scrapes(manifest: dict[str, Any]) -> None:
    manifest["host"]["scrape_seconds"] = 15


REFUSED: dict[str, tuple[Fault, str]] = {
    "one copy of the runs table": (csv_alone, "runs.csv and runs.parquet differ"),
    "a run twice": (row_twice, "2 times"),
    "another seed": (lambda path: change_manifest(path, seed_of_manifest), "the seed"),
    "a slow scrape interval": (lambda path: change_manifest(path, slow_scrapes), "scrape interval of 15 s"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bundle_that_contradicts_itself_is_refused(name: str, sound: Path, tmp_path: Path) -> None:
    fault, words = REFUSED[name]
    with pytest.raises(VerifyError, match=words):
        analysed(spoilt(sound, tmp_path, fault))


OF_SHIPPED: dict[str, tuple[Fault, str]] = {
    "more CPUs": (lambda path: change_manifest(path, many_cpus), "64 CPUs"),
    "another source": (lambda path: change_manifest(path, lambda m: m.update(source="rapl")), "the source rapl"),
    "another estimator": (
        lambda path: change_plan(path, lambda plan: plan["primary"].update(confidence=0.5)),
        "two primaries",
    ),
    "another protocol": (
        lambda path: change_plan(path, lambda plan: plan.update(protocol_sha256="0" * 64)),
        "not of the protocol",
    ),
    "a session that the manifest does not name": (
        lambda path: change_plan(path, lambda plan: plan.update(session=2)),
        "two values of session",
    ),
    "another window": (lambda path: change_plan(path, lambda plan: plan.update(window_seconds=45.4)), "45.4 s"),
}


@pytest.mark.parametrize("name", OF_SHIPPED)
def test_what_the_engine_recorded_twice_must_agree(name: str, tmp_path: Path) -> None:
    fault, words = OF_SHIPPED[name]
    with pytest.raises(VerifyError, match=words):
        analysed(spoilt(SHIPPED, tmp_path, fault))


def drop_every_second(frame: pl.DataFrame, _run: Run) -> pl.DataFrame:
    return frame.filter(pl.int_range(pl.len()) % 2 == 0)


def test_samples_that_the_untouched_answers_hold_are_missed(tmp_path: Path) -> None:
    """A gap that is short enough to be bridged: the answers say what was there."""
    _, excluded = answer(spoilt(SHIPPED, tmp_path, _s(0, drop_every_second)))
    assert "not those of the untouched answers" in excluded["p001-1-push"]


def test_samples_between_which_nothing_is_lost_move_a_pair_within_its_bounds(tmp_path: Path) -> None:
    """Without untouched answers every second sample may go: the boundaries are still there."""
    sound = make_bundle(tmp_path / "sound", Spec(pairs=2, window_seconds=30)).path
    truth, _ = answer(sound)
    differences, excluded = answer(spoilt(sound, tmp_path, _s(0, drop_every_second)))
    assert excluded == {}
    bundle = Bundle.open(sound)
    widths = [figure.high - figure.low for run in bundle.runs[:2] if (figure := node.cpu_seconds(bundle, run))]
    assert differences == pytest.approx(truth, abs=sum(widths))


def test_a_run_of_another_bundle_is_none_of_this_one(tmp_path: Path) -> None:
    """Another session's run under the name of one of this one, its times set to fit."""
    sound = make_bundle(tmp_path / "sound", Spec(pairs=3, window_seconds=30)).path
    other = make_bundle(tmp_path / "other", Spec(pairs=3, window_seconds=30, seed=1, rate=1.2)).path
    run = runs(sound)[2]

    def fault(path: Path) -> None:
        for folder in path.glob(f"samples/metric=*/run={run.run_id}"):
            shutil.rmtree(folder)
        copy_run(path, other, run.run_id, run.run_id)

    differences, excluded = answer(spoilt(sound, tmp_path, fault))
    truth, _ = answer(sound)
    assert "does not continue" in excluded[run.run_id]
    assert differences == pytest.approx({block: value for block, value in truth.items() if block != run.block})


def test_a_log_of_another_run_excludes_the_run(tmp_path: Path) -> None:
    def fault(path: Path) -> None:
        shutil.copy(path / "log" / "p002-1-push.json", path / "log" / "p001-1-push.json")

    _, excluded = answer(spoilt(SHIPPED, tmp_path, fault))
    assert "its log is of the run p002-1-push" in excluded["p001-1-push"]
    assert "another seeded delay" in excluded["p001-1-push"]


def test_deliveries_of_other_times_than_the_log_exclude_the_run(tmp_path: Path) -> None:
    def fault(path: Path) -> None:
        rows = tables.deliveries_from(pl.read_parquet(path / "deliveries.parquet"))
        rows[0] = replace(rows[0], ready_ms=(rows[0].ready_ms or 0) + 30)
        tables.write_both(path / "deliveries", tables.deliveries_frame(rows))

    _, excluded = answer(spoilt(SHIPPED, tmp_path, fault))
    assert excluded["p001-1-push"] == "its deliveries table has other times than its log"


def test_the_results_name_what_does_not_fit_in_exclusions_and_checks(tmp_path: Path) -> None:
    results = analysed(spoilt(SHIPPED, tmp_path, COPIES["not planned"]))
    check = next(check for check in results.checks if check.name == FIT)
    assert check.status == "failed"
    assert "p004-1-push: the plan has no such run" in check.detail
    reasons = {row.run: row.reason for row in results.exclusions}
    assert reasons["p004-1-push"].startswith("the plan has no such run")
    assert results.n.value == 3
    sound = analysed(SHIPPED)
    assert results.primary == sound.primary
    assert next(check for check in sound.checks if check.name == FIT).status == "ok"


def test_figures_are_for_the_planned_length_of_the_window() -> None:
    bundle = Bundle.open(SHIPPED)
    results = analysed(SHIPPED)
    run = bundle.runs[0]
    assert run.seconds != bundle.plan.window_seconds
    shown = next(row.figure.value for row in results.runs if row.run == run.run_id)
    assert shown == pytest.approx(node.cpu_seconds(bundle, run).value * bundle.plan.window_seconds / run.seconds)


def recorded_pairs(folder: Path) -> Path:
    """Three pairs of twenty seconds in one recording."""

    def work(node: RecordedNode, second: int) -> None:
        node.values["node", "node"] += 1_000_000 * (second * 7919 % 13)

    recording = recorded(folder, work, ticks=190)
    rows = [
        replace(recorded_run(20 + 25 * number, 40 + 25 * number, f"r{number:02}"), block=number // 2, arm=arm)
        for number, arm in enumerate(("push", "pull") * 3)
    ]
    return bundled(folder / "sound", recording, [replace(r, position=n % 2) for n, r in enumerate(rows)]).path


def test_a_run_without_the_recording_that_others_have_is_excluded(tmp_path: Path) -> None:
    sound = recorded_pairs(tmp_path)
    bundle = Bundle.open(sound)
    assert plan_fit.misfits(bundle) == {}

    def fault(path: Path) -> None:
        (path / "recording" / "r02.gz").unlink()
        change_manifest(path, lambda manifest: manifest["recordings"].pop("r02"))

    unfit = plan_fit.misfits(Bundle.open(spoilt(sound, tmp_path / "spoilt", fault)))
    assert unfit == {"r02": "it has no recording, other runs do"}


def raised(lines: bytes) -> bytes:
    """Return a recording whose counter of the node stands 100 CPU-seconds higher."""
    out, node_id = [], 0
    for text in lines.splitlines():
        line = json.loads(text.partition(b" ")[2])
        if line["k"] == "counter" and line["of"] == "node":
            node_id = line["id"]
        for reading in line.get("v", []):
            reading[3] += 100_000_000_000 if reading[0] == node_id else 0
        out.append(encode(line))
    return b"".join(out)


def test_a_recording_whose_counter_does_not_continue_is_excluded(tmp_path: Path) -> None:
    """The node's counter of one run stands elsewhere: its rise in the window is as it was, its level is not."""
    sound = recorded_pairs(tmp_path)

    def fault(path: Path) -> None:
        file = path / "recording" / "r02.gz"
        file.write_bytes(gzip.compress(raised(gzip.decompress(file.read_bytes()))))

    unfit = plan_fit.misfits(Bundle.open(spoilt(sound, tmp_path / "spoilt", fault)))
    assert set(unfit) == {"r02"}
    assert "does not continue" in unfit["r02"]
