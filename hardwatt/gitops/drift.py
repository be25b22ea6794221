"""Workloads that Flux applied and that somebody deleted: Flux would see it at its next interval only."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from kubernetes import client as kubernetes

from hardwatt.core.wait import wait
from hardwatt.gitops.flux import KUSTOMIZE, READY_TIMEOUT, REQUESTED, FluxObjects, Sync, from_lab, held

WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet")
REPAIR_TIMEOUT = 120.0


def applied(kustomization: Mapping[str, Any]) -> list[str]:
    """Return the workloads in a Kustomization's inventory, as ``KIND NAMESPACE/NAME``."""
    entries = kustomization.get("status", {}).get("inventory", {}).get("entries", [])
    # An entry's id is NAMESPACE_NAME_GROUP_KIND.
    parts = [entry["id"].split("_") for entry in entries]
    return [f"{p[3]} {p[0]}/{p[1]}" for p in parts if len(p) == 4 and p[2] == "apps" and p[3] in WORKLOADS]


def present(api: Any) -> set[str]:
    """Return the workloads of the cluster, as ``KIND NAMESPACE/NAME``."""
    apps = kubernetes.AppsV1Api(api)
    lists: dict[str, Any] = {
        "DaemonSet": apps.list_daemon_set_for_all_namespaces(),
        "Deployment": apps.list_deployment_for_all_namespaces(),
        "StatefulSet": apps.list_stateful_set_for_all_namespaces(),
    }
    return {f"{kind} {o.metadata.namespace}/{o.metadata.name}" for kind, listed in lists.items() for o in listed.items}


def missing(cluster: FluxObjects, there: set[str]) -> dict[str, list[str]]:
    """Return Kustomization -> its workloads that are gone; a suspended one is somebody's own business."""
    absent = {
        name: [workload for workload in applied(item) if workload not in there]
        for name, item in cluster.items(KUSTOMIZE).items()
        if not item["spec"].get("suspend")
    }
    return {name: gone for name, gone in absent.items() if gone}


def repair(cluster: FluxObjects, api: Any) -> list[str]:
    """Have Flux apply again what is gone, and wait until it is there; return what was (none: nothing).

    Raises ``WaitError``.
    """
    gone = missing(cluster, present(api))
    if not gone:
        return []
    now = request(cluster, list(gone))
    wait(
        lambda: (missing(cluster, present(api)), _waiting(cluster, gone, now)),
        lambda state: not any(state),
        what="repair by Flux",
        timeout=REPAIR_TIMEOUT,
        describe=lambda state: f"still gone: {state[0]}; not finished: {state[1]}",
        hint="kubectl -n flux-system get kustomizations",
    )
    return [f"Flux repaired {workload}" for workloads in gone.values() for workload in workloads]


def reapply(cluster: FluxObjects) -> None:
    """Have Flux apply everything of the lab again, also where the commit is the same, and wait until it did.

    Raises ``WaitError``.
    """
    items = cluster.items(KUSTOMIZE)
    lab = [Sync.of(item) for item in items.values() if from_lab(item)]
    stopped = {item.name for item in held(lab)}
    names = [item.name for item in lab if item.name not in stopped]
    now = request(cluster, names)
    wait(
        lambda: _waiting(cluster, dict.fromkeys(names, ()), now),
        lambda state: not state,
        what="Flux applying again",
        timeout=READY_TIMEOUT,
        describe=lambda state: f"not finished: {state}",
        hint="kubectl -n flux-system get kustomizations",
    )


def request(cluster: FluxObjects, names: Sequence[str]) -> str:
    """Ask Kustomizations to apply again now; return the mark by which they say that they did."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    for name in names:
        cluster.patch(KUSTOMIZE, name, {"metadata": {"annotations": {REQUESTED: now}}})
    return now


def _waiting(cluster: FluxObjects, names: Mapping[str, Sequence[str]], request: str) -> list[str]:
    """Return the Kustomizations that have not handled the request yet."""
    items = cluster.items(KUSTOMIZE)
    return [
        name
        for name in names
        if name in items and items[name].get("status", {}).get("lastHandledReconcileAt") != request
    ]
