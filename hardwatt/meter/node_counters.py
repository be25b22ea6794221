"""Counters of CPU time on a node: files that stay open, each read by one system call.

Standard library only, Python 3.6 syntax: it runs on the node, for the meter and for its recorder.
"""

import glob
import os
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PER_SECOND = {"ns": 1000000000, "us": 1000000, "ticks": CLOCK_TICKS}
"""Unit of a raw counter -> how many of it are a second."""
PAGE = 4096


def read_file(path: str) -> str:
    """Return the text of a small file of proc, sysfs or a cgroup."""
    with open(path) as file:
        return file.read()


class CpuFile:
    """A counter in a file that stays open and is read again from its start, which costs one system call.

    ``raw`` is the kernel's own number, in ``unit``; calling it gives CPU-seconds.
    """

    def __init__(self, path: str, parse: Callable[[bytes], int], unit: str) -> None:
        self.path, self.parse, self.unit = path, parse, unit
        self.per_second = PER_SECOND[unit]
        self.handle = -1
        self.handle = os.open(path, os.O_RDONLY)

    def raw(self) -> int:
        """Read the counter."""
        return self.parse(os.pread(self.handle, PAGE, 0))

    def __call__(self) -> float:
        return self.raw() / self.per_second

    def life(self) -> str:
        """Return what tells this counter from a later one of the same name: the number of its folder."""
        return str(os.stat(os.path.dirname(self.path)).st_ino)

    def close(self) -> None:
        """Close the file; a later call does nothing."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __del__(self) -> None:
        """Close the file of a reader that nobody holds any more."""
        self.close()


def parse_v1(text: bytes) -> int:
    """Nanoseconds of cpuacct.usage."""
    return int(text)


def parse_v2(text: bytes) -> int:
    """Microseconds of usage_usec of cpu.stat, its first line since cgroup v2 exists."""
    for line in text.splitlines():
        if line.startswith(b"usage_usec "):
            return int(line.split()[1])
    raise ValueError("no usage_usec in cpu.stat")


def stat_ticks(text: bytes) -> List[int]:
    """Ticks of user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice of all CPUs."""
    fields = [int(field) for field in text.split(b"\n", 1)[0].split()[1:11]]
    return fields + [0] * (10 - len(fields))


def parse_stat(text: bytes) -> int:
    """Busy ticks of /proc/stat: guest is inside user, steal and iowait are not the node's work."""
    user, nice, system, _idle, _iowait, irq, softirq = stat_ticks(text)[:7]
    return user + nice + system + irq + softirq


def parse_steal(text: bytes) -> int:
    """Ticks of /proc/stat that the hypervisor gave to others."""
    return stat_ticks(text)[7]


class StatFile(CpuFile):
    """CPU time of /proc/stat, with the steal time of the same reading: the file is slow on large machines."""

    def __init__(self, path: str) -> None:
        super().__init__(path, self.both, "ticks")
        self.steal_ticks = 0

    @property
    def steal(self) -> float:
        """Stolen seconds of the last reading."""
        return self.steal_ticks / self.per_second

    def both(self, text: bytes) -> int:
        """Return the busy ticks and remember the stolen ones."""
        self.steal_ticks = stat_ticks(text)[7]
        return parse_stat(text)

    def life(self) -> str:
        """Return nothing: there is one /proc/stat."""
        return ""


class SchedstatFile(CpuFile):
    """CPU time of all tasks by /proc/schedstat, and how much of it may not be counted yet.

    A processor's time grows when a task leaves it. What its present task has used since it came is missing: at most
    the time since the last reading before which a task was still to come.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, int, "ns")
        self.arrivals: Dict[bytes, bytes] = {}
        self.since: Dict[bytes, float] = {}
        self.read_at = 0.0
        self.missed_ns = 0

    def raw(self) -> int:
        """Read the time of all processors."""
        total = 0
        for _name, fields in self.processors():
            total += int(fields[7])
        return total

    def raw_at(self, now: float) -> int:
        """Read the time of all processors at a moment of the monotonic clock, with what it may miss."""
        total, missed = 0, 0.0
        before = self.read_at or now
        for name, fields in self.processors():
            total += int(fields[7])
            if self.arrivals.get(name) != fields[9]:
                self.arrivals[name], self.since[name] = fields[9], before
            missed += now - self.since[name]
        self.read_at, self.missed_ns = now, int(missed * 1e9)
        return total

    def processors(self) -> List[Tuple[bytes, List[bytes]]]:
        """Return the fields of each processor's line: field 7 is nanoseconds of tasks, field 9 counts arrivals."""
        rows = [line.split() for line in read_whole(self.handle).splitlines() if line.startswith(b"cpu")]
        return [(fields[0], fields) for fields in rows if len(fields) >= 10]

    def life(self) -> str:
        """Return nothing: there is one /proc/schedstat."""
        return ""


