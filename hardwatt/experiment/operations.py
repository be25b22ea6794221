"""Run, resume, restore, status: the engine as the tasks call it."""

import dataclasses
import datetime
import secrets
import shlex
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from hardwatt.bundle.checkout import provenance
from hardwatt.bundle.reader import ABANDONED as UNFINISHED_FOR_GOOD
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Cluster, perform
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, RefusedError, SettingsError
from hardwatt.core.files import write_atomic
from hardwatt.core.progress import say
from hardwatt.experiment.host.host_checks import printed
from hardwatt.experiment.plan import protocol_file
from hardwatt.experiment.plan.preregistration import duration
from hardwatt.experiment.plan.run_table import FULL, QUICK, RunTable, make_plan, make_session
from hardwatt.experiment.plan.study_file import load_study
from hardwatt.experiment.plan.study_model import ARMS, WORKLOADS, Study
from hardwatt.experiment.run import resume as resuming
from hardwatt.experiment.run.journal import ABANDONED, FINISHED, JOURNAL, RUNNING, ExperimentState, Journal
from hardwatt.experiment.run.loop import Engine
from hardwatt.experiment.run.series_state import Place
from hardwatt.experiment.run.usable import why_not
from hardwatt.experiment.testbed.interface import Testbed, TestbedFacts
from hardwatt.experiment.testbed.workload import code_hashes
from hardwatt.machines.lab_lock import locked

OpenTestbed = Callable[[Lab], AbstractContextManager[Testbed]]
OpenCluster = Callable[[Lab], AbstractContextManager[Cluster]]


def plan(
    lab: Lab, study: str, *, pairs: int | None = None, seed: int | None = None, size: str = "",
    session: int | None = None,
) -> RunTable:  # fmt: skip
    """Return the plan of one session of a study, or of a protocol file.

    The number of the session is drawn if it is not given; the seed follows from protocol and session. A seed that is
    given, or that the study has, repeats the draws of an earlier plan and counts as the session's number.

    Raises ``SettingsError`` for a session and a seed together.
    """
    if session is not None and seed is not None:
        raise SettingsError("--session and --seed exclude each other: the seed follows from the session")
    if protocol_file.is_protocol(study):
        loaded, size, count, code = _of_protocol(lab, Path(study), size)
    else:
        size = size or QUICK
        loaded = load_study(lab.root, study)
        loaded = loaded.in_full() if size == FULL else loaded
        count, code = 0, _code(lab.root, loaded)
    pairs = pairs or count or (loaded.design.full_pairs if size == FULL else loaded.design.pairs)
    chosen = seed if seed is not None or session is not None else loaded.design.seed
    if chosen is not None:
        return make_plan(loaded, seed=chosen, pairs=pairs, code=code, size=size, session=chosen)
    number = secrets.randbelow(2**31) if session is None else session
    return make_session(loaded, session=number, pairs=pairs, code=code, size=size)


def _of_protocol(lab: Lab, path: Path, size: str) -> tuple[Study, str, int, dict[str, str]]:
    """Return study, size, pairs and code of a protocol file; the code is this checkout's and must be the same."""
    document, study = protocol_file.read(lab.root, path)
    if size not in ("", document.size):
        raise SettingsError(f"the protocol {path} is of a {document.size} run, not of a {size} one")
    code = _code(lab.root, study)
    protocol_file.refuse_other_code(path, document, code)
    return study, document.size, document.pairs, code


