"""The distribution of values: five numbers by arm and of the differences, and the differences against normal ones.

Describes and gates nothing: the primary interval does not wait for a test of normality.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hardwatt.analysis import ties
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, figure
from hardwatt.analysis.sections import Distribution, FiveNumbers, Quantile
from hardwatt.analysis.table import Table, vector

NUMBERS = {"least": 0, "lower": 25, "median": 50, "upper": 75, "largest": 100}
"""Name to percentile, by linear interpolation as numpy's default (R's type 7)."""
_BLOM = 0.375


def distribution(table: Table) -> Distribution | None:
    """Five numbers of each arm and of the differences; from six pairs on, the differences over normal quantiles.

    ``None`` where no pair is complete.
    """
    values, columns = vector(table, table.outcome), table.columns(table.outcome)
    if values is None or columns is None:
        return None
    sample = columns[table.arms[0]][0]
    tested = values.size >= FEWEST_FOR_A_TEST and ties.varies(values)
    names = [str(pair.block) for pair in table.pairs]
    shapiro = float(stats.shapiro(values).pvalue) if tested else None
    return Distribution(
        arms={
            arm: five_numbers([window.value for window in columns[arm]], sample.unit, sample.source)
            for arm in table.arms
        },
        difference=five_numbers(values, sample.unit, sample.source),
        quantiles=_quantiles(values, names, sample.unit, sample.source) if tested else [],
        normal=figure(shapiro, "1", "Shapiro-Wilk test of the differences, p-value; describes and decides nothing"),
    )


def five_numbers(values: ArrayLike, unit: str, source: str) -> FiveNumbers:
    """Return percentiles 0, 25, 50, 75 and 100."""
    given = np.asarray(values, dtype=np.float64)
    return FiveNumbers(**{name: figure(float(np.percentile(given, at)), unit, source) for name, at in NUMBERS.items()})


def normal_scores(n: int) -> Sequence[float]:
    """Return the expected places of *n* ordered standard normal values, by Blom's formula (1958)."""
    places = (np.arange(1, n + 1) - _BLOM) / (n + 1 - 2 * _BLOM)
    return [float(z) for z in stats.norm.ppf(places)]


def _quantiles(values: ArrayLike, names: Sequence[str], unit: str, source: str) -> list[Quantile]:
    d = np.asarray(values, dtype=np.float64)
    order = np.argsort(d, kind="stable")
    mean, spread = float(d.mean()), float(d.std(ddof=1))
    return [
        Quantile(
            pair=names[place],
            expected=figure(mean + spread * z, unit, "normal with the same mean and spread, Blom's places"),
            difference=figure(float(d[place]), unit, source),
        )
        for place, z in zip(order, normal_scores(d.size), strict=True)
    ]
