"""The instrument as a treatment: Kepler runs (level ``kepler`` true) or not, and nothing else differs."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.arms import IdleArm
from hardwatt.delivery.monitoring import nowhere


class Arm(IdleArm):
    """Nothing delivers in the window; Kepler's DaemonSet is kept off the node, or left alone."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Have Kepler's pod there or not."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(super().prepare())
            if not self.context.level("kepler"):
                stack.enter_context(self.context.changes.overridden(nowhere("kepler")))
            yield
