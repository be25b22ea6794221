"""Planted faults of a counter: the truth within the stated bounds, or a refusal by name. Nothing in between.

Every property plants a true counter, scrapes it, spoils the scrapes, and compares the window with the truth.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardwatt.instruments.windows import Rule, integrate

Floats = npt.NDArray[np.float64]
LENGTH = 40.0
MOST = 4.0
"""CPU-seconds a second that the machine can do."""
STEADY = Rule(max_gap_ms=2500, max_rate=MOST)
PODS = Rule(max_gap_ms=20_000, max_rate=MOST, births=True, tail_ms=3500)
NAMES = {
    "a gap longer than the declared one",
    "a drop that is no wrap",
    "a rise faster than possible",
    "no sample at or before its start",
    "no sample at or after its end",
    "one moment has two values",
    "starts inside with more than it can have gained",
}


@dataclass(frozen=True)
class Truth:
    """A counter as knots and levels, when it was scraped, and what the scrapes hold. Seconds."""

    knots: Floats
    levels: Floats
    at: Floats
    values: Floats

    def gained(self, begin: float, end: float) -> float:
        return float(np.diff(np.interp([begin, end], self.knots, self.levels))[0])

    def window(self, begin: float, end: float, rule: Rule = STEADY) -> tuple[str, float, float, float]:
        """Return problem, value, low and high."""
        frame = pl.DataFrame({"series_id": 0, "ts": self.at * 1000, "value": self.values})
        result = integrate(frame, begin * 1000, end * 1000, rule)
        assert result.height == 1
        row = result.row(0, named=True)
        return row["problem"], row["value"], row["low"], row["high"]


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Idle, bursty or busy; its fastest second is its first, so that its pace is known. Scraped about once a second."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    busy = draw(st.sampled_from([0.0, 0.2, 1.0]))
    pace = draw(st.floats(0.1, MOST))
    knots = np.arange(0, LENGTH + 0.5, 0.5)
    gains = rng.uniform(0, 0.5 * pace, knots.size - 1) * (rng.random(knots.size - 1) < busy)
    gains[:6] = 0.5 * pace
    levels = draw(st.floats(0, 5000)) + np.concatenate([[0.0], np.cumsum(gains)])
    steps = rng.uniform(0.8, 1.2, 60)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.append(at[at < LENGTH - 0.2], LENGTH)
    return Truth(knots, levels, at, np.interp(at, knots, levels))


windows = st.tuples(st.floats(4, 18), st.floats(2, 18)).map(lambda pair: (pair[0], pair[0] + pair[1]))
Window = tuple[float, float]


def holds(found: tuple[str, float, float, float], truth: float, *, size: float, refusal: str = "") -> None:
    """The truth lies within the bounds; with ``refusal``, the window may be refused, but by that name alone."""
    problem, value, low, high = found
    if problem:
        assert problem in NAMES
        assert problem == refusal
        return
    slack = 1e-9 * max(1.0, size)
    assert low - slack <= truth <= high + slack
    assert low - slack <= value <= high + slack


@settings(deadline=None)
@given(truths(), windows, st.floats(60, 900), st.floats(0, 1))
def test_a_wrap(truth: Truth, window: Window, limit: float, phase: float) -> None:
    wrapped = replace(truth, values=np.mod(truth.values - truth.values[0] + phase * limit, limit))
    found = wrapped.window(*window, replace(STEADY, wrap=limit))
    holds(found, truth.gained(*window), size=limit)
    assert found[0] == ""


@settings(deadline=None)
@given(truths(), st.integers(4, 12), st.integers(1, 3), st.integers(1, 3), st.floats(0, 1))
def test_what_a_reset_lost_is_in_the_bounds_where_the_edges_leave_no_room(
    truth: Truth, place: int, before: int, after: int, share: float
) -> None:
    """The window begins and ends at samples, so that the bounds are those of the reset alone."""
    when = truth.at[place] + share * (truth.at[place + 1] - truth.at[place])
    at_reset = float(np.interp(when, truth.knots, truth.levels))
    spoilt = replace(truth, values=np.where(truth.at <= when, truth.values, truth.values - at_reset))
    assume(spoilt.values[place + 1] < spoilt.values[place])
    window = float(truth.at[place - before]), float(truth.at[place + 1 + after])
    holds(spoilt.window(*window), truth.gained(*window), size=truth.levels[-1])


@settings(deadline=None)
@given(truths(), windows, st.floats(5, 35))
def test_a_reset_loses_what_was_not_read_and_the_bounds_hold_it(truth: Truth, window: Window, when: float) -> None:
    before = float(np.interp(when, truth.knots, truth.levels))
    spoilt = replace(truth, values=np.where(truth.at < when, truth.values, truth.values - before))
    # A counter so young that it has passed its old value before it was read shows no reset: nothing can tell.
    place = int(np.searchsorted(truth.at, when))
    assume(spoilt.values[place] < spoilt.values[place - 1])
    holds(spoilt.window(*window), truth.gained(*window), size=truth.levels[-1])


@settings(deadline=None)
@given(truths(), windows, st.floats(5, 35))
def test_a_counter_that_wraps_and_starts_anew_is_refused(truth: Truth, window: Window, when: float) -> None:
    """Where the range is known a drop is a wrap, and one that gained more than half the range is none."""
    limit = 1e6
    before = float(np.interp(when, truth.knots, truth.levels))
    spoilt = replace(truth, values=np.where(truth.at < when, truth.values, truth.values - before))
    found = spoilt.window(*window, replace(STEADY, wrap=limit))
    place = int(np.searchsorted(truth.at, when))
    touched = truth.at[place - 1] < window[1] and truth.at[place] > window[0]
    if touched and spoilt.values[place] < spoilt.values[place - 1]:
        assert found[0] in ("a drop that is no wrap", "a rise faster than possible")
    else:
        holds(found, truth.gained(*window), size=truth.levels[-1])


@settings(deadline=None)
@given(truths(), windows, st.floats(4, 36), st.floats(0, 8))
def test_a_gap_is_bridged_up_to_the_declared_one_and_refused_beyond(
    truth: Truth, window: Window, when: float, length: float
) -> None:
    keep = (truth.at < when) | (truth.at > when + length)
    keep[[0, -1]] = True
    spoilt = replace(truth, at=truth.at[keep], values=truth.values[keep])
    found = spoilt.window(*window)
    gaps = np.diff(spoilt.at)
    inside = gaps[(spoilt.at[1:] > window[0]) & (spoilt.at[:-1] < window[1])]
    assert (found[0] != "") == bool(np.max(inside) > 2.5)
    holds(found, truth.gained(*window), size=truth.levels[-1], refusal="a gap longer than the declared one")


@settings(deadline=None)
@given(truths(), windows, st.lists(st.integers(0, 30), min_size=1, max_size=9))
def test_repeated_rows_in_any_order_change_nothing(truth: Truth, window: Window, again: list[int]) -> None:
    order = np.random.default_rng(len(again)).permutation(truth.at.size + len(again))
    places = np.array(again) % truth.at.size
    at, values = (np.concatenate([one, one[places]])[order] for one in (truth.at, truth.values))
    assert replace(truth, at=at, values=values).window(*window) == truth.window(*window)


@settings(deadline=None)
@given(truths(), windows, st.integers(0, 30), st.floats(0.001, 5))
def test_a_moment_with_two_values_is_refused(truth: Truth, window: Window, place: int, other: float) -> None:
    place = place % truth.at.size
    at, values = np.append(truth.at, truth.at[place]), np.append(truth.values, truth.values[place] + other)
    assert replace(truth, at=at, values=values).window(*window)[0] == "one moment has two values"


@settings(deadline=None)
@given(truths(), windows, st.lists(st.integers(1, 38), max_size=4), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_no_number_is_as_if_it_had_not_been_scraped(
    truth: Truth, window: Window, places: list[int], odd: float
) -> None:
    chosen = np.array([place % (truth.at.size - 2) + 1 for place in places], dtype=np.int64)
    values = truth.values.copy()
    values[chosen] = odd
    spoilt = replace(truth, values=values)
    keep = np.isfinite(values)
    assert spoilt.window(*window) == replace(truth, at=truth.at[keep], values=truth.values[keep]).window(*window)
    holds(
        spoilt.window(*window), truth.gained(*window), size=truth.levels[-1],
        refusal="a gap longer than the declared one",
    )  # fmt: skip


@settings(deadline=None)
@given(truths(), windows, st.floats(5, 30), st.floats(0.05, 6))
def test_the_clock_steps_forward(truth: Truth, window: Window, when: float, step: float) -> None:
    """After ``when`` the node's clock is ahead: the window, by that clock, holds less of the counter."""
    spoilt = replace(truth, at=np.where(truth.at < when, truth.at, truth.at + step))
    real = [edge if edge < when else max(when, edge - step) for edge in window]
    assume(real[1] > real[0])
    refusals = {"a gap longer than the declared one"}
    found = spoilt.window(*window)
    holds(found, truth.gained(*real), size=truth.levels[-1], refusal=found[0] if found[0] in refusals else "")


