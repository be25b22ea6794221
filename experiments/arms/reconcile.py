"""Pull on demand: Flux is told of each commit, as ``flux reconcile`` and a webhook receiver do."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import Flux
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """As pull, with an annotation on the GitRepository after each push; it still polls every flux.interval_seconds."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Start the controllers and point them at the repository."""
        with Flux(self.context).running():
            yield

    def deliver(self, commit: Commit) -> None:
        """Ask the source for a look now."""
        Flux(self.context).reconcile(commit)
