"""The verdict over sessions: the interval first, then the margin of the plan, then a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hardwatt.analysis import equivalence
from hardwatt.analysis.figures import figure
from hardwatt.analysis.model import PooledMargin, PooledVerdict, PoolWord
from hardwatt.analysis.paired import Estimate

TIMES = (0.25, 1, 4)
FEWEST_SESSIONS = 3
"""The fewest for which the coverage of the interval was simulated (docs/coverage.md)."""


def margins(means: Sequence[float], margin: Any, unit: str) -> list[PooledMargin]:
    """Test the sessions' means against the plan's margin, a quarter of it and four times it; empty without one."""
    if margin is None:
        return []
    rows = []
    for times in TIMES:
        answer = equivalence.tost(means, times * float(margin))
        rows.append(
            PooledMargin(
                times=times,
                margin=figure(answer.margin, unit, "plan"),
                interval=figure(answer.mean, unit, "90 % interval over sessions", answer.low, answer.high),
                p=figure(answer.p, "1", "two one-sided t tests over sessions"),
                equivalent=answer.equivalent,
            )
        )
    return rows


def verdict(estimate: Estimate, tested: Sequence[PooledMargin]) -> PooledVerdict:
    """Say in a word what the interval over sessions allows to say; below three sessions it allows nothing."""
    low, high = estimate.low, estimate.high
    if estimate.n < FEWEST_SESSIONS or low is None or high is None:
        return PooledVerdict(
            "description",
            "Two sessions leave one degree of freedom: their interval is a description, and no verdict is given.",
        )
    inside = any(row.equivalent for row in tested if row.times == 1)
    if low > 0 or high < 0:
        if inside:
            return PooledVerdict(
                "negligible", "A difference is shown over sessions, and it lies within the margin that the plan gave."
            )
        word: PoolWord = "more" if estimate.value > 0 else "less"
        return PooledVerdict(word, "The interval over sessions does not hold zero: a difference is shown.")
    if inside:
        return PooledVerdict("equivalent", "The interval over sessions lies within the margin that the plan gave.")
    margin = "and neither is it shown that there is none" if tested else "and the plan gives no margin for none"
    return PooledVerdict("open", f"The interval over sessions holds zero: a difference is not shown, {margin}.")
