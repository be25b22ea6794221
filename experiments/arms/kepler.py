"""The instrument as a treatment: Kepler runs (level ``kepler`` true) or not, and nothing else differs."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hardwatt.delivery.arms import IdleArm


class Arm(IdleArm):
    """Nothing delivers in the window; Kepler's DaemonSet is kept off the node, or left alone."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Have Kepler's pod there or not."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(super().prepare())
            if not self.context.level("kepler"):
                stack.enter_context(self.context.changes.overridden(self.nowhere()))
            yield

    def nowhere(self) -> dict[str, Any]:
        """What keeps the DaemonSet's pods off every node: a label that none has."""
        spec = {"template": {"spec": {"nodeSelector": {"hardwatt.dev/nowhere": "true"}}}}
        meta = {"name": "kepler", "namespace": "monitoring"}
        return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}
