"""The loop: baseline, gate, arm, transient, phase, window, clean-up, dump, record; then the next run."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hardwatt.bundle import recording_file
from hardwatt.bundle.model import Run
from hardwatt.bundle.places import recording_name
from hardwatt.bundle.writer import Writer
from hardwatt.core import state_files
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.experiment.plan.run_table import KILLED, STOPPED, Row, RunTable, all_rows, complete, next_row
from hardwatt.experiment.plan.study_model import EXCLUSIONS, Exclusion, Study
from hardwatt.experiment.run.gate import Baseline, Passed, baseline, pass_gate, settle
from hardwatt.experiment.run.journal import Journal
from hardwatt.experiment.run.resume import ABANDON
from hardwatt.experiment.run.window import Window, check_length, deliver_first, deliveries, measure, push_first
from hardwatt.experiment.testbed.interface import Testbed
from hardwatt.experiment.testbed.lab_state import changed
from hardwatt.instruments.recorded_window import at_ticks

BASELINES = "baselines.json"
SHOWN = 5
"""So many differences of the lab's state are named."""


@dataclasses.dataclass(frozen=True)
class Around:
    """Counters of disturbances and the lab's state, at one side of a window."""

    marks: Mapping[Exclusion, float]
    state: Mapping[str, str]


@dataclasses.dataclass
class Engine:
    """Runs a plan on a testbed, from where the journal and the bundle say it stands."""

    plan: RunTable
    testbed: Testbed
    journal: Journal
    writer: Writer
    say: Callable[[str], None]
    why_not: Callable[[Writer, Run], str] = lambda _writer, _run: ""
    """Reason why the analysis leaves a run out that was stored and is not in the runs table yet; empty: it counts."""
    _idle: Baseline | None = None
    _ended: int = 0
    _took: float = 0.0

    def run(self) -> int:
        """Do every run that is still to be done; return how many pairs are complete."""
        self.recover()
        if (row := next_row(self.plan, self.writer.runs)) is not None:
            with self.testbed.quiet(self.plan.study, self.journal):
                self.journal.note("baseline", self.plan.estimated_seconds())
                self._rest(row.block, "before")
                while row is not None:
                    self.attempt(row)
                    row = next_row(self.plan, self.writer.runs)
                self._close_last_block()
        return complete(self.plan, self.writer.runs)

    def _rest(self, block: int, place: str) -> Baseline:
        """Take the idle baseline before a block or after the last one, and store it.

        Raises ``WaitError`` where the node does not come to rest.
        """
        self._idle = baseline(self.testbed, self.plan.study, block, place, self._doing)
        self.say(f"baseline {place} block {block}: the idle node uses {self._idle.cores:.2f} cores")
        self._store_baseline(self._idle.to_dict())
        return self._idle

    def _store_baseline(self, entry: dict[str, Any]) -> None:
        path = self.writer.path / "log" / BASELINES
        what = "the baselines of an unfinished experiment,"
        known = state_files.read(path, state_files.entries, what=what, then=ABANDON, keep=True)
        write_json(path, [*(known or []), entry])

    def _close_last_block(self) -> None:
        """Take the baseline after the last block; a node that does not come to rest any more loses no run."""
        block = self._idle.block if self._idle else 0
        try:
            self._rest(block, "after")
        except LabError as error:
            self.say(f"no baseline after the last block: {error.message}")
            self._store_baseline({"block": block, "place": "after", "reason": error.message})

    def _doing(self, text: str) -> None:
        """Say what is done between runs, here and for ``experiment.status``."""
        self.journal.note(text, self._left_seconds())
        self.say(text)

    def recover(self) -> None:
        """Record the run during which an earlier process was killed as failed."""
        run_id = self.journal.state.current
        if not run_id:
            return
        if not any(run.run_id == run_id for run in self.writer.runs):
            self._fail(self._row(run_id), KILLED)
        self.journal.end()

    def attempt(self, row: Row) -> None:
        """Do one run. What goes wrong in it is a failed row with its reason, never a silent gap."""
        started = self.testbed.clock.monotonic()
        self.journal.begin(row.run_id)
        try:
            self._one(row)
        except BaseException as error:
            reason = _reason(error)
            self._fail(row, reason)
            self.journal.end()
            if _interrupted(error):
                raise KeyboardInterrupt from error
            if not isinstance(error, LabError):
                raise
            self.say(f"{row.run_id}: failed: {reason}")
            self._refuse_to_go_on_alone()
        self.journal.end()
        self._ended += 1
        self._took += self.testbed.clock.monotonic() - started

    def _refuse_to_go_on_alone(self) -> None:
        """Stop after a failed run where the lab is gone or measures otherwise: all its pairs would fail."""
        try:
            self.testbed.require_meter()
        except LabError as error:
            raise LabError(error.message, hint="invoke lab.up, then invoke experiment.resume") from error
        try:
            self.testbed.unsettled(self.plan.study)
        except LabError as error:
            raise LabError(
                f"the lab does not answer any more: {error.message}",
                hint="invoke lab.up, then invoke experiment.resume",
            ) from error

    def _one(self, row: Row) -> None:
        study, testbed = self.plan.study.for_arm(row.arm), self.testbed
        idle = self._idle
        if idle is None or idle.block != row.block:
            self._progress(row, f"baseline before block {row.block}")
            idle = self._rest(row.block, "before")
        self._progress(row, "gate")
        testbed.require_meter()
        passed = pass_gate(testbed, study, idle, lambda text: self._progress(row, text))
        with contextlib.ExitStack() as stack:
            stack.callback(testbed.reset, study)
            arm = testbed.arm(study, row, self.journal)
            rollouts = stack.enter_context(testbed.rollouts(study))
            self._progress(row, f"gate open after {passed.waited_seconds:.0f} s; preparing {row.arm}")
            first = push_first(testbed, study, row)
            stack.enter_context(arm.prepare())
            self._progress(row, "first delivery")
            deliver_first(testbed, study, row, arm, rollouts, first)
            before = self._to_the_window(row, study)
            window = measure(testbed, study, row, arm, rollouts)
            after = self._around(study)
            left = testbed.left(study)
            problem = self._problem(study, window, before, after)
        self._progress(row, "dump")
        self._record(row, {**_log(row, passed, window), "left": dict(left)}, window, problem)

    def _around(self, study: Study) -> Around:
        return Around(self.testbed.marks(), self.testbed.state(study))

    def _problem(self, study: Study, window: Window, before: Around, after: Around) -> LabError | None:
        """Return why a window that was measured does not count; its record is stored all the same."""
        try:
            self.testbed.require_meter()
            check_length(window, study.estimand.window_seconds)
            _refuse_disturbed(study, before.marks, after.marks)
            if differs := changed(before.state, after.state):
                raise LabError("the lab was changed inside the window: " + "; ".join(differs[:SHOWN]))
        except LabError as error:
            return error
        return None

    def _to_the_window(self, row: Row, study: Study) -> Around:
        """Throw the restart's transient away, wait for rest, and let the seeded delay pass; return marks and state."""
        self._progress(row, f"transient {study.timing.transient_seconds:g} s")
        self.testbed.clock.sleep(study.timing.transient_seconds)
        settle(self.testbed, study, lambda text: self._progress(row, text))
        before = self._around(study)
        self._progress(row, f"phase {row.phase_seconds:.1f} s, then the window of {study.estimand.window_seconds:g} s")
        self.testbed.clock.sleep(row.phase_seconds)
        return before

    def _record(self, row: Row, log: dict[str, Any], window: Window, problem: LabError | None) -> None:
        """Store a run; its row in the runs table comes last, and only then the run counts.

        A run with a problem, or one that the analysis would leave out, is stored as a failed one; raises the problem.
        """
        writer, t0, t1 = self.writer, window.start.node_ms, window.end.node_ms
        not_scraped = ""
        try:
            not_scraped = self.testbed.dump(row.run_id, t0, t1, writer)
            t0, t1 = cut_at_ticks(writer, row.run_id, t0, t1)
        except LabError as error:
            problem = problem or error
        fetches = [dataclasses.asdict(fetch) for fetch in self.testbed.fetches(t0, t1)]
        delivered = deliveries(window, row.run_id)
        ready = sum(delivery.status == "ready" for delivery in delivered)
        writer.add_edge(window.start)
        writer.add_edge(window.end)
        writer.add_deliveries(row.run_id, delivered)
        told = {"fetches": fetches, **({"not_scraped": not_scraped} if not_scraped else {})}
        write_json(writer.path / "log" / f"{row.run_id}.json", {**log, **told})
        missed = len(delivered) - ready
        flags = _gate_flags(self.plan.study, Passed(**log["gate"]))
        if missed:
            flags = (f"{missed} of {len(delivered)} revisions not ready in the window", *flags)
        run = self._run(row, "done", "", t0, t1, flags, len(delivered), ready)
        if problem is None and (reason := self.why_not(writer, run)):
            problem = LabError(f"the analysis leaves it out: {reason}")
        if problem is not None:
            writer.add_run(dataclasses.replace(run, status="failed", reason=_reason(problem)))
            raise problem
        writer.add_run(run)
        self.say(f"{row.run_id}: {ready} of {len(delivered)} revisions Ready")

    def _fail(self, row: Row, reason: str) -> None:
        """Record a run as failed, unless it is recorded already. What was stored of it stays and is not averaged in."""
        if any(run.run_id == row.run_id for run in self.writer.runs):
            return
        now = self.testbed.clock.wall_ms()
        self.writer.add_run(self._run(row, "failed", reason, now, now))

    @staticmethod
    def _run(
        row: Row,
        status: Any,
        reason: str,
        t0: int,
        t1: int,
        flags: tuple[str, ...] = (),
        commits: int = 0,
        ready: int = 0,
    ) -> Run:
        return Run(
            row.run_id, row.block, row.position, row.arm, row.repeat, status, reason, t0, t1, flags, commits, ready
        )

    def _row(self, run_id: str) -> Row:
        return next(row for row in all_rows(self.plan, self.writer.runs) if row.run_id == run_id)

    def _progress(self, row: Row, doing: str) -> None:
        """Say what runs, how much is done and how long the rest takes."""
        done, left = sum(run.status == "done" for run in self.writer.runs), self._left_runs()
        seconds = self._left_seconds()
        self.journal.note(doing, seconds)
        self.say(f"{row.run_id}  {done} done, {left} to do, about {_minutes(seconds)} left: {doing}")

    def _left_runs(self) -> int:
        return runs_left(self.plan, self.writer.runs, self.journal.state.current)

    def _left_seconds(self) -> float:
        """Return how long the rest takes: as runs took so far, or as planned before the first has ended."""
        first = self.plan.rows[0]
        each = self._took / self._ended if self._ended else self.plan.run_seconds(first)
        return self._left_runs() * each


