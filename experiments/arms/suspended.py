"""Flux suspended: its controllers run and have nothing to do; commits of the window are not delivered."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import Flux
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """As pull, and suspended once the commit before the window was delivered: that is not switched off."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Start the controllers and point them at the repository."""
        with Flux(self.context).running():
            yield

    def deliver(self, commit: Commit) -> None:
        """Flux finds the commit before the window by itself; the ones of the window it does not look for."""

    def settle(self) -> None:
        """Suspend."""
        Flux(self.context).suspend()
