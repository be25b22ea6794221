"""Kepler's figures: summed right, with their bias beside them, and none where they are not valid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle.model import Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.instruments.cgroup import CPU
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.kepler import ACTIVE, NOT_VALID, POD
from hardwatt.instruments.outcomes import measure

T0 = 1_790_000_000_000
RUN = Run("r", 0, 0, "push", 0, "done", "", T0, T0 + 60_000)
Counter = Callable[[Any], Any]


def series(metric: str, begin: float, end: float, counter: Counter, **labels: str) -> SeriesSamples:
    """A counter of seconds since t0, scraped every two seconds."""
    at = np.arange(-15.0, 75.0, 2.0)
    at = at[(at >= begin) & (at <= end)]
    return SeriesSamples({"__name__": metric, **labels}, np.round(T0 + at * 1000).astype(np.int64), counter(at))


def pod(name: str, namespace: str, begin: float, end: float, counter: Counter, state: str = "running") -> SeriesSamples:
    return series(POD, begin, end, counter, pod_id=name, pod_namespace=namespace, state=state, zone="package")


def cgroup(name: str, namespace: str, rate: float) -> SeriesSamples:
    path = {"id": f"/kubepods/pod{name}", "namespace": namespace, "pod": name}
    return series(CPU, -20, 80, lambda t: 100 + rate * t, container="", image="", **path)


def steady(rate: float, offset: float = 50.0) -> Counter:
    return lambda t: offset + rate * t


def made(path: Path, *rows: SeriesSamples, host: dict[str, object] | None = None, kepler: str = "v0.11.4") -> Bundle:
    plan = {
        "study": "small",
        "seed": 1,
        "arms": ["push"],
        "window_seconds": 60,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
    }
    facts = {"cpus": 2, "proc_stat": "node"} if host is None else host
    info = series("kepler_build_info", -20, 80, lambda t: np.ones(t.size), version=kepler)
    writer = Writer.create(path, plan, Provenance(1, "rapl", "t", "", False, host=facts))
    by_metric: dict[str, list[SeriesSamples]] = {}
    for one in (*rows, *([info] if kepler else [])):
        by_metric.setdefault(one.labels["__name__"], []).append(one)
    for metric, found in by_metric.items():
        writer.add_samples("r", metric, found)
    writer.add_run(RUN)
    writer.finish()
    return Bundle.open(path)


def figures(bundle: Bundle) -> dict[str, Figure]:
    return {one.name: one.figure for one in measure(bundle).outcomes if "kepler" in one.name}


def test_pods_by_namespace_with_version_and_bias(tmp_path: Path) -> None:
    """ci used a third of the CPU time, Kepler gives it a tenth of the energy: its bias is 0.3."""
    rows = (
        pod("a", "flux-system", -20, 80, steady(0.9)),
        pod("b", "ci", -20, 80, steady(0.1)),
        series(ACTIVE, -20, 80, steady(1.25), zone="package", path="aggregated-package"),
        cgroup("a", "flux-system", 0.2),
        cgroup("b", "ci", 0.1),
    )
    found = figures(made(tmp_path / "b", *rows))
    assert found["kepler_joules.flux-system"].value == pytest.approx(54)
    assert found["kepler_joules.ci"].value == pytest.approx(6)
    assert "Kepler v0.11.4" in found["kepler_joules.ci"].source
    assert found["closure.kepler_pods_of_active"].value == pytest.approx(0.8)
    bias = found["check.kepler_bias.ci"]
    assert bias.value == pytest.approx(0.3)
    assert bias.low <= 0.3 <= bias.high < 1
    assert found["check.kepler_bias.flux-system"].value == pytest.approx(1.35)


def test_a_pod_that_kepler_never_saw_is_shown_as_bias_zero(tmp_path: Path) -> None:
    rows = pod("a", "flux-system", -20, 80, steady(1)), cgroup("a", "flux-system", 0.2), cgroup("b", "ci", 0.1)
    found = figures(made(tmp_path / "b", *rows))
    assert found["check.kepler_bias.ci"].value == 0
    assert "saw no pod" in found["check.kepler_bias.ci"].source
    assert "kepler_joules.ci" not in found


def test_a_born_and_terminated_pod_is_counted_once(tmp_path: Path) -> None:
    counter: Counter = lambda t: 0.5 * np.minimum(t - 10, 10)  # noqa: E731
    rows = (
        pod("a", "flux-system", -20, 80, steady(1)),
        pod("b", "ci", 11, 20, counter),
        pod("b", "ci", 21, 22, counter, state="terminated"),
    )
    figure = figures(made(tmp_path / "b", *rows))["kepler_joules.ci"]
    assert figure.value == pytest.approx(5)
    assert figure.low <= 5 <= figure.high


def test_a_counter_that_an_idle_interval_set_to_zero(tmp_path: Path) -> None:
    counter: Counter = lambda t: np.where(t < 30, 50 + t, t - 30)  # noqa: E731
    figure = figures(made(tmp_path / "b", pod("a", "x", -20, 80, counter)))["kepler_joules.x"]
    assert figure.low <= 60 <= figure.high
    assert figure.value == pytest.approx(60, abs=2.1)


@pytest.mark.parametrize("host", [{"kind": "embedded"}, {"kind": "ssh", "proc_stat": "host"}])
def test_where_proc_stat_is_the_hosts_nothing_is_given(tmp_path: Path, host: dict[str, object]) -> None:
    bundle = made(tmp_path / "b", pod("a", "x", -20, 80, steady(1)), host={"cpus": 2, **host})
    assert figures(bundle) == {}
    assert [one.reason for one in measure(bundle).refusals if "kepler" in one.name] == [NOT_VALID]


def test_a_gap_is_refused_by_the_pods_name(tmp_path: Path) -> None:
    whole = pod("a", "x", -20, 80, steady(1))
    keep = (whole.ts < T0 + 20_000) | (whole.ts > T0 + 40_000)
    bundle = made(tmp_path / "b", SeriesSamples(whole.labels, whole.ts[keep], whole.values[keep]))
    (reason,) = [one.reason for one in measure(bundle).refusals if one.name == "kepler_joules.*"]
    assert reason == f"{POD} of pod a in x: a gap longer than the declared one"


def test_cpu_seconds_that_kepler_did_not_see(tmp_path: Path) -> None:
    rows = (
        pod("a", "x", -20, 80, steady(1)),
        cgroup("a", "x", 0.5),
        series("kepler_container_cpu_seconds_total", -20, 80, steady(0.3), container_id="c1"),
    )
    unseen = figures(made(tmp_path / "b", *rows))["check.kepler_unseen"]
    assert unseen.value == pytest.approx(12)
    assert unseen.low <= 12 <= unseen.high


def test_without_kepler_there_is_not_a_word_about_it(tmp_path: Path) -> None:
    bundle = made(tmp_path / "b", cgroup("a", "x", 0.5), kepler="")
    assert figures(bundle) == {}
    assert not [one for one in measure(bundle).refusals if "kepler" in one.name]


def test_an_unknown_version_is_said(tmp_path: Path) -> None:
    found = figures(made(tmp_path / "b", pod("a", "x", -20, 80, steady(1)), kepler=""))
    assert "of unknown version" in found["kepler_joules.x"].source
