"""Before anything is changed: gather the facts, check everything, stop with one table."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from pyinfra import host, logger
from pyinfra.api import DeployError, deploy

from deploys import checks
from deploys.facts.kernel import Modules, Settings
from deploys.facts.kubeadm import MadeWith, State
from deploys.facts.network import Ports, Routes
from deploys.facts.packages import Debs
from deploys.facts.record import Record
from deploys.facts.rpm import Rpms
from deploys.labdata import boot, cgroup, family, lab, own_kernel, system
from deploys.modules_sysctls import MODULES, SETTINGS

REPORT = "HARDWATT_PREFLIGHT_REPORT"
"""Environment variable: a file of the controller that gets the problems as JSON."""


@deploy("Preflight")
def configure() -> None:
    """Stop with all problems if there is one that the later steps would fall over."""
    found = _check()
    for problem in found:
        if problem.severity != "error":
            logger.warning(f"{problem.what} ({problem.remedy})")
    if any(problem.severity == "error" for problem in found):
        raise DeployError(f"this host cannot carry the node\n{checks.table(found)}")


@deploy("Report of the checks")
def report() -> None:
    """Check and change nothing; problems go to the file of ``HARDWATT_PREFLIGHT_REPORT``."""
    logger.info(checks.table(_check()))


def _check() -> list[checks.Problem]:
    data = lab()
    pins = {name: version for group in data["packages"].values() for name, version in group.items()}
    before = time.time()
    machine = system()
    facts = checks.Facts(
        system=machine,
        asked=(before, time.time()),
        cgroup=cgroup(),
        boot=boot() if own_kernel() else {"loader": "", "running": [], "next": [], "file": "", "required": []},
        record=host.get_fact(Record),
        modules=host.get_fact(Modules, names=MODULES),
        settings=host.get_fact(Settings, names=sorted(SETTINGS)),
        ports=host.get_fact(Ports),
        routes=host.get_fact(Routes),
        kubeadm=host.get_fact(State),
        made_with=host.get_fact(MadeWith),
        packages=_installed(sorted(pins)),
    )
    found = checks.problems(facts, {**data, "pins": pins, "settings": SETTINGS})
    _write(found)
    return found


def _installed(names: list[str]) -> dict[str, Any]:
    """Return the versions of these packages, as the machine's own manager has them."""
    if family() == "el":
        found = host.get_fact(Rpms, names=names).get("packages", {})
        return {name: ", ".join(versions) for name, versions in found.items()}
    debs = host.get_fact(Debs, names=names).get("packages", {})
    return {name: package["version"] for name, package in debs.items()}


def _write(found: list[checks.Problem]) -> None:
    if path := os.environ.get(REPORT):
        rows: list[dict[str, Any]] = [dataclasses.asdict(problem) for problem in found]
        Path(path).write_text(json.dumps(rows, indent=2))
