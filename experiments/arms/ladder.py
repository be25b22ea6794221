"""A ladder of known loads: in each slot of the window, one pod that burns the CPU-seconds of its rung.

Levels: ``loads`` (CPU-seconds of each slot between blanks, "0 0.1 5"; 0: the pod only starts and ends) and
``slot_seconds`` (length of a slot).
"""

import functools
from collections.abc import Sequence

from hardwatt.delivery.burn import Burner, BurningArm
from hardwatt.experiment.arm import Action
from hardwatt.experiment.plan.machine_noise import loads

INTO_SLOT = 2.0
"""Seconds from the start of a slot to its pod."""


class Arm(BurningArm):
    """Nothing delivers; one pod starts in each slot, and what it burns is known."""

    def actions(self) -> Sequence[Action]:
        """Start the pods by the clock, early in their slots."""
        seconds, start = float(self.context.level("slot_seconds")), Burner(self.context).start
        rungs = enumerate(loads(str(self.context.level("loads"))))
        return [Action(number * seconds + INTO_SLOT, functools.partial(start, number, load)) for number, load in rungs]
