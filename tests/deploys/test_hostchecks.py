"""Each check of a machine with its own kernel: found alone, with its severity and its remedy."""

import datetime
from typing import Any

import pytest

from deploys import checks
from deploys.facts.power import Powercap
from tests.deploys.conftest import FAKE
from tests.deploys.test_checks import facts, lab

EL8 = {"os": "rhel", "os_version": "8.6", "os_like": ["fedora"], "kernel": "4.18.0-372.9.1.el8.x86_64"}
ENFORCING = {"mode": "Enforcing"}
RAPL = {"meter": {**FAKE["LAB"].meter.to_dict(), "config": {"source": "rapl"}}}
OPTIONS = facts().config["options"]
GONE = {"known": False}
UPDATE = {"kernel_headers": "update", "disable_kmem_accounting": False}


def without(name: str) -> dict[str, Any]:
    return {"options": {key: value for key, value in OPTIONS.items() if key != name}}


@pytest.mark.parametrize(
    ("changed", "of_lab", "found", "remedy"),
    [
        ({"config": without("MEMCG")}, {}, ("error", "kernel-config"), "the distribution's own kernel"),
        ({"config": without("CGROUP_BPF")}, {}, ("error", "kernel-config"), "the distribution's own kernel"),
        ({"config": {"read": False}}, {}, ("warning", "kernel-config"), "/boot/config-6.1.0-28-amd64"),
        ({"headers": GONE}, {}, ("error", "headers"), 'kernel_headers = "update"'),
        ({"headers": GONE}, {"boot": UPDATE}, ("note", "headers"), "reboots"),
        ({}, RAPL, ("error", "powercap"), 'source = "modelled"'),
        ({"powercap": {"zones": {"package-0@intel-rapl:0": None}}}, RAPL, ("error", "powercap"), "hardware with RAPL"),
        ({"powercap": {"drivers": ["intel_rapl_msr"]}}, RAPL, ("note", "powercap"), "loads intel_rapl_msr"),
        ({"powercap": {"zones": {"package-0": True, "dram": False}}}, RAPL, ("note", "powercap"), "left out"),
        ({"firewalld": {"active": True, "flush": True}}, {}, ("note", "firewalld"), "lab.up sets it"),
        ({"surroundings": {"fips": True}}, {}, ("warning", "fips"), "FIPS validated"),
        ({"surroundings": {"foreign": ["k3s"]}}, {}, ("error", "foreign-k3s"), "remove k3s"),
        ({"surroundings": {"foreign": ["docker"]}}, {}, ("error", "foreign-docker"), "remove docker"),
        ({"surroundings": {"foreign": ["podman"]}}, {}, ("warning", "foreign-podman"), "stop podman"),
        ({"surroundings": {"proxies": ["https_proxy"]}}, {}, ("warning", "proxy"), "10.244.0.0/16,10.96.0.0/16"),
        ({"surroundings": {"uuid": ""}}, {}, ("warning", "product-uuid"), "second node"),
        ({"surroundings": {"synchronised": False}}, {}, ("warning", "clock-sync"), "chronyd"),
        ({"system": {"hostname": "localhost.localdomain"}}, {}, ("warning", "hostname"), "hostnamectl"),
        ({"system": {"virtualization": "kvm"}}, {}, ("note", "virtualization"), "bare metal"),
        ({"system": {"swap_mib": 512}, "swap": {"devices": ["/dev/sda2"]}}, {}, ("note", "swap"), "lab.down on again"),
        ({"cgroup": {"version": 1}}, {}, ("note", "cgroup-v1"), "reboots the host once"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found_alone(
    changed: dict[str, Any], of_lab: dict[str, Any], found: tuple[str, str], remedy: str
) -> None:
    problems = checks.problems(facts(**changed), lab(**of_lab))
    assert [(one.severity, one.name) for one in problems] == [found]
    assert remedy in problems[0].remedy


def test_a_counter_that_counts_is_no_problem() -> None:
    counting = facts(powercap={"zones": {"package-0@intel-rapl:0": True}})
    assert checks.problems(counting, lab(**RAPL)) == []


@pytest.mark.parametrize(
    ("zones", "words"),
    [
        ({"psys@intel-rapl:1": True}, "psys counts, but it is the whole platform"),
        ({"package-0@intel-rapl:0": False, "psys@intel-rapl:1": True}, "package-0 stands still; psys counts"),
        ({"package-0@intel-rapl:0": True, "package-1@intel-rapl:1": False}, "package-1 stands still"),
        ({"package-0@intel-rapl:0": True, "package-1@intel-rapl:1": None}, "package-1 cannot be read"),
        ({"dram@intel-rapl:0:0": True}, "no zone of a package"),
    ],
)
def test_the_check_looks_at_exactly_what_is_read(zones: dict[str, bool | None], words: str) -> None:
    (problem,) = checks.problems(facts(powercap={"zones": zones}), lab(**RAPL))
    assert (problem.severity, problem.name) == ("error", "powercap")
    assert words in problem.what


@pytest.mark.parametrize(
    "zones",
    [
        {"package-0@intel-rapl:0": False, "package-0@intel-rapl-mmio:0": True},
        {"package-0-die-0@intel-rapl:0": True, "package-0-die-1@intel-rapl:1": True},
        {"package-0@intel-rapl:0": True, "core@intel-rapl:0:0": None, "my odd zone@dtpm:0": None},
    ],
)
def test_zones_that_have_a_sum_are_no_error(zones: dict[str, bool | None]) -> None:
    found = checks.problems(facts(powercap={"zones": zones}), lab(**RAPL))
    assert {problem.severity for problem in found} <= {"note"}


def test_a_zone_with_spaces_in_its_name_is_read() -> None:
    lines = ["read=yes", "first my odd zone@dtpm:0 5", "second my odd zone@dtpm:0 6", "first core@intel-rapl:0:0 "]
    assert Powercap().process(lines)["zones"] == {"my odd zone@dtpm:0": True, "core@intel-rapl:0:0": None}


def test_rhel_86_as_it_comes_on_bare_metal() -> None:
    host = facts(
        system=EL8,
        cgroup={"version": 1},
        selinux=ENFORCING,
        firewalld={"active": True},
        powercap={"drivers": ["intel_rapl_msr"]},
        headers={"release": EL8["kernel"]},
    )
    found = {problem.name: problem.severity for problem in checks.problems(host, lab(**RAPL))}
    assert found == dict.fromkeys(("cgroup-v1", "kernel", "powercap", "firewalld", "release-lock"), "note")


def test_the_release_lock_is_compared_with_the_release() -> None:
    host = facts(system=EL8, selinux=ENFORCING, surroundings={"release_lock": "8.4"})
    found = {problem.name: problem.severity for problem in checks.problems(host, lab())}
    assert found == {"kernel": "note", "release-lock": "warning"}
    agreed = facts(system=EL8, selinux=ENFORCING, surroundings={"release_lock": "8.6"})
    assert [problem.name for problem in checks.problems(agreed, lab())] == ["kernel"]


@pytest.mark.parametrize("mode", ["Permissive", "Disabled", ""])
def test_selinux_that_is_off_is_said_on_el_alone(mode: str) -> None:
    locked = {"release_lock": "8.6"}
    found = checks.problems(facts(system=EL8, selinux={"mode": mode}, surroundings=locked), lab())
    assert [(one.severity, one.name) for one in found] == [("warning", "selinux"), ("note", "kernel")]
    assert checks.problems(facts(selinux={"mode": mode}), lab()) == []


@pytest.mark.parametrize(
    ("kepler", "found"),
    [
        ("v0.3.1", {"kepler-flags", "headers"}),
        ("v0.9.0", {"kepler-flags", "kepler-btf"}),
        ("v0.11.4", set()),
    ],
)
def test_flags_are_those_of_the_chosen_kepler(kepler: str, found: set[str]) -> None:
    stack = {**lab().stack.to_dict(), "kepler": kepler}
    host = facts(config={"btf": False})
    said = checks.problems(host, lab(stack=stack, boot={"kernel_headers": "none", "disable_kmem_accounting": False}))
    assert {problem.name for problem in said} == found
    assert all(problem.severity == "error" for problem in said)


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2026-11-01", []),
        ("2026-12-01", [("warning", "key-kubernetes")]),
        ("2026-12-29", [("warning", "key-kubernetes")]),
        ("2026-12-30", [("warning", "key-kubernetes")]),
    ],
)
def test_a_repository_key_that_ends_is_said(day: str, said: list[tuple[str, str]]) -> None:
    now = int(datetime.datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp())
    host = facts(asked=(now - 1, now + 1), system={"time": now})
    upstream = {"minor": "1.36", "base": ""}
    assert [(p.severity, p.name) for p in checks.problems(host, lab(upstream=upstream, repository=None))] == said
    assert checks.problems(host, lab()) == []


def test_a_container_is_not_asked_about_its_hosts_kernel() -> None:
    inside = facts(
        system={"virtualization": "systemd-nspawn", "kernel": "3.10"},
        config={"read": False, "options": {}},
        headers=GONE,
        surroundings={"uuid": ""},
    )
    assert checks.problems(inside, lab(preset="embedded")) == []
