"""Run, resume, restore, status: the engine as the tasks call it."""

import datetime
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from hardwatt.bundle import Run, Writer, provenance
from hardwatt.engine import study as studies
from hardwatt.engine.arm import ARMS
from hardwatt.engine.journal import ABANDONED, FINISHED, RUNNING, Journal, State
from hardwatt.engine.plan import Plan, make_plan
from hardwatt.engine.plant import Facts, Plant
from hardwatt.engine.run import Engine
from hardwatt.engine.study import load_study
from hardwatt.engine.studymodel import Study
from hardwatt.engine.undo import Cluster, perform
from hardwatt.engine.workload import WORKLOADS, code_hashes
from hardwatt.errors import LabError, RefusedError
from hardwatt.lab import Lab
from hardwatt.progress import say
from hardwatt.settings import ROOT

JOURNAL = "experiment.json"
OpenPlant = Callable[[Lab], AbstractContextManager[Plant]]
OpenCluster = Callable[[Lab], AbstractContextManager[Cluster]]
RESUME = "invoke experiment.resume goes on with it; invoke experiment.abandon gives it up"


def list_studies(root: Path = ROOT) -> list[Study]:
    """Return the studies of a checkout, sorted by name."""
    return [load_study(root, name) for name in studies.list_studies(root)]


def plan(lab: Lab, study: str, *, pairs: int | None = None, seed: int | None = None) -> Plan:
    """Return the plan of a study; without a seed of its own or one given, a new one is drawn."""
    found = load_study(lab.root, study)
    chosen = seed if seed is not None else found.design.seed
    return make_plan(
        found, seed=secrets.randbelow(2**31) if chosen is None else chosen, pairs=pairs, code=_code(lab.root, found)
    )


def run(
    lab: Lab,
    study: str = "",
    *,
    pairs: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    open_plant: OpenPlant | None = None,
) -> Path:
    """Run a study and return its finished bundle.

    An experiment that was interrupted is gone on with, if it is of the same plan: what it switched
    off is put back first, the run that was cut short is a failed row, and its pair is repeated.

    Raises ``RefusedError`` where another experiment is unfinished, or where plan or versions are
    others than when it started; ``LabError`` where too few pairs are complete at the end.
    """
    if study:
        load_study(lab.root, study)  # a mistake in it is told before anything is opened
    with lab.lock("experiment.run"), (open_plant or _real_plant)(lab) as plant:
        journal = Journal.load(lab.dir / JOURNAL)
        for line in _undo(journal, plant.cluster) if journal is not None else ():
            say(line)
        if journal is not None and journal.state.state == RUNNING:
            state = journal.state
            if (Path(state.bundle) / "manifest.json").exists():  # killed right after the last step
                journal.close(FINISHED)
                return Path(state.bundle)
            wanted = plan(
                lab, study or state.study, pairs=pairs or state.pairs, seed=state.seed if seed is None else seed
            )
            _refuse_other_plan(wanted, state)
            facts = plant.facts(wanted.study)
            _refuse_other_versions(facts, state)
            say(f"going on with the experiment in {state.bundle}")
            writer = _open(Path(state.bundle), wanted, facts)
        else:
            if resume:
                raise LabError("no experiment is unfinished", hint="invoke experiment.run STUDY")
            wanted = plan(lab, study, pairs=pairs, seed=seed)
            facts = plant.facts(wanted.study)
            journal, writer = _start(lab, wanted, facts)
        return _finish(Engine(wanted, plant, journal, writer, say), facts)


def restore(lab: Lab) -> list[str]:
    """Put back what a killed experiment had switched off; return what was done, as sentences.

    The caller holds the lab's lock. Where the cluster cannot be reached nothing is lost: the journal
    keeps its list, and this says so.
    """
    journal = Journal.load(lab.dir / JOURNAL)
    if journal is None or not journal.state.undo:
        return []
    try:
        with _real_cluster(lab) as cluster:
            return _undo(journal, cluster)
    except LabError as error:
        say(f"what an experiment switched off is not put back yet: {error.message}")
        return []


def abandon(lab: Lab, *, open_cluster: OpenCluster | None = None) -> list[str]:
    """Give up an unfinished experiment: put back what it changed; its bundle stays, unfinished."""
    with lab.lock("experiment.abandon"):
        journal = Journal.load(lab.dir / JOURNAL)
        if journal is None or journal.state.state != RUNNING:
            raise LabError("no experiment is unfinished", hint="invoke experiment.status")
        done: list[str] = []
        if journal.state.undo:
            with (open_cluster or _real_cluster)(lab) as cluster:
                done = _undo(journal, cluster)
        journal.close(ABANDONED)
        return done


def forget(lab: Lab) -> None:
    """Give up an unfinished experiment of a lab whose cluster is gone: there is nothing to put back."""
    journal = Journal.load(lab.dir / JOURNAL)
    if journal is None:
        return
    for undo in journal.state.undo:
        journal.pop(undo)
    if journal.state.state == RUNNING:
        journal.close(ABANDONED)


