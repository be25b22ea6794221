import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hardwatt.core.errors import LabError
from hardwatt.machines import host_facts
from tests.machines.constructed_hosts import BARE_V1

V2_MOUNTS = (
    "24 1 0:21 / /sys rw - sysfs sysfs rw\n30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
)
V1_MOUNTS = (
    "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    "32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V1_MEMBERSHIP = "4:memory:/user.slice\n3:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/user.slice\n"


def construct(root: Path, mounts: str, membership: str) -> Path:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/cgroup").touch()
    (root / "proc/self/mountinfo").write_text(mounts)
    (root / "proc/self/cgroup").write_text(membership)
    (root / "proc/meminfo").write_text("MemTotal:        8000000 kB\nMemFree: 1 kB\n")
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n')
    return root


def test_a_unified_host_with_systemd_and_networkmanager(tmp_path: Path) -> None:
    root = construct(tmp_path, V2_MOUNTS, "0::/init.scope\n")
    (root / "run/systemd/system").mkdir(parents=True)
    (root / "run/systemd/netif").mkdir()
    (root / "run/systemd/netif/state").touch()
    (root / "run/NetworkManager").mkdir()
    facts = host_facts.gather(tmp_path, root=root)
    assert facts.cgroup_version == 2
    assert facts.hierarchies == (host_facts.Hierarchy(Path("/sys/fs/cgroup"), ()),)
    assert (facts.systemd, facts.networkd, facts.network_manager) == (True, True, True)
    assert (facts.docker, facts.firewalld) == (False, False)
    assert facts.codename == "bookworm"
    assert facts.memory == 8_000_000 * 1024


def test_the_innermost_and_last_mount_says_where_the_lab_lies(tmp_path: Path) -> None:
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / /lab rw - overlay o rw\n"
        "3 1 0:9 / /lab rw - xfs /dev/b rw\n4 1 0:9 / /lab2 rw - nfs o rw\n"
    )
    root = construct(tmp_path, mounts, "0::/\n")
    assert host_facts.gather(Path("/lab/x"), root=root).filesystem == "xfs"
    assert host_facts.gather(Path("/other"), root=root).filesystem == "ext4"


def test_a_v1_host_with_joined_controllers_and_no_systemd(tmp_path: Path) -> None:
    facts = host_facts.gather(tmp_path, root=construct(tmp_path, V1_MOUNTS, V1_MEMBERSHIP))
    assert facts.cgroup_version == 1
    assert not facts.systemd
    assert [h.controllers for h in facts.hierarchies] == [(), ("name=systemd",), ("cpu", "cpuacct"), ("memory",)]


def test_this_host_has_no_problem_that_is_not_named() -> None:
    assert BARE_V1.embedded_problems() == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"architecture": "aarch64"}, "x86_64"),
        ({"is_root": False}, "root"),
        ({"missing": ("mmdebstrap", "ip")}, "mmdebstrap, ip"),
        ({"disk_free": 1024**3}, "1.0 GiB free"),
        ({"filesystem": "overlay"}, "overlay"),
        ({"memory": 1024**3}, "1.0 GiB of memory"),
        ({"cgroup_namespaces": False}, "cgroup namespaces"),
        ({"hierarchies": ()}, "no cgroup"),
    ],
)
def test_each_problem_is_told_with_a_remedy(change: dict[str, Any], text: str) -> None:
    facts = dataclasses.replace(BARE_V1, **change)
    [problem] = facts.embedded_problems()
    assert text in problem.what
    assert problem.remedy


def test_macos_is_told_one_thing_only() -> None:
    facts = dataclasses.replace(BARE_V1, system="Darwin", architecture="arm64", hierarchies=(), memory=0)
    [problem] = facts.embedded_problems()
    assert "Linux" in problem.what
    assert "lab.toml" in problem.remedy


def test_all_problems_come_at_once() -> None:
    facts = dataclasses.replace(BARE_V1, memory=0, disk_free=0, missing=("ip",))
    with pytest.raises(LabError) as caught:
        host_facts.require_embedded(facts)
    assert all(text in caught.value.message for text in ("memory", "disk", "ip"))
    assert "iproute2" in caught.value.hint


def test_a_user_who_may_sudo_needs_no_root() -> None:
    assert dataclasses.replace(BARE_V1, is_root=False, can_sudo=True).embedded_problems() == []
