"""A series: several sessions of one protocol, each with a bundle of its own, resumed by the command that began it."""

import dataclasses
import datetime
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hardwatt.bundle.writer import Writer
from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.errors import LabError, RefusedError, SettingsError
from hardwatt.core.files import write_atomic, write_json
from hardwatt.core.progress import say
from hardwatt.experiment import operations
from hardwatt.experiment.operations import OpenCluster, OpenTestbed
from hardwatt.experiment.plan import noise_curve, protocol_file
from hardwatt.experiment.plan.budget import MOST_SESSIONS, Budget, for_hours, for_minutes, of_counts
from hardwatt.experiment.plan.preregistration import duration
from hardwatt.experiment.plan.run_table import RunTable, complete, make_session
from hardwatt.experiment.run import resume as resuming
from hardwatt.experiment.run import series_state as states
from hardwatt.experiment.run.journal import ABANDONED, FINISHED, JOURNAL, RUNNING, ExperimentState, Journal
from hardwatt.experiment.run.series_state import Place, SeriesJournal, SeriesState, SessionState, unfinished
from hardwatt.machines.lab_lock import locked

Between = Callable[[Lab, str], str]
"""Does what comes between two sessions (a word of ``KINDS``), and returns in words what was done."""
TIMES = "between.json"
USUAL_SECONDS = {states.CLUSTER: 600.0, states.REBOOT: 180.0, states.NOTHING: 0.0}
"""Time to plan with where this lab has not shown its own yet."""
AS_IT_WAS = "nothing: the cluster as it was when the series began"


@dataclasses.dataclass(frozen=True)
class Request:
    """Options of the command line; zero or empty: not given."""

    study: str
    sessions: int = 0
    pairs: int = 0
    size: str = ""
    session: int | None = None
    """Number of the first session."""
    between: str = ""
    session_minutes: float = 0.0
    hours: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.sessions <= MOST_SESSIONS:
            raise SettingsError(f"--sessions is a number from 1 to {MOST_SESSIONS}, not {self.sessions}")

    @property
    def given(self) -> dict[str, str]:
        """Option -> value as text, of those that were given."""
        study = str(Path(self.study).resolve()) if protocol_file.is_protocol(self.study) else self.study
        numbers = {
            "sessions": self.sessions, "pairs": self.pairs, "session-minutes": self.session_minutes,
            "hours": self.hours, "between": self.between,
        }  # fmt: skip
        given = {"study": study, **{name: str(value) for name, value in numbers.items() if value}}
        given |= {} if self.session is None else {"session": str(self.session)}
        return given | ({self.size: ""} if self.size else {})

    @property
    def command(self) -> str:
        """The command that was typed, as ``invoke`` takes it."""
        options = [
            f"--{name} {shlex.quote(value)}" if value else f"--{name}"
            for name, value in self.given.items()
            if name != "study"
        ]
        return " ".join(["invoke experiment.run", shlex.quote(self.given["study"]), *options])


def planned(lab: Lab, request: Request, between: str) -> tuple[RunTable, Budget]:
    """Return the plan of a first session and the budget of the series; writes nothing.

    Raises ``LabError`` naming what would fit, where the time given is too short.
    """
    first = operations.plan(
        lab, request.study, pairs=request.pairs or None, size=request.size, session=request.session or 0
    )
    budget = _budget(lab, request, first, between)
    if budget.study == first.study and budget.pairs == first.pairs:
        return first, budget
    chosen = make_session(
        budget.study, session=request.session or 0, pairs=budget.pairs, code=first.code, size=first.size
    )
    return chosen, budget


def _budget(lab: Lab, request: Request, first: RunTable, between: str) -> Budget:
    study, curve, apart = first.study, noise_curve.load(lab), between_seconds(lab, between)
    if request.hours:
        return for_hours(
            study, request.hours, curve=curve, between_seconds=apart, minutes=request.session_minutes,
            sessions=request.sessions, pairs=request.pairs,
        )  # fmt: skip
    sessions = request.sessions or 1
    if request.session_minutes:
        return for_minutes(
            study, request.session_minutes, sessions=sessions, between_seconds=apart, curve=curve, pairs=request.pairs
        )
    return of_counts(study, first.pairs, sessions, curve, apart)


