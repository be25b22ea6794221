"""Pods that burn a known number of CPU-seconds: what an instrument must find again."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hardwatt.delivery.runner import USER
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

    def job(self, number: int, cpu_seconds: int) -> dict[str, Any]:
        """The Job of one pod."""
        labels = {"hardwatt.dev/burn": self.context.run_id}
        container = {
            "name": NAME,
            "image": self.context.images["runner"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", SCRIPT],
            "env": [{"name": "CPU_SECONDS", "value": str(cpu_seconds)}],
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER},
            "containers": [container],
        }
        meta = {"name": f"{NAME}-{self.context.run_id}-{number}", "namespace": self.context.namespaces["ci"]}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {**meta, "labels": labels},
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
        }
