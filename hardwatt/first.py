"""``make lab``: the lab, the first experiment, its report; the report's path is the last line."""

import os
import platform
import shutil
from pathlib import Path

from hardwatt.errors import LabError
from hardwatt.lab import Lab
from hardwatt.progress import say

STUDY = "push-vs-pull"
NO_LAB = 3
"""Exit code: there is a report, but of the shipped bundle; no lab was made."""


def obstacle(lab: Lab) -> str:
    """Return why this machine cannot carry the embedded node, in one line; empty if it can.

    A host named in ``lab.toml`` is never in the way: its own checks are made over SSH.
    """
    if lab.settings.machine == "ssh":
        return ""
    if platform.system() != "Linux":
        return f"this machine runs {platform.system()}; the embedded node needs Linux"
    if platform.machine() not in {"x86_64", "amd64"}:
        return f"this machine is {platform.machine()}; the embedded node is untested on anything but x86_64"
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        return "you are not root and there is no sudo; the embedded node needs root"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not here (package systemd-container); the embedded node needs it"
    return ""


def first(lab: Lab, shipped: Path) -> int:
    """Bring the lab up, run the first experiment and print the path of its report.

    Returns the exit code: 0, or ``NO_LAB`` where only the shipped bundle could be reported.
    """
    from hardwatt.report import report

    if reason := obstacle(lab):
        say(f"no lab here: {reason}")
        say('with a Linux host of yours: copy lab.example.toml to lab.toml, set machine = "ssh" and [host], then')
        say("  invoke lab.trust HOST; invoke lab.check; invoke lab.up; invoke experiment.run push-vs-pull")
        try:
            print(report(shipped))
        except LabError as error:
            say(str(error))
        print("shipped bundle, no lab")
        return NO_LAB
    from hardwatt import engine
    from hardwatt.up import up

    up(lab)
    print(report(engine.run(lab, STUDY)))
    return 0
