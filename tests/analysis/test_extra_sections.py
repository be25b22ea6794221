"""Memory, order, trend, break-even and further arms: published values, statsmodels' values, and known truths."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from hardwatt.analysis import breakdown
from hardwatt.analysis.breakeven import break_even, fieller
from hardwatt.analysis.extra_sections import break_even as section
from hardwatt.analysis.extra_sections import further_arms
from hardwatt.analysis.multi_arm import several
from hardwatt.analysis.order import crossover, theil_sen
from hardwatt.analysis.paired import mean_difference
from hardwatt.analysis.robustness import memory_check, robustness
from hardwatt.analysis.sections import FurtherArms, ResultFigure
from hardwatt.analysis.serial import block_bootstrap, hac_error, hac_interval, lag_one
from hardwatt.analysis.table import Pair, Table, build
from hardwatt.bundle.model import Run
from hardwatt.core.errors import LabError
from hardwatt.instruments.figure import Figure, Measured, Outcome
from hardwatt.report.render import report
from hardwatt.testing import synthetic_bundle
from hardwatt.testing.synthetic_bundle import Spec

Floats = NDArray[np.float64]
# Penicillin yield, 4 treatments in 5 blocks of corn steep liquor (Box, Hunter and Hunter 1978, table 7.1).
PENICILLIN = {
    "A": [89, 84, 81, 87, 79],
    "B": [88, 77, 87, 92, 81],
    "C": [97, 92, 87, 89, 80],
    "D": [94, 79, 85, 84, 88],
}

# statsmodels 0.15.0: OLS(d, 1).fit(cov_type="HAC", maxlags=2, use_correction=True) on the differences below, and
# mixedlm("v ~ arm", groups="block").fit(reml=True) on the penicillin data.
STATSMODELS_HAC_2 = 0.30458524
STATSMODELS_PENICILLIN_ERROR = 2.744692


def autoregressive(n: int, rho: float, seed: int) -> Floats:
    noise = np.random.default_rng(seed).normal(size=n + 50)
    out = np.zeros(n + 50)
    for i in range(1, n + 50):
        out[i] = rho * out[i - 1] + noise[i]
    return out[50:]


def table_of(
    values: dict[str, list[float]], *, commits: list[int] | None = None, repeat: int = 0, seconds: float = 60
) -> Table:
    """A table of pairs in alternating order; *repeat* marks the last pair as a repeated one."""
    arms = list(values)
    runs, outcomes = [], []
    for block in range(len(values[arms[0]])):
        for position, arm in enumerate(arms if block % 2 else arms[::-1]):
            start = (block * len(arms) + position) * 100_000
            again = repeat if block == len(values[arms[0]]) - 1 else 0
            run = Run(
                f"{block}-{arm}", block, position, arm, again, "done", "", start, start + round(seconds * 1000),
                commits=commits[block] if commits else 3,
            )  # fmt: skip
            value = values[arm][block]
            runs.append(run)
            outcomes.append(Outcome(run.run_id, arm, block, position, "x", Figure(value, "J", "test", value, value)))
    return build(runs, Measured(tuple(outcomes), ()), arms[:2], "x")


def test_lag_one_autocorrelation_is_that_of_the_textbooks() -> None:
    # r_1 = sum (x_i - m)(x_{i+1} - m) / sum (x_i - m)^2, as in Box and Jenkins; by hand for 1..5: 4/10.
    assert lag_one([1.0, 2, 3, 4, 5]) == pytest.approx(0.4)
    assert lag_one([2.0, 2.0, 2.0, 2.0]) is None
    assert lag_one([0.1] * 9) is None


def test_newey_west_agrees_with_statsmodels() -> None:
    d = np.array([1.2, 0.7, 1.9, 2.4, 2.1, 1.0, 0.3, 0.8, 1.6, 2.2, 2.9, 2.5])
    assert hac_error(d, 2) == pytest.approx(STATSMODELS_HAC_2, rel=1e-7)
    assert hac_error(d, 0) == pytest.approx(d.std(ddof=1) / np.sqrt(12))


def test_with_memory_the_block_bootstrap_and_newey_west_are_wider() -> None:
    d = autoregressive(60, 0.6, 5)
    plain = mean_difference(d)
    for wide in (block_bootstrap(d, seed=3), hac_interval(d)):
        assert wide.high is not None and wide.low is not None and plain.high is not None and plain.low is not None
        assert wide.high - wide.low > 1.2 * (plain.high - plain.low)
        assert wide.value == pytest.approx(plain.value)
    assert block_bootstrap(d, seed=3) == block_bootstrap(d, seed=3)


def test_theil_sen_of_a_line_with_an_outlier_and_of_scipy() -> None:
    assert theil_sen([0.0, 2, 4, 6, 800, 10]).value == pytest.approx(2)
    y, x = [1.0, 2, 4, 3, 6, 5, 9], [0.0, 1, 2, 4, 5, 6, 9]
    ours, scipys = theil_sen(y, x), stats.theilslopes(y, x, alpha=0.95)
    assert (ours.value, ours.low, ours.high) == pytest.approx((scipys[0], scipys[2], scipys[3]))


def test_a_crossover_finds_the_effect_of_the_place() -> None:
    rng = np.random.default_rng(2)
    forward = [bool(i % 2) for i in range(40)]
    place = np.where(forward, 3.0, -3.0)
    d = 1.0 + place + rng.normal(0, 0.2, 40)
    found = crossover(d, np.full(40, 10.0) + rng.normal(0, 0.2, 40), forward)
    assert found.treatment and found.period and found.carry_over
    assert found.treatment.value == pytest.approx(1, abs=0.15)
    assert found.period.value == pytest.approx(3, abs=0.15)
    assert found.carry_over.low is not None and found.carry_over.high is not None
    assert found.carry_over.low < 0 < found.carry_over.high
    interval = stats.ttest_ind(d[forward], d[np.logical_not(forward)]).confidence_interval()
    assert 2 * found.period.value == pytest.approx((interval.low + interval.high) / 2)
    assert found.period.low == pytest.approx(interval.low / 2)


def test_a_crossover_with_one_pair_in_an_order_says_nothing() -> None:
    assert crossover([1.0, 2, 3], [1.0, 2, 3], [True, False, False]).treatment is None


def test_fieller_of_a_textbook_ratio() -> None:
    # a = 10 (variance 1), b = 5 (variance 0.25), independent, q = 1.96: bounds by the quadratic, by hand.
    (low, high), *more = fieller(10, 5, 1.0, 0.0, 0.25, 1.96)
    assert not more
    roots = np.roots([25 - 1.96**2 * 0.25, -100, 100 - 1.96**2])
    assert (low, high) == pytest.approx((min(roots), max(roots)))


def test_fieller_of_a_denominator_that_may_be_zero_has_no_end() -> None:
    two = fieller(10, 0.1, 0.1, 0, 1.0, 1.96)
    assert len(two) == 2 and math.isinf(two[0][0]) and math.isinf(two[1][1])
    assert fieller(0.01, 0.01, 1.0, 0, 1.0, 1.96) == [(-math.inf, math.inf)]


def windows(a: float, b: float, noise: float = 0.5) -> tuple[Floats, Floats, Floats]:
    """24 windows of half an hour with 1 to 60 commits; a by hour, b by commit."""
    rng = np.random.default_rng(4)
    commits = np.tile([1.0, 20.0, 60.0], 8)
    return a * 0.5 + b * commits + rng.normal(0, noise, 24), commits, np.full(24, 0.5)


def test_break_even_finds_the_rate_at_which_pull_becomes_cheaper() -> None:
    found = break_even(*windows(30, -1))
    assert found.word == "above"
    assert found.rate is not None and found.low is not None and found.high is not None
    assert found.low < 30 < found.high
    assert found.rate == pytest.approx(30, rel=0.05)
    assert break_even(*windows(-30, 1)).word == "below"


def test_break_even_never_always_and_open() -> None:
    never, always = break_even(*windows(30, 1)), break_even(*windows(-30, -1))
    assert (never.word, never.rate, never.low) == ("never", None, None)
    assert (always.word, always.rate) == ("always", None)
    assert break_even(*windows(0.1, -0.01, noise=9)).word == "open"
    flat = break_even(*windows(30, 0.0, noise=0.5))  # a commit costs the same: no upper end
    assert flat.word in ("open", "never") and flat.high is None


def test_fiellers_interval_of_the_break_even_rate_holds_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(9), 0
    commits, hours = np.tile([1.0, 20.0, 60.0], 4), np.full(12, 0.5)
    for _ in range(400):
        found = break_even(15 - commits + rng.normal(0, 12, 12), commits, hours)
        hits += found.low is not None and found.low <= 30 and (found.high is None or found.high >= 30)
    assert 0.92 <= hits / 400 <= 0.98


def test_break_even_needs_windows_that_differ() -> None:
    with pytest.raises(LabError, match="different commits by hour"):
        break_even(np.ones(9), np.full(9, 3.0), np.full(9, 0.5))
    words = section(table_of({"push": [1.0] * 6, "pull": [2.0] * 6}), 0.95)
    assert words.word == "unknown" and "few commits and of many" in words.why


def test_the_section_of_a_table_with_different_windows() -> None:
    commits = [1, 20, 60] * 4
    rng = np.random.default_rng(1)
    push = [100.0 + c + rng.normal(0, 0.2) for c in commits]
    found = section(table_of({"push": push, "pull": [115.0] * 12}, commits=commits, seconds=1800), 0.95)
    assert found.word == "above"
    assert found.rate.value == pytest.approx(30, rel=0.05)
    assert "pull is the cheaper one above" in found.why


def test_windows_that_differ_by_milliseconds_are_no_other_rate() -> None:
    table = table_of({"push": [1.0, 2, 3, 4, 5, 6], "pull": [2.0, 2, 3, 5, 5, 7]})
    late = tuple(
        replace(pair, runs={arm: replace(run, t1_ms=run.t1_ms + 7 * pair.block) for arm, run in pair.runs.items()})
        for pair in table.pairs
    )
    assert section(replace(table, pairs=late), 0.95).word == "unknown"


def test_contrasts_of_the_penicillin_blocks_agree_with_statsmodels() -> None:
    found = several(PENICILLIN)
    assert found.f == pytest.approx(1.24, abs=0.01)  # Box, Hunter and Hunter: 23.3 / 18.8
    assert found.f_p is None  # five blocks: no p-value
    values = [one.mixed for one in found.contrasts]
    assert [one.value for one in values if one] == pytest.approx([1, 5, 2])
    for one in values:
        assert one is not None and one.high is not None
        half = stats.t.ppf(0.975, 12) * STATSMODELS_PENICILLIN_ERROR
        assert one.high - one.value == pytest.approx(half, rel=1e-4)


def test_two_arms_in_the_mixed_model_are_the_paired_t_interval() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(50, 5, 9)
    columns = {"a": list(base + rng.normal(0, 1, 9)), "b": list(base + 2 + rng.normal(0, 1, 9))}
    (one,) = several(columns).contrasts
    assert one.mixed
    assert (one.mixed.low, one.mixed.high) == pytest.approx((one.paired.low, one.paired.high))


def test_holm_is_over_the_contrasts_and_friedman_agrees_with_scipy() -> None:
    rng = np.random.default_rng(8)
    columns = {arm: list(rng.normal(k, 1, 8)) for k, arm in enumerate("abc")}
    found = several(columns, {arm: list(rng.permutation(8) % 3) for arm in "abc"})
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*columns.values()).pvalue)
    ps = [one.p for one in found.contrasts]
    assert all(p is not None and 0 <= p <= 1 for p in ps)
    with pytest.raises(LabError):
        several({"a": [1.0], "b": [1.0, 2.0]})


def test_three_arms_of_a_table_become_a_section_and_two_do_not() -> None:
    values = {"push": [1.0, 2, 3, 4, 5, 6], "pull": [2.0, 3, 4, 5, 6, 8], "idle": [0.0, 1, 1, 3, 4, 5]}
    table = table_of(values)
    runs = [
        Run(f"{b}-{arm}", b, p, arm, 0, "done", "", 1000 * (3 * b + p), 1000 * (3 * b + p) + 500)
        for b in range(6)
        for p, arm in enumerate(values)
    ]
    plan = {"level": 0.95, "seed": 1}
    found = further_arms(runs, table.figures | others(values), list(values), "x", plan)
    assert found is not None
    assert [row.direction for row in found.contrasts] == ["pull minus push", "idle minus push"]
    assert found.contrasts[0].difference.value == pytest.approx(7 / 6)
    assert found.blocks.value == 6
    assert further_arms(runs, table.figures, ["push", "pull"], "x", plan) is None
    assert further_arms([], {}, list(values), "x", plan) == FurtherArms(
        blocks=ResultFigure(0, "blocks", "runs table of the bundle", 0, 0), contrasts=[], f=None, friedman=None
    )


def others(values: dict[str, list[float]]) -> dict[tuple[str, str], Figure]:
    return {(f"{b}-idle", "x"): Figure(v, "J", "test", v, v) for b, v in enumerate(values["idle"])}


def test_robustness_names_pairs_that_were_repeated_and_windows_that_were_flagged() -> None:
    table = table_of({"push": [1.0, 2, 3, 4, 5, 6, 7], "pull": [2.0, 4, 3, 6, 5, 8, 99]}, repeat=8)
    rows = {row.name: row for row in robustness(table, 1)}
    assert rows["Without repeated pairs"].figure.value == pytest.approx(7 / 6)
    assert "1 left out" in rows["Without repeated pairs"].method
    assert "Without flagged windows" not in rows
    first = table.pairs[0]
    flagged = {arm: replace(run, flags=("gap",)) for arm, run in first.runs.items()}
    marked = replace(table, pairs=(Pair(0, flagged), *table.pairs[1:]))
    rows = {row.name: row for row in robustness(marked, 1)}
    assert "Without flagged windows" in rows
    assert {"Trend of the differences", "Drift of the windows"} <= set(rows)


def test_memory_is_a_warning_and_brings_the_block_bootstrap() -> None:
    slow = [float(v) for v in np.sin(np.arange(20) / 3)]
    table = table_of({"push": [0.0] * 20, "pull": slow})
    assert memory_check(table)[0].status == "warning"
    assert {"Block bootstrap", "Newey-West interval"} <= {row.name for row in robustness(table, 1)}
    quick = [float(v) for v in np.random.default_rng(12).normal(size=20)]
    calm = table_of({"push": [0.0] * 20, "pull": quick})
    assert memory_check(calm)[0].status == "ok"
    assert "Block bootstrap" not in {row.name for row in robustness(calm, 1)}


positive = st.lists(st.floats(-100, 100).filter(lambda x: x == 0 or abs(x) > 1e-2), min_size=6, max_size=12)


@given(positive, st.floats(0.1, 10))
def test_memory_and_trend_behave_under_swap_of_arms_and_change_of_unit(d: list[float], scale: float) -> None:
    x = np.array(d)
    there, back, scaled = hac_interval(x), hac_interval(-x), hac_interval(scale * x)
    assert there.low == pytest.approx(-(back.high or 0), abs=1e-9)
    assert scaled.high == pytest.approx(scale * (there.high or 0), abs=1e-6)
    assert theil_sen(-x).value == pytest.approx(-theil_sen(x).value, abs=1e-9)
    assert theil_sen(scale * x).value == pytest.approx(scale * theil_sen(x).value, abs=1e-6)


def test_a_bundle_of_three_arms_reports_every_contrast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_bundle, "ARMS", ("push", "pull", "idle"))
    bundle = synthetic_bundle.make_bundle(tmp_path / "bundle", Spec(pairs=6, window_seconds=30, commits=2)).path
    page = report(bundle)
    found = json.loads(page.with_name("results.json").read_text())
    assert [row["direction"] for row in found["several"]["contrasts"]] == ["pull minus push", "idle minus push"]
    first, other = found["several"]["contrasts"]
    assert first["difference"] == pytest.approx(
        found["primary"]["estimate"] | {"source": first["difference"]["source"]}
    )
    assert other["p"]["value"] <= 1 and found["n"]["value"] == 6
    assert found["exclusions"] == []
    assert "Every arm against push" in page.read_text()
    assert "idle minus push" in page.with_suffix(".md").read_text()


def test_keplers_joules_stand_apart_and_are_not_tested() -> None:
    table = table_of({"push": [1.0, 2, 3, 4, 5, 6], "pull": [2.0, 2, 3, 5, 5, 7]})
    renamed = {(run_id, "kepler_joules.ci"): figure for (run_id, _), figure in table.figures.items()}
    both = replace(table, figures=table.figures | renamed)
    assert breakdown.secondaries(both, 1) == []
    (row,) = breakdown.kepler(both)
    assert (row.label, row.p) == ("ci", None)
    assert row.difference.value == pytest.approx(0.5)


def test_a_bundle_whose_blocks_have_different_commits_finds_its_break_even_rate(tmp_path: Path) -> None:
    # push costs 3 CPU-seconds less by the minute and 0.5 more by the commit: both are equal at 6 commits a minute.
    spec = Spec(pairs=9, effect=-3.0, by_commit=0.5, noise=0.1, commits_by_block=(1, 6, 14))
    page = report(synthetic_bundle.make_bundle(tmp_path / "bundle", spec).path)
    found = json.loads(page.with_name("results.json").read_text())
    rate = found["break_even"]["rate"]
    assert found["break_even"]["word"] == "above"
    assert rate["low"] < 360 < rate["high"] and rate["high"] - rate["low"] < 90
    assert found["break_even"]["by_hour"]["value"] == pytest.approx(180, rel=0.1)
    assert found["break_even"]["by_commit"]["value"] == pytest.approx(-0.5, rel=0.1)
    assert found["per_commit"] is None
    assert "pull is the cheaper one above the break-even rate" in page.read_text()
