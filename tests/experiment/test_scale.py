"""Deployments: scaling against a reconcile that was under way, and arguments that are put back."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from hardwatt.cluster.changes import Changes, Undo, perform
from hardwatt.cluster.objects import KubeCluster
from hardwatt.experiment.testbed.interface import NO_JITTER


class Deployment:
    """A Deployment whose pods follow at once; a late reconcile sets one replica after the first scaling."""

    def __init__(self) -> None:
        self.replicas = 1
        self.asked: list[int] = []
        self.looks = 0

    def patch_namespaced_deployment_scale(self, name: str, namespace: str, body: Any, **_: Any) -> None:
        assert (namespace, name) == ("flux-system", "kustomize-controller")
        self.replicas = body["spec"]["replicas"]
        self.asked.append(self.replicas)

    def look(self) -> dict[str, Any]:
        self.looks += 1
        if self.looks == 4:
            self.replicas = 1
        running = self.replicas if self.looks != 3 else 1  # the pod takes a moment to end
        return {
            "metadata": {"generation": 1},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": {"app": "x"}}},
            "status": {"observedGeneration": 1, "availableReplicas": running},
        }


def test_the_number_is_said_again_where_a_late_reconcile_changed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = Deployment()
    monkeypatch.setattr(client, "AppsV1Api", lambda _: deployment)
    cluster = KubeCluster.__new__(KubeCluster)
    cluster.timeout, cluster.api = 5.0, None  # type: ignore[assignment] # never reached: the API is the double
    monkeypatch.setattr(cluster, "get", lambda *_: deployment.look())
    monkeypatch.setattr(cluster, "list", lambda *_: [{}] * deployment.look()["status"]["availableReplicas"])
    cluster.scale("flux-system", "kustomize-controller", 0)
    assert deployment.asked == [0, 0]
    assert deployment.replicas == 0


def test_a_deployment_that_is_as_asked_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = Deployment()
    deployment.looks = 10
    monkeypatch.setattr(client, "AppsV1Api", lambda _: deployment)
    cluster = KubeCluster.__new__(KubeCluster)
    cluster.timeout, cluster.api = 5.0, None  # type: ignore[assignment] # never reached: the API is the double
    monkeypatch.setattr(cluster, "get", lambda *_: deployment.look())
    monkeypatch.setattr(cluster, "list", lambda *_: [{}])
    cluster.scale("flux-system", "kustomize-controller", 1)
    assert deployment.asked == []


def test_an_argument_is_set_and_taken_back_on_the_container_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    container = {"name": "manager", "args": ["--storage-path=/data", "--interval-jitter-percentage=5"]}
    sent: list[dict[str, Any]] = []

    class Deployments:
        def patch_namespaced_deployment(self, name: str, namespace: str, body: Any, **_: Any) -> None:
            assert (namespace, name) == ("flux-system", "source-controller")
            (entry,) = body["spec"]["template"]["spec"]["containers"]
            sent.append(entry)
            container.update(entry)

    monkeypatch.setattr(client, "AppsV1Api", lambda _: Deployments())
    cluster = KubeCluster.__new__(KubeCluster)
    cluster.timeout, cluster.api = 5.0, None  # type: ignore[assignment] # never reached: the API is the double
    found = {"spec": {"template": {"spec": {"containers": [container]}}}}
    monkeypatch.setattr(cluster, "get", lambda *_: found)
    entries: list[Undo] = []
    log = SimpleNamespace(push=entries.append, pop=entries.remove)
    changes = Changes(cluster, log)
    with changes.argument("flux-system", "source-controller", NO_JITTER):
        assert container["args"] == ["--storage-path=/data", NO_JITTER]
        assert [str(entry) for entry in entries] == [
            f"Deployment flux-system/source-controller without {NO_JITTER}, with --interval-jitter-percentage=5 again"
        ]
        with changes.argument("flux-system", "source-controller", NO_JITTER):
            assert len(sent) == 1  # it is so already
        again = Undo.from_dict(dataclasses.asdict(entries[0]))
    assert container["args"] == ["--storage-path=/data", "--interval-jitter-percentage=5"]
    perform(again, cluster)  # after a kill right after it was put back
    assert container["args"] == ["--storage-path=/data", "--interval-jitter-percentage=5"]
