"""The interval holds the truth as often as the page says; the whole page is simulated anew in the long run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hardwatt.analysis import coverage, session_coverage
from hardwatt.analysis.paired import mean_difference
from hardwatt.analysis.pooling import pool
from hardwatt.analysis.serial import hac_interval
from hardwatt.report.pages import coverage_page, main

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def on_the_page(about: str, table: int = 0) -> list[float]:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {about} |")]
    cells = rows[table].removeprefix(f"| {about} |")
    return [float(cell) for cell in re.findall(r"\d+\.\d", cells)]


@pytest.mark.parametrize("kind", ["normal", "skewed", "autocorrelated, 0.6"])
@pytest.mark.parametrize("place", range(len(coverage.PAIRS)))
def test_five_thousand_experiments_of_another_seed_agree_with_the_page(kind: str, place: int) -> None:
    cell = coverage.simulate(kind, coverage.PAIRS[place], draws=5000, seed=1)
    about = coverage.KINDS[kind][0]
    # Five standard errors of 5,000 draws at the worst share.
    assert 100 * cell.t == pytest.approx(on_the_page(about)[place], abs=2.5)
    assert 100 * cell.newey_west == pytest.approx(on_the_page(about, 1)[place], abs=2.5)


@pytest.mark.parametrize("n", coverage.PAIRS)
def test_for_normal_differences_it_is_within_one_point_of_nominal(n: int) -> None:
    assert coverage.simulate("normal", n, draws=20_000).holds


def test_the_simulation_uses_the_intervals_of_the_analysis() -> None:
    d = coverage.KINDS["skewed"][1](np.random.default_rng(2), 5, 12)
    for row, plain, wide in zip(d, coverage._error(d, 0), coverage._error(d, 2), strict=True):
        q = 2.2009851600829  # t, 97.5 %, 11 degrees: any table
        t, hac = mean_difference(row), hac_interval(row)
        assert t.high is not None and hac.high is not None
        assert t.high - t.value == pytest.approx(q * plain)
        assert hac.high - hac.value == pytest.approx(q * wide)


def test_the_differences_are_what_they_are_called() -> None:
    rng = np.random.default_rng(3)
    for kind, (_, draw) in coverage.KINDS.items():
        assert draw(rng, 40_000, 10).mean() == pytest.approx(0, abs=0.03), kind
    d = coverage.KINDS["autocorrelated, 0.6"][1](rng, 20_000, 6)
    assert np.corrcoef(d[:, 0], d[:, 1])[0, 1] == pytest.approx(0.6, abs=0.02)
    assert d[:, 0].std() == pytest.approx(d[:, 5].std(), rel=0.03)  # stationary from the first on


@pytest.mark.long
def test_the_page_is_what_the_simulations_give(tmp_path: Path) -> None:
    assert PAGE.read_text() == coverage_page(), "run: python -m hardwatt.report.pages docs"
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "coverage.md").read_text() == PAGE.read_text()


def over_sessions(design: str, spread: float, interval: str) -> list[float]:
    return on_the_page(f"{design} | {spread:g} | {interval}")


@pytest.mark.parametrize("design", session_coverage.DESIGNS)
@pytest.mark.parametrize("spread", session_coverage.SPREADS)
@pytest.mark.parametrize("place", range(len(session_coverage.SESSIONS)))
def test_two_thousand_series_of_another_seed_agree_with_the_page(design: str, spread: float, place: int) -> None:
    cell = session_coverage.simulate(design, spread, session_coverage.SESSIONS[place], draws=2000, seed=1)
    # Five standard errors of 2,000 draws at a share of 0.9.
    assert 100 * cell.t == pytest.approx(over_sessions(design, spread, "t")[place], abs=3.4)
    assert 100 * cell.hartung_knapp == pytest.approx(over_sessions(design, spread, "Hartung-Knapp")[place], abs=3.4)


@pytest.mark.parametrize("spread", session_coverage.SPREADS)
@pytest.mark.parametrize("sessions", session_coverage.SESSIONS)
def test_over_sessions_that_differ_normally_the_t_interval_is_within_one_point(spread: float, sessions: int) -> None:
    assert session_coverage.simulate("6 pairs in each session", spread, sessions).holds


def test_the_simulated_intervals_over_sessions_are_those_of_the_analysis() -> None:
    rng = np.random.default_rng(4)
    means, variances = rng.standard_normal((200, 5)), rng.chisquare(5, (200, 5)) / 25
    intervals = [mean_difference(row) for row in means]
    held = [low <= 0 <= high for low, high in ((i.low or 0.0, i.high or 0.0) for i in intervals)]
    assert session_coverage._t(means) == pytest.approx(np.mean(held))
    pooled = [pool(row, own).estimate for row, own in zip(means, variances, strict=True)]
    held = [low <= 0 <= high for low, high in ((i.low or 0.0, i.high or 0.0) for i in pooled)]
    assert session_coverage._hartung_knapp(means, variances) == pytest.approx(np.mean(held))
