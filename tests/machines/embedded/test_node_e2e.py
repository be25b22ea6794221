"""The embedded node for real: boot, kill, boot again, a neighbour, down, and a host that is as before."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import read_json
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.machines import host_facts, identity
from hardwatt.machines.embedded import cgroups, cleanup, host_record, network
from hardwatt.machines.embedded.machine import EmbeddedMachine

pytestmark = pytest.mark.e2e

SYSCTL = Path("/proc/sys/vm/max_map_count")
STUBBORN = b"""#!/bin/bash
trap '' TERM
for top in /sys/fs/cgroup/pids /sys/fs/cgroup; do
    if test -w $top/cgroup.procs; then
        mkdir -p $top/kubepods/x && echo $$ > $top/kubepods/x/cgroup.procs && break
    fi
done
touch /root/deaf
while :; do sleep 1; done
"""

# Whatever else runs on the host while this test does, beside labs: package managers, sessions.
NO_LABS = (
    r"^package ",
    r"^route .* dev (?!hw-)",
    r"^address (?!hw-)",
    r"^link (?!hw-)",
    r"^file (?!.*(hw-|hardwatt))",
    r"^sysctl net/netfilter/nf_conntrack_max$",
)


def machine_in(folder: Path, name: str) -> EmbeddedMachine:
    return EmbeddedMachine(Lab(Settings(name=f"e2e-{name}"), folder, folder / ".lab" / name))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[EmbeddedMachine]]:
    made = [machine_in(tmp_path, name) for name in ("one", "two")]
    yield made
    for machine in made:
        machine.destroy()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMachine]:
    """One machine for the tests that leave it as it was, or start it again."""
    made = machine_in(tmp_path_factory.mktemp("shared"), "shared")
    with pytest.raises(LabError, match="no machine"):
        made.shell_argv()
    yield made
    made.destroy()


def test_boot_kill_boot_again_and_down(machines: list[EmbeddedMachine]) -> None:
    machine, neighbour = machines
    as_before = int(SYSCTL.read_text())
    idents = [identity.ident(each.lab) for each in machines]
    before = host_record.HostState.now(*idents)
    end = machine.start()
    with Ssh(end) as ssh:
        assert ssh.run("systemctl is-system-running").stdout.strip() == "running"
        assert ssh.run("hostname").stdout.strip() == "e2e-one"
        assert ssh.run("test -e /usr/bin/kubelet", check=False).returncode == 1
        ssh.put(b"kept\n", "/root/kept")
        ssh.run(f"sysctl -w vm.max_map_count={as_before + 7}")  # as a kubelet sets kernel.panic: the host's
    assert machine.start() == end

    other = neighbour.start()
    assert other.address != end.address

    state = read_json(machine.lab.dir / "machine.json")["process"]
    os.kill(state["pid"], signal.SIGKILL)
    wait(
        machine.status,
        lambda status: status.state == "dead",
        what="the end of a killed process",
        timeout=10,
        delay=0.05,
    )
    assert machine.start() == end
    with Ssh(end) as ssh:
        assert ssh.read("/root/kept") == b"kept\n"
    assert neighbour.status().state == "running", "only this lab's leftovers were removed"

    machine.destroy()
    assert machine.status().state == "absent"
    assert int(SYSCTL.read_text()) == as_before + 7, "the neighbour still holds the host"
    with Ssh(other) as ssh:
        assert ssh.run("true").returncode == 0
    neighbour.destroy()
    left = before.differences(ignore=NO_LABS)
    if host_record.held_by_others(*idents):
        SYSCTL.write_text(str(as_before))  # somebody's lab is up beside us, and the host is given back after it
    assert left == []


def test_its_cpu_seconds_are_its_own(machine: EmbeddedMachine) -> None:
    end = machine.start()
    usage = f"cat {end.data['machine_cgroup']}/cpuacct.usage 2>/dev/null || cat {end.data['machine_cgroup']}/cpu.stat"

    def seconds(ssh: Ssh) -> float:
        text = ssh.run(usage).stdout
        return int(text.split()[1]) / 1e6 if text.startswith("usage_usec") else int(text) / 1e9

    with Ssh(end) as ssh:
        start = seconds(ssh)
        subprocess.run(["timeout", "3", "sh", "-c", "while :; do :; done"], check=False)  # outside: not its own
        idle = seconds(ssh)
        ssh.run("python3 -c 'import time\nwhile time.process_time() < 2: pass'")
        busy = seconds(ssh)
        root = Path("/proc/self/cgroup").read_text()
    assert idle - start < 0.5
    assert busy - idle == pytest.approx(2.0, abs=0.4)
    assert identity.ident(machine.lab) not in root


def test_a_shell_command_works_with_openssh(machine: EmbeddedMachine) -> None:
    machine.start()
    done = subprocess.run([*machine.shell_argv(), "id -un"], capture_output=True, text=True, check=True)
    assert done.stdout == "root\n"


def test_another_host_key_is_refused(machine: EmbeddedMachine) -> None:
    end = machine.start()
    other = identity.ensure_key(machine.lab, "other").with_name("other.pub").read_text()
    known = machine.lab.known_hosts.read_text()
    identity.learn(machine.lab, end.address, other)
    with pytest.raises(RefusedError, match=r"SHA256.*SHA256"), Ssh(end):
        pass
    machine.lab.known_hosts.write_text(known)


def test_a_killed_start_is_cleaned_up_by_the_next(machine: EmbeddedMachine) -> None:
    """The machine runs and nobody wrote down its process: as after kill -9 of the command in mid-boot."""
    machine.start()
    file = machine.lab.dir / "machine.json"
    pid = read_json(file)["process"]["pid"]
    process = Process.of(pid)
    assert process is not None
    file.unlink()
    end = machine.start()
    assert not process.alive()
    with Ssh(end) as ssh:
        ssh.run("true")


def test_stop_ends_pods_that_would_not(machine: EmbeddedMachine) -> None:
    with Ssh(machine.start()) as ssh:
        ssh.put(STUBBORN, "/root/stubborn", mode=0o755)
        ssh.run("setsid /root/stubborn </dev/null >/dev/null 2>&1 &")
        wait(lambda: ssh.run("test -e /root/deaf", check=False).returncode, lambda code: code == 0,
             what="a pod that does not listen", timeout=10, delay=0.1)  # fmt: skip
    places = cgroups.tops(host_facts.gather(machine.lab.dir), identity.ident(machine.lab))
    assert cgroups.processes(places, "kubepods")
    started = time.monotonic()
    machine.stop()
    assert time.monotonic() - started < 15
    assert machine.status().state == "stopped"
    assert not network.exists(identity.ident(machine.lab))
    assert cleanup.mounts_below(machine.lab.dir) == []
