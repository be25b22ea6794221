"""Every cross-check has limits and a sentence, and a planted fault is the one that does not hold."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardwatt.bundle.model import Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.instruments.crosschecks import KINDS, judged
from hardwatt.instruments.figure import Figure, Measured, Outcome
from hardwatt.instruments.node import CPU, STEAL
from hardwatt.instruments.outcomes import measure
from hardwatt.testing.synthetic_bundle import Spec, make_bundle

T0 = 1_790_000_000_000
POD_CPU = "container_cpu_usage_seconds_total"


def one(name: str, value: float, low: float, high: float, unit: str = "ratio") -> Outcome:
    return Outcome("r1", "push", 0, 0, name, Figure(value, unit, "test", low, high))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(make_bundle(tmp_path_factory.mktemp("b") / "b", Spec(pairs=2, window_seconds=40)).path)


def test_a_sound_bundle_holds_in_every_window(bundle: Bundle) -> None:
    found = judged(bundle, measure(bundle))
    assert [check.sentence for check in found if not check.holds] == []
    assert {check.run_id for check in found} == {run.run_id for run in bundle.runs}
    assert {check.name for check in found} >= {
        "check.scrape_gap", "check.edge_error", "check.resets", "check.meter_cost", "check.joules_of_formula",
        "check.cpu_lost_of_node", "closure.pods_of_kubepods", "closure.kubepods_of_node",
    }  # fmt: skip


def test_every_cross_check_that_instruments_make_has_limits(bundle: Bundle) -> None:
    made = {out.name for out in measure(bundle).outcomes if out.name.startswith(("check.", "closure."))}
    assert made <= set(KINDS)


def test_the_sentence_says_what_how_much_what_was_asked_and_whether_it_holds(bundle: Bundle) -> None:
    outcomes = (
        one("closure.pods_of_kubepods", 0.9, 0.85, 0.92),
        one("check.cpu_lost_of_node", 0.03, 0.01, 0.05),
        one("check.meter_cost", 0.004, 0.004, 0.004, "CPU-seconds per s"),
    )
    lost, cost, pods = judged(bundle, Measured(outcomes, ()))
    assert pods.sentence == (
        "CPU time of the pods that were seen, of all pods' own counter: 0.9 (0.85 to 0.92); "
        "asked for 0.95 to 1.05: does not hold"
    )
    assert lost.sentence.endswith("asked for -0.02 to 0.02: does not hold, though its bounds allow it")
    assert cost.sentence == "what the meter itself costs: 0.004 CPU-seconds per s; asked for at most 0.005: holds"
    assert [check.holds for check in (lost, cost, pods)] == [False, True, False]


@pytest.mark.parametrize(("margin", "apart"), [(None, 0.2), (10.0, 0.2), (0.2, 0.1)])
def test_the_ends_of_a_window_are_in_doubt_by_less_than_the_margin(
    tmp_path: Path, margin: float | None, apart: float
) -> None:
    """Half a second of the mean pace, whatever the window's length; half the margin where that is less."""
    path = make_bundle(tmp_path / "b", Spec(pairs=1, window_seconds=40)).path
    plan = json.loads((path / "plan.json").read_text())
    plan["primary"] |= {"margin": margin} if margin else {}
    (path / "plan.json").write_text(json.dumps(plan))
    outcomes = (
        one("node_cpu_seconds", 16, 16, 16, "CPU-seconds"),
        one("check.node_cpu_seconds_by_samples", 16.15, 16, 16.3, "CPU-seconds"),
        one("check.edge_error", 0.4, 0.4, 0.4, "s"),
    )
    edge, samples = judged(Bundle.open(path), Measured(outcomes, ()))
    assert (samples.least, samples.most) == pytest.approx((16 - apart, 16 + apart))
    assert edge.most == pytest.approx(apart / 0.4)
    assert edge.holds is samples.holds is (apart == 0.2)


