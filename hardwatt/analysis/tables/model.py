"""results.json of a table, as types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hardwatt.analysis.sections import (
    ByArm,
    Check,
    EquivalenceResult,
    Exclusion,
    FiveNumbers,
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
class TableSource(Section):
    """The file that the values come from, and how it was read."""

    file: str
    sha256: Sha256
    kind: str
    """``plain``, or the tool that wrote the file."""
    encoding: str
    separator: str
    decimal: str
    compression: str
    rows: ResultFigure
    """Rows of the table that the filters keep."""
    copy: str
    """Name of the copy beside the results; empty if none was made."""


@dataclass(frozen=True)
class SeenColumn(Section):
    """A column and what it was used for."""

    name: str
    kind: Literal["number", "text", "constant", "empty"]
    distinct: ResultFigure
    blanks: ResultFigure
    levels: list[str]
    """The first of its different values."""
    role: str
    """``value``, ``arm``, ``factor``, ``pair``, ``order``, ``filter`` or empty."""


@dataclass(frozen=True)
class Cell(Section):
    """An arm in one combination of the further factors."""

    arm: str
    levels: list[str]
    n: ResultFigure


@dataclass(frozen=True)
class TableDesign(Section):
    """The design that the answer rests on."""

    value: str
    arm: str
    factors: list[str]
    pair: list[str]
    order: str
    paired: bool
    columns: list[SeenColumn]
    cells: list[Cell]
    repetitions: ResultFigure
    """The most rows of an arm in one cell, or in one pair."""
    guessed: list[str]
    """Options that were recognised and not given."""
    command: str
    """The command line that states every option."""


@dataclass(frozen=True)
class Sample(Section):
    """The values of one arm."""

    arm: str
    n: ResultFigure
    mean: ResultFigure
    deviation: ResultFigure
    five: FiveNumbers
    flagged: ResultFigure
    """Rows far from the median of their cell."""
    points: list[ResultFigure]
    """Values for a plot: all of few, evenly chosen by rank of many."""


@dataclass(frozen=True)
class Stratum(Section):
    """A contrast inside one combination of the further factors."""

    levels: list[str]
    n: ByArm
    estimate: ResultFigure | None
    """Null if an arm is missing or too small here."""
    why: str


@dataclass(frozen=True)
class TableContrast(Section):
    """One arm against the baseline. Intervals have the level that all contrasts share."""

    arm: str
    baseline: str
    direction: str
    headline: bool
    n: ByArm
    estimate: ResultFigure
    method: str
    p: ResultFigure | None
    adjusted: ResultFigure | None
    """By Holm over the contrasts; equal to p for one contrast."""
    relative: ResultFigure
    shift: ResultFigure | None
    shift_method: str
    rank: ResultFigure | None
    rank_method: str
    dominance: ResultFigure | None
    """Cliff's delta, or of pairs the rank-biserial correlation."""
    size: ResultFigure | None
    """Hedges' g, or of pairs the mean over the standard deviation of the differences."""
    without_flagged: ResultFigure | None
    """The estimate without the flagged rows; null if none is flagged."""
    strata: list[Stratum]
    word: VerdictWord


@dataclass(frozen=True)
class ReasonCount(Section):
    """Number of rows that were left out for one reason."""

    reason: str
    rows: ResultFigure


@dataclass(frozen=True)
class TableResults(Section):
    """results.json of somebody else's table (hardwatt table)."""

    schema: Literal["hardwatt.table/2"]
    arms: list[str]
    n: ResultFigure
    primary: Primary
    """The headline: one of the contrasts, adjusted as they are."""
    verdict: Verdict
    contrasts: list[TableContrast]
    together: list[Robust]
    """Tests of all arms at once; empty for two arms."""
    samples: list[Sample]
    pairs: list[PairResult]
    """At most 500."""
    equivalence: EquivalenceResult | None
    robustness: list[Robust]
    """The headline's difference by other means."""
    checks: list[Check]
    exclusions: list[Exclusion]
    """At most 200."""
    excluded: list[ReasonCount]
    design: TableDesign
    methods: str
    """A paragraph for a paper, made of the design and the statistics."""
    versions: dict[str, str]
    seed: ResultFigure
    table: TableSource
    notes: list[str]
