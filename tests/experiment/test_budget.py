"""Plan that fits a time, and the effect it detects: chosen before anything runs, for any curve, study and time."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.experiment import series
from hardwatt.experiment.plan import noise_curve
from hardwatt.experiment.plan.budget import Budget, at_length, block_seconds, for_hours, for_minutes, session_seconds
from hardwatt.experiment.plan.noise_curve import NoiseCurve, NoiseRow
from hardwatt.experiment.plan.run_table import make_plan
from hardwatt.experiment.plan.sample_size import detectable_in_sessions
from hardwatt.experiment.plan.study_file import problems, read_study
from hardwatt.experiment.plan.study_model import Study
from hardwatt.experiment.series import Request

BASE = read_study(Path(__file__).parent / "base.toml")
LENGTHS = (30.0, 60.0, 120.0, 300.0)


def curve_of(sds: list[float], between: float | None = None, lengths: tuple[float, ...] = LENGTHS) -> NoiseCurve:
    rows = [
        NoiseRow(seconds, arm, 8, sd, between) for seconds, sd in zip(lengths, sds, strict=True) for arm in BASE.arms
    ]
    return NoiseCurve("2026-12-01T00:00:00+00:00", tuple(rows))


CURVE = curve_of([12.0, 8.0, 6.0, 5.0])
curves = st.builds(curve_of, st.lists(st.floats(0.1, 100.0), min_size=4, max_size=4), st.none() | st.floats(0.0, 50.0))
hours = st.floats(1.0, 200.0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(curve=curves, time=hours, apart=st.floats(0.0, 3600.0))
def test_a_plan_fits_its_hours_by_the_engines_own_estimate(curve: NoiseCurve, time: float, apart: float) -> None:
    budget = for_hours(BASE, time, curve=curve, between_seconds=apart)
    assert budget.total_seconds <= time * 3600 + 1e-6
    plan = make_plan(budget.study, seed=7, pairs=budget.pairs)
    assert plan.estimated_seconds() <= budget.session_seconds + 1e-6
    assert problems(budget.study) == []
    assert budget.pairs >= 2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(curve=curves, time=hours, more=st.floats(0.0, 100.0), apart=st.floats(0.0, 3600.0))
def test_more_hours_never_detect_worse(curve: NoiseCurve, time: float, more: float, apart: float) -> None:
    short, long = (for_hours(BASE, each, curve=curve, between_seconds=apart) for each in (time, time + more))
    assert long.detects <= short.detects * (1 + 1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(curve=curves, minutes=st.floats(8.0, 600.0), more=st.floats(0.0, 300.0))
def test_a_session_fits_its_minutes_and_more_minutes_never_scatter_more(
    curve: NoiseCurve, minutes: float, more: float
) -> None:
    def scatter(budget: Budget) -> float:
        assert budget.noise is not None
        return budget.noise.sd / math.sqrt(budget.pairs)

    short, long = (
        for_minutes(BASE, each, sessions=3, between_seconds=60.0, curve=curve) for each in (minutes, minutes + more)
    )
    assert short.session_seconds <= minutes * 60 + 1e-6
    assert scatter(long) <= scatter(short) * (1 + 1e-9)
    assert short.sessions == 3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(time=hours, apart=st.floats(0.0, 3600.0), minutes=st.floats(10.0, 200.0))
def test_no_other_plan_that_fits_detects_less(time: float, apart: float, minutes: float) -> None:
    best = for_hours(BASE, time, curve=CURVE, between_seconds=apart, minutes=minutes)
    assert best.session_seconds <= minutes * 60 + 1e-6
    for seconds in LENGTHS:
        study = at_length(BASE, seconds)
        if study is None:
            continue
        rows = CURVE.of()[seconds]
        sd = next(iter(rows.values())).sd_upper
        for number in range(2, 20):
            limit = min((time * 3600 - (number - 1) * apart) / number, minutes * 60)
            pairs = math.floor((limit - study.gate.baseline_seconds) / block_seconds(study) + 1e-9)
            if pairs >= 2:
                value = detectable_in_sessions(math.hypot(sd, sd / math.sqrt(pairs)), number)
                assert best.detects <= value * (1 + 1e-9)


def test_the_smallest_difference_is_that_of_a_t_test_over_sessions_with_power_0_8() -> None:
    # statsmodels: TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    for sessions, shift in ((3, 3.26404355), (5, 1.68199708), (8, 1.15603528), (10, 0.99600191)):
        assert detectable_in_sessions(2.0, sessions) == pytest.approx(2 * shift, rel=1e-3)
    assert detectable_in_sessions(1.0, 1) == math.inf


def test_overhead_between_sessions_and_around_windows_is_counted() -> None:
    cheap = for_hours(BASE, 8, curve=CURVE, between_seconds=0.0)
    dear = for_hours(BASE, 8, curve=CURVE, between_seconds=3000.0)
    assert dear.sessions < cheap.sessions
    assert dear.detects > cheap.detects
    slow = NoiseCurve(CURVE.at, tuple(NoiseRow(r.window_seconds, r.arm, r.n, r.sd, None, 2000.0) for r in CURVE.rows))
    assert for_hours(BASE, 8, curve=slow, between_seconds=0.0).detects > cheap.detects
    one = at_length(BASE, 60.0)
    assert one is not None
    assert session_seconds(one, 3) == one.gate.baseline_seconds * 4 + 3 * 2 * (60 + 4 + 5 + 3 * 8 + 5)


def test_a_noisy_cluster_takes_more_sessions_and_a_quiet_one_more_pairs() -> None:
    noisy = for_hours(BASE, 12, curve=curve_of([12.0, 8.0, 6.0, 5.0], 30.0), between_seconds=600.0)
    quiet = for_hours(BASE, 12, curve=curve_of([12.0, 8.0, 6.0, 5.0], 0.0), between_seconds=600.0)
    assert noisy.sessions > quiet.sessions
    assert quiet.pairs > noisy.pairs


def test_the_window_is_the_one_that_the_noise_favours() -> None:
    long = for_minutes(BASE, 60, sessions=3, between_seconds=0, curve=curve_of([50.0, 50.0, 50.0, 1.0]))
    short = for_minutes(BASE, 60, sessions=3, between_seconds=0, curve=curve_of([50.0, 1.0, 50.0, 50.0]))
    assert long.study.estimand.window_seconds == 300
    assert short.study.estimand.window_seconds == 60


def test_commits_keep_their_rate_when_the_window_changes() -> None:
    study = at_length(BASE, 300.0)
    assert study is not None
    assert study.trace.commits == 20
    assert at_length(BASE, 10.0) is None
    assert at_length(BASE, 45.0) is BASE


def test_what_is_said_before_the_start_names_both_units_and_what_is_assumed() -> None:
    budget = for_hours(BASE, 8, curve=CURVE, between_seconds=600.0)
    text = "\n".join(budget.says())
    assert "CPU-ms per s, which is " in text
    assert "CPU-s per delivery if sessions differ as much as pairs do (80 % power, alpha 0.05, t over" in text
    assert "at best: if sessions differ no more than their pairs explain" in text
    each = budget.detects / 1000 * budget.study.estimand.window_seconds / budget.study.trace.commits
    assert f"{budget.detects:.3g} CPU-ms per s, which is {each:.3g} CPU-s per delivery" in text
    measured = for_hours(BASE, 8, curve=curve_of([12.0, 8.0, 6.0, 5.0], 2.0), between_seconds=600.0)
    assert "sessions spread as in the A/A series" in "\n".join(measured.says())


def test_one_session_is_said_to_be_this_cluster_this_hour() -> None:
    budget = for_hours(BASE, 0.5, curve=CURVE, between_seconds=3000.0)
    assert budget.sessions == 1
    assert budget.detects == math.inf
    assert "one session answers for this cluster, this hour" in "\n".join(budget.says())


def test_without_a_curve_minutes_choose_pairs_alone_and_say_what_that_means() -> None:
    budget = for_minutes(BASE, 30, sessions=3, between_seconds=600.0)
    assert budget.study is BASE
    assert budget.pairs == math.floor((1800 - 8) / block_seconds(BASE))
    assert "not known, as the noise of this machine was not measured: invoke experiment.qualify" in budget.says()[1]


@pytest.mark.parametrize("curve", [None, CURVE])
def test_minutes_that_cannot_fit_are_refused_with_the_least_that_do(curve: NoiseCurve | None) -> None:
    with pytest.raises(SettingsError, match="--session-minutes 3 is too short for a session: 2 pairs of ") as caught:
        for_minutes(BASE, 3, sessions=3, between_seconds=0.0, curve=curve)
    least = float(caught.value.hint.split()[1])
    assert for_minutes(BASE, least, sessions=3, between_seconds=0.0, curve=curve).pairs == 2
    with pytest.raises(SettingsError):
        for_minutes(BASE, least - 0.2, sessions=3, between_seconds=0.0, curve=curve)


def test_hours_that_cannot_fit_are_refused_with_the_least_that_do() -> None:
    with pytest.raises(SettingsError, match=r"--hours 0\.05 is too short for a session") as caught:
        for_hours(BASE, 0.05, curve=CURVE, between_seconds=0.0)
    assert for_hours(BASE, float(caught.value.hint.split()[1]), curve=CURVE, between_seconds=0.0).sessions == 1
    with pytest.raises(
        SettingsError, match=r"--hours 1 is too short for 5 sessions: .*with 60 min between two"
    ) as some:
        for_hours(BASE, 1, curve=CURVE, between_seconds=3600.0, sessions=5)
    assert for_hours(
        BASE, float(some.value.hint.split()[1]), curve=CURVE, between_seconds=3600.0, sessions=5
    ).sessions == 5  # fmt: skip
    with pytest.raises(SettingsError, match="--session-minutes 2 is too short"):
        for_hours(BASE, 8, curve=CURVE, between_seconds=0.0, minutes=2)
    with pytest.raises(SettingsError, match="12 pairs"):
        for_minutes(BASE, 10, sessions=1, between_seconds=0.0, pairs=12)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(SettingsError, match="is a time above zero"):
        for_hours(BASE, value, curve=CURVE, between_seconds=0.0)
    with pytest.raises(SettingsError, match="is a time above zero"):
        for_minutes(BASE, value, sessions=1, between_seconds=0.0)


def test_hours_without_a_curve_ask_for_qualify_first(lab: Lab) -> None:
    with pytest.raises(LabError, match="was not measured here") as caught:
        series.planned(lab, Request("push-vs-pull", hours=8.0), "cluster")
    assert caught.value.hint == "invoke experiment.qualify"
    joules = NoiseCurve(CURVE.at, tuple(NoiseRow(30.0, arm, 8, 5.0, outcome="node_joules") for arm in BASE.arms))
    with pytest.raises(LabError, match="the noise of node_cpu_seconds was not measured"):
        for_hours(BASE, 8, curve=joules, between_seconds=0.0)


def test_a_curve_whose_windows_hold_no_commit_is_said() -> None:
    with pytest.raises(LabError, match="windows of 5 s, and none of them holds the commits"):
        for_hours(BASE, 8, curve=curve_of([1.0], lengths=(5.0,)), between_seconds=0.0)


def test_an_arm_without_a_series_of_its_own_is_planned_with_the_noisiest() -> None:
    rows = (NoiseRow(120.0, "pull", 8, 2.0), NoiseRow(120.0, "none", 8, 6.0))
    budget = for_hours(BASE, 8, curve=NoiseCurve("x", rows), between_seconds=0.0)
    assert budget.noise is not None
    assert budget.noise.instead_of == ("push",)
    assert any("no series of push: the noisiest arm stands for it" in line for line in budget.says())


def test_the_chosen_window_pairs_and_sessions_are_those_that_the_series_runs(lab: Lab) -> None:
    noise_curve.save(lab, CURVE)
    plan, budget = series.planned(lab, Request("push-vs-pull", hours=6.0), "cluster")
    assert plan.study.estimand.window_seconds == budget.study.estimand.window_seconds
    assert (plan.pairs, plan.study) == (budget.pairs, budget.study)
    assert budget.between_seconds == 600
    shorter, half = series.planned(lab, Request("push-vs-pull", sessions=3, session_minutes=30.0), "nothing")
    assert half.sessions == 3
    assert shorter.estimated_seconds() <= 1800
    assert shorter.protocol_sha256 != "" != plan.protocol_sha256


def test_a_study_of_whole_squares_gets_whole_squares() -> None:
    three: dict[str, Any] = {"arms": ("push", "pull"), "design": BASE.design.model_copy(update={"order": "abba"})}
    study = Study(**{**BASE.model_dump(), **three, "design": {**BASE.design.model_dump(), "order": "abba", "pairs": 2}})
    assert for_minutes(study, 25, sessions=1, between_seconds=0.0).pairs % 2 == 0
