"""Doubles for the meter: a clock that only moves when told, and a node made of files."""

import json
from pathlib import Path
from typing import Any

import pytest

from hardwatt.meter import hardwatt_meter as daemon
from hardwatt.meter import meter_config


class Clock:
    """Moves only by ``sleep`` and ``pass_``; calling anything else of ``time`` is an error."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.after_sleep: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_790_000_000.0 + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + (self.after_sleep.pop(0) if self.after_sleep else 0.0)

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Node:
    """A cgroup v1 machine in a folder. ``cpu`` is its counter in seconds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.cgroup = root / "cgroups" / "cpuacct" / "machine"
        self.cgroup.mkdir(parents=True)
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        (root / "proc/1").mkdir(parents=True)
        (root / "proc/1/cgroup").write_text(
            "9:name=systemd:/machine/init.scope\n5:cpu,cpuacct:/machine\n3:memory:/machine\n0::/machine/init.scope\n"
        )
        self.reboot("boot-1")
        self.cpu = 100.0
        self.extra: dict[str, Any] = {}

    @property
    def cpu(self) -> float:
        return int((self.cgroup / "cpuacct.usage").read_text()) / 1e9

    @cpu.setter
    def cpu(self, seconds: float) -> None:
        # Written in place: the meter keeps the file open, as it does with a real counter.
        with (self.cgroup / "cpuacct.usage").open("r+" if (self.cgroup / "cpuacct.usage").exists() else "w") as file:
            file.write(f"{round(seconds * 1e9)}\n".ljust(24, "\n"))

    def reboot(self, name: str) -> None:
        (self.root / "proc/sys/kernel/random/boot_id").write_text(name + "\n")

    def config(self) -> dict[str, Any]:
        values = {
            "cpu": str(self.cgroup),
            "cpus": 2,
            "model": {"name": "test", "points": [[0, 10], [1, 30]]},
            "sysfs": str(self.root / "sysfs"),
            "textfile": str(self.root / "textfile/hardwatt.prom"),
            "podfile": str(self.root / "textfile/hardwatt_pods.prom"),
            "record": str(self.root / "record/recording"),
            "state": str(self.root / "state.json"),
            "powercap": str(self.root / "powercap"),
            "proc": str(self.root / "proc"),
            "cgroups": str(self.root / "cgroups"),
            "pod_logs": str(self.root / "pods"),
        }
        return meter_config.load_config(json.dumps({**values, **self.extra}))

    def meter(self) -> daemon.Meter:
        meter = daemon.Meter(self.config(), self.clock)
        meter.prepare()
        return meter

    def step(self, meter: daemon.Meter, seconds: float, cpu: float) -> None:
        """Let time pass and the node work, then tick and write."""
        self.clock.pass_(seconds)
        self.cpu += cpu
        meter.tick()
        meter.write()

    @property
    def zone(self) -> Path:
        return self.root / "sysfs/class/powercap/synthetic-model:0"

    @property
    def energy_uj(self) -> int:
        return int((self.zone / "energy_uj").read_text())

    def metric(self, name: str) -> float:
        for line in (self.root / "textfile/hardwatt.prom").read_text().splitlines():
            if line.startswith((name + " ", name + "{")):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"{name} is not in the textfile")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)
