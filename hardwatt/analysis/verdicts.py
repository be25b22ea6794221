"""The verdict: the one word and the one sentence that an interval and a margin allow, in this order."""

from __future__ import annotations

from typing import Final

from hardwatt.analysis.sections import EquivalenceResult, Verdict, VerdictWord

WITHIN: Final = "different, but within the margin"


def decided(low: float, high: float, equal: EquivalenceResult | None, *, shown: bool | None = None) -> Verdict:
    """Return the verdict of an estimate that is judged: there are pairs enough, and *low* to *high* is its interval.

    First whether a difference is shown (by the interval, or as *shown* says), then whether it is within the margin,
    which is what the equivalence test *equal* says, if the plan has a margin. So a difference that is shown and within
    the margin is called both.
    """
    different = low > 0 or high < 0 if shown is None else shown
    if different and equal and equal.equivalent:
        return Verdict(
            WITHIN,
            f"A difference is shown, and it is smaller than the margin: {WITHIN}{_of(equal)}. It does not matter for "
            "the decision that the margin was chosen for.",
        )
    if different:
        word: VerdictWord = "more" if low + high > 0 else "less"
        return Verdict(word, f"The interval does not hold zero: a difference is shown{_against(low, high, equal)}.")
    if equal and equal.equivalent:
        return Verdict(
            "equivalent", f"No difference is shown, and one as large as the margin is ruled out{_of(equal)}."
        )
    why = "The interval holds zero: a difference is not shown, and neither is it shown that there is none"
    return Verdict("open", f"{why}{_of(equal) if equal else ''}.")


def _of(equal: EquivalenceResult) -> str:
    return f" (margin ±{equal.margin.value:.3g} {equal.margin.unit})"


def _against(low: float, high: float, equal: EquivalenceResult | None) -> str:
    """Say how a difference that is shown stands to the margin that it is not within."""
    if equal is None or equal.margin.value is None:
        return ""
    least = low if low > 0 else -high
    if least >= equal.margin.value:
        return f", larger than the margin{_of(equal)}"
    return f"; whether it is larger than the margin is open{_of(equal)}"
