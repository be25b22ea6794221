"""The parts that read the world: rollouts, pods, the git server's log, checks, the workload's manifests."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.cluster.conditions import condition
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import CommandError, LabError, RefusedError
from hardwatt.experiment.plan.study_file import Study
from hardwatt.experiment.run.window import sleep_until
from hardwatt.experiment.testbed import cluster_checks
from hardwatt.experiment.testbed.git_log import parse_fetches
from hardwatt.experiment.testbed.node_exporter import meter_info
from hardwatt.experiment.testbed.rest import pod_problems
from hardwatt.experiment.testbed.rollouts import REVISION, RolloutLog, is_ready
from hardwatt.experiment.testbed.workload import WorkingCopy, base_kustomization, kustomization, manifests
from tests.experiment.simulated import Disk, SimClock

ROLLED_OUT: dict[str, Any] = {
    "metadata": {"name": "app", "generation": 4, "annotations": {REVISION: "r1"}},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
}


def deployment(revision: str = "r1", **status: int) -> dict[str, Any]:
    found = copy.deepcopy(ROLLED_OUT)
    found["metadata"]["annotations"] = {REVISION: revision}
    found["status"].update(status)
    return found


def test_a_rolled_out_deployment_is_ready() -> None:
    assert is_ready(ROLLED_OUT)


@pytest.mark.parametrize(
    "status",
    [{"observedGeneration": 3}, {"updatedReplicas": 1}, {"availableReplicas": 1}, {"replicas": 3}],
)
def test_a_deployment_in_between_is_not_ready(status: dict[str, int]) -> None:
    found = deployment()
    found["status"].update(status)
    assert not is_ready(found)


def test_a_new_deployment_without_status_is_not_ready() -> None:
    assert not is_ready({"metadata": {"generation": 1}, "spec": {"replicas": 1}})


def test_the_first_moment_at_which_a_revision_was_ready_counts() -> None:
    log = RolloutLog()
    log.add(deployment("r1", updatedReplicas=1), 100)
    assert log.ready_ms("r1") is None
    for now in (200, 300):
        log.add(deployment("r1"), now)
    log.add(deployment("r2", availableReplicas=1), 400)
    assert (log.ready_ms("r1"), log.ready_ms("r2")) == (200, None)
    assert log.seen() == ["r1", "r2"]


def test_a_broken_watch_is_not_taken_for_a_slow_rollout() -> None:
    log = RolloutLog()
    log.fail(OSError("reset by peer"))
    with pytest.raises(LabError, match="reset by peer"):
        log.ready_ms("r1")


def pod(name: str, phase: str = "Running", *, ready: bool = True, ending: bool = False) -> dict[str, Any]:
    meta: dict[str, Any] = {"namespace": "x", "name": name}
    if ending:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": meta, "status": {"phase": phase, "containerStatuses": [{"name": "c", "ready": ready}]}}


def test_pods_at_rest_are_no_problem_and_the_others_are_named() -> None:
    assert pod_problems([pod("a"), pod("b", "Succeeded", ready=False)]) == []
    found = pod_problems([pod("c", "Pending"), pod("d", ready=False), pod("e", ending=True), pod("f", "Failed")])
    assert found == [
        "pod x/c is Pending",
        "pod x/d is not ready (c)",
        "pod x/e is ending",
        "pod x/f is Failed",
    ]


def test_only_allowed_fetches_within_the_window_count() -> None:
    log = """\
