"""The state of a cluster: its nodes and pods, as the API server reports them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from hardwatt.cluster import api_errors, client
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.core.wait import timeout_factor

TIMEOUT = 10
"""Seconds for one request."""


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod as the API server reports it."""

    namespace: str
    name: str
    phase: str
    ready: bool
    restarts: int
    images: Mapping[str, str]
    """Container name to imageID (``NAME@sha256:...``), empty before the container has started."""
    uid: str
    job: bool
    """It belongs to a Job: it may end, well or badly, without the cluster being less ready."""
    trouble: str = ""
    """Reason that a container of it waits, as ``CrashLoopBackOff (exit code 1)``; empty where none does."""

    @property
    def well(self) -> bool:
        return self.job or self.phase == "Succeeded" or (self.phase == "Running" and self.ready)

    @classmethod
    def of(cls, pod: Any) -> "Pod":
        """Return the reading of the client's V1Pod."""
        containers = pod.status.container_statuses or []
        conditions = {item.type: item.status for item in pod.status.conditions or []}
        return cls(
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            phase="Terminating" if pod.metadata.deletion_timestamp else pod.status.phase or "",
            ready=conditions.get("Ready") == "True",
            restarts=sum(item.restart_count for item in containers),
            images={item.name: item.image_id or "" for item in containers},
            uid=pod.metadata.uid,
            job=any(owner.kind == "Job" for owner in pod.metadata.owner_references or []),
            trouble=next((text for item in containers if (text := _trouble(item))), ""),
        )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} {self.trouble or self.phase}"


@dataclasses.dataclass(frozen=True)
class ClusterStatus:
    """Nodes (name to Ready) and pods of a cluster."""

    nodes: Mapping[str, bool]
    pods: tuple[Pod, ...]

    @property
    def ready(self) -> bool:
        """Return whether every node is Ready and every pod runs; a cluster without either is not."""
        return bool(self.nodes and self.pods) and all(self.nodes.values()) and all(pod.well for pod in self.pods)

    @property
    def summary(self) -> str:
        """Return one line: nodes and pods that are ready, and the first that are not."""
        late = [str(pod) for pod in self.pods if not pod.well]
        nodes = ", ".join(f"{name} {'Ready' if ready else 'not Ready'}" for name, ready in sorted(self.nodes.items()))
        text = f"{nodes or 'no node'}; {len(self.pods) - len(late)} of {len(self.pods)} pods ready"
        more = f" and {len(late) - 3} more" if len(late) > 3 else ""
        return f"{text}; waiting for {', '.join(late[:3])}{more}" if late else text


def read(lab: Lab) -> ClusterStatus:
    """Return the cluster's nodes and pods, Job pods too.

    Raises ``LabError`` where the API server does not answer.
    """
    with client.connect(lab) as api:
        return _read(kubernetes_client.CoreV1Api(api))


def read_with(core: Any) -> ClusterStatus:
    """Return nodes and pods by a client's ``CoreV1Api``.

    Raises ``LabError`` where the API server does not answer.
    """
    try:
        return _read(core)
    except (ApiException, HTTPError) as error:
        raise LabError(f"the API server does not answer: {api_errors.short(error)}", hint=api_errors.UP) from error


def _read(core: Any) -> ClusterStatus:
    nodes: list[Any] = core.list_node(_request_timeout=TIMEOUT * timeout_factor()).items
    pods: list[Any] = core.list_pod_for_all_namespaces(_request_timeout=TIMEOUT * timeout_factor()).items
    return ClusterStatus({node.metadata.name: _ready(node) for node in nodes}, tuple(Pod.of(pod) for pod in pods))


def _trouble(container: Any) -> str:
    """Return what a container waits for, with how it ended last."""
    waiting = container.state.waiting if container.state else None
    ended = container.last_state.terminated if container.last_state else None
    if waiting is None or not waiting.reason:
        return ""
    return f"{waiting.reason} (exit code {ended.exit_code})" if ended else str(waiting.reason)


def _ready(node: Any) -> bool:
    return any(item.type == "Ready" and item.status == "True" for item in node.status.conditions or [])
