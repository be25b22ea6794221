"""Statistics of independent samples against R's published examples, scipy and statsmodels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.oneway import anova_oneway
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from hardwatt.analysis import signedrank
from hardwatt.analysis.tables import blocks, several, unpaired
from tests.tables.helpers import DRUG_1, DRUG_2

CONTROL = [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14]
TREATED_1 = [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69]
TREATED_2 = [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26]
"""Dobson (1983); R: data(PlantGrowth)."""
AT_TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLY = [1.15, 0.88, 0.90, 0.74, 1.21]
"""Hollander and Wolfe (1973), permeability; R: example(wilcox.test)."""
samples = st.lists(st.integers(-60, 60).map(lambda value: value / 4), min_size=3, max_size=25)


def drawn(seed: int, n: int, m: int, kind: str = "normal") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if kind == "ties":
        return rng.integers(0, 6, n).astype(float), rng.integers(1, 8, m).astype(float)
    if kind == "skewed":
        return rng.lognormal(0, 1, n), rng.lognormal(0.4, 0.6, m)
    return rng.normal(10, 1, n), rng.normal(10.7, 2, m)


CASES = [(1, 4, 4, "normal"), (2, 9, 14, "normal"), (3, 30, 21, "skewed"), (4, 40, 55, "ties"), (5, 12, 12, "ties")]


def test_welch_is_rs_t_test_of_students_sleep() -> None:
    """R: t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p = 0.07939, -3.3654832 to 0.2054832."""
    estimate, test = unpaired.welch(DRUG_2, DRUG_1)
    assert (estimate.low, estimate.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)
    assert test is not None
    assert (test.statistic, test.p) == pytest.approx((-1.8608, 0.07939), abs=5e-5)
    assert "17.78 degrees" in estimate.method


@pytest.mark.parametrize("case", CASES)
def test_welch_is_scipys_and_statsmodels(case: tuple[int, int, int, str]) -> None:
    a, b = drawn(*case)
    estimate, test = unpaired.welch(a, b, 0.9)
    theirs = stats.ttest_ind(b, a, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))
    assert test is not None and test.p == pytest.approx(theirs.pvalue)
    means = CompareMeans(DescrStatsW(b), DescrStatsW(a))
    assert (estimate.low, estimate.high) == pytest.approx(means.tconfint_diff(0.1, usevar="unequal"))


def test_mann_whitney_and_shift_are_rs_wilcox_test() -> None:
    """R: wilcox.test(x, y): W = 35, p = 0.2544; the estimate is 0.305 and its 95 % interval -0.15 to 0.76."""
    test, estimate = unpaired.mann_whitney(EARLY, AT_TERM), unpaired.shift(EARLY, AT_TERM)
    assert (test.statistic, test.p) == pytest.approx((35, 0.2544), abs=5e-5)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.305, -0.15, 0.76))
    assert estimate.level == pytest.approx(0.96, abs=0.001)


@pytest.mark.parametrize("case", CASES)
def test_mann_whitney_is_scipys(case: tuple[int, int, int, str]) -> None:
    a, b = drawn(*case)
    method = "exact" if case[3] != "ties" and max(case[1:3]) <= 50 else "asymptotic"
    assert unpaired.mann_whitney(a, b).p == pytest.approx(stats.mannwhitneyu(b, a, method=method).pvalue)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 4), (5, 5), (8, 3), (20, 17)])
def test_the_null_distribution_is_that_of_scipys_exact_test(m: int, n: int) -> None:
    p = unpaired.null_distribution(m, n)
    assert p.sum() == pytest.approx(1)
    assert p == pytest.approx(p[::-1])
    a, b = np.arange(m, dtype=float), np.arange(n, dtype=float) + 0.5
    answer = stats.mannwhitneyu(b, a, method="exact", alternative="less")
    assert np.cumsum(p)[int(answer.statistic)] == pytest.approx(answer.pvalue)


@pytest.mark.parametrize("case", CASES)
def test_the_shift_is_the_median_of_all_differences(case: tuple[int, int, int, str]) -> None:
    a, b = drawn(*case)
    every = np.sort(np.subtract.outer(b, a).ravel())
    estimate = unpaired.shift(a, b)
    assert estimate.value == pytest.approx(np.median(every))
    for place in (1, 2, every.size // 3, every.size - 1, every.size):
        assert unpaired.ordered_difference(np.sort(a), np.sort(b), place) == pytest.approx(every[place - 1], abs=1e-12)


def test_the_bisection_lists_no_more_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds by bisection nearly to the end, and by listing every difference at once."""
    for case in CASES:
        a, b = drawn(*case)
        whole = unpaired.shift(a, b)
        monkeypatch.setattr(unpaired, "_GATHERED", 5)
        again = unpaired.shift(a, b)
        assert (again.value, again.low, again.high) == pytest.approx((whole.value, whole.low, whole.high))
        monkeypatch.undo()


