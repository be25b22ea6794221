"""Descriptions of samples: scatter, outliers, skewness and what the declared order shows. They decide nothing."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis import order, ties
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.tables.select import Selected

Floats = NDArray[np.float64]
OUTLIER: Final = 3.5
"""Distance from the median in scaled median absolute deviations (Iglewicz and Hoaglin 1993)."""
_SCALE: Final = 1.4826
_SHAPIRO_UP_TO: Final = 5_000
_SLOPE_UP_TO: Final = 2_000
"""Runs up to which every pair of them gives a slope; of more, as many are taken at equal distances."""


def flagged(selected: Selected) -> NDArray[np.bool_]:
    """Return which rows lie far from the median of their cell (arm and stratum)."""
    marks = np.zeros(selected.values.size, dtype=bool)
    for arm in range(len(selected.arms)):
        for stratum in range(len(selected.strata)):
            rows = np.flatnonzero((selected.arm == arm) & (selected.stratum == stratum))
            if rows.size > 4:
                marks[rows] = far(selected.values[rows])
    return marks


def far(values: Floats) -> NDArray[np.bool_]:
    """Return which values lie far from the median. Without a deviation in the middle half none does."""
    distance = np.abs(values - np.median(values))
    scale = _SCALE * float(np.median(distance))
    limit = OUTLIER * scale
    return (
        distance > limit if scale > ties.NO_SPREAD * float(np.abs(values).max()) else np.zeros(values.size, dtype=bool)
    )


def residuals(selected: Selected) -> Floats:
    """Return the values minus the mean of their cell."""
    cell = selected.arm * len(selected.strata) + selected.stratum
    sums, counts = np.bincount(cell, selected.values), np.bincount(cell)
    return np.asarray(selected.values - (sums / np.maximum(counts, 1))[cell])


def normal_p(values: Floats) -> float | None:
    """Return p of the Shapiro-Wilk test; ``None`` where it says nothing: without scatter, for few or very many."""
    if not 3 <= values.size <= _SHAPIRO_UP_TO or not ties.varies(values):
        return None
    # In standard deviations: the test takes a range below 1e-19 for none, whatever the unit.
    return float(stats.shapiro((values - values.mean()) / values.std()).pvalue)


def skewness(values: Floats) -> float | None:
    """Return the skewness; ``None`` below three values and without scatter."""
    return float(stats.skew(values)) if values.size > 2 and ties.varies(values) else None


def trend(values: Floats, places: Floats, level: float) -> Estimate:
    """Return the slope of values over the declared order; *places* has their place in it."""
    by_order = values[np.argsort(places, kind="stable")]
    chosen = np.unique(np.linspace(0, by_order.size - 1, min(by_order.size, _SLOPE_UP_TO)).astype(np.int64))
    return order.theil_sen(by_order[chosen], chosen.astype(np.float64), level)
