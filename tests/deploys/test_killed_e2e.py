"""``kill -9`` at every step of the node's list, on a real node: the next run goes on, and ends in "nothing to do".

One node takes all the kills, so each run starts from what the killed ones left. The moments come
from a seed, which a failure prints.
"""

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt import kube, machines, mirror, nodedata, provision
from hardwatt.lab import Lab, open_lab
from hardwatt.settings import default_name
from hardwatt.wait import wait
from tests.deploys.conftest import ROOT

SEED = 20261124
LATEST = 4.0
"""Seconds after the begin of a part until which it may be killed."""
APPLY = "from hardwatt import provision; from hardwatt.lab import open_lab; provision.apply(open_lab())"

OWN_KERNEL = ("Boot arguments", "Kernel headers", "Reboot", "Swap", "Firewall", "SELinux")
"""Parts that do nothing on a machine without a kernel of its own."""
TITLES = [
    "Host record",
    "Kernel modules and settings",
    "Sources of packages and images",
    "containerd",
    "Kubernetes packages",
    "Pod network",
    "Service network",
    "Images of the control plane",
    "Control plane",
    "Meter",
    "Git server",
    "Images of everything else",
]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.fail("the embedded node needs root: run the tests as root, or with sudo")
    monkeypatch.setenv("HARDWATT_LAB", "killed-" + default_name().removeprefix("lab-"))
    monkeypatch.delenv("HARDWATT_CONFIG", raising=False)
    found = open_lab()
    machine = machines.machine_for(found)
    machine.destroy()
    try:
        end = machine.start()
        nodedata.write_node_data(found, end, mirror.load(found), mirror.serve(found, end.controller_address))
        yield found
    finally:
        mirror.stop_serving(found)
        machine.destroy()


def test_every_part_of_the_list_is_killed() -> None:
    """A step that is added to the list is added here."""
    titles = [title_of(name) for name in provision.steps(ROOT)]
    assert [title for title in titles if title not in OWN_KERNEL] == ["Preflight", *TITLES]


@pytest.mark.e2e
@pytest.mark.long
def test_a_node_that_was_killed_at_every_step_ends_ready_and_unchanged(lab: Lab) -> None:
    chance = random.Random(SEED)
    for title in TITLES:
        kill_at(lab, title, chance.uniform(0, LATEST))
    provision.apply(lab)
    assert provision.apply(lab).changed == []
    assert provision.plan(lab).lines == []
    kube.fetch_kubeconfig(lab, machines.machine_for(lab).endpoint())
    wait(lambda: kube.status(lab), lambda status: status.ready, what="cluster", timeout=300,
         describe=lambda status: status.summary)  # fmt: skip


def kill_at(lab: Lab, title: str, after: float) -> None:
    """Run the list, and kill it ``after`` seconds into a part (or let it end, if that comes first)."""
    before = set(lab.logs.glob("node-*.log"))
    process = subprocess.Popen([sys.executable, "-c", APPLY], cwd=ROOT, start_new_session=True)

    def begun() -> bool:
        logs = set(lab.logs.glob("node-*.log")) - before
        return any(title in provision.parts(log.read_text(errors="replace")) for log in logs)

    wait(begun, bool, what=f"part {title!r} (seed {SEED})", timeout=300, delay=0.1,
         error=lambda there: None if there or process.poll() is None else "the run ended before")  # fmt: skip
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    assert process.returncode in (0, -signal.SIGKILL), f"{title} (seed {SEED}): ended with {process.returncode}"


def title_of(step: str) -> str:
    """Return the title of a step's deploy, as its file has it."""
    text = (ROOT / Path(f"deploys/{step}.py")).read_text()
    before = text[: text.index("\ndef configure(")]
    titles: list[str] = re.findall(r"@(?:deploy|step)\(\"([^\"]+)\"", before)
    return titles[-1]