def read_whole(handle: int) -> bytes:
    """Read a file of proc that may be longer than a page, from its start."""
    pieces: List[bytes] = []
    place = 0
    while True:
        piece = os.pread(handle, 1 << 16, place)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        place += len(piece)


class TopLevel:
    """The sum of all top-level cgroups of v2: a lower bound of the node's CPU time, which leaves out the kernel's own.

    A cgroup that is gone keeps what was last read of it.
    """

    unit = "us"

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: Dict[str, CpuFile] = {}
        self.values: Dict[str, int] = {}
        self.gone = 0

    def raw(self) -> int:
        """Return the sum."""
        for name in os.listdir(self.root):
            if name not in self.files and os.path.isdir(os.path.join(self.root, name)):
                reader = open_cgroup(os.path.join(self.root, name))
                if reader is not None:
                    self.files[name] = reader
        for name in list(self.files):
            try:
                self.values[name] = self.files[name].raw()
            except (OSError, ValueError):
                self.files.pop(name).close()
                self.gone += self.values.pop(name, 0)
        return self.gone + sum(self.values.values())

    def close(self) -> None:
        """Close every file."""
        for reader in self.files.values():
            reader.close()


def open_cgroup(folder: str) -> Optional[CpuFile]:
    """Return a reader of a cgroup's CPU time, v1 or v2, or None where the folder has no counter."""
    for name, parse, unit in (("cpuacct.usage", parse_v1, "ns"), ("cpu.stat", parse_v2, "us")):
        path = os.path.join(folder, name)
        try:
            reader = CpuFile(path, parse, unit)
        except OSError:
            continue
        try:
            reader.raw()
        except (ValueError, OSError):
            # cpu.stat of a v1 cpu controller counts throttling only.
            reader.close()
            continue
        return reader
    return None


class Processes:
    """CPU time of a unit from its processes, where its cgroup has no counter (v1 without accounting).

    The time of ended and waited-for children is inside their parent's, so nothing of them is lost.
    """

    unit = "ticks"

    def __init__(self, folder: str, proc: str) -> None:
        self.folder, self.proc = folder, proc
        self.last = 0
        self.pids: Set[str] = set()

    def raw(self) -> int:
        """Return the ticks of the unit's processes."""
        pids = set(read_file(os.path.join(self.folder, "cgroup.procs")).split())
        now = sum(self.ticks(pid) for pid in pids)
        if pids and self.pids and not pids & self.pids:
            # The unit was started anew: its processes count from zero again.
            self.last = 0
        self.pids = pids or self.pids
        # A child that ended between two reads is in neither figure for a moment: the counter waits for it.
        self.last = max(self.last, now)
        return self.last

    def __call__(self) -> float:
        return self.raw() / CLOCK_TICKS

    def ticks(self, pid: str) -> int:
        """utime, stime, cutime and cstime of one process; 0 where it has just ended."""
        try:
            text = read_file(os.path.join(self.proc, pid, "stat"))
        except OSError:
            return 0
        return sum(int(field) for field in text.rpartition(")")[2].split()[11:15])

    def life(self) -> str:
        """Return what tells these processes from those of a later start."""
        return "%d-%s" % (os.stat(self.folder).st_ino, min(self.pids, key=int, default=""))

    def close(self) -> None:
        """Hold nothing."""


def unit_folders(name: str, proc: str, cgroups: str) -> List[str]:
    """Return folders that may be the unit's cgroup: those of its CPU counters first, then the one of its processes.

    PID 1 sits in init.scope of each hierarchy that systemd uses: what is above it is where systemd's tree starts.
    """
    candidates: List[Tuple[int, str]] = []
    for line in read_file(os.path.join(proc, "1", "cgroup")).splitlines():
        _number, names, path = line.split(":", 2)
        if names == "name=systemd":
            roots, order = ["systemd"], 1
        elif names == "" or "cpuacct" in names.split(","):
            roots, order = (["cpuacct", "cpu,cpuacct"] if names else ["", "unified"]), 0
        else:
            continue
        base = path[: -len("init.scope")] if path.endswith("/init.scope") else path
        for root in roots:
            pattern = os.path.join(cgroups, root, base.strip("/"), "*.slice", glob.escape(name))
            candidates += [(order, folder) for folder in sorted(glob.glob(pattern))]
    return [folder for _, folder in sorted(candidates)]


def open_unit(name: str, proc: str, cgroups: str) -> Any:
    """Return a reader of the unit's CPU-seconds, or None while the unit is not there."""
    folders = unit_folders(name, proc, cgroups)
    for folder in folders:
        reader = open_cgroup(folder)
        if reader is not None:
            return reader
    for folder in folders:
        if os.path.exists(os.path.join(folder, "cgroup.procs")):
            return Processes(folder, proc)
    return None
