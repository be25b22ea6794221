"""Published accuracy of energy counters: how far a counter itself may be from the truth.

That error is common to all windows of one machine, so it is stated apart from the bounds of a window: it scales a
difference of arms, and no repeat makes it smaller.
"""

from dataclasses import dataclass

from hardwatt.core.errors import VerifyError
from hardwatt.meter.zones import Zone, place, synthetic


@dataclass(frozen=True)
class Accuracy:
    """A counter's error, either way, as a ``share`` (0 to below 1) of the truth, as ``source`` published it."""

    share: float
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or not self.source:
            raise VerifyError(f"an accuracy is a share from 0 to below 1 with its source, not {self.share}")


RAPL = Accuracy(
    0.73,
    "largest average error of energy above idle by on-chip counters against power meters "
    "(Fahad, Shahid, Manumachu and Lastovetsky 2019, doi:10.3390/en12112204; Intel processors and accelerators)",
)
"""RAPL's published accuracy. A worst case over machines and programs: a meter at the plug gives this machine's."""


def published(zone: Zone) -> Accuracy | None:
    """Return the published accuracy of a zone's counter; None for a model, and for a zone of an unknown kind."""
    return None if synthetic(zone) or place(zone.name).kind == "other" else RAPL