def run(
    lab: Lab, request: Request, between: str, perform: Between, *, open_testbed: OpenTestbed | None = None
) -> SeriesState:
    """Run the sessions, or go on with them where the same command was interrupted; return how they ended.

    Raises ``RefusedError`` where another series or experiment is unfinished, and ``LabError`` where the lab does not
    go on; the same command then continues with the session that it was in.
    """
    with locked(lab, "experiment.run"):
        journal = unfinished(lab)
        if journal is None:
            _refuse_an_unfinished_experiment(lab)
            plan, budget = planned(lab, request, between)
            for line in budget.says():
                say(line)
            journal = _begin(lab, request, plan, budget, between)
        else:
            _refuse_another(journal.state, request)
        return _go_on(lab, journal, perform, open_testbed)


def resume(
    lab: Lab, perform: Between, *, despite_changes: bool = False, open_testbed: OpenTestbed | None = None
) -> SeriesState:
    """Go on with an unfinished series. Raises as ``run`` does."""
    with locked(lab, "experiment.resume"):
        journal = unfinished(lab)
        if journal is None:
            raise LabError("no series of sessions is unfinished", hint="invoke experiment.run STUDY --sessions 3")
        return _go_on(lab, journal, perform, open_testbed, despite_changes=despite_changes)


def abandon(lab: Lab, *, open_cluster: OpenCluster | None = None) -> list[str]:
    """Give up an unfinished series with the session it is in; bundles stay. Return what was done, as sentences."""
    if unfinished(lab) is None:
        return operations.abandon(lab, open_cluster=open_cluster)
    with locked(lab, "experiment.abandon", lost_host=True):
        journal = unfinished(lab)
        assert journal is not None  # it was there, and the lab is locked
        experiment = Journal.load(lab.dir / JOURNAL)
        running = experiment is not None and experiment.state.state == RUNNING
        lines = operations.abandon(lab, open_cluster=open_cluster) if running else []
        journal.close(states.ABANDONED)
    done = len(journal.state.bundles())
    return [*lines, f"given up: {done} of {len(journal.state.sessions)} sessions are complete"]


def refuse_within(lab: Lab) -> None:
    """Raise ``RefusedError`` where a single experiment would come between the sessions of an unfinished series."""
    if (journal := unfinished(lab)) is not None:
        state = journal.state
        raise RefusedError(
            f"a series is unfinished: session {state.place + 1} of {len(state.sessions)} of {state.study} is next",
            hint=f"{state.command} goes on with it; invoke experiment.abandon gives it up",
        )


def status_lines(lab: Lab) -> list[str]:
    """Return what ``experiment.status`` says of the lab's last series; empty: there was none."""
    journal = SeriesJournal.load(lab)
    if journal is None:
        return []
    state = journal.state
    counts = [f"{len(rows)} {name}" for name in states.ENDED if (rows := _in(state, name))]
    lines = [f"{state.study}, {len(state.sessions)} sessions: {state.state}; {', '.join(counts) or 'none has ended'}"]
    if journal.unfinished and state.place < len(state.sessions):
        here = state.sessions[state.place]
        lines.append(f"  session {state.place + 1}: {here.state}; {state.command} goes on with it")
    return lines + [f"  {line}" for line in failures(state)]


def failures(state: SeriesState) -> list[str]:
    """Return each session that is not complete, with its bundle and the reason."""
    return [
        f"session {place} of {len(state.sessions)} {session.state}: {session.reason}; "
        f"{session.bundle or 'it has no bundle'}"
        for place, session in enumerate(state.sessions, start=1)
        if session.state in (states.FAILED, states.ABANDONED)
    ]


def _in(state: SeriesState, name: str) -> list[SessionState]:
    return [session for session in state.sessions if session.state == name]


