"""Pull: Flux looks for new commits in the workload repository and applies what it finds."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import Flux
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """Two controllers run; a GitRepository looks every flux.interval_seconds, Kustomizations apply what is new."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Start the controllers and point them at the repository."""
        with Flux(self.context).running():
            yield

    def deliver(self, commit: Commit) -> None:
        """Flux finds the commit by itself."""
