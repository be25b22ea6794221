"""Ready in the running lab: what somebody scaled, deleted, suspended or cut off is named, and put back or left.

Told after the story of test_story.py, before its end (conftest).
"""

import subprocess
import time
from typing import Any

import pytest
from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.gitops import desired_flux, flux
from hardwatt.machines import choice, identity
from hardwatt.machines.embedded import network
from tests.e2e.support import FOR_THE_CLUSTER, Story, cut_off

pytestmark = pytest.mark.e2e

AT_ZERO = (
    "Deployment flux-system/source-controller",
    "Deployment flux-system/kustomize-controller",
    "StatefulSet monitoring/prometheus-k8s",
)
PUT_BACK = ("lab.up", "--only", "addons", "--only", "gitops", "--only", "ready")


def up(story: Story) -> str:
    return story.invoke(*PUT_BACK).stderr


def test_what_is_scaled_to_zero_is_named_put_back_and_then_nothing_changes(story: Story) -> None:
    none = {"spec": {"replicas": 0}}
    with client.connect(story.lab) as api:
        apps: Any = kubernetes.AppsV1Api(api)
        for name in desired_flux.COMPONENTS:
            apps.patch_namespaced_deployment_scale(name, flux.NAMESPACE, none)
        apps.patch_namespaced_stateful_set_scale("prometheus-k8s", "monitoring", none)
        apps.patch_namespaced_deployment_scale("coredns", "kube-system", none)
    status = story.invoke("lab.status", check=False)
    assert status.returncode == 1
    for name in AT_ZERO:
        assert f"lacks: {name} is scaled to 0, git has 1" in status.stderr
    assert "lacks: Deployment kube-system/coredns is scaled to 0, kubeadm has 2" in status.stderr
    started = time.monotonic()
    refused = story.invoke("gitops.reconcile", check=False)
    assert refused.returncode == 1
    assert "Flux cannot reconcile: Deployment flux-system/source-controller is scaled to 0" in refused.stderr
    assert "next: invoke lab.up" in refused.stderr
    assert time.monotonic() - started < 60, "nothing is waited for"
    done = up(story)
    for name in AT_ZERO:
        assert f"{name} scaled back to 1 (it was scaled to 0)" in done
    assert "Deployment kube-system/coredns scaled back to 2 (it was scaled to 0)" in done
    assert "No changes" in up(story)
    story.invoke("lab.status")


def test_a_deleted_kustomization_is_named_and_comes_back(story: Story) -> None:
    with client.connect(story.lab) as api:
        objects: Any = kubernetes.CustomObjectsApi(api)
        group, version, plural = flux.KUSTOMIZE
        objects.delete_namespaced_custom_object(group, version, flux.NAMESPACE, plural, "monitoring-configs")
    for command in ("lab.status", "gitops.status"):
        found = story.invoke(command, check=False)
        assert found.returncode == 1
        assert "monitoring-configs" in found.stdout + found.stderr
    assert "Flux repaired Kustomization flux-system/monitoring-configs" in up(story)
    story.invoke("gitops.status")


def test_a_suspended_kustomization_is_named_and_left_so(story: Story) -> None:
    with client.connect(story.lab) as api:
        cluster = flux.FluxObjects(api)
        cluster.patch(flux.KUSTOMIZE, "monitoring-configs", {"spec": {"suspend": True}})
    name = "Kustomization flux-system/monitoring-configs"
    assert f"suspended: {name} (invoke gitops.resume)" in story.invoke("lab.status").stderr
    done = up(story)
    assert f"suspended, and left so: {name}" in done
    assert "No changes" in done
    with client.connect(story.lab) as api:
        assert flux.FluxObjects(api).items(flux.KUSTOMIZE)["monitoring-configs"]["spec"]["suspend"] is True
    story.invoke("gitops.resume")
    assert "suspended" not in story.invoke("lab.status").stderr


def test_a_link_that_is_down_is_named_and_nothing_leaves_by_another_route(story: Story) -> None:
    ident, end = identity.ident(story.lab), choice.machine_for(story.lab).endpoint()
    subprocess.run(["ip", "link", "set", network.link_name(ident), "down"], check=True)
    cut_off(story, f"the machine's link {network.link_name(ident)} is down", end.address, FOR_THE_CLUSTER[:2])
    assert "link restored" in story.invoke("lab.up", "--only", "machine").stderr
    story.invoke("lab.status")
