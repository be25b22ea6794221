"""The machine's own cgroups on the host: one per hierarchy, under ``hardwatt/ID``.

The machine's first process is started inside them, and a cgroup namespace makes them the root
that the node sees. So the node's ``cpuacct.usage`` is the machine's own, its kubelet's
``kubepods`` lie inside it, and all that belongs to a lab is found by its cgroup, also after
its parent was killed.
"""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait, wait_at_most
from hardwatt.machines.embedded.host_snapshot import PARENT
from hardwatt.machines.host_facts import Hierarchy, HostFacts

_SYSTEMD_MANAGES = frozenset({"name=systemd", "cpu", "memory", "pids", "blkio", "devices"})
"""v1 controllers in which systemd as first process delegates a unit's cgroup.

It takes cpu and cpuacct for one hierarchy, as they mostly are; where they are two, it makes
cgroups in cpu only (seen with systemd 252), and cpuacct is left to us.
"""


def own(facts: HostFacts) -> list[Hierarchy]:
    """Return the hierarchies in which the lab makes the machine's cgroup itself.

    Where systemd is the first process, it owns the unified tree and most v1 controllers, and
    delegates them to the machine's unit; only the controllers that it leaves alone are ours.
    """
    if not facts.systemd:
        return list(facts.hierarchies)
    return [
        hierarchy
        for hierarchy in facts.hierarchies
        if not hierarchy.unified and not _SYSTEMD_MANAGES & set(hierarchy.controllers)
    ]


def unit(ident: str) -> str:
    """Return the name of the machine's service on a host with systemd."""
    return f"{PARENT}-{ident}.service"


def tops(facts: HostFacts, ident: str) -> list[Path]:
    """Return the folders that hold the machine's processes, whether they exist or not."""
    folders = [hierarchy.mount / PARENT / ident for hierarchy in own(facts)]
    if facts.systemd:
        folders += [hierarchy.mount / "system.slice" / unit(ident) for hierarchy in facts.hierarchies]
    return folders


def make(facts: HostFacts, ident: str) -> list[Path]:
    """Make the machine's cgroups; return the files that take a process into them."""
    return [_make(hierarchy, ident) / "cgroup.procs" for hierarchy in own(facts)]


def _make(hierarchy: Hierarchy, ident: str) -> Path:
    path = hierarchy.mount / PARENT / ident
    for step in (path.parent, path):
        if hierarchy.unified:
            _enable(step.parent)
        step.mkdir(exist_ok=True)
        if "cpuset" in hierarchy.controllers:
            for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new one, and then nothing may run in it
                (step / name).write_text((step.parent / name).read_text())
    return path


def _enable(parent: Path) -> None:
    """Pass every controller of a unified cgroup on to its children."""
    names = (parent / "cgroup.controllers").read_text().split()
    on = (parent / "cgroup.subtree_control").read_text().split()
    wanted = [f"+{name}" for name in names if name not in on]
    if not wanted:
        return
    try:
        (parent / "cgroup.subtree_control").write_text(" ".join(wanted))
    except OSError as error:
        raise LabError(
            f"the cgroup {parent} does not pass {' '.join(wanted)} on: {error.strerror}",
            hint="run the lab on a host with systemd as its first process, or where this cgroup is free of processes",
        ) from error


def processes(places: Sequence[Path], below: str = "") -> set[int]:
    """Return the processes in these cgroups, or in those of their children that start with ``below``."""
    pids: set[int] = set()
    for top in places:
        starts = [top] if not below else [*top.glob(f"{below}*"), *top.glob(f"payload/{below}*")]
        for start in starts:
            for folder in _below(start):
                pids |= _pids(folder / "cgroup.procs")
    return pids


def _below(top: Path) -> list[Path]:
    """Return a cgroup and all below it; those that go away meanwhile are passed over (``rglob`` would fail)."""
    return [Path(folder) for folder, _, _ in os.walk(top)]


def _pids(file: Path) -> set[int]:
    try:
        return {int(line) for line in file.read_text().split() if line != "0"}
    except OSError:  # the cgroup went away under us
        return set()


def terminate(places: Sequence[Path], *, below: str = "", grace: float = 0) -> None:
    """End every process in these cgroups: asked for ``grace`` seconds, then killed."""

    def send(number: int) -> set[int]:
        pids = processes(places, below)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    if grace and send(signal.SIGTERM):
        wait_at_most(lambda: processes(places, below), lambda pids: not pids,
                     what="end of the pods' processes", timeout=grace, delay=0.1)  # fmt: skip
    wait(lambda: send(signal.SIGKILL), lambda pids: not pids,
         what="end of the machine's processes", timeout=20, delay=0.1)  # fmt: skip


def remove(facts: HostFacts, ident: str) -> int:
    """Remove the machine's empty cgroups, children first; return how many there were.

    The parent goes too when no other lab has a machine under it.
    """
    count = 0
    for hierarchy in own(facts):
        top = hierarchy.mount / PARENT / ident
        if top.is_dir():
            count += sum(_rmdir(path) for path in _deepest_first(top))
        with contextlib.suppress(OSError):  # another lab's machine is in it, or it is not there
            top.parent.rmdir()
    return count


def _deepest_first(top: Path) -> list[Path]:
    return sorted(_below(top), key=lambda path: -len(path.parts))


def _rmdir(path: Path) -> bool:
    """Remove one cgroup; the kernel may need a moment after its last process."""

    def attempt() -> str:
        try:
            path.rmdir()
        except FileNotFoundError:
            return ""
        except OSError as error:
            return error.strerror or str(error)
        return ""

    wait(attempt, lambda reason: not reason, what=f"removal of the cgroup {path}", timeout=10, delay=0.05)
    return True
