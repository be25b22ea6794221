"""Windows of the lab under test as a bundle: counters read at both edges, samples dumped, figures by instruments."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hardwatt.bundle.model import Edge, Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.cluster import client as cluster_client
from hardwatt.cluster import port_forward
from hardwatt.config.lab import Lab
from hardwatt.core.wait import wait
from hardwatt.dump.run import dump_run
from hardwatt.experiment.testbed.kubernetes_testbed import KubernetesTestbed, open_testbed
from hardwatt.experiment.testbed.node_exporter import meter_info
from hardwatt.instruments.crosschecks import Crosscheck, judged
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.outcomes import measure
from hardwatt.meter import models
from hardwatt.mirror import fill

TICKS = 100
"""Of a CPU-second in /proc/PID/stat: USER_HZ, the same on every Linux."""

BURN = """
now() { read -r line < /proc/self/stat; set -- $line; used=$((${14} + ${15})); }
burn() { now; first=$used; while [ $used -lt $((first + $1)) ]; do now; done; echo "burnt $((used - first))"; }
"""
"""``burn TICKS`` in a process of its own uses so much processor time and says how much it was."""


class Windows:
    """Windows one after the other; ``bundle`` writes what was seen of them."""

    def __init__(self, lab: Lab, testbed: KubernetesTestbed, core: Any) -> None:
        self.lab, self.core = lab, core
        self._testbed = testbed
        self._edges: list[tuple[Edge, Edge]] = []

    def during(self, name: str, act: Callable[[], object]) -> None:
        """Read the counters, do something, read them again."""
        start = self._testbed.edge(name, "start")
        act()
        self._edges.append((start, self._testbed.edge(name, "end")))

    def quiet(self, name: str, seconds: float) -> None:
        """A window in which nothing is done."""
        self.during(name, lambda: self._testbed.clock.sleep(seconds))

    def bundle(self, folder: Path) -> Bundle:
        """Dump every window and return them all."""
        info = meter_info(self._edges[0][0].values)
        cpus = int(self._edges[0][0].values["hardwatt_node_cpus"])
        host = {"kind": "embedded", "proc_stat": "host", "cpus": cpus}
        model = models.load_models()[info["model"]].record(cpus)
        names = [start.run_id for start, _ in self._edges]
        writer = Writer.create(
            folder, _plan(names), Provenance(1, "modelled", "test", "", False, host=host, power_model=model)
        )
        for number, (start, end) in enumerate(self._edges):
            dump_run(port_forward.prometheus_url(self.lab), start.run_id, start.node_ms, end.node_ms, writer)
            writer.add_edge(start)
            writer.add_edge(end)
            writer.add_run(Run(start.run_id, number, 0, "window", 0, "done", "", start.node_ms, end.node_ms))
        writer.finish()
        return Bundle.open(folder)


def _plan(names: list[str]) -> dict[str, Any]:
    return {
        "study": "windows", "seed": 1, "arms": ["window"], "window_seconds": 30,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "none"},
        "runs": [{"run_id": name, "block": at, "position": 0, "arm": "window"} for at, name in enumerate(names)],
    }  # fmt: skip


class Seen:
    """Every figure of every window, and the windows' lengths in seconds."""

    def __init__(self, bundle: Bundle) -> None:
        measured = measure(bundle)
        self.figures = {(one.run_id, one.name): one.figure for one in measured.outcomes}
        self.refused = {(one.run_id, one.name): one.reason for one in measured.refusals}
        self.seconds = {run.run_id: run.seconds for run in bundle.runs}
        self.checks: list[Crosscheck] = judged(bundle, measured)

    def get(self, run_id: str, name: str) -> Figure:
        """Return a figure; its absence is shown with the reason."""
        assert (run_id, name) in self.figures, self.refused.get((run_id, name), f"{run_id} has no {name}")
        return self.figures[run_id, name]

    def above(self, run_id: str, name: str, quiet: tuple[str, str]) -> float:
        """Return what a window has more than the quiet ones around it, for its length."""
        idle = sum(self.get(other, name).value for other in quiet) / sum(self.seconds[other] for other in quiet)
        return self.get(run_id, name).value - idle * self.seconds[run_id]


@contextlib.contextmanager
def windows(lab: Lab, *namespaces: str) -> Iterator[Windows]:
    """Yield windows of a lab that is up; the namespaces are there meanwhile, and gone afterwards."""
    from kubernetes import client

    with cluster_client.connect(lab) as api, open_testbed(lab) as testbed:
        core: Any = client.CoreV1Api(api)
        for name in namespaces:
            core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
        try:
            yield Windows(lab, testbed, core)
        finally:
            for name in namespaces:
                core.delete_namespace(name)


def start_pod(seen: Windows, namespace: str, name: str, script: str) -> None:
    """Start a pod that runs a script once, on the runner's image."""
    from kubernetes import client

    image = fill.load(seen.lab).image("hardwatt.dev/runner").reference
    container = client.V1Container(name="burn", image=image, command=["sh", "-c", BURN + script])
    spec = client.V1PodSpec(containers=[container], restart_policy="Never", termination_grace_period_seconds=0)
    seen.core.create_namespaced_pod(namespace, client.V1Pod(metadata=client.V1ObjectMeta(name=name), spec=spec))


def wait_phase(seen: Windows, namespace: str, name: str, phase: str, timeout: float) -> None:
    """Wait until a pod is in a phase."""
    wait(
        lambda: seen.core.read_namespaced_pod(name, namespace).status.phase,
        lambda found: found == phase,
        what=f"pod {name}",
        timeout=timeout,
        delay=0.5,
        error=lambda found: "it failed" if found == "Failed" else None,
    )


def burnt(seen: Windows, namespace: str, name: str, timeout: float = 0.0) -> float:
    """Return the CPU-seconds that a pod says it burnt; wait until it says so where a timeout is given."""

    def lines() -> list[str]:
        log = str(seen.core.read_namespaced_pod_log(name, namespace))
        return [line for line in log.splitlines() if line.startswith("burnt ")]

    # Each look costs the node some milliseconds: few of them.
    found = wait(lines, bool, what=f"{name} to end its burning", timeout=timeout, delay=4) if timeout else lines()
    assert len(found) == 1, found
    return int(found[0].split()[1]) / TICKS
