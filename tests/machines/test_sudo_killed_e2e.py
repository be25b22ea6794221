"""The right to become root ends, whatever is killed and when: the real sudo and the real sshd, on a node of its own.

A kill hits this machine's process, or one of those on the host. Afterwards no process, no rule and no right is left,
within the bound that ``hardwatt.connect.sudo`` states.
"""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.wait import wait
from hardwatt.machines import choice
from tests.e2e.support import ROOT, lab_of_its_own

pytestmark = pytest.mark.e2e

PASSWORD = "staple battery"
SEED = 5
MOMENTS = 50
SPAN = 1.0
"""Seconds from the begin of the connection, in which the right is taken, within which a kill comes."""
SILENCE, LEASE = 3, 5
"""In place of minutes: seconds until the host ends the right of a silent machine, and until sudo refuses its rule."""
AT_ONCE = 5.0
"""Seconds for what does not wait for a limit."""
VICTIMS = ("controller", "holder", "guard", "reader", "sudo", "connection", "all", "sleeping controller")

_CONTROLLER = f"""
import json, sys, time
from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
sudo.BEAT, sudo.RIGHT_SILENCE, sudo.LEASE = 0.5, {SILENCE}, {LEASE}
end = Endpoint.from_dict(json.loads(sys.argv[1]))
print("begins", flush=True)
sudo.prefix(end)
print("granted", flush=True)
time.sleep(300)
"""
# the brackets keep the command that looks from finding itself
_PROCESSES = """
for proc in /proc/[0-9]*; do
  case $(tr '\\0' ' ' <$proc/cmdline) in
    'sh -c PATH='*zz-[h]ardwatt*) echo holder ${proc#/proc/};;
    'flock 'zz-[h]ardwatt*) echo guard ${proc#/proc/};;
    'timeout '*'read -r beat'*|'sh -c read -r beat'*) echo reader ${proc#/proc/};;
    'sudo -k '*zz-[h]ardwatt*) echo sudo ${proc#/proc/};;
  esac
done 2>/dev/null
"""


