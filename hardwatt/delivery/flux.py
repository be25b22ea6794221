"""Flux: two controllers, a GitRepository, and a Kustomization for each copy of the application."""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any

from hardwatt.cluster.conditions import wait_condition
from hardwatt.delivery import manifests
from hardwatt.delivery.manifests import Manifest
from hardwatt.experiment.arm import Commit, RunContext
from hardwatt.experiment.testbed.rollouts import COPY

NAME = "hardwatt-workload"
CONTROLLERS = ("source-controller", "kustomize-controller")
SOURCE_API = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE_API = "kustomize.toolkit.fluxcd.io/v1"
REQUESTED = "reconcile.fluxcd.io/requestedAt"
"""The annotation that ``flux reconcile`` sets: the controller that sees a new value looks at once."""


@contextlib.contextmanager
def flux_off(context: RunContext) -> Iterator[None]:
    """Have no Flux controller run while the context lasts.

    kustomize-controller goes first: otherwise it could start the other again.
    """
    with contextlib.ExitStack() as stack:
        for name in reversed(CONTROLLERS):
            stack.enter_context(context.changes.scaled(context.namespaces["flux"], name, 0))
        yield


class Flux:
    """Flux as it watches the workload repository in one run."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start the controllers, point them at the repository, and wait until it was fetched."""
        context, changes = self.context, self.context.changes
        space = context.namespaces["flux"]
        with contextlib.ExitStack() as stack:
            for name in CONTROLLERS:
                stack.enter_context(changes.scaled(space, name, 1))
            stack.enter_context(changes.applied(self.secret(), self.repository()))
            stack.enter_context(changes.removed(KUSTOMIZE_API, "Kustomization", space, context.selector))
            for manifest in self.kustomizations():
                context.apply(manifest)
            wait_condition(
                changes.cluster, SOURCE_API, "GitRepository", space, NAME,
                timeout=context.study.timing.ready_timeout_seconds,
            )  # fmt: skip
            yield

    def reconcile(self, commit: Commit) -> None:
        """Ask for a look at the repository now, as ``flux reconcile source git`` and a webhook receiver do.

        What the source finds new, the Kustomization applies at once.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat()
        repository = self.repository()
        repository["metadata"]["annotations"] = {REQUESTED: f"{now} {commit.revision}"}
        self.context.apply(repository)

    def suspend(self) -> None:
        """Suspend what watches and what applies: the controllers go on running and have nothing to do."""
        for manifest in (self.repository(), *self.kustomizations()):
            manifest["spec"]["suspend"] = True
            self.context.apply(manifest)

    def secret(self) -> Manifest:
        """Return Flux's own key, read only, and the git server's host key."""
        return manifests.git_secret(self.context, NAME, "flux", "flux")

    def repository(self) -> Manifest:
        """Return the source: where to look, and how often."""
        git = self.context.git
        spec = {
            "interval": self._interval,
            "url": git.url,
            "ref": {"branch": git.branch},
            "secretRef": {"name": NAME},
            "timeout": "20s",
        }
        return manifests.manifest(self.context, SOURCE_API, "GitRepository", NAME, "flux", spec=spec)

    def kustomizations(self) -> list[Manifest]:
        """Return a Kustomization for each copy of the application."""
        count = self.context.study.workload.copies
        return [self.kustomization()] if count == 1 else [self.kustomization(f"{n:04d}") for n in range(1, count + 1)]

    def kustomization(self, copy: str = "") -> Manifest:
        """Return what to apply; it does not wait for the rollout, as the arms that push do not either."""
        flux = self.context.study.flux
        spec: dict[str, Any] = {
            "interval": f"{flux.apply_interval_seconds}s",
            "path": f"./{self.context.git.folder}",
            "prune": flux.prune,
            "wait": False,
            "sourceRef": {"kind": "GitRepository", "name": NAME},
            "retryInterval": self._interval,
        }
        if copy:
            spec |= {"nameSuffix": f"-{copy}", "commonMetadata": {"labels": {COPY: copy}}}
        name = f"{NAME}-{copy}" if copy else NAME
        return manifests.manifest(self.context, KUSTOMIZE_API, "Kustomization", name, "flux", spec=spec)

    @property
    def _interval(self) -> str:
        return f"{self.context.study.flux.interval_seconds}s"


def deployment_patch(context: RunContext, *, replicas: int, annotations: dict[str, str] | None = None) -> Manifest:
    """Return what changes the application's Deployment by hand, behind the back of whoever delivers it."""
    workload = context.study.workload
    meta: dict[str, Any] = {"name": workload.app, "namespace": workload.namespace}
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas}}
