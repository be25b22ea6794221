"""Checks that a cluster is at rest: its pods, and the work queues of the controllers that run."""

from collections.abc import Sequence
from typing import Any

from kubernetes import client

from hardwatt.bundle.exposition import parse_exposition
from hardwatt.cluster.changes import Manifest
from hardwatt.cluster.objects import api_errors

METRICS_PORT = "http-prom"
DEPTH = "workqueue_depth"


def pod_problems(pods: Sequence[Manifest]) -> list[str]:
    """Return why pods are not at rest, one sentence a pod; pods that ended well are at rest."""
    problems = []
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status") or {}
        name, phase = f"{meta['namespace']}/{meta['name']}", status.get("phase", "Unknown")
        if meta.get("deletionTimestamp"):
            problems.append(f"pod {name} is ending")
        elif phase in ("Pending", "Unknown", "Failed"):
            problems.append(f"pod {name} is {phase}")
        elif phase == "Running":
            containers = status.get("containerStatuses") or ()
            unready = [container["name"] for container in containers if not container.get("ready")]
            if unready:
                problems.append(f"pod {name} is not ready ({', '.join(unready)})")
    return problems


def restarts(pods: Sequence[Manifest]) -> float:
    """Return how often the containers of these pods have restarted, together."""
    states = [state for pod in pods for state in (pod.get("status") or {}).get("containerStatuses") or ()]
    return float(sum(state.get("restartCount", 0) for state in states))


def queue_problems(api: client.ApiClient, namespace: str, pods: Sequence[Manifest], limit: int) -> list[str]:
    """Return which controllers of a namespace have work in their queues: one sentence each.

    Controllers made with controller-runtime show ``workqueue_depth`` at their port ``http-prom``; pods
    without such a port, or that do not run, are passed over.
    """
    problems = []
    for pod in pods:
        port = _metrics_port(pod) if pod["metadata"]["namespace"] == namespace else 0
        if port and (pod.get("status") or {}).get("phase") == "Running":
            depth = _depth(api, namespace, pod["metadata"]["name"], port)
            if depth > limit:
                problems.append(f"{pod['metadata']['name']} has {depth:g} items in its work queues")
    return problems


def _metrics_port(pod: Manifest) -> int:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == METRICS_PORT), 0)


def _depth(api: client.ApiClient, namespace: str, pod: str, port: int) -> float:
    core: Any = client.CoreV1Api(api)  # answers are read raw
    with api_errors(f"asking {pod} for its work queues"):
        answer = core.connect_get_namespaced_pod_proxy_with_path(
            f"{pod}:{port}", namespace, "metrics", _preload_content=False, _request_timeout=10
        )
        text = answer.data.decode()
    return sum(parse_exposition(text, (DEPTH + "{",)).values())
