"""What was changed in the cluster for an experiment, written down before it is changed.

An entry is first stored in the journal, then the change is made; undoing an entry twice, or one
whose change never happened, does no harm. So a process that was killed anywhere leaves a list that
puts everything back, newest first.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

Manifest = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Undo:
    """One thing to put back."""

    action: str
    """``scale`` (a Deployment, to ``replicas``), ``resume`` (a suspended Flux object), ``delete`` or
    ``delete-all`` (everything of a kind with ``selector``)."""
    api_version: str
    kind: str
    namespace: str
    name: str = ""
    replicas: int = 0
    selector: str = ""

    def __str__(self) -> str:
        what = f"{self.kind} {self.namespace}/{self.name or self.selector}".replace(" /", " ")
        if self.action == "scale":
            return f"{what} back to {self.replicas} replicas"
        return {"resume": f"{what} resumed", "delete": f"{what} deleted"}.get(self.action, f"all {what} deleted")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Undo":
        return cls(**data)


class Cluster(Protocol):
    """What the engine and the arms do to a cluster. Every method returns when the change has taken effect.

    Errors of the API server are raised as ``LabError``.
    """

    def apply(self, manifest: Manifest) -> None:
        """Create or change one object (server-side apply)."""

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """Delete one object and wait until it is gone; nothing happens where it is not there."""

    def delete_all(self, api_version: str, kind: str, namespace: str, selector: str) -> None:
        """Delete all objects of a kind with these labels, and wait until they and their pods are gone."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return one object, or None where it is not there."""

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        """Return all objects of a kind; none where the cluster does not know the kind."""

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Scale a Deployment and wait until its pods are as asked."""

    def suspend(self, api_version: str, kind: str, namespace: str, name: str, suspended: bool) -> None:
        """Suspend or resume a Flux object."""


class Log(Protocol):
    """Where entries are kept; each method returns when the list is on disk."""

    def push(self, undo: Undo) -> None: ...

    def pop(self, undo: Undo) -> None: ...


def perform(undo: Undo, cluster: Cluster) -> None:
    """Put one thing back."""
    if undo.action == "scale":
        cluster.scale(undo.namespace, undo.name, undo.replicas)
    elif undo.action == "resume":
        cluster.suspend(undo.api_version, undo.kind, undo.namespace, undo.name, False)
    elif undo.action == "delete":
        cluster.delete(undo.api_version, undo.kind, undo.namespace, undo.name)
    elif undo.action == "delete-all":
        cluster.delete_all(undo.api_version, undo.kind, undo.namespace, undo.selector)
    else:
        raise ValueError(f"unknown action {undo.action!r} in the journal")


class Changes:
    """Changes to a cluster as context managers: made on entry, put back on exit, in the journal between."""

    def __init__(self, cluster: Cluster, log: Log) -> None:
        self.cluster = cluster
        self._log = log

    @contextlib.contextmanager
    def undone(self, undo: Undo) -> Iterator[None]:
        """Write ``undo`` down; do it at the end."""
        self._log.push(undo)
        try:
            yield
        finally:
            perform(undo, self.cluster)
            self._log.pop(undo)

    @contextlib.contextmanager
    def applied(self, *manifests: Manifest) -> Iterator[None]:
        """Apply objects in this order; delete them at the end, newest first."""
        with contextlib.ExitStack() as stack:
            for manifest in manifests:
                meta = manifest["metadata"]
                stack.enter_context(
                    self.undone(
                        Undo(
                            "delete", manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""), meta["name"]
                        )
                    )
                )
                self.cluster.apply(manifest)
            yield

    @contextlib.contextmanager
    def scaled(self, namespace: str, name: str, replicas: int) -> Iterator[None]:
        """Scale a Deployment; back to what it was at the end. Nothing happens where it is so already."""
        found = self.cluster.get("apps/v1", "Deployment", namespace, name)
        before = int(found["spec"].get("replicas", 1)) if found else replicas
        if before == replicas:
            yield
            return
        with self.undone(Undo("scale", "apps/v1", "Deployment", namespace, name, replicas=before)):
            self.cluster.scale(namespace, name, replicas)
            yield

    @contextlib.contextmanager
    def suspended(self, api_version: str, kind: str) -> Iterator[None]:
        """Suspend all Flux objects of a kind that are not suspended; resume those at the end."""
        with contextlib.ExitStack() as stack:
            for found in self.cluster.list(api_version, kind):
                if not found.get("spec", {}).get("suspend"):
                    meta = found["metadata"]
                    undo = Undo("resume", api_version, kind, meta["namespace"], meta["name"])
                    stack.enter_context(self.undone(undo))
                    self.cluster.suspend(api_version, kind, meta["namespace"], meta["name"], True)
            yield

    @contextlib.contextmanager
    def removed(self, api_version: str, kind: str, namespace: str, selector: str) -> Iterator[None]:
        """Delete, at the end, everything of a kind that was made with these labels in between."""
        with self.undone(Undo("delete-all", api_version, kind, namespace, selector=selector)):
            yield
