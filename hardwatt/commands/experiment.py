"""experiment.run and what belongs to a run: plan, resume, status."""

from hardwatt.commands import command, report_path
from hardwatt.lab import Lab
from hardwatt.progress import say


@command(
    help={
        "study": "a study of experiments/studies (see experiment.list)",
        "pairs": "number of pairs, instead of the study's",
        "seed": "seed of order, trace and phases; drawn and recorded when not given",
        "no_report": "end with the bundle",
    }
)
def experiment_run(lab: Lab, study: str, pairs: int = 0, seed: int = 0, no_report: bool = False) -> None:
    """Run a paired experiment and report it; the last line is the report's path."""
    from hardwatt import engine

    bundle = engine.run(lab, study, pairs=pairs or None, seed=seed or None)
    print(bundle if no_report else report_path(bundle))


@command()
def experiment_resume(lab: Lab) -> None:
    """Go on with an experiment that was interrupted."""
    from hardwatt import engine

    print(report_path(engine.run(lab, "", resume=True)))


@command()
def experiment_abandon(lab: Lab) -> None:
    """Give up an interrupted experiment: put back what it switched off; its bundle stays unfinished."""
    from hardwatt import engine

    for line in engine.abandon(lab):
        say(line)


@command(help={"study": "a study of experiments/studies", "pairs": "number of pairs", "seed": "the seed to plan with"})
def experiment_plan(lab: Lab, study: str, pairs: int = 0, seed: int = 0) -> None:
    """Print the run table that a study and a seed give, and how long it takes; runs nothing."""
    from hardwatt import engine

    planned = engine.plan(lab, study, pairs=pairs or None, seed=seed or None)
    print(f"{study}: {planned.pairs} pairs, seed {planned.seed}, about {planned.estimated_seconds() / 60:.0f} min")
    for row in planned.rows:
        print(f"  {row.run_id}  block {row.block}  position {row.position}  {row.arm}  phase {row.phase_seconds:.1f} s")


@command()
def experiment_list(lab: Lab) -> None:
    """List the studies."""
    from hardwatt import engine

    for study in engine.list_studies():
        print(f"{study.name}  {study.question}")


@command()
def experiment_status(lab: Lab) -> None:
    """Print what the running experiment does."""
    from hardwatt import engine

    print(engine.status(lab))
