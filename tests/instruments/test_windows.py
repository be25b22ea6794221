"""Windows: planted faults give the planted truth within the stated bound, or are refused by name."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.instruments.windows import Rule, WindowError, integrate

STEADY = Rule(max_gap_ms=2500, max_rate=4)
PODS = Rule(max_gap_ms=2500, max_rate=4, births=True)


def frame(*series: tuple[list[float], list[float]]) -> pl.DataFrame:
    """Series 0, 1, ... from (times in seconds, values)."""
    rows = [(i, t * 1000, v) for i, (ts, vs) in enumerate(series) for t, v in zip(ts, vs, strict=True)]
    return pl.DataFrame(rows, schema={"series_id": pl.Int64, "ts": pl.Float64, "value": pl.Float64}, orient="row")


def one(samples: pl.DataFrame, t0: float, t1: float, rule: Rule = STEADY) -> dict[str, float | str]:
    result = integrate(samples, t0 * 1000, t1 * 1000, rule)
    assert result.height == 1
    row: dict[str, float | str] = result.row(0, named=True)
    return row


def line(
    start: float, stop: float, rate: float, offset: float = 0.0, step: float = 1.0
) -> tuple[list[float], list[float]]:
    ts = np.arange(start, stop + step / 2, step)
    return ts.tolist(), (offset + rate * (ts - start)).tolist()


def test_edges_are_interpolated_and_bounded() -> None:
    row = one(frame(line(0, 20, 0.5)), 2.25, 12.75)
    assert row["problem"] == ""
    assert row["value"] == pytest.approx(0.5 * 10.5)
    assert row["low"] == pytest.approx(0.5 * 9)
    assert row["high"] == pytest.approx(0.5 * 11)


def test_edges_on_samples_are_exact() -> None:
    row = one(frame(line(0, 20, 0.5)), 2, 12)
    assert row["low"] == row["value"] == row["high"] == pytest.approx(5)


def test_a_window_inside_one_stretch_may_hold_nothing_or_all() -> None:
    row = one(frame(([0, 2], [0, 1])), 0.5, 1.5)
    assert (row["low"], row["value"], row["high"]) == (0, 0.5, 1)


def test_a_reset_counts_from_zero_and_widens_the_bound() -> None:
    ts = [0.0, 1, 2, 3, 4, 5, 6]
    # 0.5 a second; reset at 3.4: 0.2 more were gained before it, and lost.
    vs = [10, 10.5, 11, 11.5, 0.3, 0.8, 1.3]
    row = one(frame((ts, vs)), 0, 6)
    assert row["resets"] == 1
    assert row["value"] == pytest.approx(2.8)
    assert row["low"] == pytest.approx(2.8)
    assert row["high"] == pytest.approx(2.8 + 0.5)
    assert 2.8 <= 3.0 <= float(row["high"])


def test_a_wrap_is_exact() -> None:
    rule = Rule(max_gap_ms=2500, max_rate=400, wrap=1000)
    ts, vs = line(0, 20, 40, 500)
    row = one(frame((ts, [v % 1000 for v in vs])), 0, 20, rule)
    assert row["resets"] == 0
    assert row["low"] == row["value"] == row["high"] == pytest.approx(800)


def test_a_drop_that_is_no_wrap_is_refused() -> None:
    rule = Rule(max_gap_ms=2500, max_rate=400, wrap=1000)
    row = one(frame(([0, 1, 2], [500, 540, 100])), 0, 2, rule)
    assert row["problem"] == "a drop that is no wrap"


def test_a_gap_longer_than_declared_is_refused_and_a_shorter_one_is_bounded() -> None:
    ts, vs = line(0, 20, 0.5)
    short = [i for i in range(21) if i != 10]
    row = one(frame(([ts[i] for i in short], [vs[i] for i in short])), 5, 15)
    assert (row["problem"], row["max_gap_ms"]) == ("", 2000)
    assert row["value"] == pytest.approx(5)
    long = [i for i in range(21) if i not in (10, 11)]
    row = one(frame(([ts[i] for i in long], [vs[i] for i in long])), 5, 15)
    assert row["problem"] == "a gap longer than the declared one"


def test_a_gap_beside_the_window_does_not_matter() -> None:
    row = one(frame(([0, 5, 6, 7, 8, 20], [0, 5, 6, 7, 8, 20])), 5.5, 7.5)
    assert row["problem"] == ""


@pytest.mark.parametrize("copies", [2, 5])
def test_repeated_samples_change_nothing(copies: int) -> None:
    samples = frame(line(0, 20, 0.5))
    assert one(pl.concat([samples] * copies), 2.3, 11.1) == one(samples, 2.3, 11.1)


def test_two_values_at_one_moment_are_refused() -> None:
    row = one(frame(([0, 1, 1, 2], [0, 1, 1.5, 2])), 0, 2)
    assert row["problem"] == "one moment has two values"


def test_values_that_are_not_numbers_are_as_if_never_scraped() -> None:
    ts, vs = line(0, 20, 0.5)
    vs[7] = float("nan")
    vs[12] = float("inf")
    row = one(frame((ts, vs)), 2, 15)
    assert row["problem"] == ""
    assert row["value"] == pytest.approx(6.5)
    vs[8] = float("nan")
    assert one(frame((ts, vs)), 2, 15)["problem"] == "a gap longer than the declared one"


def test_a_clock_step_is_refused() -> None:
    ts, vs = line(0, 20, 0.5)
    forward = [t + (30 if t > 10 else 0) for t in ts]
    assert one(frame((forward, vs)), 2, 45)["problem"] == "a gap longer than the declared one"
    back = [t - (3 if t > 10 else 0) for t in ts]
    assert one(frame((back, vs)), 2, 16)["problem"] == "one moment has two values"


def test_a_rise_that_is_impossible_is_refused() -> None:
    row = one(frame(([0, 1, 2, 3], [0, 1, 100, 101])), 0, 3)
    assert row["problem"] == "a rise faster than possible"


@pytest.mark.parametrize("births", [False, True])
@pytest.mark.parametrize("values", [[880.0, 879.9, 880.4, 880.9], [880.0, 880.5, 875.5, 876.0], [9.0, 9.5, 9.4, 9.9]])
def test_a_counter_that_falls_to_more_than_a_fresh_start_is_refused(values: list[float], births: bool) -> None:
    rule = Rule(max_gap_ms=2500, max_rate=2, births=births)
    row = one(frame(([0.0, 1, 2, 3], values)), 0, 3, rule)
    assert row["problem"] == "goes back, and what follows is no fresh start"


def test_a_rise_that_is_impossible_is_refused_however_short_the_stretch_is() -> None:
    row = one(frame(([0, 1, 1.3, 2.3], [0.0, 1, 9, 10])), 0, 2.3, Rule(max_gap_ms=2500, max_rate=2))
    assert row["problem"] == "a rise faster than possible"


def test_a_window_that_samples_do_not_reach_is_refused() -> None:
    samples = frame(line(10, 20, 0.5))
    assert one(samples, 5, 15)["problem"] == "no sample at or before its start"
    assert one(samples, 15, 25)["problem"] == "no sample at or after its end"


def test_a_short_reach_beyond_the_samples_is_bounded() -> None:
    row = one(frame(line(10, 20, 0.5)), 10, 21)
    assert row["problem"] == ""
    assert float(row["low"]) == pytest.approx(5)
    assert float(row["high"]) == pytest.approx(5.5)
    assert float(row["value"]) == pytest.approx(5.5)


def test_a_pod_born_and_dead_inside() -> None:
    # Born at 10.2 at one CPU; seen at 11, 12, 13; dead at 13.6 with 3.4 CPU-seconds.
    row = one(frame(([11, 12, 13], [0.8, 1.8, 2.8])), 0, 60, PODS)
    assert row["problem"] == ""
    assert row["value"] == pytest.approx(2.8)
    assert float(row["low"]) <= 3.4 <= float(row["high"])
    assert float(row["high"]) == pytest.approx(2.8 + 2.5)


def test_a_pod_seen_once_is_counted_with_a_wide_bound() -> None:
    row = one(frame(([11], [0.4])), 0, 60, PODS)
    assert row["value"] == pytest.approx(0.4)
    assert float(row["high"]) == pytest.approx(0.4 + 4 * 2.5)


def test_a_pod_that_was_read_often_lost_little_at_its_end() -> None:
    rule = Rule(max_gap_ms=20_000, max_rate=4, births=True, tail_ms=3500)
    busy = one(frame(([11, 12.5, 14], [0.8, 1.8, 2.8])), 0, 60, rule)
    assert float(busy["high"]) == pytest.approx(2.8 + 3.5 / 1.5)
    idle = one(frame(([11, 12.5, 14], [0.8, 1.8, 1.8])), 0, 60, rule)
    assert float(idle["high"]) == pytest.approx(1.8 + (3.5 + 4 * 1.5) / 1.5)
    long_idle = one(frame(([11, 12.5, 28], [0.8, 1.8, 1.8])), 0, 60, rule)
    assert float(long_idle["high"]) == pytest.approx(1.8 + 20 / 1.5)
    assert busy["low"] == busy["value"] == pytest.approx(2.8)


def test_a_pod_born_just_before_may_have_gained_before_the_window() -> None:
    row = one(frame(line(10.5, 30, 0.5, offset=0.4)), 10, 20, PODS)
    assert float(row["value"]) == pytest.approx(0.4 + 0.5 * 9.5)
    assert float(row["low"]) <= 0.5 * 9.5


def test_an_old_pod_that_is_seen_for_the_first_time_is_refused() -> None:
    row = one(frame(line(15, 30, 0.5, offset=900)), 10, 20, PODS)
    assert row["problem"] == "starts inside with more than it can have gained"


def test_pods_of_another_time_are_left_out() -> None:
    samples = frame(line(0, 3, 0.5), line(30, 40, 0.5), line(0, 40, 0.5))
    result = integrate(samples, 10_000, 20_000, PODS)
    assert result["series_id"].to_list() == [2]


def test_no_samples_and_an_empty_window() -> None:
    assert integrate(frame(), 0, 1000, STEADY).height == 0
    with pytest.raises(WindowError, match="ends before it starts"):
        integrate(frame(line(0, 2, 1)), 2000, 2000, STEADY)


def test_many_series_at_once_are_each_its_own() -> None:
    series = [line(0, 20, rate / 100) for rate in range(200)]
    result = integrate(frame(*series), 2500, 12500, STEADY)
    assert result["value"].to_numpy() == pytest.approx(np.arange(200) / 10)
    assert result["problem"].unique().to_list() == [""]


Counter = tuple[list[float], list[float], list[float], list[float]]


@st.composite
def counters(draw: st.DrawFn) -> Counter:
    """A true counter (knots, levels) and the moments at which it was scraped, at most 2 s apart, with its values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    busy = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    knots = np.arange(0, 25, 0.5)
    gains = rng.uniform(0, 0.4, knots.size - 1) * (rng.random(knots.size - 1) < busy)
    levels = draw(st.floats(0, 1000)) + np.concatenate([[0.0], np.cumsum(gains)])
    at = np.concatenate([[0.0], np.cumsum(rng.uniform(0.2, 2.0, 200))])
    at = np.append(at[at < knots[-1]], knots[-1])
    return knots.tolist(), levels.tolist(), at.tolist(), np.interp(at, knots, levels).tolist()


