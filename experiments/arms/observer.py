"""Watching as a treatment, with Flux at rest and without Flux. Nothing is delivered in the window.

Levels: ``prometheus`` (``off``: neither Prometheus nor the node exporter runs, the recorder is alone; ``15s``, ``1s``:
both run, and the node is scraped at this interval) and ``flux`` (whether Flux runs and polls the workload repository).
"""

import contextlib
from collections.abc import Iterator

from hardwatt.cluster.changes import Changes
from hardwatt.delivery import monitoring
from hardwatt.delivery.flux import Flux, flux_off
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import BaseArm, Commit


class Arm(BaseArm):
    """The recorder alone or with Prometheus, beside Flux or without it."""

    @classmethod
    @contextlib.contextmanager
    def between_runs(cls, changes: Changes) -> Iterator[None]:
        """Keep Prometheus off between runs: each arm then starts from the recorder alone."""
        with monitoring.prometheus_off(changes):
            yield

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Have Prometheus and Flux as the levels say."""
        interval, changes = str(self.context.level("prometheus")), self.context.changes
        flux = Flux(self.context).running if self.context.level("flux") else self._without_flux
        with contextlib.ExitStack() as stack:
            if interval == monitoring.OFF:
                stack.enter_context(monitoring.prometheus_off(changes))
                stack.enter_context(monitoring.exporter_off(changes))
            else:
                stack.enter_context(monitoring.scraping(changes, interval))
            stack.enter_context(flux())
            yield

    def deliver(self, commit: Commit) -> None:
        """Deliver the commit before the window, by a Job where Flux does not; later ones are not delivered."""
        if commit.index < 0 and not self.context.level("flux"):
            Runner(self.context).start(commit)

    def settle(self) -> None:
        """Remove the Job, so that the arms differ by Flux and Prometheus alone."""
        context = self.context
        context.changes.cluster.delete_all("batch/v1", "Job", context.namespaces["ci"], context.selector)

    @contextlib.contextmanager
    def _without_flux(self) -> Iterator[None]:
        with flux_off(self.context), Runner(self.context).allowed():
            yield
