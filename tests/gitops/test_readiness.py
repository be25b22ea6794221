"""Ready: what git, kubeadm and Flux ask for against what is there, with nobody's own choice in the way."""

import dataclasses
from typing import Any

import pytest
from kubernetes import client as k8s

from hardwatt.gitops import flux, readiness, state
from hardwatt.gitops.desired import Item
from hardwatt.gitops.readiness import FLUX, KUBEADM, FluxObject, Lack, Live, Workload, compare, expected, flux_object

PROMETHEUS = Item("StatefulSet", "monitoring", "prometheus-k8s", "monitoring-controllers")
EXPORTER = Item("DaemonSet", "monitoring", "node-exporter", "monitoring-controllers")
CHILD = Item("Kustomization", "flux-system", "monitoring-controllers", "flux-system")
SPACE = Item("Namespace", "", "monitoring", "monitoring-controllers")
ITEMS = expected((CHILD, SPACE, PROMETHEUS, EXPORTER))
LINUX = {"kubernetes.io/os": "linux"}


def whole() -> Live:
    """Return a cluster in which nothing lacks."""
    workloads = {
        item.key: Workload(item.replicas, item.replicas) for item in ITEMS if item.kind in ("Deployment", "StatefulSet")
    }
    return Live(
        workloads={
            **workloads,
            EXPORTER.key: Workload(1, 1),
            ("DaemonSet", "kube-system", "kube-proxy"): Workload(1, 1, LINUX),
            ("Deployment", "default", "somebody-else"): Workload(3, 0),
        },
        flux={item.key: FluxObject() for item in ITEMS if item.kind in ("GitRepository", "Kustomization")},
        namespaces={"flux-system": False, "monitoring": False, "default": False},
        nodes={"n": {**LINUX, readiness.CONTROL_PLANE: ""}},
        system_pods=frozenset(f"{name}-n" for name in readiness.STATIC),
    )


def change(live: Live, **parts: dict[Any, Any]) -> Live:
    """Return a cluster with parts of it changed; None removes."""
    for name, changes in parts.items():
        merged = {**getattr(live, name), **changes}
        fields: dict[str, Any] = {name: {key: value for key, value in merged.items() if value is not None}}
        live = dataclasses.replace(live, **fields)
    return live


def told(live: Live, switched_off: dict[Any, str] | None = None) -> list[str]:
    return [str(lack) for lack in compare(ITEMS, live, switched_off or {}).lacks]


def test_a_whole_lab_lacks_nothing() -> None:
    found = compare(ITEMS, whole(), {})
    assert found.lacks == () and found.suspended == ()


SOURCE = ("Deployment", "flux-system", "source-controller")
DNS, PROXY = (item.key for item in KUBEADM)


