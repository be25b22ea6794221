"""One window: counters at its start, the trace by the clock, counters at exactly T."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from hardwatt.bundle.model import Delivery, Edge
from hardwatt.core.errors import LabError, WaitError
from hardwatt.experiment.arm import Action, BaseArm, Commit
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_model import Study
from hardwatt.experiment.testbed.interface import Clock, Rollouts, Testbed
from hardwatt.experiment.testbed.rollouts import REVISION

POLL = 0.1


@dataclasses.dataclass(frozen=True)
class Sent:
    """One commit of the trace. Times are the controller's clock in milliseconds."""

    index: int
    revision: str
    sha: str
    planned_seconds: float
    started_ms: int
    pushed_ms: int
    """When the repository had it."""
    late_seconds: float
    """How much later than planned the push began."""


@dataclasses.dataclass(frozen=True)
class Window:
    """One window: its boundaries, commits and revisions that became Ready."""

    start: Edge
    end: Edge
    sent: tuple[Sent, ...]
    ready_ms: dict[str, int]
    """Controller's clock, by revision; also those that became Ready after the end."""
    seen: tuple[str, ...]

    @property
    def offset_ms(self) -> int:
        """Node's clock minus the controller's."""
        shifts = [edge.node_ms - (edge.requested_ms + edge.replied_ms) / 2 for edge in (self.start, self.end)]
        return round(sum(shifts) / 2)


def revision_name(run_id: str, index: int) -> str:
    """Return the name of a revision; it is in the manifests, where the commit's own hash cannot be."""
    return f"{run_id}.{index + 1}"


def push_first(testbed: Testbed, study: Study, row: Row) -> Commit:
    """Push revision 0, before the arm is prepared: there is then something to find, also in a new repository."""
    revision = revision_name(row.run_id, -1)
    sha = testbed.commit(study, revision)
    testbed.push()
    return Commit(-1, revision, sha)


def deliver_first(testbed: Testbed, study: Study, row: Row, arm: BaseArm, rollouts: Rollouts, first: Commit) -> None:
    """Deliver revision 0 by the arm itself, so that every window starts from the same state.

    Raises ``WaitError`` where it does not become Ready.
    """
    arm.deliver(first)
    timeout = study.timing.ready_timeout_seconds
    if not wait_ready(testbed.clock, rollouts, [first.revision], timeout):
        seen = ", ".join(rollouts.seen()) or "none"
        raise WaitError(f"the first delivery of {row.arm} was not Ready after {timeout:g} s; revisions seen: {seen}")
    arm.settle()


def wait_ready(clock: Clock, rollouts: Rollouts, revisions: Sequence[str], timeout: float) -> bool:
    """Return whether all revisions became Ready within ``timeout`` seconds."""
    deadline = clock.monotonic() + timeout
    while any(rollouts.ready_ms(revision) is None for revision in revisions):
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(POLL)
    return True


def measure(testbed: Testbed, study: Study, row: Row, arm: BaseArm, rollouts: Rollouts) -> Window:
    """Run one window of exactly T seconds and return what was seen."""
    clock = testbed.clock
    begin = clock.monotonic()
    start = testbed.boundary(row.run_id, "start")
    sent = _trace(testbed, study, row, arm, begin)
    sleep_until(clock, begin + study.estimand.window_seconds)
    end = testbed.boundary(row.run_id, "end")
    revisions = [commit.revision for commit in sent]
    if study.trace.kind == "drifts":
        base = revision_name(row.run_id, -1)
        ready = {revision: ms for revision in revisions if (ms := rollouts.repaired_ms(revision, base)) is not None}
        return Window(start, end, sent, ready, tuple(rollouts.seen()))
    wait_ready(clock, rollouts, revisions, study.timing.rollout_seconds)
    ready = {revision: ms for revision in revisions if (ms := rollouts.ready_ms(revision)) is not None}
    return Window(start, end, sent, ready, tuple(rollouts.seen()))


def _trace(testbed: Testbed, study: Study, row: Row, arm: BaseArm, begin: float) -> tuple[Sent, ...]:
    """Do what the trace and the arm's own actions ask for, by the clock."""
    send = _drift if study.trace.kind == "drifts" else _send
    todo: list[tuple[float, Callable[[], Sent | None]]] = [
        (at, functools.partial(send, testbed, study, row, arm, index, begin)) for index, at in enumerate(row.offsets)
    ]
    todo += [(action.seconds, functools.partial(_act, testbed.clock, action, begin)) for action in arm.actions()]
    return tuple(sent for _, do in sorted(todo, key=lambda entry: entry[0]) if (sent := do()) is not None)


def _act(clock: Clock, action: Action, begin: float) -> None:
    sleep_until(clock, begin + action.seconds)
    action.do()


def _drift(testbed: Testbed, study: Study, row: Row, arm: BaseArm, index: int, begin: float) -> Sent:
    """Change the application behind the back of whoever delivers it: one more replica, and a mark to know it by."""
    clock, planned, workload = testbed.clock, row.offsets[index], study.workload
    mark = revision_name(row.run_id, index)
    sleep_until(clock, begin + planned)
    late, started = clock.monotonic() - begin - planned, clock.wall_ms()
    meta = {"name": workload.app, "namespace": workload.namespace, "annotations": {REVISION: mark}}
    spec = {"replicas": workload.replicas + 1}
    testbed.cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    return Sent(index, mark, "", planned, started, clock.wall_ms(), round(max(0.0, late), 3))


def _send(testbed: Testbed, study: Study, row: Row, arm: BaseArm, index: int, begin: float) -> Sent:
    """Make the commit ahead of its time, push it by the clock, and let the arm start its delivery."""
    clock, planned = testbed.clock, row.offsets[index]
    revision = revision_name(row.run_id, index)
    sha = testbed.commit(study, revision)
    sleep_until(clock, begin + planned)
    late, started = clock.monotonic() - begin - planned, clock.wall_ms()
    testbed.push()
    pushed = clock.wall_ms()
    arm.deliver(Commit(index, revision, sha))
    return Sent(index, revision, sha, planned, started, pushed, round(max(0.0, late), 3))


def sleep_until(clock: Clock, moment: float) -> None:
    """Sleep until the monotonic clock shows ``moment``; it may have passed."""
    while (left := moment - clock.monotonic()) > 0:
        clock.sleep(left)


def deliveries(window: Window, run_id: str) -> list[Delivery]:
    """Return what became of each commit, in the node's clock.

    ``ready``: Ready itself within the window. ``late``: Ready itself, after the window's end.
    ``coalesced``: a later revision became Ready instead. ``failed``: none of these.
    """
    shift, outcomes = window.offset_ms, []
    for commit in window.sent:
        ready = window.ready_ms.get(commit.revision)
        at = None if ready is None else ready + shift
        later = any(other.revision in window.ready_ms for other in window.sent[commit.index + 1 :])
        if at is not None:
            status = "ready" if at <= window.end.node_ms else "late"
        else:
            status = "coalesced" if later else "failed"
        outcomes.append(
            Delivery(run_id, commit.index, commit.revision, commit.pushed_ms + shift, at, status)  # type: ignore[arg-type]
        )
    return outcomes


def check_length(window: Window, seconds: float) -> None:
    """Refuse a window whose length in the node's clock is not T.

    Raises ``LabError``: the node's clock was set, or a request took very long.
    """
    length = (window.end.node_ms - window.start.node_ms) / 1000
    if abs(length - seconds) > max(0.5, 0.01 * seconds):
        raise LabError(f"the window is {length:.2f} s long in the node's clock, not {seconds:g} s")