2026-11-24T10:00:00.000Z runner workload upload-pack allowed
2026-11-24T10:00:05.250Z runner workload upload-pack allowed
2026-11-24T10:00:06.000Z controller workload receive-pack allowed
2026-11-24T10:00:07.000Z runner lab upload-pack denied
not a line of the log
2026-11-24T10:00:20.000Z flux workload upload-pack allowed
"""
    start = 1795514401000  # 10:00:01
    found = parse_fetches(log, start, start + 15000)
    assert [(one.key, one.repository) for one in found] == [("runner", "workload")]


def test_condition_reads_the_present_generation_only() -> None:
    ready = {"type": "Ready", "status": "True", "message": "stored artifact"}
    found: dict[str, Any] = {
        "metadata": {"generation": 2},
        "status": {"observedGeneration": 2, "conditions": [ready]},
    }
    assert condition(found) == (True, "stored artifact")
    assert condition({**found, "status": {**found["status"], "observedGeneration": 1}})[0] is False
    assert condition(None) == (False, "not there")


def test_meter_info_is_the_labels_of_the_one_info_series() -> None:
    values = {'hardwatt_meter_info{source="modelled",model="generic"}': 1.0, "hardwatt_node_cpus": 2.0}
    assert meter_info(values) == {"source": "modelled", "model": "generic"}
    assert meter_info({}) == {}


@pytest.mark.parametrize(
    ("info", "kepler", "status"),
    [
        ({"source": "modelled", "model": "generic"}, [], "warning"),
        ({"source": "rapl"}, ["/sys/class/powercap/intel-rapl:0"], "ok"),
        ({"source": "fake"}, [], "failed"),
        ({}, [], "failed"),
        ({"source": "rapl"}, ["aggregated-package", "/sys/class/powercap/intel-rapl/energy_dram"], "failed"),
    ],
)
def test_a_fake_or_missing_meter_is_refused(info: dict[str, str], kepler: list[str], status: str) -> None:
    found = cluster_checks.meter(info, kepler)
    assert found.status == status
    if status == "failed":
        with pytest.raises(RefusedError, match="meter"):
            cluster_checks.refuse([found])


def test_scrapes_nodes_images_and_clock_are_checked() -> None:
    assert cluster_checks.scrapes({"meter": 1.0, "cadvisor": 1.0}).status == "ok"
    assert "cadvisor" in cluster_checks.scrapes({"meter": 1.0, "cadvisor": 0.0}).detail
    node: dict[str, Any] = {
        "metadata": {"name": "n"},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}],
            "images": [{"names": ["hardwatt.dev/app@sha256:aa", "hardwatt.dev/app:1"]}],
        },
    }
    assert cluster_checks.nodes_ready([node]).status == "ok"
    pressed = copy.deepcopy(node)
    pressed["status"]["conditions"][1]["status"] = "True"
    assert "DiskPressure" in cluster_checks.nodes_ready([pressed]).detail
    wanted = {"app": "hardwatt.dev/app@sha256:aa", "runner": "hardwatt.dev/runner@sha256:bb"}
    assert cluster_checks.images([node], wanted).detail == "not on the node, would be pulled: runner"
    assert (cluster_checks.clock(20).status, cluster_checks.clock(-5000).status) == ("ok", "warning")


def test_two_revisions_differ_in_the_annotation_alone(study: Study) -> None:
    base = base_kustomization(ROOT, study.workload)
    one, two = (yaml.safe_load(kustomization(base, study.workload, "sha256:aa", name)) for name in ("r1", "r2"))
    assert one.pop("commonAnnotations") == {REVISION: "r1"}
    assert two.pop("commonAnnotations") == {REVISION: "r2"}
    assert one == two
    assert one["images"] == [{"name": "hardwatt.dev/app", "digest": "sha256:aa"}]
    assert one["namespace"] == study.workload.namespace
    assert "deployment.yaml" in one["resources"]
    assert set(one["resources"]) == set(manifests(ROOT, study.workload))


def test_a_missing_workload_is_named(study: Study) -> None:
    with pytest.raises(LabError, match=r"workloads/nothing has no kustomization\.yaml"):
        manifests(ROOT, study.workload.model_copy(update={"manifests": "nothing"}))


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "workload.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    return path


def head(remote: Path) -> str:
    argv = ["git", "-C", str(remote), "rev-parse", "refs/heads/main"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_a_commit_is_sent_only_by_push_and_what_a_killed_run_left_is_dropped(tmp_path: Path, remote: Path) -> None:
    copy_ = WorkingCopy(tmp_path / "copy", str(remote), "ssh")
    copy_.open()
    first = copy_.commit({"app/kustomization.yaml": "a: 1\n"}, "r1")
    copy_.push()
    assert head(remote) == first
    second = copy_.commit({"app/kustomization.yaml": "a: 2\n"}, "r2")
    assert head(remote) == first
    (tmp_path / "copy/.git/index.lock").touch()
    again = WorkingCopy(tmp_path / "copy", str(remote), "ssh")
    again.open()
    third = again.commit({"app/kustomization.yaml": "a: 3\n"}, "r3")
    again.push()
    assert head(remote) == third != second


def test_a_push_that_is_refused_is_an_error(tmp_path: Path) -> None:
    copy_ = WorkingCopy(tmp_path / "copy", str(tmp_path / "nowhere.git"), "ssh")
    with pytest.raises(CommandError):
        copy_.open()


def test_sleeping_until_a_moment_that_has_passed_returns_at_once(tmp_path: Path) -> None:
    clock = SimClock(Disk(tmp_path / "d.json"), lambda: 0.0)
    before = clock.monotonic()
    sleep_until(clock, before - 5)
    assert clock.monotonic() == before
    sleep_until(clock, before + 2.5)
    assert clock.monotonic() == before + 2.5