@pytest.mark.parametrize(
    ("parts", "name", "text", "why"),
    [
        (
            {"workloads": {SOURCE: Workload(0, 0)}},
            "Deployment flux-system/source-controller",
            "is scaled to 0, git has 1",
            "scaled",
        ),
        ({"workloads": {SOURCE: None}}, "Deployment flux-system/source-controller", "is missing", "missing"),
        (
            {"workloads": {SOURCE: Workload(1, 0)}},
            "Deployment flux-system/source-controller",
            "has 0 of 1 replicas ready",
            "late",
        ),
        (
            {"workloads": {PROMETHEUS.key: Workload(0, 0)}},
            "StatefulSet monitoring/prometheus-k8s",
            "is scaled to 0, git has 1",
            "scaled",
        ),
        (
            {"workloads": {PROMETHEUS.key: Workload(2, 2)}},
            "StatefulSet monitoring/prometheus-k8s",
            "is scaled to 2, git has 1",
            "scaled",
        ),
        (
            {"workloads": {DNS: Workload(0, 0)}},
            "Deployment kube-system/coredns",
            "is scaled to 0, kubeadm has 2",
            "scaled",
        ),
        ({"workloads": {DNS: Workload(2, 1)}}, "Deployment kube-system/coredns", "has 1 of 2 replicas ready", "late"),
        ({"workloads": {PROXY: None}}, "DaemonSet kube-system/kube-proxy", "is missing", "missing"),
        (
            {"workloads": {EXPORTER.key: Workload(0, 0)}},
            "DaemonSet monitoring/node-exporter",
            "runs on no node",
            "late",
        ),
        (
            {"workloads": {EXPORTER.key: Workload(2, 1)}},
            "DaemonSet monitoring/node-exporter",
            "is ready on 1 of 2 nodes",
            "late",
        ),
        (
            {"workloads": {EXPORTER.key: Workload(0, 0, {"no": "node"})}},
            "DaemonSet monitoring/node-exporter",
            "is placed by no=node on 0 nodes, git has no selector",
            "placed",
        ),
        ({"flux": {CHILD.key: None}}, "Kustomization flux-system/monitoring-controllers", "is missing", "missing"),
        (
            {"flux": {CHILD.key: FluxObject(deleting=True)}},
            "Kustomization flux-system/monitoring-controllers",
            "is being deleted",
            "deleting",
        ),
        (
            {"flux": {CHILD.key: FluxObject(failed="no such path")}},
            "Kustomization flux-system/monitoring-controllers",
            "is not Ready: no such path",
            "not ready",
        ),
        ({"flux": {readiness.ROOT[0]: None}}, "GitRepository flux-system/flux-system", "is missing", "missing"),
        ({"flux": {readiness.ROOT[1]: None}}, "Kustomization flux-system/flux-system", "is missing", "missing"),
        ({"namespaces": {"monitoring": None}}, "Namespace monitoring", "is missing", "missing"),
        ({"namespaces": {"monitoring": True}}, "Namespace monitoring", "is being deleted", "deleting"),
    ],
)
def test_each_lack_is_named(parts: dict[str, dict[Any, Any]], name: str, text: str, why: str) -> None:
    live = change(whole(), **parts)
    assert told(live) == [f"{name} {text}"]
    assert [lack.why for lack in compare(ITEMS, live, {}).to_put_back] == [why]


def test_a_control_plane_without_its_scheduler_is_named() -> None:
    live = dataclasses.replace(
        whole(), system_pods=frozenset({"etcd-n", "kube-apiserver-n", "kube-controller-manager-n"})
    )
    assert told(live) == ["Pod kube-system/kube-scheduler-n is missing: kubelet does not start it"]
    assert told(dataclasses.replace(live, nodes={"n": LINUX})) == [], "a worker has none"


def test_more_dns_than_kubeadms_is_somebodys_own_choice() -> None:
    assert told(change(whole(), workloads={DNS: Workload(3, 3)})) == []


def test_a_daemonset_that_fits_no_node_lacks_nothing() -> None:
    item = Item("DaemonSet", "monitoring", "gpu", "apps", node_selector={"gpu": "yes"})
    live = change(whole(), workloads={item.key: Workload(0, 0, {"gpu": "yes"})})
    assert compare((item,), live, {}).lacks == ()


def test_what_is_suspended_is_named_and_what_it_applies_is_left_alone() -> None:
    live = change(
        whole(),
        flux={CHILD.key: FluxObject(suspended=True, failed="x")},
        workloads={PROMETHEUS.key: Workload(0, 0), SOURCE: Workload(0, 0)},
    )
    found = compare(ITEMS, live, {})
    assert found.suspended == ("Kustomization flux-system/monitoring-controllers",)
    assert [lack.item.name for lack in found.to_put_back] == ["source-controller"]
    (left,) = found.left
    assert str(left) == (
        "StatefulSet monitoring/prometheus-k8s is scaled to 0, git has 1; left so, because the Kustomization "
        "monitoring-controllers is suspended (invoke gitops.resume)"
    )


