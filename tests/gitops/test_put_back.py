"""Putting back what lacks, on a double of the cluster."""

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client as k8s

from hardwatt.core.errors import WaitError
from hardwatt.gitops import drift, put_back
from hardwatt.gitops.desired import Item
from hardwatt.gitops.flux import KUSTOMIZE, SOURCE
from hardwatt.gitops.readiness import Lack, Readiness

CONTROLLER = Item("Deployment", "flux-system", "source-controller", "flux-system")
PROMETHEUS = Item("StatefulSet", "monitoring", "prometheus-k8s", "controllers")
EXPORTER = Item("DaemonSet", "monitoring", "node-exporter", "controllers")
CHILD = Item("Kustomization", "flux-system", "controllers", "flux-system")
SPACE = Item("Namespace", "", "flux-system", "flux-system")
SCALED = "is scaled to 0, git has 1"


class FakeApps:
    """The API of workloads; notes what is done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(one: str, namespace: str, *body: Any, **_: Any) -> None:
            self.done.append((name, namespace, one, *map(str, body)))

        return call


class FakeFlux:
    """Kustomizations by name, and the lacks that go one after another when their owner has applied."""

    def __init__(self, *lacks: Lack, applies: bool = True) -> None:
        self.lacks, self.applies = list(lacks), applies
        self.names = {"flux-system", "controllers"} - {lack.item.name for lack in lacks}
        self.marks: dict[str, str] = {}
        self.requests: list[str] = []
        self.patched: list[tuple[str, Any]] = []
        self.deleting: set[str] = set()

    def items(self, kind: tuple[str, str, str]) -> dict[str, Any]:
        if kind == SOURCE:
            return {}
        metadata = {"deletionTimestamp": "now"} if self.deleting else {}
        return {
            name: {"metadata": metadata, "status": {"lastHandledReconcileAt": self.marks.get(name)}}
            for name in self.names
        }

    def patch(self, kind: tuple[str, str, str], name: str, body: Any) -> None:
        assert kind == KUSTOMIZE
        (self.marks[name],) = body["metadata"]["annotations"].values()
        self.requests.append(name)
        if self.applies:
            for lack in [lack for lack in self.lacks if lack.item.owner == name and lack.why != "placed"]:
                self.lacks.remove(lack)
                self.names.add(lack.item.name)

    def look(self) -> Readiness:
        return Readiness(tuple(self.lacks))


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> FakeApps:
    made = FakeApps()
    monkeypatch.setattr(k8s, "AppsV1Api", lambda _: made)
    return made


def test_replicas_are_put_back_directly_and_told(apps: FakeApps) -> None:
    lacks = (Lack(CONTROLLER, "scaled", SCALED), Lack(PROMETHEUS, "scaled", SCALED))
    assert put_back.scale(None, lacks) == [
        "Deployment flux-system/source-controller scaled back to 1 (it was scaled to 0)",
        "StatefulSet monitoring/prometheus-k8s scaled back to 1 (it was scaled to 0)",
    ]
    body = "{'spec': {'replicas': 1}}"
    assert apps.done == [
        ("patch_namespaced_deployment_scale", "flux-system", "source-controller", body),
        ("patch_namespaced_stateful_set_scale", "monitoring", "prometheus-k8s", body),
    ]


def test_the_owner_of_what_is_missing_applies_again_and_its_owner_first(apps: FakeApps) -> None:
    flux: Any = FakeFlux(Lack(CHILD, "missing", "is missing"), Lack(PROMETHEUS, "missing", "is missing"))
    assert put_back.by_flux(flux, None, flux.look) == [
        "Flux repaired Kustomization flux-system/controllers (it was missing)",
        "Flux repaired StatefulSet monitoring/prometheus-k8s (it was missing)",
    ]
    assert flux.requests == ["flux-system", "controllers"]


def test_with_nothing_missing_nothing_is_asked(apps: FakeApps) -> None:
    flux: Any = FakeFlux(Lack(CONTROLLER, "late", "has 0 of 1 replicas ready"))
    assert put_back.by_flux(flux, None, flux.look) == []
    assert flux.requests == [] and apps.done == []


def test_what_is_left_by_choice_is_not_put_back(apps: FakeApps) -> None:
    flux: Any = FakeFlux(Lack(PROMETHEUS, "missing", "is missing", left="suspended"))
    assert put_back.by_flux(flux, None, flux.look) == []
    assert flux.requests == []


def test_a_daemonset_that_applying_does_not_put_right_is_made_again(apps: FakeApps) -> None:
    flux: Any = FakeFlux(Lack(EXPORTER, "placed", "is placed by no=node"))

    def delete(name: str, namespace: str) -> None:
        apps.done.append(("deleted", namespace, name))
        flux.lacks.clear()

    apps.delete_namespaced_daemon_set = delete  # type: ignore[attr-defined]
    assert put_back.by_flux(flux, None, flux.look)
    assert apps.done == [("deleted", "monitoring", "node-exporter")]
    assert flux.requests == ["controllers", "controllers"], "applied first, and again after it was deleted"


def test_what_does_not_come_back_is_named(apps: FakeApps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "REPAIR_TIMEOUT", 0.0)
    flux: Any = FakeFlux(Lack(PROMETHEUS, "missing", "is missing"), applies=False)
    with pytest.raises(WaitError, match="StatefulSet monitoring/prometheus-k8s is missing"):
        put_back.by_flux(flux, None, flux.look)


def test_what_is_being_deleted_is_waited_for_and_released_where_flux_is_gone() -> None:
    released = []

    class Cluster:
        def release(self) -> None:
            released.append(True)

    cluster: Any = Cluster()
    put_back.settle(cluster, lambda: Readiness(()))
    deleting = Lack(Item("Namespace", "", "monitoring", "controllers"), "deleting", "is being deleted")
    states = iter([Readiness((deleting,)), Readiness((deleting,)), Readiness(())])
    put_back.settle(cluster, lambda: next(states))
    assert released == [], "Flux itself does it"
    states = iter([Readiness((Lack(SPACE, "deleting", "is being deleted"),)), Readiness(())])
    put_back.settle(cluster, lambda: next(states))
    assert released == [True]


def test_what_is_deleted_for_ever_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(put_back, "GONE_TIMEOUT", 0.0)
    deleting = Lack(Item("Namespace", "", "monitoring", "controllers"), "deleting", "is being deleted")
    cluster: Any = None
    with pytest.raises(WaitError, match="Namespace monitoring is being deleted"):
        put_back.settle(cluster, lambda: Readiness((deleting,)))


def test_what_flux_applied_and_is_scaled_all_the_same_is_an_error_at_once() -> None:
    with pytest.raises(WaitError, match="prometheus-k8s is scaled to 0") as caught:
        put_back.complete(lambda: Readiness((Lack(PROMETHEUS, "scaled", SCALED),)))
    assert caught.value.hint == "invoke lab.up"
    put_back.complete(lambda: Readiness((Lack(PROMETHEUS, "scaled", SCALED, left="suspended"),)))
