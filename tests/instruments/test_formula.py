"""What a model makes of CPU-seconds, against the meter's own integration ten times a second."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardwatt.instruments import formula
from hardwatt.instruments.windows import WindowError
from hardwatt.meter import hardwatt_meter, meter_config

STRAIGHT = [[0.0, 10.0], [1.0, 30.0]]
BENT = [[0.0, 10.0], [0.1, 25.0], [0.5, 40.0], [0.8, 90.0], [1.0, 91.0]]
CPUS = 4


def scraped(loads: list[float]) -> pl.DataFrame:
    """A counter that is read each second, of loads that hold for a tenth of one."""
    counter = np.concatenate([[0.0], np.cumsum(np.array(loads) * 0.1 * CPUS)])
    return pl.DataFrame({"ts": np.arange(0, counter.size, 10) * 100.0, "value": counter[::10]})


def by_the_meter(loads: list[float], points: list[list[float]]) -> float:
    energy = hardwatt_meter.Energy(points, CPUS)
    for load in loads:
        energy.add(0.1, load * 0.1 * CPUS)
    return energy.total_uj / 1e6


seconds_of_loads = st.lists(st.lists(st.floats(0, 1), min_size=10, max_size=10), min_size=1, max_size=6)


@given(seconds_of_loads)
def test_the_meters_joules_lie_within_the_bounds(seconds: list[list[float]]) -> None:
    loads = [load for second in seconds for load in second]
    end = 1000.0 * len(seconds)
    for points in (STRAIGHT, BENT):
        value, low, high = formula.joules(scraped(loads), 0, end, points, CPUS)
        true = by_the_meter(loads, points)
        assert low - 1e-3 <= true <= high + 1e-3
        assert low <= value + 1e-9 <= high + 2e-9
    value, low, high = formula.joules(scraped(loads), 0, end, STRAIGHT, CPUS)
    assert low == pytest.approx(high)
    assert value == pytest.approx(by_the_meter(loads, STRAIGHT), abs=1e-3)


def test_a_steady_load_is_exact_at_every_point() -> None:
    for load, watts in BENT:
        value, _, _ = formula.joules(scraped([load] * 20), 500, 1500, BENT, CPUS)
        assert value == pytest.approx(watts)


def test_beyond_full_load_the_last_line_goes_on_as_in_the_meter() -> None:
    assert formula.watts(np.array(BENT), np.array([1.2]))[0] == meter_config.watts_at(BENT, 1.2)


def test_a_counter_that_goes_back_is_refused() -> None:
    samples = pl.DataFrame({"ts": [0.0, 1000.0, 2000.0], "value": [1.0, 2.0, 0.5]})
    with pytest.raises(WindowError, match="a counter that goes on"):
        formula.joules(samples, 0, 2000, STRAIGHT, CPUS)