def test_the_intervals_of_the_shift_are_those_values_that_the_test_keeps() -> None:
    """Inside the interval the exact test keeps a shift, just outside it does not."""
    a, b = drawn(2, 9, 14)
    estimate = unpaired.shift(a, b)
    assert estimate.low is not None and estimate.high is not None
    for bound, inward in ((estimate.low, 1e-9), (estimate.high, -1e-9)):
        assert unpaired.mann_whitney(a, b - (bound + inward)).p >= 0.05
        assert unpaired.mann_whitney(a, b - (bound - inward)).p < 0.05


def test_cliffs_delta_is_that_of_rs_effsize() -> None:
    """example(cliff.delta) in effsize 0.8: delta -0.25, 95 % interval -0.7265846 to 0.3890062."""
    treatment = [10, 10, 20, 20, 20, 30, 30, 30, 40, 50]
    control = [10, 20, 30, 40, 40, 50]
    estimate = unpaired.cliffs_delta(control, treatment)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((-0.25, -0.7265846, 0.3890062), abs=5e-8)


@given(samples, samples)
@settings(max_examples=60)
def test_cliffs_delta_counts_dominance_and_its_interval_holds_it(a: list[float], b: list[float]) -> None:
    signs = [np.sign(y - x) for x, y in itertools.product(a, b)]
    estimate = unpaired.cliffs_delta(a, b)
    assert estimate.value == pytest.approx(float(np.mean(signs)))
    assert estimate.low is not None and estimate.high is not None
    assert -1 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1
    u = unpaired.mann_whitney(a, b).statistic if len({*a, *b}) > 1 else len(a) * len(b) / 2
    assert estimate.value == pytest.approx(2 * u / (len(a) * len(b)) - 1)


@pytest.mark.parametrize("case", CASES)
def test_hedges_g_is_that_of_statsmodels(case: tuple[int, int, int, str]) -> None:
    a, b = drawn(*case)
    theirs, _ = effectsize_smd(b.mean(), b.std(ddof=1), b.size, a.mean(), a.std(ddof=1), a.size)
    estimate = unpaired.hedges_g(a, b)
    assert estimate is not None
    assert estimate.value == pytest.approx(theirs, rel=2e-3)  # theirs has the usual approximation of the correction


@pytest.mark.parametrize("case", CASES)
def test_the_interval_of_hedges_g_inverts_the_noncentral_t(case: tuple[int, int, int, str]) -> None:
    a, b = drawn(*case)
    estimate = unpaired.hedges_g(a, b)
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    df = a.size + b.size - 2
    t = float(stats.ttest_ind(b, a).statistic)
    d = t * np.sqrt(1 / a.size + 1 / b.size)
    scale = estimate.value / d * np.sqrt(1 / a.size + 1 / b.size)
    assert stats.nct.cdf(t, df, estimate.low / scale) == pytest.approx(0.975, abs=1e-6)
    assert stats.nct.cdf(t, df, estimate.high / scale) == pytest.approx(0.025, abs=1e-6)


