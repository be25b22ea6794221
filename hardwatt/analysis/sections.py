"""Sections of results that bundles and tables share, as types: one number is a `ResultFigure`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

Number = Annotated[int | float | None, WithJsonSchema({"type": ["number", "null"]})]
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Status = Literal["ok", "warning", "failed"]
VerdictWord = Literal[
    "nothing", "description", "more", "less", "different, but within the margin", "equivalent", "open"
]
BreakEvenWord = Literal["always", "never", "above", "below", "open", "unknown"]


class Section:
    """Base of all sections: unknown keys and values of another type are refused when JSON is read."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Systematic(Section):
    """The least and the most that a value may be if its counter's scale is off as published, in the value's unit."""

    low: int | float
    high: int | float


@dataclass(frozen=True)
class ResultFigure(Section):
    """One number: its unit, its source and its bounds. null: nothing is known, which is never written as zero."""

    value: Number
    unit: Text
    source: Text
    low: Number
    high: Number
    systematic: Systematic | None = None
    """The published error of the counter itself, common to all windows: neither in the bounds nor in an interval.
    Written only where an accuracy is published."""


ByArm = dict[str, ResultFigure]
"""Arm to figure."""


@dataclass(frozen=True)
class Check(Section):
    """One check of the rig or of the analysis."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True)
class Exclusion(Section):
    """A run that the estimate does not use."""

    run: str
    arm: str
    reason: str


@dataclass(frozen=True)
class Primary(Section):
    """The planned estimate. The verdict rests on it alone."""

    outcome: str
    estimator: str
    estimate: ResultFigure
    method: str
    level: ResultFigure
    direction: str
    arms: ByArm
    relative: ResultFigure
    detectable: ResultFigure


@dataclass(frozen=True)
class Verdict(Section):
    """The conclusion that the interval allows, in a word and a sentence."""

    word: VerdictWord
    why: str


@dataclass(frozen=True)
class PairResult(Section):
    """Both windows of a pair and their difference (second arm minus first)."""

    pair: str
    order: list[str]
    values: ByArm
    difference: ResultFigure
    derived: ResultFigure | None
    """Difference in joules that are derived from the outcome."""


@dataclass(frozen=True)
class AtMargin(Section):
    """The answer at a multiple of the margin."""

    times: ResultFigure
    margin: ResultFigure
    equivalent: bool
    word: VerdictWord


@dataclass(frozen=True)
class EquivalenceResult(Section):
    """Two one-sided tests against the margin of the plan."""

    margin: ResultFigure
    interval: ResultFigure
    level: ResultFigure
    p: ResultFigure
    equivalent: bool
    at: list[AtMargin] = field(default_factory=list)
    """The answer at a quarter of the margin, at the margin, and at four times of it; empty in tables."""
    because: str = ""
    """The decision that the margin was chosen for, as the plan says it."""


@dataclass(frozen=True)
class FiveNumbers(Section):
    """Percentiles 0, 25, 50, 75 and 100."""

    least: ResultFigure
    lower: ResultFigure
    median: ResultFigure
    upper: ResultFigure
    largest: ResultFigure


@dataclass(frozen=True)
class Quantile(Section):
    """One difference and the value that a normal distribution has at its place."""

    pair: str
    expected: ResultFigure
    difference: ResultFigure


@dataclass(frozen=True)
class Distribution(Section):
    """The distribution of values: describes and decides nothing."""

    arms: dict[str, FiveNumbers]
    difference: FiveNumbers
    quantiles: list[Quantile]
    normal: ResultFigure


@dataclass(frozen=True)
class Robust(Section):
    """One estimate or test by other means."""

    name: str
    figure: ResultFigure
    method: str


@dataclass(frozen=True)
class BreakEvenResult(Section):
    """The rate of commits at which both arms cost the same."""

    word: BreakEvenWord
    why: str
    rate: ResultFigure
    by_hour: ResultFigure | None
    by_commit: ResultFigure | None


@dataclass(frozen=True)
class ArmContrast(Section):
    """One further arm against the first."""

    arm: str
    direction: str
    difference: ResultFigure
    mixed: ResultFigure | None
    method: str
    p: ResultFigure | None


@dataclass(frozen=True)
class FurtherArms(Section):
    """Every arm against the first, in studies with more than two arms."""

    blocks: ResultFigure
    contrasts: list[ArmContrast]
    f: ResultFigure | None
    friedman: ResultFigure | None


@dataclass(frozen=True)
class FactorialContrast(Section):
    """One effect of two crossed factors; ``detectable`` is what a repeat would show four times in five."""

    kind: Literal["main", "simple", "interaction"]
    label: str
    paired: ResultFigure
    """From the contrast within each block alone."""
    paired_detectable: ResultFigure
    mixed: ResultFigure | None
    """From the mixed model, with the scatter of all arms."""
    mixed_detectable: ResultFigure | None
    method: str
    p: ResultFigure | None
    """Of interactions in the primary outcome, from six blocks on."""
    equivalence: EquivalenceResult | None
    """Of interactions in the primary outcome, where the plan has a margin."""


@dataclass(frozen=True)
class FactorialOutcome(Section):
    """One outcome: the mean of each arm, and every effect; CPU time and energy by the second of the window."""

    name: str
    arms: ByArm
    contrasts: list[FactorialContrast]


@dataclass(frozen=True)
class Factorial(Section):
    """Effects of two factors that the arms cross, and their interactions; the primary outcome comes first."""

    blocks: ResultFigure
    factors: dict[str, list[str]]
    """Factor to its levels, the base first."""
    outcomes: list[FactorialOutcome]
