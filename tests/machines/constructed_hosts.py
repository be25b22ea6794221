"""Hosts constructed from documentation: what the tests call a host with systemd, cgroup v2, and so on."""

import dataclasses
from pathlib import Path

from hardwatt.machines.host_facts import Hierarchy, HostFacts

CGROUP = Path("/sys/fs/cgroup")
V1 = (
    *(Hierarchy(CGROUP / name, (name,)) for name in ("cpuset", "memory", "freezer", "pids")),
    Hierarchy(CGROUP / "cpu,cpuacct", ("cpu", "cpuacct")),
    Hierarchy(CGROUP / "systemd", ("name=systemd",)),
    Hierarchy(CGROUP / "unified", ()),
)
V2 = (Hierarchy(CGROUP, ()),)

BARE_V1 = HostFacts(
    system="Linux",
    architecture="x86_64",
    is_root=True,
    can_sudo=False,
    systemd=False,
    cgroup_version=1,
    hierarchies=V1,
    cgroup_namespaces=True,
    network_manager=False,
    networkd=False,
    docker=False,
    firewalld=False,
    codename="bookworm",
    missing=(),
    devices=("/dev/kmsg", "/dev/fuse"),
    filesystem="ext4",
    disk_free=50 * 1024**3,
    memory=8 * 1024**3,
)
BARE_V2 = dataclasses.replace(BARE_V1, cgroup_version=2, hierarchies=V2)
SYSTEMD_V1 = dataclasses.replace(BARE_V1, systemd=True)
SYSTEMD_V2 = dataclasses.replace(BARE_V2, systemd=True)
DESKTOP = dataclasses.replace(SYSTEMD_V2, network_manager=True, firewalld=True)
SERVER = dataclasses.replace(SYSTEMD_V2, networkd=True)
DOCKER = dataclasses.replace(SYSTEMD_V2, docker=True)
