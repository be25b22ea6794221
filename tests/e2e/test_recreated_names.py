"""The metrics of 2022 over ten minutes beside the recorder's own file, for every pod: in ``make test-long``.

The rules spread what a pod used over a minute, and read it at scrapes 15 s apart: the recorder's file is read so too.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.bundle.recording import Counter, Recording
from hardwatt.cluster import port_forward
from hardwatt.core.wait import wait
from hardwatt.dump.client import Client
from tests.e2e import living_pods
from tests.e2e.living_pods import Pod, burning
from tests.e2e.support import Story

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SECONDS = 600
STEP, SPREAD, AGE = 3, 60, 8
"""Seconds between evaluations, that a gain is spread over, and of the mean age of a scrape and its page."""
SPACE = "recreated"
SHORT = [Pod(SPACE, f"burn-{seconds:g}".replace(".", "-"), burning(seconds)) for seconds in (0.1, 0.5, 2.0, 2.5, 10.0)]
SMALL = 0.01
"""CPU-seconds below which a pod's share is not told apart from the steps of its pages."""
Name = tuple[str, str]


@pytest.fixture(scope="module")
def up(story: Story) -> Iterator[Story]:
    if story.invoke("lab.status", check=False).returncode:
        story.invoke("lab.up")
    yield story
    story.invoke("lab.forward", "prometheus", "--stop")


def test_every_pod_is_within_five_percent_over_ten_minutes(up: Story, tmp_path: Path) -> None:
    with Client(port_forward.prometheus_url(up.lab)) as prometheus:
        before = f"count(hardwatt:pod_cpus_used offset {SPREAD + 30}s)"
        wait(lambda: prometheus.query(before), bool, what="two minutes of the rules", timeout=300, delay=5)
        begun = round(time.time())
        living_pods.run(up, SHORT, tmp_path)
        while time.time() < begun + SECONDS:
            time.sleep(1)
        ended = begun + SECONDS
        ruled = {
            metric: summed(prometheus, metric, ended)
            for metric in ("hardwatt:pod_cpus_used", "pod_curr_energy_in_pkg_millijoule")
        }
    with up.node() as node:
        recording = living_pods.record(node, tmp_path)
    cpu, energy = recorded(recording, begun, ended)
    rows = []
    for name, seconds in sorted(cpu.items()):
        told = STEP * ruled["hardwatt:pod_cpus_used"].get(name, 0.0)
        joules = ruled["pod_curr_energy_in_pkg_millijoule"].get(name, 0.0) / 1000
        rows.append((name, told, seconds, joules, energy[name]))
        print(f"{name}: {told:.3f} of {seconds:.3f} CPU-seconds, {joules:.2f} of {energy[name]:.2f} J")
    assert {(pod.namespace, pod.name) for pod in SHORT} <= set(cpu)
    for name, told, seconds, joules, expected in rows:
        assert told == pytest.approx(seconds, rel=0.05, abs=SMALL), name
        # The scrapes' phase is unknown here: it moves a short pod against the node's load, not its CPU-seconds.
        assert joules == pytest.approx(expected, rel=0.05 if seconds >= 2 else 0.1, abs=0.1), name


def summed(prometheus: Client, metric: str, ended: int) -> dict[Name, float]:
    """Return the sum of all evaluations of a metric in the ten minutes, by pod."""
    found = prometheus.query(f"sum by (pod_namespace, pod_name) (sum_over_time({metric}[{SECONDS}s]))", ended * 1000)
    return {(row["metric"]["pod_namespace"], row["metric"]["pod_name"]): float(row["value"][1]) for row in found}


def recorded(recording: Recording, begun: int, ended: int) -> tuple[dict[Name, float], dict[Name, float]]:
    """Return each pod's CPU-seconds and joules (its share of the node's, times the packages') from the recorder."""
    base = recording.nearest((begun - SPREAD - AGE - 10) * 1000)
    zones = [zone for zone in recording.of("energy") if zone.counted and zone.zone.startswith("package")]

    def gained(counter: Counter, moment: int) -> float:
        start, stop = (recording.nearest((moment - AGE - back) * 1000) for back in (SPREAD, 0))
        return (counter.rise(base, stop) - counter.rise(base, start)) * counter.scale

    cpu: dict[Name, float] = {}
    energy: dict[Name, float] = {}
    for moment in range(begun + STEP, ended + 1, STEP):
        node, joules = gained(recording.node, moment), sum(gained(zone, moment) for zone in zones)
        for pod in recording.of("pod"):
            if pod.pod and (used := gained(pod, moment)) > 0:
                name = pod.namespace, pod.pod
                cpu[name] = cpu.get(name, 0.0) + used * STEP / SPREAD
                energy[name] = energy.get(name, 0.0) + used / node * joules * STEP / SPREAD
    return cpu, energy
