"""The lab's own state around a window, and what a window leaves behind; both read outside of it.

What is switched off or set for a window has to be so at its end as it was at its start.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hardwatt.cluster.changes import Cluster, Manifest

WATCHED = ("flux-system", "kube-system", "monitoring")
"""Namespaces that belong to the rig."""
SETS = ("Deployment", "StatefulSet", "DaemonSet")
FLUX_KINDS = (
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
)
LEFT_KINDS = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("v1", "ConfigMap"),
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "Service"),
)
FILES = (
    "sha256sum /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet "
    "/etc/kubernetes/manifests/*.yaml 2>/dev/null"
)
"""Prints the sums of the files that decide how the kubelet and the static pods run; some may be missing."""
_SHORT = 12
_KEPT_APART = ("kube-root-ca.crt",)


def state_of(cluster: Cluster) -> dict[str, str]:
    """Return what runs in the rig's namespaces and how: replicas, images, arguments, suspended objects, configuration.

    Keys name the object and the field; a value that differs after a window was changed inside it.
    """
    state: dict[str, str] = {}
    for space in WATCHED:
        for kind in SETS:
            for manifest in cluster.list("apps/v1", kind, space):
                state |= _of_set(kind, space, manifest)
        for manifest in cluster.list("v1", "ConfigMap", space):
            if manifest["metadata"]["name"] not in _KEPT_APART:
                name = f"ConfigMap {space}/{manifest['metadata']['name']}"
                state[name] = _digest([manifest.get("data"), manifest.get("binaryData")])
    for api_version, kind in FLUX_KINDS:
        for manifest in cluster.list(api_version, kind):
            meta = manifest["metadata"]
            name = f"{kind} {meta.get('namespace', '')}/{meta['name']}"
            state[f"{name} suspended"] = str(bool(manifest.get("spec", {}).get("suspend"))).lower()
            state[f"{name} spec"] = _digest(manifest.get("spec"))
    return state


def _of_set(kind: str, space: str, manifest: Manifest) -> dict[str, str]:
    name, spec = f"{kind} {space}/{manifest['metadata']['name']}", manifest.get("spec", {})
    pod = spec.get("template", {}).get("spec", {})
    rows = {f"{name} replicas": str(spec.get("replicas", 1))} if kind != "DaemonSet" else {}
    for container in pod.get("containers", []):
        own = f"{name} {container.get('name', '')}"
        rows[f"{own} image"] = str(container.get("image", ""))
        rows[f"{own} arguments"] = " ".join(str(word) for word in container.get("args") or ())
    return {**rows, f"{name} pod": _digest(pod)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:_SHORT]


def files_of(told: str) -> dict[str, str]:
    """Return file -> sum of what ``FILES`` printed."""
    rows = [line.split(None, 1) for line in told.splitlines()]
    return {f"file {name}": total[:_SHORT] for total, name in (row for row in rows if len(row) == 2)}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what differs between two states, one sentence each."""
    names = sorted(set(before) | set(after))
    return [
        f"{name}: {_shown(before.get(name))} before the window, {_shown(after.get(name))} after it"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _shown(value: str | None) -> str:
    return "absent" if value is None else value or "none"


def left_of(cluster: Cluster, spaces: Iterable[str], app: tuple[str, str]) -> dict[str, str]:
    """Return how many objects of each kind these namespaces hold, and the revision and images of the application.

    Args:
        cluster: The cluster.
        spaces: Namespaces of the application and of whatever delivers it.
        app: Namespace and name of the application's Deployment.
    """
    counts: Counter[str] = Counter()
    for space in sorted(set(spaces)):
        for api_version, kind in LEFT_KINDS:
            objects: Sequence[Manifest] = cluster.list(api_version, kind, space)
            counts[kind] += sum(manifest["metadata"]["name"] not in _KEPT_APART for manifest in objects)
    left = {kind: str(count) for kind, count in sorted(counts.items()) if count}
    deployment = cluster.get("apps/v1", "Deployment", *app)
    if deployment is not None:
        containers = deployment["spec"]["template"]["spec"]["containers"]
        left["images"] = ", ".join(sorted(str(container.get("image", "")) for container in containers))
        annotations = deployment["metadata"].get("annotations") or {}
        left["commit"] = str(annotations.get("hardwatt.dev/revision", "")).rpartition(".")[2]
    return left
