"""The seam between the engine and what it experiments on: the real cluster, or a simulated one in tests."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from hardwatt.bundle.model import Check, Edge, Source
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Cluster, Log
from hardwatt.experiment.arm import BaseArm
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_model import Exclusion, Study

NO_JITTER = "--interval-jitter-percentage=0"
"""Argument of Flux's controllers in every window: intervals are kept as they are, not moved by up to 5 percent
(their default). The seeded phase before each window takes the place of the jitter."""
JITTERED = ("source-controller", "kustomize-controller", "helm-controller")
"""The controllers that know the argument (fluxcd/pkg, runtime/jitter)."""


class Clock(Protocol):
    """The controller's clocks."""

    def monotonic(self) -> float:
        """Seconds that never jump."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""

    def sleep(self, seconds: float) -> None: ...


@dataclasses.dataclass(frozen=True)
class Fetch:
    """One fetch that the git server logged."""

    time: str
    """As the server wrote it."""
    key: str
    """Name of the key that was used: ``controller``, ``flux`` or ``runner``."""
    repository: str


@dataclasses.dataclass(frozen=True)
class TestbedFacts:
    """Facts about the machine for the bundle's manifest."""

    source: Source
    versions: dict[str, str]
    """Compared when an experiment goes on: another version is refused."""
    host: dict[str, Any]
    power_model: dict[str, Any]
    checks: tuple[Check, ...]


class Rollouts(Protocol):
    """One watch on the application, the same in every arm."""

    def ready_ms(self, revision: str) -> int | None:
        """Return when the revision was first seen Ready (controller's clock), or None."""

    def repaired_ms(self, mark: str, base: str) -> int | None:
        """Return when, after a drift with this mark was seen, the application was first Ready at ``base`` again."""

    def seen(self) -> Sequence[str]:
        """Return the revisions that the Deployment carried, in the order in which they were seen."""


class Testbed(Protocol):
    """Everything that a run touches. Whatever a person can mend is raised as ``LabError``."""

    @property
    def clock(self) -> Clock: ...

    @property
    def cluster(self) -> Cluster: ...

    def facts(self, study: Study) -> TestbedFacts:
        """Look at host and cluster; changes nothing."""

    def quiet(self, study: Study, log: Log) -> AbstractContextManager[None]:
        """Hold the state between runs, the same before every arm: namespaces there, Flux off."""

    def arm(self, study: Study, row: Row, log: Log) -> BaseArm:
        """Return the arm of a run; nothing happens yet."""

    def rollouts(self, study: Study) -> AbstractContextManager[Rollouts]:
        """Watch the application while the context lasts."""

    def commit(self, study: Study, revision: str) -> str:
        """Make a commit of the workload that carries this revision; return its hash. Nothing is sent."""

    def push(self) -> None:
        """Send what was committed to the workload repository."""

    def reset(self, study: Study) -> None:
        """Remove the application, whoever delivered it, and wait until it is gone."""

    def unsettled(self, study: Study) -> Sequence[str]:
        """Return why the cluster is not at rest: one sentence a pod or work queue; empty when it is."""

    def celsius(self) -> float | None:
        """Return the temperature of the hottest processor package, or None where the host shows none."""

    def marks(self) -> Mapping[Exclusion, float]:
        """Return counters of what may disturb a window, by the cause that a study can exclude.

        One that grew disturbed what lies between; never called inside a window.
        """

    def state(self, study: Study) -> Mapping[str, str]:
        """Return what runs in the rig and how, by object and field; never called inside a window.

        A run whose state differs after its window fails.
        """

    def left(self, study: Study) -> Mapping[str, str]:
        """Return what a window left behind: objects by kind, the application's images and commit."""

    def require_meter(self) -> None:
        """Raise ``LabError`` where the node's meter does not run with the lab's configuration; not inside a window."""

    def edge(self, run_id: str, edge: str) -> Edge:
        """Read the counters once, directly."""

    def boundary(self, run_id: str, edge: str) -> Edge:
        """Return one end of a window by the node's clock, without asking the node for anything.

        Its values may hold what the controller knows without asking: its own processor time.
        """

    def fetches(self, since_ms: int, until_ms: int) -> Sequence[Fetch]:
        """Return what the git server logged in between (node's clock); never called inside a window."""

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> str:
        """Store the record of a window and, where there is one, what Prometheus has of it; verify both.

        Return why there is nothing of Prometheus; empty: there is.

        Raises ``LabError`` where they are not complete.
        """