def test_the_one_way_analysis_is_rs_oneway_test() -> None:
    """R: oneway.test(weight ~ group, PlantGrowth): F = 5.181, denom df = 17.128, p = 0.01739; and of sleep."""
    test = several.welch_one_way([CONTROL, TREATED_1, TREATED_2])
    assert test is not None
    assert (test.statistic, test.p) == pytest.approx((5.181, 0.01739), abs=5e-4)
    assert test.p == pytest.approx(0.01739, abs=5e-6) and "17.13" in test.method
    two = several.welch_one_way([DRUG_1, DRUG_2])
    assert two is not None and (two.statistic, two.p) == pytest.approx((3.4626, 0.07939), abs=5e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_one_way_analysis_is_that_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.normal(k, 1 + k, 6 + 3 * k) for k in range(4)]
    ours, theirs = several.welch_one_way(groups), anova_oneway(groups, use_var="unequal")
    assert ours is not None
    assert (ours.statistic, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_kruskal_wallis_is_rs() -> None:
    """R: example(kruskal.test), Hollander and Wolfe (1973): 0.7714, p = 0.68; and of PlantGrowth 7.9882, 0.01842."""
    healthy, obstructed, asbestosis = [2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]
    test = several.kruskal_wallis([healthy, obstructed, asbestosis])
    assert (test.statistic, test.p) == pytest.approx((0.7714, 0.68), abs=5e-4)
    test = several.kruskal_wallis([CONTROL, TREATED_1, TREATED_2])
    assert (test.statistic, test.p) == pytest.approx((7.9882, 0.01842), abs=5e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("margin", [0.4, 2.0])
def test_equivalence_is_that_of_statsmodels(case: tuple[int, int, int, str], margin: float) -> None:
    a, b = drawn(*case)
    p, _, _ = ttost_ind(b, a, -margin, margin, usevar="unequal")
    answer = unpaired.equivalence([(a, b)], margin, 0.05)
    assert answer is not None
    assert answer.p == pytest.approx(p)
    assert answer.equivalent == (p < 0.05)


def test_strata_with_equal_weight_are_the_mean_of_their_differences() -> None:
    one, two = drawn(1, 8, 9), drawn(3, 12, 7)
    estimate, test = unpaired.combined([one, two])
    alone = [unpaired.welch(*pair)[0] for pair in (one, two)]
    assert estimate.value == pytest.approx(sum(part.value for part in alone) / 2)
    errors = [np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size) for a, b in (one, two)]
    assert test is not None
    assert estimate.value / test.statistic == pytest.approx(np.hypot(*errors) / 2)
    same, _ = unpaired.combined([one])
    assert (same.low, same.high) == (unpaired.welch(*one)[0].low, unpaired.welch(*one)[0].high)


def test_many_pairs_have_the_interval_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    d = rng.normal(0.3, 1, 400)
    exact = signedrank.hodges_lehmann(d)
    monkeypatch.setattr(blocks, "EXACT_UP_TO", 100)
    near = blocks.signed_rank(d)
    assert near.value == pytest.approx(exact.value)
    assert (near.low, near.high) == pytest.approx((exact.low, exact.high), abs=2e-3)
    assert "normal approximation" in near.method and "normal approximation" not in exact.method


@given(samples, samples, st.sampled_from([1e-6, 0.001, 3.6e6]))
@settings(max_examples=40)
def test_a_change_of_unit_scales_estimates_and_leaves_tests(a: list[float], b: list[float], factor: float) -> None:
    scaled_a, scaled_b = (np.array(values) * factor for values in (a, b))
    (one, first), (two, second) = unpaired.welch(a, b), unpaired.welch(scaled_a, scaled_b)
    assert two.value == pytest.approx(one.value * factor, abs=1e-9 * factor)
    assert (first is None) == (second is None)
    if first and second:
        assert second.p == pytest.approx(first.p, abs=1e-9)
    assert unpaired.shift(scaled_a, scaled_b).value == pytest.approx(
        unpaired.shift(a, b).value * factor, abs=1e-9 * factor
    )


@given(samples, samples)
@settings(max_examples=40)
def test_the_other_baseline_mirrors_everything(a: list[float], b: list[float]) -> None:
    for estimate in (unpaired.shift, unpaired.cliffs_delta, lambda x, y: unpaired.welch(x, y)[0]):
        there, back = estimate(a, b), estimate(b, a)
        assert back.value == pytest.approx(-there.value, abs=1e-9)
        if there.low is not None and there.high is not None:
            assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
    assert unpaired.mann_whitney(a, b).p == pytest.approx(unpaired.mann_whitney(b, a).p)
