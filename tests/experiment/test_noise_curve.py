"""The noise curve: what qualify writes is what plans read; what does not fit is refused with the file's name."""

import math
from typing import Any

import pytest
from scipy import stats

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.experiment.plan import noise_curve
from hardwatt.experiment.plan.noise_curve import NoiseCurve, NoiseRow, pair_sd

CURVE = NoiseCurve(
    "2026-12-01T02:00:00+00:00",
    (
        NoiseRow(60.0, "push", 8, 5.0, None, 190.0),
        NoiseRow(30.0, "push", 8, 9.0, None, 130.0),
        NoiseRow(30.0, "pull", 8, 6.0, 2.0, 130.0),
        NoiseRow(30.0, "pull", 8, 60.0, outcome="node_joules"),
    ),
    {"kubernetes": "v1.36.3"},
)


def test_a_stored_curve_comes_back_and_none_is_none(lab: Lab) -> None:
    assert noise_curve.load(lab) is None
    noise_curve.save(lab, CURVE)
    assert noise_curve.load(lab) == CURVE


def test_rows_are_by_length_and_arm_of_one_outcome() -> None:
    table = CURVE.of()
    assert list(table) == [30.0, 60.0]
    assert list(table[30.0]) == ["pull", "push"]
    assert CURVE.of("node_joules") == {30.0: {"pull": CURVE.rows[3]}}


def test_the_noise_of_a_difference_is_made_of_one_window_of_each_arm() -> None:
    rows = CURVE.of()[30.0].values()
    bound = math.sqrt(7 / stats.chi2.ppf(0.2, 7))
    assert pair_sd(list(rows)) == pytest.approx(bound * math.sqrt((81 + 36) / 2))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(schema=2), "another version"),
        (lambda data: data.update(extra=1), "extra"),
        (lambda data: data["rows"][0].update(colour="red"), "colour"),
        (lambda data: data["rows"][0].update(n=1), "fewer than two"),
        (lambda data: data["rows"][0].update(sd=-1.0), "no noise"),
        (lambda data: data["rows"][0].update(window_seconds=0.0), "no noise"),
        (lambda data: data["rows"][0].update(outcome="watts"), "unknown outcome"),
        (lambda data: data["rows"].append(data["rows"][0]), "two rows of push"),
        (lambda data: data.update(at="\x1b[2J"), "control characters"),
        (lambda data: data.update(rows={}), "a list is expected"),
    ],
)
def test_a_curve_with_a_fault_is_refused_by_name(lab: Lab, change: Any, says: str) -> None:
    noise_curve.save(lab, CURVE)
    path = lab.dir / noise_curve.FILE
    data = {"schema": 1, **CURVE.to_dict()}
    data["rows"] = [dict(row) for row in data["rows"]]
    change(data)
    write_json(path, data)
    with pytest.raises(LabError, match=says) as caught:
        noise_curve.load(lab)
    assert str(path) in caught.value.message
