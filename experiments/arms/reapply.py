"""Push that repairs: a Job applies the last commit again and again, as a nightly pipeline does.

Level: ``reapply_seconds``, the time between two Jobs.
"""

import dataclasses
from collections.abc import Sequence

from hardwatt.delivery.arms import PushArm
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import Action, Commit, RunContext


class Arm(PushArm):
    """Flux is off; Jobs deliver commits, and again by the clock."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self._last: Commit | None = None
        self._again = 0

    def deliver(self, commit: Commit) -> None:
        """Start the Job."""
        self._last = commit
        super().deliver(commit)

    def actions(self) -> Sequence[Action]:
        """Apply again, the first time after half an interval."""
        every, window = float(self.context.level("reapply_seconds")), self.context.study.estimand.window_seconds
        times = [every * (number + 0.5) for number in range(int(window / every + 0.5))]
        return [Action(at, self._apply) for at in times if at < window]

    def _apply(self) -> None:
        if self._last is None:
            return
        self._again += 1
        number = self.context.study.trace.commits + self._again  # a Job's name holds it: none of the trace's
        Runner(self.context).start(dataclasses.replace(self._last, index=number))
