"""A number that says what it is: value, unit, source and how sure."""

import math
from dataclasses import dataclass
from fractions import Fraction

from hardwatt.core.errors import VerifyError
from hardwatt.meter.accuracy import Accuracy


@dataclass(frozen=True)
class Figure:
    """``value`` in ``unit``, as ``source`` (words) gave it; the truth lies between ``low`` and ``high``.

    The bounds cover what the instrument cannot know (edges, resets, a dead pod's tail), not the scatter
    between runs: that is the analysis' business. They do not cover ``accuracy`` either: how far the counter itself may
    be from the truth, which is the same share in every window.
    """

    value: float
    unit: str
    source: str
    low: float
    high: float
    exact: Fraction | None = None
    """The number as a text wrote it; ``None`` for a computed value."""
    accuracy: Accuracy | None = None
    """The published accuracy of the counter; ``None`` where none is known."""

    @property
    def share(self) -> float | None:
        """The share of the truth that the counter may be off by, either way, in all windows alike."""
        return None if self.accuracy is None else self.accuracy.share

    @property
    def number(self) -> float | Fraction:
        """The exact number where a text gave it, else the value: what ties are decided by."""
        return self.value if self.exact is None else self.exact

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.value, self.low, self.high)):
            raise VerifyError(f"a figure in {self.unit} from {self.source} is not finite")
        if not self.low <= self.value <= self.high:
            raise VerifyError(f"{self.value} {self.unit} from {self.source} is outside {self.low} to {self.high}")
        if not self.unit or not self.source:
            raise VerifyError("a figure needs a unit and a source")


@dataclass(frozen=True)
class Outcome:
    """One figure of one run."""

    run_id: str
    arm: str
    block: int
    position: int
    name: str
    figure: Figure


@dataclass(frozen=True)
class Refusal:
    """An outcome that was not computed for a run, and why."""

    run_id: str
    name: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """Everything the instruments say about a bundle."""

    outcomes: tuple[Outcome, ...]
    refusals: tuple[Refusal, ...]