@settings(deadline=None)
@given(truths(), st.floats(5, 12), st.floats(13, 18), st.floats(26, 34), st.floats(0.05, 6))
def test_the_clock_steps_back(truth: Truth, begin: float, when: float, end: float, step: float) -> None:
    """Prometheus takes no sample that is older than the last: until the clock is past it again there is silence."""
    stamped = np.where(truth.at < when, truth.at, truth.at - step)
    newest = float(stamped[truth.at < when][-1])
    keep = (truth.at < when) | (stamped > newest)
    spoilt = replace(truth, at=stamped[keep], values=truth.values[keep])
    found = spoilt.window(begin, end)
    refusals = {"a gap longer than the declared one", "a rise faster than possible"}
    truly = truth.gained(begin, end + step)
    holds(found, truly, size=truth.levels[-1], refusal=found[0] if found[0] in refusals else "")


@st.composite
def pods(draw: st.DrawFn) -> tuple[Truth, float, float]:
    """A pod of one pace, born and dead somewhere, seen by a scrape a second at least once; its birth and its death."""
    born = draw(st.floats(0, 30))
    died = born + draw(st.floats(0.4, 12))
    pace = draw(st.floats(0, MOST))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    at = np.cumsum(rng.uniform(0.8, 1.2, 60))
    at = at[(at >= born) & (at <= died)]
    assume(at.size > 0)
    knots = np.array([-1.0, born, died, LENGTH + 20])
    levels = np.array([0.0, 0.0, pace * (died - born), pace * (died - born)])
    return Truth(knots, levels, at, pace * (at - born)), born, died


