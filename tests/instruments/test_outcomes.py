"""From a bundle with known truth to figures, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardwatt.bundle.model import Edge, Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import RefusedError, VerifyError
from hardwatt.core.files import read_json, write_json
from hardwatt.dump.selectors import DEFAULT
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.node import CPU, JOULES
from hardwatt.instruments.outcomes import INSTRUMENTS, measure, outcomes
from hardwatt.testing.synthetic_bundle import Spec, Truth, make_bundle

T0 = 1_790_000_000_000


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b", Spec(pairs=4, window_seconds=40))


def test_every_series_that_an_instrument_needs_is_dumped_and_its_words_are_there() -> None:
    assert [one.name for one in INSTRUMENTS] == ["node", "cgroup", "kepler"]
    for one in INSTRUMENTS:
        assert set(one.series) <= set(DEFAULT)
        assert one.covers and one.error


def test_every_truth_lies_within_its_figure(truth: Truth) -> None:
    found = {(one.run_id, one.name): one.figure for one in outcomes(Bundle.open(truth.path))}
    wrong = [
        (run_id, name, value, found[run_id, name])
        for run_id, values in truth.values.items()
        for name, value in values.items()
        if not found[run_id, name].low - 1e-3 <= value <= found[run_id, name].high + 1e-3
    ]
    assert wrong == []
    assert len(found) >= 8 * 15


def test_the_primary_is_sharp_because_the_edges_are_read_directly(truth: Truth) -> None:
    for one in outcomes(Bundle.open(truth.path)):
        if one.name == "node_cpu_seconds":
            value = truth.values[one.run_id]["node_cpu_seconds"]
            assert one.figure.value == pytest.approx(value, abs=0.05)
            assert one.figure.high - one.figure.low < 0.7


def test_nothing_is_refused_and_the_units_are_said(truth: Truth) -> None:
    measured = measure(Bundle.open(truth.path))
    assert measured.refusals == ()
    units = {one.name: one.figure.unit for one in measured.outcomes}
    assert units["node_cpu_seconds"] == units["cpu_seconds.ci"] == units["git_cpu_seconds"] == "CPU-seconds"
    assert (units["node_joules"], units["commit_to_ready_seconds"]) == ("J", "s")
    sources = {one.figure.source for one in measured.outcomes if one.name == "node_joules"}
    assert sources == {"modelled from CPU-seconds by the power model synthetic"}


def test_modelled_joules_are_the_formula_on_cpu_seconds(truth: Truth) -> None:
    ratios = [one.figure for one in outcomes(Bundle.open(truth.path)) if one.name == "check.joules_of_formula"]
    assert len(ratios) == 8
    assert all(ratio.value == pytest.approx(1, abs=0.01) for ratio in ratios)


def test_joules_of_another_model_than_the_bundles_are_withheld(tmp_path: Path, truth: Truth) -> None:
    """As after 75 for 7.5 watts in the node's configuration: the formula in the manifest gives other joules."""
    folder = tmp_path / "bundle"
    shutil.copytree(truth.path, folder)
    manifest = read_json(folder / "manifest.json")
    for point in manifest["power_model"]["points"]:
        point[1] *= 1.1
    write_json(folder / "manifest.json", manifest)
    measured = measure(Bundle.open(folder))
    assert not [one for one in measured.outcomes if one.name == "node_joules"]
    reasons = {refusal.reason for refusal in measured.refusals if refusal.name == "node_joules"}
    assert reasons == {"withheld: the zone has 0.909 times the joules that the power model of the bundle gives"}
    assert len([one for one in measured.outcomes if one.name == "node_cpu_seconds"]) == 8


def test_what_the_meter_costs(truth: Truth) -> None:
    costs = [one.figure for one in outcomes(Bundle.open(truth.path)) if one.name == "check.meter_cost"]
    assert [cost.value for cost in costs] == pytest.approx([0.004] * 8, rel=1e-3)
    assert costs[0].unit == "CPU-seconds per s"


