"""``kill -9`` of ``lab.up`` at a named step of its list, at a moment that a seed decides."""

import itertools
import os
import random
import re
import signal
import subprocess
from pathlib import Path

from hardwatt.config.settings import ROOT
from hardwatt.core.wait import wait
from hardwatt.lifecycle import up
from hardwatt.provision import runner

SEED = int(os.environ.get("HARDWATT_KILL_SEED", "20261125"))
"""Recorded here, and shown by a failure; another one draws other steps and moments."""
LATEST = 3.0
"""Seconds after the begin of a step until which it may be killed."""
NODE = "Provision the node"
OWN_KERNEL = ("Boot arguments", "Kernel headers", "Reboot", "Swap", "Firewall", "SELinux")
"""Parts that do nothing on a machine without a kernel, a firewall or swap of its own."""


def titles() -> list[str]:
    """Return every step of ``lab.up`` in order, the parts of the node's list behind its step."""
    found = []
    for step in up.STEPS:
        found += [step.title, *(parts() if step.title == NODE else [])]
    return found


def parts() -> list[str]:
    """Return the parts of the node's list that do something on an embedded node."""
    every = [title_of(name) for name in runner.steps(ROOT)]
    return [title for title in every if title not in (*OWN_KERNEL, "Preflight")]


def drawn(count: int) -> list[str]:
    """Return a part of each stretch of the node's list up to the control plane, by the seed, in their order.

    What comes later is soon over: a kill there might meet a lab that is up.
    """
    until = parts()[: parts().index("Control plane") + 1]
    edges = [len(until) * number // count for number in range(count + 1)]
    chance = random.Random(SEED)
    return [chance.choice(until[start:end]) for start, end in itertools.pairwise(edges)]


def title_of(step: str) -> str:
    """Return the title of a step's deploy, as its file has it."""
    text = (ROOT / Path(f"deploys/{step}.py")).read_text()
    before = text[: text.index("\ndef configure(")]
    found: list[str] = re.findall(r"@(?:deploy|step)\(\"([^\"]+)\"", before)
    return found[-1]


def kill_at(process: "subprocess.Popen[bytes]", log: Path, title: str, after: float) -> None:
    """Kill a running ``lab.up`` ``after`` seconds into a step (or let it end, if that comes first)."""
    line = re.compile(rf"^ *(> |\d+ s +){re.escape(title)}(  \(last time .*)?$", re.MULTILINE)

    def ended(there: bool) -> str | None:
        gone = process.poll() is not None and not there
        return f"lab.up ended before with {process.returncode}: {log.read_text()[-3000:]}" if gone else None

    what = f"step {title!r} (seed {SEED})"
    wait(lambda: bool(line.search(log.read_text(errors="replace"))), bool, what=what, timeout=600, delay=0.1,
         error=ended)  # fmt: skip
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    assert process.returncode in (0, -signal.SIGKILL), f"{what}: ended with {process.returncode}"
