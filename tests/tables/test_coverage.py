"""The unpaired intervals hold the truth as often as the page says; simulated by the intervals of the analysis."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hardwatt.analysis.tables import coverage, unpaired

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def on_the_page(about: str, interval: str) -> list[float]:
    start = f"| {about} | {interval} |"
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(start)]
    return [float(cell) for cell in re.findall(r"\d+\.\d", row.removeprefix(start))]


@pytest.mark.parametrize("name", list(coverage.KINDS))
@pytest.mark.parametrize("place", range(len(coverage.SIZES)))
def test_two_thousand_experiments_of_another_seed_agree_with_the_page(name: str, place: int) -> None:
    cell = coverage.simulate(name, coverage.SIZES[place], draws=2000, seed=1)
    about = coverage.KINDS[name].about
    # Five standard errors of 2,000 draws at the worst share.
    assert 100 * cell.welch == pytest.approx(on_the_page(about, "Welch")[place], abs=3.5)
    if cell.shift is not None:
        assert 100 * cell.shift == pytest.approx(on_the_page(about, "shift")[place], abs=3.5)


@pytest.mark.parametrize("name", ["normal", "unequal"])
@pytest.mark.parametrize("sizes", coverage.SIZES)
def test_for_normal_values_welchs_interval_is_within_one_point(name: str, sizes: tuple[int, int]) -> None:
    assert coverage.simulate(name, sizes).holds


@pytest.mark.parametrize("sizes", [(5, 5), (7, 12)])
def test_the_simulation_uses_the_intervals_of_the_analysis(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    kind = coverage.KINDS["skewed"]
    a, b = kind.first(rng, (60, sizes[0])), kind.second(rng, (60, sizes[1]))
    inside, kept = coverage.inside_welch(a, b, 0.5), coverage.kept_by_ranks(a, b - 0.5)
    for row in range(60):
        welch, shift = unpaired.welch(a[row], b[row])[0], unpaired.shift(a[row], b[row])
        assert welch.low is not None and welch.high is not None and shift.low is not None and shift.high is not None
        assert inside[row] == (welch.low <= 0.5 <= welch.high)
        assert kept[row] == (shift.low <= 0.5 <= shift.high)


def test_the_populations_differ_as_they_say() -> None:
    rng = np.random.default_rng(3)
    for name, kind in coverage.KINDS.items():
        a, b = kind.first(rng, (20_000, 40)), kind.second(rng, (20_000, 40))
        assert b.mean() - a.mean() == pytest.approx(kind.difference, abs=0.02), name
