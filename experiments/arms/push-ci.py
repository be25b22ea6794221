"""Push by a CI server that is always on: Buildbot's master and worker run in the cluster and wait for commits."""

import contextlib
from collections.abc import Iterator

from hardwatt.delivery.buildbot import Buildbot
from hardwatt.delivery.flux import flux_off
from hardwatt.experiment.arm import BaseArm, Commit, RunContext


class Arm(BaseArm):
    """Flux is off; a webhook tells the master, and its worker applies the commit."""

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self._server = Buildbot(context)

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off and start the CI server."""
        with flux_off(self.context), self._server.running():
            yield

    def deliver(self, commit: Commit) -> None:
        """Send the webhook."""
        self._server.deliver(commit)
