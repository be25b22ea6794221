"""A study: what a researcher writes in ``experiments/studies/NAME.toml``, typed.

``hardwatt.experiment.plan.study_file`` reads the file and refuses what does not fit together before anything runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from hardwatt.config import kinds
from hardwatt.config.settings import parse

STUDIES = Path("experiments/studies")
ARMS = Path("experiments/arms")
WORKLOADS = Path("experiments/workloads")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Positive = Annotated[float, Field(gt=0, le=86_400)]
Level = bool | int | float | str
Order = Literal["auto", "randomised", "abba", "williams"]
Exclusion = Literal["pod-restarted", "throttled"]
MarginUnit = Literal["CPU-ms per deployment", "CPU-ms per s", "mJ per deployment", "mW"]
UNITS = {"node_cpu_seconds": "CPU-s", "node_joules": "J"}

ALWAYS_EXCLUDED = (
    "the arm could not be prepared, or its first delivery was not Ready in time",
    "the window is not T long in the node's clock",
    "the samples of the window are not complete",
    "the run was interrupted",
)
"""Causes for which a run is always a failed row, in every study; its pair is repeated."""
EXCLUSIONS: Mapping[Exclusion, str] = {
    "pod-restarted": "a container of the cluster restarted inside the window",
    "throttled": "the processor reports that heat slowed it down inside the window",
}
"""Further causes, which a study declares in advance."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimand(_Section):
    """The exact comparison."""

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


class ArmSetting(_Section):
    """Settings behind an arm's name, where that is more than the file of the same name."""

    use: Name | None = None
    """The file ``experiments/arms/USE.py``; left out: the arm's own name."""
    levels: dict[str, Level] = {}
    """Level of each factor. One that is a key of the study (``flux.interval_seconds``) is set for this
    arm alone; the arm's code reads any other with ``context.level(NAME)``."""


