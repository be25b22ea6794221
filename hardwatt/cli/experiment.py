"""experiment.run and what belongs to a run: plan, resume, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hardwatt.cli.on_host import on_host
from hardwatt.cli.registry import LAB, command
from hardwatt.core.errors import SettingsError

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab
    from hardwatt.experiment import series
    from hardwatt.experiment.run import series_state

SIZES = {"quick": "the study's quick form (the default)", "full": "the study's full form"}
PLAN = {
    "study": "a study of experiments/studies (see experiment.list), or the file of a protocol (FILE.json)",
    "pairs": "number of pairs (blocks), instead of the study's",
    "seed": "seed of order, trace and phases, to repeat the draws of an earlier plan",
    "session": "number of the session, from which the seed follows; drawn and recorded when not given",
    **SIZES,
}


def studies() -> list[str]:
    """Return the names of this checkout's studies; read from the folder, which is quicker than their reader."""
    return sorted(path.stem for path in (Path(__file__).parents[2] / "experiments" / "studies").glob("*.toml"))


def size_of(quick: bool, full: bool) -> str:
    """Return the size that was asked for; empty: none."""
    if quick and full:
        raise SettingsError("--quick and --full exclude each other")
    return "full" if full else "quick" if quick else ""


BETWEEN = ("cluster", "reboot", "nothing")
SERIES = {
    "sessions": "number of sessions, one bundle each; the command pools them at its end",
    "session_minutes": "the longest that a session may take: pairs, and windows by the noise curve, are chosen to fit",
    "hours": "time for everything: windows, pairs and sessions are chosen by the machine's noise curve",
    "between": "what is done between sessions: cluster, reboot or nothing (default: cluster; reboot where the machine "
    "is emulated)",
}


@command(
    "experiment.run",
    needs=LAB,
    arguments={**PLAN, **SERIES, "no_report": "end with the bundle"},
    values={"study": studies, "between": BETWEEN},
)
@on_host(root=True)
def experiment_run(
    lab: Lab,
    study: str,
    *,
    pairs: int = 0,
    seed: int = 0,
    quick: bool = False,
    full: bool = False,
    no_report: bool = False,
    session: int | None = None,
    session_minutes: float | None = None,
    sessions: int | None = None,
    hours: float | None = None,
    between: str = "",
) -> int:
    """Run a paired experiment and report it, or several sessions of it; the last line is the report's path."""
    from hardwatt.experiment import operations, series

    size = size_of(quick, full)
    if {sessions, session_minutes, hours} != {None} or between:
        request = _request(study, sessions, pairs, size, session, between, session_minutes, hours, seed)
        return _run_series(lab, request, no_report=no_report)
    series.refuse_within(lab)
    bundle = operations.run(lab, study, pairs=pairs or None, seed=seed or None, size=size, session=session)
    print(bundle if no_report else _report(bundle))
    return 0


@command(
    "experiment.resume",
    needs=LAB,
    arguments={"despite_changes": "also where code, study or versions have changed; the bundle then says so"},
)
@on_host(root=True)
def experiment_resume(lab: Lab, *, despite_changes: bool = False) -> int:
    """Go on with an experiment that was interrupted, or with its series of sessions."""
    from hardwatt.experiment import operations, series
    from hardwatt.experiment.run import series_state
    from hardwatt.lifecycle import between

    if series_state.unfinished(lab) is not None:
        state = series.resume(lab, between.perform, despite_changes=despite_changes)
        return _end_of_series(state, no_report=False)
    print(_report(operations.run(lab, "", resume=True, despite_changes=despite_changes)))
    return 0


def _request(
    study: str, sessions: int | None, pairs: int, size: str, session: int | None, between: str,
    minutes: float | None, hours: float | None, seed: int,
) -> series.Request:  # fmt: skip
    from hardwatt.experiment import series

    if seed:
        raise SettingsError("--seed is for one session; with --sessions, --session-minutes or --hours give --session")
    for option, value in (("--sessions", sessions), ("--session-minutes", minutes), ("--hours", hours)):
        if value is not None and not value > 0:
            raise SettingsError(f"{option} is a number above zero, not {value:g}")
    return series.Request(study, sessions or 0, pairs, size, session, between, minutes or 0.0, hours or 0.0)


