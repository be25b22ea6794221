"""Cost of the meter and its recorder, and size of an hour of recording, with 15, 40 and 110 pods.

    .venv/bin/python benchmarks/meter.py              a minute for each case
    .venv/bin/python benchmarks/meter.py --seconds 20

Runs the daemon from a node's files, in memory, on a simulated cgroup tree of v1 and of v2, and prints one JSON object a
line. ``moving``: share of the pods whose counter moves each second; a pod at rest moves seldom, ``1.0`` is the worst.
``write_seconds``: how often metrics and powercap zone are rewritten; 0.1 is needed where Kepler reads the zone.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hardwatt.bundle import recording_file  # noqa: E402
from hardwatt.bundle.recording import total_rise  # noqa: E402
from hardwatt.meter.node_config import DEFAULT_UNITS  # noqa: E402
from hardwatt.testing.installed_meter import install  # noqa: E402

LIMITS = {15: 0.005, 40: 0.005, 110: 0.012}
"""Pods -> CPU-seconds a second that the meter may cost."""
MODEL = {"name": "bench", "points": [[0, 10], [0.5, 20], [1, 30]]}


@dataclass(frozen=True)
class Case:
    """One tree and one pace."""

    pods: int
    version: int = 1
    moving: float = 0.3
    write_seconds: float = 1.0


CASES = (
    *(Case(pods) for pods in LIMITS),
    *(Case(pods, version=2) for pods in LIMITS),
    Case(40, moving=1.0),
    Case(110, moving=1.0),
    Case(40, write_seconds=0.1),
    Case(110, write_seconds=0.1),
)


def memory() -> str | None:
    """Return a folder in memory, as on the node; None (the usual folder) where there is none to write to."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    known = [os.environ.get("XDG_RUNTIME_DIR", ""), "/run", "/tmp", *(place for _, place, *_ in mounts)]
    kept = {place for _, place, kind, *_ in mounts if kind == "tmpfs"}
    return next((place for place in known if place in kept and os.access(place, os.W_OK)), None)


class Tree:
    """A machine with pods, in a folder; their counters move when told."""

    def __init__(self, root: Path, case: Case) -> None:
        self.case = case
        base = root / "cgroups" / ("cpuacct" if case.version == 1 else "")
        self.file = "cpuacct.usage" if case.version == 1 else "cpu.stat"
        (base / "kubepods").mkdir(parents=True)
        if case.version == 2:
            (base / "cgroup.controllers").write_text("cpu memory pids\n")
        (root / "proc/1").mkdir(parents=True)
        (root / "proc/1/cgroup").write_text("5:cpuacct:/init.scope\n" if case.version == 1 else "0::/init.scope\n")
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        (root / "proc/sys/kernel/random/boot_id").write_text("bench\n")
        (root / "proc/stat").write_bytes(Path("/proc/stat").read_bytes())
        self.machine = [base / "machine", base / "kubepods", base / "kubepods/burstable", base / "kubepods/besteffort"]
        self.machine += [base / "system.slice" / unit for unit in DEFAULT_UNITS]
        self.pods = []
        for number in range(case.pods):
            uid = f"{number:08x}-1111-2222-3333-444444444444"
            self.pods.append(base / "kubepods" / ("burstable", "besteffort")[number % 2] / f"pod{uid}")
            (root / f"pods/namespace-{number % 7}_deployment-7d9f8b6c5d-{number:05d}_{uid}").mkdir(parents=True)
        for folder in (*self.machine, *self.pods):
            folder.mkdir(parents=True, exist_ok=True)
        self.second = 0
        self.move(everything=True)

    def move(self, *, everything: bool = False) -> None:
        """Let the counters of the machine, and of a part of the pods, go on by a second."""
        self.second += 1
        count = len(self.pods) if everything else round(self.case.moving * len(self.pods))
        for place in range(count):
            self.set(self.pods[(self.second * count + place) % len(self.pods)])
        for folder in self.machine:
            self.set(folder)

    def set(self, folder: Path) -> None:
        used = 1_000_000_000 + 1_234_567 * self.second
        rest = "".join(f"{name} {used}\n" for name in ("user_usec", "system_usec", "nr_periods", "nr_throttled"))
        text = f"{used * 1000}\n" if self.case.version == 1 else f"usage_usec {used}\n{rest}"
        with (folder / self.file).open("r+" if (folder / self.file).exists() else "w") as file:
            file.write(text)


def cost(seconds: float, case: Case) -> dict[str, object]:
    """Run the daemon so long; return its CPU-seconds a second and the bytes of an hour of recording."""
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-", dir=memory()) as place:
        root = Path(place)
        tree = Tree(root, case)
        names = {"record": "record/recording", "textfile": "page/hardwatt.prom", "podfile": "page/pods.prom",
                 "sysfs": "sysfs", "state": "state", "cgroups": "cgroups", "proc": "proc", "pod_logs": "pods",
                 "powercap": "none"}  # fmt: skip
        files = {key: f"{place}/{name}" for key, name in names.items()}
        config = {"cpu": str(tree.machine[0]), "units": list(DEFAULT_UNITS), "model": MODEL, **files}
        (root / "meter.json").write_text(json.dumps({**config, "write_seconds": case.write_seconds}))
        process = subprocess.Popen([*install(root / "node"), "--config", str(root / "meter.json")])
        try:
            until = time.monotonic() + seconds + 3
            while time.monotonic() < until:
                time.sleep(1)
                tree.move()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        recording = recording_file.read(root / "record/recording")
        lines = (root / "record/recording").read_bytes().splitlines(keepends=True)
    records = [len(line) for line in lines if b'{"k":"r",' in line]
    rest = sum(map(len, lines)) - sum(records)
    first, last = 2, len(recording.m_ns) - 1  # its start is not what it costs
    used = total_rise(recording.of("self"), first, last) / recording.seconds(first, last)
    return {
        "cpu_seconds_a_second": round(used, 5),
        "bytes_an_hour": round(rest + sum(records) / len(records) * 3600),
        "longest_tick_ms": round(float(recording.span_ns.max()) / 1e6, 2),
        "records": len(recording.m_ns),
    }


def main() -> None:
    """Time each case; end with an error where the recorder at rest costs more than its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    above = []
    for case in CASES:
        row = {**vars(case), **cost(seconds, case), "in_memory": bool(memory()), "cpus": os.cpu_count()}
        print(json.dumps(row), flush=True)
        if (
            case.write_seconds == 1.0
            and case.moving < 1
            and float(str(row["cpu_seconds_a_second"])) > LIMITS[case.pods]
        ):
            above.append(row)
    if above:
        sys.exit(f"above the limit: {above}")


if __name__ == "__main__":
    main()
