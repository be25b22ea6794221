"""Smallest effects that a machine can detect: the stored result of ``experiment.qualify``, which plans use."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.experiment.plan.sample_size import detectable, needed
from hardwatt.experiment.plan.study_file import square_size
from hardwatt.experiment.plan.study_model import UNITS, Study

FILE, SCHEMA = "qualification.json", 1


@dataclasses.dataclass(frozen=True)
class Noise:
    """Scatter of one outcome's paired differences on this machine where the arms are the same."""

    sd: float
    sd_upper: float
    """Upper 80 % bound; plans use it."""
    mean: float
    low: float
    high: float
    """The mean difference of the A/A series with its 95 % interval, which should hold zero."""


@dataclasses.dataclass(frozen=True)
class Recovered:
    """Effect that the positive control measured, in the primary's unit for one window."""

    known: float
    measured: float
    """``found`` in the file."""
    low: float
    high: float

    @property
    def right(self) -> bool:
        """Return whether the interval holds the known effect and not zero."""
        slack = 1e-11 * abs(self.known)  # a bound that differs by rounding alone holds the effect
        return self.low - slack <= self.known <= self.high + slack and self.low > 0

    def to_dict(self) -> dict[str, float]:
        """Return what ``qualification.json`` holds."""
        return {"known": self.known, "found": self.measured, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, data: Mapping[str, float]) -> "Recovered":
        """Return what ``to_dict`` gave."""
        return cls(data["known"], data["found"], data["low"], data["high"])


@dataclasses.dataclass(frozen=True)
class Qualification:
    """One machine, qualified."""

    at: str
    study: str
    outcome: str
    window_seconds: float
    commits: int
    pairs: int
    pair_seconds: float
    """How long one pair takes, gates and clean-up included."""
    hours: float
    source: str
    noise: Mapping[str, Noise]
    """By outcome."""
    positive: Recovered
    bundles: Mapping[str, str]
    """Folders of the two bundles, by ``a/a`` and ``positive``."""
    warnings: tuple[str, ...]
    """Host checks that warned."""
    versions: Mapping[str, str]

    @property
    def pairs_in_hours(self) -> int:
        """Return the number of pairs that fit into ``hours``."""
        return int(self.hours * 3600 // self.pair_seconds)

    @property
    def per_window(self) -> float | None:
        """Smallest detectable effect in one window after ``hours``, in the primary's unit; None: too few pairs."""
        return detectable(self.noise[self.outcome].sd_upper, self.pairs_in_hours)

    @property
    def problems(self) -> list[str]:
        """Return why this machine is not fit, in sentences; empty where it is."""
        own, unit = self.noise[self.outcome], UNITS[self.outcome]
        reasons = []
        if own.low > 0 or own.high < 0:
            reasons.append(
                f"two arms that are the same differ by {own.mean:.3g} {unit} in a window "
                f"({own.low:.3g} to {own.high:.3g})"
            )
        if not self.positive.right:
            reasons.append(
                f"a known {self.positive.known:.3g} {unit} were measured as {self.positive.measured:.3g} "
                f"({self.positive.low:.3g} to {self.positive.high:.3g})"
            )
        if self.per_window is None:
            reasons.append(f"only {self.pairs_in_hours} pairs fit into {self.hours:g} h")
        elif self.per_window > self.positive.known:
            reasons.append(
                f"in {self.hours:g} h an effect below {self.per_window:.3g} {unit} in a window stays unseen, and the "
                f"positive control's {self.positive.known:.3g} is one"
            )
        return reasons

    @property
    def sentence(self) -> str:
        """The figure to cite, or "not here" with its reasons."""
        if self.problems:
            return f"Not here: {'; '.join(self.problems)}."
        assert self.per_window is not None
        value, unit = per_deployment(self.per_window, self.commits, self.window_seconds, self.outcome)
        return (
            f"This machine detects at least {value:.3g} {unit} in {self.hours:g} hours "
            f"({self.pairs_in_hours} pairs of {self.window_seconds:g} s windows, power 0.8 at a two-sided level of "
            f"0.05, from the upper 80 % bound of the standard deviation of {self.pairs} A/A differences; "
            f"{UNITS[self.outcome]} {self.source if self.outcome == 'node_joules' else 'counted by the kernel'})."
        )

    def sd_for(self, study: Study) -> float | None:
        """Return the upper bound of the standard deviation for a study's primary outcome and window.

        Scaled with the root of the window's length, as noise that does not hang together grows. None
        where the outcome was not measured.
        """
        own = self.noise.get(study.primary.outcome)
        if own is None:
            return None
        return own.sd_upper * math.sqrt(study.estimand.window_seconds / self.window_seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``qualification.json`` holds."""
        fields = {**dataclasses.asdict(self), "positive": self.positive.to_dict()}
        return {"schema": SCHEMA, **fields, "sentence": self.sentence, "problems": self.problems}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Qualification":
        fields = {key: value for key, value in data.items() if key not in ("schema", "sentence", "problems")}
        noise = {name: Noise(**values) for name, values in fields["noise"].items()}
        positive, warnings = Recovered.from_dict(fields["positive"]), tuple(fields["warnings"])
        return cls(**{**fields, "noise": noise, "positive": positive, "warnings": warnings})


def per_deployment(value: float, commits: int, seconds: float, outcome: str) -> tuple[float, str]:
    """Return an effect in a window (CPU-s or J) in the unit that people compare: per deployment, or per time."""
    unit = "CPU-ms" if outcome == "node_cpu_seconds" else "mJ"
    if commits:
        return 1000 * value / commits, f"{unit} per deployment"
    return 1000 * value / seconds, "CPU-ms per s" if unit == "CPU-ms" else "mW"


def load(lab: Lab) -> Qualification | None:
    """Return what the lab's machine was qualified for, or None where it never was."""
    what = "the qualification of the lab's machine,"
    return state_files.read(
        lab.dir / FILE, Qualification.from_dict, what=what, then="invoke experiment.qualify", schema=SCHEMA
    )


def save(lab: Lab, qualification: Qualification) -> None:
    """Store a result in the lab's folder, in place of the one before."""
    write_json(lab.dir / FILE, qualification.to_dict())


def blocks_for(study: Study, qualification: Qualification | None) -> int:
    """Return how many blocks a full run of a study needs: its number, or what its target takes on this machine.

    Raises ``LabError`` where a target is given and the machine is not qualified for the outcome.
    """
    if study.design.full_pairs is not None:
        return study.design.full_pairs
    assert study.design.target is not None  # one of the two is there, or the study was refused
    sd = qualification.sd_for(study) if qualification else None
    if not sd:
        raise LabError(
            f"the study {study.name} asks for pairs enough to see {study.design.target:g} {study.primary.unit}, and "
            "this machine was not qualified",
            hint="invoke experiment.qualify, or give --pairs",
        )
    blocks = needed(sd, study.design.target)
    group = square_size(study)
    return math.ceil(blocks / group) * group
