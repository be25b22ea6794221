"""How values lie, what a step costs, which estimator a plan may name, and which secondaries are tested."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hardwatt.analysis import answer, breakdown
from hardwatt.analysis.distribution import distribution, normal_scores
from hardwatt.analysis.figures import known
from hardwatt.analysis.multi_arm import several
from hardwatt.analysis.resample import bootstrap_t
from hardwatt.analysis.scaling import levels, scaling
from hardwatt.analysis.signedrank import hodges_lehmann
from hardwatt.analysis.table import vector
from hardwatt.bundle.model import Run
from hardwatt.core.errors import LabError
from hardwatt.instruments.figure import Figure
from tests.analysis.test_extra_sections import table_of

PUSH = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0]
PULL = [2.0, 7.0, 1.0, 8.0, 2.5, 8.0, 1.0]


def test_five_numbers_are_rs_quantiles() -> None:
    found = distribution(table_of({"push": PUSH, "pull": PULL}))
    assert found is not None
    # R: quantile(c(3, 1, 4, 1.5, 5, 9, 2))
    five = found.arms["push"]
    values = [one.value for one in (five.least, five.lower, five.median, five.upper, five.largest)]
    assert values == [1, 1.75, 3, 4.5, 9]
    assert found.difference.median.value == pytest.approx(np.median(np.subtract(PULL, PUSH)))
    assert found.normal.value == pytest.approx(stats.shapiro(np.subtract(PULL, PUSH)).pvalue)


def test_normal_scores_are_rs_ppoints() -> None:
    # R: qnorm(ppoints(10)) (Blom's places up to ten).
    assert normal_scores(10)[:3] == pytest.approx([-1.5466353, -1.0004905, -0.6554235], abs=5e-7)
    assert sum(normal_scores(7)) == pytest.approx(0)


def test_below_six_pairs_there_are_five_numbers_alone() -> None:
    found = distribution(table_of({"push": PUSH[:3], "pull": PULL[:3]}))
    assert found is not None
    assert found.quantiles == [] and found.normal.value is None
    empty = replace(table_of({"push": PUSH, "pull": PULL}), pairs=())
    assert distribution(empty) is None


def test_quantiles_are_in_order_and_keep_their_pairs() -> None:
    found = distribution(table_of({"push": PUSH, "pull": PULL}))
    assert found is not None
    values = [known(row.difference) for row in found.quantiles]
    assert values == sorted(values)
    assert found.quantiles[0].pair == str(int(np.argmin(np.subtract(PULL, PUSH))))


STUDY: dict[str, Any] = {
    "factors": {"applications": [1, 10, 50], "source": ["git"]},
    "arm": {
        "one": {"levels": {"applications": 1, "source": "git"}},
        "ten": {"levels": {"applications": 10, "source": "git"}},
        "fifty": {"levels": {"applications": 50, "source": "git"}},
        "none": {"levels": {}},
    },
}
ARMS = ("none", "one", "ten", "fifty")


def scaled(slope: float, noise: float = 0.0) -> tuple[list[Run], dict[tuple[str, str], Figure]]:
    """Eight blocks whose own levels drift far, with a *slope* over the number of applications."""
    rng = np.random.default_rng(5)
    runs, figures = [], {}
    for block in range(8):
        for place, arm in enumerate(ARMS):
            run = Run(f"{block}-{arm}", block, place, arm, 0, "done", "", 1000 * (4 * block + place), 9_000_000)
            number = STUDY["arm"][arm]["levels"].get("applications", 0)
            value = 100 + 30 * block + slope * number + rng.normal(0, noise)
            runs.append(run)
            figures[run.run_id, "x"] = Figure(value, "J", "test", value, value)
    return runs, figures


def test_levels_need_one_number_that_differs_and_nothing_else() -> None:
    assert levels(STUDY, ARMS) == ("applications", {"one": 1.0, "ten": 10.0, "fifty": 50.0})
    assert levels(STUDY, ARMS[:3]) is None
    assert levels({}, ARMS) is None
    mixed = {**STUDY, "arm": {**STUDY["arm"], "ten": {"levels": {"applications": 10, "source": "oci"}}}}
    assert levels(mixed, ARMS) is None
    other = {arm: {**setting, "use": "pull"} for arm, setting in STUDY["arm"].items()}
    other["suspended"] = {"use": "suspended", "levels": {"applications": 10, "source": "git"}}
    numbers = levels({**STUDY, "arm": other}, ("suspended", *ARMS))
    assert numbers == ("applications", {"one": 1.0, "ten": 10.0, "fifty": 50.0}), "an arm of other code is no level"


def test_theil_sen_over_applications_finds_the_slope_whatever_the_blocks_do() -> None:
    exact = scaling(STUDY, *scaled(0.5), ARMS, ("x", 0.95))
    assert exact is not None
    assert exact.slope.value == pytest.approx(0.5)
    assert exact.slope.unit == "J per applications"
    noisy = scaling(STUDY, *scaled(0.5, noise=2.0), ARMS, ("x", 0.95))
    assert noisy is not None
    for found in (noisy.slope, noisy.by_block):
        assert found.low is not None and found.high is not None
        assert found.low < 0.5 < found.high
        assert found.high - found.low < 0.3
    assert [row.arm for row in noisy.levels] == ["one", "ten", "fifty"]


def test_a_plan_may_name_any_estimator_of_the_list() -> None:
    table = table_of({"push": PUSH, "pull": PULL})
    d = vector(table, "x")
    assert d is not None
    rank = answer.primary(table, {"estimator": "Hodges-Lehmann"})
    assert rank.estimate.value == hodges_lehmann(d).value
    assert rank.level.value == pytest.approx(100 * hodges_lehmann(d).level)
    mean = answer.primary(table, {"estimator": "mean paired difference", "interval": "t"})
    assert known(rank.detectable) > known(mean.detectable)
    boot = answer.primary(table, {"interval": "studentised bootstrap"}, seed=3)
    assert boot.estimate.low == bootstrap_t(d, seed=3).low
    with pytest.raises(LabError, match="this version has"):
        answer.primary(table, {"estimator": "median"})
    with pytest.raises(LabError, match="signed rank"):
        answer.primary(table, {"estimator": "mean paired difference", "interval": "signed rank"})


def test_only_planned_secondaries_are_tested_and_holm_counts_them_alone() -> None:
    table = table_of({"push": PUSH, "pull": PULL})
    figures = dict(table.figures)
    for run in table.runs:
        for name, shift in (("y", 5.0 if run.arm == "pull" else 0.0), ("z", 0.0), ("cpu_seconds.flux-system", 1.0)):
            value = table.primary(run).value / 10 + shift
            figures[run.run_id, name] = Figure(value, "J", "test", value, value)
    table = replace(table, figures=figures)
    free = {row.name: row.p for row in breakdown.secondaries(table, 1)}
    assert set(free) == {"y", "z"} and all(free.values())
    planned = {row.name: row.p for row in breakdown.secondaries(table, 1, ["y"])}
    assert planned["z"] is None
    assert planned["y"] is not None and free["y"] is not None
    assert planned["y"].value == pytest.approx(2 / 2**7)
    assert free["y"].value == pytest.approx(2 * 2 / 2**7)
    named = {row.name: row.label for row in breakdown.secondaries(table, 1, ["y", "cpu_seconds.flux-system"])}
    assert named["cpu_seconds.flux-system"] == "CPU time of the pods in flux-system"


def test_places_that_follow_from_the_arm_leave_the_mixed_model() -> None:
    rng = np.random.default_rng(2)
    columns = {arm: list(rng.normal(k, 1, 8)) for k, arm in enumerate("abc")}
    fixed = several(columns, {arm: [k] * 8 for k, arm in enumerate("abc")})
    assert [one.mixed for one in fixed.contrasts] == [one.mixed for one in several(columns).contrasts]
    assert fixed.f_p is not None
