"""A known load: pods that burn CPU-seconds inside the window. What the node's figure must show again.

Levels: ``pods`` (how many, spread over the window) and ``burn_seconds`` (CPU-seconds of each; 0: it only starts
and ends).
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence

from hardwatt.delivery.arms import IdleArm
from hardwatt.delivery.burn import Burner
from hardwatt.experiment.arm import Action


class Arm(IdleArm):
    """Nothing delivers; pods start by the clock, and what they burn is known."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off; the Job's rights are for what comes before the window."""
        with super().prepare(), Burner(self.context).allowed():
            yield

    def actions(self) -> Sequence[Action]:
        """Start the pods: all of them have ended well before the window does."""
        pods, seconds = int(self.context.level("pods")), int(self.context.level("burn_seconds"))
        apart = self.context.study.estimand.window_seconds / 2 / max(1, pods)
        start = Burner(self.context).start
        return [Action(2 + number * apart, functools.partial(start, number, seconds)) for number in range(pods)]
