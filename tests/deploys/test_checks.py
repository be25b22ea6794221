"""Each planted fault is found, alone, with its remedy; a good host has none."""

import dataclasses
from typing import Any

import pytest

from deploys import checks, contract
from deploys.facts.boot import Boot
from deploys.facts.cgroup import Cgroup
from deploys.facts.firewalld import Firewalld
from deploys.facts.kernel import Config, Headers, Modules, Settings
from deploys.facts.kubeadm import State
from deploys.facts.network import Ports, Routes
from deploys.facts.power import Powercap
from deploys.facts.record import Record
from deploys.facts.selinux import Selinux
from deploys.facts.surroundings import Surroundings
from deploys.facts.swap import Swap
from deploys.facts.system import System
from deploys.problem import Facts
from tests.deploys.conftest import FAKE

NOW = 1795560000


def facts(**changed: Any) -> Facts:
    """Return the facts of the scripted Debian 12, some replaced or (dicts) some keys of them changed."""
    answers = {key.removeprefix(": facts."): text.splitlines() for key, text in FAKE["answers"]().items()}
    answers["system"] = [*answers["system"], f"time={NOW}"]
    good: dict[str, Any] = {
        "system": System().process(answers["system"]),
        "cgroup": Cgroup().process(answers["cgroup"]),
        "boot": Boot().process(answers["boot"]),
        "config": Config().process(answers["config"]),
        "firewalld": Firewalld().process(answers["firewalld"]),
        "headers": Headers().process(answers["headers"]),
        "powercap": Powercap().process(answers["powercap"]),
        "selinux": Selinux().process(answers["selinux"]),
        "surroundings": Surroundings().process(answers["surroundings"]),
        "swap": Swap().process(answers["swap"]),
        "record": Record().process(answers["record"]),
        "modules": Modules().process(answers["modules"]),
        "settings": Settings().process(answers["settings"]),
        "ports": Ports().process(answers["ports"]),
        "routes": Routes().process(answers["routes"]),
        "kubeadm": State().process(answers["kubeadm"]),
        "made_with": {},
        "packages": {},
        "asked": (NOW - 1, NOW + 1),
    }
    for name, value in changed.items():
        good[name] = {**good[name], **value} if isinstance(value, dict) else value
    return Facts(**good)


def lab(**changed: Any) -> contract.Lab:
    return contract.Lab.from_dict(FAKE["lab"](**changed))


def test_a_good_host_has_no_problem() -> None:
    assert checks.problems(facts(), lab()) == []


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        ({"system": {"os": "fedora"}}, "is no Debian", "Debian 12"),
        ({"system": {"arch": "aarch64"}}, "aarch64", "x86_64"),
        ({"system": {"init": "sh"}}, "process 1 is sh", "systemd"),
        ({"system": {"root": False}}, "not run as root", "sudo"),
        ({"system": {"cpus": 1}}, "1 processor", "2"),
        ({"system": {"memory_mib": 1000}}, "1000 MiB of memory", "3072"),
        ({"system": {"disk_free_mib": 144}}, "144 MiB are free", "6000 MiB more"),
        ({"system": {"swap_mib": 512, "virtualization": "lxc"}}, "512 MiB of swap", "swapoff -a"),
        ({"system": {"nameservers": []}}, "no nameserver", "/etc/resolv.conf"),
        ({"cgroup": {"version": 0}}, "no cgroup tree", "mount"),
        ({"cgroup": {"missing": ["freezer"]}}, "freezer (cgroup v2)", "controllers"),
        ({"cgroup": {"version": 1}, "boot": {"loader": ""}}, "cgroup v1", "systemd.unified_cgroup_hierarchy=1"),
        ({"record": {"lab": "other"}}, "node of the lab other", "HARDWATT_LAB=other invoke lab.down"),
        ({"modules": {"overlay": {"present": False, "loadable": False}}}, "overlay is neither", "install a kernel"),
        ({"settings": {"net.ipv4.ip_forward": {"value": "0", "writable": False}}}, "ip_forward is 0", "sysctl -w"),
        ({"ports": {6443: "nginx"}}, "port 6443 is taken by nginx", "stop nginx"),
        ({"ports": {10250: "kubelet"}}, "port 10250 is taken by kubelet", "stop kubelet"),
        ({"routes": {"10.96.3.0/24": "wg0"}}, "service_cidr 10.96.0.0/16 overlaps", "lab.toml"),
        ({"made_with": {"pod_cidr": "10.9.0.0/16"}}, "made with pod_cidr 10.9.0.0/16", "lab.down"),
        ({"made_with": {"kubernetes_version": "v1.36.2+lab.1"}}, "v1.36.2+lab.1, and now it would be", "lab.down"),
        ({"kubeadm": {"kubelet_conf": True}}, "did not make", "kubeadm reset"),
        (
            {"packages": {"kubelet": "1.30.0-1.1"}},
            "kubelet 1.30.0-1.1 is installed",
            "remove the package",
        ),
        ({"asked": (NOW - 3700, NOW - 3600)}, "clock is +3600 s", "chrony"),
        ({"asked": (NOW + 60, NOW + 90)}, "clock is -60 s", "chrony"),
        ({"ports": {2222: "sshd"}}, "port 2222 is taken by sshd", "choose another port"),
    ],
)
def test_a_planted_fault_is_found_alone(changed: dict[str, Any], what: str, remedy: str) -> None:
    found = checks.problems(facts(**changed), lab())
    assert [problem.severity for problem in found] == ["error"], found
    assert what in found[0].what
    assert remedy in found[0].remedy


