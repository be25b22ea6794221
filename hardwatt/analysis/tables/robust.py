"""The headline's difference by other means, and what a declared run order shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hardwatt.analysis import order, paired, resample, serial, ties
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, figure, of_estimate
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.sections import Check, Robust
from hardwatt.analysis.tables import blocks, describe, unpaired
from hardwatt.analysis.tables.contrasts import Compared
from hardwatt.analysis.tables.select import Selected

_P = "p-value, two-sided"


def estimated(name: str, estimate: Estimate, unit: str, source: str) -> Robust:
    """Return a row for an estimate, with its method and level."""
    method = f"{estimate.method}; level {estimate.level:.1%}".replace("%", " %")
    return Robust(name, of_estimate(estimate, unit, source), method)


def robustness(compared: Compared, selected: Selected, unit: str, source: str, level: float, seed: int) -> list[Robust]:
    """Return the headline's difference by other means."""
    rows = []
    if compared.shift:
        rows.append(estimated("Hodges-Lehmann", compared.shift, unit, source))
    if compared.pairs:
        rows += _paired(compared, selected, unit, source, level, seed)
    elif compared.enough and compared.rank:
        rows.append(Robust("Mann-Whitney", figure(compared.rank.p, "1", _P), compared.rank.method))
    if compared.dominance:
        name = "Rank-biserial correlation" if compared.pairs else "Cliff's delta"
        method = "(W+ - W-) / (n(n+1)/2)" if compared.pairs else compared.dominance.method
        rows.append(Robust(name, of_estimate(compared.dominance, "1", "rank statistic"), method))
    if compared.size:
        name = "Cohen's d_z" if compared.pairs else "Hedges' g"
        rows.append(Robust(name, of_estimate(compared.size, "1", "standardised difference"), compared.size.method))
    if selected.order is not None:
        rows += _ordered(compared, selected, unit, source, level)
    return rows


def _paired(
    compared: Compared, selected: Selected, unit: str, source: str, level: float, seed: int
) -> Iterator[Robust]:
    pairs = compared.pairs
    if pairs is None or compared.n[0] < FEWEST_FOR_A_TEST:
        return
    d = pairs.differences
    if d.size <= blocks.EXACT_UP_TO:
        yield estimated("Studentised bootstrap", resample.bootstrap_t(d, level, seed), unit, source)
    flips = blocks.permutation(pairs, seed)
    yield Robust("Sign flips", figure(flips.p, "1", _P), flips.method)
    if compared.rank:
        yield Robust("Wilcoxon", figure(compared.rank.p, "1", _P), compared.rank.method)


def _ordered(compared: Compared, selected: Selected, unit: str, source: str, level: float) -> Iterator[Robust]:
    """Yield what the declared order shows: place and carry-over of pairs, slope, memory."""
    if compared.pairs and compared.n[0] >= FEWEST_FOR_A_TEST:
        yield from _crossover(compared, unit, source, level)
        d = compared.pairs.differences
        slope = describe.trend(d, np.arange(d.size, dtype=np.float64), level)
        yield estimated("Trend of the differences", slope, f"{unit} by pair", source)
        rho = serial.lag_one(d)
        if serial.worrying(rho) and d.size <= blocks.EXACT_UP_TO:
            yield estimated("Newey-West interval", serial.hac_interval(d, level), unit, source)
    places = selected.order
    if places is None or places.size < FEWEST_FOR_A_TEST:
        return
    rest = describe.residuals(selected)
    slope = describe.trend(rest, places, level)
    yield estimated("Drift over the runs, arms taken out", slope, f"{unit} by run", source)
    rho = serial.lag_one(rest[np.argsort(places, kind="stable")])
    about = "lag-1 autocorrelation in the declared order, arms taken out"
    yield Robust("Autocorrelation", figure(rho, "1", about), "above 0.3 in size, runs are not independent")


