"""Push: each commit starts a Job in the cluster that clones the repository and applies it.

No CI server runs: the controller of the experiment creates the Job, as a CI system would on a
webhook. That is push at its cheapest.
"""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import flux_off
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """Flux is off; a Job per commit pushes."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off and give the runner its rights."""
        with flux_off(self.context), Runner(self.context).allowed():
            yield

    def deliver(self, commit: Commit) -> None:
        """Start the Job."""
        Runner(self.context).start(commit)
