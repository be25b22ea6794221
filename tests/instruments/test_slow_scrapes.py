"""Scrapes that are 15 s apart: bounds hold the truth, and no check fails because of the interval alone."""

from pathlib import Path

import numpy as np
import pytest

from hardwatt.bundle.model import Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.instruments import cgroup
from hardwatt.instruments.crosschecks import judged
from hardwatt.instruments.figure import Figure, Measured, Outcome
from hardwatt.instruments.node import CPU, UNIT_CPU
from hardwatt.instruments.outcomes import measure
from hardwatt.instruments.readings import READ_AT, UNIT_READ_AT

T0 = 1_790_000_000_000
SECONDS = 60
PLAN = {
    "study": "small", "seed": 1, "arms": ["push"], "window_seconds": SECONDS,
    "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
    "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
}  # fmt: skip


def node(second: float) -> float:
    """Busy for ten seconds of the window, at rest else."""
    return 500 + 0.1 * second + 1.5 * min(max(second - 21, 0), 10)


def pod(second: float) -> float:
    return 50 + 0.08 * second + 1.3 * min(max(second - 21, 0), 10)


def at(every: float, phase: float) -> list[float]:
    return np.arange(-90 + phase, SECONDS + 90, every).tolist()


def series(metric: str, moments: list[float], values: list[float], **labels: str) -> SeriesSamples:
    ts = np.array([T0 + round(1000 * second) for second in moments], dtype=np.int64)
    return SeriesSamples({"__name__": metric, **labels}, ts, np.array(values))


def scraped(path: Path, every: float, phase: float, *more: SeriesSamples) -> Bundle:
    """A window as scrapes saw it; cAdvisor read each cgroup up to two housekeeping intervals before."""
    moments = at(every, phase)
    stale = [second - 1.7 * min(every, 10) for second in moments]
    rows = [
        series(CPU, moments, [node(second) for second in moments]),
        series(READ_AT, moments, [T0 / 1000 + second for second in moments]),
        series(UNIT_CPU, moments, [0.01 * (second + 100) for second in moments], unit="kubelet.service"),
        series(UNIT_READ_AT, moments, [T0 / 1000 + second for second in moments], unit="kubelet.service"),
        series(cgroup.CPU, stale, [pod(second) for second in stale], id="/kubepods/poda", namespace="x", pod="a"),
        series(cgroup.CPU, stale, [pod(second) + 0.001 * second for second in stale], id="/kubepods"),
        *more,
    ]
    host = {"cpus": 2, "scrape_seconds": every}
    writer = Writer.create(path, PLAN, Provenance(1, "rapl", "t", "", False, host=host))
    for name in {row.labels["__name__"] for row in rows}:
        writer.add_samples("r", name, [row for row in rows if row.labels["__name__"] == name])
    writer.add_run(Run("r", 0, 0, "push", 0, "done", "", T0, T0 + 1000 * SECONDS))
    writer.finish()
    return Bundle.open(path)


@pytest.mark.parametrize("every", [1, 5, 15, 30])
@pytest.mark.parametrize("phase", [0.2, 0.5, 0.9])
def test_truth_is_inside_the_bounds_and_every_check_holds(tmp_path: Path, every: float, phase: float) -> None:
    bundle = scraped(tmp_path / "b", every, phase * every)
    measured = measure(bundle)
    figures = {outcome.name: outcome.figure for outcome in measured.outcomes}
    true = {
        "node_cpu_seconds": node(SECONDS) - node(0), "kubelet_cpu_seconds": 0.6,
        "cpu_seconds.x": pod(SECONDS) - pod(0),
    }  # fmt: skip
    for name, value in true.items():
        assert figures[name].low - 1e-9 <= value <= figures[name].high + 1e-9, (name, figures[name], value)
    off = [check.sentence for check in judged(bundle, measured) if not check.holds and check.name != "check.edge_error"]
    assert off == []


def test_a_pod_between_two_scrapes_is_missed_and_no_check_fails_for_it(tmp_path: Path) -> None:
    """All pods' own counter has 5 CPU-seconds of a pod that no scrape saw."""
    bundle = scraped(tmp_path / "b", 15, 3.0)
    outcomes = tuple(
        Outcome("r", "push", 0, 0, name, Figure(value, "ratio", "test", value, value))
        for name, value in (("closure.pods_of_kubepods", 0.5), ("check.cpu_lost_of_node", 0.3))
    )
    assert all(check.holds for check in judged(bundle, Measured(outcomes, ())))


@pytest.mark.parametrize(
    ("name", "value"),
    [("closure.pods_of_kubepods", 1.2), ("check.cpu_lost_of_node", -0.3), ("check.by_scrapes.node_cpu_seconds", 1.2),
     ("check.by_scrapes.node_cpu_seconds", 0.8), ("check.by_scrapes.cpu_seconds.x", 1.2),
     ("closure.kubepods_of_node", 1.1)],
)  # fmt: skip
def test_what_no_interval_explains_fails_at_15_s_too(tmp_path: Path, name: str, value: float) -> None:
    bundle = scraped(tmp_path / "b", 15, 3.0)
    outcome = Outcome("r", "push", 0, 0, name, Figure(value, "ratio", "test", value - 0.01, value + 0.01))
    (check,) = judged(bundle, Measured((outcome,), ()))
    assert not check.holds


def test_scrapes_every_second_are_judged_as_before(tmp_path: Path) -> None:
    bundle = scraped(tmp_path / "b", 1, 0.3)
    assert (cgroup.gap_ms(bundle), cgroup.tail_ms(bundle)) == (20_000, 3_500)
    outcome = Outcome("r", "push", 0, 0, "closure.pods_of_kubepods", Figure(0.9, "ratio", "test", 0.8, 1.0))
    (check,) = judged(bundle, Measured((outcome,), ()))
    assert (check.least, check.most, check.holds) == (0.95, 1.05, False)