@settings(deadline=None)
@given(pods(), windows)
def test_a_pod_that_is_born_and_dies_somewhere(pod: tuple[Truth, float, float], window: Window) -> None:
    truth, born, died = pod
    frame = pl.DataFrame({"series_id": 0, "ts": truth.at * 1000, "value": truth.values})
    result = integrate(frame, window[0] * 1000, window[1] * 1000, PODS)
    if not result.height:
        # Left out: no sample of it concerns the window. What it can have used there is less than its unread ends.
        assert truth.gained(*window) <= MOST * 2 * 1.2
        return
    row = result.row(0, named=True)
    holds(
        (row["problem"], row["value"], row["low"], row["high"]), truth.gained(*window), size=1.0,
        refusal="starts inside with more than it can have gained",
    )  # fmt: skip
    assert died > born


@settings(deadline=None)
@given(pods(), st.floats(0, 1))
def test_a_pod_that_was_born_just_before_the_window(pod: tuple[Truth, float, float], share: float) -> None:
    """What its first sample holds may have been gained before the window."""
    truth, born, _ = pod
    begin = born + share * (float(truth.at[0]) - born)
    found = truth.window(begin, LENGTH + 15, PODS)
    holds(found, truth.gained(begin, LENGTH + 15), size=1.0)


@settings(deadline=None)
@given(st.floats(5, 20), st.floats(85, 5000))
def test_an_old_counter_that_appears_in_the_window_is_refused(first: float, offset: float) -> None:
    at = np.arange(first, LENGTH, 1.0)
    frame = pl.DataFrame({"series_id": 0, "ts": at * 1000, "value": offset + 0.1 * at})
    row = integrate(frame, 2000, 39_000, PODS).row(0, named=True)
    assert row["problem"] == "starts inside with more than it can have gained"
