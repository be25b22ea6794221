"""results.json of bundles with a known truth."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import hardwatt
from hardwatt.analysis.contract import as_json
from hardwatt.analysis.deviations import Deviations
from hardwatt.analysis.figures import figure, text
from hardwatt.analysis.results import analyse, destination
from hardwatt.analysis.table import build
from hardwatt.bundle.model import Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.instruments import crosschecks
from hardwatt.instruments.figure import Measured
from hardwatt.instruments.outcomes import measure
from hardwatt.report.render import report
from hardwatt.testing.synthetic_bundle import Truth

FIGURE = {"value", "unit", "source", "low", "high"}


def true_differences(truth: Truth) -> np.ndarray[Any, np.dtype[np.float64]]:
    runs = Bundle.open(truth.path).runs
    value = {(run.block, run.arm): truth.values[run.run_id]["node_cpu_seconds"] for run in runs}
    return np.array([value[block, "pull"] - value[block, "push"] for block in sorted({run.block for run in runs})])


def test_the_estimate_is_the_true_mean_difference_with_its_t_interval(
    three: Truth, three_results: dict[str, Any]
) -> None:
    d = true_differences(three)
    estimate = three_results["primary"]["estimate"]
    interval = stats.ttest_1samp(d, 0).confidence_interval(0.95)
    assert estimate["value"] == pytest.approx(d.mean(), abs=0.05)
    assert (estimate["low"], estimate["high"]) == pytest.approx((interval.low, interval.high), abs=0.3)
    assert estimate["unit"] and estimate["source"]
    assert three_results["primary"]["level"]["value"] == 95
    assert "t interval with 2 degrees" in three_results["primary"]["method"]
    assert three_results["source"]["energy"] == "modelled"
    assert three_results["n"] == {
        "value": 3,
        "unit": "pairs",
        "source": "runs table of the bundle",
        "low": 3,
        "high": 3,
    }


def test_below_six_pairs_there_is_no_p_value_and_no_verdict(three_results: dict[str, Any]) -> None:
    assert three_results["robustness"] == []
    assert three_results["equivalence"] is None
    assert three_results["verdict"]["word"] == "description"
    assert [row["p"] for row in three_results["secondaries"]] == [None] * len(three_results["secondaries"])
    assert "p-value, two-sided" not in text(three_results)


def test_from_six_pairs_on_there_is_robustness_and_a_verdict(eight: Truth, eight_results: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in eight_results["robustness"]}
    d = true_differences(eight)
    assert rows["Wilcoxon"]["figure"]["value"] == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)
    assert rows["Hodges-Lehmann"]["figure"]["value"] == pytest.approx(
        eight_results["primary"]["estimate"]["value"], abs=0.3
    )
    assert eight_results["verdict"]["word"] == "less"
    assert all(0 <= row["p"]["value"] <= 1 for row in eight_results["secondaries"])


def test_parts_of_the_node_and_checks_are_no_hypotheses(eight_results: dict[str, Any]) -> None:
    assert {row["name"] for row in eight_results["secondaries"]} == {
        "commit_to_ready_seconds",
        "deliveries_ready",
        "git_cpu_seconds",
    }
    assert [row["name"] for row in eight_results["units"]] == ["kubelet_cpu_seconds"]
    assert eight_results["units"][0]["p"] is None
    labels = {row["name"]: row["label"] for row in eight_results["crosschecks"]}
    assert labels["check.meter_cost"] == "what the meter itself costs"


def test_every_cross_check_has_limits_arms_and_a_sentence(eight_results: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in eight_results["crosschecks"]}
    assert {row["sentence"] for row in rows.values()} == {"holds in every window"}
    assert all(row["asked"]["least"] or row["asked"]["most"] for row in rows.values())
    gap = rows["check.scrape_gap"]
    assert gap["asked"] == {"least": None, "most": gap["asked"]["most"]}
    assert gap["asked"]["most"]["value"] == 2.5
    assert gap["asked"]["most"]["unit"] == gap["figure"]["unit"] == "s"
    assert set(gap["arms"]) == {"push", "pull"}
    samples = rows["check.node_cpu_seconds_by_samples"]
    assert samples["asked"]["least"]["value"] < samples["figure"]["value"] < samples["asked"]["most"]["value"]


def test_a_cross_check_that_does_not_hold_is_a_warning_that_names_its_windows(
    eight: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = crosschecks.KINDS["check.meter_cost"]
    kinds = {**crosschecks.KINDS, "check.meter_cost": replace(limits, limits=lambda _bundle, _figures: (None, 0.001))}
    monkeypatch.setattr(crosschecks, "KINDS", kinds)
    results = analyse(eight.path, write=False)
    row = next(row for row in results["crosschecks"] if row["name"] == "check.meter_cost")
    assert row["status"] == "warning"
    assert row["sentence"].startswith("does not hold in 16 of 16 windows (")
    check = next(check for check in results["checks"] if check["name"].startswith("instruments agree"))
    assert check["status"] == "warning"
    assert "what the meter itself costs: does not hold in 16" in check["detail"]


def test_the_planned_level_is_that_of_every_interval(three: Truth) -> None:
    wide, narrow = (analyse(three.path, write=False, deviations=Deviations(confidence=c)) for c in (0.95, 0.5001))
    for path in (("joules", "difference"), ("primary", "estimate")):
        one, two = wide[path[0]][path[1]], narrow[path[0]][path[1]]
        assert one["high"] - one["low"] > 2 * (two["high"] - two["low"])
    one, two = (found["primary"]["arms"]["push"] for found in (wide, narrow))
    assert one["high"] - one["low"] > 2 * (two["high"] - two["low"])


def test_counts_and_namespaces_follow_the_truth(three: Truth, three_results: dict[str, Any]) -> None:
    assert [(arm["name"], arm["commits"]["value"], arm["ready"]["value"]) for arm in three_results["arms"]] == [
        ("push", 9, 9),
        ("pull", 9, 9),
    ]
    rows = {row["label"]: row for row in three_results["namespaces"]}
    runs = Bundle.open(three.path).runs
    truth = np.mean([three.values[run.run_id]["cpu_seconds.kube-system"] for run in runs if run.arm == "push"])
    assert rows["kube-system"]["arms"]["push"]["value"] == pytest.approx(truth, rel=0.02)
    times = [row["figure"]["value"] for row in three_results["delivery"]["commits"] if row["arm"] == "pull"]
    assert len(times) == 9
    assert min(times) >= 5 and max(times) <= 9


def test_joules_stand_beside_with_their_formula(three_results: dict[str, Any]) -> None:
    joules = three_results["joules"]
    assert joules["difference"]["unit"] == "J"
    assert "7.5" in joules["formula"] and "CPU-second" in joules["formula"]
    assert joules["difference"]["value"] == pytest.approx(7.5 * three_results["primary"]["estimate"]["value"], rel=0.15)


def numbers_outside_figures(node: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every number that is not inside a figure."""
    if isinstance(node, dict):
        if set(node) == FIGURE:
            if not (node["unit"] and node["source"]):
                yield f"{path}: a figure without unit or source"
            return
        for key, value in node.items():
            yield from numbers_outside_figures(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from numbers_outside_figures(value, f"{path}[{index}]")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path


def test_every_number_is_a_figure(eight_results: dict[str, Any]) -> None:
    results = json.loads(text(eight_results))
    places = {".position", ".commit"}
    assert [p for p in numbers_outside_figures(results) if not any(p.endswith(place) for place in places)] == []


def test_the_same_bundle_gives_the_same_bytes_elsewhere(three: Truth, tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "bundle", tmp_path / "another place" / "copy"
    for target in (first, second):
        shutil.copytree(three.path, target, ignore=shutil.ignore_patterns("results"))
    analyse(first)
    script = f"from hardwatt.analysis.results import analyse; analyse({str(second)!r})"
    environment = {"PYTHONPATH": str(Path(hardwatt.__file__).parents[1]), "PYTHONHASHSEED": "7", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment)
    one, two = ((target / "results" / "results.json").read_bytes() for target in (first, second))
    assert one == two
    assert str(tmp_path).encode() not in one


def test_a_changed_bundle_is_not_analysed(three: Truth, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(three.path, copy)
    csv = copy / "runs.csv"
    csv.write_text(csv.read_text() + "\n")
    with pytest.raises(VerifyError, match=r"runs\.csv"):
        analyse(copy)
    with pytest.raises(VerifyError, match="no bundle"):
        analyse(tmp_path / "nothing")


def test_results_of_a_shipped_bundle_do_not_go_into_the_package(three: Truth) -> None:
    inside = Path(hardwatt.__file__).parent / "data" / "shipped-bundle"
    assert destination(inside) == Path.cwd() / "results" / "shipped-bundle"
    assert destination(three.path) == three.path.resolve() / "results"


def test_runs_that_do_not_count_are_named_with_their_reason(three: Truth) -> None:
    bundle = Bundle.open(three.path)
    everything = measure(bundle)
    first, second, *rest = sorted(bundle.runs, key=lambda run: run.t0_ms)
    failed = replace(first, status="failed", reason="a pod did not start")
    table = build([failed, second, *rest], everything, ["push", "pull"], "node_cpu_seconds")
    assert len(table.pairs) == 2
    reasons = {e.run_id: e.reason for e in table.exclusions}
    assert "a pod did not start" in reasons[first.run_id]
    assert reasons[second.run_id] == "the other arm of its pair has no usable run"


def test_a_repeat_replaces_the_first_attempt(three: Truth) -> None:
    bundle = Bundle.open(three.path)
    everything = measure(bundle)
    run = bundle.runs[0]
    again = replace(run, run_id="again", repeat=1)
    figures = tuple(replace(o, run_id="again") for o in everything.outcomes if o.run_id == run.run_id)
    table = build(
        [*bundle.runs, again], Measured(everything.outcomes + figures, ()), ["push", "pull"], "node_cpu_seconds"
    )
    assert len(table.pairs) == 3
    assert [(e.run_id, e.reason) for e in table.exclusions] == [
        (run.run_id, "replaced by a later attempt at the same place")
    ]


def test_a_bundle_of_an_experiment_that_failed_is_reported_too(tmp_path: Path) -> None:
    arms = ["push", "pull"]
    rows = [{"run_id": f"p001-{i}-{arm}", "block": 1, "position": i, "arm": arm} for i, arm in enumerate(arms, 1)]
    primary = {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"}
    plan = {"study": "broken", "seed": 3, "arms": arms, "window_seconds": 50, "primary": primary, "runs": rows}
    about = Provenance(seed=3, source="modelled", tool_version="1", git_sha="", dirty=False)
    writer = Writer.create(tmp_path / "bundle", plan, about)
    writer.add_run(Run("p001-1-push", 1, 1, "push", 0, "failed", "the gate did not open in 60 s", 5, 5))
    writer.finish()
    page = report(tmp_path / "bundle")
    results = json.loads(page.with_name("results.json").read_text())
    assert results["n"]["value"] == 0
    assert results["verdict"]["word"] == "nothing"
    assert [check["name"] for check in results["checks"]] == ["made by a committed state of the toolkit"]
    assert results["primary"]["estimate"] == as_json(figure(None, "CPU-seconds", "no complete pair"))
    assert [row["reason"] for row in results["exclusions"]] == ["the run failed: the gate did not open in 60 s"]
    assert "the gate did not open in 60 s" in page.read_text()
    assert "There is no answer" in page.with_suffix(".md").read_text()


def test_more_than_two_arms_are_refused(three: Truth) -> None:
    bundle = Bundle.open(three.path)
    with pytest.raises(LabError, match="two arms"):
        build(bundle.runs, measure(bundle), ["push", "pull", "idle"], "node_cpu_seconds")


def test_numbers_that_are_not_finite_never_reach_the_file() -> None:
    with pytest.raises(LabError, match="not a finite"):
        text({"a": [float("inf")]})
    assert text({"b": 1.0, "a": 0.1 + 0.2}) == '{\n "a": 0.3,\n "b": 1\n}\n'
