"""Bundles side by side, and analyses other than planned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hardwatt.analysis.comparison import compare, side_by_side
from hardwatt.analysis.deviations import Deviations, apply
from hardwatt.analysis.pooling import pool, welch
from hardwatt.analysis.results import analyse
from hardwatt.cli.console import main
from hardwatt.core.errors import LabError
from hardwatt.report.render import comparison
from hardwatt.testing.synthetic_bundle import Spec, Truth, make_bundle

# Colditz et al. (1994), 13 trials of the BCG vaccine: cases and others, vaccinated and control (R: metadat::dat.bcg).
BCG = np.array(
    [
        [4, 119, 11, 128], [6, 300, 29, 274], [3, 228, 11, 209], [62, 13536, 248, 12619], [33, 5036, 47, 5761],
        [180, 1361, 372, 1079], [8, 2537, 10, 619], [505, 87886, 499, 87892], [29, 7470, 45, 7232],
        [17, 1699, 65, 1600], [186, 50448, 141, 27197], [5, 2493, 3, 2338], [27, 16886, 29, 17825],
    ],
    dtype=float,
)  # fmt: skip


def test_pooling_the_bcg_trials_gives_the_published_numbers() -> None:
    a, b, c, d = BCG.T
    y = np.log(a / (a + b)) - np.log(c / (c + d))
    v = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    found = pool(y, v)
    # R's metafor: rma(yi, vi, method = "DL")
    assert found.q == pytest.approx(152.2330, abs=5e-4)
    assert found.between_variance == pytest.approx(0.3088, abs=5e-5)
    assert found.estimate.value == pytest.approx(-0.7141, abs=5e-5)
    assert found.p < 1e-4


def test_welch_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 1, 8), rng.normal(1, 3, 12)
    interval = stats.ttest_ind(two, one, equal_var=False).confidence_interval(0.9)
    found = welch(one, two, 0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert welch([1.0], [2.0, 3.0]).low is None


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("others")
    return [make_bundle(folder / f"m{seed}", Spec(pairs=3, seed=seed)).path for seed in (5, 6)]


def test_three_bundles_side_by_side(three: Truth, others: list[Path], tmp_path: Path) -> None:
    page = comparison([three.path, *others], output=tmp_path)
    found = json.loads((tmp_path / "compare.json").read_text())
    assert [row["name"] for row in found["bundles"]] == ["bundle", "m5", "m6"]
    single = analyse(others[0], write=False)["primary"]["estimate"]
    assert found["bundles"][1]["estimate"]["value"] == pytest.approx(single["value"])
    gap = single["value"] - found["bundles"][0]["estimate"]["value"]
    assert found["against_first"][0]["difference"]["value"] == pytest.approx(gap, abs=1e-6)
    assert found["together"]["estimate"]["low"] < found["together"]["estimate"]["value"]
    assert {row["what"] for row in found["differs"]} == {"plan"}
    assert "m5" in page.read_text() and "m6" in (tmp_path / "compare.md").read_text()
    assert compare([three.path, others[0]])["together"] is None


def test_what_cannot_be_compared_is_refused(three: Truth, three_results: dict[str, Any]) -> None:
    with pytest.raises(LabError, match="two bundles"):
        compare([three.path])
    with pytest.raises(LabError, match="given twice"):
        compare([three.path, three.path])
    one = three_results
    renamed = json.loads(json.dumps(one))
    renamed["arms"][0]["name"] = "something"
    with pytest.raises(LabError, match="their arms is"):
        side_by_side(["a", "b"], [one, renamed])


def test_a_bundle_without_a_complete_pair_stands_beside_the_others(three_results: dict[str, Any]) -> None:
    one = three_results
    empty = json.loads(json.dumps(one)) | {"pairs": []}
    found = side_by_side(["a", "b", "c"], [one, one, empty])
    assert found["together"] is None
    assert found["against_first"][1]["difference"]["value"] is None


def test_as_planned_there_are_no_departures(three_results: dict[str, Any]) -> None:
    assert three_results["departures"] == []
    plan = {"outcome": "node_cpu_seconds", "estimator": "mean paired difference", "confidence": 0.95}
    same = Deviations(outcome="node_cpu_seconds", confidence=0.95)
    assert apply(plan, same) == (plan, [])
    assert apply(plan, None) == (plan, [])


def test_every_departure_is_said_and_kept_apart(three: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--outcome", "node_joules", "--confidence", "0.9", "--margin", "5", "--without-flagged"]
    assert main(["analyse", str(three.path), *options]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == three.path.resolve() / "results" / "otherwise" / "report.html"
    found = json.loads(page.with_name("results.json").read_text())
    assert len(found["departures"]) == 4
    assert "node_joules" in found["departures"][0]
    assert found["primary"]["estimate"]["unit"] == "J"
    assert found["primary"]["level"]["value"] == 90
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "Analysed other than planned" in text
        assert "The same in joules" not in text and "in J, modelled" not in text
    assert not (page.parents[1] / "results.json").exists()


def test_wrong_departures_are_refused(three: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--outcome", "luck"], ["--confidence", "95"], ["--margin", "-1"]):
        assert main(["analyse", str(three.path), *options]) == 1
    assert "node_cpu_seconds or node_joules" in capsys.readouterr().err


def test_without_repeated_pairs_they_become_exclusions(three: Truth) -> None:
    found = analyse(three.path, write=False, deviations=Deviations(without_repeated=True))
    assert found["n"]["value"] == 3  # none was repeated
    assert found["departures"]
