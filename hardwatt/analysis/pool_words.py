"""The pooled answer in lines for a terminal; every number is one of pool.json."""

from __future__ import annotations

from hardwatt.analysis.model import PooledSessions
from hardwatt.analysis.sections import ResultFigure


def answer(results: PooledSessions) -> list[str]:
    """Return what the sessions say together: estimate, both spreads, and what more sessions would bring."""
    estimate = results.estimate
    lines = [
        f"{results.direction}, {_number(results.n)} pooled: {_number(estimate)} "
        f"({_digits(results.level.value)} % interval {_digits(estimate.low)} to {_digits(estimate.high)})",
        f"spread of pairs within a session {_number(results.within)}, between sessions {_number(results.between)}, "
        f"between machines {_number(results.between_machines)}",
    ]
    lines.insert(1, f"verdict: {results.verdict.word}. {results.verdict.why}")
    if results.more:
        more = results.more[0]
        lines.append(
            f"{_number(more.n)} that scatter like these would give an interval of plus and minus "
            f"{_number(more.half_width)}"
        )
    return lines


def _number(measured: ResultFigure) -> str:
    if measured.value is None:
        return f"not known ({measured.source})"
    return f"{_digits(measured.value)} {measured.unit}"


def _digits(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