def _crossover(compared: Compared, unit: str, source: str, level: float) -> Iterator[Robust]:
    assert compared.pairs
    forward = [(pair.first.order or 0.0) < (pair.second.order or 0.0) for pair in compared.pairs.pairs]
    first, second = compared.columns
    split = order.crossover(compared.pairs.differences, first + second, forward, level)
    rows = (
        ("Estimate without the effect of the place", split.treatment),
        ("Effect of the place (second run minus first)", split.period),
        ("Carry-over (what an arm leaves to the next)", split.carry_over),
    )
    for name, estimate in rows:
        if estimate is None:
            yield Robust(name, figure(None, unit, source), "needs two pairs in each order")
        else:
            yield estimated(name, estimate, unit, source)


def without_flagged(compared: Compared, level: float) -> Estimate | None:
    """Return the estimate without values far from the rest; ``None`` if none is, and if too few would be left."""
    if compared.pairs:
        d = compared.pairs.differences
        marks = describe.far(d) if d.size > 4 else np.zeros(d.size, dtype=bool)
        return paired.mean_difference(d[~marks], level) if marks.any() else None
    if len(compared.used) > 1:
        return None
    first, second = compared.columns
    kept = [values[~describe.far(values)] if values.size > 4 else values for values in (first, second)]
    if kept[0].size + kept[1].size == first.size + second.size or min(map(len, kept)) < 2:
        return None
    return unpaired.welch(kept[0], kept[1], level)[0]


def checks(compared: Compared, selected: Selected, names: tuple[str, str]) -> list[Check]:
    """Return the assumptions of the headline's interval, and what a departure means. Nothing is chosen by them."""
    first, second = compared.centred
    rows = []
    if compared.pairs:
        rows.append(_shape("the differences", compared.pairs.differences))
    else:
        rows += [_shape(f"the values of {name}", values) for name, values in zip(names, (first, second), strict=True)]
        rows.append(_variances(first, second, names))
    rows.append(_ties(compared))
    if selected.order is None:
        detail = "no run order is declared (--order): drift and memory between runs are not known"
        rows.append(Check("runs are independent of each other", "warning", detail))
    else:
        rho = serial.lag_one(describe.residuals(selected)[np.argsort(selected.order, kind="stable")])
        bad = serial.worrying(rho)
        detail = f"lag-1 autocorrelation {rho:.2f} in the declared order" if rho is not None else "no scatter"
        more = "; neighbouring runs are alike, and the interval is too narrow or too wide" if bad else ""
        rows.append(Check("runs are independent of each other", "warning" if bad else "ok", detail + more))
    return rows


def _shape(what: str, values: describe.Floats) -> Check:
    name = f"{what} are not far from normal, or many"
    skew, p = describe.skewness(values), describe.normal_p(values)
    if skew is None:
        return Check(name, "warning", "no scatter, or fewer than three values: nothing can be said")
    words = f"n {values.size}, skewness {skew:.2f}" + ("" if p is None else f", Shapiro-Wilk p {p:.2g}")
    far = abs(skew) > 1 and values.size < 40 * abs(skew)
    more = "; with a tail and few runs the interval misses the mean too often: read the rank interval beside it"
    return Check(name, "warning" if far else "ok", words + (more if far else ""))


def _variances(first: describe.Floats, second: describe.Floats, names: tuple[str, str]) -> Check:
    name = "the arms scatter alike (not needed for Welch's interval)"
    if first.size < 2 or second.size < 2 or not (ties.varies(first) and ties.varies(second)):
        return Check(name, "warning", "an arm has no scatter, or one value")
    ratio = float(second.std(ddof=1) / first.std(ddof=1))
    differ = not 0.5 <= ratio <= 2
    words = f"standard deviation of {names[1]} is {ratio:.3g} times that of {names[0]}"
    more = "; the shift then is not a shift alone, and Hedges' g uses a pooled deviation that neither arm has"
    return Check(name, "warning" if differ else "ok", words + (more if differ else ""))


def _ties(compared: Compared) -> Check:
    values = compared.pairs.differences if compared.pairs else np.concatenate(compared.columns)
    share = 1 - np.unique(values).size / values.size
    name = "values are resolved finely enough"
    words = f"{share:.0%} of the values repeat another one".replace("%", " %")
    coarse = share > 0.5
    more = "; the instrument, or rounding, hides small differences" if coarse else ""
    return Check(name, "warning" if coarse else "ok", words + more)
