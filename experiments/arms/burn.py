"""A known load: pods that burn CPU-seconds inside the window. What the node's figure must show again.

Levels: ``pods`` (how many, spread over the window) and ``burn_seconds`` (CPU-seconds of each; 0: it only starts
and ends).
"""

import functools
from collections.abc import Sequence

from hardwatt.delivery.burn import Burner, BurningArm
from hardwatt.experiment.arm import Action


class Arm(BurningArm):
    """Nothing delivers; pods start by the clock, and what they burn is known."""

    def actions(self) -> Sequence[Action]:
        """Start the pods: all of them have ended well before the window does."""
        pods, seconds = int(self.context.level("pods")), int(self.context.level("burn_seconds"))
        apart = self.context.study.estimand.window_seconds / 2 / max(1, pods)
        start = Burner(self.context).start
        return [Action(2 + number * apart, functools.partial(start, number, seconds)) for number in range(pods)]
