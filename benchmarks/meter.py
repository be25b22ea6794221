"""What the meter itself costs: its own processor time while it ticks ten times a second.

    .venv/bin/python benchmarks/meter.py              a minute for each way
    .venv/bin/python benchmarks/meter.py --seconds 20

Runs the daemon as the node does (the same file, its own files in memory), with a counter of a cgroup and with
/proc/stat, with one zone and with two, and prints one JSON object a line.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DAEMON = ROOT / "hardwatt" / "meter" / "hardwatt_meter.py"
AIM = 0.005
"""CPU-seconds a second: half a percent of a core."""
PACKAGE, DRAM = [[0, 10], [0.5, 20], [1, 30]], [[0, 2], [1, 8]]
UNITS = ["ssh.service", "containerd.service", "kubelet.service", "systemd-journald.service", "cron.service"]


def memory() -> str | None:
    """Return a folder in memory, as on the node; None (the usual folder) where there is none to write to."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    known = [os.environ.get("XDG_RUNTIME_DIR", ""), "/run", "/tmp", *(place for _, place, *_ in mounts)]
    kept = {place for _, place, kind, *_ in mounts if kind == "tmpfs"}
    return next((place for place in known if place in kept and os.access(place, os.W_OK)), None)


def own_cgroup() -> str:
    """Return a folder with a counter of CPU-seconds like that of the node's machine; empty where there is none."""
    for folder in (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup/system.slice"), Path("/sys/fs/cgroup")):
        if (folder / "cpuacct.usage").exists() or (folder / "cpu.stat").exists():
            return str(folder)
    return ""


def cost(seconds: float, cpu: str, zones: dict[str, Any]) -> dict[str, float]:
    """Run the daemon so long; return its CPU-seconds a second, ticks a second and missed ticks."""
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-", dir=memory()) as place:
        folder = Path(place)
        model = {"name": "bench", "points": PACKAGE, **({"zones": zones} if zones else {})}
        files = {"sysfs": f"{place}/sysfs", "textfile": f"{place}/hardwatt.prom", "state": f"{place}/state"}
        config = {"cpu": cpu, "units": UNITS, "model": model, "force_model": True, **files}
        (folder / "meter.json").write_text(json.dumps(config))
        process = subprocess.Popen([sys.executable, str(DAEMON), "--config", str(folder / "meter.json")])
        try:
            time.sleep(2)  # its start is not what it costs
            before = reading(folder / "hardwatt.prom")
            time.sleep(seconds)
            after = reading(folder / "hardwatt.prom")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    length = after["read_timestamp_seconds"] - before["read_timestamp_seconds"]
    return {
        "cpu_seconds_a_second": round((after["cpu_seconds_total"] - before["cpu_seconds_total"]) / length, 5),
        "ticks_a_second": round((after["ticks_total"] - before["ticks_total"]) / length, 2),
        "missed": after["missed_ticks_total"] - before["missed_ticks_total"],
    }


def reading(file: Path) -> dict[str, float]:
    """Return what the meter says of itself."""
    start = "hardwatt_meter_"
    rows = (line.split() for line in file.read_text().splitlines() if line.startswith(start) and "{" not in line)
    return {name.removeprefix(start): float(value) for name, value in rows}


def main() -> None:
    """Time each way; end with an error where one costs more than the aim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    ways = {"procstat": "procstat", "cgroup": own_cgroup()}
    dear = []
    for name, cpu in ways.items():
        for zones in ({}, {"dram": DRAM}):
            if not cpu:
                continue
            found = cost(seconds, cpu, zones)
            told = {"cpu": name, "in_memory": bool(memory()), "zones": 1 + len(zones), **found, "cpus": os.cpu_count()}
            print(json.dumps(told), flush=True)
            dear += [told] if found["cpu_seconds_a_second"] > AIM else []
    if dear:
        sys.exit(f"more than {AIM} of a core: {dear}")


if __name__ == "__main__":
    main()
