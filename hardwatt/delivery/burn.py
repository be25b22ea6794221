"""Pods that burn a known number of CPU-seconds: what an instrument must find again."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery import manifests
from hardwatt.delivery.manifests import Manifest
from hardwatt.experiment.arm import RunContext

NAME = "burn"
SCRIPT = '[ "$CPU_SECONDS" = 0 ] || (ulimit -t "$CPU_SECONDS"; while :; do :; done) || true\n'
"""The kernel ends the loop at its limit of CPU time, within a tick."""


class Burner:
    """Jobs with one pod each, which is gone from the node when it has burnt its share."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Remove the Jobs at the end."""
        context = self.context
        with context.changes.removed(
            "batch/v1", "Job", context.namespaces["ci"], f"hardwatt.dev/burn={context.run_id}"
        ):
            yield

    def start(self, number: int, cpu_seconds: int) -> None:
        """Start one pod that burns ``cpu_seconds``; 0: it ends at once, which costs what a pod costs."""
        self.context.apply(self.job(number, cpu_seconds))

    def job(self, number: int, cpu_seconds: int) -> Manifest:
        """Return the Job of one pod."""
        context = self.context
        env = {"CPU_SECONDS": str(cpu_seconds)}
        burner = manifests.container(NAME, context.images["runner"], SCRIPT, env, flags="-c")
        pod = manifests.pod([burner], grace_seconds=0, automountServiceAccountToken=False)
        labels = {"hardwatt.dev/burn": context.run_id}
        return manifests.job(context, f"{NAME}-{context.run_id}-{number}", pod, labels)
