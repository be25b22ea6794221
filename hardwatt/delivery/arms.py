"""Bases of arms: Flux delivers, a runner's Job delivers, or nothing delivers inside the window."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import Flux, flux_off
from hardwatt.delivery.runner import PUSH, Runner
from hardwatt.experiment.arm import BaseArm, Commit


class PullArm(BaseArm):
    """Flux polls the workload repository and applies what is new."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Start the controllers and point them at the repository."""
        with Flux(self.context).running():
            yield

    def deliver(self, commit: Commit) -> None:
        """Flux finds the commit by itself."""


class PushArm(BaseArm):
    """Flux is off; a Job for each commit clones the repository and runs ``steps``."""

    steps: tuple[str, ...] = PUSH

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off and give the runner its rights."""
        with flux_off(self.context), Runner(self.context).allowed():
            yield

    def deliver(self, commit: Commit) -> None:
        """Start the Job."""
        Runner(self.context).start(commit, self.steps)


class IdleArm(PushArm):
    """Flux is off; a Job delivers the commit before the window, and commits of the window are not delivered."""

    def deliver(self, commit: Commit) -> None:
        """Deliver the commit before the window only."""
        if commit.index < 0:
            super().deliver(commit)
