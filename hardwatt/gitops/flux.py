"""Flux in the cluster: its objects, compared with the wanted ones, and their health."""

import base64
import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, cast

from kubernetes import client as kubernetes

from hardwatt.cluster import api_errors
from hardwatt.cluster import status as cluster_status
from hardwatt.core.errors import LabError, WaitError
from hardwatt.core.wait import wait, wait_at_most
from hardwatt.gitops.desired_flux import DesiredFlux, outdated_sync

NAMESPACE = "flux-system"
SOURCE = ("source.toolkit.fluxcd.io", "v1", "gitrepositories")
KUSTOMIZE = ("kustomize.toolkit.fluxcd.io", "v1", "kustomizations")
FIELD_MANAGER = "hardwatt"
READY_TIMEOUT = 360.0
SETTLE_TIMEOUT = 60.0
"""Seconds that a look at Flux waits for a reconciliation that is running."""
REQUESTED = "reconcile.fluxcd.io/requestedAt"
"""The annotation that ``flux reconcile`` sets."""


class FluxObjects:
    """The objects of Flux in a cluster, read and patched through the kubernetes client."""

    def __init__(self, api: Any) -> None:
        self._core = kubernetes.CoreV1Api(api)
        self._apps = kubernetes.AppsV1Api(api)
        self._objects = kubernetes.CustomObjectsApi(api)

    def secret(self) -> dict[str, str]:
        """Return the secret that Flux fetches with (empty where there is none)."""
        try:
            stored = self._core.read_namespaced_secret(NAMESPACE, NAMESPACE)
        except kubernetes.ApiException as error:
            return _absent(error)
        return {key: base64.b64decode(value).decode() for key, value in (stored.data or {}).items()}

    def items(self, kind: tuple[str, str, str]) -> dict[str, dict[str, Any]]:
        """Return name -> object of a kind in Flux's namespace (empty where the kind is not known)."""
        group, version, plural = kind
        try:
            listed = cast(Any, self._objects.list_namespaced_custom_object(group, version, NAMESPACE, plural))
        except kubernetes.ApiException as error:
            return _absent(error)
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def patch(self, kind: tuple[str, str, str], name: str, body: Mapping[str, Any]) -> None:
        group, version, plural = kind
        self._objects.patch_namespaced_custom_object(
            group, version, NAMESPACE, plural, name, dict(body), field_manager=FIELD_MANAGER
        )

    def summary(self) -> str:
        """Return one line about nodes and pods, with what the late ones wait for."""
        try:
            return cluster_status.read_with(self._core).summary
        except LabError as error:
            return error.message

    def deployments(self) -> dict[str, bool]:
        """Return name -> whether a controller of Flux runs."""
        deployments = cast(Any, self._apps.list_namespaced_deployment(NAMESPACE).items)
        return {item.metadata.name: bool(item.status.available_replicas) for item in deployments}

    def outdated(self, wanted: DesiredFlux) -> str:
        """Return why the cluster needs a bootstrap; empty if it does not."""
        source = self.items(SOURCE).get(NAMESPACE)
        root = self.items(KUSTOMIZE).get(NAMESPACE)
        if source is None and root is None:
            return "Flux is not in the cluster"
        if source is None or root is None:
            return f"the {'GitRepository' if source is None else 'Kustomization'} {NAMESPACE} is not in the cluster"
        if not root.get("status", {}).get("lastAppliedRevision"):
            return "a bootstrap was not finished"
        if reason := wanted.secret_differs(self.secret()) or outdated_sync(wanted, source["spec"], root["spec"]):
            return reason
        missing = sorted(set(wanted.components) - set(self.deployments()))
        return f"not there: {', '.join(missing)}" if missing else ""

    def forget_secret(self) -> None:
        """Delete the secret that Flux fetches with, if there is one.

        ``flux bootstrap github`` keeps an old one, and ``git`` leaves what it does not write, a password too.
        """
        try:
            self._core.delete_namespaced_secret(NAMESPACE, NAMESPACE)
        except kubernetes.ApiException as error:
            _absent(error)

    def store_secret(self, wanted: Mapping[str, str]) -> None:
        """Have the secret that Flux fetches with be this one, before Flux is there."""
        if self.secret() == dict(wanted):
            return
        self.forget_secret()
        metadata = kubernetes.V1ObjectMeta(name=NAMESPACE)
        secret = kubernetes.V1Secret(metadata=metadata, type="Opaque", string_data=dict(wanted))
        try:
            self._core.create_namespace(kubernetes.V1Namespace(metadata=metadata), field_manager=FIELD_MANAGER)
        except kubernetes.ApiException as error:
            if error.status != 409:  # it is there
                raise api_errors.answered(error) from error
        try:
            self._core.create_namespaced_secret(NAMESPACE, secret, field_manager=FIELD_MANAGER)
        except kubernetes.ApiException as error:
            raise api_errors.answered(error) from error

    def release(self) -> None:
        """Take the finalizers from Flux's objects that are being deleted: the controllers that would are gone."""
        for kind in (KUSTOMIZE, SOURCE):
            for name, item in self.items(kind).items():
                if "deletionTimestamp" in item["metadata"]:
                    self.patch(kind, name, {"metadata": {"finalizers": None}})

    def request(self) -> None:
        """Ask Flux to fetch and apply now (the annotation that ``flux reconcile`` sets)."""
        now = datetime.datetime.now(datetime.UTC).isoformat()
        body = {"metadata": {"annotations": {REQUESTED: now}}}
        self.patch(SOURCE, NAMESPACE, body)


def _absent(error: kubernetes.ApiException) -> dict[str, Any]:
    if error.status == 404:
        return {}
    raise api_errors.answered(error) from error


