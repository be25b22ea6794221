"""The matrix holds what was read, judges as upstream does, and fits the lock."""

import datetime

import pytest

from deploys import compatibility
from deploys.compatibility import Stack
from hardwatt.config import versions

TODAY = datetime.date(2026, 11, 25)
LOCK = versions.lock()
SUPPORTED = Stack(
    kubernetes=LOCK.sources["kubelet"].version,
    kernel="6.1.0-28-amd64",
    cgroup=2,
    runtime=("containerd", LOCK.sources["containerd"].version),
    flux=LOCK.sources["flux"].version,
    cni="bridge",
)
EL8 = "4.18.0-372.9.1.el8.x86_64"


def judged(**changed: object) -> list[tuple[str, str]]:
    stack = Stack(**{**SUPPORTED.__dict__, **changed})
    return [(item.severity, item.name) for item in compatibility.judge(stack, TODAY)]


def test_what_the_lock_pins_goes_together() -> None:
    assert judged() == []


def test_rhel_86_in_both_presets() -> None:
    assert judged(kernel=EL8, el="8.6") == [("warning", "kernel")]
    legacy = judged(kubernetes=LOCK.legacy["kubelet"].version, kernel=EL8, el="8.6", cgroup=1)
    assert legacy == [("warning", "end-of-life"), ("warning", "kernel"), ("warning", "cgroup-v1")]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"cgroup": 1}, ("error", "cgroup-v1")),
        ({"kubernetes": "1.33.4", "kernel": EL8}, ("error", "kernel")),
        ({"kubernetes": "1.33.4"}, ("error", "runtime")),
        ({"kubernetes": "v1.32.1"}, ("error", "flux")),
        ({"kubernetes": "v1.34.0"}, ("error", "flux")),
        ({"kubernetes": "1.31.0"}, ("error", "kubernetes")),
        ({"runtime": ("containerd", "1.6.20")}, ("error", "runtime")),
        ({"flux": "2.2.0"}, ("error", "flux")),
        ({"cni": "cilium", "el": "8.6", "kernel": EL8}, ("error", "cni")),
        ({"cni": "calico", "kernel": "5.4.0-100-generic"}, ("error", "cni")),
        ({"cni": "weave"}, ("error", "cni")),
        ({"kernel": "5.14.0-503.el9.x86_64"}, ("warning", "kernel")),
    ],
)
def test_what_does_not_go_together(changed: dict[str, object], found: tuple[str, str]) -> None:
    assert found in judged(**changed)


def test_calico_goes_by_the_release_of_rhel_and_not_by_its_kernels_number() -> None:
    assert judged(cni="calico", el="8.6", kernel=EL8) == [("warning", "kernel")]


def test_every_entry_names_its_source() -> None:
    def walk(node: dict[str, object], path: str) -> None:
        if "source" in node:
            assert len(str(node["source"])) > 20, path
            return
        for key, value in node.items():
            assert isinstance(value, dict), f"{path}.{key} belongs to an entry without a source"
            walk(value, f"{path}.{key}")

    walk(compatibility.matrix(), "")


def test_the_kepler_of_the_lock_is_known_and_needs_no_ebpf() -> None:
    era = compatibility.kepler(LOCK.foreign["kepler"].tag)
    assert era["options"] == []
    assert era["powercap"] is True
    assert compatibility.kepler("0.3.0")["headers"] is True
    assert compatibility.kepler("9.9") == {}


@pytest.mark.parametrize(("text", "found"), [("v1.36.3+lab.1", (1, 36, 3)), (EL8, (4, 18, 0)), ("8.10", (8, 10))])
def test_numbers(text: str, found: tuple[int, ...]) -> None:
    assert compatibility.numbers(text) == found