def run(
    lab: Lab,
    study: str = "",
    *,
    pairs: int | None = None,
    seed: int | None = None,
    size: str = "",
    session: int | None = None,
    resume: bool = False,
    despite_changes: bool = False,
    place: Place | None = None,
    open_testbed: OpenTestbed | None = None,
) -> Path:
    """Run a study and return its finished bundle; ``size`` is ``quick`` (where none is given) or ``full``.

    ``place`` is that of a session in a series: its manifest and every line of progress name it.

    An experiment that was interrupted is gone on with, if it is of the same plan: what it switched
    off is put back first, the run that was cut short is a failed row, and its pair is repeated.

    Raises ``RefusedError`` where another experiment is unfinished, or where code, study or versions have
    changed since it started (unless ``despite_changes``, which is then written into the bundle);
    ``LabError`` where too few pairs are complete at the end.
    """
    if protocol_file.is_protocol(study):
        study = str(Path(study).resolve())
    if study:
        _check(lab, study)  # a mistake in it is told before anything is opened
    with locked(lab, "experiment.run"), (open_testbed or _real_testbed)(lab) as testbed:
        journal = Journal.load(lab.dir / JOURNAL)
        for line in _undo(journal, testbed.cluster) if journal is not None else ():
            say(line)
        if journal is not None and journal.state.state == RUNNING:
            resuming.refuse_another(journal.state, study, pairs, seed, size, session)
            if (Path(journal.state.bundle) / "manifest.json").exists():  # killed right after the last step
                journal.close(FINISHED)
                return Path(journal.state.bundle)
            wanted, facts, writer = _go_on(lab, journal, testbed, place, despite=despite_changes)
        else:
            if resume:
                raise LabError("no experiment is unfinished", hint="invoke experiment.run STUDY")
            wanted = plan(lab, study, pairs=pairs, seed=seed, size=size, session=session)
            facts = _facts(testbed, wanted, place)
            journal, writer = _start(lab, wanted, facts, study if protocol_file.is_protocol(study) else "")
        return _finish(Engine(wanted, testbed, journal, writer, _teller(journal, place), why_not), facts)


def _facts(testbed: Testbed, wanted: RunTable, place: Place | None) -> TestbedFacts:
    """Return the facts of the testbed, with what was done to the lab before this session of a series."""
    facts = testbed.facts(wanted.study)
    if place is None:
        return facts
    return dataclasses.replace(facts, host={**facts.host, "series": str(place), "before_session": place.before})


def _teller(journal: Journal, place: Place | None) -> Callable[[str], None]:
    """Return what prints a line of progress; in a series with the session's place and the time that all take."""
    if place is None:
        return say
    return lambda text: say(
        f"{place}, {duration(journal.state.left_seconds + place.later_seconds)} left in all: {text}"
    )


def _go_on(
    lab: Lab, journal: Journal, testbed: Testbed, place: Place | None, *, despite: bool
) -> tuple[RunTable, TestbedFacts, Writer]:
    """Open an unfinished experiment again, by the plan that its bundle holds."""
    state, folder = journal.state, Path(journal.state.bundle)
    wanted = resuming.plan_of(folder)
    if wanted is None:  # killed before the bundle was there: nothing was run
        wanted = _planned_again(lab, state)
        facts = _facts(testbed, wanted, place)
        _clear(folder)
        say(f"starting the experiment in {folder}")
        return wanted, facts, _create(folder, wanted, facts)
    facts = _facts(testbed, wanted, place)
    writer = _open(folder, wanted, facts)
    changed = resuming.changes(lab.root, wanted, state, _versions(facts))
    resuming.accept(writer, changed, despite=despite)
    say(f"going on with the experiment in {folder}")
    return wanted, facts, writer


def _planned_again(lab: Lab, state: ExperimentState) -> RunTable:
    """Return the plan of an experiment that was killed before its bundle held it."""
    study, own = state.protocol or state.study, state.session != state.seed
    session, seed = (state.session, None) if own and state.session is not None else (None, state.seed)
    return plan(lab, study, pairs=state.pairs, seed=seed, size=state.size, session=session)


def _check(lab: Lab, study: str) -> None:
    """Read a study or a protocol file. Raises what ``plan`` raises for a mistake in it."""
    if protocol_file.is_protocol(study):
        _of_protocol(lab, Path(study), "")
    else:
        load_study(lab.root, study)


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
    with locked(lab, "experiment.abandon", lost_host=True):
        journal = Journal.load(lab.dir / JOURNAL)
        if journal is None or journal.state.state != RUNNING:
            raise LabError("no experiment is unfinished", hint="invoke experiment.status")
        done: list[str] = []
        if journal.state.undo:
            with (open_cluster or _real_cluster)(lab) as cluster:
                done = _undo(journal, cluster)
        bundle = Path(journal.state.bundle)
        if bundle.is_dir() and not (bundle / "manifest.json").exists():
            write_atomic(bundle / UNFINISHED_FOR_GOOD, "")
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


