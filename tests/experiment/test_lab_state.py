"""The lab's state around a window, and what a window leaves behind, from the objects of a cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hardwatt.analysis.results import analysed
from hardwatt.analysis.runlog import EQUAL_WORK
from hardwatt.cluster.changes import Manifest
from hardwatt.config.lab import Lab
from hardwatt.experiment import operations
from hardwatt.experiment.testbed.lab_state import changed, files_of, left_of, state_of
from tests.experiment.simulated import SimulatedTestbed, opened


def deployment(**changes: Any) -> dict[str, Any]:
    container = {"name": "manager", "image": changes.pop("image", "a@sha256:1"), "args": changes.pop("args", ["--x"])}
    spec = {"replicas": 1, "template": {"spec": {"containers": [container]}}, **changes}
    return {"metadata": {"name": "source-controller", "namespace": "flux-system"}, "spec": spec}


class Cluster:
    """Lists what the test put there; any other call is an error."""

    def __init__(self, **objects: list[dict[str, Any]]) -> None:
        self.objects = objects

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        found = self.objects.get(kind, [])
        return [one for one in found if not namespace or one["metadata"].get("namespace") == namespace]

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        found = self.list(api_version, kind, namespace)
        return next((one for one in found if one["metadata"]["name"] == name), None)


def suspended(*, yes: bool) -> dict[str, Any]:
    return {"metadata": {"name": "flux-system", "namespace": "flux-system"}, "spec": {"suspend": yes}}


def config(text: str) -> dict[str, Any]:
    return {"metadata": {"name": "prometheus", "namespace": "monitoring"}, "data": {"prometheus.yaml": text}}


CHANGES = {
    "replicas": (Cluster(Deployment=[deployment(replicas=0)]), "replicas: 1 before the window, 0 after it"),
    "image": (Cluster(Deployment=[deployment(image="a@sha256:2")]), "manager image: a@sha256:1 before"),
    "arguments": (Cluster(Deployment=[deployment(args=["--x", "--y"])]), "manager arguments: --x before"),
    "gone": (Cluster(), "replicas: 1 before the window, absent after it"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_a_workload_is_named(what: str) -> None:
    after, says = CHANGES[what]
    differs = changed(state_of(Cluster(Deployment=[deployment()])), state_of(after))  # type: ignore[arg-type]
    assert any(says in line for line in differs)
    assert all(line.startswith("Deployment flux-system/source-controller") for line in differs)


def test_suspended_objects_and_configuration_are_compared() -> None:
    before = Cluster(Kustomization=[suspended(yes=True)], ConfigMap=[config("a")])
    after = Cluster(Kustomization=[suspended(yes=False)], ConfigMap=[config("b")])
    differs = changed(state_of(before), state_of(after))  # type: ignore[arg-type]
    assert "Kustomization flux-system/flux-system suspended: true before the window, false after it" in differs
    assert any(line.startswith("ConfigMap monitoring/prometheus") for line in differs)


def test_status_that_changes_by_itself_is_no_change() -> None:
    before, after = deployment(), deployment()
    before["status"], after["status"] = {"observedGeneration": 1}, {"observedGeneration": 2}
    after["metadata"]["resourceVersion"] = "9"
    assert changed(state_of(Cluster(Deployment=[before])), state_of(Cluster(Deployment=[after]))) == []  # type: ignore[arg-type]


def test_sums_of_the_kubelets_files() -> None:
    told = "aa11  /var/lib/kubelet/config.yaml\nbb22  /etc/kubernetes/manifests/etcd.yaml\n"
    assert changed(files_of(told), files_of(told.replace("bb22", "cc33"))) == [
        "file /etc/kubernetes/manifests/etcd.yaml: bb22 before the window, cc33 after it"
    ]


def test_what_is_left_is_counted_by_kind() -> None:
    app = {**deployment(image="app@sha256:1"), "metadata": {"name": "app", "namespace": "workload"}}
    app["metadata"]["annotations"] = {"hardwatt.dev/revision": "p001-1-push.3"}
    job = {"metadata": {"name": "runner-1", "namespace": "ci"}}
    left = left_of(Cluster(Deployment=[app], Job=[job]), ("workload", "ci"), ("workload", "app"))  # type: ignore[arg-type]
    assert left == {"Deployment": "1", "Job": "1", "images": "app@sha256:1", "commit": "3"}


@pytest.mark.parametrize("more", [False, True])
def test_objects_that_only_one_arm_leaves_behind_are_named_in_the_results(more: bool, lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json")

    def left(study: Any) -> dict[str, str]:
        push = any(event.startswith("arm") and event.endswith("push") for event in testbed.events[-60:])
        last = [event for event in testbed.events if event.startswith("arm")][-1]
        return {"Deployment": "1", **({"Job": "3"} if more and push and last.endswith("push") else {})}

    testbed.left = left  # type: ignore[method-assign]
    bundle = operations.run(lab, "push-vs-pull", pairs=2, seed=11, open_testbed=lambda of: opened(testbed, of))
    check = next(check for check in analysed(bundle).checks if check.name == EQUAL_WORK)
    assert (check.status, check.detail) == (("warning", "Job: 3 after push, none after pull") if more else ("ok", ""))
