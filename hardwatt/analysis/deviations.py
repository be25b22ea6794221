"""Analysing other than planned: allowed, kept apart, and said in the results' first lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardwatt.analysis.paired import LEVEL
from hardwatt.core.errors import LabError

OUTCOMES = {"node_cpu_seconds": "CPU-seconds", "node_joules": "J"}
"""The outcomes that an answer may be about, with their units."""


@dataclass(frozen=True)
class Deviations:
    """Departures from the plan; every field left out follows the plan."""

    outcome: str | None = None
    confidence: float | None = None
    margin: float | None = None
    without_flagged: bool = False
    without_repeated: bool = False

    def __post_init__(self) -> None:
        if self.outcome is not None and self.outcome not in OUTCOMES:
            raise LabError(f"an answer is about {' or '.join(OUTCOMES)}, not about {self.outcome!r}")
        if self.confidence is not None and not 0.5 < self.confidence < 1:
            raise LabError(f"the level of an interval lies between 0.5 and 1, not at {self.confidence:g}")
        if self.margin is not None and self.margin <= 0:
            raise LabError(f"the margin of an equivalence test is above zero, not {self.margin:g}")


def apply(planned: Mapping[str, Any], wanted: Deviations | None) -> tuple[dict[str, Any], list[str]]:
    """Return what to analyse by, and a sentence for each departure from the plan (none: as planned)."""
    by = dict(planned)
    said: list[str] = []
    if wanted is None:
        return by, said
    level = float(planned.get("confidence", LEVEL))
    if wanted.outcome is not None and wanted.outcome != planned["outcome"]:
        by["outcome"], by["unit"] = wanted.outcome, OUTCOMES[wanted.outcome]
        by.pop("margin", None)
        said.append(f"The plan names the outcome {planned['outcome']}; this analysis takes {wanted.outcome}.")
    if wanted.confidence is not None and wanted.confidence != level:
        by["confidence"] = wanted.confidence
        said.append(
            f"The plan names an interval of {100 * level:g} %; this analysis takes {100 * wanted.confidence:g} %."
        )
    if wanted.margin is not None and wanted.margin != planned.get("margin"):
        by["margin"] = wanted.margin
        margin = planned.get("margin")
        named = "no margin" if margin is None else f"the margin {margin:g}"
        said.append(f"The plan names {named} for equivalence; this analysis takes {wanted.margin:g}.")
    if wanted.without_flagged:
        said.append("The plan counts every window that is done; this analysis leaves out pairs with a flagged one.")
    if wanted.without_repeated:
        said.append("The plan counts repeated pairs; this analysis leaves them out.")
    return by, said