def numbers(plan: RunTable, count: int, first: int | None = None) -> list[int]:
    """Return numbers of sessions, none of which repeats the draws of another.

    They follow ``first``. Without it they begin at a random number, so that two laboratories with one protocol do not
    number their sessions alike.
    """
    number = secrets.randbelow(2**31 - 2**20) if first is None else first
    chosen: list[int] = []
    seen: set[object] = set()
    while len(chosen) < count:
        table = make_session(plan.study, session=number, pairs=plan.pairs, code=plan.code, size=plan.size)
        if not seen & {table.seed, table.rows}:
            chosen.append(number)
            seen |= {table.seed, table.rows}
        number += 1
    return chosen


def between_seconds(lab: Lab, between: str) -> float:
    """Return how long what comes between two sessions took here the last time, or what it usually takes."""
    return (state_files.cached(lab.dir / TIMES, _seconds) or {}).get(between, USUAL_SECONDS[between])


def _seconds(value: object) -> dict[str, float]:
    return {str(name): float(seconds) for name, seconds in state_files.mapping(value).items()}


def _refuse_an_unfinished_experiment(lab: Lab) -> None:
    journal = Journal.load(lab.dir / JOURNAL)
    if journal is not None and journal.state.state == RUNNING:
        raise RefusedError(
            f"an experiment is unfinished ({journal.state.study}; {journal.state.bundle}): a series begins after it",
            hint=resuming.RESUME,
        )


def _refuse_another(state: SeriesState, request: Request) -> None:
    now = request.given
    other = [
        f"{name} {now.get(name, 'not given')}, not {state.asked.get(name, 'left out')}"
        for name in sorted({*now, *state.asked})
        if now.get(name) != state.asked.get(name)
    ]
    if other:
        raise RefusedError(
            f"a series is unfinished (session {state.place + 1} of {len(state.sessions)} of {state.study}), and this "
            f"command asks for another one: {', '.join(other)}",
            hint=f"{state.command} goes on with it; invoke experiment.abandon gives it up",
        )


def _begin(lab: Lab, request: Request, plan: RunTable, budget: Budget, between: str) -> SeriesJournal:
    """Freeze the protocol in a file of its own, draw the sessions' numbers, and begin the journal."""
    now = datetime.datetime.now(datetime.UTC)
    folder = lab.results / f"{plan.study.name}-sessions-{now:%Y%m%d-%H%M%S}-{plan.protocol_sha256[:6]}"
    protocol = folder / "protocol.json"
    write_atomic(protocol, protocol_file.written(plan))
    chosen = numbers(plan, budget.sessions, request.session)
    state = SeriesState(
        study=request.study, asked=request.given, command=request.command, between=between, protocol=str(protocol),
        protocol_sha256=plan.protocol_sha256, session_seconds=budget.session_seconds,
        sessions=tuple(SessionState(number) for number in chosen),
    )  # fmt: skip
    return SeriesJournal.start(lab, state)


def _go_on(
    lab: Lab,
    journal: SeriesJournal,
    perform: Between,
    open_testbed: OpenTestbed | None,
    *,
    despite_changes: bool = False,
) -> SeriesState:
    for line in failures(journal.state):
        say(line)
    while (index := journal.state.place) < len(journal.state.sessions):
        _Session(lab, journal, index, perform, open_testbed, despite_changes).go_on()
    journal.close(states.FINISHED)
    return journal.state


