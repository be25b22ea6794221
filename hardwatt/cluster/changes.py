"""Changes of the cluster for an experiment, each recorded before it is made.

An entry is first stored in the journal, then the change is made; undoing an entry twice, or one
whose change never happened, does no harm. So a process that was killed anywhere leaves a list that
puts everything back, newest first.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from hardwatt.core import state_files
from hardwatt.core.errors import LabError

Manifest = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Undo:
    """One thing to put back."""

    action: str
    """``scale`` (a Deployment or StatefulSet, to ``replicas``), ``resume`` (a suspended Flux object), ``argument``
    (of a Deployment's container, back to ``before``), ``data`` (of a ConfigMap: the key ``argument``, back to
    ``before``), ``release`` (of fields that were set here), ``delete`` or ``delete-all`` (everything of a kind with
    ``selector``)."""
    api_version: str
    kind: str
    namespace: str
    name: str = ""
    replicas: int = 0
    selector: str = ""
    argument: str = ""
    before: str = ""

    def __str__(self) -> str:
        what = f"{self.kind} {self.namespace}/{self.name or self.selector}".replace(" /", " ")
        if self.action == "scale":
            return f"{what} back to {self.replicas} replicas"
        if self.action == "argument":
            return f"{what} without {self.argument}" + (f", with {self.before} again" if self.before else "")
        if self.action == "data":
            return f"{self.argument} of {what} as it was"
        return {"resume": f"{what} resumed", "release": f"fields of {what} given up", "delete": f"{what} deleted"}.get(
            self.action, f"all {what} deleted"
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Undo":
        return state_files.typed(cls, data)


class Cluster(Protocol):
    """Operations of the engine and the arms on a cluster. Every method returns when the change has taken effect.

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

    def scale(self, namespace: str, name: str, replicas: int, kind: str = "Deployment") -> None:
        """Scale a Deployment or StatefulSet and wait until its pods are as asked."""

    def set_data(self, namespace: str, name: str, key: str, text: str) -> None:
        """Set one key of a ConfigMap; nothing where there is no such ConfigMap."""

    def suspend(self, api_version: str, kind: str, namespace: str, name: str, suspended: bool) -> None:
        """Suspend or resume a Flux object."""

    def post(self, namespace: str, service: str, port: int, path: str) -> None:
        """POST to a Service in the cluster, as a webhook does."""

    def argument(self, namespace: str, name: str, old: str, new: str) -> None:
        """Put ``new`` in place of the argument ``old`` of a Deployment's first container.

        Empty: nothing is there before, or afterwards. Does not wait for pods.
        """


class Log(Protocol):
    """Store of the entries; each method returns when the list is on disk."""

    def push(self, undo: Undo) -> None: ...

    def pop(self, undo: Undo) -> None: ...


def perform(undo: Undo, cluster: Cluster) -> None:
    """Put one thing back."""
    if undo.action == "scale":
        cluster.scale(undo.namespace, undo.name, undo.replicas, undo.kind)
    elif undo.action == "resume":
        cluster.suspend(undo.api_version, undo.kind, undo.namespace, undo.name, False)
    elif undo.action == "release":
        meta = {"name": undo.name, "namespace": undo.namespace}
        cluster.apply({"apiVersion": undo.api_version, "kind": undo.kind, "metadata": meta})
    elif undo.action == "argument":
        cluster.argument(undo.namespace, undo.name, undo.argument, undo.before)
    elif undo.action == "data":
        cluster.set_data(undo.namespace, undo.name, undo.argument, undo.before)
    elif undo.action == "delete":
        cluster.delete(undo.api_version, undo.kind, undo.namespace, undo.name)
    elif undo.action == "delete-all":
        cluster.delete_all(undo.api_version, undo.kind, undo.namespace, undo.selector)
    else:
        raise ValueError(f"unknown action {undo.action!r} in the journal")


def first_arguments(deployment: Manifest) -> list[str]:
    """Return the arguments of a Deployment's first container."""
    return list(deployment["spec"]["template"]["spec"]["containers"][0].get("args") or ())


