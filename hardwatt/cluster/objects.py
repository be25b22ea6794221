"""The real cluster, through the kubernetes client. Objects are plain JSON data."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from hardwatt.cluster.changes import Manifest, first_arguments, replaced
from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait

MANAGER = "hardwatt"
_DYNAMIC: Any = DynamicClient  # it has no annotations
NOT_FOUND = 404
REQUEST_TIMEOUT = 20.0
CONNECT_TIMEOUT = 5.0
_WITH_DEPENDENTS = ("Deployment", "Job", "StatefulSet", "DaemonSet")


@contextlib.contextmanager
def api_errors(doing: str) -> Iterator[None]:
    """Turn errors of the API server and of the way to it into ``LabError``."""
    try:
        yield
    except ApiException as error:
        detail = (error.body or error.reason or "").strip()[:500]
        raise LabError(
            f"{doing}: the API server answered {error.status}: {detail}", hint="invoke lab.status"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise LabError(f"{doing}: the API server cannot be reached: {error}", hint="invoke lab.status") from error


class KubeCluster:
    """``hardwatt.cluster.changes.Cluster`` on a real cluster.

    ``discovery`` is a file that holds what the API server offers; it is made anew by each object.
    """

    def __init__(self, api: client.ApiClient, discovery: Path, *, timeout: float = 90.0) -> None:
        self.api = api
        self.timeout = timeout
        _reach(api.configuration.host)
        discovery.unlink(missing_ok=True)
        with api_errors("asking what the cluster offers"):
            self._dynamic = _DYNAMIC(api, cache_file=str(discovery))

    def apply(self, manifest: Manifest) -> None:
        """Create or change one object (server-side apply)."""
        meta = manifest["metadata"]
        with api_errors(f"applying {manifest['kind']} {meta['name']}"):
            resource = self._resource(manifest["apiVersion"], manifest["kind"])
            self._dynamic.server_side_apply(
                resource, body=dict(manifest), name=meta["name"], namespace=meta.get("namespace"),
                field_manager=MANAGER, force_conflicts=True, _request_timeout=REQUEST_TIMEOUT,
            )  # fmt: skip

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return one object, or None where it (or its kind) is not there."""
        try:
            with api_errors(f"reading {kind} {namespace}/{name}"):
                resource = self._resource(api_version, kind)
                manifest: dict[str, Any] = self._dynamic.get(
                    resource, name=name, namespace=namespace or None, _request_timeout=REQUEST_TIMEOUT
                ).to_dict()
                return manifest
        except ResourceNotFoundError:
            return None
        except LabError as error:
            if isinstance(error.__cause__, ApiException) and error.__cause__.status == NOT_FOUND:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        """Return all objects of a kind; none where the cluster does not know the kind."""
        try:
            with api_errors(f"listing {kind}"):
                resource = self._resource(api_version, kind)
                listed = self._dynamic.get(
                    resource, namespace=namespace or None, label_selector=selector or None,
                    resource_version="0" if not selector else None, _request_timeout=REQUEST_TIMEOUT,
                )  # fmt: skip
                items: list[Manifest] = listed.to_dict()["items"]
                return items
        except ResourceNotFoundError:
            return []

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Delete one object with what it owns and wait until it is gone."""
        if self.get(api_version, kind, namespace, name) is None:
            return
        with api_errors(f"deleting {kind} {namespace}/{name}"), _gone_is_fine():
            self._dynamic.delete(
                self._resource(api_version, kind), name=name, namespace=namespace or None,
                body={"propagationPolicy": _propagation(kind)}, _request_timeout=REQUEST_TIMEOUT,
            )  # fmt: skip
        wait(
            lambda: self.get(api_version, kind, namespace, name),
            lambda manifest: manifest is None,
            what=f"end of {kind} {namespace}/{name}",
            timeout=self.timeout,
            delay=0.25,
            describe=lambda manifest: f"finalizers {manifest['metadata'].get('finalizers')}" if manifest else "gone",
        )

    def delete_all(self, api_version: str, kind: str, namespace: str, selector: str) -> None:
        """Delete all objects of a kind with these labels and what they own; wait until they are gone."""
        names = [manifest["metadata"]["name"] for manifest in self.list(api_version, kind, namespace, selector)]
        resource = self._resource(api_version, kind) if names else None
        for name in names:
            with api_errors(f"deleting {kind} {namespace}/{name}"), _gone_is_fine():
                self._dynamic.delete(
                    resource, name=name, namespace=namespace or None, body={"propagationPolicy": _propagation(kind)},
                    _request_timeout=REQUEST_TIMEOUT,
                )  # fmt: skip
        for name in names:
            self.delete(api_version, kind, namespace, name)

    def scale(self, namespace: str, name: str, replicas: int, kind: str = "Deployment") -> None:
        """Scale a Deployment or StatefulSet and wait until its pods are as asked; nothing where there is none.

        A reconcile that was under way when Flux was suspended still applies the number that git
        holds: while waiting, the number asked for is said again where it was changed.
        """
        if self.get("apps/v1", kind, namespace, name) is None:
            return
        wait(
            lambda: self._scaled(namespace, name, replicas, kind),
            lambda state: state == (replicas, replicas),
            what=f"{kind} {namespace}/{name} with {replicas} replicas",
            timeout=self.timeout,
            delay=0.25,
            describe=lambda state: f"{state[0]} pods, {state[1]} available",
        )

    def post(self, namespace: str, service: str, port: int, path: str) -> None:
        """POST to a Service, through the API server: how a webhook of outside reaches the cluster.

        ``path`` is one segment: the client would write a slash in it as ``%2F``.
        """
        with api_errors(f"calling {namespace}/{service}"):
            client.CoreV1Api(self.api).connect_post_namespaced_service_proxy_with_path(
                f"{service}:{port}", namespace, path, _request_timeout=REQUEST_TIMEOUT
            )

    def _scaled(self, namespace: str, name: str, replicas: int, kind: str) -> tuple[int, int]:
        """Ask for the replicas where the workload wants another number; return its pods."""
        workload = self.get("apps/v1", kind, namespace, name)
        if workload is not None and workload["spec"].get("replicas") != replicas:
            apps = client.AppsV1Api(self.api)
            stateful = kind == "StatefulSet"
            patch = apps.patch_namespaced_stateful_set_scale if stateful else apps.patch_namespaced_deployment_scale
            with api_errors(f"scaling {namespace}/{name}"):
                patch(name, namespace, {"spec": {"replicas": replicas}}, _request_timeout=REQUEST_TIMEOUT)
        return self._pods(namespace, name, kind)

    def set_data(self, namespace: str, name: str, key: str, text: str) -> None:
        """Set one key of a ConfigMap; nothing where there is no such ConfigMap."""
        with api_errors(f"setting {key} of {namespace}/{name}"), _gone_is_fine():
            client.CoreV1Api(self.api).patch_namespaced_config_map(
                name, namespace, {"data": {key: text}}, field_manager=MANAGER, _request_timeout=REQUEST_TIMEOUT
            )

    def suspend(self, api_version: str, kind: str, namespace: str, name: str, suspended: bool) -> None:
        """Suspend or resume a Flux object; nothing where it is not there."""
        with api_errors(f"suspending {kind} {namespace}/{name}"), _gone_is_fine():
            self._dynamic.patch(
                self._resource(api_version, kind), body={"spec": {"suspend": True if suspended else None}}, name=name,
                namespace=namespace, content_type="application/merge-patch+json", _request_timeout=REQUEST_TIMEOUT,
            )  # fmt: skip

    def argument(self, namespace: str, name: str, old: str, new: str) -> None:
        """Put ``new`` in place of the argument ``old`` of a Deployment's first container; either may be empty."""
        deployment = self.get("apps/v1", "Deployment", namespace, name)
        if deployment is None:
            return
        container = deployment["spec"]["template"]["spec"]["containers"][0]["name"]
        entry = {"name": container, "args": replaced(first_arguments(deployment), old, new)}
        with api_errors(f"setting an argument of {namespace}/{name}"):
            client.AppsV1Api(self.api).patch_namespaced_deployment(
                name, namespace, {"spec": {"template": {"spec": {"containers": [entry]}}}},
                _request_timeout=REQUEST_TIMEOUT,
            )  # fmt: skip

    def _pods(self, namespace: str, name: str, kind: str) -> tuple[int, int]:
        """Return how many pods a workload has, ending ones included, and how many are available."""
        workload = self.get("apps/v1", kind, namespace, name)
        if workload is None or not seen_by_controller(workload):
            return -1, -1
        labels = workload["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = self.list("v1", "Pod", namespace, selector)
        return len(pods), int((workload.get("status") or {}).get("availableReplicas", 0))

    def _resource(self, api_version: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=api_version, kind=kind)


def _reach(address: str) -> None:
    """Raise ``LabError`` soon where nothing answers; the client itself would try for minutes."""
    url = urllib3.util.parse_url(address)
    with api_errors("opening the cluster"):
        socket.create_connection((url.host or "", url.port or 443), timeout=CONNECT_TIMEOUT).close()


def seen_by_controller(manifest: Mapping[str, Any]) -> bool:
    """Return whether an object's status speaks of its present generation."""
    observed = (manifest.get("status") or {}).get("observedGeneration", 0)
    return bool(observed >= manifest["metadata"].get("generation", 0))


def _propagation(kind: str) -> str:
    """Foreground where pods hang on the object: it is gone only when they are."""
    return "Foreground" if kind in _WITH_DEPENDENTS else "Background"


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ResourceNotFoundError:
        return
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
