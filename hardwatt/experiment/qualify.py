"""Find out what a machine can detect: both arms against themselves, and a ladder of known loads.

Both are ordinary experiments with bundles. Their long windows are read in parts, so that one night is not needed.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.errors import LabError, RefusedError, SettingsError
from hardwatt.core.files import write_json
from hardwatt.core.progress import say
from hardwatt.experiment.operations import OpenTestbed, run
from hardwatt.experiment.plan import machine_noise, noise_curve, qualification
from hardwatt.experiment.plan.machine_noise import Rung, SameTwice, loads
from hardwatt.experiment.plan.noise_curve import NoiseCurve, NoiseRow
from hardwatt.experiment.plan.preregistration import duration
from hardwatt.experiment.plan.qualification import Attempt, Qualification
from hardwatt.experiment.plan.run_table import FULL, QUICK, make_plan
from hardwatt.experiment.plan.study_file import load_study
from hardwatt.experiment.plan.study_model import Study

PROGRESS, PROGRESS_SCHEMA = "qualify.json", 2
STUDIES = {"noise": "qualify-noise", "ladder": "qualify-ladder"}
LENGTHS, ASKED = (30.0, 60.0, 120.0, 300.0), 600.0
FEWEST_PAIRS = {"noise": 2, "ladder": 1}
MINUTES, SLACK = 45.0, 1.02
"""Time that is taken when none is asked for; the plan may be longer by two per cent."""
ANEW = "invoke experiment.qualify --anew begins again; the unfinished attempt stays in the list of attempts"


@dataclasses.dataclass(frozen=True)
class Effort:
    """Number of pairs to measure, chosen from the time before anything runs."""

    minutes: float
    long: bool
    noise: int
    ladder: int
    seconds: float
    """Duration when no gate has to wait."""

    @property
    def pairs(self) -> dict[str, int]:
        """Pairs of windows of both studies."""
        return {"noise": self.noise, "ladder": self.ladder}

    def size(self, kind: str) -> str:
        """The size of a study: 600 s are the full form of the noise study."""
        return FULL if self.long and kind == "noise" else QUICK


@dataclasses.dataclass(frozen=True)
class Progress:
    """An attempt that is under way."""

    at: str
    minutes: float
    long: bool
    bundles: dict[str, str]

    @classmethod
    def from_dict(cls, data: Any) -> "Progress":
        """Return what ``qualify.json`` holds. Raises ``TypeError``, ``KeyError`` or ``ValueError``."""
        fields = state_files.mapping(data)
        bundles = {str(kind): str(Path(path)) for kind, path in state_files.mapping(fields["bundles"]).items()}
        datetime.datetime.fromisoformat(fields["at"])
        return cls(state_files.text(fields["at"]), float(fields["minutes"]), bool(fields["long"]), bundles)


def effort(root: Path, minutes: float, *, long: bool = False) -> Effort:
    """Choose the number of pairs: a quarter of them for the ladder, the others for the noise.

    Raises ``SettingsError`` where the time is too short for two windows of the longest length in each arm and one
    ladder in each direction; it names the least time.
    """
    studies = {kind: load_study(root, name) for kind, name in STUDIES.items()}
    if long:
        studies["noise"] = studies["noise"].in_full()

    def seconds(pairs: Mapping[str, int]) -> float:
        return sum(make_plan(studies[kind], seed=1, pairs=count).estimated_seconds() for kind, count in pairs.items())

    chosen, least = dict(FEWEST_PAIRS), seconds(FEWEST_PAIRS)
    if not least <= SLACK * minutes * 60:
        raise SettingsError(
            f"qualifying takes {least / 60:.0f} minutes or more, and --minutes gives {minutes:g}",
            hint=f"invoke experiment.qualify --minutes {least / 60 + 1:.0f}{' --long' if long else ''}",
        )
    while True:
        kind = "ladder" if 4 * chosen["ladder"] < sum(chosen.values()) else "noise"
        more = {**chosen, kind: chosen[kind] + 1}
        if seconds(more) > SLACK * minutes * 60:
            return Effort(minutes, long, chosen["noise"], chosen["ladder"], seconds(chosen))
        chosen = more


def announcement(plan: Effort) -> str:
    """Say before it starts how long it takes and what is measured."""
    lengths = [*LENGTHS, *([ASKED] if plan.long else [])]
    longest = lengths[-1]
    windows = ", ".join(f"{plan.noise * int(longest / seconds)} of {seconds:g} s" for seconds in lengths)
    return (
        f"qualify takes about {duration(plan.seconds)} when no gate has to wait: {plan.noise} windows of {longest:g} s "
        f"in each arm (read as {windows}) and {plan.ladder} ladders of known loads in each direction"
    )


def qualify(
    lab: Lab, *, minutes: float = MINUTES, long: bool = False, anew: bool = False,
    open_testbed: OpenTestbed | None = None,
) -> list[str]:  # fmt: skip
    """Measure noise and known loads, store what the machine can detect, and return it as lines.

    After an interruption the same command continues. Every attempt stays in the list of attempts, whatever its
    result, and the sentence to cite names them all.

    Raises ``SettingsError`` where the time is too short, ``RefusedError`` where an unfinished attempt was planned
    otherwise, ``LabError`` where an experiment could not be completed.
    """
    plan = effort(lab.root, minutes, long=long)
    progress = _begin(lab, plan, anew=anew)
    say(announcement(plan))
    for kind, name in STUDIES.items():
        if not _finished(progress.bundles.get(kind, "")):
            bundle = _run(lab, progress, kind, name, plan, open_testbed)
            progress = dataclasses.replace(progress, bundles={**progress.bundles, kind: str(bundle)})
            _store(lab, progress)
    result = conclude(lab.root, progress, plan, qualification.attempts(lab))
    noise_curve.save(lab, result.curve)
    qualification.save(lab, result)
    qualification.remember(lab, result.attempt())
    (lab.dir / PROGRESS).unlink()
    return [
        *qualification.lines(result),
        f"stored in {lab.dir / qualification.FILE} and {lab.dir / noise_curve.FILE}; plans use them",
        result.sentence,
    ]


def _begin(lab: Lab, plan: Effort, *, anew: bool) -> Progress:
    """Return the attempt to continue, or begin one; an unfinished one that is given up is remembered."""
    path = lab.dir / PROGRESS
    progress = state_files.read(
        path, Progress.from_dict, what="the progress of a qualification,", then="invoke experiment.qualify",
        schema=PROGRESS_SCHEMA,
    )  # fmt: skip
    if progress is not None and anew:
        qualification.remember(lab, Attempt(progress.at, "given up before its end", progress.bundles))
        progress = None
    if progress is not None:
        if (progress.minutes, progress.long) != (plan.minutes, plan.long):
            asked = f"--minutes {progress.minutes:g}{' --long' if progress.long else ''}"
            raise RefusedError(
                f"an attempt to qualify this machine is unfinished, and it was started with {asked}",
                hint=f"invoke experiment.qualify {asked} continues it; {ANEW}",
            )
        return progress
    progress = Progress(_now(), plan.minutes, plan.long, {})
    _store(lab, progress)
    return progress


def _store(lab: Lab, progress: Progress) -> None:
    write_json(lab.dir / PROGRESS, {"schema": PROGRESS_SCHEMA, **dataclasses.asdict(progress)})


def _run(
    lab: Lab, progress: Progress, kind: str, name: str, plan: Effort, open_testbed: OpenTestbed | None
) -> Path:  # fmt: skip
    """Run one of both experiments; where too many of its runs fail, that is the result of the attempt."""
    before = set(lab.results.glob(f"{name}-*/manifest.json"))
    say(f"qualify: {name}, {plan.pairs[kind]} pairs")
    try:
        return run(lab, name, pairs=plan.pairs[kind], size=plan.size(kind), open_testbed=open_testbed)
    except LabError as error:
        finished = set(lab.results.glob(f"{name}-*/manifest.json")) - before
        if finished:
            bundles = {**progress.bundles, kind: str(finished.pop().parent)}
            qualification.remember(lab, Attempt(progress.at, f"not finished: {error.message}", bundles))
            (lab.dir / PROGRESS).unlink()
        raise


def conclude(root: Path, progress: Progress, plan: Effort, earlier: tuple[Attempt, ...]) -> Qualification:
    """Compute what the machine can detect from the two finished bundles.

    Raises ``LabError`` where a window cannot be read in parts.
    """
    noise, ladder = (Bundle.open(Path(progress.bundles[kind])) for kind in STUDIES)
    study = load_study(root, STUDIES["noise"])
    ladder_study = Study.model_validate((ladder.plan.model_extra or {})["definition"])
    outcomes = ["node_cpu_seconds", *(["node_joules"] if noise.manifest.source == "rapl" else [])]
    lengths = [*LENGTHS, *([ASKED] if plan.long else [])]
    at = _now()
    curve = NoiseCurve(at, tuple(_rows(noise, outcomes, lengths)), dict(noise.manifest.versions))
    return Qualification(
        at=at,
        source=noise.manifest.source,
        minutes=plan.minutes,
        pairs=plan.pairs,
        curve=curve,
        same=tuple(_same(noise, study, arm) for arm in study.arms),
        ladder=tuple(rung for outcome in outcomes for rung in _ladder(ladder, ladder_study, outcome)),
        slot_seconds=float(ladder_study.levels_of(ladder_study.arms[0])["slot_seconds"]),
        bundles=progress.bundles,
        warnings=tuple(f"{check.name}: {check.detail}" for check in noise.manifest.checks if check.status != "ok"),
        versions=dict(noise.manifest.versions),
        earlier=earlier,
    )


def _rows(bundle: Bundle, outcomes: list[str], lengths: list[float]) -> list[NoiseRow]:
    runs, rows = _done(bundle), []
    around = _pair_seconds(bundle) - 2 * bundle.plan.window_seconds
    for outcome in outcomes:
        for seconds in lengths:
            for arm in bundle.plan.arms:
                values = [_values(bundle, each, seconds, outcome) for each in runs if each.arm == arm]
                scatter = machine_noise.spread(values)
                if scatter is not None:
                    free = max(1, int(scatter.free + 1e-9))
                    sd = 1000 * scatter.sd / seconds
                    rows.append(
                        NoiseRow(seconds, arm, free + 1, sd, pair_seconds=around + 2 * seconds, outcome=outcome)
                    )
    return rows


def _pair_seconds(bundle: Bundle) -> float:
    """Return how long a pair took, from the start of one to the start of the next; as planned for a single pair."""
    runs = _done(bundle)
    starts = sorted(run.t0_ms for run in runs)
    if len(starts) < 3:
        return float((bundle.plan.model_extra or {})["estimated_seconds"])
    return 2 * (starts[-1] - starts[0]) / 1000 / (len(starts) - 1)


def _same(bundle: Bundle, study: Study, arm: str) -> SameTwice:
    outcome, margin, seconds = study.primary.outcome, study.primary.margin, LENGTHS[0]
    if margin is None:
        raise SettingsError(f"the study {study.name} has no primary.margin, which its A/A is judged by")
    values = [_values(bundle, run, seconds, outcome) for run in _done(bundle) if run.arm == arm]
    return machine_noise.same_twice(arm, outcome, seconds, values, margin.per_window(0, seconds))


def _ladder(bundle: Bundle, study: Study, outcome: str) -> tuple[Rung, ...]:
    runs = []
    for each in _done(bundle):
        levels = study.levels_of(each.arm)
        rungs = loads(str(levels["loads"]))
        values = _values(bundle, each, float(levels["slot_seconds"]), outcome)
        runs.append(list(zip(rungs, values[: len(rungs)], strict=True)))
    return machine_noise.ladder(outcome, runs)


def _values(bundle: Bundle, run: Run, seconds: float, outcome: str) -> list[float]:
    from hardwatt.instruments.parts import slots

    return [figure.value for figure in slots(bundle, run, seconds, outcome)]


def _done(bundle: Bundle) -> list[Run]:
    return [run for run in bundle.runs if run.status == "done"]


def _finished(bundle: str) -> bool:
    return bool(bundle) and (Path(bundle) / "manifest.json").exists()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
