"""Parts of the manifests that the arms share: an object, its secret for git, a container, a pod's user, a Job."""

from collections.abc import Mapping, Sequence
from typing import Any

from hardwatt.experiment.arm import RunContext

USER = 65534
Manifest = dict[str, Any]


def manifest(
    context: RunContext,
    api_version: str,
    kind: str,
    name: str,
    space: str = "ci",
    *,
    labels: Mapping[str, str] | None = None,
    **content: Any,
) -> Manifest:
    """Return an object in one of the context's namespaces.

    Args:
        space: name of the namespace in the context.
        labels: the run's, if left out.
        content: further fields of the object.
    """
    marks = context.labels if labels is None else labels
    metadata = {"name": name, "namespace": context.namespaces[space], "labels": dict(marks)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def git_secret(context: RunContext, name: str, reader: str, space: str = "ci") -> Manifest:
    """Return the Secret with a reader's own key, read only, and the git server's host key."""
    git = context.git
    data = {"identity": git.keys[reader], "known_hosts": git.known_hosts}
    return manifest(context, "v1", "Secret", name, space, stringData=data)


def container(
    name: str, image: str, script: str, env: Mapping[str, str], mounts: Sequence[Manifest] = (), *, flags: str = "-ec"
) -> Manifest:
    """Return a container that runs a shell script."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", flags, script],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **({"volumeMounts": list(mounts)} if mounts else {}),
    }


def mount(volume: str, path: str, *, read_only: bool = True) -> Manifest:
    """Return the mount of a pod's volume in a container."""
    return {"name": volume, "mountPath": path, **({"readOnly": True} if read_only else {})}


def secret_volume(name: str, secret: str, mode: int) -> Manifest:
    """Return a pod's volume with the files of a Secret."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": mode}}


def pod(
    containers: Sequence[Manifest], volumes: Sequence[Manifest] = (), *, grace_seconds: int, **spec: Any
) -> Manifest:
    """Return the spec of a pod that the restricted Pod Security Standard admits.

    It runs without root; the files of its volumes are its user's.
    """
    seccomp = {"seccompProfile": {"type": "RuntimeDefault"}}
    user = {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, **seccomp}
    return {
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {**user, "fsGroup": USER} if volumes else user,
        "containers": list(containers),
        **({"volumes": list(volumes)} if volumes else {}),
        **spec,
    }


def job(context: RunContext, name: str, pod_spec: Manifest, labels: Mapping[str, str], **spec: Any) -> Manifest:
    """Return a Job in the namespace ``ci`` that is tried once; it and its pod have these labels."""
    template = {"metadata": {"labels": dict(labels)}, "spec": {"restartPolicy": "Never", **pod_spec}}
    spec |= {"backoffLimit": 0, "template": template}
    return manifest(context, "batch/v1", "Job", name, labels=labels, spec=spec)