def small(path: Path, points: list[tuple[float, float]], *, edges: bool = True, **changes: object) -> Bundle:
    """A bundle of one run of ten seconds with one counter, given as (seconds from t0, value)."""
    plan = {
        "study": "small",
        "seed": 1,
        "arms": ["push"],
        "window_seconds": 10,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
    }
    provenance = Provenance(1, "modelled", "t", "", False, host={"cpus": 2})
    writer = Writer.create(path, plan, provenance)
    ts = np.array([T0 + round(t * 1000) for t, _ in points], dtype=np.int64)
    values = np.array([value for _, value in points], dtype=np.float64)
    writer.add_samples("r", CPU, [SeriesSamples({"__name__": CPU, "job": "meter"}, ts, values)])
    if edges:
        writer.add_edge(Edge("r", "start", T0 - 2, T0 + 2, T0, {CPU: 50.0}))
        writer.add_edge(Edge("r", "end", T0 + 9998, T0 + 10002, T0 + 10000, {CPU: 55.0}))
    run = Run("r", 0, 0, "push", 0, "done", "", T0, T0 + 10_000)
    writer.add_run(replace(run, **changes))  # type: ignore[arg-type]
    writer.finish()
    return Bundle.open(path)


STEADY = [(t + 0.25, 50 + (t + 0.25) / 2) for t in range(-3, 13)]


def figure(bundle: Bundle, name: str) -> Figure:
    return next(one.figure for one in outcomes(bundle) if one.name == name)


def reasons(bundle: Bundle) -> dict[str, str]:
    return {one.name: one.reason for one in measure(bundle).refusals}


def test_edges_alone_agree_with_samples(tmp_path: Path) -> None:
    bundle = small(tmp_path / "b", STEADY)
    assert figure(bundle, "node_cpu_seconds").value == pytest.approx(5)
    assert figure(bundle, "check.node_cpu_seconds_by_samples").value == pytest.approx(5)
    assert figure(bundle, "check.scrape_gap").value == 1


def test_without_edges_the_samples_carry_the_window(tmp_path: Path) -> None:
    bundle = small(tmp_path / "b", STEADY, edges=False)
    whole = figure(bundle, "node_cpu_seconds")
    assert whole.value == pytest.approx(5)
    assert 0.5 < whole.high - whole.low <= 1.01
    assert reasons(bundle)["check.edge_error"] == "the counters were not read at both edges"


def test_a_gap_refuses_by_name(tmp_path: Path) -> None:
    bundle = small(tmp_path / "b", [point for point in STEADY if not 3 < point[0] < 7])
    assert reasons(bundle)["node_cpu_seconds"] == f"{CPU}: a gap longer than the declared one"
    assert figure(bundle, "check.scrape_gap").value == 5


def test_a_machine_that_was_started_anew_in_the_window_has_no_figure(tmp_path: Path) -> None:
    points = [(t, value if t < 5 else value - 52.5) for t, value in STEADY]
    bundle = small(tmp_path / "b", points, edges=False)
    assert "began again from zero in the window" in reasons(bundle)["node_cpu_seconds"]


def test_a_counter_that_falls_a_little_is_no_machine_that_was_started_anew(tmp_path: Path) -> None:
    points = [(t, value if t < 5 else value - 0.6) for t, value in STEADY]
    bundle = small(tmp_path / "b", points, edges=False)
    assert "no fresh start" in reasons(bundle)["node_cpu_seconds"]


def test_what_was_not_scraped_is_refused_by_name(tmp_path: Path) -> None:
    found = reasons(small(tmp_path / "b", STEADY))
    assert found["node_joules"] == f"no samples of {JOULES}"
    assert "no samples" in found["git_cpu_seconds"]
    assert found["cpu_seconds.*"] == "no samples of container_cpu_usage_seconds_total"
    assert found["commit_to_ready_seconds"] == "no commit became Ready"


def test_failed_runs_have_no_outcomes(tmp_path: Path) -> None:
    bundle = small(tmp_path / "b", STEADY, status="failed", reason="the gate did not open")
    assert outcomes(bundle) == []


def test_a_fake_meter_is_refused(truth: Truth) -> None:
    bundle = Bundle.open(truth.path)
    fake = bundle.manifest.model_copy(update={"source": "fake"})
    with pytest.raises(RefusedError, match="no measurement"):
        measure(Bundle(bundle.path, fake))


@pytest.mark.parametrize(
    "numbers", [(1.0, 2.0, 3.0), (2.0, 1.0, 1.5), (float("nan"), 0.0, 1.0), (float("inf"), 0.0, float("inf"))]
)
def test_a_figure_outside_its_bounds_cannot_be_made(numbers: tuple[float, float, float]) -> None:
    value, low, high = numbers
    with pytest.raises(VerifyError):
        Figure(value, "J", "test", low, high)


def test_a_figure_without_unit_or_source_cannot_be_made() -> None:
    with pytest.raises(VerifyError, match="unit and a source"):
        Figure(1, "J", "", 1, 1)
