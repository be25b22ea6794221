import subprocess
from pathlib import Path

import pytest

from hardwatt.machines.embedded import cgroups, network, nspawn
from hardwatt.machines.host_facts import HostFacts
from tests.machines.constructed_hosts import BARE_V1, BARE_V2, DESKTOP, DOCKER, SERVER, SYSTEMD_V1, SYSTEMD_V2

ROOT = Path("/lab/machine/root")
LOG = Path("/lab/logs/machine.log")
ENTER = [Path("/sys/fs/cgroup/cpu/hardwatt/0a1b2c3d/cgroup.procs")]


def test_without_systemd_the_machine_enters_its_cgroups_and_becomes_nspawn() -> None:
    argv = nspawn.command(BARE_V1, "0a1b2c3d", "t1", ROOT, ENTER, LOG)
    assert argv[:2] == ["sh", "-c"]
    assert argv[argv.index(str(ENTER[0])) + 1] == "--"
    assert "systemd-run" not in argv
    inner = argv[argv.index("systemd-nspawn") :]
    assert {"--register=no", "--keep-unit", "--machine=hw-0a1b2c3d", "--hostname=t1"} <= set(inner)
    assert f"--directory={ROOT}" in inner
    assert inner[-2:] == ["--", nspawn.INIT]


def test_the_machine_gets_only_devices_that_the_host_has() -> None:
    argv = nspawn.nspawn(BARE_V1, "0a1b2c3d", "t1", ROOT)
    assert [part for part in argv if part.startswith("--bind")] == ["--bind=/dev/kmsg", "--bind=/dev/fuse"]


@pytest.mark.parametrize("facts", [SYSTEMD_V1, SYSTEMD_V2, DESKTOP, DOCKER])
def test_with_systemd_a_delegated_service_of_its_own_keeps_the_machine(facts: HostFacts) -> None:
    argv = nspawn.command(facts, "0a1b2c3d", "t1", ROOT, [], LOG)
    assert argv[0] == "systemd-run"
    assert "--unit=hardwatt-0a1b2c3d.service" in argv
    settings = {argv[index + 1] for index, part in enumerate(argv) if part == "-p"}
    assert {"Delegate=yes", "CPUAccounting=yes", "MemoryAccounting=yes", "KillMode=mixed"} <= settings
    assert "--setenv=SYSTEMD_NSPAWN_API_VFS_WRITABLE=1" in argv
    assert argv.index("systemd-nspawn") > argv.index("--")
    assert f"StandardOutput=append:{LOG}" in settings
    assert "--scope" not in argv


def test_systemd_is_kept_from_taking_the_shells_variables_for_its_own() -> None:
    argv = nspawn.command(SYSTEMD_V2, "0a1b2c3d", "t1", ROOT, [], LOG)
    given = argv[argv.index("-c") + 1]
    assert given.replace("$$", "$") == nspawn.ENTER
    assert "echo $$$$ >" in given


def test_names_of_links_fit_into_fifteen_characters() -> None:
    assert len(network.link_name("0a1b2c3d")) <= 15


def test_the_launcher_enters_every_cgroup_and_keeps_its_process_number(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    shell = ["sh", "-c", nspawn.ENTER, "name", *map(str, files), "--", "sh", "-c", "echo $$"]
    pid = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    assert files[0].read_text() == files[1].read_text() == pid


def test_the_launcher_starts_nothing_outside_its_cgroups(tmp_path: Path) -> None:
    shell = ["sh", "-c", nspawn.ENTER, "name", str(tmp_path / "no" / "cgroup"), "--", "touch", str(tmp_path / "ran")]
    assert subprocess.run(shell, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "ran").exists()


def test_without_systemd_every_hierarchy_holds_a_cgroup_of_the_machine() -> None:
    assert cgroups.own(BARE_V1) == list(BARE_V1.hierarchies)
    assert cgroups.tops(BARE_V2, "0a1b2c3d") == [Path("/sys/fs/cgroup/hardwatt/0a1b2c3d")]


def test_with_systemd_only_controllers_that_it_leaves_alone_are_ours() -> None:
    assert [h.controllers for h in cgroups.own(SYSTEMD_V1)] == [("cpuset",), ("freezer",)]
    assert cgroups.own(SYSTEMD_V2) == []
    assert cgroups.tops(SYSTEMD_V2, "0a1b2c3d") == [Path("/sys/fs/cgroup/system.slice/hardwatt-0a1b2c3d.service")]


def test_networkmanager_and_networkd_leave_the_link_alone() -> None:
    [(path, text)] = network.unmanaged_files(DESKTOP, "0a1b2c3d").items()
    assert path == Path("/run/NetworkManager/conf.d/hw-0a1b2c3d.conf")
    assert "unmanaged-devices+=interface-name:hw-0a1b2c3d" in text
    [(path, text)] = network.unmanaged_files(SERVER, "0a1b2c3d").items()
    assert path == Path("/run/systemd/network/10-hw-0a1b2c3d.network")
    assert "Name=hw-0a1b2c3d" in text
    assert "Unmanaged=yes" in text
    assert network.reload_commands(SERVER) == [["networkctl", "reload"]]
    assert network.unmanaged_files(BARE_V1, "0a1b2c3d") == {}


def test_firewalld_lets_the_link_in_at_runtime_only_and_is_told_to_forget_it() -> None:
    [add] = network.firewall_commands(DESKTOP, "0a1b2c3d", add=True)
    [remove] = network.firewall_commands(DESKTOP, "0a1b2c3d", add=False)
    assert add == ["firewall-cmd", "--zone=trusted", "--add-interface=hw-0a1b2c3d"]
    assert "--permanent" not in add
    assert remove[-1] == "--remove-interface=hw-0a1b2c3d"


def test_docker_on_the_host_changes_nothing() -> None:
    assert network.firewall_commands(DOCKER, "0a1b2c3d", add=True) == []
    assert nspawn.command(DOCKER, "x", "t", ROOT, [], LOG) == nspawn.command(SYSTEMD_V2, "x", "t", ROOT, [], LOG)
