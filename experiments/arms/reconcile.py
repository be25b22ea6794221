"""Pull on demand: Flux is told of each commit, as ``flux reconcile`` and a webhook receiver do."""

from hardwatt.delivery.arms import PullArm
from hardwatt.delivery.flux import Flux
from hardwatt.experiment.arm import Commit


class Arm(PullArm):
    """As pull, with an annotation on the GitRepository after each push; it still polls every flux.interval_seconds."""

    def deliver(self, commit: Commit) -> None:
        """Ask the source for a look now."""
        Flux(self.context).reconcile(commit)
