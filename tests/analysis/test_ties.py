"""Ties, zeros and verdicts are decided by the values: neither the last bits of a float nor a unit changes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardwatt.analysis import Columns, TableRequest, analyse_table, answer, ties
from hardwatt.analysis.breakeven import break_even
from hardwatt.analysis.equivalence import tost
from hardwatt.analysis.multi_arm import several
from hardwatt.analysis.offtime import off_time
from hardwatt.analysis.order import theil_sen
from hardwatt.analysis.paired import mean_difference, standard_error
from hardwatt.analysis.resample import bootstrap_t, sign_flip
from hardwatt.analysis.results import analyse
from hardwatt.analysis.serial import block_bootstrap, worrying
from hardwatt.analysis.signedrank import hodges_lehmann, rank_biserial, wilcoxon
from hardwatt.analysis.table import Pair, Table, noise, signed_places, vector
from hardwatt.bundle.model import Run
from hardwatt.experiment.plan.machine_noise import Rung
from hardwatt.instruments.crosschecks import Crosscheck
from hardwatt.instruments.figure import Figure
from hardwatt.report.render import table
from hardwatt.testing.synthetic_bundle import Truth

TENTHS = (
    ("1.0", "1.1"),
    ("1.1", "1.2"),
    ("1.2", "1.3"),
    ("1.3", "1.4"),
    ("1.5", "1.4"),
    ("1.6", "1.5"),
    ("1.7", "1.8"),
    ("1.9", "2.0"),
)
"""Eight pairs whose differences are all a tenth, six of them up: p .157, rank-biserial .5."""
FACTORS = (1.0, 1000.0, 0.001, 1 / 3.6e6)
"""To milli and kilo, and from joules to kWh."""


def write(path: Path, rows: Sequence[Sequence[str]], arms: Sequence[str] = ("a", "b", "c")) -> Path:
    lines = ["pair,arm,value"]
    for pair, row in enumerate(rows, start=1):
        lines += [f"{pair},{arm},{value}" for arm, value in zip(arms, row, strict=False)]
    path.write_text("\n".join(lines) + "\n")
    return path


PAIRED = TableRequest(Columns(pair="pair"))


def scaled(rows: Sequence[Sequence[str]], factor: float, show: Callable[[float], str] = repr) -> list[list[str]]:
    return [[show(float(value) * factor) for value in row] for row in rows]


def robust(results: dict[str, Any]) -> dict[str, float]:
    return {row["name"]: row["figure"]["value"] for row in results["robustness"]}


def differences(table: Table) -> list[float]:
    found = vector(table, "x")
    assert found is not None
    return [float(one) for one in found]


def table_of(first: Sequence[float], second: Sequence[float], *, text: bool = False) -> Table:
    """Pairs of computed values, or of values that a text gave."""
    pairs, figures = [], {}
    for block, values in enumerate(zip(first, second, strict=True)):
        runs = {}
        for position, (arm, value) in enumerate(zip("ab", values, strict=True)):
            name = f"{block}{arm}"
            start = 2 * block + position
            runs[arm] = Run(name, block, position, arm, 0, "done", "", start, start + 1)
            exact = ties.exact(str(value)) if text else None
            figures[name, "x"] = Figure(float(value), "J", "test", float(value), float(value), exact)
        pairs.append(Pair(block, runs))
    return Table(("a", "b"), "x", tuple(pairs), (), figures)


@pytest.mark.parametrize("factor", FACTORS)
def test_decimal_ties_of_a_table_are_ties_in_every_unit(factor: float, tmp_path: Path) -> None:
    found = robust(analyse_table(write(tmp_path / "t.csv", scaled(TENTHS, factor)), PAIRED))
    assert found["Wilcoxon"] == pytest.approx(0.15729920705028502)
    assert found["Rank-biserial correlation"] == 0.5
    assert found["Sign flips"] == pytest.approx(0.2890625)
    assert found["Hodges-Lehmann"] / factor == pytest.approx(0.1)


def test_a_tie_with_fifteen_digits_as_r_prints_is_a_tie(tmp_path: Path) -> None:
    rows = scaled(TENTHS, 1 / 3.6e6, lambda value: f"{value:.15g}")
    found = robust(analyse_table(write(tmp_path / "t.csv", rows), PAIRED))
    assert found["Rank-biserial correlation"] == 0.5


def test_a_text_decides_where_a_float_cannot(tmp_path: Path) -> None:
    """Eighteen-digit counts that floats merge; a tenth beside a million million."""
    counts = [(str(10**17 + pair), str(10**17 + pair + size)) for pair, size in enumerate([1, 2, 3, 4, 5, 6])]
    assert robust(analyse_table(write(tmp_path / "c.csv", counts), PAIRED))["Wilcoxon"] == pytest.approx(2 / 2**6)
    large = [("1000000000000.0", f"1000000000000.{size}") for size in (1, 2, 3, 4, 5, 6)]
    assert robust(analyse_table(write(tmp_path / "l.csv", large), PAIRED))["Wilcoxon"] == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("form", ["{}", "{}.0", "{}.000", "{:.18e}"])
def test_a_count_is_a_count_in_every_way_of_writing(form: str, tmp_path: Path) -> None:
    """Fifteen digits, as integers and as pandas and NumPy write them."""
    base = 123456789012345
    steps = [0, 100, 200, -100, 300, 400, 500]
    rows = [(form.format(Decimal(base)), form.format(Decimal(base + step))) for step in steps]
    found = robust(analyse_table(write(tmp_path / "c.csv", rows), PAIRED))
    assert found["Wilcoxon"] == pytest.approx(wilcoxon(steps).p) == pytest.approx(0.0616, abs=5e-5)
    assert found["Rank-biserial correlation"] == pytest.approx(rank_biserial(steps)) == pytest.approx(0.7857, abs=5e-5)


def test_differences_of_a_counters_readings_are_ties() -> None:
    """Runs of some hundred watt-hours, read from a counter of kWh that stands at 1234.567."""
    watt_hours = [(100, 101), (100, 102), (102, 101), (100, 101), (103, 101), (100, 103), (101, 102), (102, 104)]
    stands = 1234567
    columns: tuple[list[float], list[float]] = ([], [])
    for pair in watt_hours:
        for column, used in zip(columns, pair, strict=True):
            column.append((stands + used) / 1000 - stands / 1000)
            stands += used
    assert signed_places(table_of(*columns), "x").tolist() == [b - a for a, b in watt_hours]


@pytest.mark.parametrize("base", [0.0, 1e6, 1e9])
@pytest.mark.parametrize("factor", FACTORS)
def test_computed_differences_are_rounded_by_the_largest_raw_value(base: float, factor: float) -> None:
    """The rounding of 1e9 is 1e-7: relative to the differences it is no small number."""
    rows = [[(base + float(value)) * factor for value in row] for row in TENTHS]
    found = table_of(*zip(*rows, strict=True))
    assert signed_places(found, "x").tolist() == [1, 1, 1, 1, -1, -1, 1, 1]
    assert len(set(np.abs(differences(found)))) == 1
    flips = sign_flip(differences(found), noise=noise(found, "x"))
    assert flips.p == pytest.approx(0.2890625)


def test_sums_of_sign_flips_are_equal_where_the_decimals_are() -> None:
    """1 + 2 - 3 is no other sum than 3 - 2 - 1, although the floats beside 1e8 differ."""
    steps = [1, 2, 3, 4, -1, -2, -3, 2]
    first = [1e8 + pair * 0.7 for pair in range(len(steps))]
    found = table_of(first, [value + step / 10 for value, step in zip(first, steps, strict=True)])
    exactly = sign_flip(steps).p
    assert sign_flip(differences(found), noise=noise(found, "x")).p == exactly


def test_a_difference_of_zero_is_zero_whatever_the_last_bits_are() -> None:
    """0.1 + 0.2 against 0.3, six times, is no difference; the verdict was that one is shown."""
    found = table_of([0.3] * 6, [0.1 + 0.2] * 6)
    assert differences(found) == [0.0] * 6
    first = answer.primary(found, {})
    assert (first.estimate.low, first.estimate.high) == (0.0, 0.0)
    assert answer.verdict(found, first, None).word == "open"
    assert [row.difference.value for row in answer.pairs(found, None)] == [0.0] * 6


@pytest.mark.parametrize("factor", FACTORS)
def test_zeros_rank_as_zeros_in_every_unit(factor: float) -> None:
    values = [0.1 + 0.2 - 0.3, 1.0, 2.0, -3.0, 4.0, 5.0, 6.0]
    clean = [0.0, *values[1:]]
    moved = [value * factor for value in values]
    assert wilcoxon(moved) == wilcoxon(clean)
    assert rank_biserial(moved) == rank_biserial(clean)


def test_a_rank_interval_that_ends_at_zero_shows_no_difference() -> None:
    """The third Walsh average is (0.3 - 0.3) / 2: zero, and not 3e-17, which was above zero."""
    found = table_of([1.0] * 7, [1.0 + one for one in (0.1 + 0.2, 0.1 + 0.2, 0.5, 0.6, 0.7, 0.8, -0.3)])
    first = answer.primary(found, {"estimator": answer.ROBUST})
    assert first.estimate.low == 0.0
    assert answer.verdict(found, first, None).word == "open"
    assert hodges_lehmann([0.1 + 0.2, 0.1 + 0.2, 0.5, 0.6, 0.7, 0.8, -0.3]).low == 0.0


def test_the_find_of_the_property_test() -> None:
    for factor in (1.0, 3.0, 0.01, 99.9):
        assert rank_biserial([999987.0 * factor, -999986.9999999999 * factor]) == 0


@given(
    st.lists(st.integers(-30, 30), min_size=6, max_size=12),
    st.sampled_from([0, 7, 10**6, 10**9]),
    st.sampled_from(FACTORS),
)
def test_a_unit_changes_no_rank_statistic_of_a_table(tenths: list[int], base: int, factor: float) -> None:
    first = [base + pair * 0.7 for pair in range(len(tenths))]
    second = [value + tenth / 10 for value, tenth in zip(first, tenths, strict=True)]
    found = table_of([value * factor for value in first], [value * factor for value in second])
    sizes = sorted({abs(tenth) for tenth in tenths} | {0})
    assert signed_places(found, "x").tolist() == [sizes.index(abs(one)) * int(np.sign(one)) for one in tenths]


@pytest.mark.parametrize("factor", FACTORS)
def test_theil_sens_rank_interval_counts_decimal_ties(factor: float) -> None:
    """Its width depends on how many values are tied."""
    noisy = [1.1 - 1.0, 1.2 - 1.1, 1.3 - 1.2, 0.5, 0.7, 1.4 - 1.3, 0.1, 0.2, 0.9, 0.1]
    clean = [0.1, 0.1, 0.1, 0.5, 0.7, 0.1, 0.1, 0.2, 0.9, 0.1]
    ours, exactly = theil_sen([value * factor for value in noisy]), theil_sen(clean)
    assert ours.low is not None and ours.high is not None
    assert (ours.value / factor, ours.low / factor, ours.high / factor) == pytest.approx(
        (exactly.value, exactly.low, exactly.high), abs=1e-12
    )


@pytest.mark.parametrize("factor", FACTORS)
def test_friedman_ranks_equal_decimals_as_ties(factor: float, tmp_path: Path) -> None:
    rows = [(0.3, 0.1 + 0.2, 0.5 + pair / 10) for pair in range(6)]
    columns = {arm: [row[k] * factor for row in rows] for k, arm in enumerate("abc")}
    exact = several({"a": [0.3] * 6, "b": [0.3] * 6, "c": [row[2] for row in rows]})
    assert several(columns).friedman_p == exact.friedman_p
    assert several(columns).contrasts[0].p == 1.0


def test_arms_that_are_tied_in_every_block_have_no_rank_test(tmp_path: Path) -> None:
    rows = [(str(pair), f"{pair}.0", f"{pair}.00") for pair in range(1, 8)]
    found = analyse_table(write(tmp_path / "t.csv", rows), PAIRED)
    assert found["together"] == []


def test_equal_differences_have_no_scatter_and_their_mean_is_exact() -> None:
    d = [0.1] * 6
    assert standard_error(np.array(d)) == 0.0
    estimate = mean_difference(d)
    assert (estimate.value, estimate.low, estimate.high) == (0.1, 0.1, 0.1)
    almost = [1.1 - 1.0, 1.2 - 1.1, 1.3 - 1.2, 0.1, 0.1, 0.1]
    assert ties.settled(almost, 1.3).tolist() == [almost[2]] * 6 or len(set(ties.settled(almost, 1.3))) == 1
    assert not ties.varies(ties.settled(almost, 1.3))


@pytest.mark.parametrize("method", [bootstrap_t, block_bootstrap])
def test_no_resampling_of_rounding(method: Callable[..., Any]) -> None:
    d = [0.1 + step * 1.4e-17 for step in (0, 1, 0, 1, 0, 1)]
    assert method(d).method.startswith("mean paired difference")


@pytest.mark.parametrize("factor", FACTORS)
def test_a_bound_that_meets_the_margin_is_not_inside(factor: float, tmp_path: Path) -> None:
    assert not tost([0.1 * factor] * 6, 0.1 * factor).equivalent
    assert not tost([(0.3 - 0.2) * factor] * 6, 0.1 * factor).equivalent
    assert tost([0.1 * factor] * 6, 0.11 * factor).equivalent
    rows = scaled([(str(pair), f"{pair}.1") for pair in range(1, 7)], factor)
    found = analyse_table(write(tmp_path / "t.csv", rows), TableRequest(Columns(pair="pair"), margin=0.1 * factor))
    assert found["equivalence"]["equivalent"] is False
    assert found["equivalence"]["p"]["value"] == 1.0


def test_a_break_even_rate_is_not_made_of_rounding() -> None:
    """Differences that do not depend on commits: their coefficient is rounding, and no rate follows from it."""
    commits, hours = np.array([1.0, 20, 60, 1, 20, 60]), np.full(6, 0.5)
    found = break_even(0.7 * hours + [1e-17, 0, 0, 0, 0, 3e-17], commits, hours)
    assert found.rate is None


def test_an_off_time_is_not_made_of_rounding() -> None:
    levels = {"on": {"state": "on"}, "zero": {"state": "zero"}, "sleep": {"state": "sleep"}}
    levels["sleep"] |= {"sleep_from": 0, "sleep_until": 30}  # type: ignore[dict-item]
    study = {"estimand": {"window_seconds": 100}, "arm": {arm: {"levels": own} for arm, own in levels.items()}}
    runs, figures = [], {}
    for block in range(6):
        on, off = 10.1 + block / 10, 3.3
        for place, (arm, value) in enumerate({"on": on, "zero": off, "sleep": 0.7 * on + 0.3 * off}.items()):
            name = f"{block}{arm}"
            runs.append(Run(name, block, place, arm, 0, "done", "", 3 * block + place, 3 * block + place + 1))
            figures[name, "x"] = Figure(value * (1 + 2e-16), "J", "test", 0, 100)
    found = off_time(study, runs, figures, list(levels), ("x", 0.95))
    assert found is not None
    assert found.seconds.value == 0
    assert found.why.startswith("The wake-up costs nothing")


@pytest.mark.parametrize(("value", "holds"), [(0.1 + 0.2, True), (0.3, True), (0.3 + 1e-6, False)])
def test_a_cross_check_at_its_limit_holds(value: float, holds: bool) -> None:
    one = Crosscheck("r", "a", "check.x", "x", Figure(value, "ratio", "test", value, value), None, 0.3)
    assert one.holds is holds
    lower = Crosscheck("r", "a", "check.x", "x", Figure(-value, "ratio", "test", -value, -value), -0.3, None)
    assert lower.holds is holds


@pytest.mark.parametrize(("known", "right"), [(0.3, True), (0.1 + 0.2, True), (0.3 + 1e-6, False)])
def test_a_control_without_scatter_recovers_its_effect(known: float, right: bool) -> None:
    assert Rung("node_cpu_seconds", 0.3, known, 0.3, 0.3, 0.3, 4).seen is right


def test_a_report_of_no_difference_says_neither_more_nor_less(tmp_path: Path) -> None:
    page = table(write(tmp_path / "t.csv", [("0.3", "0.30")] * 6), output=tmp_path / "out")
    text = page.read_text()
    assert "a difference is shown" not in text
    assert re.search(r"more or less than", text)
    assert not re.search(r"[^r] less than", text)


def test_an_autocorrelation_at_its_limit_is_no_warning() -> None:
    assert not worrying(0.1 + 0.2)
    assert not worrying(-(0.1 + 0.2))
    assert worrying(0.31)
    assert not worrying(None)


def values_of(found: Any) -> Iterator[Any]:
    """Every number and word of a part of results."""
    if isinstance(found, dict):
        for one in found.values():
            yield from values_of(one)
    elif isinstance(found, list):
        for one in found:
            yield from values_of(one)
    else:
        yield found


def test_a_bundle_gives_its_rank_statistics_from_settled_differences(
    eight: Truth, eight_results: dict[str, Any]
) -> None:
    rows = robust(eight_results)
    d = [row["difference"]["value"] for row in eight_results["pairs"]]
    assert rows["Wilcoxon"] == pytest.approx(wilcoxon(d).p)
    again = analyse(eight.path, write=False)
    assert list(values_of(again["robustness"])) == list(values_of(eight_results["robustness"]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", Fraction(11, 10)),
        (" -0.5 ", Fraction(-1, 2)),
        ("12345678901234567890", Fraction(12345678901234567890)),
        ("1e3", Fraction(1000)),
        ("0.10000000000000000000", Fraction(1, 10)),
        ("123456789012345.0", Fraction(123456789012345)),
        ("-1.234567890123450000e+14", Fraction(-123456789012345)),
        ("0.30000000000000004", None),
        ("123456789012345.02", None),
        ("5000001100000001.0", None),
        ("3.05555555555556e+17", None),
        ("3.05555555555556e-07", None),
        ("1e-999999999", None),
        ("nothing", None),
        ("nan", None),
    ],
)
def test_what_a_text_gives_exactly(text: str, value: Fraction | None) -> None:
    assert ties.exact(text) == value


def test_settled_merges_no_chain_and_keeps_signs() -> None:
    limit = ties.RESOLUTION
    chain = [1 + step * 0.6 * limit for step in range(5)]
    assert len(set(ties.settled([*chain, -1.0], 1.0).tolist())) == 4
    assert ties.settled([2.0, -1.0, 0.0]).tolist() == [2.0, -1.0, 0.0]
    assert ties.settled([]).tolist() == []


def test_exact_and_computed_values_together_count_as_computed() -> None:
    found = table_of([1.0] * 3, [1.1, 1.2, 1.3], text=True)
    run = found.pairs[0].runs["a"].run_id
    mixed = replace(found, figures=found.figures | {(run, "x"): Figure(1.0, "J", "test", 1.0, 1.0)})
    assert noise(found, "x") == 0
    assert noise(mixed, "x") == pytest.approx(1.3 * ties.RESOLUTION)
    assert Decimal(str(differences(found)[0])) == Decimal("0.1")