windows = st.tuples(st.floats(0.5, 9), st.floats(0.6, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(deadline=None)
@given(counters(), windows)
def test_the_truth_lies_within_the_bounds(counter: Counter, window: tuple[float, float]) -> None:
    knots, levels, at, values = counter
    before, after = np.interp(window, knots, levels)
    row = one(frame((at, values)), *window)
    assert row["problem"] == ""
    slack = 1e-9 * max(levels)
    assert float(row["low"]) - slack <= after - before <= float(row["high"]) + slack
    assert float(row["low"]) - slack <= float(row["value"]) <= float(row["high"]) + slack


@settings(deadline=None)
@given(counters(), st.floats(1, 5), st.floats(6, 10), st.floats(11, 15))
def test_windows_side_by_side_add_up(counter: Counter, a: float, b: float, c: float) -> None:
    samples = frame(counter[2:])
    parts = [float(one(samples, begin, end)["value"]) for begin, end in pairwise((a, b, c))]
    assert sum(parts) == pytest.approx(float(one(samples, a, c)["value"]), abs=1e-6)


@settings(deadline=None)
@given(counters(), windows, st.floats(50, 500))
def test_a_wrapping_counter_gives_what_the_plain_one_gives(
    counter: Counter, window: tuple[float, float], wrap: float
) -> None:
    _, _, at, values = counter
    rule = Rule(max_gap_ms=2500, max_rate=4, wrap=wrap)
    plain = one(frame((at, values)), *window)
    wrapped = one(frame((at, np.mod(values, wrap).tolist())), *window, rule)
    assert wrapped["problem"] == ""
    assert float(wrapped["value"]) == pytest.approx(float(plain["value"]), abs=1e-6)


@settings(deadline=None)
@given(counters(), windows, st.integers(5, 15))
def test_the_truth_lies_within_the_bounds_over_a_reset(
    counter: Counter, window: tuple[float, float], place: int
) -> None:
    """The counter starts at zero again at a sample; nothing is lost, so the bound must hold with no tolerance."""
    knots, levels, at, values = counter
    place = min(place, len(at) - 2)
    drop = values[place]
    if drop <= 0.5:
        return
    samples = [v if i <= place else v - drop for i, v in enumerate(values)]
    before, after = np.interp(window, knots, levels)
    row = one(frame((at, samples)), *window)
    if row["problem"] == "":
        slack = 1e-6
        assert float(row["low"]) - slack <= after - before <= float(row["high"]) + slack


@settings(deadline=None)
@given(counters(), windows)
def test_order_and_repetition_do_not_matter(counter: Counter, window: tuple[float, float]) -> None:
    samples = frame(counter[2:])
    order = np.random.default_rng(len(counter[2])).permutation(samples.height)
    shuffled = pl.concat([samples[order.tolist()], samples.head(7)])
    assert one(shuffled, *window) == one(samples, *window)
