"""Pods that burn a known number of CPU-seconds: what an instrument must find again."""

import contextlib
import math
from collections.abc import Iterator

from hardwatt.delivery import manifests
from hardwatt.delivery.arms import IdleArm
from hardwatt.delivery.manifests import Manifest
from hardwatt.experiment.arm import RunContext

NAME = "burn"
SCRIPT = '[ "$CPU_SECONDS" = 0 ] || (ulimit -t "$CPU_SECONDS"; while :; do :; done) || true\n'
"""The kernel ends the loop at its limit of CPU time, within a tick."""
FINE_SCRIPT = """\
ulimit -t "$CPU_LIMIT"
read -r from rest < /proc/self/schedstat
now=$from
while [ $((now - from)) -lt "$CPU_NANOSECONDS" ]; do read -r now rest < /proc/self/schedstat; done
"""
"""For parts of a second: the loop reads its own run time, which the kernel renews at each tick at the latest. On a
kernel that does not count it the loop ends at the limit, with an error."""


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

    def start(self, number: int, cpu_seconds: float) -> None:
        """Start one pod that burns ``cpu_seconds``; 0: it ends at once, which costs what a pod costs."""
        self.context.apply(self.job(number, cpu_seconds))

    def job(self, number: int, cpu_seconds: float) -> Manifest:
        """Return the Job of one pod."""
        context = self.context
        env, script = {"CPU_SECONDS": f"{cpu_seconds:g}"}, SCRIPT
        if cpu_seconds != int(cpu_seconds):
            env |= {"CPU_NANOSECONDS": str(round(1e9 * cpu_seconds)), "CPU_LIMIT": str(math.ceil(cpu_seconds) + 1)}
            script = FINE_SCRIPT
        burner = manifests.container(NAME, context.images["runner"], script, env, flags="-c")
        pod = manifests.pod([burner], grace_seconds=0, automountServiceAccountToken=False)
        labels = {"hardwatt.dev/burn": context.run_id}
        return manifests.job(context, f"{NAME}-{context.run_id}-{number}", pod, labels)


class BurningArm(IdleArm):
    """Nothing delivers; pods start by the clock, and what they burn is known."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off; the Job's rights are for what comes before the window."""
        with super().prepare(), Burner(self.context).allowed():
            yield