def test_cgroup_v1_costs_one_announced_reboot() -> None:
    found = checks.problems(facts(cgroup={"version": 1}), lab())
    assert [(problem.severity, problem.name) for problem in found] == [("note", "cgroup-v1")]
    assert "reboots the host once" in found[0].remedy


def test_the_legacy_preset_says_what_it_is_and_refuses_cgroup_v2() -> None:
    host = facts(cgroup={"version": 1}, system={"kernel": "4.18.0-372.9.1.el8.x86_64"})
    legacy = lab(preset="legacy", kubernetes_version="v1.34.11")
    found = checks.problems(host, legacy)
    severities = [(problem.severity, problem.name) for problem in found]
    assert severities == [("warning", "nokmem"), ("warning", "end-of-life"), ("note", "kernel")]
    assert "2026-10-27" in found[1].what
    assert [p.name for p in checks.problems(facts(), legacy) if p.severity == "error"] == ["cgroup-v2"]


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert checks.problems(facts(asked=(NOW - 40, NOW + 40)), lab()) == []


def test_networks_of_the_lab_that_overlap() -> None:
    networks = {**FAKE["lab"]()["networks"], "service_cidr": "10.244.128.0/24"}
    found = checks.problems(facts(), lab(networks=networks))
    assert [problem.name for problem in found] == ["cidr"]


def test_what_the_labs_own_cluster_holds_is_no_problem() -> None:
    ours = facts(
        kubeadm={"config": True, "done": True, "admin": True, "kubelet_conf": True},
        ports={6443: "kube-apiserver", 10257: "kube-controller", 2379: "etcd", 2222: "sshd"},
        routes={"10.244.0.0/24": "cni0"},
        made_with={"pod_cidr": "10.244.0.0/16", "kubernetes_version": "v1.36.3+lab.1"},
        packages={"kubelet": "1.36.2+lab.1"},
        system={"disk_free_mib": 2000},
    )
    assert checks.problems(ours, lab()) == []


def test_the_embedded_node_takes_the_hosts_swap_and_cgroup_as_they_are() -> None:
    machine = {"swap_mib": 512, "virtualization": "systemd-nspawn"}
    found = checks.problems(facts(system=machine, cgroup={"version": 1}), lab(preset="embedded"))
    assert [(problem.severity, problem.name) for problem in found] == [("warning", "swap")]


def test_the_table_has_errors_first_and_every_column() -> None:
    machine = {"swap_mib": 9, "cpus": 1, "virtualization": "systemd-nspawn"}
    problems = checks.problems(facts(system=machine), lab(preset="embedded"))
    lines = checks.table(problems).splitlines()
    assert lines[0].split() == ["severity", "what", "remedy"]
    assert [line.split()[0] for line in lines[1:]] == ["error", "warning"]
    assert dataclasses.astuple(problems[0])[0] == "error"
