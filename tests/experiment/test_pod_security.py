"""Pods that an experiment starts pass the restricted Pod Security Standard; those of the lab do, or say why not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.delivery import manifests
from hardwatt.experiment.testbed import kubernetes_testbed

ROOT = Path(__file__).resolve().parents[2]
EXEMPT = {"node-exporter": "energy_uj is readable by root alone", "kepler": "It reads energy_uj, which is root's"}
"""Workloads that read the host, and the words with which their manifest says so."""


def faults(spec: dict[str, Any]) -> set[str]:
    """Return what the restricted standard forbids of a pod's spec."""
    pod, found = spec.get("securityContext", {}), set[str]()
    found |= {name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)}
    found |= {"hostPath" for volume in spec.get("volumes", []) if "hostPath" in volume}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = {**pod, **container.get("securityContext", {})}
        wanted = {
            "privilege": own.get("allowPrivilegeEscalation") is False and not own.get("privileged"),
            "capabilities": own.get("capabilities", {}).get("drop") == ["ALL"] and "add" not in own["capabilities"],
            "root": own.get("runAsNonRoot") is True and own.get("runAsUser") != 0,
            "seccomp": own.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        }
        found |= {name for name, passes in wanted.items() if not passes}
    return found


@pytest.mark.parametrize("volumes", [(), ({"name": "work", "emptyDir": {}},)])
@pytest.mark.parametrize("count", [1, 2])
def test_pods_of_experiments_are_restricted(volumes: tuple[dict[str, Any], ...], count: int) -> None:
    containers = [manifests.container(f"c{number}", "image", "true", {}) for number in range(count)]
    assert faults(manifests.pod(containers, volumes, grace_seconds=0)) == set()


def test_every_pod_of_an_arm_comes_from_these_parts() -> None:
    for path in (ROOT / "hardwatt/delivery").glob("*.py"):
        if path.name != "manifests.py":
            assert '"containers":' not in path.read_text(), path
            assert '"image":' not in path.read_text(), path


@pytest.mark.parametrize("path", sorted((ROOT / "clusters/base").rglob("workload.yaml")), ids=lambda p: p.parent.name)
def test_workloads_of_the_lab_are_restricted_or_say_why_not(path: Path) -> None:
    text, name = path.read_text(), path.parent.name
    specs = [document["spec"]["template"]["spec"] for document in yaml.safe_load_all(text)]
    broken = {fault for spec in specs for fault in faults(spec)}
    assert bool(broken) == (name in EXEMPT), broken
    assert EXEMPT.get(name, "") in text


def test_namespaces_of_experiments_carry_the_label() -> None:
    labels = {
        name: kubernetes_testbed._namespace(name)["metadata"]["labels"] for name in (kubernetes_testbed.CI, "app")
    }
    assert labels[kubernetes_testbed.CI]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["app"]["pod-security.kubernetes.io/warn"] == "restricted"
