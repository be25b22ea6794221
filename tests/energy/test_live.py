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
        "container_cpu_usage_seconds_total": [
            ramp(0.1, TIMES[::2], namespace="flux-system", pod="source-1"),
            ramp(0.3, TIMES[::2], namespace="flux-system", pod="kustomize-1"),
            ramp(0.0, TIMES[::15], namespace="default", pod="idle-1"),
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
    born = ramp(0.1, rest, namespace="monitoring", pod="prometheus-k8s-0", id="b")
    born = SeriesSamples(born.labels, born.ts, born.values - born.values[0])
    pods = [ramp(0.1, half, namespace="monitoring", pod="prometheus-k8s-0", id="a"), born]
    got = found(container_cpu_usage_seconds_total=pods)
    assert got["prometheus-k8s-0"].cpu_seconds.value == pytest.approx(60, abs=0.2)


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
