"""Verdicts in the right order: each planted (differences, margin) has one word, the same on every page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.analysis import answer, carry_over
from hardwatt.analysis.contract import parse
from hardwatt.analysis.figures import figure
from hardwatt.analysis.model import Results
from hardwatt.analysis.sections import EquivalenceResult
from hardwatt.analysis.table import Pair, Table
from hardwatt.analysis.verdicts import WITHIN, decided
from hardwatt.bundle.model import Run
from hardwatt.config.settings import ROOT
from hardwatt.instruments.figure import Figure
from hardwatt.report.numbers import said
from hardwatt.report.render import report
from hardwatt.testing.synthetic_bundle import Truth


def equal(margin: float, low: float, high: float) -> EquivalenceResult:
    inside = -margin < low and high < margin
    interval = figure((low + high) / 2, "CPU-s", "x", low, high)
    level, p = figure(90, "%", "x"), figure(0.01 if inside else 0.5, "1", "x")
    return EquivalenceResult(figure(margin, "CPU-s", "plan"), interval, level, p, inside)


CASES = [
    # estimate, half width, margin, word, words that the sentence holds
    (0.05, 0.006, 1.0, WITHIN, "A difference is shown, and it is smaller than the margin"),
    (-0.05, 0.006, 1.0, WITHIN, "different, but within the margin (margin ±1 CPU-s)"),
    (0.05, 0.006, None, "more", "a difference is shown."),
    (-0.05, 0.006, None, "less", "a difference is shown."),
    (2.0, 0.5, 1.0, "more", "a difference is shown, larger than the margin (margin ±1 CPU-s)."),
    (-2.0, 0.5, 1.0, "less", "a difference is shown, larger than the margin (margin ±1 CPU-s)."),
    (1.0, 0.5, 1.0, "more", "whether it is larger than the margin is open (margin ±1 CPU-s)."),
    (-1.0, 0.5, 1.0, "less", "whether it is larger than the margin is open (margin ±1 CPU-s)."),
    (0.0, 0.5, 1.0, "equivalent", "No difference is shown, and one as large as the margin is ruled out"),
    (0.1, 0.5, 1.0, "equivalent", "(margin ±1 CPU-s)."),
    (0.0, 1.0, 1.0, "open", "neither is it shown that there is none (margin ±1 CPU-s)."),
    (0.6, 1.5, 1.0, "open", "The interval holds zero"),
    (0.0, 0.5, None, "open", "neither is it shown that there is none."),
]


@pytest.mark.parametrize(("value", "half", "margin", "word", "holds"), CASES)
def test_a_verdict_follows_from_interval_and_margin(
    value: float, half: float, margin: float | None, word: str, holds: str
) -> None:
    low, high = value - half, value + half
    verdict = decided(low, high, None if margin is None else equal(margin, low, high))
    assert verdict.word == word
    assert holds in verdict.why
    assert said(verdict).startswith(f"Verdict: {word}. ")


def planted(differences: list[float]) -> Table:
    """A table of pairs whose differences are these."""
    pairs, figures = [], {}
    for number, difference in enumerate(differences, start=1):
        both = {}
        for place, arm in enumerate(("push", "pull")):
            t0 = 1000 * place
            run = Run(f"p{number}-{arm}", number, place, arm, 0, "done", "", t0, t0 + 45_000, (), 3, 3)
            value = 10.0 + difference * place
            figures[run.run_id, "node_cpu_seconds"] = Figure(value, "CPU-seconds", "x", value, value)
            both[arm] = run
        pairs.append(Pair(number, both))
    return Table(("push", "pull"), "node_cpu_seconds", tuple(pairs), (), figures)


@pytest.mark.parametrize(
    ("mean", "sd", "n", "margin", "word"),
    [
        (0.05, 0.006, 8, 1.0, WITHIN), (0.05, 0.006, 8, 0.01, "more"), (-3.0, 0.5, 8, 1.0, "less"),
        (0.0, 0.2, 8, 1.0, "equivalent"), (0.0, 5.0, 8, 1.0, "open"), (0.05, 0.006, 5, 1.0, "description"),
        (0.05, 0.006, 3, 1.0, "description"), (0.05, 0.006, 1, 1.0, "description"), (0.0, 0.2, 8, None, "open"),
    ],
)  # fmt: skip
def test_the_planted_words_come_out_of_the_whole_answer(
    mean: float, sd: float, n: int, margin: float | None, word: str
) -> None:
    scatter = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    scatter = scatter / (scatter.std(ddof=1) if n > 1 else 1)
    data = planted((mean + sd * scatter).tolist())
    plan = {"outcome": "node_cpu_seconds", "margin": margin}
    first, tested = answer.primary(data, plan), answer.equivalent(data, plan)
    verdict = answer.verdict(data, first, tested)
    assert verdict.word == word
    if n < 6:
        assert first.detectable.value is None
        assert tested is None
        assert "no verdict is given" in verdict.why
    elif margin is not None:
        whole = answer.at_multiples(data, first, tested, "as decided")
        assert whole is not None and whole.because == "as decided"
        assert [row.times.value for row in whole.at] == [0.25, 1.0, 4.0]
        for row in whole.at:
            assert row.margin.value == pytest.approx((row.times.value or 0) * margin)
        assert whole.at[1].word == word


def test_the_word_is_the_same_in_json_markdown_and_html(eight: Truth, tmp_path: Path) -> None:
    page = report(eight.path, output=tmp_path)
    word = json.loads((tmp_path / "results.json").read_text())["verdict"]["word"]
    for name in (page.name, "report.md"):
        assert f"Verdict: {word}." in (tmp_path / name).read_text(), name


def test_below_six_pairs_no_text_speaks_of_a_test_or_its_power(three: Truth, tmp_path: Path) -> None:
    page = report(three.path, output=tmp_path)
    for name in (page.name, "report.md"):
        text = (tmp_path / name).read_text()
        assert "four times in five" not in text
        assert "Verdict: " not in text
        assert "can be significant" not in text


def test_outcomes_beside_the_primary_have_an_adjusted_interval_or_none(
    three_results: dict[str, Any], eight_results: dict[str, Any]
) -> None:
    for results in (three_results, eight_results):
        for section in ("namespaces", "totals", "units", "kepler"):
            assert all(row["difference"]["low"] is None for row in results[section]), section
    assert all(row["difference"]["low"] is None for row in three_results["secondaries"])
    assert all((row["difference"]["low"] is None) == (row["p"] is None) for row in eight_results["secondaries"])


def test_the_shipped_bundle_says_what_its_gates_show(tmp_path: Path) -> None:
    page = report(ROOT / "hardwatt/data/shipped-bundle", output=tmp_path)
    says = (
        "Before windows of pull the node used 0.328 cores, before windows of push 0.256: 0.073 cores more, which is "
        "3.3 CPU-s in a window of 45 s. Every gate of pull was above every gate of push."
    )
    for name in (page.name, "report.md"):
        text = " ".join((tmp_path / name).read_text().split())
        assert says in text, name
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["carry_over"]["size"]["value"] == pytest.approx(3.3, abs=0.05)
    (check,) = [row for row in results["checks"] if row["name"] == carry_over.NAME]
    assert check["status"] == "warning"


def test_results_of_before_are_read_without_the_new_sections(three_results: dict[str, Any]) -> None:
    old = {key: value for key, value in three_results.items() if key != "carry_over"}
    assert parse(Results, old, "old").carry_over is None


@pytest.mark.parametrize("slope", [0.0, 20.0])
def test_a_declared_covariate_gives_the_difference_at_equal_gates(slope: float) -> None:
    gates = np.array([0.05, 0.08, 0.02, 0.07, 0.1, 0.03, 0.06, 0.04])
    rest = np.array([1, -1, 1, -1, -1, 1, 1, -1]) * 0.01
    data = planted((1.0 + slope * gates + rest).tolist())
    adjusted = carry_over._adjusted(data, gates, "CPU-s")
    assert adjusted is not None and adjusted.low is not None and adjusted.high is not None
    assert adjusted.low <= 1.0 <= adjusted.high
    assert adjusted.value == pytest.approx(1.0, abs=0.03)
    assert carry_over._adjusted(planted([1.0] * 5), gates[:5], "CPU-s") is None
    assert carry_over._adjusted(data, np.full(8, 0.1), "CPU-s") is None
