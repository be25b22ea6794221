"""Scaling against Flux: a reconcile that was under way puts its own number back once more."""

from typing import Any

import pytest
from kubernetes import client

from hardwatt.engine.cluster import KubeCluster


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
