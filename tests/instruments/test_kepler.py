"""Kepler's figures: summed right, with their bias beside them, and none where they are not valid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle.exposition import labels_of, parse_exposition
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


PAGE = """\
# Constructed in the shape of the collector of Kepler 0.11.4 (power_collector.go), not captured from one.
# HELP kepler_process_cpu_seconds_total Total user and system time of cpu at process level in seconds
# TYPE kepler_process_cpu_seconds_total counter
kepler_process_cpu_seconds_total{comm="sh",container_id="c1",exe="/bin/busybox",node_name="n",pid="41",type="container",vm_id=""} %s
kepler_process_cpu_seconds_total{comm="app",container_id="c1",exe="/app",node_name="n",pid="41",type="container",vm_id=""} %s
kepler_process_cpu_seconds_total{comm="app",container_id="c1",exe="/app",node_name="n",pid="42",type="container",vm_id=""} %s
kepler_process_cpu_seconds_total{comm="sshd",container_id="",exe="/usr/sbin/sshd",node_name="n",pid="7",type="regular",vm_id=""} %s
# HELP kepler_pod_cpu_joules_total Energy consumption of cpu at pod level in joules
# TYPE kepler_pod_cpu_joules_total counter
kepler_pod_cpu_joules_total{node_name="n",pod_id="a",pod_name="p",pod_namespace="x",state="running",zone="package"} %s
"""  # noqa: E501


def exported(second: float) -> dict[str, float]:
    """Exports of 0.11.4: process 41 starts another program at 20 s, and its CPU-seconds go on under other labels."""
    first, then = (10 + 0.2 * second, "") if second < 20 else ("", 10 + 0.2 * second)
    values = (first, then, 3 + 0.1 * second, 900 + second, 50 + second)
    text = "\n".join(line for line in (PAGE % values).splitlines() if not line.endswith("} "))
    return parse_exposition(text + "\n", ("kepler_",))


def test_processes_of_a_page_of_0_11_4_are_what_kepler_saw(tmp_path: Path) -> None:
    """0.3 CPUs of the pod's 0.5: 12 of 60 s are unseen. What is in no container is no pod's."""
    moments = np.arange(-15.0, 75.0, 2.0)
    seen: dict[str, list[tuple[float, float]]] = {}
    for second in moments:
        for name, number in exported(float(second)).items():
            seen.setdefault(name, []).append((second, number))
    rows = [
        SeriesSamples(labels_of(name), np.array([round(T0 + 1000 * second) for second, _ in samples], dtype=np.int64),
                      np.array([number for _, number in samples]))
        for name, samples in seen.items()
    ]  # fmt: skip
    unseen = figures(made(tmp_path / "b", *rows, cgroup("a", "x", 0.5)))["check.kepler_unseen"]
    assert unseen.value == pytest.approx(12, abs=0.01)
    assert unseen.low <= 12 <= unseen.high


def test_a_container_s_running_and_terminated_series_are_one_counter(tmp_path: Path) -> None:
    """On newer ones a container has CPU-seconds with a state: it ends at 20 s, and is shown once more."""
    name, labels = "kepler_container_cpu_seconds_total", {"container_id": "c1", "runtime": "containerd", "pod_id": "a"}
    rows = (
        pod("a", "x", -20, 80, steady(1)),
        cgroup("a", "x", 0.5),
        series(name, -20, 20, steady(0.3), **labels, state="running"),
        series(name, 21, 22, lambda t: 50 + 0.3 * np.minimum(t, 20), **labels, state="terminated"),
    )
    unseen = figures(made(tmp_path / "b", *rows, kepler="v0.13.0"))["check.kepler_unseen"]
    assert unseen.value == pytest.approx(30 - 6, abs=0.3)


def test_cpu_seconds_of_processes_that_make_no_sense_are_refused_by_name(tmp_path: Path) -> None:
    name = "kepler_process_cpu_seconds_total"
    rows = (
        pod("a", "x", -20, 80, steady(1)),
        cgroup("a", "x", 0.5),
        series(name, -20, 80, lambda t: np.where(t < 30, 50 + t, 500 + t), container_id="c1", pid="4"),
    )
    measured = measure(made(tmp_path / "b", *rows))
    (reason,) = [refusal.reason for refusal in measured.refusals if refusal.name == "check.kepler_unseen"]
    assert reason == f"{name}: a rise faster than possible"


def test_without_kepler_there_is_not_a_word_about_it(tmp_path: Path) -> None:
    bundle = made(tmp_path / "b", cgroup("a", "x", 0.5), kepler="")
    assert figures(bundle) == {}
    assert not [one for one in measure(bundle).refusals if "kepler" in one.name]


def test_an_unknown_version_is_said(tmp_path: Path) -> None:
    found = figures(made(tmp_path / "b", pod("a", "x", -20, 80, steady(1)), kepler=""))
    assert "of unknown version" in found["kepler_joules.x"].source
