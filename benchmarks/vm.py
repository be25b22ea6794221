"""Timings of a lab in the virtual machine: ``lab.up`` and its no-change run, by step and by part of the deploys.

    nice .venv/bin/python benchmarks/vm.py           half an hour by emulation, minutes by KVM

Prints one JSON object a line; benchmarks/README.md holds the last figures, and what each step waits for.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.run import INVOKE, ROOT, machine

_STEP = re.compile(r"^(?P<depth> *)  (?P<what>[A-Z][^:]*): (?:(?P<minutes>\d+) min )?(?P<seconds>[\d.]+) s(?:, |$)")
_PART = re.compile(r"^ +(?P<at>\d+) s  (?P<what>\S.*)$")


def steps(text: str) -> list[tuple[str, float]]:
    """Return what ``lab.up`` said of its steps, in their order: name and seconds."""
    found = [match for line in text.splitlines() if (match := _STEP.match(line))]
    return [(match["what"], 60 * int(match["minutes"] or 0) + float(match["seconds"])) for match in found]


def parts(text: str) -> list[tuple[str, float]]:
    """Return the deploys' parts, in their order: name and seconds until the next one began (the last one: 0)."""
    begun = [(match["what"], float(match["at"])) for line in text.splitlines() if (match := _PART.match(line))]
    ends = [at for _, at in begun[1:]] + [begun[-1][1]] if begun else []
    # a reboot lies between two runs of the deploys, and the second one counts from 0 again
    return [(what, max(0.0, end - at)) for (what, at), end in zip(begun, ends, strict=True)]


def up(name: str, env: dict[str, str]) -> None:
    done = subprocess.run([INVOKE, "lab.up"], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(f"lab.up ended with {done.returncode}")
    for kind, found in (("step", steps(done.stderr)), ("part", parts(done.stderr))):
        for what, seconds in found:
            print(json.dumps({"run": name, kind: what, "seconds": round(seconds, 1), **machine()}), flush=True)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=formatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="hardwatt-bench-") as folder:
        config = Path(folder) / "lab.toml"
        config.write_text('machine = "vm"\n')
        env = {**os.environ, "HARDWATT_LAB": "bench-vm", "HARDWATT_CONFIG": str(config)}
        subprocess.run([INVOKE, "lab.down", "--yes"], cwd=ROOT, env=env, check=True)
        try:
            up("lab.up from no machine, cgroup v1", env)
            up("lab.up, nothing to change", env)
        finally:
            subprocess.run([INVOKE, "lab.down", "--yes"], cwd=ROOT, env=env, check=True)


if __name__ == "__main__":
    main()
