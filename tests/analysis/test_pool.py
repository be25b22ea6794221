"""Sessions of one protocol are pooled; what is not a further session of it is refused by name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from hardwatt.analysis.model import PooledSessions
from hardwatt.analysis.paired import Estimate, mean_difference
from hardwatt.analysis.pool_verdict import margins, verdict
from hardwatt.analysis.pool_words import answer
from hardwatt.analysis.sessions import between_sessions, pool_sessions, pooled_sessions
from hardwatt.bundle.draws import orders
from hardwatt.bundle.places import file_entries
from hardwatt.bundle.protocol import protocol_sha256
from hardwatt.cli.console import SHIPPED, main
from hardwatt.core.errors import LabError
from hardwatt.core.files import read_json, sha256, write_json
from hardwatt.report.render import pooled
from hardwatt.testing.synthetic_bundle import ARMS, Spec, make_bundle

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def renewed(folder: Path, change: Change) -> Path:
    """Change plan and manifest of a bundle, and renew every checksum."""
    plan, manifest = read_json(folder / "plan.json"), read_json(folder / "manifest.json")
    change(plan, manifest)
    write_json(folder / "plan.json", plan)
    manifest["plan_sha256"] = sha256(folder / "plan.json")
    manifest["files"] = {name: entry.model_dump() for name, entry in file_entries(folder).items()}
    write_json(folder / "manifest.json", manifest)
    return folder


def as_session(number: int, node: str = "one", **definition: object) -> Change:
    def change(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
        plan.update(definition={"trace": 3, **definition}, code={"arm": "ab"}, session=number)
        plan["protocol_sha256"] = protocol_sha256(plan)
        manifest.update(session=number, protocol_sha256=plan["protocol_sha256"], seed=number)
        manifest["host"].update(node="lab", machine=node, architecture="amd64")

    return change


def numbers(pairs: Sequence[int]) -> Iterator[int]:
    """Yield a number for each of several sessions whose made-up order of arms is the one that its seed draws."""
    number = 0
    for count in pairs:
        made_up = drawn = None
        while made_up is None or made_up != drawn:
            number += 1
            rng = np.random.default_rng(number)
            made_up = [list(ARMS if rng.integers(2) else ARMS[::-1]) for _ in range(count)]
            drawn = orders("randomised", ARMS, count, number)
        yield number


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return four sessions of known effects, two on each of two machines."""
    folder = tmp_path_factory.mktemp("sessions")
    bundles = []
    pairs, known = (3, 2, 3, 2), [(2.0, "one"), (4.0, "one"), (7.0, "two"), (9.0, "two")]
    for count, number, (effect, node) in zip(pairs, numbers(pairs), known, strict=True):
        path = folder / f"s{number}"
        make_bundle(path, Spec(pairs=count, commits=1, window_seconds=20.0, effect=effect, seed=number))
        bundles.append(renewed(path, as_session(number, node)))
    return bundles


@pytest.fixture
def copied(made: list[Path], tmp_path: Path) -> list[Path]:
    return [shutil.copytree(path, tmp_path / path.name) for path in made]


@pytest.fixture(scope="module")
def results(made: list[Path]) -> PooledSessions:
    return pooled_sessions(made)


def means(results: PooledSessions) -> list[float]:
    values = [session.estimate.value for session in results.sessions]
    assert None not in values
    return [value for value in values if value is not None]


def test_the_interval_is_the_t_interval_over_the_means_of_the_sessions(results: PooledSessions) -> None:
    own = means(results)
    assert own == pytest.approx([-2, -4, -7, -9], abs=0.8)
    interval = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    estimate = results.estimate
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((np.mean(own), interval.low, interval.high))
    assert "3 degrees of freedom" in results.method


def test_the_spreads_within_sessions_between_them_and_between_machines_are_those_that_were_put_in(
    results: PooledSessions,
) -> None:
    own = np.array(means(results))
    assert results.within.value is not None
    assert 0.1 < results.within.value < 1.2  # two windows that scatter by 0.3 each
    assert results.between.value == pytest.approx(np.std(own, ddof=1), rel=0.1)
    assert results.between.value is not None
    assert results.between.low is not None
    assert results.between.high is not None
    assert results.between.low < results.between.value < results.between.high
    machines = np.array([own[:2].mean(), own[2:].mean()])
    inside = ((own[:2] - machines[0]) ** 2).sum() / 2 + ((own[2:] - machines[1]) ** 2).sum() / 2
    assert results.between_machines.value == pytest.approx(np.sqrt(machines.var(ddof=1) - inside / 2))
    assert [(machine.name, machine.n.value) for machine in results.machines] == [("one", 2), ("two", 2)]
    assert any("not for a machine that is not among them" in note for note in results.notes)