class Workload(_Section):
    """The application that is delivered."""

    app: Name = "app"
    image: Annotated[
        str, Field(max_length=255, pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$")
    ] = "hardwatt.dev/app"
    """Repository name of an image of the mirror; its digest comes from the mirror's index."""
    namespace: Name = "workload"
    manifests: kinds.PathBelow = "app"
    """Folder under ``experiments/workloads`` that is committed to the workload repository."""
    replicas: int = Field(1, ge=0, le=200)
    copies: int = Field(1, ge=1, le=1000)
    """How many times an arm that pulls delivers the application, each with a Kustomization of its own. A
    revision is Ready when all of them are."""


class Trace(_Section):
    """When commits are made, counted from the start of the window; the same in every arm of a block."""

    kind: Literal["commits", "drifts"] = "commits"
    """``drifts``: nothing is committed; at those times the Deployment is changed by hand instead (one more
    replica, another revision's name), and "Ready" is when it is again as the repository has it."""
    commits: int = Field(ge=0, le=1000)
    """0 for a study of what runs while nothing is committed."""
    commits_by_block: tuple[Annotated[int, Field(ge=0, le=1000)], ...] = ()
    """Numbers of commits that the blocks take turns in, in a seeded order (for a break-even rate);
    the largest is ``commits``. Left out: every block has ``commits``."""
    first_seconds: Seconds = 2.0
    spacing_seconds: Positive = 1.0
    jitter_seconds: Seconds = 0.0
    """Each commit is moved later by a seeded uniform share of this."""
    may_coalesce: bool = False
    """True where commits may meet the delivery of the one before: then not every revision becomes Ready."""

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of commits that windows can have."""
        return self.commits_by_block or (self.commits,)


class Margin(_Section):
    """Largest difference that counts as none."""

    value: Annotated[float, Field(gt=0)]
    unit: MarginUnit
    """Of the primary outcome: CPU-ms for CPU-seconds, mJ or mW for joules."""
    because: Annotated[str, Field(min_length=20)]
    """Why a smaller difference does not matter to anybody."""
    plausible: Annotated[float, Field(gt=0)]
    """The whole effect that could be expected, in the same unit; a larger margin would prove nothing."""

    def per_window(self, commits: int, seconds: float) -> float:
        """Return the margin in the primary's unit (CPU-s or J) for one window."""
        return self.value / 1000 * (commits if self.unit.endswith("per deployment") else seconds)


class Primary(_Section):
    """The one outcome and the one estimator that the study is planned for."""

    outcome: Literal["node_cpu_seconds", "node_joules"] = "node_cpu_seconds"
    estimator: Literal["mean paired difference", "Hodges-Lehmann"] = "mean paired difference"
    interval: Literal["t", "studentised bootstrap", "signed rank"] = "t"
    """``signed rank`` goes with Hodges-Lehmann, the others with the mean."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    margin: Margin | None = None
    """Without one, the study never ends in "no difference"."""

    @property
    def unit(self) -> str:
        """Unit of the primary outcome in a window."""
        return UNITS[self.outcome]


class Control(_Section):
    """Says that the answer is known in advance, so that the study tests the machine and not the arms."""

    kind: Literal["a/a", "positive"]
    known: float = 0.0
    """What the second arm spends more than the first in a window, in the primary's unit."""


class Flux(_Section):
    """Intervals at which Flux polls the workload repository in a pull arm; the defaults are those of flux bootstrap."""

    interval_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """How often the GitRepository looks for a new commit; a new one is applied at once."""
    apply_interval_seconds: Annotated[int, Field(ge=1, le=36_000)] = 600
    """How often the Kustomization applies again without a new commit, which corrects drift."""
    prune: bool = False


class Design(_Section):
    """Blocks that hold every arm once; a block of two arms is a pair."""

    order: Order = "auto"
    """``randomised``: a seeded order within each block, each arm first equally often. ``abba``: pairs in
    twos, the second in the reverse order of the first. ``williams``: a Williams square, in which each arm follows
    each other one equally often. ``auto``: randomised for two arms, a Williams square for more."""
    pairs: int = Field(ge=1, le=500)
    """Blocks of a quick run."""
    full_pairs: int = Field(ge=1, le=500)
    """Blocks of a full run."""
    target: None = None
    """Not used; plans of older versions hold it, and their hashes stay."""
    max_repeats: int = Field(2, ge=0, le=50)
    """How many blocks may be repeated at the end because a run of theirs failed."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """Left out: drawn when the experiment starts, and recorded."""


class Gate(_Section):
    """Conditions that must hold before a run may start."""

    cpu_band_cores: Positive
    """Largest distance of the node's CPU use from its baseline: beyond it no run starts."""
    patience_seconds: Seconds = 15.0
    """Longest wait of a run for the much narrower band that follows from the margin (``Study.margin_cores``). Then
    it starts, and carries a flag with the size of the distance in a window."""
    covariate: bool = False
    """True: the answer is given at equal gates too, adjusted for their readings; declared before the first run."""
    power_band_watts: Positive | None = None
    """Largest distance of the node's power from its baseline, where power is measured (rapl)."""
    temperature_band_celsius: Positive = 10.0
    """Most that the processor may be warmer than at the baseline, where the host shows its temperature."""
    queue_depth: int = Field(0, ge=0, le=1000)
    """Largest sum of ``workqueue_depth`` of the controllers that run."""
    sample_seconds: Positive
    """Length of one look at the node's counters."""
    baseline_seconds: Positive
    """Length of the idle window before each block and after the last."""
    timeout_seconds: Positive

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out later keys at their defaults, so that plans of older versions keep their hashes."""
        data: dict[str, Any] = handler(self)
        later = {"patience_seconds": 15.0, "covariate": False}
        return {key: value for key, value in data.items() if key not in later or value != later[key]}


class Timing(_Section):
    """Times around the window that belong to no figure."""

    transient_seconds: Seconds
    """Thrown away after an arm was prepared and made its first delivery."""
    phase_seconds: Positive
    """A seeded uniform delay below this comes before each window, so that windows do not start in step with
    polls: at least the longest ``flux.interval_seconds``."""
    short_phase_because: str = ""
    """Why the delay may be shorter than that."""
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
    arms: Annotated[tuple[Name, ...], Field(min_length=2, max_length=8)]
    """The baseline first; differences are the others minus the first."""
    estimand: Estimand
    factors: dict[str, Annotated[tuple[Level, ...], Field(min_length=1)]] = {}
    """What differs on purpose, and its levels."""
    arm: dict[Name, ArmSetting] = {}
    workload: Workload = Workload()
    trace: Trace
    primary: Primary = Primary()
    secondaries: tuple[str, ...] = ("commit_to_ready_seconds", "deliveries_ready")
    """Outcomes of ``hardwatt.instruments`` that are reported beside the primary one, with Holm's correction."""
    control: Control | None = None
    flux: Flux = Flux()
    design: Design
    gate: Gate
    timing: Timing
    exclusions: tuple[Exclusion, ...] = ("pod-restarted", "throttled")
    """Causes beside the usual ones for which a run does not count; declared before the first run."""
    needs: tuple[str, ...] = ()
    """Parts without which the study is refused: ``image NAME`` (of the mirror), ``deployment NAMESPACE/NAME``,
    ``source rapl``, ``proc_stat node``."""
    full: dict[str, Any] = {}
    """Keys of the study that have another value in a full run, for example ``"estimand.window_seconds" = 600``."""
    notes: tuple[str, ...] = ()
    """Sentences that the report repeats, for example what an arm leaves out."""

    def code_of(self, arm: str) -> str:
        """Return the name of the file in ``experiments/arms`` that an arm uses."""
        setting = self.arm.get(arm)
        return setting.use if setting and setting.use else arm

    def levels_of(self, arm: str) -> dict[str, Level]:
        """Return the level of each factor in an arm."""
        return dict(self.arm[arm].levels) if arm in self.arm else {}

    def for_arm(self, arm: str) -> "Study":
        """Return the study as it holds in one arm: with the factors that are keys of the study set."""
        own = {key: value for key, value in self.levels_of(arm).items() if is_key(key)}
        return override(self, own, f"arm.{arm}.levels") if own else self

    def in_full(self) -> "Study":
        """Return the study as a full run has it: with ``full`` in place of the quick values."""
        return override(self, self.full, "full") if self.full else self

    @property
    def margin_cores(self) -> float | None:
        """Distance from the idle baseline that costs the margin in a window, in cores; None without such a margin."""
        margin = self.primary.margin
        if margin is None or self.primary.outcome != "node_cpu_seconds":
            return None
        seconds = self.estimand.window_seconds
        return margin.per_window(self.trace.commits, seconds) / seconds

    @property
    def order(self) -> str:
        """The order of runs within a block, ``auto`` decided."""
        if self.design.order != "auto":
            return self.design.order
        return "randomised" if len(self.arms) == 2 else "williams"


SETTABLE = ("workload", "flux")
"""Sections that a factor may set for one arm; time, trace and gates are the same in all."""


def is_key(name: str) -> bool:
    """Return whether a factor is a key of the study that may differ by arm."""
    return name.partition(".")[0] in SETTABLE and "." in name


def override(study: Study, values: Mapping[str, Any], where: str) -> Study:
    """Return the study with dotted keys set.

    Raises ``SettingsError`` naming ``where`` and the key that is unknown or has a wrong value.
    """
    data = study.model_dump()
    for key, value in values.items():
        *sections, last = key.split(".")
        place = data
        for section in sections:
            inner = place.get(section)
            place[section] = place = dict(inner) if isinstance(inner, Mapping) else {}
        place[last] = value
    return parse(Study, data, f"{study.name}, {where}")
