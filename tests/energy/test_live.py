"""Joules of the last stretch, from constructed samples whose answer is known."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle.model import SeriesSamples
from hardwatt.instruments import live
from hardwatt.instruments.windows import WindowError

T0, T1 = 1_000_000, 1_600_000
TIMES = np.arange(T0 - 20_000, T1 + 16_000, 1000, dtype=np.int64)


def ramp(per_second: float, times: Iterable[Any] = TIMES, start: float = 0.0, **labels: str) -> SeriesSamples:
    ts = np.array(list(times), dtype=np.int64)
    return SeriesSamples({"node": "n", **labels}, ts, start + (ts - TIMES[0]) / 1000 * per_second)


def path(folder: str) -> str:
    return f"/host/sys/class/powercap/{folder}"


def samples(**changed: list[SeriesSamples]) -> dict[str, list[SeriesSamples]]:
    """40 W in two packages (and a twin), 2 CPUs used; source-controller 0.1, kustomize-controller 0.3."""
    return {
        "node_rapl_package_joules_total": [
            ramp(30, index="0", path=path("intel-rapl:0")),
            ramp(10, index="1", path=path("intel-rapl:1")),
            ramp(30, index="0", path=path("intel-rapl-mmio:0")),
        ],
        "hardwatt_node_cpu_seconds_total": [ramp(2)],
        "hardwatt_node_cpus": [ramp(0, start=8)],
        "hardwatt_powercap_max_energy_range_joules": [],
        "hardwatt_meter_info": [],
        "hardwatt_pod_cpu_seconds_total": [
            ramp(0.1, namespace="flux-system", pod="source-1", uid="a"),
            ramp(0.3, namespace="flux-system", pod="kustomize-1", uid="b"),
            ramp(0.0, namespace="default", pod="idle-1", uid="c"),
        ],
        **changed,
    }


def found(**changed: list[SeriesSamples]) -> dict[str, live.Energy]:
    return {one.pod: one for one in live.energy(samples(**changed), "package", T0, T1)}


def test_a_pod_has_its_share_of_the_nodes_joules() -> None:
    """40 W for 600 s are 24 kJ; 5 and 15 % of it."""
    got = found()
    assert got[""].joules.value == pytest.approx(24_000)
    assert got["source-1"].joules.value == pytest.approx(1200)
    assert got["kustomize-1"].joules.value == pytest.approx(3600)
    assert got["source-1"].cpu_seconds.value == pytest.approx(60)
    assert got["idle-1"].joules.value == 0
    for one in got.values():
        assert one.joules.low <= one.joules.value <= one.joules.high


def test_a_register_that_wraps_loses_nothing() -> None:
    wrapped = ramp(40, path=path("intel-rapl:0"), index="0")
    wrapped = SeriesSamples(wrapped.labels, wrapped.ts, wrapped.values % 10_000)
    limit = ramp(0, start=10_000, path="class/powercap/intel-rapl:0")
    got = found(node_rapl_package_joules_total=[wrapped], hardwatt_powercap_max_energy_range_joules=[limit])
    assert got[""].joules.value == pytest.approx(24_000)


def test_a_pod_that_died_and_came_back_under_its_name_is_one_row() -> None:
    half = [t for t in TIMES if t < T0 + 300_000]
    rest = [t for t in TIMES if t >= T0 + 300_000]
    born = ramp(0.1, rest, namespace="monitoring", pod="prometheus-k8s-0", uid="b")
    born = SeriesSamples(born.labels, born.ts, born.values - born.values[0])
    pods = [ramp(0.1, half, namespace="monitoring", pod="prometheus-k8s-0", uid="a"), born]
    got = found(hardwatt_pod_cpu_seconds_total=pods)
    assert got["prometheus-k8s-0"].cpu_seconds.value == pytest.approx(60, abs=0.2)


@pytest.mark.parametrize("scrape_seconds", [1, 15])
def test_a_pod_of_two_seconds_has_all_that_it_used(scrape_seconds: int) -> None:
    """Its series begins with all of it, stays as it is for five minutes, and goes; scraped each second or each 15."""
    times = [t for t in TIMES[::scrape_seconds] if T0 + 200_000 <= t <= T0 + 500_000]
    short = ramp(0.0, times, start=2.0, namespace="ci", pod="job-1", uid="d")
    got = found(hardwatt_pod_cpu_seconds_total=[*samples()["hardwatt_pod_cpu_seconds_total"], short])
    assert got["job-1"].cpu_seconds.value == pytest.approx(2.0, rel=0.05)
    assert got["job-1"].cpu_seconds.low <= 2.0 <= got["job-1"].cpu_seconds.high
    assert got["job-1"].joules.value == pytest.approx(2 / 1200 * 24_000, rel=0.05)


def test_a_node_whose_meter_exports_no_pods_is_refused() -> None:
    with pytest.raises(WindowError, match="no samples of hardwatt_pod_cpu_seconds_total"):
        found(hardwatt_pod_cpu_seconds_total=[])


def test_modelled_energy_says_so() -> None:
    got = found(node_rapl_package_joules_total=[ramp(40, path=path("synthetic-model:0"))])
    assert got[""].joules.source.startswith("modelled")
    assert "modelled" in got["source-1"].joules.source


def test_what_the_samples_do_not_carry_is_refused() -> None:
    late = [t for t in TIMES if t > T0 + 60_000]
    with pytest.raises(WindowError, match="no sample at or before its start"):
        found(hardwatt_node_cpu_seconds_total=[ramp(2, late)])
    with pytest.raises(WindowError, match="no samples of hardwatt_node_cpu_seconds_total"):
        found(hardwatt_node_cpu_seconds_total=[])
    with pytest.raises(WindowError, match="a rise faster"):
        broken = ramp(40, path=path("intel-rapl:0"))
        values = broken.values.copy()
        values[300:] += 1e9
        found(node_rapl_package_joules_total=[SeriesSamples(broken.labels, broken.ts, values)])


def test_a_zone_that_is_not_there_is_no_zero() -> None:
    with pytest.raises(WindowError, match="no zone 'dram'"):
        live.energy(samples(), "dram", T0, T1)