def test_more_sessions_shorten_the_interval_by_their_number_and_their_degrees(results: PooledSessions) -> None:
    widths = {row.n.value: row.half_width.value for row in results.more}
    assert list(widths) == [5, 8, 12, 20, 30]
    spread = np.std(means(results), ddof=1)
    assert widths[8] == pytest.approx(stats.t.ppf(0.975, 7) * spread / np.sqrt(8))


def test_one_machine_or_one_session_of_each_gives_no_spread_between_machines(made: list[Path]) -> None:
    alone, apart = pooled_sessions(made[:2]), pooled_sessions([made[0], made[2]])
    assert (alone.between_machines.value, alone.between_machines.source) == (None, "one machine")
    assert apart.between_machines.value is None
    assert "cannot be told apart" in apart.between_machines.source
    assert any("not for another machine" in note for note in alone.notes)


def test_the_spread_between_sessions_is_that_of_published_data() -> None:
    # metafor: rma(yi, vi, method = "HE", data = escalc("RR", ..., data = dat.bcg)); confint() gives 0.1197 to 1.1115
    y = [-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694, -1.3713, -0.3394, 0.4459,
         -0.0173]  # fmt: skip
    v = [0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564, 0.0730, 0.0124, 0.5325, 0.0714]
    value, low, high = between_sessions(y, v)
    assert (low**2, high**2) == pytest.approx((0.1197, 1.1115), abs=1e-3)
    assert value**2 == pytest.approx(0.3286, abs=1e-3)
    assert between_sessions([1.0, 1.1, 0.9], [1.0, 1.0, 1.0])[:2] == (0.0, 0.0)


FIRST = next(numbers([3]))
"""Number of the first session."""


