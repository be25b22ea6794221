"""Sections of results that only a bundle has, as types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hardwatt.analysis.sections import ByArm, ResultFigure, Section, Sha256, Status


@dataclass(frozen=True)
class Contrast(Section):
    """One outcome in both arms, means over the pairs, and its paired difference (second arm minus first)."""

    name: str
    label: str
    arms: ByArm
    difference: ResultFigure
    p: ResultFigure | None


@dataclass(frozen=True)
class Joules(Contrast):
    """Energy of the node with the formula or the counter that it comes from."""

    formula: str


@dataclass(frozen=True)
class LevelMean(Section):
    """Mean of the arm at one level of a factor."""

    arm: str
    level: ResultFigure
    mean: ResultFigure


@dataclass(frozen=True)
class Scaling(Section):
    """Slope over a factor whose levels are numbers."""

    factor: str
    blocks: ResultFigure
    levels: list[LevelMean]
    slope: ResultFigure
    method: str
    by_block: ResultFigure
    by_block_method: str


@dataclass(frozen=True)
class OffTime(Section):
    """The time that something must be off before its wake-up is paid for."""

    blocks: ResultFigure
    saved: ResultFigure
    wake_up: ResultFigure
    seconds: ResultFigure
    why: str


@dataclass(frozen=True)
class Source(Section):
    """The source of energy."""

    energy: Literal["modelled", "rapl"]
    says: str
    headline: Literal["CPU-seconds", "joules"]
    formula: str
    accuracy: ResultFigure | None = None
    """Share by which the energy counter itself may be off, in all windows alike; null: none is published."""


@dataclass(frozen=True)
class Estimand(Section):
    """The estimand of the study, as the plan defines it."""

    arms: dict[str, str]
    done: str
    boundary: str
    outside: str


@dataclass(frozen=True)
class Study(Section):
    """The question, as the plan puts it that was hashed before the first run."""

    name: str
    title: str
    question: str
    estimand: Estimand
    plan_sha256: Sha256
    seed: str
    full: ResultFigure | None
    protocol_sha256: Sha256 | None = None
    """SHA-256 of the protocol that all sessions of the experiment share; null in older bundles."""
    session: str | None = None
    """Number of this session: a bundle is one session."""


@dataclass(frozen=True)
class DeliveryCounts(Section):
    """The outcomes of an arm's commits, and the time from commit to Ready."""

    commits: ResultFigure
    ready: ResultFigure
    late: ResultFigure
    coalesced: ResultFigure
    failed: ResultFigure
    median: ResultFigure
    longest: ResultFigure


@dataclass(frozen=True)
class ArmSummary(DeliveryCounts):
    """One arm: what ran, how many windows, what became of the commits."""

    name: str
    describes: str
    windows: ResultFigure


@dataclass(frozen=True)
class CommitResult(Section):
    """One commit that became Ready."""

    run: str
    arm: str
    commit: int
    status: str
    figure: ResultFigure


@dataclass(frozen=True)
class DeliveryResult(Section):
    """The outcome of every commit."""

    arms: dict[str, DeliveryCounts]
    commits: list[CommitResult]


@dataclass(frozen=True)
class Limit(Section):
    """Something that the answer does not show."""

    says: str
    source: str


@dataclass(frozen=True)
class Gate(Section):
    """The time that a run waited to start, and the load of the node then and at its baseline."""

    waited: ResultFigure
    cores: ResultFigure
    baseline: ResultFigure


@dataclass(frozen=True)
class CarryOver(Section):
    """The node's level at the gates of both arms: what is left of what ran before."""

    arms: ByArm
    """Mean reading at the gates of each arm."""
    after: dict[str, ResultFigure]
    """Mean reading by the arm of the run before."""
    difference: ResultFigure
    """Second arm minus first, in the reading's unit; an interval from six pairs on."""
    size: ResultFigure
    """The same for one window, in the answer's unit."""
    depends: bool
    """True if all gates of one arm are above all of the other, or the interval does not hold zero."""
    says: str
    adjusted: ResultFigure | None
    """The estimate at equal gates; only where the study declared the gate a covariate."""
    declared: bool


@dataclass(frozen=True)
class RunResult(Section):
    """One recorded run."""

    position: int
    run: str
    pair: str
    arm: str
    counts: bool
    """False for a recorded run that the estimate does not use."""
    flags: list[str]
    figure: ResultFigure
    gate: Gate | None


@dataclass(frozen=True)
class Asked(Section):
    """Limits of a cross-check."""

    least: ResultFigure | None
    most: ResultFigure | None


@dataclass(frozen=True)
class CrosscheckResult(Section):
    """Two instruments against each other: median and extremes over the windows."""

    name: str
    label: str
    figure: ResultFigure
    arms: dict[str, ResultFigure | None]
    asked: Asked
    status: Status
    sentence: str


@dataclass(frozen=True)
class SciRow(Section):
    """Carbon per unit; marginal is null where the node's floor is not known."""

    per: str
    reserved: ByArm
    marginal: ByArm | None
    difference: ResultFigure


@dataclass(frozen=True)
class SciResult(Section):
    """Software Carbon Intensity with its settings."""

    rows: list[SciRow]
    settings: dict[str, ResultFigure]
    floor: ResultFigure
    says: str
