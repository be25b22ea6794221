"""The statistics agree with published values and with scipy, and behave under change of scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from hardwatt.analysis.equivalence import holm, tost
from hardwatt.analysis.paired import detectable_effect, mean_difference, pairs_needed
from hardwatt.analysis.resample import bootstrap_t, sign_flip
from hardwatt.analysis.signedrank import (
    hodges_lehmann,
    null_distribution,
    rank_biserial,
    walsh_averages,
    wilcoxon,
)
from hardwatt.core.errors import LabError

# Student (1908), extra hours of sleep, drug 2 minus drug 1; R: data(sleep).
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
# Darwin (1876), crossed minus self-fertilised maize, eighths of an inch; Fisher (1935), chapter 3.
MAIZE = [49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
# Hollander & Wolfe (1973), depression scale; the example of R's wilcox.test.
FIRST = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
SECOND = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
DEPRESSION = np.subtract(FIRST, SECOND)

finite = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-3)
vectors = st.lists(finite, min_size=2, max_size=12)
scales = st.floats(0.01, 100)


def test_t_interval_of_students_sleep_data() -> None:
    answer = mean_difference(SLEEP)
    assert answer.value == pytest.approx(1.58)
    assert (answer.low, answer.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)


def test_t_interval_of_darwins_maize_in_inches() -> None:
    answer = mean_difference(np.divide(MAIZE, 8))
    assert (answer.value, answer.low, answer.high) == pytest.approx((2.616667, 0.003899, 5.229434), abs=1e-6)


def test_sign_flip_reproduces_fishers_count_for_the_maize() -> None:
    # 863 of 32,768 sums are as large as the observed one; twice that for both sides.
    answer = sign_flip(MAIZE)
    assert answer.p == pytest.approx(2 * 863 / 2**15)
    assert "2^15" in answer.method


def test_signed_rank_test_of_hollander_and_wolfe() -> None:
    answer = wilcoxon(DEPRESSION)
    assert answer.p == pytest.approx(2 * 0.01953, abs=5e-5)
    assert "exact" in answer.method
    assert rank_biserial(DEPRESSION) == pytest.approx((40 - 5) / 45)


def test_hodges_lehmann_of_hollander_and_wolfe() -> None:
    answer = hodges_lehmann(DEPRESSION)
    assert (answer.value, answer.low, answer.high) == pytest.approx((0.46, 0.010, 0.786), abs=5e-4)
    assert answer.level == pytest.approx(0.961, abs=5e-4)


@pytest.mark.parametrize(
    ("n", "critical"),
    [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (11, 10), (12, 13), (15, 25), (20, 52), (25, 89)],
)
def test_signed_rank_critical_values_of_the_tables(n: int, critical: int) -> None:
    """Two-sided 5 % critical values, as printed in every table of the Wilcoxon test."""
    cumulative = np.cumsum(null_distribution(n))
    assert cumulative[critical] <= 0.025 < cumulative[critical + 1]
    assert cumulative[-1] == pytest.approx(1)


def test_six_pairs_are_the_fewest_that_give_p_below_five_percent() -> None:
    assert sign_flip([1.0, 2, 3, 4, 5]).p == pytest.approx(2 / 2**5)
    assert sign_flip([1.0, 2, 3, 4, 5, 6]).p == pytest.approx(2 / 2**6)
    assert hodges_lehmann([1.0, 2, 3, 4, 5]).level < 0.95 < hodges_lehmann([1.0, 2, 3, 4, 5, 6]).level


def test_holm_as_in_rs_p_adjust() -> None:
    raw = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05}
    assert list(holm(raw).values()) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm({"x": 0.6, "y": 0.7}) == {"x": 1.0, "y": 1.0}


@pytest.mark.parametrize(("cv", "n", "mde"), [(0.37, 10, 0.52), (1, 20, 0.93), (2, 30, 1.50), (5, 50, 2.86)])
def test_detectable_effect_of_the_planning_table(cv: float, n: int, mde: float) -> None:
    spread = np.tile([-1.0, 1.0], n // 2)
    d = spread / spread.std(ddof=1) * cv * np.sqrt(2)
    assert detectable_effect(d) == pytest.approx(mde, abs=0.006)


@pytest.mark.parametrize(
    ("cv", "effect", "pairs"), [(1, 0.2, 395), (1, 0.5, 65), (1, 1, 18), (2, 0.5, 254), (5, 2, 101)]
)
def test_pairs_needed_of_the_planning_table(cv: float, effect: float, pairs: int) -> None:
    assert pairs_needed(cv * np.sqrt(2), effect) == pairs


def test_agreement_with_scipy() -> None:
    generator = np.random.default_rng(7)
    a, b = generator.normal(10, 1, 14), generator.normal(10.5, 1, 14)
    d = b - a
    interval = stats.ttest_rel(b, a).confidence_interval(0.9)
    ours = mean_difference(d, 0.9)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    assert wilcoxon(d).p == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)
    permuted = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True, batch=4096
    )
    assert sign_flip(d).p == pytest.approx(permuted.pvalue)
    zeros = np.concatenate([d, [0.0, 0.0]])
    assert wilcoxon(zeros).p == pytest.approx(stats.wilcoxon(zeros, zero_method="pratt", method="asymptotic").pvalue)


def test_sign_flip_draws_agree_with_the_full_count() -> None:
    d = np.random.default_rng(3).normal(0.3, 1, 22)
    drawn = sign_flip(d, seed=1)
    assert "draws" in drawn.method
    assert drawn.p == sign_flip(d, seed=1).p
    assert drawn.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.03)


def test_bootstrap_is_repeatable_and_near_the_t_interval_for_many_normal_pairs() -> None:
    d = np.random.default_rng(11).normal(5, 1, 60)
    first, again, t = bootstrap_t(d, seed=4), bootstrap_t(d, seed=4), mean_difference(d)
    assert first == again
    assert (first.low, first.high) == pytest.approx((t.low, t.high), abs=0.05)


def test_tost_agrees_with_two_one_sided_scipy_tests() -> None:
    d = np.random.default_rng(5).normal(0.1, 1, 20)
    answer = tost(d, 0.8)
    upper = stats.ttest_1samp(d, 0.8, alternative="less").pvalue
    lower = stats.ttest_1samp(d, -0.8, alternative="greater").pvalue
    assert answer.p == pytest.approx(max(upper, lower))
    assert answer.equivalent == (answer.p < 0.05)
    assert answer.level == pytest.approx(0.9)


@pytest.mark.parametrize("values", [[], [float("nan")], [[1.0, 2.0]]])
def test_bad_differences_are_refused(values: list[float]) -> None:
    with pytest.raises(LabError):
        mean_difference(values)


def test_one_pair_has_no_interval_and_no_detectable_effect() -> None:
    answer = mean_difference([3.0])
    assert (answer.value, answer.low, answer.high) == (3.0, None, None)
    assert detectable_effect([3.0]) is None


@given(vectors)
def test_swapping_the_arms_mirrors_every_estimate(d: list[float]) -> None:
    there, back = mean_difference(d), mean_difference([-x for x in d])
    assert there.value == pytest.approx(-back.value)
    assert there.low == pytest.approx(-(back.high or 0))
    ranks, mirrored = hodges_lehmann(d), hodges_lehmann([-x for x in d])
    assert (ranks.value, ranks.low, ranks.high) == pytest.approx(
        (-mirrored.value, -(mirrored.high or 0), -(mirrored.low or 0))
    )
    assert sign_flip(d).p == pytest.approx(sign_flip([-x for x in d]).p)
    assert rank_biserial(d) == pytest.approx(-rank_biserial([-x for x in d]))


@given(vectors, scales)
def test_a_change_of_unit_scales_estimates_and_leaves_tests_alone(d: list[float], scale: float) -> None:
    scaled = [x * scale for x in d]
    assert mean_difference(scaled).value == pytest.approx(mean_difference(d).value * scale, abs=1e-6 * scale)
    assert hodges_lehmann(scaled).value == pytest.approx(hodges_lehmann(d).value * scale, abs=1e-6 * scale)
    assert sign_flip(scaled).p == pytest.approx(sign_flip(d).p)
    assert rank_biserial(scaled) == pytest.approx(rank_biserial(d))


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=12), st.floats(0.1, 10))
def test_moving_positive_differences_away_from_zero_never_raises_p(d: list[float], shift: float) -> None:
    assert sign_flip([x + shift for x in d]).p <= sign_flip(d).p + 1e-12
    assert wilcoxon([x + shift for x in d]).p <= wilcoxon(d).p + 0.05  # exact or approximate by ties


@given(vectors)
def test_intervals_hold_their_estimate(d: list[float]) -> None:
    assume(np.ptp(d) > 0)
    for answer in (mean_difference(d), hodges_lehmann(d)):
        assert answer.low is not None and answer.high is not None
        slack = 1e-9 * max(map(abs, d))
        assert answer.low - slack <= answer.value <= answer.high + slack


def test_walsh_averages_of_three() -> None:
    assert walsh_averages(np.array([1.0, 3.0, 7.0])).tolist() == [1, 2, 3, 4, 5, 7]
