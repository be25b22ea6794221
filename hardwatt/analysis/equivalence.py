"""Claims about several numbers or about none: TOST against a margin, and Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from numpy.typing import ArrayLike
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.paired import differences, mean_difference, standard_error
from hardwatt.core.errors import LabError


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests of the mean difference against -margin and +margin."""

    margin: float
    p: float
    """The larger of the two one-sided p-values."""
    mean: float
    low: float
    high: float
    level: float
    equivalent: bool


def tost(values: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Test whether the mean difference lies within *margin* of zero.

    Equivalent exactly if the 1 - 2 alpha interval lies inside (-margin, +margin).
    """
    d = differences(values)
    if margin <= 0:
        raise LabError(f"the margin of an equivalence test is above zero, not {margin:g}")
    if d.size < 2:
        raise LabError("an equivalence test needs two pairs or more")
    level = 1 - 2 * alpha
    interval = mean_difference(d, level)
    if interval.low is None or interval.high is None:
        raise LabError("an equivalence test needs an interval")
    # A bound that meets the margin is not inside it, whatever its last bit is.
    slack = ties.RESOLUTION * max(margin, float(abs(d).max()))
    error = standard_error(d)
    p = max(
        _one_sided(distance, error, d.size, slack) for distance in (interval.value + margin, margin - interval.value)
    )
    inside = interval.low + margin > slack and margin - interval.high > slack
    return Equivalence(margin, p, interval.value, interval.low, interval.high, level, inside)


def _one_sided(distance: float, error: float, n: int, slack: float) -> float:
    if error == 0:
        return 0.0 if distance > slack else 1.0
    return float(stats.t.sf(distance / error, n - 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values by name, in the order given."""
    ordered = sorted(p_values, key=lambda name: (p_values[name], name))
    adjusted: dict[str, float] = {}
    running = 0.0
    for position, name in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - position) * p_values[name]))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}