def _real_testbed(lab: Lab) -> AbstractContextManager[Testbed]:
    from hardwatt.experiment.testbed.kubernetes_testbed import (
        open_testbed,  # the kubernetes client takes a second to import
    )

    return open_testbed(lab)


def _real_cluster(lab: Lab) -> AbstractContextManager[Cluster]:
    from hardwatt.experiment.testbed.kubernetes_testbed import open_cluster

    return open_cluster(lab)


def _code(root: Path, study: Study) -> dict[str, str]:
    folder = root / WORKLOADS / study.workload.manifests
    arms = sorted({root / ARMS / f"{study.code_of(arm)}.py" for arm in study.arms})
    if missing := [path for path in arms if not path.exists()]:
        raise LabError(
            f"the study {study.name} needs {missing[0]}, which is not there", hint="see experiments/README.md"
        )
    return code_hashes(root, [*arms, *folder.glob("*.yaml")])


def _versions(facts: TestbedFacts) -> dict[str, str]:
    """Return everything that must be the same from the first run to the last."""
    return {**facts.versions, resuming.TOOLKIT: resuming.toolkit_version()}


def _start(lab: Lab, wanted: RunTable, facts: TestbedFacts, protocol: str) -> tuple[Journal, Writer]:
    """Begin an experiment: the journal first, so that a bundle without one is never left behind."""
    now = datetime.datetime.now(datetime.UTC)
    folder = lab.results / f"{wanted.study.name}-{now:%Y%m%d-%H%M%S}-{wanted.sha256[:6]}"
    state = ExperimentState(
        wanted.study.name, wanted.seed, wanted.pairs, wanted.sha256, str(folder), _versions(facts), wanted.size,
        session=wanted.session, protocol=protocol,
    )  # fmt: skip
    journal = Journal.start(lab.dir / JOURNAL, state)
    return journal, _create(folder, wanted, facts)


def _open(folder: Path, wanted: RunTable, facts: TestbedFacts) -> Writer:
    """Open an unfinished bundle, or make it again where the process was killed before it was whole."""
    if not _begun(folder):
        _clear(folder)
        return _create(folder, wanted, facts)
    return Writer.open(folder, wanted.to_dict())


def _begun(folder: Path) -> bool:
    """Return True if a bundle holds anything of a run."""
    return any((folder / name).exists() for name in ("runs.parquet", "edges", "samples"))


def _clear(folder: Path) -> None:
    """Remove a bundle in which nothing was recorded. Raises ``RefusedError`` if it holds runs."""
    if _begun(folder):
        raise RefusedError(f"the bundle {folder} holds runs and its plan.json is missing", hint=resuming.ABANDON)
    shutil.rmtree(folder, ignore_errors=True)


def _create(folder: Path, wanted: RunTable, facts: TestbedFacts) -> Writer:
    about = provenance(
        seed=wanted.seed, source=facts.source, versions=facts.versions, host=facts.host,
        power_model=facts.power_model, checks=facts.checks,
        protocol_sha256=wanted.protocol_sha256 if wanted.session is not None else None, session=wanted.session,
    )  # fmt: skip
    return Writer.create(folder, wanted.to_dict(), about)


def _finish(engine: Engine, facts: TestbedFacts) -> Path:
    """Run what is left, put back what is still off, and finish the bundle."""
    plan_, writer = engine.plan, engine.writer
    say(
        f"{plan_.study.name} ({plan_.size}): {plan_.pairs} pairs, seed {plan_.seed}, plan {plan_.sha256[:12]}, "
        f"about {duration(plan_.estimated_seconds())}"
    )
    for line in printed(facts.checks):
        say(f"  {line}")
    try:
        pairs = engine.run()
    finally:
        _undo(engine.journal, engine.testbed.cluster)
    writer.finish()
    engine.journal.close(FINISHED)
    if pairs < plan_.pairs:
        reasons = sorted({f"{run.run_id}: {run.reason}" for run in writer.runs if run.status == "failed"})
        raise LabError(
            f"only {pairs} of {plan_.pairs} pairs are complete: " + "; ".join(reasons),
            hint=f"invoke experiment.report {shlex.quote(str(writer.path))} shows what there is",
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
