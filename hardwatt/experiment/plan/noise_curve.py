"""The noise curve of a machine: how much paired differences scatter, by length of window and by arm.

``experiment.qualify`` writes it; ``--hours`` and ``--session-minutes`` choose windows, pairs and sessions by it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.files import write_json
from hardwatt.experiment.plan.sample_size import BOUND

FILE, SCHEMA = "noise-curve.json", 1
UNITS = {"node_cpu_seconds": "CPU-ms per s", "node_joules": "mW"}
"""Unit of a row's standard deviations, by outcome."""


@dataclasses.dataclass(frozen=True)
class NoiseRow:
    """Scatter of one A/A series: the same arm twice in every pair, with windows of one length."""

    window_seconds: float
    arm: str
    n: int
    """Number of paired differences."""
    sd: float
    """Standard deviation of the paired differences within a session, per second of window (see ``UNITS``)."""
    sd_between: float | None = None
    """Standard deviation between sessions beyond what pairs explain, in the same unit; None: not measured."""
    pair_seconds: float | None = None
    """Mean time that a pair took, with gates, clean-up and its baseline; None: not recorded."""
    outcome: str = "node_cpu_seconds"

    def __post_init__(self) -> None:
        numbers = [self.window_seconds, self.sd, *(x for x in (self.sd_between, self.pair_seconds) if x is not None)]
        if not all(math.isfinite(number) and number >= 0 for number in numbers) or self.window_seconds <= 0:
            raise ValueError(f"the row of {self.arm}, {self.window_seconds:g} s holds a number that is no noise")
        if self.n < 2:
            raise ValueError(f"the row of {self.arm}, {self.window_seconds:g} s has fewer than two differences")
        if self.outcome not in UNITS:
            raise ValueError(f"the row of {self.arm}, {self.window_seconds:g} s has the unknown outcome {self.outcome}")

    @property
    def sd_upper(self) -> float:
        """Upper one-sided 80 % bound of ``sd``; plans use it, as ``sd`` itself promises too much half of the time."""
        from scipy import stats  # takes a second, and most commands need none of it

        free = self.n - 1
        return float(self.sd * math.sqrt(free / stats.chi2.ppf(1 - BOUND, free)))


@dataclasses.dataclass(frozen=True)
class NoiseCurve:
    """All A/A series of one machine."""

    at: str
    """Moment of the measurement, ISO 8601, UTC."""
    rows: tuple[NoiseRow, ...]
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def of(self, outcome: str = "node_cpu_seconds") -> dict[float, dict[str, NoiseRow]]:
        """Return the rows of an outcome: length of window in seconds, ascending -> arm -> row."""
        table: dict[float, dict[str, NoiseRow]] = {}
        for row in sorted(self.rows, key=lambda row: (row.window_seconds, row.arm)):
            if row.outcome == outcome:
                table.setdefault(row.window_seconds, {})[row.arm] = row
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {"schema": SCHEMA, **dataclasses.asdict(self), "versions": dict(self.versions)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "NoiseCurve":
        """Return what ``to_dict`` gave. Raises ``TypeError`` or ``ValueError`` for another shape, or a row twice."""
        fields = {key: value for key, value in state_files.mapping(data).items() if key != "schema"}
        rows = tuple(state_files.typed(NoiseRow, row) for row in state_files.entries(fields["rows"]))
        keys = [(row.outcome, row.window_seconds, row.arm) for row in rows]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"two rows of {twice[2]}, {twice[1]:g} s")
        versions = {str(name): str(value) for name, value in state_files.mapping(fields["versions"]).items()}
        return cls(**{**fields, "at": state_files.text(fields["at"]), "rows": rows, "versions": versions})


def load(lab: Lab) -> NoiseCurve | None:
    """Return the noise curve of the lab's machine, or None where it was not measured."""
    return state_files.read(
        lab.dir / FILE, NoiseCurve.from_dict, what="the noise curve of the lab's machine,",
        then="invoke experiment.qualify", schema=SCHEMA,
    )  # fmt: skip


def save(lab: Lab, curve: NoiseCurve) -> None:
    """Store a curve in the lab's folder, in place of the one before."""
    write_json(lab.dir / FILE, curve.to_dict())


def pair_sd(rows: Sequence[NoiseRow]) -> float:
    """Return the standard deviation to plan with for differences between arms, from the A/A rows of each (one length).

    A window's variance is half of its arm's A/A variance; a difference between two arms has one window of each.
    """
    return math.sqrt(sum(row.sd_upper**2 for row in rows) / len(rows))
