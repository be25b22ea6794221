"""Stopping a machine, and removing what a killed one left behind: this lab's things and no others."""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import CommandError
from hardwatt.core.process import Process
from hardwatt.core.wait import wait_at_most
from hardwatt.machines.embedded import cgroups, network, nspawn
from hardwatt.machines.host_facts import HostFacts, mount_point

POD_GRACE = 4.0
"""Seconds that the pods get to end: etcd needs well under one."""
OFF_GRACE = 5.0
"""Seconds that the machine gets to power off. Shims outlive containerd, so it seldom does by itself."""
_POWER_OFF = signal.SIGRTMIN + 4
"""What systemd as init takes for "power off" (systemd(1), signals)."""


def power_off(facts: HostFacts, ident: str, process: Process) -> None:
    """End the machine in order: kubelet, pods, services, and then whatever is left by force.

    With pods running, power off alone was seen to take longer than five minutes.
    """
    if not process.alive():
        return
    places = cgroups.tops(facts, ident)
    leader = init_of(process.pid)
    if leader is not None:
        _stop_kubelet(leader)
        cgroups.terminate(places, below="kubepods", grace=POD_GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, _POWER_OFF)
        wait_at_most(process.alive, lambda alive: not alive, what="power off", timeout=OFF_GRACE, delay=0.1)
    process.signal(signal.SIGKILL)
    cgroups.terminate(places)


def init_of(pid: int) -> int | None:
    """Return the machine's first process: the child of systemd-nspawn that is number 1 in there."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    for child in children:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            spaces = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
            if len(spaces) > 1 and spaces[-1] == "1":
                return int(child)
    return None


def _stop_kubelet(leader: int) -> None:
    """Stop the kubelet, which would start again every pod that ends."""
    command = ["nsenter", "--target", str(leader), "--all", "systemctl", "stop", "kubelet.service"]
    with contextlib.suppress(CommandError):  # it is killed below where it does not answer in time
        process.run(command, check=False, timeout=4)


def machine(facts: HostFacts, ident: str, root: Path) -> list[str]:
    """Remove everything on the host that carries this machine's name; return what there was.

    A killed parent leaves the machine's first process, the link, cgroups, mounts and
    systemd-nspawn's run files.
    """
    removed: list[str] = []
    places = cgroups.tops(facts, ident)
    if pids := cgroups.processes(places):
        removed.append(f"{len(pids)} processes")
    cgroups.terminate(places)
    if facts.systemd:
        for verb in ("stop", "reset-failed"):
            process.run(["systemctl", verb, cgroups.unit(ident)], check=False)
    network.release(facts, ident)
    if network.remove(ident):
        removed.append(f"link {network.link_name(ident)}")
    if mounts := mounts_below(root.parent):
        removed.append(f"{len(mounts)} mounts")
        _unmount(mounts)
    if count := cgroups.remove(facts, ident):
        removed.append(f"{count} cgroups")
    _remove_run_files(ident, root)
    return removed


def mounts_below(folder: Path, mountinfo: str | None = None) -> list[Path]:
    """Return the mount points in a folder, the innermost first."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    points = [mount_point(line) for line in text.splitlines()]
    return sorted((point for point in points if point.is_relative_to(folder)), key=lambda p: -len(p.parts))


def _unmount(points: Sequence[Path]) -> None:
    for point in points:
        process.run(["umount", str(point)])


def _remove_run_files(ident: str, root: Path) -> None:
    """Remove what a killed systemd-nspawn leaves below /run and beside the tree."""
    name = nspawn.machine_name(ident)
    propagate = Path("/run/systemd/nspawn/propagate", name)
    if propagate.is_dir():
        with contextlib.suppress(OSError):  # something was handed to the machine and lies in it
            propagate.rmdir()
    locks = [root.with_name(f".#{root.name}.lck"), Path("/run/systemd/nspawn/locks", f"name-{name}")]
    if root.exists():
        facts = root.stat()
        locks.append(Path(f"/run/systemd/nspawn/locks/inode-{facts.st_dev}:{facts.st_ino}"))
    for lock in locks:
        lock.unlink(missing_ok=True)