def of_seed_one(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["seed"] = FIRST


def of_another_processor(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["host"]["architecture"] = "arm64"


def of_another_model(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["power_model"]["name"] = "other"


def of_rapl(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["source"] = "rapl"


def without_a_session(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest.update(session=None, protocol_sha256=None)


def with_a_hash_of_its_own(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    plan["definition"]["trace"] = 4


def with_another_number_than_its_plan(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["session"] = 9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (as_session(2, trace=4), "cannot be pooled: their protocol is"),
        (as_session(FIRST), f"are both session {FIRST}"),
        (of_seed_one, "with the same draws"),
        (of_another_processor, "their kind of node CPU is amd64"),
        (of_another_model, "their kind of node CPU is"),
        (of_rapl, "their source of energy is modelled and rapl"),
        (without_a_session, "has no protocol hash and no session number"),
        (with_a_hash_of_its_own, "states a protocol or a session that is not its plan's"),
        (with_another_number_than_its_plan, "states a protocol or a session that is not its plan's"),
    ],
)
def test_a_bundle_that_is_no_further_session_is_refused_by_name(copied: list[Path], change: Change, says: str) -> None:
    renewed(copied[1], change)
    with pytest.raises(LabError) as caught:
        pool_sessions(copied[:2])
    assert says in caught.value.message
    assert str(copied[1]) in caught.value.message


def test_the_same_data_twice_is_refused_whatever_its_session_says(made: list[Path], tmp_path: Path) -> None:
    twin = renewed(shutil.copytree(made[0], tmp_path / "twin"), as_session(77, "elsewhere"))
    with pytest.raises(LabError, match="hold the same data: "):
        pool_sessions([made[0], made[1], twin])
    with pytest.raises(LabError, match="hold the same data: "):
        pool_sessions([made[0], made[0]])


def test_one_bundle_and_an_older_one_are_refused(made: list[Path]) -> None:
    with pytest.raises(LabError, match="two sessions or more"):
        pool_sessions(made[:1])
    with pytest.raises(LabError, match="a version of hardwatt before sessions made it"):
        pool_sessions([SHIPPED, made[0]])


def test_the_pages_and_the_file_beside_them_hold_every_session(made: list[Path], tmp_path: Path) -> None:
    page = pooled(made, output=tmp_path / "out").read_text()
    stored = json.loads((tmp_path / "out" / "pool.json").read_text())
    assert stored["n"]["value"] == 4
    text = (tmp_path / "out" / "pool.md").read_text()
    for bundle in made:
        assert bundle.name in page
        assert bundle.name in text
    assert stored["protocol_sha256"] in page
    assert "Spread between machines" in page


def test_the_command_prints_the_path_of_the_page(
    made: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pool", str(made[0]), str(made[1]), "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "pool.html")


def of_another_counter_schema(plan: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["schema_version"] = 1


def test_another_schema_and_another_named_processor_are_refused_and_an_unnamed_one_is_not(
    copied: list[Path], tmp_path: Path
) -> None:
    renewed(copied[0], lambda plan, manifest: manifest["host"].update(processor="Model A"))
    assert pooled_sessions(copied[:2]).n.value == 2  # the other one is of a time before the processor was named
    renewed(copied[1], lambda plan, manifest: manifest["host"].update(processor="Model B"))
    with pytest.raises(LabError, match=r"their kind of node CPU is Model A, amd64, .* and Model B, amd64"):
        pooled_sessions(copied[:2])
    renewed(copied[2], of_another_counter_schema)
    with pytest.raises(LabError, match="their schema is 2 and 1") as caught:
        pooled_sessions([copied[3], copied[2]])
    assert caught.value.hint == f"hardwatt compare {copied[3]} {copied[2]}"


def test_the_next_command_leaves_out_the_bundle_that_is_refused(made: list[Path], tmp_path: Path) -> None:
    twin = shutil.copytree(made[0], tmp_path / "twin")
    with pytest.raises(LabError) as caught:
        pooled_sessions([made[0], made[1], twin])
    assert caught.value.hint == f"hardwatt pool {made[0]} {made[1]}"
    with pytest.raises(LabError, match="one answers for this cluster, this hour") as alone:
        pooled_sessions(made[:1])
    assert alone.value.hint == f"hardwatt report {made[0]}"


def test_machines_are_told_apart_by_their_identity_and_older_bundles_by_the_nodes_name(
    copied: list[Path], results: PooledSessions
) -> None:
    assert [session.machine for session in results.sessions] == ["one", "one", "two", "two"]
    for path in copied:
        renewed(path, lambda plan, manifest: manifest["host"].pop("machine"))
    assert {session.machine for session in pooled_sessions(copied).sessions} == {"lab"}


def estimate_of(values: list[float]) -> Estimate:
    return mean_difference(values)


@pytest.mark.parametrize(
    ("means", "margin", "word"),
    [
        ([1.0, 1.1, 0.9, 1.0], None, "more"),
        ([-1.0, -1.1, -0.9], 0.5, "less"),
        ([0.05, 0.055, 0.045, 0.05], 1.0, "negligible"),
        ([0.05, -0.05, 0.02, -0.01], 1.0, "equivalent"),
        ([2.0, -2.0, 1.0], 1.0, "open"),
        ([2.0, -2.0, 1.0], None, "open"),
        ([1.0, 1.1], 5.0, "description"),
    ],
)
def test_the_verdict_over_sessions_reads_the_interval_first_and_then_the_margin(
    means: list[float], margin: float | None, word: str
) -> None:
    tested = margins(means, margin, "CPU-s")
    assert verdict(estimate_of(means), tested).word == word
    assert [row.margin.value for row in tested] == ([] if margin is None else [margin / 4, margin, 4 * margin])


def test_a_session_whose_runs_break_its_plan_is_held_against_it_inside_a_pool(copied: list[Path]) -> None:
    frame = pl.read_parquet(copied[1] / "runs.parquet")
    longer = frame.with_columns(t1_ms=pl.col("t1_ms") + pl.when(pl.col("block") == 0).then(4000).otherwise(0))
    longer.write_parquet(copied[1] / "runs.parquet")
    bundle = renewed(copied[1], lambda plan, manifest: None)
    with pytest.raises(LabError, match=re.escape(str(bundle))):  # the copy of the table has another length
        pooled_sessions(copied[:2])


def test_the_lines_of_the_answer_hold_its_numbers(results: PooledSessions) -> None:
    lines = answer(results)
    assert lines[0].startswith(f"{results.direction}, 4 sessions pooled: {results.estimate.value:.3g} ")
    assert lines[1].startswith(f"verdict: {results.verdict.word}. ")
    assert lines[-1].startswith("5 sessions that scatter like these")
