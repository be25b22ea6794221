"""Push that repairs: a Job applies the last commit again and again, as a nightly pipeline does.

Level: ``reapply_seconds``, the time between two Jobs.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from hardwatt.delivery.flux import flux_off
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import Action, BaseArm, Commit, RunContext


class Arm(BaseArm):
    """Flux is off; Jobs deliver commits, and again by the clock."""

    def __init__(self, bench: RunContext) -> None:
        super().__init__(bench)
        self._last: Commit | None = None
        self._again = 0

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off and give the runner its rights."""
        with flux_off(self.bench), Runner(self.bench).allowed():
            yield

    def deliver(self, commit: Commit) -> None:
        """Start the Job."""
        self._last = commit
        Runner(self.bench).start(commit)

    def actions(self) -> Sequence[Action]:
        """Apply again, the first time after half an interval."""
        every, window = float(self.bench.level("reapply_seconds")), self.bench.study.estimand.window_seconds
        times = [every * (number + 0.5) for number in range(int(window / every + 0.5))]
        return [Action(at, self._apply) for at in times if at < window]

    def _apply(self) -> None:
        if self._last is None:
            return
        self._again += 1
        number = self.bench.study.trace.commits + self._again  # a Job's name holds it: none of the trace's
        Runner(self.bench).start(dataclasses.replace(self._last, index=number))
