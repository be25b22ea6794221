"""The kubernetes client of a lab's cluster, and the kubeconfig that it reads."""

import contextlib
from collections.abc import Iterator
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
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30
"""Seconds of a request that names no limit of its own."""


def fetch_kubeconfig(lab: Lab, endpoint: Endpoint) -> bool:
    """Write the cluster's administrator configuration to the lab, readable by the user alone.

    Returns whether the file is another than before. Raises ``LabError``.
    """
    with Ssh(endpoint) as ssh:
        result = ssh.run(f"{sudo.prefix(endpoint)}cat {ADMIN}", check=False)
    if result.returncode != 0:
        raise LabError(f"the node has no control plane yet ({result.stderr.strip()})", hint="invoke lab.up")
    text = rewritten(result.stdout, *api_tunnel.address(lab, endpoint))
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
def connect(lab: Lab) -> Iterator[Any]:
    """Open the kubernetes client (``ApiClient``) of the lab's cluster.

    Machine and link are checked first. Raises ``LabError`` where they, the kubeconfig or the API server are missing,
    also from requests inside the context.
    """
    endpoint = LabContext.of(lab).reached_endpoint()
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
    server, expected = str(settings.host), api_tunnel.server(lab, endpoint)
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
