"""The cluster, read through the kubernetes client: kubeconfig, nodes, pods."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from hardwatt.cluster import api_errors, api_tunnel
from hardwatt.config.lab import Lab
from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic
from hardwatt.core.wait import timeout_factor
from hardwatt.machines.lab_context import LabContext

ADMIN = "/etc/kubernetes/admin.conf"
PORT = api_tunnel.PORT
TIMEOUT = 10
"""Seconds for one request."""
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30
"""Seconds of a request that names no limit of its own."""


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
    """Why a container of it waits, as ``CrashLoopBackOff (exit code 1)``; empty where none does."""

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


def fetch_kubeconfig(lab: Lab, endpoint: Endpoint) -> bool:
    """Write the cluster's administrator configuration to the lab, readable by the user alone.

    Returns whether the file is another than before. Raises ``LabError``.
    """
    with Ssh(endpoint) as ssh:
        found = ssh.run(f"{sudo.prefix(endpoint)}cat {ADMIN}", check=False)
    if found.returncode != 0:
        raise LabError(f"the node has no control plane yet ({found.stderr.strip()})", hint="invoke lab.up")
    text = rewritten(found.stdout, *api_tunnel.address(lab, endpoint))
    before = lab.kubeconfig.read_text() if lab.kubeconfig.exists() else ""
    private = lab.kubeconfig.exists() and lab.kubeconfig.stat().st_mode & 0o777 == 0o600
    if text == before and private:
        return False
    write_atomic(lab.kubeconfig, text, mode=0o600)
    return True


def rewritten(text: str, address: str, port: int = PORT) -> str:
    """Return a kubeconfig whose clusters are reached at ``address``."""
    data = yaml.safe_load(text)
    host = f"[{address}]" if ":" in address else address
    for cluster in data["clusters"]:
        cluster["cluster"]["server"] = f"https://{host}:{port}"
    return str(yaml.safe_dump(data, sort_keys=False))


class _Client(kubernetes_client.ApiClient):
    """The kubernetes client, with a limit for every request: an API server that hangs is an error too."""

    def call_api(self, *request: Any, **more: Any) -> Any:
        if more.get("_request_timeout") is None:
            more["_request_timeout"] = (CONNECT_TIMEOUT * timeout_factor(), READ_TIMEOUT * timeout_factor())
        return super().call_api(*request, **more)


@contextlib.contextmanager
def client(lab: Lab) -> Iterator[Any]:
    """Give the kubernetes client (``ApiClient``) of the lab's cluster.

    Machine and link are looked at first. Raises ``LabError`` where they, the kubeconfig or the API server are not
    there, also from requests inside the context.
    """
    end = LabContext.of(lab).reached_endpoint()
    if not lab.kubeconfig.exists():
        raise LabError(f"the lab {lab.name} has no kubeconfig ({lab.kubeconfig} is missing)", hint=api_errors.UP)
    api_tunnel.keep(lab)
    settings = kubernetes_client.Configuration()
    settings.retries = 1
    try:
        path = str(lab.kubeconfig)
        kubernetes_config.load_kube_config(path, client_configuration=settings)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise LabError(f"no usable kubeconfig in {lab.kubeconfig}: {error}", hint=api_errors.KUBECONFIG) from error
    server, expected = str(settings.host), api_tunnel.server(lab, end)
    if expected and server != expected:
        raise LabError(
            f"the kubeconfig {lab.kubeconfig} is of another cluster: its server is {server}, the lab's is {expected}",
            hint=api_errors.KUBECONFIG,
        )
    try:
        with _Client(settings) as api:
            yield api
    except (ApiException, HTTPError) as error:
        raise api_errors.explained(lab, server, error) from error


def status(lab: Lab) -> ClusterStatus:
    """Return the cluster's nodes and pods, Job pods too.

    Raises ``LabError`` where the API server does not answer.
    """
    with client(lab) as api:
        return _read(kubernetes_client.CoreV1Api(api))


def read(core: Any) -> ClusterStatus:
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
