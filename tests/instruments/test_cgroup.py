"""Attribution by cgroup: pods that are born, die, lose their labels, and what is no pod."""

from pathlib import Path

import numpy as np
import pytest

from hardwatt.bundle.model import Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.instruments.cgroup import CPU, attribution
from hardwatt.instruments.windows import WindowError

T0 = 1_790_000_000_000
RUN = Run("r", 0, 0, "push", 0, "done", "", T0, T0 + 60_000)


def series(path: str, begin: float, end: float, rate: float, offset: float = 0.0, **labels: str) -> SeriesSamples:
    """One cgroup, scraped every second at .3, from ``begin`` to ``end`` (seconds from t0)."""
    at = np.arange(-12.7, 73, 1.0)
    at = at[(at >= begin) & (at <= end)]
    whole = {"__name__": CPU, "id": path, "namespace": "", "pod": "", "container": "", "image": "", **labels}
    return SeriesSamples(whole, np.round(T0 + at * 1000).astype(np.int64), offset + rate * (at - begin))


def bundle(path: Path, *rows: SeriesSamples) -> Bundle:
    plan = {
        "study": "small",
        "seed": 1,
        "arms": ["push"],
        "window_seconds": 60,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
    }
    writer = Writer.create(path, plan, Provenance(1, "modelled", "t", "", False, host={"cpus": 2}))
    writer.add_samples("r", CPU, rows)
    writer.add_run(RUN)
    writer.finish()
    return Bundle.open(path)


def pod(uid: str) -> str:
    return f"/machine/kubepods/besteffort/pod{uid}"


def test_an_old_pod_a_runner_and_their_sum(tmp_path: Path) -> None:
    found = attribution(
        bundle(
            tmp_path / "b",
            series(pod("a"), -20, 80, 0.1, 500, namespace="flux-system", pod="source"),
            series(pod("b"), 10.1, 16, 0.5, namespace="ci", pod="runner"),
            series("/machine/kubepods", -20, 80, 0.15, 900),
            series("/machine/kubepods/besteffort", -20, 80, 0.15, 900),
            series("/machine/system.slice/kubelet.service", -20, 80, 1.0, 900),
        ),
        RUN,
    )
    assert found.by_namespace["flux-system"].value == pytest.approx(6)
    ci = found.by_namespace["ci"]
    assert ci.value == pytest.approx(0.5 * (15.3 - 10.1))
    assert ci.low <= 0.5 * (16 - 10.1) <= ci.high
    assert found.pods.value == pytest.approx(6 + ci.value)
    assert found.kubepods is not None
    assert found.kubepods.value == pytest.approx(9)


def test_containers_inside_a_pod_are_not_counted_again(tmp_path: Path) -> None:
    found = attribution(
        bundle(
            tmp_path / "b",
            series(pod("a"), -20, 80, 0.1, 500, namespace="x", pod="p"),
            series(pod("a") + "/c1", -20, 80, 0.1, 500, namespace="x", pod="p", container="main", image="i"),
            series(pod("a") + "/c0", -20, 80, 0.0, 500, namespace="x", pod="p", image="registry.k8s.io/pause"),
        ),
        RUN,
    )
    assert found.by_namespace["x"].value == pytest.approx(6)
    assert found.kubepods is None


def test_a_pod_that_loses_its_labels_stays_in_its_namespace(tmp_path: Path) -> None:
    whole = series(pod("b"), 10.1, 16, 0.5, namespace="ci", pod="runner")
    named = SeriesSamples(whole.labels, whole.ts[:3], whole.values[:3])
    bare = SeriesSamples({**whole.labels, "namespace": "", "pod": ""}, whole.ts[3:], whole.values[3:])
    found = attribution(bundle(tmp_path / "b", named, bare), RUN)
    assert list(found.by_namespace) == ["ci"]
    assert found.by_namespace["ci"].value == pytest.approx(0.5 * (15.3 - 10.1))


def test_a_pod_that_never_had_labels_is_shown_as_unknown(tmp_path: Path) -> None:
    found = attribution(bundle(tmp_path / "b", series(pod("b"), 10.1, 16, 0.5)), RUN)
    assert list(found.by_namespace) == ["(unknown)"]


def test_another_machines_pods_on_the_same_host_are_not_this_nodes(tmp_path: Path) -> None:
    rows = (
        series(pod("a"), -20, 80, 0.1, 500, namespace="x", pod="p"),
        series("/machine/kubepods", -20, 80, 0.1, 500),
        series("/podlab/kubepods", -20, 80, 0.7, 500),
        series("/podlab/kubepods/besteffort/podq", -20, 80, 0.7, 500),
        series("/podlab", -20, 80, 0.9, 500),
    )
    found = attribution(bundle(tmp_path / "b", *rows), RUN)
    assert list(found.by_namespace) == ["x"]
    assert found.kubepods is not None
    assert found.kubepods.value == pytest.approx(6)


def test_a_static_pods_cgroup_with_systemd_names(tmp_path: Path) -> None:
    path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podabc.slice"
    rows = (
        series(path, -20, 80, 0.1, 5, namespace="kube-system", pod="etcd"),
        series("/kubepods.slice", -20, 80, 0.2, 9),
    )
    found = attribution(bundle(tmp_path / "b", *rows), RUN)
    assert found.by_namespace["kube-system"].value == pytest.approx(6)
    assert found.kubepods is not None
    assert found.kubepods.value == pytest.approx(12)


def test_the_parents_counter_bounds_a_dead_pods_tail(tmp_path: Path) -> None:
    rows = [
        series(pod("a"), -20, 80, 0.1, 500, namespace="flux-system", pod="source"),
        series(pod("b"), 10.1, 16, 0.5, namespace="ci", pod="runner"),
    ]
    at = rows[0].ts
    total = 0.1 * (at - T0) / 1000 + 0.5 * np.clip((at - T0) / 1000 - 10.1, 0, 6) + 900
    parent = SeriesSamples({**rows[0].labels, "id": "/machine/kubepods", "namespace": "", "pod": ""}, at, total)
    alone = attribution(bundle(tmp_path / "a", *rows), RUN).by_namespace["ci"]
    bounded = attribution(bundle(tmp_path / "b", *rows, parent), RUN).by_namespace["ci"]
    assert alone.high > 4
    assert bounded.low <= 3.0 <= bounded.high
    assert bounded.high < 3.3


def test_a_gap_in_a_pod_is_refused_by_its_name(tmp_path: Path) -> None:
    whole = series(pod("a"), -20, 80, 0.1, 500, namespace="x", pod="p")
    keep = (whole.ts < T0 + 20_000) | (whole.ts > T0 + 45_000)
    torn = SeriesSamples(whole.labels, whole.ts[keep], whole.values[keep])
    with pytest.raises(WindowError, match="poda: a gap longer"):
        attribution(bundle(tmp_path / "b", torn), RUN)


def test_nothing_scraped(tmp_path: Path) -> None:
    with pytest.raises(WindowError, match="no samples"):
        attribution(bundle(tmp_path / "b"), RUN)
