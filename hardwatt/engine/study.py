"""A study: what a researcher writes in ``experiments/studies/NAME.toml``, typed and checked.

Every key is known or refused with the nearest known one; what does not fit together (a trace that
runs past the window, an arm without a description) is refused before anything runs.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hardwatt.errors import SettingsError
from hardwatt.settings import parse

STUDIES = Path("experiments/studies")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Positive = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimand(_Section):
    """What exactly is compared."""

    window_seconds: Positive
    """T: the length of every window, the same in each arm."""
    done: str
    """What counts as a delivered revision."""
    boundary: str
    """Whose energy or CPU time is counted."""
    outside: str
    """What is not counted, or reported apart."""
    arms: dict[Name, str]
    """What runs during the window, one sentence per arm."""


class Workload(_Section):
    """The application that is delivered."""

    app: Name = "app"
    image: str = "hardwatt.dev/app"
    """Repository name of an image of the mirror; its digest comes from the mirror's index."""
    namespace: Name = "workload"
    manifests: str = "app"
    """Folder under ``experiments/workloads`` that is committed to the workload repository."""
    replicas: int = Field(1, ge=1, le=50)


class Trace(_Section):
    """When commits are made, counted from the start of the window."""

    commits: int = Field(ge=1, le=1000)
    first_seconds: Seconds
    spacing_seconds: Positive
    jitter_seconds: Seconds = 0.0
    """Each commit is moved later by a seeded uniform share of this."""
    may_coalesce: bool = False
    """True where commits may meet the delivery of the one before: then not every revision becomes Ready."""


class Primary(_Section):
    """The one outcome and the one estimator that the study is planned for."""

    outcome: Literal["node_cpu_seconds", "node_joules"] = "node_cpu_seconds"
    estimator: Literal["mean paired difference"] = "mean paired difference"
    interval: Literal["t"] = "t"
    confidence: float = Field(0.95, gt=0.5, lt=1)


class Flux(_Section):
    """How Flux watches the workload repository in a pull arm."""

    interval_seconds: Annotated[int, Field(ge=1, le=3600)]
    """How often the GitRepository looks for a new commit; a new one is applied at once."""
    apply_interval_seconds: Annotated[int, Field(ge=1, le=36_000)]
    """How often the Kustomization applies again without a new commit, which corrects drift."""
    prune: bool = False


class Design(_Section):
    """Randomised pairs: each block holds every arm once, in a seeded order."""

    pairs: int = Field(ge=1, le=500)
    full_pairs: int = Field(ge=1, le=500)
    max_repeats: int = Field(2, ge=0, le=50)
    """How many pairs may be repeated at the end because a run of theirs failed."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """Left out: drawn when the experiment starts, and recorded."""


class Gate(_Section):
    """What must hold before a run may start."""

    cpu_band_cores: Positive
    """Largest distance of the node's CPU use from its baseline."""
    sample_seconds: Positive
    """Length of one look at the node's CPU counter."""
    baseline_seconds: Positive
    """Length of the idle window that the baseline is taken from, before the first run."""
    timeout_seconds: Positive


class Timing(_Section):
    """Times around the window that belong to no figure."""

    transient_seconds: Seconds
    """Thrown away after an arm was prepared and made its first delivery."""
    phase_seconds: Positive
    """A seeded uniform delay below this comes before each window, so that windows do not start in step with polls."""
    rollout_seconds: Positive
    """The longest that a revision is expected to take from the start of its delivery to Ready."""
    ready_timeout_seconds: Positive
    """How long the delivery before the window may take."""
    settle_timeout_seconds: Positive
    """How long the clean-up of an arm may take."""


class Study(_Section):
    """One study file. ``name`` is the file's name."""

    name: Name
    title: str
    question: str
    arms: tuple[Name, Name]
    estimand: Estimand
    workload: Workload = Workload()
    trace: Trace
    primary: Primary = Primary()
    flux: Flux
    design: Design
    gate: Gate
    timing: Timing
    notes: tuple[str, ...] = ()
    """Sentences that the report repeats, for example what an arm leaves out."""


def problems(study: Study) -> list[str]:
    """Return what does not fit together in a study, each with its key; empty where all is well."""
    found = []
    if study.arms[0] == study.arms[1]:
        found.append("arms: the two arms must differ")
    for arm in sorted(set(study.arms) - set(study.estimand.arms)):
        found.append(f"estimand.arms: no description of the arm {arm!r}")
    for arm in sorted(set(study.estimand.arms) - set(study.arms)):
        found.append(f"estimand.arms: {arm!r} is not one of the arms {', '.join(study.arms)}")
    return found + _trace_problems(study)


def _trace_problems(study: Study) -> list[str]:
    """Return how commits could meet each other or the end of the window."""
    trace, window = study.trace, study.estimand.window_seconds
    deliver = study.flux.interval_seconds + study.timing.rollout_seconds
    needs = f"one delivery takes up to {deliver:g} s (flux.interval_seconds + timing.rollout_seconds)"
    found = []
    apart = trace.spacing_seconds - trace.jitter_seconds
    if trace.commits > 1 and apart < deliver and not trace.may_coalesce:
        found.append(
            f"trace.spacing_seconds: commits may come {apart:g} s apart, but {needs}; "
            "trace.may_coalesce = true allows it"
        )
    last = trace.first_seconds + (trace.commits - 1) * trace.spacing_seconds + trace.jitter_seconds
    if last + deliver > window:
        found.append(
            f"estimand.window_seconds: the window ends at {window:g} s, the last commit comes at up to {last:g} s "
            f"and {needs}"
        )
    return found


def list_studies(root: Path) -> list[str]:
    """Return the names of the studies of a checkout, sorted."""
    return sorted(path.stem for path in (root / STUDIES).glob("*.toml"))


def load_study(root: Path, name: str) -> Study:
    """Read a study by name.

    Raises ``SettingsError`` for an unknown study, broken TOML, an unknown key (with the nearest
    known one) and values that do not fit together.
    """
    path = root / STUDIES / f"{name}.toml"
    known = list_studies(root)
    if name not in known:
        raise SettingsError(
            f"unknown study {name!r}; known studies: {', '.join(known) or 'none'}", hint="invoke experiment.list"
        )
    return read_study(path)


def read_study(path: Path) -> Study:
    """Read a study file; see ``load_study``."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", hint="see experiments/README.md") from error
    if "name" in data:
        raise SettingsError(f"{path}: the name of a study is its file's name; leave the key 'name' out")
    study = parse(Study, {**data, "name": path.stem}, str(path))
    if found := problems(study):
        raise SettingsError(f"{path}: " + "; ".join(found), hint=f"mend {path} and run the command again")
    return study
