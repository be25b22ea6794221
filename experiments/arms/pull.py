"""Pull: Flux looks for new commits in the workload repository and applies what it finds."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hardwatt.engine.arm import BaseArm, Commit
from hardwatt.engine.wait import wait_condition

NAME = "hardwatt-workload"
CONTROLLERS = ("source-controller", "kustomize-controller")
SOURCE_API = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE_API = "kustomize.toolkit.fluxcd.io/v1"


class Arm(BaseArm):
    """Two controllers run; a GitRepository and a Kustomization watch the workload repository."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Start the controllers, point them at the repository, and wait until it was fetched."""
        bench, changes = self.bench, self.bench.changes
        with contextlib.ExitStack() as stack:
            for name in CONTROLLERS:
                stack.enter_context(changes.scaled(bench.namespaces["flux"], name, 1))
            stack.enter_context(changes.applied(self.secret(), self.repository(), self.kustomization()))
            wait_condition(
                changes.cluster, SOURCE_API, "GitRepository", bench.namespaces["flux"], NAME,
                timeout=bench.study.timing.ready_timeout_seconds,
            )  # fmt: skip
            yield

    def deliver(self, commit: Commit) -> None:
        """Flux finds the commit by itself."""

    def secret(self) -> dict[str, Any]:
        """Flux's own key, read only, and the git server's host key."""
        git = self.bench.git
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self._meta(),
            "stringData": {"identity": git.keys["flux"], "known_hosts": git.known_hosts},
        }

    def repository(self) -> dict[str, Any]:
        """Where to look, and how often."""
        git = self.bench.git
        return {
            "apiVersion": SOURCE_API,
            "kind": "GitRepository",
            "metadata": self._meta(),
            "spec": {
                "interval": self._interval,
                "url": git.url,
                "ref": {"branch": git.branch},
                "secretRef": {"name": NAME},
                "timeout": "20s",
            },
        }

    def kustomization(self) -> dict[str, Any]:
        """What to apply; it does not wait for the rollout, as the push arm does not either."""
        return {
            "apiVersion": KUSTOMIZE_API,
            "kind": "Kustomization",
            "metadata": self._meta(),
            "spec": {
                "interval": f"{self.bench.study.flux.apply_interval_seconds}s",
                "path": f"./{self.bench.git.folder}",
                "prune": self.bench.study.flux.prune,
                "wait": False,
                "sourceRef": {"kind": "GitRepository", "name": NAME},
                "retryInterval": self._interval,
            },
        }

    @property
    def _interval(self) -> str:
        return f"{self.bench.study.flux.interval_seconds}s"

    def _meta(self) -> dict[str, Any]:
        labels = {"hardwatt.dev/run": self.bench.run_id}
        return {"name": NAME, "namespace": self.bench.namespaces["flux"], "labels": labels}
