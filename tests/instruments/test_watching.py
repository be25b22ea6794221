"""Cost of watching by its own cgroups, the controller and its neighbours: planted counters come out as figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardwatt.bundle.model import Edge, Provenance
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.instruments.controller import CONTROLLER_CPU
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.outcomes import measure
from hardwatt.testing.recorded_node import RecordedNode
from tests.instruments.test_recorder import recorded, run

PODS = {
    "u1": ("monitoring", "prometheus-k8s-0", 12),
    "u2": ("monitoring", "node-exporter-abcde", 3),
    "u3": ("monitoring", "grafana-1", 7),
    "u4": ("elsewhere", "prometheus-k8s-0", 50),
}
"""UID -> namespace, pod and its milliseconds a second."""


def watched(node: RecordedNode, second: int) -> None:
    """All that a recorder of an embedded node writes."""
    for uid, (namespace, pod, ms) in PODS.items():
        node.more["pod", uid] = {"namespace": namespace, "pod": pod}
        node.values["pod", uid] = node.values.get(("pod", uid), 0) + ms * 1_000_000
    node.values["self", "self"] += 2_000_000
    node.values["node", "node"] += 200_000_000
    node.more["host", "host"] = {"source": "procstat", "unit": "ticks"}
    node.values["host", "host"] = node.values.get(("host", "host"), 1000) + 50
    node.values["named", "bystander"] = node.values.get(("named", "bystander"), 0) + 30_000_000


def alone(node: RecordedNode, second: int) -> None:
    """A recorder beside which nothing watches."""
    node.values["node", "node"] += 100_000_000
    node.more["pod", "u4"] = {"namespace": "elsewhere", "pod": "prometheus-k8s-0"}
    node.values["pod", "u4"] = node.values.get(("pod", "u4"), 0) + 50_000_000


def measured(folder: Path, own: dict[str, tuple[float | None, float | None]], host: str = "embedded") -> Bundle:
    """A bundle of two runs, one watched and one not; ``own``: run -> the controller's counter at both ends."""
    runs = [replace(run(10, 40, "watched"), arm="a"), replace(run(10, 40, "alone"), block=1, arm="b")]
    plan = {
        "study": "s", "seed": 1, "arms": ["a", "b"], "window_seconds": 30,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": one.run_id, "block": one.block, "position": 0, "arm": one.arm} for one in runs],
    }  # fmt: skip
    writer = Writer.create(folder / "b", plan, Provenance(1, "rapl", "t", "", False, host={"kind": host}))
    for one, change in zip(runs, (watched, alone), strict=True):
        (folder / one.run_id).mkdir()
        writer.add_recording(one.run_id, recorded(folder / one.run_id, change).read_bytes())
        for name, moment, value in zip(("start", "end"), (one.t0_ms, one.t1_ms), own[one.run_id], strict=True):
            values = {} if value is None else {CONTROLLER_CPU: value}
            writer.add_edge(Edge(one.run_id, name, moment, moment, moment, values))  # type: ignore[arg-type]
        writer.add_run(one)
    writer.finish()
    return Bundle.open(folder / "b")


def outcomes(bundle: Bundle) -> dict[tuple[str, str], Figure]:
    return {(row.run_id, row.name): row.figure for row in measure(bundle).outcomes}


def test_each_watcher_is_told_apart_and_is_nothing_where_it_does_not_run(tmp_path: Path) -> None:
    told = outcomes(measured(tmp_path, {"watched": (1.0, 4.0), "alone": (4.0, 4.5)}))
    expected = {
        "watching.prometheus": 0.36, "watching.node-exporter": 0.09, "recorder_cpu_seconds": 0.06,
        "cpu_seconds.monitoring": 0.66, "cpu_seconds.elsewhere": 1.5, "bystander_cpu_seconds": 0.9,
    }  # fmt: skip
    for name, value in expected.items():
        figure = told["watched", name]
        assert figure.value == pytest.approx(value, rel=1e-3), name
        assert figure.low <= figure.value <= figure.high
    for name in ("watching.prometheus", "watching.node-exporter", "cpu_seconds.monitoring"):
        assert told["alone", name].value == 0, name
    assert told["alone", "cpu_seconds.elsewhere"].value == pytest.approx(1.5, rel=1e-3)


def test_the_controllers_time_has_its_kind_and_is_no_part_of_the_node(tmp_path: Path) -> None:
    told = outcomes(measured(tmp_path, {"watched": (1.0, 4.0), "alone": (4.0, 4.5)}))
    own = told["watched", "controller_cpu_seconds"]
    assert (own.value, own.unit) == (3.0, "CPU-seconds")
    assert own.low == pytest.approx(2.98) and own.high == pytest.approx(3.02)
    assert "on the node's processors, not in the node's figure" in own.source
    assert told["watched", "node_cpu_seconds"].value == pytest.approx(13.5, rel=1e-3)
    around = told["watched", "neighbours_cpu_seconds"]
    assert around.low <= 30 * 0.5 - 13.5 <= around.high
    assert ("alone", "neighbours_cpu_seconds") not in told


def test_a_controller_elsewhere_one_that_said_nothing_and_one_that_began_again(tmp_path: Path) -> None:
    bundle = measured(tmp_path, {"watched": (5.0, 1.0), "alone": (None, None)}, host="ssh")
    refusals = {(row.run_id, row.name): row.reason for row in measure(bundle).refusals}
    assert "started anew" in refusals["watched", "controller_cpu_seconds"]
    assert ("alone", "controller_cpu_seconds") not in {**outcomes(bundle), **refusals}
    (tmp_path / "2").mkdir()
    apart = outcomes(measured(tmp_path / "2", {"watched": (1.0, 2.0), "alone": (None, None)}, host="ssh"))
    assert "on a machine of its own" in apart["watched", "controller_cpu_seconds"].source
