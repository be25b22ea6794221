"""The results as types: what analysis hands to the report, and what the JSON schemas are derived from.

`hardwatt.analysis.contract` reads and writes these types as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hardwatt.analysis.bundle_sections import (
    ArmSummary,
    CarryOver,
    Contrast,
    CrosscheckResult,
    DeliveryResult,
    Joules,
    Limit,
    OffTime,
    RunResult,
    Scaling,
    SciResult,
    Source,
    Study,
)
from hardwatt.analysis.sections import (
    BreakEvenResult,
    Check,
    Distribution,
    EquivalenceResult,
    Exclusion,
    Factorial,
    FurtherArms,
    PairResult,
    Primary,
    ResultFigure,
    Robust,
    Section,
    Sha256,
    Verdict,
    VerdictWord,
)


@dataclass(frozen=True)
class Results(Section):
    """results.json of a bundle. The same bundle gives the same bytes under the same versions of the packages."""

    schema: Literal["hardwatt.results/1"]
    departures: list[str]
    """Everything that was analysed other than planned; empty: as planned."""
    source: Source
    study: Study
    window: ResultFigure
    n: ResultFigure
    arms: list[ArmSummary]
    primary: Primary
    per_commit: ResultFigure | None
    verdict: Verdict
    limits: list[Limit]
    pairs: list[PairResult]
    distribution: Distribution | None
    runs: list[RunResult]
    joules: Joules | None
    crosschecks: list[CrosscheckResult]
    namespaces: list[Contrast]
    totals: list[Contrast]
    secondaries: list[Contrast]
    """From six pairs on with p by Holm over the planned ones."""
    units: list[Contrast]
    """Services of the node outside pods; a breakdown, not tested."""
    kepler: list[Contrast]
    """Joules of pods by Kepler, by namespace; biased, see the cross-checks; not tested."""
    incomplete: list[str]
    delivery: DeliveryResult
    robustness: list[Robust]
    equivalence: EquivalenceResult | None
    sci: SciResult | None
    break_even: BreakEvenResult
    several: FurtherArms | None
    scaling: Scaling | None
    off_time: OffTime | None
    fetches: dict[str, dict[str, ResultFigure]]
    """Arm to fetches by the name of the key."""
    checks: list[Check]
    exclusions: list[Exclusion]
    versions: dict[str, str]
    host: dict[str, str]
    again: list[str]
    factorial: Factorial | None = None
    """Effects of two crossed factors with their interactions; null: the arms do not cross two factors."""
    carry_over: CarryOver | None = None


@dataclass(frozen=True)
class ComparedBundle(Section):
    """The answer of one bundle among several."""

    name: str
    study: str
    source: Literal["modelled", "rapl"]
    n: ResultFigure
    window: ResultFigure
    estimate: ResultFigure
    relative: ResultFigure
    per_commit: ResultFigure | None
    detectable: ResultFigure
    verdict: VerdictWord
    warnings: list[str]


@dataclass(frozen=True)
class AgainstFirst(Section):
    """The difference of the arms in a bundle, compared with that in the first."""

    name: str
    difference: ResultFigure
    method: str


@dataclass(frozen=True)
class Together(Section):
    """All bundles together."""

    estimate: ResultFigure
    method: str
    same: ResultFigure
    between: ResultFigure


@dataclass(frozen=True)
class Differs(Section):
    """A fact that is not the same in every bundle; bundle to value."""

    what: str
    values: dict[str, str]


@dataclass(frozen=True)
class Comparison(Section):
    """compare.json of several bundles (hardwatt compare)."""

    schema: Literal["hardwatt.compare/1"]
    arms: list[str]
    outcome: str
    direction: str
    level: ResultFigure
    bundles: list[ComparedBundle]
    against_first: list[AgainstFirst]
    together: Together | None
    """Null below three bundles with two pairs or more."""
    differs: list[Differs]
    notes: list[str]


@dataclass(frozen=True)
class PooledSession(Section):
    """One session: its bundle, its machine, and the mean of its paired differences."""

    name: str
    session: str
    machine: str
    started: str
    n: ResultFigure
    estimate: ResultFigure
    warnings: list[str]
    before: str
    """Change of the lab before it."""


PoolWord = Literal["description", "more", "less", "negligible", "equivalent", "open"]


@dataclass(frozen=True)
class PooledVerdict(Section):
    """The conclusion that the interval over sessions allows, in a word and a sentence."""

    word: PoolWord
    why: str


@dataclass(frozen=True)
class PooledMargin(Section):
    """Two one-sided tests over sessions against a multiple of the plan's margin."""

    times: int | float
    """Of the plan's margin: a quarter, once, four times."""
    margin: ResultFigure
    interval: ResultFigure
    p: ResultFigure
    equivalent: bool


@dataclass(frozen=True)
class PooledMachine(Section):
    """The sessions of one machine."""

    name: str
    n: ResultFigure
    mean: ResultFigure


@dataclass(frozen=True)
class MoreSessions(Section):
    """Half the width of the interval that so many sessions would give."""

    n: ResultFigure
    half_width: ResultFigure


@dataclass(frozen=True)
class PooledSessions(Section):
    """pool.json of several sessions of one protocol (hardwatt pool)."""

    schema: Literal["hardwatt.pool/1"]
    study: str
    protocol_sha256: Sha256
    arms: list[str]
    outcome: str
    direction: str
    level: ResultFigure
    n: ResultFigure
    estimate: ResultFigure
    method: str
    verdict: PooledVerdict
    margins: list[PooledMargin]
    """Empty where the plan gives no margin."""
    within: ResultFigure
    """Standard deviation of paired differences within sessions."""
    between: ResultFigure
    """Standard deviation between sessions beyond what pairs explain."""
    between_machines: ResultFigure
    sessions: list[PooledSession]
    machines: list[PooledMachine]
    more: list[MoreSessions]
    notes: list[str]
