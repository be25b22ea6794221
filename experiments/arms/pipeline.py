"""A pipeline of chosen steps: each commit starts a Job that does them; Flux delivers where "deploy" is not one of them.

Levels: ``steps`` (checkout, build, test, deploy, wait, separated by blanks) and ``flux`` (whether Flux runs).
"""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.flux import Flux, flux_off
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """CI with CD in it (coupled), or CI alone with Flux or nobody behind it (decoupled)."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Have Flux run or not, and give the runner its rights."""
        flux = Flux(self.context).running() if self.context.level("flux") else flux_off(self.context)
        with flux, Runner(self.context).allowed():
            yield

    def deliver(self, commit: Commit) -> None:
        """Start the pipeline. What comes before the window is deployed by it where Flux does not."""
        steps = tuple(str(self.context.level("steps")).split())
        if commit.index < 0:
            steps = () if self.context.level("flux") else ("checkout", "deploy")
        if steps:
            Runner(self.context).start(commit, steps)
