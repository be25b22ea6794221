"""The same numbers as statsmodels, computed here and now: the mixed model, Newey-West, TOST, Holm, pooling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hardwatt.analysis.equivalence import holm, tost
from hardwatt.analysis.multi_arm import several
from hardwatt.analysis.pooling import pool
from hardwatt.analysis.serial import hac_error, newey_west_lags

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import pandas as pd
    import statsmodels.api as sm
    import statsmodels.formula.api as smf
    from statsmodels.stats.meta_analysis import combine_effects
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.weightstats import DescrStatsW


def blocks(seed: int, n: int, effects: dict[str, float]) -> dict[str, list[float]]:
    """Values by arm of *n* blocks whose own levels scatter more than their residuals."""
    rng = np.random.default_rng(seed)
    level = rng.normal(100, 8, n)
    return {arm: [float(v) for v in level + effect + rng.normal(0, 1, n)] for arm, effect in effects.items()}


def mixed(columns: dict[str, list[float]], places: dict[str, list[int]] | None = None) -> Any:
    """statsmodels' REML fit of ``value ~ arm (+ place) + (1 | block)``."""
    rows = [
        {"arm": arm, "block": block, "value": value, "place": places[arm][block] if places else 0}
        for arm, values in columns.items()
        for block, value in enumerate(values)
    ]
    formula = "value ~ C(arm)" + (" + C(place)" if places else "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return smf.mixedlm(formula, pd.DataFrame(rows), groups="block").fit(reml=True)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("with_places", [False, True])
def test_contrasts_and_their_errors_are_those_of_mixedlm(seed: int, with_places: bool) -> None:
    columns = blocks(seed, 9, {"a": 0.0, "b": 2.0, "c": -1.0})
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(3) for _ in range(9)]
    places = {arm: [int(order[k]) for order in orders] for k, arm in enumerate("abc")} if with_places else None
    theirs, ours = mixed(columns, places), several(columns, places).contrasts
    df = 9 * 3 - 9 - (4 if with_places else 2)
    for one in ours:
        name = f"C(arm)[T.{one.arm}]"
        assert one.mixed is not None and one.mixed.high is not None
        assert one.mixed.value == pytest.approx(theirs.params[name], abs=2e-4)
        error = (one.mixed.high - one.mixed.value) / stats.t.ppf(0.975, df)
        assert error == pytest.approx(theirs.bse[name], rel=2e-3)


@pytest.mark.parametrize("n", [8, 20, 60])
def test_newey_west_is_that_of_ols_with_hac(n: int) -> None:
    d = np.cumsum(np.random.default_rng(n).normal(size=n)) / 3
    lags = newey_west_lags(n)
    fit = sm.OLS(d, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
    assert hac_error(d, lags) == pytest.approx(float(fit.bse[0]), rel=1e-9)


@pytest.mark.parametrize("margin", [0.2, 0.6, 2.0])
def test_tost_is_ttost_mean(margin: float) -> None:
    d = np.random.default_rng(4).normal(0.2, 1, 15)
    assert tost(d, margin).p == pytest.approx(DescrStatsW(d).ttost_mean(-margin, margin)[0])


def test_holm_is_that_of_multipletests() -> None:
    raw = {str(k): float(p) for k, p in enumerate(np.random.default_rng(6).uniform(0, 0.2, 12))}
    assert list(holm(raw).values()) == pytest.approx(list(multipletests(list(raw.values()), method="holm")[1]))


def test_pooling_is_combine_effects_by_dersimonian_and_laird() -> None:
    rng = np.random.default_rng(9)
    y, v = rng.normal(1, 2, 7), rng.uniform(0.2, 1.5, 7)
    theirs, ours = combine_effects(y, v, method_re="chi2", use_t=True), pool(y, v)
    assert ours.between_variance == pytest.approx(theirs.tau2)
    assert ours.q == pytest.approx(theirs.q)
    assert ours.estimate.value == pytest.approx(theirs.mean_effect_re)
    half = stats.t.ppf(0.975, 6) * theirs.sd_eff_w_re_hksj
    assert ours.estimate.high == pytest.approx(ours.estimate.value + half)