def test_what_kepler_may_miss_grows_with_what_there_was(bundle: Bundle) -> None:
    unseen = one("check.kepler_unseen", 3, 2, 4, "CPU-seconds")
    for whole, holds in ((100.0, True), (50.0, False)):
        pods = one("cpu_seconds.pods", whole, whole, whole, "CPU-seconds")
        (check,) = judged(bundle, Measured((unseen, pods), ()))
        assert check.holds is holds
        assert check.most == pytest.approx(0.05 * whole)


def test_the_bias_of_a_namespace_is_named_and_limited(bundle: Bundle) -> None:
    (check,) = judged(bundle, Measured((one("check.kepler_bias.ci", 0.3, 0.2, 0.4),), ()))
    assert check.about == "Kepler's share of ci, over its share by cgroups"
    assert not check.holds


def counter(name: str, values: list[float], **labels: str) -> SeriesSamples:
    ts = T0 + 1000 * np.arange(-2, len(values) - 2, dtype=np.int64)
    return SeriesSamples({"__name__": name, **labels}, ts, np.array(values))


def planted(path: Path, *series: SeriesSamples) -> dict[str, tuple[float, bool]]:
    """Return each cross-check of a run of ten seconds on two CPUs: its value, and whether it holds."""
    plan = {
        "study": "small", "seed": 1, "arms": ["push"], "window_seconds": 10,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
    }  # fmt: skip
    writer = Writer.create(path, plan, Provenance(1, "modelled", "t", "", False, host={"cpus": 2}))
    for name in {one.labels["__name__"] for one in series}:
        writer.add_samples("r", name, [one for one in series if one.labels["__name__"] == name])
    writer.add_run(replace(Run("r", 0, 0, "push", 0, "done", "", T0, T0 + 10_000)))
    writer.finish()
    bundle = Bundle.open(path)
    return {check.name: (check.figure.value, check.holds) for check in judged(bundle, measure(bundle))}


STEADY = [float(t) for t in range(15)]


def test_stolen_time_is_a_share_of_all_processor_time(tmp_path: Path) -> None:
    stolen = counter(STEAL, [0.4 * t for t in range(15)], job="meter")
    value, holds = planted(tmp_path / "b", counter(CPU, STEADY, job="meter"), stolen)["check.steal"]
    assert value == pytest.approx(0.2)
    assert not holds


def pods(*values: list[float], parent: list[float]) -> list[SeriesSamples]:
    made = [
        counter(POD_CPU, one, id=f"/kubepods/pod{number}", namespace="x", pod=f"p{number}")
        for number, one in enumerate(values)
    ]
    return [*made, counter(POD_CPU, parent, id="/kubepods")]


def test_a_reset_is_counted(tmp_path: Path) -> None:
    back = [0.5 * t if t < 8 else 0.5 * (t - 8) for t in range(15)]
    rows = pods(back, parent=[0.5 * t for t in range(15)])
    assert planted(tmp_path / "b", counter(CPU, STEADY, job="meter"), *rows)["check.resets"] == (1, False)


def test_cpu_of_pods_that_nobody_saw_is_lost_of_the_node(tmp_path: Path) -> None:
    rows = pods([0.3 * t for t in range(15)], parent=[0.5 * t for t in range(15)])
    found = planted(tmp_path / "b", counter(CPU, STEADY, job="meter"), *rows)
    value, holds = found["check.cpu_lost_of_node"]
    assert value == pytest.approx(0.2)
    assert not holds
    assert not found["closure.pods_of_kubepods"][1]
    assert found["closure.kubepods_of_node"][0] == pytest.approx(0.5)
    assert found["closure.kubepods_of_node"][1]


def test_services_and_pods_add_up_to_the_node(tmp_path: Path) -> None:
    unit = counter("hardwatt_unit_cpu_seconds_total", [0.3 * t for t in range(15)], unit="kubelet.service", job="meter")
    rows = [*pods([0.5 * t for t in range(15)], parent=[0.5 * t for t in range(15)]), unit]
    found = planted(tmp_path / "b", counter(CPU, STEADY, job="meter"), *rows)
    assert found["closure.attributed_of_node"][0] == pytest.approx(0.8)
    assert found["closure.attributed_of_node"][1]
