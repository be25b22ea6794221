"""Looks at the node where power is measured, where a counter begins again, and where work queues hold something."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from hardwatt.bundle.model import Edge
from hardwatt.core.errors import WaitError
from hardwatt.experiment.plan.study_model import Study, override
from hardwatt.experiment.run import gate
from hardwatt.experiment.run.loop import _gate_flags
from hardwatt.experiment.testbed import rest
from hardwatt.instruments.zones import between

INFO = 'hardwatt_meter_info{source="rapl",model=""}'
ZONES = ('node_rapl_package_joules_total{index="0"}', 'node_rapl_package_joules_total{index="1"}')


class Node:
    """A node whose edges are given: (CPU-seconds, joules of each of two packages), two seconds apart."""

    def __init__(self, readings: list[tuple[float, float, float]], source: str = INFO) -> None:
        self._readings: Iterator[tuple[int, tuple[float, float, float]]] = enumerate(readings)
        self._source = source
        self.now = 0.0
        self.clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self._pass)

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def edge(self, run_id: str, edge: Any) -> Edge:
        number, (cpu, first, second) = next(self._readings)
        values = {gate.CPU: cpu, ZONES[0]: first, ZONES[1]: second, self._source: 1.0}
        at = 1_000_000 + 2000 * number
        return Edge(run_id, edge, at, at, at, values)

    def celsius(self) -> float | None:
        return None

    def unsettled(self, study: Study) -> list[str]:
        return []


def seen(node: Node) -> gate.Look:
    return gate.look(node, 2.0)  # type: ignore[arg-type] # what a look needs


def test_power_is_that_of_all_packages_where_it_is_measured() -> None:
    assert seen(Node([(10, 100, 50), (11, 120, 60)])) == gate.Look(0.5, 15.0)
    modelled = 'hardwatt_meter_info{source="modelled",model="x"}'
    assert seen(Node([(10, 100, 50), (11, 120, 60)], modelled)).watts is None


def test_a_counter_of_energy_that_wrapped_tells_no_power() -> None:
    assert seen(Node([(10, 262_000, 50), (11, 20, 60)])).watts is None


def test_a_twin_adds_nothing_to_the_power_at_the_gate() -> None:
    pages = [
        {f'node_rapl_package_joules_total{{index="0",path="/sys/class/powercap/{folder}:0"}}': value
         for folder in ("intel-rapl", "intel-rapl-mmio")} for value in (100.0, 130.0)
    ]  # fmt: skip
    assert between(*pages) == 30.0
    still = [{**page, next(iter(page)): 7.0} for page in pages]
    assert between(*still) == 30.0
    assert between(pages[0], pages[0]) is None
    assert between({}, {}) is None


def test_a_meter_that_began_again_is_looked_at_once_more() -> None:
    assert seen(Node([(10, 0, 0), (0.5, 0, 0), (0.5, 0, 0), (1.5, 0, 0)])).cores == 0.5
    with pytest.raises(WaitError, match="fell in 3 looks"):
        seen(Node([(10, 0, 0), (1, 0, 0)] * 3))


def test_power_above_its_band_keeps_the_gate_shut(study: Study) -> None:
    idle = gate.Baseline(1, "before", 0, 1, 0.5, 15.0, None, 0.0)
    bands = override(study, {"gate.power_band_watts": 2.0}, "test")
    readings = [(10.0, 100.0, 50.0), (11.0, 140.0, 60.0), (12.0, 150.0, 70.0), (13.0, 172.0, 80.0)]
    said: list[str] = []
    passed = gate.pass_gate(Node(readings), bands, idle, said.append)  # type: ignore[arg-type] # what a gate needs
    assert said == ["gate waits: the node takes 25.0 W, its baseline is 15.0 W"]
    assert (passed.watts, passed.waited_for) == (16.0, ("the node takes 25.0 W, its baseline is 15.0 W",))


def controller(name: str, *, phase: str = "Running", port: str = "http-prom", restarts: int = 0) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "flux-system", "name": name},
        "spec": {"containers": [{"name": "manager", "ports": [{"name": port, "containerPort": 8080}]}]},
        "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts, "ready": True}]},
    }


def test_controllers_with_work_in_their_queues_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    page = 'go_goroutines 9\nworkqueue_depth{name="a"} 2\nworkqueue_depth{name="b"} 1\nworkqueue_depth_x 9\n'
    asked: list[str] = []

    def proxy(name: str, namespace: str, path: str, **_: Any) -> Any:
        asked.append(f"{namespace} {name} {path}")
        return SimpleNamespace(data=page.encode())

    core = SimpleNamespace(connect_get_namespaced_pod_proxy_with_path=proxy)
    monkeypatch.setattr(client, "CoreV1Api", lambda api: core)
    pods = [controller("busy"), controller("off", phase="Pending"), controller("other", port="http")]
    api: Any = None  # never reached: the API is the double
    assert rest.queue_problems(api, "flux-system", pods, 0) == ["busy has 3 items in its work queues"]
    assert rest.queue_problems(api, "flux-system", pods, 3) == []
    assert rest.queue_problems(api, "monitoring", pods, 0) == []
    assert set(asked) == {"flux-system busy:8080 metrics"}


def test_restarts_of_all_containers_are_counted() -> None:
    assert rest.restarts([controller("a", restarts=2), controller("b", restarts=1), {"metadata": {}}]) == 3.0


MARGIN = {
    "value": 10.0, "unit": "CPU-ms per s", "because": "Nobody changes how they deliver for that.", "plausible": 100.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "seconds", "commits", "cores"),
    [
        ("CPU-ms per s", 45.0, 3, 0.01), ("CPU-ms per s", 90.0, 3, 0.01),
        ("CPU-ms per deployment", 45.0, 3, 0.03 / 45), ("CPU-ms per deployment", 90.0, 3, 0.03 / 90),
    ],
)  # fmt: skip
def test_the_band_follows_from_margin_and_window(
    study: Study, unit: str, seconds: float, commits: int, cores: float
) -> None:
    margined = override(study, {"primary.margin": {**MARGIN, "unit": unit}, "estimand.window_seconds": seconds}, "test")
    assert margined.trace.commits == commits
    assert margined.margin_cores == pytest.approx(cores)
    assert study.margin_cores is None
    joules = {"primary.margin": {**MARGIN, "unit": "mW"}, "primary.outcome": "node_joules"}
    assert override(study, joules, "test").margin_cores is None


def test_a_level_beyond_the_margin_is_waited_for_and_then_recorded_in_the_answers_unit(study: Study) -> None:
    margined = override(study, {"primary.margin": MARGIN, "gate.patience_seconds": 5.0}, "test")
    idle = gate.Baseline(1, "before", 0, 1, 0.5, None, None, 0.0)
    falls = [(10.0, 0, 0), (11.2, 0, 0), (20.0, 0, 0), (21.01, 0, 0)]
    said: list[str] = []
    passed = gate.pass_gate(Node(falls), margined, idle, said.append)  # type: ignore[arg-type] # what a gate needs
    assert said == ["gate waits: the node uses 0.600 cores, its baseline is 0.500, and the margin is 0.010 cores"]
    assert (passed.cores, passed.beyond_margin, _gate_flags(margined, passed)) == (0.505, None, ())
    stays = [(10.0 * number + 1.14 * place, 0.0, 0.0) for number in range(3) for place in range(2)]
    passed = gate.pass_gate(Node(stays), margined, idle, said.append)  # type: ignore[arg-type] # what a gate needs
    assert passed.beyond_margin == pytest.approx(0.07)
    assert _gate_flags(margined, passed) == (
        "gate 0.070 cores above the idle baseline: 3.1 CPU-s in a window where the margin is 0.45 CPU-s",
    )
    assert gate.pass_gate(Node(stays), study, idle, said.append).beyond_margin is None  # type: ignore[arg-type] # same
