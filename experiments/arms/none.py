"""Nothing installed: the baseline. The application runs, and nothing in the cluster delivers to it."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import flux_off
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """Flux is off; the commit before the window comes by a Job, and those of the window are not delivered."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off; the Job's rights are for what comes before the window."""
        with flux_off(self.context), Runner(self.context).allowed():
            yield

    def deliver(self, commit: Commit) -> None:
        """Deliver what comes before the window, and nothing else."""
        if commit.index < 0:
            Runner(self.context).start(commit)
