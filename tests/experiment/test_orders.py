"""What docs/orders.md says stays true: a few sessions of each order, and figure and table against the numbers."""

import dataclasses
import json
import statistics
from pathlib import Path

import pytest

from hardwatt.experiment.plan.study_file import read_study
from hardwatt.experiment.plan.study_model import Study
from tests.experiment.orders import FIGURE, NUMBERS, ORDERS, PAGE, Outcome, Truth, session, study_of
from tests.experiment.ordersfigure import page, svg

FEW, FEW_PAIRS = 6, 8


@pytest.fixture(scope="module")
def study() -> Study:
    return study_of(read_study(Path(__file__).parent / "base.toml"))


@pytest.fixture(scope="module")
def null(study: Study) -> dict[str, list[Outcome]]:
    return {order: [session(study, order, Truth(), 7 + one, FEW_PAIRS) for one in range(FEW)] for order in ORDERS}


def test_blocks_of_one_arm_take_the_drift_for_an_effect(null: dict[str, list[Outcome]]) -> None:
    assert statistics.fmean(one.estimate for one in null["blocked"]) > 0.5
    assert sum(one.found for one in null["blocked"]) >= FEW - 1


@pytest.mark.parametrize("order", ["randomised", "abba"])
def test_pairs_do_not(null: dict[str, list[Outcome]], order: str) -> None:
    assert abs(statistics.fmean(one.estimate for one in null[order])) < 0.2
    assert sum(one.found for one in null[order]) <= 1


def test_shuffled_runs_are_without_bias_and_scatter_more(null: dict[str, list[Outcome]]) -> None:
    spread = {order: statistics.stdev(one.estimate for one in null[order]) for order in ORDERS}
    assert abs(statistics.fmean(one.estimate for one in null["shuffled"])) < 0.4
    assert spread["shuffled"] > spread["abba"]


def test_without_drift_no_order_is_biased(study: Study) -> None:
    still = Truth(drift=0.0, noise=0.001)
    assert all(abs(session(study, order, still, 3, FEW_PAIRS).estimate) < 0.15 for order in ORDERS)


def test_a_known_effect_is_found_and_carry_over_makes_it_look_smaller(study: Study) -> None:
    quiet = {"drift": 0.0, "noise": 0.0005, "failing": 0.0, "gaps": 0.0}
    clean = session(study, "randomised", Truth(effect=0.05, carry_over=0.0, **quiet), 3, FEW_PAIRS)
    carried = session(study, "randomised", Truth(effect=0.05, carry_over=0.5, **quiet), 3, FEW_PAIRS)
    assert clean.found
    assert clean.estimate == pytest.approx(5.0, abs=0.05)
    assert carried.estimate < 4.5


def test_every_fault_happens_and_no_pair_is_lost(study: Study) -> None:
    bad = Truth(failing=0.15, gaps=0.15, resets=0.5)
    found = session(study, "randomised", bad, 5, FEW_PAIRS)
    assert found.failed >= 2
    assert abs(found.estimate) < 0.6


def test_figure_and_table_are_those_of_the_numbers() -> None:
    numbers = json.loads(NUMBERS.read_text())
    assert FIGURE.read_text() == svg(numbers)
    text = PAGE.read_text()
    assert text == page(text, numbers)
    assert [row["order"] for row in numbers["orders"]] == list(ORDERS)
    assert numbers["truth"] == {**dataclasses.asdict(Truth()), "effect": 0.005}


def test_the_committed_numbers_say_what_the_page_says() -> None:
    rows = {row["order"]: row for row in json.loads(NUMBERS.read_text())["orders"]}
    assert rows["blocked"]["bias"] > 0.7
    assert rows["blocked"]["false_positives"] > 90
    for order in ("randomised", "abba"):
        assert abs(rows[order]["bias"]) < 0.05
        assert rows[order]["false_positives"] < 10
        assert rows[order]["sd"] < rows["shuffled"]["sd"]
        assert rows[order]["found"] > rows["shuffled"]["found"]
        assert rows[order]["bias_with_effect"] < rows[order]["bias"]
