"""The study of what watching costs, on the simulated lab: planted costs, kills, and what is restored."""

import json
from pathlib import Path

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.experiment import operations
from hardwatt.experiment.plan.study_file import load_study
from hardwatt.experiment.testbed import cluster_checks
from hardwatt.experiment.testbed.controller_cost import cpu_seconds
from tests.experiment.simulated import PROMETHEUS_CONFIG, WATCHING_CORES, Killed, SimulatedTestbed, opened
from tests.experiment.test_run import at, journal, throw

STUDY, SEED = "control-observer", 5


def start(lab: Lab, testbed: SimulatedTestbed, *, pairs: int = 1, resume: bool = False) -> Path:
    return operations.run(
        lab, "" if resume else STUDY, pairs=None if resume else pairs, seed=None if resume else SEED, resume=resume,
        open_testbed=lambda of: opened(testbed, of),
    )  # fmt: skip


def assert_restored(lab: Lab, testbed: SimulatedTestbed) -> None:
    assert testbed.disk.data["stateful"] == {"prometheus-k8s": 1}
    assert testbed.disk.data["config"] == PROMETHEUS_CONFIG
    assert set(testbed.disk.data["replicas"].values()) == {1}
    assert not [name for name, held in testbed.disk.data["objects"].items() if "spec" in held and "exporter" in name]
    assert journal(lab).state.undo == ()


def test_each_arm_is_watched_as_it_says_and_the_lab_is_restored(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")
    bundle = Bundle.open(start(lab, testbed))
    study, cpu = load_study(ROOT, STUDY), {(edge.run_id, edge.edge): edge.values for edge in bundle.edges}
    name, window = "hardwatt_node_cpu_seconds_total", bundle.plan.window_seconds
    spent = {run.arm: cpu[run.run_id, "end"][name] - cpu[run.run_id, "start"][name] for run in bundle.runs}
    for arm in study.arms:
        levels = study.levels_of(arm)
        planted = WATCHING_CORES.get(str(levels["prometheus"]), 0.0) + 0.05 * bool(levels["flux"])
        assert spent[arm] - spent["alone"] == pytest.approx(window * planted, abs=1e-6), arm
    assert_restored(lab, testbed)


def test_a_run_without_prometheus_says_so_and_counts(lab: Lab, tmp_path: Path) -> None:
    bundle = Bundle.open(start(lab, SimulatedTestbed(tmp_path / "cluster.json")))
    for run in bundle.runs:
        log = json.loads((bundle.path / f"log/{run.run_id}.json").read_text())
        assert (run.status, log["not_scraped"]) == ("done", "Prometheus does not run")


@pytest.mark.parametrize(
    "event", ["quiet", "commit", "push", "sleep", "edge start", "edge end", "marks", "reset", "dump"]
)
@pytest.mark.parametrize("count", [1, 4])
def test_a_process_killed_anywhere_restores_prometheus_at_the_next_start(
    event: str, count: int, lab: Lab, tmp_path: Path
) -> None:
    cluster = tmp_path / "cluster.json"
    with pytest.raises(Killed):
        start(lab, SimulatedTestbed(cluster, on=at(event, 1 if event == "quiet" else count, throw(Killed()))))
    testbed = SimulatedTestbed(cluster)
    bundle = Bundle.open(start(lab, testbed, resume=True))
    assert sum(run.status == "done" for run in bundle.runs) >= len(bundle.plan.arms)
    assert_restored(lab, testbed)


class Pods:
    """A cluster with one Prometheus, started at a moment, or none."""

    def __init__(self, replicas: int, state: dict[str, object] | None) -> None:
        self.replicas, self.state = replicas, state

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, object] | None:
        if kind == "StatefulSet":
            return {"spec": {"replicas": self.replicas}}
        return None if self.state is None else {"status": {"containerStatuses": [{"state": self.state}]}}


STARTED = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}


@pytest.mark.parametrize(
    ("replicas", "state", "t0", "reason"),
    [
        (0, None, 1_800_000_100_000, "does not run"),
        (1, None, 1_800_000_100_000, "no running pod"),
        (1, {"waiting": {}}, 1_800_000_100_000, "no running pod"),
        (1, STARTED, 1_799_999_999_000, "started after"),
        (1, STARTED, 1_800_000_100_000, ""),
    ],
)
def test_samples_are_expected_of_a_prometheus_that_ran_all_the_time(
    replicas: int, state: dict[str, object] | None, t0: int, reason: str
) -> None:
    said = cluster_checks.why_no_samples(Pods(replicas, state), t0)  # type: ignore[arg-type]
    assert reason in said if reason else said == ""


def stat(folder: Path, pid: int, parent: int, ticks: tuple[int, int, int, int], name: str = "a) b (c") -> None:
    (folder / str(pid)).mkdir(parents=True)
    fields = ["S", str(parent), *("0" * 9), *map(str, ticks), "20"]
    (folder / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


def test_the_controllers_time_is_that_of_its_whole_tree(tmp_path: Path) -> None:
    stat(tmp_path, 10, 1, (100, 50, 30, 20))
    stat(tmp_path, 11, 10, (40, 0, 0, 0))
    stat(tmp_path, 12, 11, (5, 5, 0, 0))
    stat(tmp_path, 13, 1, (9999, 0, 0, 0))
    (tmp_path / "14").mkdir()
    assert cpu_seconds(tmp_path, 10) == pytest.approx(2.5)
    assert cpu_seconds(tmp_path / "nothing", 10) > 0
    assert cpu_seconds() > 0