def test_what_an_experiment_switched_off_is_its_own_and_no_users_choice() -> None:
    live = change(
        whole(),
        flux={CHILD.key: FluxObject(suspended=True)},
        workloads={SOURCE: Workload(0, 0), PROMETHEUS.key: Workload(0, 0)},
    )
    off = {CHILD.key: "resumed", SOURCE: "back to 1"}
    found = compare(ITEMS, live, off)
    assert found.suspended == ()
    assert [str(lack) for lack in found.left] == [
        "Deployment flux-system/source-controller is scaled to 0, git has 1; an experiment switched it off"
    ]
    assert [lack.item for lack in found.to_put_back] == [PROMETHEUS], "nobody chose to have it off"


def test_flux_itself_is_expected_before_git_holds_it() -> None:
    assert {item.key for item in FLUX} <= {item.key for item in expected(())}
    more = Item("Deployment", "kube-system", "coredns", "user", replicas=5)
    assert [item.replicas for item in expected((more,)) if item.name == "coredns"] == [5], "git counts more"


@pytest.mark.parametrize(
    ("status", "failed", "working"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, "", False),
        ({"conditions": [{"type": "Ready", "status": "Unknown", "message": "in progress"}]}, "", True),
        ({"conditions": [{"type": "Ready", "status": "False", "message": "broken"}]}, "broken", False),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, "no reason is given", False),
        ({"conditions": [{"type": "Ready", "status": "False", "message": "dependency 'a' is not ready",
                          "reason": "DependencyNotReady"}]}, "dependency 'a' is not ready", True),
        ({"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 3}, "", True),
        ({}, "", True),
    ],
)  # fmt: skip
def test_an_object_of_flux_fails_only_where_flux_says_so(status: dict[str, Any], failed: str, working: bool) -> None:
    status = {"observedGeneration": 4, **status}
    assert flux_object({"metadata": {"generation": 4}, "status": status}) == FluxObject(failed=failed, working=working)
    suspended = flux_object({"metadata": {"generation": 4}, "status": status, "spec": {"suspend": True}})
    assert not suspended.working, "nobody is at it"
    gone = flux_object({"metadata": {"deletionTimestamp": "now"}, "spec": {"suspend": True}})
    assert (gone.deleting, gone.suspended) == (True, True)


def test_a_status_of_an_older_generation_is_not_ready() -> None:
    spec = k8s.V1DeploymentSpec(replicas=None, selector=k8s.V1LabelSelector(), template=k8s.V1PodTemplateSpec())
    for observed, ready in ((1, 0), (2, 1)):
        status = k8s.V1DeploymentStatus(observed_generation=observed, ready_replicas=1)
        one = k8s.V1Deployment(metadata=k8s.V1ObjectMeta(generation=2), spec=spec, status=status)
        assert readiness._workload("Deployment", one) == Workload(1, ready)


def test_what_was_put_back_is_told_in_the_past() -> None:
    assert Lack(PROMETHEUS, "scaled", "is scaled to 0, git has 1").before == "was scaled to 0, git has 1"


def test_a_look_waits_for_a_reconciliation_that_runs_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reconciliation sets Ready to Unknown for a moment, and what depends on it to False for seconds."""
    waits = "dependency 'a' is not ready"
    busy = change(whole(), flux={CHILD.key: FluxObject(working=True, failed=waits)})
    other = change(whole(), flux={("Kustomization", "flux-system", "somebody-else"): FluxObject(working=True)})
    looks = [busy, busy, other]
    monkeypatch.setattr(readiness, "read", lambda _: looks.pop(0) if len(looks) > 1 else looks[0])
    monkeypatch.setattr("hardwatt.core.wait.time.sleep", lambda _: None)
    assert not state.look_settled(None, ITEMS).lacks
    looks[:] = [busy]
    monkeypatch.setattr(flux, "SETTLE_TIMEOUT", 0.0)
    assert [str(lack) for lack in state.look_settled(None, ITEMS).lacks] == [f"{CHILD} is not Ready: {waits}"]
