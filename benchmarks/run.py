"""Timings of the lab, on the machine you sit at, with a lab of their own.

    .venv/bin/python benchmarks/run.py warm          lab.up from no machine, and again with nothing to do
    .venv/bin/python benchmarks/run.py cold-mirror   mirror.fill with an empty cache (a quarter of an hour)

Prints one JSON object a line; benchmarks/README.md holds the last figures with date and commit.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INVOKE = str(ROOT / ".venv" / "bin" / "invoke")


def timed(name: str, *argv: str, env: dict[str, str]) -> None:
    """Run a command to its end and print how many seconds of wall clock it took."""
    started = time.monotonic()
    subprocess.run([INVOKE, *argv], cwd=ROOT, env={**os.environ, **env}, check=True)
    print(json.dumps({"what": name, "seconds": round(time.monotonic() - started, 1), **machine()}), flush=True)


def machine() -> dict[str, object]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {"cpus": os.cpu_count(), "commit": commit.stdout.strip(), "date": time.strftime("%Y-%m-%d", time.gmtime())}


def warm() -> None:
    """Time ``lab.up`` with full caches: from no machine, and with nothing to change."""
    env = {"HARDWATT_LAB": "bench"}
    subprocess.run([INVOKE, "lab.down", "--yes"], cwd=ROOT, env={**os.environ, **env}, check=True)
    timed("mirror.fill, nothing to do", "mirror.fill", env=env)
    try:
        timed("lab.up from no machine", "lab.up", env=env)
        timed("lab.up, nothing to change", "lab.up", env=env)
    finally:
        timed("lab.down", "lab.down", "--yes", env=env)


def cold_mirror() -> None:
    """Time ``mirror.fill`` with an empty cache folder."""
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-") as cache:
        timed("mirror.fill, empty cache", "mirror.fill", env={"XDG_CACHE_HOME": cache, "HARDWATT_LAB": "bench"})


if __name__ == "__main__":
    wanted = {"warm": warm, "cold-mirror": cold_mirror}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"{' or '.join(wanted)} (default: warm)")
    chosen = parser.parse_args().benchmarks or ["warm"]
    if unknown := sorted(set(chosen) - set(wanted)):
        parser.error(f"unknown benchmark {', '.join(unknown)}; choose from: {', '.join(wanted)}")
    for item in chosen:
        wanted[item]()