@dataclasses.dataclass(frozen=True)
class _Session:
    """One session, from wherever an interruption left it."""

    lab: Lab
    journal: SeriesJournal
    index: int
    perform: Between
    open_testbed: OpenTestbed | None
    despite_changes: bool

    @property
    def state(self) -> SessionState:
        return self.journal.state.sessions[self.index]

    @property
    def place(self) -> Place:
        series = self.journal.state
        after = len(series.sessions) - self.index - 1
        later = after * (series.session_seconds + between_seconds(self.lab, series.between))
        return Place(self.index + 1, len(series.sessions), self.state.before, later)

    def go_on(self) -> None:
        own = self._experiment()
        if own is None:
            self._prepare()
        elif own.state == ABANDONED:
            self._ended(states.ABANDONED, own.bundle, "given up by a person or by lab.down")
            return
        elif own.state == RUNNING:
            say(f"{self.place} goes on in {own.bundle}")
        if own is None or own.state == RUNNING:
            self._run()
        self._settle()

    def _experiment(self) -> ExperimentState | None:
        """Return what the experiment's journal has of this session; None: the session has not begun."""
        journal = Journal.load(self.lab.dir / JOURNAL)
        if journal is None or (journal.state.protocol, journal.state.session) != (
            self.journal.state.protocol, self.state.number,
        ):  # fmt: skip
            return None
        return journal.state

    def _prepare(self) -> None:
        """Do what comes before the session. Interrupted, it is done again: nothing of the session has begun."""
        if not self.index:
            self.journal.note(self.index, state=states.RUNNING, before=AS_IT_WAS)
            return
        kind = self.journal.state.between
        if self.state.state != states.WAITING:
            say(f"{self.place} was interrupted before its first run: what comes before it ({kind}) is done again")
        self.journal.note(self.index, state=states.BETWEEN, before="")
        say(f"{self.place}: {kind} first, about {duration(between_seconds(self.lab, kind))}")
        started = time.monotonic()
        try:
            before = self.perform(self.lab, kind)
        except LabError:
            say(f"{self.place} has not begun; {self.journal.state.command} does again what comes before it")
            raise
        took = round(time.monotonic() - started, 1)
        write_json(self.lab.dir / TIMES, {**(state_files.cached(self.lab.dir / TIMES, _seconds) or {}), kind: took})
        self.journal.note(self.index, state=states.RUNNING, before=f"{before}; {took:.0f} s", before_seconds=took)

    def _run(self) -> None:
        """Run the session. One that ends with too few pairs has a bundle; ``_settle`` says so."""
        try:
            operations.run(
                self.lab, self.journal.state.protocol, session=self.state.number, place=self.place,
                despite_changes=self.despite_changes, open_testbed=self.open_testbed,
            )  # fmt: skip
        except LabError:
            own = self._experiment()
            if own is None or own.state != FINISHED:
                raise

    def _settle(self) -> None:
        """Count the session once: complete as its bundle says, or failed with the reasons of its runs."""
        own = self._experiment()
        if own is None or own.state != FINISHED:
            raise LabError(f"{self.place} did not come to its end", hint=self.journal.state.command)
        plan, runs = resuming.plan_of(Path(own.bundle)), Writer(Path(own.bundle)).runs
        pairs = complete(plan, runs) if plan is not None else 0
        if plan is not None and pairs >= plan.pairs:
            self._ended(states.DONE, own.bundle, "")
            return
        reasons = sorted({f"{run.run_id}: {run.reason}" for run in runs if run.status == "failed"})
        self._ended(states.FAILED, own.bundle, f"{pairs} of {own.pairs} pairs are complete: {'; '.join(reasons)}")

    def _ended(self, state: str, bundle: str, reason: str) -> None:
        self.journal.note(self.index, state=state, bundle=bundle, reason=reason)
        say(f"{self.place} {state}: {bundle}" + (f" ({reason})" if reason else ""))


def pooled_lines(state: SeriesState) -> list[str]:
    """Return the pooled answer of the complete sessions in lines, with the command that gives it again."""
    from hardwatt.analysis.pool_words import answer
    from hardwatt.analysis.sessions import pooled_sessions

    bundles = state.bundles()
    return [*answer(pooled_sessions(bundles)), f"again: {pool_command(bundles, state.folder / 'pool')}"]


def pool_command(bundles: Sequence[Path], output: Path) -> str:
    """Return the command that pools these bundles again."""
    return shlex.join(["invoke", "experiment.pool", *map(str, bundles), "--output", str(output)])
