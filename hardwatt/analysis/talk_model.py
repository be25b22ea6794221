"""The talk of 2022 as types: its published values, and what is computed from them.

Every number has its unit in its name: mW, mJ, kWh, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hardwatt.analysis.sections import ResultFigure, Section

Zone = Literal["package", "dram"]


@dataclass(frozen=True)
class PrintedValue(Section):
    """A timestamp that was printed as the value of a metric."""

    metric: str
    value: float
    commit: str


@dataclass(frozen=True)
class Answer(Section):
    """A whole answer of Prometheus: time and energy."""

    metric: str
    time: float
    millijoules: int
    commit: str


@dataclass(frozen=True)
class Reading(Section):
    """Energy of each controller in one zone at one instant."""

    zone: Zone
    time: float
    commit: str
    millijoules: dict[str, int]


@dataclass(frozen=True)
class ZoneSum(Section):
    """Energy of all controllers in one zone."""

    zone: Zone
    millijoules: int
    commit: str


@dataclass(frozen=True)
class SourceAlone(Section):
    """A reading of source-controller without the others."""

    time: float
    millijoules: int
    commit: str


@dataclass(frozen=True)
class PublishedRate(Section):
    """``rate()`` of a gauge, with the title that it was published under."""

    query: str
    title: str
    value: float
    commit: str


@dataclass(frozen=True)
class PublishedTotals(Section):
    """Totals of each controller, and the sum that was published below them."""

    time: float
    commit: str
    sum: int
    millijoules: dict[str, int]


@dataclass(frozen=True)
class PublishedUnits(Section):
    """The statement about watts per hour."""

    says: str
    commit: str


@dataclass(frozen=True)
class Published(Section):
    """The values as they were published (``hardwatt/data/talk.toml``)."""

    repository: str
    sample_seconds: int
    node: str
    commits: dict[str, str]
    """Short name to hash; every value names its commit by the short name."""
    read_as_energy: list[PrintedValue]
    real_answer: Answer
    reading: list[Reading]
    sum: list[ZoneSum]
    source_alone: SourceAlone
    rate: PublishedRate
    totals: PublishedTotals
    units: PublishedUnits

    def readings(self, zone: Zone) -> list[Reading]:
        """Return the readings of a zone."""
        return [reading for reading in self.reading if reading.zone == zone]

    def sum_millijoules(self, zone: Zone) -> int:
        """Return the published sum of a zone."""
        return next(total.millijoules for total in self.sum if total.zone == zone)


@dataclass(frozen=True)
class Timestamp(PrintedValue):
    """A printed value as the time that it is."""

    utc: str


@dataclass(frozen=True)
class Timestamps(Section):
    """Timestamps that were read as millijoules."""

    rows: list[Timestamp]
    kwh: float
    """The first, read as energy."""
    apart_seconds: float
    real_millijoules: int
    seconds_before: float
    too_large_by: float


@dataclass(frozen=True)
class RateRow(Section):
    """Readings of one mean level, and the power that ``rate()`` reports."""

    what: str
    mean_mw: float
    rate: float


@dataclass(frozen=True)
class Rate(Section):
    """One mean level reported by ``rate()`` as three powers."""

    rows: list[RateRow]
    published: float
    first_pod_mw: float
    window_hours: int


@dataclass(frozen=True)
class TotalRow(Section):
    """A controller's published total in other units."""

    name: str
    millijoules: int
    kwh: float
    of_wrap: float
    """As a multiple of 2^64 microjoules."""
    node_years: float


@dataclass(frozen=True)
class Totals(Section):
    """Totals that ran under zero."""

    rows: list[TotalRow]
    wrap_millijoules: float
    """2^64 microjoules."""
    wrapped: int
    """An unsigned counter of 64 bits one below zero."""
    sum_kwh: float
    gap_millijoules: int


@dataclass(frozen=True)
class WattHours(Section):
    """Watt-hours, and watts per hour."""

    joules_per_watt_hour: int
    watts_after_a_day_of_1_w_per_h: int


@dataclass(frozen=True)
class Power(Section):
    """Power of each controller in one zone at one instant."""

    zone: Zone
    utc: str
    commit: str
    milliwatts: dict[str, float]
    sum_mw: float


@dataclass(frozen=True)
class Supported(Section):
    """Statements that the data support."""

    package_watts: float
    dram_watts: float
    both_watts: float
    kwh_per_year: float
    package_low: float
    package_high: float
    seconds_between: float
    kustomize_factor: float
    source_factor: float
    source_utc: str
    percent_of_node: float


@dataclass(frozen=True)
class ByZones(Section):
    """One number for the package alone, and one for package and memory."""

    package: int | float
    both: int | float


@dataclass(frozen=True)
class Needed(Section):
    """Pairs and hours of windows that it takes to see the controllers, at one scatter of a window."""

    percent: float
    watts: float
    pairs: ByZones
    hours: ByZones


@dataclass(frozen=True)
class Reanalysis(Section):
    """Every number of docs/talk.md."""

    published: Published
    timestamps: Timestamps
    rate: Rate
    totals: Totals
    units: WattHours
    readings: list[Power]
    supported: Supported
    needed: list[Needed]


@dataclass(frozen=True)
class TalkRow(Section):
    """One figure of the table that has the talk's figures and those of a bundle."""

    what: str
    figure: ResultFigure
