"""The rules of the lab's Prometheus, evaluated by promtool on constructed samples."""

import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.config.settings import ROOT
from hardwatt.gitops import component, scrape_interval
from hardwatt.gitops.desired_flux import seconds as duration
from tests.gitops.conftest import find_tool

CONFIGS = ROOT / "clusters/base/monitoring/configs"
POD = {"node_name": "n", "pod_name": "source-controller-1", "pod_namespace": "flux-system"}
IDLE = {"node_name": "n", "pod_name": "idle-1", "pod_namespace": "default"}
POD_CPU = "hardwatt_pod_cpu_seconds_total"
ZONES = "/host/sys/class/powercap/"


SCRAPED = 15
"""Seconds between two scrapes, as clusters/base has them."""


def ramp(series: str, start: float, per_second: float, scrapes: int = 60) -> dict[str, str]:
    return {"series": series, "values": f"{start}+{per_second * SCRAPED}x{scrapes}"}


def promtool(
    tmp_path: Path, rules: str, inputs: list[dict[str, str]], *, scraped: str = "15s", **checks: list[dict[str, Any]]
) -> None:
    """Evaluate rules every 3 s on series with a sample each ``scraped``, with the windows that a lab has then."""
    names = ("recorded.yaml", rules)
    for name in names:
        (tmp_path / name).write_text(scrape_interval.rules((CONFIGS / name).read_text(), scraped))
    test = {
        "rule_files": [str(tmp_path / name) for name in names],
        "evaluation_interval": "3s",
        "group_eval_order": ["recorded", "recreated-2022-cgroup"] if "cgroup" in rules else [],
        "tests": [{"interval": scraped, "input_series": inputs, **checks}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run([find_tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def named(metric: str, **labels: str) -> str:
    return metric + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


def value(metric: str, number: float, labels: dict[str, str], at: str = "150s") -> dict[str, Any]:
    """Expect exactly one series. Rates are rounded: they are floating point."""
    expected = [{"labels": named("", **{k: v for k, v in labels.items() if k != "__name__"}), "value": number}]
    return {"expr": f"round({metric}, 0.001)", "eval_time": at, "exp_samples": expected}


CGROUP = [
    ramp(named("node_rapl_package_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:0"), 100, 30),
    ramp(named("node_rapl_package_joules_total", node="n", index="1", path=f"{ZONES}intel-rapl:1"), 900, 10),
    ramp(named("node_rapl_package_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl-mmio:0"), 100, 30),
    ramp(named("node_rapl_core_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:0:0"), 7, 20),
    ramp(named("node_rapl_uncore_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:0:1"), 7, 1),
    ramp(named("node_rapl_dram_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:0:2"), 7, 4),
    ramp(named("hardwatt_node_cpu_seconds_total", node="n", job="meter"), 1000, 2),
    ramp(named("hardwatt_node_cpus", node="n", job="meter"), 8, 0),
    ramp(named("hardwatt_pod_read_timestamp_seconds", node="n", job="meter"), 1_790_000_000, 1),
    ramp(named(POD_CPU, node="n", pod="source-controller-1", namespace="flux-system", uid="a"), 5, 0.1),
    ramp(named(POD_CPU, node="n", pod="idle-1", namespace="default", uid="b"), 1, 0.0001),
    # Ended before: it stays for five minutes and uses nothing.
    ramp(named(POD_CPU, node="n", pod="ended-1", namespace="default", uid="c"), 70, 0),
    # Two seconds of work: the series begins with all of it.
    {"series": named(POD_CPU, node="n", pod="short-1", namespace="ci", uid="d"), "values": "_x9 2x50"},
]  # fmt: skip
MADE = {"attribution": "cgroup", "command": "recreated", "compat": "kepler-0.3"}


@pytest.mark.mirror
def test_a_twin_counts_where_its_register_stands_still_and_dies_add_up(tmp_path: Path) -> None:
    """Socket 0 by its twin at 30 W, two dies of socket 1 at 4 and 6 W; a twin's memory, of another index, once."""
    zones = [
        ramp(named("node_rapl_package_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:0"), 100, 0),
        ramp(named("node_rapl_package_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl-mmio:0"), 100, 30),
        ramp(named("node_rapl_package_1_die_0_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:1"), 5, 4),
        ramp(named("node_rapl_package_1_die_1_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:2"), 5, 6),
        ramp(named("node_rapl_dram_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl-mmio:0:0"), 7, 4),
        ramp(named("node_rapl_dram_joules_total", node="n", index="1", path=f"{ZONES}intel-rapl:0:2"), 7, 4),
        ramp(named("node_rapl_dram_joules_total", node="n", index="2", path=f"{ZONES}intel-rapl:1:0"), 9, 1),
    ]
    promtool(
        tmp_path,
        "recreated-cgroup.yaml",
        zones,
        promql_expr_test=[
            value(f'hardwatt:zone_watts{{zone="{zone}"}}', watts, {"node_name": "n", "zone": zone})
            for zone, watts in (("package", 40), ("dram", 5))
        ],
    )


@pytest.mark.mirror
def test_cgroup_rules_are_share_times_watts(tmp_path: Path) -> None:
    """40 W of two sockets (the mmio twin left out), 2 CPUs used, 0.1 by the pod: 5 %, so 2 W, 6000 mJ in 3 s."""
    pod = '{pod_name=~"source-controller.*"}'
    promtool(
        tmp_path,
        "recreated-cgroup.yaml",
        CGROUP,
        promql_expr_test=[
            value(f"pod_curr_energy_in_pkg_millijoule{pod}", 6000, POD | MADE),
            value(f"pod_curr_energy_in_core_millijoule{pod}", 3000, POD | MADE),
            value(f"pod_curr_energy_in_dram_millijoule{pod}", 600, POD | MADE),
            value(f"pod_curr_dynamic_energy_millijoule{pod}", 1500, POD | MADE),
            value('sum(pod_curr_energy_in_pkg_millijoule{pod_namespace="flux-system"})', 6000, {}),
            value("node_curr_energy_in_pkg_joule", 120, NODE | {"attribution": "cgroup"}),
            value("node_curr_energy_in_core_joule", 60, NODE | {"attribution": "cgroup"}),
            value("node_curr_energy_in_uncore_joule", 3, NODE | {"attribution": "cgroup"}),
            value("node_curr_energy_in_dram_joule", 12, NODE | {"attribution": "cgroup"}),
            value("node_energy_stat", 0, {"node_name": "n", "cpu_architecture": "unknown", "attribution": "cgroup",
                                          "compat": "kepler-0.3"}),
            value("node_package_energy_millijoule", 7_000_000, NODE | {"attribution": "cgroup", "pkg_id": "all"}),
        ],
    )  # fmt: skip


NODE = {"node_name": "n", "instance": "n"}


@pytest.mark.mirror
def test_cgroup_total_adds_up_what_its_evaluations_saw(tmp_path: Path) -> None:
    """1500 mJ at each evaluation: ten of them in 30 s."""
    difference = 'max({name}{pod_name=~"source.*"}) - max({name}{pod_name=~"source.*"} offset 30s)'.replace(
        "{name}", "pod_total_energy_in_pkg_millijoule"
    )
    promtool(
        tmp_path,
        "recreated-cgroup.yaml",
        CGROUP,
        promql_expr_test=[
            value(f"({difference})", 15_000, {}),
            value('count by (pod_name) (pod_total_energy_in_pkg_millijoule{pod_name=~"source.*"})', 1,
                  {"pod_name": POD["pod_name"]}),
        ],
    )  # fmt: skip


@pytest.mark.mirror
def test_a_pod_that_does_nearly_nothing_keeps_its_one_series(tmp_path: Path) -> None:
    """0.0001 CPUs are 0.005 % of 40 W, 6 mJ in 3 s; at every evaluation."""
    metric = 'pod_curr_energy_in_pkg_millijoule{pod_name="idle-1"}'
    checks = [value(metric, 6, IDLE | MADE, at=f"{second}s") for second in range(150, 165, 3)]
    promtool(tmp_path, "recreated-cgroup.yaml", CGROUP, promql_expr_test=checks)


@pytest.mark.mirror
def test_a_pod_of_two_seconds_has_all_of_its_energy_and_an_ended_one_none(tmp_path: Path) -> None:
    """2 CPU-seconds of the node's 2 a second at 40 W are 40 J, however the steps fall; its series was never zero."""
    whole = 'sum by (pod_name) (sum_over_time(pod_curr_energy_in_pkg_millijoule{pod_name="%s"}[5m]))'
    promtool(
        tmp_path,
        "recreated-cgroup.yaml",
        CGROUP,
        promql_expr_test=[
            value(whole % "short-1", 40_000, {"pod_name": "short-1"}, at="400s"),
            value(whole % "ended-1", 0, {"pod_name": "ended-1"}, at="400s"),
        ],
    )


@pytest.mark.mirror
def test_the_first_look_at_the_pods_is_no_energy(tmp_path: Path) -> None:
    """When the recorder's metrics begin, nobody knows since when the pods have worked."""
    late = [{**series, "values": "_x8 " + series["values"]} for series in CGROUP if POD_CPU in series["series"]
            or "hardwatt_pod_read" in series["series"]]  # fmt: skip
    rest = [
        series for series in CGROUP if POD_CPU not in series["series"] and "hardwatt_pod_read" not in series["series"]
    ]
    promtool(
        tmp_path,
        "recreated-cgroup.yaml",
        [*rest, *late],
        promql_expr_test=[
            value('max(max_over_time(pod_curr_energy_in_pkg_millijoule{pod_name="ended-1"}[5m]))', 0, {}, at="300s")
        ],
    )


INTERVALS = ("1s", "2s", "5s", "15s", "30s", "1m")
RUNS = 1260
"""Seconds of the constructed samples of pods."""
TEN_MINUTES = "sum by (pod_name) (3 * sum_over_time(hardwatt:pod_cpus_used[10m]))"


def sampled(every: str, at: Callable[[float], float | None]) -> str:
    """Return a series' values by a function of the second; None: the scrape did not have it."""
    step, moment, values = duration(every), 0.0, []
    while moment <= RUNS:
        held = at(moment)
        values.append("_" if held is None else f"{held:.6f}")
        moment += step
    # A series that ends is marked so by Prometheus.
    return " ".join("stale" if text == "_" and before not in ("_", "stale") else text
                    for before, text in pairwise(["_", *values]))  # fmt: skip


class Pods:
    """Pods by the second in which each begins to burn, at one CPU, and what it burns; ended ones stay 300 s."""

    def __init__(self, every: str, gone: Callable[[float], bool] = lambda second: False) -> None:
        self.every, self.gone = every, gone
        self.series = [
            {"series": named("hardwatt_pod_read_timestamp_seconds", node="n"), "values": self._values(lambda s: s)}
        ]
        self.checks: list[dict[str, Any]] = []

    def _values(self, at: Callable[[float], float | None]) -> str:
        return sampled(self.every, lambda second: None if self.gone(second) else at(second))

    def pod(self, name: str, born: float, burns: float, *, forgotten: float = 300.0, sees: float = 1.0) -> None:
        """Add a pod; ``sees``: the share of what it burnt that the sum has to have, to 5 %."""
        ends = born + burns
        values = self._values(lambda second: min(second - born, burns) if born < second <= ends + forgotten else None)
        labels = {"node": "n", "namespace": "ci", "pod": name, "uid": name}
        self.series.append({"series": named(POD_CPU, **labels), "values": values})
        own = TEN_MINUTES.replace("[10m]", f'{{pod_name="{name}"}}[10m]')
        expr = f"abs({own} / {burns} - {sees}) < bool 0.05"
        self.checks.append({"expr": expr, "eval_time": "900s",
                            "exp_samples": [{"labels": named("", pod_name=name), "value": 1}]})  # fmt: skip

    def hold(self, tmp_path: Path) -> None:
        promtool(tmp_path, "recreated-cgroup.yaml", self.series, scraped=self.every, promql_expr_test=self.checks)


@pytest.mark.mirror
@pytest.mark.parametrize("every", INTERVALS)
def test_each_pod_has_its_cpu_seconds_over_ten_minutes(tmp_path: Path, every: str) -> None:
    """At any moment: between two scrapes, across several, or long before the ten minutes are over."""
    pods = Pods(every)
    for number, begins in enumerate((400.0, 403.7, 407.3, 411.0, 415.0, 419.9)):
        pods.pod(f"two-seconds-{number}", begins, 2.0)
        pods.pod(f"tenth-{number}", begins, 0.1)
        pods.pod(f"long-{number}", begins, 100.0)
    pods.hold(tmp_path)


@pytest.mark.mirror
@pytest.mark.parametrize("away", [1, 12, 40])
def test_a_restart_of_the_recorder_loses_nothing(tmp_path: Path, away: int) -> None:
    """Ended pods are forgotten by it, those that burn go on; its page was away for some seconds."""
    pods = Pods("15s", gone=lambda second: 470 <= second < 470 + away)
    pods.pod("ended-before", 448.0, 2.0, forgotten=470 - 450)
    pods.pod("burns-across", 400.0, 150.0)
    pods.pod("began-after", 480.0 + away, 2.0)
    pods.pod("before-and-long-ended", 300.5, 2.0)
    pods.hold(tmp_path)


@pytest.mark.mirror
def test_a_counter_that_starts_again_counts_from_zero(tmp_path: Path) -> None:
    """After a reboot a pod keeps its UID, and its cgroup is new: what it uses is never below zero."""
    series = [
        {"series": named("hardwatt_pod_read_timestamp_seconds", node="n"), "values": sampled("15s", lambda s: s)},
        {"series": named(POD_CPU, node="n", namespace="ci", pod="p", uid="p"),
         "values": sampled("15s", lambda s: 100 + s * 0.1 if s < 600 else (s - 600) * 0.1)},
    ]  # fmt: skip
    expected = [{"labels": "{}", "value": 1}]
    low = "min(min_over_time(hardwatt:pod_cpus_used[10m])) >= bool 0"
    high = "max(max_over_time(hardwatt:pod_cpus_used[10m])) < bool 0.11"
    checks = [{"expr": expr, "eval_time": "900s", "exp_samples": expected} for expr in (low, high)]
    promtool(tmp_path, "recreated-cgroup.yaml", series, promql_expr_test=checks)


@pytest.mark.mirror
def test_without_a_recorder_pods_have_no_series_and_the_node_has_its_own(tmp_path: Path) -> None:
    """An absent recorder is no pod of zero."""
    rest = [series for series in CGROUP if "hardwatt_pod" not in series["series"]]
    none: list[dict[str, Any]] = [{"expr": expr, "eval_time": "150s", "exp_samples": []}
            for expr in ("hardwatt:pod_cpus_used", "pod_curr_energy_in_pkg_millijoule")]  # fmt: skip
    node = value("node_curr_energy_in_pkg_joule", 120, NODE | {"attribution": "cgroup"})
    promtool(tmp_path, "recreated-cgroup.yaml", rest, promql_expr_test=[*none, node])


@pytest.mark.mirror
def test_after_a_long_absence_of_the_recorder_nothing_is_made_up(tmp_path: Path) -> None:
    """CPU time used meanwhile is in their counters; in which minute, nobody saw. It is not put into the next one."""
    pods = Pods("15s", gone=lambda second: 300 <= second < 600)
    pods.pod("burns-across", 200.0, 450.0)
    pods.checks = [{"expr": "max(max_over_time(hardwatt:pod_cpus_used[10m])) <= bool 1.001", "eval_time": "900s",
                    "exp_samples": [{"labels": "{}", "value": 1}]}]  # fmt: skip
    pods.hold(tmp_path)


@pytest.mark.mirror
def test_a_burst_on_an_idle_node_has_its_share_of_its_own_minute(tmp_path: Path) -> None:
    """2 CPU-seconds at 10 J each above 20 W and 0.1 CPUs: watts, node and pod are taken over the same scrapes.

    In the 60 s the node uses 6 + 2 CPU-seconds and 1200 + 20 J; the pod's share is a quarter, 305 J.
    """

    def burst(second: float) -> float:
        return min(max(second - 406.0, 0.0), 2.0)

    zone = named("node_rapl_package_joules_total", node="n", index="0", path=f"{ZONES}intel-rapl:0")
    pods = Pods("15s")
    pods.pod("burst", 406.0, 2.0)
    pods.series += [
        {"series": zone, "values": sampled("15s", lambda s: 20 * s + 10 * burst(s))},
        {"series": named("hardwatt_node_cpu_seconds_total", node="n"),
         "values": sampled("15s", lambda s: 0.1 * s + burst(s))},
    ]  # fmt: skip
    joules = 'sum(sum_over_time(pod_curr_energy_in_pkg_millijoule{pod_name="burst"}[10m])) / 1000'
    pods.checks.append({"expr": f"abs({joules} / 305 - 1) < bool 0.01", "eval_time": "900s",
                        "exp_samples": [{"labels": "{}", "value": 1}]})  # fmt: skip
    pods.hold(tmp_path)


KEPLER = [
    {"series": named("kepler_pod_cpu_watts", **POD, zone=zone, state=state, pod_id="u"), "values": f"{watts}x60"}
    for zone, state, watts in (
        ("package", "running", 2), ("core", "running", 1), ("dram", "running", 0.5), ("package", "terminated", 9),
    )
] + [
    {"series": named("kepler_node_cpu_usage_ratio", node_name="n"), "values": "0.25x60"},
    {"series": named("kepler_node_cpu_watts", node_name="n", zone="package", path="p"), "values": "40x60"},
    {"series": named("kepler_node_cpu_watts", node_name="n", zone="core", path="c"), "values": "20x60"},
    {"series": named("kepler_node_cpu_watts", node_name="n", zone="uncore", path="u"), "values": "1x60"},
    {"series": named("kepler_node_cpu_watts", node_name="n", zone="dram", path="d"), "values": "4x60"},
    ramp(named("kepler_node_cpu_joules_total", node_name="n", zone="package", path="p"), 1000, 40),
    ramp(named("kepler_pod_cpu_joules_total", **POD, zone="package", state="running", pod_id="u"), 0, 2),
]  # fmt: skip


@pytest.mark.mirror
def test_kepler_rules(tmp_path: Path) -> None:
    """A pod of 2 W at ratio 0.25 is 24000 mJ in 3 s; a node of 40 W is 120 J in 3 s."""
    made = MADE | {"attribution": "kepler"}
    node = NODE | {"attribution": "kepler"}
    stat = {"node_name": "n", "cpu_architecture": "unknown", "attribution": "kepler", "compat": "kepler-0.3"}
    promtool(
        tmp_path,
        "recreated-kepler.yaml",
        KEPLER,
        promql_expr_test=[
            value("pod_curr_energy_in_pkg_millijoule", 24_000, POD | made),
            value("pod_curr_energy_in_core_millijoule", 12_000, POD | made),
            value("pod_curr_energy_in_dram_millijoule", 6_000, POD | made),
            value("pod_curr_dynamic_energy_millijoule", 6_000, POD | made),
            value("pod_total_energy_in_pkg_millijoule", 300_000, POD | made | {"compat": "kepler-0.3-active-only"}),
            value("node_curr_energy_in_pkg_joule", 120, node),
            value("node_curr_energy_in_core_joule", 60, node),
            value("node_curr_energy_in_uncore_joule", 3, node),
            value("node_curr_energy_in_dram_joule", 12, node),
            value("node_energy_stat", 0, stat),
            value("node_package_energy_millijoule", 7_000_000, node | {"pkg_id": "all"}),
        ],
    )


def alert(name: str, at: str, *fires: dict[str, Any]) -> dict[str, Any]:
    return {"alertname": name, "eval_time": at, "exp_alerts": list(fires)}


UP = {"series": named("up", job="meter", node="n"), "values": "1x60"}


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "bad", "good", "labels", "summary"),
    [
        (
            "MeterDown",
            {"series": named("up", job="meter", node="n"), "values": "0x60"},
            UP,
            {"job": "meter", "node": "n", "severity": "critical"},
            "the exporter of n does not answer: nothing is measured there",
        ),
        (
            "MeterNotIncreasing",
            ramp(named("hardwatt_node_cpu_seconds_total", node="n"), 10, 0),
            ramp(named("hardwatt_node_cpu_seconds_total", node="n"), 10, 0.01),
            {"node": "n", "severity": "critical"},
            "the CPU counter of n stands still: is hardwatt-meter.service running?",
        ),
        (
            "EnergyNotIncreasing",
            ramp(named("node_rapl_package_joules_total", node="n", path="p"), 10, 0),
            ramp(named("node_rapl_package_joules_total", node="n", path="p"), 10, 1),
            {"node": "n", "path": "p", "severity": "warning"},
            "the energy counter p of n stands still",
        ),
        (
            "ClockSkew",
            ramp(named("node_time_seconds", node="n"), 0.75, 1),
            ramp(named("node_time_seconds", node="n"), 0.05, 1),
            {"node": "n", "severity": "critical"},
            "the clock of n is 0.75 s off Prometheus' own: windows would be cut wrongly",
        ),
        (
            "ScrapeGaps",
            {"series": UP["series"], "values": " ".join("1" if i % 2 else "_" for i in range(60))},
            UP,
            {"job": "meter", "node": "n", "severity": "warning"},
            "job meter of n has 4 of the last 8 scrapes",
        ),
    ],
)
def test_alerts(
    tmp_path: Path, name: str, bad: dict[str, str], good: dict[str, str], labels: dict[str, str], summary: str
) -> None:
    fired = {"exp_labels": labels, "exp_annotations": {"summary": summary}}
    promtool(tmp_path, "lab-alerts.yaml", [bad], alert_rule_test=[alert(name, "600s", fired)])
    promtool(tmp_path, "lab-alerts.yaml", [good], alert_rule_test=[alert(name, "600s")])


def rules(file: str) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((CONFIGS / file).read_text())["groups"]
    assert group["interval"] == "3s"
    listed: list[dict[str, Any]] = group["rules"]
    return listed


def test_each_rule_of_2022_has_its_twin_and_says_which_it_is() -> None:
    cgroup, kepler = (
        {rule["record"]: rule.get("labels", {}) for rule in rules(f"recreated-{one}.yaml")
         if not rule["record"].startswith("hardwatt:")}
        for one in ("cgroup", "kepler")
    )  # fmt: skip
    assert set(cgroup) == set(kepler)
    for name in cgroup:
        assert cgroup[name] | {"attribution": "kepler"} == kepler[name]
        assert cgroup[name]["attribution"] == "cgroup"


def test_the_cluster_holds_one_of_both() -> None:
    listed = yaml.safe_load((CONFIGS / "kustomization.yaml").read_text())["configMapGenerator"][0]["files"]
    assert [name for name in listed if name.startswith("recreated")] == ["recreated-cgroup.yaml"]
    assert (ROOT / component.RULES.format("kepler")).exists()


def test_no_rule_is_evaluated_more_often_than_every_three_seconds() -> None:
    for path in CONFIGS.glob("*.yaml"):
        for group in [group for item in yaml.safe_load_all(path.read_text()) for group in item.get("groups", [])]:
            seconds = re.fullmatch(r"(\d+)s", group.get("interval", "15s"))
            assert seconds and int(seconds[1]) >= 3, path


@pytest.mark.mirror
@pytest.mark.parametrize(("attribution", "sum_"), [("cgroup", 6_000), ("kepler", 24_000)])
def test_with_kepler_in_the_lab_the_talks_sum_does_not_double(tmp_path: Path, attribution: str, sum_: int) -> None:
    """Both instruments' samples are there; the cluster holds one set of rules, and a pod one series."""
    promtool(
        tmp_path,
        f"recreated-{attribution}.yaml",
        CGROUP + KEPLER,
        promql_expr_test=[
            value('sum(pod_curr_energy_in_pkg_millijoule{pod_namespace="flux-system"})', sum_, {}),
            value("count(pod_curr_energy_in_pkg_millijoule{pod_name=~'source-controller.*'})", 1, {}),
        ],
    )