def ready_condition(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the condition Ready of an object of Flux; empty where it has none yet."""
    conditions: Sequence[Mapping[str, str]] = item.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def working(item: Mapping[str, Any]) -> bool:
    """Return whether Flux is at an object, so that its condition says nothing yet.

    Each reconciliation, also one that changes nothing, sets Ready to Unknown while it runs; and what depends on such
    an object is not Ready until it is asked again, some seconds later.
    """
    if item.get("spec", {}).get("suspend"):
        return False
    ready = ready_condition(item)
    if not _observed(item) or ready.get("status") not in ("True", "False"):
        return True
    return ready.get("status") == "False" and ready.get("reason") == "DependencyNotReady"


def _observed(item: Mapping[str, Any]) -> bool:
    return bool(item.get("status", {}).get("observedGeneration") == item["metadata"].get("generation"))


@dataclasses.dataclass(frozen=True)
class Sync:
    """State of one object of Flux: ready or not, its revision and its message."""

    name: str
    ready: bool
    revision: str
    message: str
    suspended: bool
    current: bool
    """Whether the status is of the object as it is now (observedGeneration)."""
    source: bool = False
    """It is what Flux fetches, and not what it applies."""
    needs: tuple[str, ...] = ()
    """The Kustomizations that it waits for."""
    working: bool = False
    """Flux is at it (``working``): ready or not is not known yet."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Sync":
        status = item.get("status", {})
        condition = ready_condition(item)
        revision = status.get("lastAppliedRevision") or status.get("artifact", {}).get("revision", "")
        return cls(
            item["metadata"]["name"],
            condition.get("status") == "True",
            revision,
            condition.get("message", "no status yet"),
            bool(item.get("spec", {}).get("suspend")),
            _observed(item),
            source="sourceRef" not in item.get("spec", {}),
            needs=tuple(dependency["name"] for dependency in item.get("spec", {}).get("dependsOn", [])),
            working=working(item),
        )

    def at(self, commit: str) -> bool:
        """Return whether this commit is applied and healthy."""
        return self.ready and self.current and self.revision.endswith(commit)


def synced(cluster: FluxObjects) -> list[Sync]:
    """Return the state of the lab's source and of every Kustomization that is applied from it.

    Other sources (an experiment's workload) are not the lab's business.
    """
    source = cluster.items(SOURCE).get(NAMESPACE)
    applied = [item for _, item in sorted(cluster.items(KUSTOMIZE).items()) if from_lab(item)]
    return [Sync.of(item) for item in ([source] if source else []) + applied]


def settled(cluster: FluxObjects) -> list[Sync]:
    """Return ``synced`` when Flux is not at any of it, or after ``SETTLE_TIMEOUT`` seconds as it is then."""
    return wait_at_most(
        lambda: synced(cluster),
        lambda syncs: not any(item.working for item in syncs),
        what="Flux at work",
        timeout=SETTLE_TIMEOUT,
        describe=describe,
    )


def from_lab(item: Mapping[str, Any]) -> bool:
    """Return whether a Kustomization is applied from the lab's repository."""
    reference = item["spec"]["sourceRef"]
    return bool(reference["kind"] == "GitRepository" and reference["name"] == NAMESPACE)


def all_at(syncs: Sequence[Sync], commit: str) -> bool:
    """Return whether the source and everything that is applied from it is healthy at this commit."""
    return len(syncs) > 1 and all(item.at(commit) for item in syncs)


def held(syncs: Sequence[Sync]) -> list[Sync]:
    """Return what does not move while somebody has suspended it, its source, or what it waits for."""
    if any(item.suspended and item.source for item in syncs):
        return list(syncs)
    names = {item.name for item in syncs if item.suspended}
    while more := {item.name for item in syncs if not item.source and names & set(item.needs)} - names:
        names |= more
    return [item for item in syncs if not item.source and item.name in names]


def moved_to(syncs: Sequence[Sync], commit: str) -> bool:
    """Return whether all that is not held is healthy at this commit."""
    kept = held(syncs)
    return len(syncs) > 1 and all(item.at(commit) for item in syncs if item not in kept)


def wait_for(cluster: FluxObjects, commit: str, *, respect: bool = False) -> None:
    """Wait until Flux has applied ``commit`` everywhere and all of it is healthy.

    ``respect``: what somebody has suspended is not waited for. Raises ``WaitError`` with what each of them said last.
    """

    def refuse(syncs: Sequence[Sync]) -> str | None:
        suspended = [item.name for item in syncs if item.suspended and not item.at(commit) and not respect]
        return f"suspended: {', '.join(suspended)} (invoke gitops.resume)" if suspended else None

    try:
        wait(
            lambda: synced(cluster),
            lambda syncs: moved_to(syncs, commit) if respect else all_at(syncs, commit),
            what="Flux",
            timeout=READY_TIMEOUT,
            error=refuse,
            describe=describe,
            hint="invoke lab.status; kubectl -n flux-system get kustomizations",
        )
    except WaitError as error:
        raise WaitError(
            f"{error.message}; {cluster.summary()}",
            hint=f"{error.hint}; kubectl logs of a pod that is late (invoke lab.kubeconfig names the file for kubectl)",
        ) from error


def describe(syncs: Sequence[Sync]) -> str:
    """Return one sentence about the state of Flux."""
    if not syncs:
        return "Flux is not in the cluster"
    waiting = [item for item in syncs if not item.ready or item.suspended]
    revision = next((item.revision for item in syncs if item.revision), "nothing yet")
    if not waiting:
        return f"{len(syncs)} objects Ready at {revision}"
    what = "; ".join(f"{item.name}: {'suspended' if item.suspended else item.message}" for item in waiting)
    return f"{len(syncs) - len(waiting)} of {len(syncs)} objects Ready at {revision}; {what}"
