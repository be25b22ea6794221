"""Turning things off: what an idle application costs, and what is saved by not running it.

Level ``state``: ``on``; ``suspended`` (Flux watches no longer, the application runs); ``zero`` (no replica in the
whole window); ``sleep`` (none from ``sleep_from`` to ``sleep_until`` seconds of the window, levels too: then woken).
"""

import functools
from collections.abc import Sequence

from hardwatt.core.errors import LabError
from hardwatt.delivery.arms import PullArm
from hardwatt.delivery.flux import Flux, deployment_patch
from hardwatt.experiment.arm import Action, RunContext

STATES = ("on", "suspended", "zero", "sleep")


class Arm(PullArm):
    """Flux delivers the application; then it is left on, or switched off as the level says."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self._state = str(context.level("state"))
        if self._state not in STATES:
            raise LabError(f"state: there is no {self._state!r}", hint=f"one of {', '.join(STATES)}")

    def settle(self) -> None:
        """Switch off what is off in the whole window."""
        if self._state == "suspended":
            Flux(self.context).suspend()
        if self._state == "zero":
            self._scale(0)

    def actions(self) -> Sequence[Action]:
        """Sleep and wake, by the clock."""
        if self._state != "sleep":
            return ()
        start, end = float(self.context.level("sleep_from")), float(self.context.level("sleep_until"))
        replicas = self.context.study.workload.replicas
        return [
            Action(start, functools.partial(self._scale, 0)),
            Action(end, functools.partial(self._scale, replicas)),
        ]

    def _scale(self, replicas: int) -> None:
        self.context.apply(deployment_patch(self.context, replicas=replicas))
