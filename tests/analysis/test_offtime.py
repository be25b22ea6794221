"""The break-even off time from windows whose saving and wake-up are known."""

from typing import Any

import numpy as np
import pytest

from hardwatt.analysis.offtime import off_time
from hardwatt.bundle.model import Run
from hardwatt.instruments.figure import Figure

OUTCOME = "node_cpu_seconds"
ARMS = ("running", "suspended", "none", "nap")
STATE = {"running": "on", "suspended": "suspended", "none": "zero", "nap": "sleep"}
LEVELS = {"sleep_from": 10.0, "sleep_until": 60.0}
DEFINITION = {
    "estimand": {"window_seconds": 100.0},
    "arm": {arm: {"levels": {"state": state, **LEVELS}} for arm, state in STATE.items()},
}


def windows(
    blocks: int, *, saved: float, wake: float, noise: float = 0.0, seed: int = 0
) -> tuple[list[Run], dict[Any, Figure]]:
    """Return runs and figures: 20 CPU-s on, ``saved`` by second less when off, ``wake`` for a wake-up."""
    draw = np.random.default_rng(seed)
    true = {"running": 20.0, "suspended": 20.0, "none": 20 - 100 * saved, "nap": 20 - 50 * saved + wake}
    runs, figures = [], {}
    for block in range(1, blocks + 1):
        for position, arm in enumerate(ARMS):
            start = (block * 10 + position) * 200_000
            run = Run(f"b{block}-{arm}", block, position, arm, 0, "done", "", start, start + 100_000)
            value = true[arm] + noise * draw.normal()
            runs.append(run)
            figures[run.run_id, OUTCOME] = Figure(value, "CPU-seconds", "node meter", value, value)
    return runs, figures


def test_without_noise_saving_wake_up_and_their_ratio_are_exact() -> None:
    found = off_time(DEFINITION, *windows(3, saved=0.02, wake=1.5), ARMS, (OUTCOME, 0.95))
    assert found is not None
    assert found.saved.value == pytest.approx(0.02)
    assert found.wake_up.value == pytest.approx(1.5)
    assert found.seconds.value == pytest.approx(75.0)
    assert found.saved.unit == "CPU-seconds per s"


def test_with_noise_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(300):
        made = windows(12, saved=0.02, wake=1.5, noise=0.3, seed=seed)
        found = off_time(DEFINITION, *made, ARMS, (OUTCOME, 0.95))
        assert found is not None
        low, high = found.seconds.low, found.seconds.high
        assert low is not None and high is not None
        held += low <= 75 <= high
    assert held / 300 == pytest.approx(0.95, abs=0.03)


def test_one_block_gives_a_value_without_bounds() -> None:
    found = off_time(DEFINITION, *windows(1, saved=0.02, wake=1.5), ARMS, (OUTCOME, 0.95))
    assert found is not None
    assert found.seconds.value == pytest.approx(75.0)
    assert found.seconds.low is None
    assert "do not say" in found.why


def test_where_nothing_is_saved_no_off_time_pays() -> None:
    found = off_time(DEFINITION, *windows(3, saved=-0.01, wake=1.0), ARMS, (OUTCOME, 0.95))
    assert found is not None
    assert found.seconds.value is None
    assert "no off time pays" in found.why


def test_a_study_without_such_arms_has_no_off_time() -> None:
    assert off_time({"arm": {}}, *windows(2, saved=0.02, wake=1.0), ARMS, (OUTCOME, 0.95)) is None
