"""Mounts, processes, cgroups and files that an embedded machine leaves or needs."""

import dataclasses
import shutil
from pathlib import Path

from hardwatt.machines import host_facts
from hardwatt.machines.embedded import cgroups, cleanup, node_files
from hardwatt.machines.embedded.network import Addresses
from tests.machines.constructed_hosts import BARE_V1


def test_only_mounts_of_this_lab_are_found_innermost_first() -> None:
    info = (
        "30 1 8:1 / / rw - ext4 /dev/sda rw\n"
        "31 30 0:9 / /lab/a/machine/root rw - tmpfs t rw\n"
        "32 31 0:9 / /lab/a/machine/root/var\\040x rw - tmpfs t rw\n"
        "33 30 0:9 / /lab/a/machine-of-b/root rw - tmpfs t rw\n"
        "34 30 0:9 / /lab/b/machine/root rw - tmpfs t rw\n"
    )
    assert cleanup.mounts_below(Path("/lab/a/machine"), info) == [
        Path("/lab/a/machine/root/var x"),
        Path("/lab/a/machine/root"),
    ]


def test_processes_are_found_by_their_cgroup_and_pods_apart(tmp_path: Path) -> None:
    for name, pids in (
        ("", "1\n"),
        ("payload/init.scope", "2\n"),
        ("kubepods/pod1/x", "3\n4\n"),
        ("payload/kubepods", "5\n"),
    ):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "cgroup.procs").write_text(pids)
    assert cgroups.processes([tmp_path]) == {1, 2, 3, 4, 5}
    assert cgroups.processes([tmp_path], "kubepods") == {3, 4, 5}
    assert cgroups.processes([tmp_path / "none"]) == set()


def test_another_labs_cgroups_stay(tmp_path: Path) -> None:
    hierarchy = host_facts.Hierarchy(tmp_path, ("pids",))
    facts = dataclasses.replace(BARE_V1, hierarchies=(hierarchy,))
    for name in ("mine/system.slice/a", "other/payload"):
        (tmp_path / "hardwatt" / name).mkdir(parents=True)
    assert cgroups.remove(facts, "mine") == 3
    assert (tmp_path / "hardwatt/other/payload").is_dir()
    shutil.rmtree(tmp_path / "hardwatt/other")
    cgroups.remove(facts, "mine")
    assert not (tmp_path / "hardwatt").exists()


def test_a_new_cpuset_gets_its_parents_processors(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    facts = dataclasses.replace(BARE_V1, hierarchies=(host_facts.Hierarchy(tmp_path, ("cpuset",)),))
    [procs] = cgroups.make(facts, "mine")
    assert procs == tmp_path / "hardwatt/mine/cgroup.procs"
    assert (procs.parent / "cpuset.cpus").read_text() == "0-1\n"


def test_a_unified_tree_passes_its_controllers_on(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "hardwatt"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
        (folder / "cgroup.subtree_control").write_text("memory\n")
    facts = dataclasses.replace(BARE_V1, hierarchies=(host_facts.Hierarchy(tmp_path, ()),))
    cgroups.make(facts, "mine")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids"
    assert (tmp_path / "hardwatt/cgroup.subtree_control").read_text() == "+cpu +pids"


def test_the_tree_gets_the_machines_files_and_keeps_the_nodes(tmp_path: Path) -> None:
    for name in ("etc/ssh", "root", "etc/systemd/system"):
        (tmp_path / name).mkdir(parents=True)
    who = node_files.Identity("t1", Addresses("10.77.4.0/24"), "PRIVATE\n", "ssh-ed25519 AAAA\n", "ssh-ed25519 BBBB\n")
    node_files.write(tmp_path, who)
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "root/.ssh/authorized_keys").read_text() == "ssh-ed25519 BBBB\n"
    init = (tmp_path / "usr/lib/hardwatt/init").read_text()
    assert "10.77.4.2/24" in init
    assert "via 10.77.4.1" in init
    assert "127." not in (tmp_path / "etc/resolv.conf").read_text()
    assert (tmp_path / "etc/systemd/system/apt-daily.timer").readlink() == Path("/dev/null")
    (tmp_path / "etc/hosts").write_text("the deploys' own\n")
    node_files.write(tmp_path, who)
    assert (tmp_path / "etc/hosts").read_text() == "the deploys' own\n"