@dataclasses.dataclass(frozen=True)
class Host:
    node: Ssh
    alice: Endpoint

    def processes(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for line in self.node.run(_PROCESSES).stdout.splitlines():
            kind, _, number = line.partition(" ")
            found.setdefault(kind, []).append(int(number))
        return found

    def rules(self) -> list[str]:
        return self.node.run("ls /etc/sudoers.d | grep zz-", check=False).stdout.split()

    def refuses(self) -> bool:
        return self.node.run("su alice -c 'sudo -n true'", check=False).returncode != 0

    def kill(self, victim: str) -> bool:
        """Kill what the victim's name says; return whether that ended a right that was held or being taken."""
        found = self.processes()
        if victim == "connection":  # it may be the one before, by which nothing is held
            return self.node.run("pkill -9 -u alice", check=False).returncode == 0 and "holder" in found
        numbers = [one for kind in found if victim in (kind, "all") for one in found[kind]]
        done = self.node.run(f"kill -9 {' '.join(map(str, numbers))}", check=False)
        return bool(numbers) and done.returncode == 0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A node without a cluster, with a user who may become root with a password."""
    if os.geteuid() != 0:
        pytest.fail("the embedded node needs root: run make test as root, or with sudo")
    folder = tmp_path_factory.mktemp("sudo")
    subprocess.run(["apt-get", "download", "sudo"], cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("sudo_*.deb")
    with lab_of_its_own("sudo", "embedded") as story:
        story.invoke("lab.machine.start")
        end = choice.machine_for(story.lab).endpoint()
        with Ssh(end) as node:
            node.put(package.read_bytes(), "/root/sudo.deb")
            node.run("dpkg --install /root/sudo.deb && rm /root/sudo.deb", timeout=300)
            node.run("useradd --create-home --shell /bin/bash alice && chpasswd", stdin=f"alice:{PASSWORD}\n")
            node.run("install -d -o alice -m 700 ~alice/.ssh && install -o alice ~/.ssh/authorized_keys ~alice/.ssh/")
            node.run("echo 'alice ALL=(ALL:ALL) ALL' >/etc/sudoers.d/alice")
            yield Host(node, dataclasses.replace(end, user="alice"))


def controller(host: Host, log: Path) -> "subprocess.Popen[bytes]":
    """Start a process that takes the right and holds it."""
    data = json.dumps(host.alice.to_dict())
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _CONTROLLER, data], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, sudo.PASSWORD: PASSWORD},
        )  # fmt: skip
    wait(log.read_text, lambda text: "begins" in text, what="begin", timeout=30, delay=0.02)
    return process


def gone(host: Host, what: str, timeout: float) -> None:
    """Wait until nothing of the right is left."""
    wait(
        lambda: (host.processes(), host.rules(), host.refuses()), lambda left: left == ({}, [], True),
        what=what, timeout=timeout, delay=0.1,
    )  # fmt: skip


def kill_at(host: Host, victim: str, moment: float, folder: Path) -> None:
    """Kill a victim at a moment, and see that the right ends within its bound."""
    what = f"end of the right ({victim} at {moment:.2f} s, seed {SEED})"
    process = controller(host, folder / "log")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(moment)
        if victim == "sleeping controller":
            process.send_signal(signal.SIGSTOP)  # the connection stays, and nothing comes through it
            gone(host, what, SILENCE + AT_ONCE)
        elif victim == "controller":
            process.kill()
        elif host.kill(victim) and victim in ("holder", "sudo", "connection"):
            # the process here lives on: what ends is on the host alone
            gone(host, what, AT_ONCE)
    finally:
        process.kill()
        process.wait()
    if victim == "all":
        wait(host.refuses, bool, what=what, timeout=LEASE + AT_ONCE, delay=0.1)
        wait(host.processes, lambda left: not left, what=what, timeout=AT_ONCE, delay=0.1)
        take_and_end(host, folder / "next")  # the file of the rule goes with the next start
    gone(host, what, AT_ONCE)


def take_and_end(host: Host, log: Path) -> None:
    """Take the right as the next command does, and end it by a kill of that command."""
    process = controller(host, log)
    try:
        wait(log.read_text, lambda text: "granted" in text, what="right", timeout=30, delay=0.05)
    finally:
        process.kill()
        process.wait()


def moments(count: int) -> list[tuple[str, float]]:
    draw = random.Random(SEED)
    return [(VICTIMS[number % len(VICTIMS)], draw.uniform(0, SPAN)) for number in range(count)]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_right_that_is_held_ends_with_each_of_its_processes(host: Host, victim: str, tmp_path: Path) -> None:
    process = controller(host, tmp_path / "first")
    try:
        wait((tmp_path / "first").read_text, lambda text: "granted" in text, what="right", timeout=30, delay=0.05)
        every = {"holder", "guard", "reader", "sudo"}  # a reader ends with each sign of life, and the next begins
        wait(host.processes, lambda found: set(found) == every, what="processes", timeout=AT_ONCE, delay=0.05)
        assert not host.refuses()
    finally:
        process.kill()
        process.wait()
    gone(host, "end of the first right", AT_ONCE)
    kill_at(host, victim, SPAN, tmp_path)


def test_the_next_start_ends_what_earlier_ones_left(host: Host, tmp_path: Path) -> None:
    living = controller(host, tmp_path / "living")
    try:
        wait((tmp_path / "living").read_text, lambda text: "granted" in text, what="right", timeout=30, delay=0.05)
        (rule,) = [name for name in host.rules() if "." not in name]
        loop = "PATH=$PATH; renew() { echo zz-hardwatt >/dev/null; }\nwhile sleep 1; do renew; done"
        host.node.run(f"cd /tmp; (setsid sh -c '{loop}' </dev/null >/dev/null 2>&1 &)")
        host.node.run(
            "cd /etc/sudoers.d; touch zz-hardwatt-1.held; for end in '' .new; do touch zz-hardwatt-1$end; done"
        )
        host.node.run("touch /etc/sudoers.d/zz-hardwatt-99999999")
        assert len(host.processes()["holder"]) == 2
        second = controller(host, tmp_path / "second")
        try:
            wait((tmp_path / "second").read_text, lambda text: "granted" in text, what="right", timeout=30, delay=0.05)
            left = [name for name in host.rules() if "." not in name]
            assert rule in left and len(left) == 2, "the living one stays"
            assert len(host.processes()["holder"]) == 2, "the loop that nobody ends is gone"
        finally:
            second.kill()
            second.wait()
        wait(host.rules, lambda found: found == [rule, f"{rule}.held"], what="end of the second", timeout=AT_ONCE)
        assert not host.refuses()
    finally:
        living.kill()
        living.wait()
    gone(host, "end of the first right", AT_ONCE)


@pytest.mark.long
def test_killed_at_fifty_moments(host: Host, tmp_path: Path) -> None:
    for victim, moment in moments(MOMENTS):
        kill_at(host, victim, moment, tmp_path)
