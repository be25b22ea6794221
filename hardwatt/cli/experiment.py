"""experiment.run and what belongs to a run: plan, resume, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hardwatt.cli.on_host import on_host
from hardwatt.cli.registry import LAB, command
from hardwatt.core.errors import SettingsError

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

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


@command("experiment.run", needs=LAB, arguments={**PLAN, "no_report": "end with the bundle"}, values={"study": studies})
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
) -> None:
    """Run a paired experiment and report it; the last line is the report's path."""
    from hardwatt.experiment import operations

    bundle = operations.run(
        lab, study, pairs=pairs or None, seed=seed or None, size=size_of(quick, full), session=session
    )
    print(bundle if no_report else _report(bundle))


@command(
    "experiment.resume",
    needs=LAB,
    arguments={"despite_changes": "also where code, study or versions have changed; the bundle then says so"},
)
@on_host(root=True)
def experiment_resume(lab: Lab, *, despite_changes: bool = False) -> None:
    """Go on with an experiment that was interrupted."""
    from hardwatt.experiment import operations

    print(_report(operations.run(lab, "", resume=True, despite_changes=despite_changes)))


@command("experiment.abandon", needs=LAB)
def experiment_abandon(lab: Lab) -> None:
    """Give up an interrupted experiment: put back what it switched off; its bundle stays unfinished."""
    from hardwatt.core.progress import say
    from hardwatt.experiment import operations

    for line in operations.abandon(lab):
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
    """Print what the running experiment does."""
    from hardwatt.experiment.run import status

    print(status.status(lab))


def _report(bundle: Path) -> Path:
    """Analyse a bundle, write its report, and return the report's path."""
    from hardwatt.report.render import report

    return report(bundle)