def status(lab: Lab) -> str:
    """Return what the journal says: what runs, what is done, what is left, what is switched off."""
    journal = Journal.load(lab.dir / JOURNAL)
    if journal is None:
        return "none"
    state = journal.state
    runs = _runs(Path(state.bundle))
    done, failed = (sum(run.status == wanted for run in runs) for wanted in ("done", "failed"))
    lines = [
        f"{state.study}: {state.state}, {done} runs done, {failed} failed, {state.pairs} pairs planned; {state.bundle}"
    ]
    if state.current:
        lines.append(f"  now: {state.current}: {state.doing}; about {state.left_seconds:.0f} s left")
    lines += [f"  to be put back: {undo}" for undo in state.undo]
    if state.state == RUNNING:
        lines.append(f"  next, where nothing runs: {RESUME}")
    return "\n".join(lines)


def _runs(bundle: Path) -> list[Run]:
    return Writer(bundle).runs if bundle.exists() else []


def _real_plant(lab: Lab) -> AbstractContextManager[Plant]:
    from hardwatt.engine.kubeplant import open_plant  # the kubernetes client takes a second to import

    return open_plant(lab)


def _real_cluster(lab: Lab) -> AbstractContextManager[Cluster]:
    from hardwatt.engine.kubeplant import open_cluster

    return open_cluster(lab)


def _code(root: Path, study: Study) -> dict[str, str]:
    folder = root / WORKLOADS / study.workload.manifests
    arms = sorted({root / ARMS / f"{study.code_of(arm)}.py" for arm in study.arms})
    if missing := [path for path in arms if not path.exists()]:
        raise LabError(
            f"the study {study.name} needs {missing[0]}, which is not there", hint="see experiments/README.md"
        )
    return code_hashes(root, [*arms, *folder.glob("*.yaml")])


def _start(lab: Lab, wanted: Plan, facts: Facts) -> tuple[Journal, Writer]:
    """Begin an experiment: the journal first, so that a bundle without one is never left behind."""
    now = datetime.datetime.now(datetime.UTC)
    folder = lab.results / f"{wanted.study.name}-{now:%Y%m%d-%H%M%S}-{wanted.sha256[:6]}"
    state = State(wanted.study.name, wanted.seed, wanted.pairs, wanted.sha256, str(folder), facts.versions)
    journal = Journal.start(lab.dir / JOURNAL, state)
    return journal, _create(folder, wanted, facts)


def _open(folder: Path, wanted: Plan, facts: Facts) -> Writer:
    """Open an unfinished bundle, or make it where the process was killed before it was there."""
    if not any((folder / name).exists() for name in ("runs.parquet", "edges", "samples")):
        shutil.rmtree(folder, ignore_errors=True)
        return _create(folder, wanted, facts)
    return Writer.open(folder, wanted.to_dict())


def _create(folder: Path, wanted: Plan, facts: Facts) -> Writer:
    about = provenance(
        seed=wanted.seed, source=facts.source, versions=facts.versions, host=facts.host,
        power_model=facts.power_model, checks=facts.checks,
    )  # fmt: skip
    return Writer.create(folder, wanted.to_dict(), about)


def _finish(engine: Engine, facts: Facts) -> Path:
    """Run what is left, put back what is still off, and finish the bundle."""
    plan_, writer = engine.plan, engine.writer
    minutes = plan_.estimated_seconds() / 60
    say(
        f"{plan_.study.name}: {plan_.pairs} pairs, seed {plan_.seed}, plan {plan_.sha256[:12]}, about {minutes:.0f} min"
    )
    for check in facts.checks:
        say(f"  {check.status:8} {check.name}: {check.detail}")
    try:
        pairs = engine.run()
    finally:
        _undo(engine.journal, engine.plant.cluster)
    writer.finish()
    engine.journal.close(FINISHED)
    if pairs < plan_.pairs:
        reasons = sorted({f"{run.run_id}: {run.reason}" for run in writer.runs if run.status == "failed"})
        raise LabError(
            f"only {pairs} of {plan_.pairs} pairs are complete: " + "; ".join(reasons),
            hint=f"invoke experiment.report {writer.path} shows what there is",
        )
    return writer.path


def _undo(journal: Journal, cluster: Cluster) -> list[str]:
    """Put back what the journal lists, newest first; return it as sentences."""
    done = []
    for undo in reversed(journal.state.undo):
        perform(undo, cluster)
        journal.pop(undo)
        done.append(f"put back: {undo}")
    return done


def _refuse_other_plan(wanted: Plan, state: State) -> None:
    if wanted.sha256 != state.plan_sha256:
        raise RefusedError(
            f"an experiment is unfinished ({state.study}, seed {state.seed}, {state.pairs} pairs) and has another "
            f"plan: {state.plan_sha256[:12]}, not {wanted.sha256[:12]}; "
            "study, arms, workload, seed or pairs have changed",
            hint=RESUME,
        )


def _refuse_other_versions(facts: Facts, state: State) -> None:
    names = sorted(set(facts.versions) | set(state.versions))
    changed = [
        f"{name}: {state.versions.get(name, 'none')} -> {facts.versions.get(name, 'none')}"
        for name in names
        if facts.versions.get(name) != state.versions.get(name)
    ]
    if changed:
        raise RefusedError("versions have changed since the experiment started: " + "; ".join(changed), hint=RESUME)
