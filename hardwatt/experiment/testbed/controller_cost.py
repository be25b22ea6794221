"""Processor time of the controller itself: this process, the children that ended, and those that still run."""

import os
from pathlib import Path

PROC = Path("/proc")
_AFTER_NAME, _PARENT = ")", 1
_TIMES = slice(11, 15)
"""utime, stime, cutime, cstime among the fields after a process's name (proc_pid_stat(5))."""


def cpu_seconds(proc: Path = PROC, own: int | None = None) -> float:
    """Return the CPU-seconds of this process and of all its descendants, ended ones included.

    Where there is no /proc (not Linux), children that still run are not counted.
    """
    ours = os.getpid() if own is None else own
    ticks, tree = _read_all(proc), {ours}
    if ours not in ticks:
        return sum(os.times()[:4])
    grown = True
    while grown:
        added = {pid for pid, (parent, _) in ticks.items() if parent in tree} - tree
        tree |= added
        grown = bool(added)
    return sum(ticks[pid][1] for pid in tree) / os.sysconf("SC_CLK_TCK")


def _read_all(proc: Path) -> dict[int, tuple[int, int]]:
    """Return process -> (its parent, ticks of its own and of its children that ended)."""
    processes = {}
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(_AFTER_NAME)[2].split()
            processes[int(stat.parent.name)] = int(fields[_PARENT]), sum(map(int, fields[_TIMES]))
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
    return processes