def replaced(arguments: Sequence[str], old: str, new: str) -> list[str]:
    """Return arguments with ``new`` in the place of ``old``, once; either may be empty."""
    rest = [argument for argument in arguments if argument != new]
    at = rest.index(old) if old and old in rest else len(rest)
    return [*rest[:at], *([new] if new else []), *rest[at + (old in rest[at : at + 1]) :]]


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
    def scaled(self, namespace: str, name: str, replicas: int, kind: str = "Deployment") -> Iterator[None]:
        """Scale a Deployment or StatefulSet; back to what it was at the end.

        Nothing happens where it is so already, or where it is missing.
        """
        workload = self.cluster.get("apps/v1", kind, namespace, name)
        before = int(workload["spec"].get("replicas", 1)) if workload else replicas
        if before == replicas:
            yield
            return
        with self.undone(Undo("scale", "apps/v1", kind, namespace, name, replicas=before)):
            self.cluster.scale(namespace, name, replicas, kind)
            yield

    @contextlib.contextmanager
    def configured(self, namespace: str, name: str, key: str, text: str) -> Iterator[None]:
        """Set one key of a ConfigMap; back to its text at the end. Nothing happens where it holds the text already.

        Raises ``LabError`` where the ConfigMap or its key is missing.
        """
        config = self.cluster.get("v1", "ConfigMap", namespace, name)
        before = (config.get("data") or {}).get(key) if config else None
        if before is None:
            raise LabError(f"the ConfigMap {namespace}/{name} has no {key}", hint="invoke lab.up")
        if before == text:
            yield
            return
        with self.undone(Undo("data", "v1", "ConfigMap", namespace, name, argument=key, before=before)):
            self.cluster.set_data(namespace, name, key, text)
            yield

    @contextlib.contextmanager
    def argument(self, namespace: str, name: str, argument: str) -> Iterator[None]:
        """Give a Deployment's first container the argument ``--flag=value``; as it was at the end.

        Nothing happens where it is so already, or where there is no such Deployment. It is to be scaled to
        zero around this, so that no pod starts for it.
        """
        deployment = self.cluster.get("apps/v1", "Deployment", namespace, name)
        arguments = first_arguments(deployment) if deployment else [argument]
        if argument in arguments:
            yield
            return
        flag = argument.partition("=")[0]
        before = next((given for given in arguments if given.partition("=")[0] == flag), "")
        undo = Undo("argument", "apps/v1", "Deployment", namespace, name, argument=argument, before=before)
        with self.undone(undo):
            self.cluster.argument(namespace, name, before, argument)
            yield

    @contextlib.contextmanager
    def overridden(self, manifest: Manifest) -> Iterator[None]:
        """Set fields of an object that is there and that nobody else sets; they are gone again at the end.

        An owner of fields that applies an object without them gives them up (server-side apply).
        """
        meta = manifest["metadata"]
        undo = Undo("release", manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""), meta["name"])
        with self.undone(undo):
            self.cluster.apply(manifest)
            yield

    @contextlib.contextmanager
    def suspended(self, api_version: str, kind: str) -> Iterator[None]:
        """Suspend all Flux objects of a kind that are not suspended; resume those at the end."""
        with contextlib.ExitStack() as stack:
            for manifest in self.cluster.list(api_version, kind):
                if not manifest.get("spec", {}).get("suspend"):
                    meta = manifest["metadata"]
                    undo = Undo("resume", api_version, kind, meta["namespace"], meta["name"])
                    stack.enter_context(self.undone(undo))
                    self.cluster.suspend(api_version, kind, meta["namespace"], meta["name"], True)
            yield

    @contextlib.contextmanager
    def removed(self, api_version: str, kind: str, namespace: str, selector: str) -> Iterator[None]:
        """Delete, at the end, everything of a kind that was made with these labels in between."""
        with self.undone(Undo("delete-all", api_version, kind, namespace, selector=selector)):
            yield
