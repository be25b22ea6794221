from typing import Any

import pytest

from hardwatt.core.errors import WaitError
from hardwatt.gitops import drift
from hardwatt.gitops.flux import KUSTOMIZE

PROMETHEUS, EXPORTER = "StatefulSet monitoring/prometheus-k8s", "DaemonSet monitoring/node-exporter"
ENTRIES = [
    {"id": "_monitoring__Namespace", "v": "v1"},
    {"id": "_system__kubelet__rbac_rbac.authorization.k8s.io_ClusterRole", "v": "v1"},
    {"id": "monitoring_prometheus-k8s__Service", "v": "v1"},
    {"id": "monitoring_prometheus-k8s_apps_StatefulSet", "v": "v1"},
    {"id": "monitoring_node-exporter_apps_DaemonSet", "v": "v1"},
]


def kustomization(*, suspend: bool = False) -> dict[str, Any]:
    return {"spec": {"suspend": suspend}, "status": {"inventory": {"entries": ENTRIES}}}


class FakeCluster:
    """Kustomizations; a request is handled at once, if ``handles``."""

    def __init__(self, items: dict[str, Any], *, handles: bool = True) -> None:
        self._items, self._handles = items, handles
        self.requests: list[str] = []

    def items(self, kind: tuple[str, str, str]) -> dict[str, Any]:
        assert kind == KUSTOMIZE
        return self._items

    def patch(self, kind: tuple[str, str, str], name: str, body: Any) -> None:
        assert kind == KUSTOMIZE
        (value,) = body["metadata"]["annotations"].values()
        self.requests.append(name)
        if self._handles:
            self._items[name]["status"]["lastHandledReconcileAt"] = value


def test_workloads_are_read_from_the_inventory() -> None:
    assert drift.applied(kustomization()) == [PROMETHEUS, EXPORTER]
    assert drift.applied({"spec": {}}) == []


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({PROMETHEUS, EXPORTER}, {}),
        ({EXPORTER}, {"monitoring": [PROMETHEUS]}),
        (set(), {"monitoring": [PROMETHEUS, EXPORTER]}),
    ],
)
def test_what_is_gone_is_found(there: set[str], expected: dict[str, list[str]]) -> None:
    cluster: Any = FakeCluster({"monitoring": kustomization()})
    assert drift.missing(cluster, there) == expected


def test_what_somebody_suspended_is_left_alone() -> None:
    cluster: Any = FakeCluster({"monitoring": kustomization(suspend=True)})
    assert drift.missing(cluster, set()) == {}


def test_flux_is_asked_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = FakeCluster({"monitoring": kustomization(), "flux-system": {"spec": {}}})
    answers = iter([{EXPORTER}, {PROMETHEUS, EXPORTER}])
    monkeypatch.setattr(drift, "present", lambda _: next(answers))
    assert drift.repair(cluster, None) == [f"Flux repaired {PROMETHEUS}"]
    assert cluster.requests == ["monitoring"]


def test_with_nothing_gone_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = FakeCluster({"monitoring": kustomization()})
    monkeypatch.setattr(drift, "present", lambda _: {PROMETHEUS, EXPORTER})
    assert drift.repair(cluster, None) == []
    assert cluster.requests == []


def test_a_repair_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster: Any = FakeCluster({"monitoring": kustomization()}, handles=False)
    monkeypatch.setattr(drift, "present", lambda _: {EXPORTER})
    monkeypatch.setattr(drift, "REPAIR_TIMEOUT", 0.0)
    with pytest.raises(WaitError, match="prometheus-k8s"):
        drift.repair(cluster, None)


def source(name: str, own: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": own, "generation": 1}
    return {"metadata": meta, "spec": {"sourceRef": {"kind": "GitRepository", "name": name}, **spec}, "status": {}}


def test_all_of_the_lab_is_applied_again_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    items = {
        "monitoring-configs": source("flux-system", "monitoring-configs"),
        "off": source("flux-system", "off", suspend=True),
        "waits-for-it": source("flux-system", "waits-for-it", dependsOn=[{"name": "off"}]),
        "workload": source("workload", "workload"),
    }
    cluster: Any = FakeCluster(items)
    drift.reapply(cluster)
    assert cluster.requests == ["monitoring-configs"]
    slow: Any = FakeCluster({"monitoring-configs": source("flux-system", "monitoring-configs")}, handles=False)
    monkeypatch.setattr(drift, "READY_TIMEOUT", 0.0)
    with pytest.raises(WaitError, match="monitoring-configs"):
        drift.reapply(slow)
