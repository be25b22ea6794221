"""Find out what a machine can detect: an A/A series and a positive control, run as any other study."""

import datetime
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.progress import say
from hardwatt.experiment.operations import OpenTestbed, run
from hardwatt.experiment.plan.qualification import Noise, Qualification, Recovered, save
from hardwatt.experiment.plan.sample_size import FEWEST, sd_upper
from hardwatt.experiment.plan.study_file import list_studies, load_study
from hardwatt.experiment.plan.study_model import UNITS, Study

PROGRESS = "qualify.json"
KINDS = ("a/a", "positive")


def qualify(
    lab: Lab, *, hours: float, pairs: int | None = None, anew: bool = False, open_testbed: OpenTestbed | None = None
) -> list[str]:
    """Run both controls, store what the machine can detect in the lab's folder, and return it as lines.

    Interrupted, it goes on where it was. Raises ``LabError`` where a control could not be completed, and
    for fewer than six pairs.
    """
    if pairs is not None and pairs < FEWEST:
        raise LabError(f"a series needs {FEWEST} pairs or more to say how differences scatter, not {pairs}")
    path = lab.dir / PROGRESS
    if anew:
        path.unlink(missing_ok=True)
    done = (
        state_files.read(path, _progress, what="the progress of a qualification,", then="invoke experiment.qualify")
        or {}
    )
    studies = {kind: control(lab.root, kind) for kind in KINDS}
    for kind, study in studies.items():
        if not _finished(done.get(kind, "")):
            say(f"qualify: {study.title} ({kind})")
            bundle = run(lab, study.name, pairs=pairs or max(FEWEST, study.design.pairs), open_testbed=open_testbed)
            done[kind] = str(bundle)
            write_json(path, done)
    qualification = conclude(studies, {kind: Path(done[kind]) for kind in KINDS}, hours)
    save(lab, qualification)
    path.unlink()
    return list(_lines(qualification, lab))


def _progress(value: Any) -> dict[str, str]:
    return {str(kind): str(Path(bundle)) for kind, bundle in state_files.mapping(value).items()}


def control(root: Path, kind: str) -> Study:
    """Return the study that is the control of a kind.

    Raises ``LabError`` where there is none.
    """
    for name in list_studies(root):
        study = load_study(root, name)
        if study.control and study.control.kind == kind:
            return study
    raise LabError(
        f"there is no study with control.kind = {kind!r} in experiments/studies", hint="see experiments/README.md"
    )


def conclude(studies: dict[str, Study], bundles: dict[str, Path], hours: float) -> Qualification:
    """Compute what the machine can detect from the two finished bundles.

    Raises ``LabError`` where one has too few pairs.
    """
    same, known = (Bundle.open(bundles[kind]) for kind in KINDS)
    noise = {outcome: spread for outcome in UNITS if (spread := _noise(same, outcome)) is not None}
    study, positive = studies["a/a"], studies["positive"]
    if study.primary.outcome not in noise:
        raise LabError(f"too few pairs of {same.path} have the outcome {study.primary.outcome}")
    runs = [run for run in same.runs if run.status == "done"]
    pairs = len(_differences(same, study.primary.outcome))
    whole = (max(run.t1_ms for run in runs) - min(run.t0_ms for run in runs)) / 1000
    assert positive.control is not None
    return Qualification(
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        study=study.name,
        outcome=study.primary.outcome,
        window_seconds=study.estimand.window_seconds,
        commits=study.trace.commits,
        pairs=pairs,
        pair_seconds=round(whole / pairs, 1),
        hours=hours,
        source=same.manifest.source,
        noise=noise,
        positive=_recovered(known, positive.primary.outcome, positive.control.known),
        bundles={kind: str(path) for kind, path in bundles.items()},
        warnings=tuple(f"{check.name}: {check.detail}" for check in same.manifest.checks if check.status != "ok"),
        versions=dict(same.manifest.versions),
    )


def _differences(bundle: Bundle, outcome: str) -> list[float]:
    """Return the paired differences of an outcome, second arm minus first; empty where it was not measured."""
    from hardwatt.analysis import table
    from hardwatt.instruments.outcomes import measure

    differences = table.vector(table.build(bundle.runs, measure(bundle), bundle.plan.arms[:2], outcome), outcome)
    return [] if differences is None else [float(value) for value in differences]


def _noise(bundle: Bundle, outcome: str) -> Noise | None:
    from hardwatt.analysis.paired import mean_difference

    differences = _differences(bundle, outcome)
    if len(differences) < FEWEST:
        return None
    estimate = mean_difference(differences)
    assert estimate.low is not None  # six pairs have a spread
    assert estimate.high is not None
    return Noise(statistics.stdev(differences), sd_upper(differences), estimate.value, estimate.low, estimate.high)


def _recovered(bundle: Bundle, outcome: str, known: float) -> Recovered:
    from hardwatt.analysis.paired import mean_difference

    differences = _differences(bundle, outcome)
    if len(differences) < FEWEST:
        raise LabError(f"only {len(differences)} pairs of {bundle.path} are complete, {FEWEST} are needed")
    estimate = mean_difference(differences)
    assert estimate.low is not None  # six pairs have a spread
    assert estimate.high is not None
    return Recovered(known, estimate.value, estimate.low, estimate.high)


def _finished(bundle: str) -> bool:
    return bool(bundle) and (Path(bundle) / "manifest.json").exists()


def _lines(qualification: Qualification, lab: Lab) -> Iterator[str]:
    for outcome, noise in qualification.noise.items():
        unit = UNITS[outcome]
        yield (
            f"A/A, {outcome}: mean difference {noise.mean:.3g} {unit} ({noise.low:.3g} to {noise.high:.3g}), standard "
            f"deviation {noise.sd:.3g}, upper 80 % bound {noise.sd_upper:.3g}, {qualification.pairs} pairs"
        )
    recovered = qualification.positive
    yield (
        f"positive control: {recovered.known:.3g} {UNITS[qualification.outcome]} known, {recovered.measured:.3g} found "
        f"({recovered.low:.3g} to {recovered.high:.3g})"
    )
    yield from (f"WARN  {warning}" for warning in qualification.warnings)
    yield f"stored in {lab.dir / 'qualification.json'}; experiment.plan uses it"
    yield qualification.sentence
