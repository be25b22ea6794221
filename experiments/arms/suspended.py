"""Flux suspended: its controllers run and have nothing to do; commits of the window are not delivered."""

from hardwatt.delivery.arms import PullArm
from hardwatt.delivery.flux import Flux


class Arm(PullArm):
    """As pull, and suspended once the commit before the window was delivered: that is not switched off."""

    def settle(self) -> None:
        """Suspend."""
        Flux(self.context).suspend()