def cut_at_ticks(writer: Writer, run_id: str, t0_ms: int, t1_ms: int) -> tuple[int, int]:
    """Return the ends of a run's window at the recorder's ticks nearest to them; as they are where there is no record.

    What a counter held at a tick is known, what it held a moment later is not. Figures are for the planned length.
    """
    file = writer.path / recording_name(run_id)
    return at_ticks(recording_file.read(file), t0_ms, t1_ms) if file.exists() else (t0_ms, t1_ms)


def runs_left(plan: RunTable, runs: Sequence[Run], current: str) -> int:
    """Return how many runs are still to be done, the one under way (``current``) included."""
    blocks = len(plan.study.arms) * (plan.pairs - complete(plan, runs))
    here = next((row.block for row in all_rows(plan, runs) if row.run_id == current), None)
    return max(0, blocks - sum(run.block == here and run.status == "done" for run in runs))


def _refuse_disturbed(study: Study, before: Mapping[Exclusion, float], after: Mapping[Exclusion, float]) -> None:
    """Raise ``LabError`` where something happened for which the study said in advance that a run does not count."""
    grown = [cause for cause in study.exclusions if after.get(cause, 0) > before.get(cause, 0)]
    if grown:
        raise LabError("excluded, as declared: " + "; ".join(EXCLUSIONS[cause] for cause in grown))


def _gate_flags(study: Study, passed: Passed) -> tuple[str, ...]:
    """Return the flag of a window that began above the margin's band around the baseline, in the answer's unit."""
    above = passed.beyond_margin
    if above is None or passed.band_cores is None:
        return ()
    seconds = study.estimand.window_seconds
    return (
        f"gate {above:.3f} cores above the idle baseline: {above * seconds:.2g} CPU-s in a window where the margin is "
        f"{passed.band_cores * seconds:.2g} CPU-s",
    )


def _log(row: Row, passed: Passed, window: Window) -> dict[str, Any]:
    """Return what only the engine knows about a run; times in the controller's clock."""
    return {
        "run_id": row.run_id,
        "gate": dataclasses.asdict(passed),
        "phase_seconds": row.phase_seconds,
        "clock_offset_ms": window.offset_ms,
        "commits": [dataclasses.asdict(commit) for commit in window.sent],
        "ready_ms": window.ready_ms,
        "revisions_seen": list(window.seen),
    }


def _reason(error: BaseException) -> str:
    """Return why a run failed, in one line."""
    if _interrupted(error):
        return STOPPED
    text = error.message if isinstance(error, LabError) else repr(error)
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is what happened, also where the clean-up after it failed with an error of its own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