def _run_series(lab: Lab, request: series.Request, *, no_report: bool) -> int:
    from hardwatt.core.progress import say
    from hardwatt.experiment import series
    from hardwatt.experiment.run import series_state
    from hardwatt.lifecycle import between

    unfinished = series_state.unfinished(lab)
    kind = unfinished.state.between if unfinished else between.chosen(lab, request.between)
    if unfinished is None and series.planned(lab, request, kind)[1].sessions > 1:
        say(between.announced(lab, kind))
    return _end_of_series(series.run(lab, request, kind, between.perform), no_report=no_report)


def _end_of_series(state: series_state.SeriesState, *, no_report: bool) -> int:
    """Print what is complete: the pooled answer, the command that repeats it, and the page last."""
    from hardwatt.core.progress import say
    from hardwatt.experiment import series
    from hardwatt.report.render import pooled

    done = state.bundles()
    for line in series.failures(state):
        say(line)
    if len(done) > 1 and not no_report:
        page = pooled(done, output=state.folder / "pool")
        for line in series.pooled_lines(state):
            say(line)
        print(page)
    elif no_report or not done:
        for bundle in done:
            print(bundle)
    else:
        say("one session is complete: its report is of this cluster, this hour")
        print(_report(done[0]))
    return 0 if len(done) == len(state.sessions) else 1


@command("experiment.abandon", needs=LAB)
def experiment_abandon(lab: Lab) -> None:
    """Give up an interrupted experiment: put back what it switched off; its bundle stays unfinished."""
    from hardwatt.core.progress import say
    from hardwatt.experiment import series

    for line in series.abandon(lab):
        say(line)


@command(
    "experiment.plan",
    needs=LAB,
    arguments={
        **PLAN,
        "export": "file for the preregistration text (FILE.md), or for the protocol that others run (FILE.json)",
    },
    values={"study": studies},
)
def experiment_plan(
    lab: Lab,
    study: str,
    *,
    pairs: int = 0,
    seed: int = 0,
    quick: bool = False,
    full: bool = False,
    export: str = "",
    session: int | None = None,
) -> None:
    """Print a plan's run table, how long it takes, and the smallest effect that it can see; runs nothing."""
    from hardwatt.experiment import operations, study_texts
    from hardwatt.experiment.plan import preregistration, qualification

    planned = operations.plan(
        lab, study, pairs=pairs or None, seed=seed or None, size=size_of(quick, full), session=session
    )
    for line in preregistration.printed(planned, qualification.load(lab)):
        print(line)
    if export:
        print(study_texts.export(planned, qualification.load(lab), Path(export)))


@command("experiment.show", needs=LAB, arguments={"study": "a study of experiments/studies"}, values={"study": studies})
def experiment_show(lab: Lab, study: str) -> None:
    """Print a study in words: what is compared, how, and what is decided in advance."""
    from hardwatt.experiment import study_texts

    for line in study_texts.show(lab, study):
        print(line)


@command("experiment.list", needs=LAB)
def experiment_list(lab: Lab) -> None:
    """List the studies."""
    from hardwatt.experiment import study_texts

    for name, line in study_texts.listed(lab).items():
        print(f"{name}  {line}")


@command(
    "experiment.qualify",
    needs=LAB,
    arguments={
        "minutes": "the time that it may take, from which the numbers of windows follow",
        "long": "measure windows of 600 s too",
        "anew": "begin again, instead of continuing an interrupted attempt, which is kept in the list of attempts",
    },
)
@on_host(root=True)
def experiment_qualify(lab: Lab, *, minutes: float = 45.0, long: bool = False, anew: bool = False) -> None:
    """Find out what this machine can detect: noise by length of window in both arms, and known loads."""
    from hardwatt.experiment import qualify

    for line in qualify.qualify(lab, minutes=minutes, long=long, anew=anew):
        print(line)


@command("experiment.status", needs=LAB)
def experiment_status(lab: Lab) -> None:
    """Print what the running experiment does, and its series of sessions."""
    from hardwatt.experiment import series
    from hardwatt.experiment.run import status

    for line in series.status_lines(lab):
        print(line)
    print(status.status(lab))


def _report(bundle: Path) -> Path:
    """Analyse a bundle, write its report, and return the report's path."""
    from hardwatt.report.render import report

    return report(bundle)
