"""The loop: gate, arm, transient, phase, window, clean-up, dump, record; then the next run."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from hardwatt.bundle import Run, Writer
from hardwatt.engine.gate import Passed, baseline, pass_gate
from hardwatt.engine.journal import Journal
from hardwatt.engine.plan import KILLED, STOPPED, Plan, Row, all_rows, complete, next_row
from hardwatt.engine.plant import Fetch, Plant
from hardwatt.engine.window import Window, check_length, deliver_first, deliveries, measure, push_first
from hardwatt.errors import LabError
from hardwatt.files import write_json


@dataclasses.dataclass
class Engine:
    """Runs a plan on a plant, from where the journal and the bundle say it stands."""

    plan: Plan
    plant: Plant
    journal: Journal
    writer: Writer
    say: Callable[[str], None]
    _baseline: float = 0.0
    _ended: int = 0
    _took: float = 0.0

    def run(self) -> int:
        """Do every run that is still to be done; return how many pairs are complete."""
        self.recover()
        study = self.plan.study
        with self.plant.quiet(study, self.journal):
            self.journal.note("baseline", self.plan.estimated_seconds())
            self._baseline = baseline(self.plant, study, self.say)
            self.say(f"baseline: the idle node uses {self._baseline:.2f} cores")
            while (row := next_row(self.plan, self.writer.runs)) is not None:
                self.attempt(row)
        return complete(self.plan, self.writer.runs)

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
        started = self.plant.clock.monotonic()
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
        self._took += self.plant.clock.monotonic() - started

    def _refuse_to_go_on_alone(self) -> None:
        """Stop after a failed run where the lab is gone: its pairs would only fail one after the other."""
        try:
            self.plant.unsettled(self.plan.study)
        except LabError as error:
            raise LabError(
                f"the lab does not answer any more: {error.message}",
                hint="invoke lab.up, then invoke experiment.resume",
            ) from error

    def _one(self, row: Row) -> None:
        study, plant = self.plan.study.for_arm(row.arm), self.plant
        self._progress(row, "gate")
        passed = pass_gate(plant, study, self._baseline, lambda text: self._progress(row, text))
        with contextlib.ExitStack() as stack:
            stack.callback(plant.reset, study)
            arm = plant.arm(study, row, self.journal)
            rollouts = stack.enter_context(plant.rollouts(study))
            self._progress(row, f"gate open after {passed.waited_seconds:.0f} s; preparing {row.arm}")
            first = push_first(plant, study, row)
            stack.enter_context(arm.prepare())
            self._progress(row, "first delivery")
            deliver_first(plant, study, row, arm, rollouts, first)
            self._progress(row, f"transient {study.timing.transient_seconds:g} s, phase {row.phase_seconds:.1f} s")
            plant.clock.sleep(study.timing.transient_seconds + row.phase_seconds)
            self._progress(row, f"window of {study.estimand.window_seconds:g} s")
            window = measure(plant, study, row, arm, rollouts)
        check_length(window, study.estimand.window_seconds)
        self._progress(row, "dump")
        self._record(row, passed, window)

    def _record(self, row: Row, passed: Passed, window: Window) -> None:
        """Store a run; its row in the runs table comes last, and only then the run counts."""
        writer, t0, t1 = self.writer, window.start.node_ms, window.end.node_ms
        self.plant.dump(row.run_id, t0, t1, writer)
        fetches = self.plant.fetches(t0, t1)
        found = deliveries(window, row.run_id)
        ready = sum(one.status == "ready" for one in found)
        writer.add_edge(window.start)
        writer.add_edge(window.end)
        writer.add_deliveries(row.run_id, found)
        write_json(writer.path / "log" / f"{row.run_id}.json", _log(row, passed, window, fetches))
        missed = len(found) - ready
        flags = (f"{missed} of {len(found)} revisions not ready in the window",) if missed else ()
        writer.add_run(self._run(row, "done", "", t0, t1, flags, len(found), ready))
        self.say(f"{row.run_id}: {ready} of {len(found)} revisions Ready")

    def _fail(self, row: Row, reason: str) -> None:
        self.writer.discard(row.run_id)
        (self.writer.path / "log" / f"{row.run_id}.json").unlink(missing_ok=True)
        now = self.plant.clock.wall_ms()
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
        runs = self.writer.runs
        done = sum(run.status == "done" for run in runs)
        left = max(0, len(self.plan.study.arms) * (self.plan.pairs - complete(self.plan, runs)) - self._open_half(runs))
        each = self._took / self._ended if self._ended else self.plan.run_seconds(row)
        self.journal.note(doing, left * each)
        self.say(f"{row.run_id}  {done} done, {left} to do, about {_minutes(left * each)} left: {doing}")

    def _open_half(self, runs: Sequence[Run]) -> int:
        """Return 1 where the first run of the present pair is done already."""
        current = self._row(self.journal.state.current)
        return sum(run.block == current.block and run.status == "done" for run in runs)


def _log(row: Row, passed: Passed, window: Window, fetches: Sequence[Fetch]) -> dict[str, Any]:
    """Return what only the engine knows about a run; times in the controller's clock."""
    return {
        "run_id": row.run_id,
        "gate": dataclasses.asdict(passed),
        "phase_seconds": row.phase_seconds,
        "clock_offset_ms": window.offset_ms,
        "commits": [dataclasses.asdict(one) for one in window.sent],
        "ready_ms": window.ready_ms,
        "revisions_seen": list(window.seen),
        "fetches": [dataclasses.asdict(one) for one in fetches],
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
