"""Bad hosts that are not there: ``lab.check`` lists exactly the planted faults, each with its remedy, as JSON.

The whole way is walked: pyinfra, the scripts' answers, the parsers, the checks, the report. Three
more bad hosts are real: tests/e2e (a taken port, a foreign kubelet) and the virtual machine's test (a
stepped clock).
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import DeployError

from hardwatt.provision.runner import REPORT
from tests.deploys.conftest import FAKE, Runner

ANSWERS = FAKE["answers"]()


def answer(name: str, *changes: tuple[str, str]) -> str:
    """Return the scripted answer of a good host with changes, each of which must hit."""
    text: str = ANSWERS[f": facts.{name}"]
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text


def stepped_clock() -> dict[str, str]:
    lines = [line for line in ANSWERS[": facts.system"].splitlines() if not line.startswith("time=")]
    return {"system": "\n".join([*lines, f"time={int(time.time()) - 3600}"])}


HOSTS: dict[str, tuple[Callable[[], dict[str, str]], dict[str, str]]] = {
    "small, old and wrong": (
        lambda: {
            "system": answer("system", ("cpus=4", "cpus=1"), ("memory_kib=8121552", "memory_kib=1021552")),
            "cgroup": answer("cgroup", (" freezer", "")),
        },
        {"cpus": "give the machine more", "memory": "give it more", "cgroup": "controllers"},
    ),
    "another cluster's node": (
        lambda: {
            "kubeadm": "read=yes\nkubelet_conf=yes\nadmin=yes",
            "ports": 'LISTEN 0 9 *:10250 *:* users:(("kubelet",pid=7,fd=3))',
            "debs": "package kubelet install installed 1.30.2-1.1",
        },
        {
            "foreign-cluster": "kubeadm reset",
            "port-10250": "stop kubelet",
            "package-kubelet": "remove the package kubelet",
        },
    ),
    "a Docker host behind a proxy": (
        lambda: {
            "surroundings": answer("surroundings") + "\nforeign=docker\nproxy=https_proxy",
            "routes": answer("routes") + "\n10.244.7.0/24 dev docker0 proto kernel scope link src 10.244.7.1",
        },
        {"foreign-docker": "remove docker", "proxy": "no_proxy", "route": "choose another pod_cidr"},
    ),
    "a clock that stepped": (stepped_clock, {"clock": "synchronise both"}),
    "a kernel whose headers are gone, without modules": (
        lambda: {"headers": "release=6.1.0-18-amd64\nlists=yes", "modules": "overlay no no\nbr_netfilter no yes"},
        {"headers": 'kernel_headers = "update"', "module-overlay": "install a kernel with overlay"},
    ),
    "the node of another lab": (
        lambda: {"record": "read=yes\nlab lab-777777"},
        {"other-lab": "HARDWATT_LAB=lab-777777 invoke lab.down"},
    ),
}


@pytest.mark.parametrize("name", HOSTS)
def test_exactly_the_planted_faults_are_listed(
    name: str, run_node: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, remedies = HOSTS[name]
    report = tmp_path / "report.json"
    monkeypatch.setenv(REPORT, str(report))
    with pytest.raises(DeployError):  # lab.up would stop here
        run_node(answers=answers(), steps=["preflight"])
    found: list[dict[str, Any]] = json.loads(report.read_text())
    assert {row["name"] for row in found} == set(remedies)
    for row in found:
        assert remedies[row["name"]] in row["remedy"], row


def test_a_good_host_has_an_empty_list(run_node: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.json"
    monkeypatch.setenv(REPORT, str(report))
    run_node(steps=["preflight"])
    assert json.loads(report.read_text()) == []
