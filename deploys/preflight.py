"""Before anything is changed: gather the facts, check everything, stop with one table."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from pyinfra import host, logger
from pyinfra.api import DeployError, deploy

from deploys import checks, compatibility, hostchecks
from deploys.contract import Lab
from deploys.facts.boot import Boot
from deploys.facts.firewalld import Firewalld
from deploys.facts.kernel import Config, Headers, Modules, Settings
from deploys.facts.kubeadm import MadeWith, State
from deploys.facts.network import Ports, Routes
from deploys.facts.packages import Debs
from deploys.facts.record import Record
from deploys.facts.rpm import Rpms
from deploys.facts.selinux import Selinux
from deploys.facts.surroundings import Surroundings
from deploys.facts.swap import Swap
from deploys.labdata import boot, cgroup, family, headers, lab, own_kernel, powercap, selinux, system
from deploys.modules_sysctls import MODULES, SETTINGS
from deploys.problem import Facts, Problem

REPORT = "HARDWATT_PREFLIGHT_REPORT"
"""Environment variable: a file of the controller that gets the problems as JSON."""


@deploy("Preflight")
def configure() -> None:
    """Stop with all problems if there is one that the later steps would fall over."""
    problems = _check()
    for problem in problems:
        if problem.severity == "warning":
            logger.warning(f"{problem.what} ({problem.remedy})")
    if any(problem.severity == "error" for problem in problems):
        raise DeployError(f"this host cannot carry the node\n{checks.table(problems)}")


@deploy("Report of the checks")
def report() -> None:
    """Check and change nothing; problems go to the file of ``HARDWATT_PREFLIGHT_REPORT``."""
    logger.info(checks.table(_check()))


def _check() -> list[Problem]:
    data = lab()
    before = time.time()
    machine = system()
    facts = Facts(
        system=machine,
        asked=(before, time.time()),
        cgroup=cgroup(),
        record=host.get_fact(Record),
        modules=host.get_fact(Modules, names=MODULES),
        settings=host.get_fact(Settings, names=sorted(SETTINGS)),
        ports=host.get_fact(Ports),
        routes=host.get_fact(Routes),
        kubeadm=host.get_fact(State),
        made_with=host.get_fact(MadeWith),
        packages=_installed(sorted(data.pins)),
        powercap=powercap(),
        **_of_own_kernel(data),
    )
    problems = checks.problems(facts, data)
    _write(problems)
    return problems


def _of_own_kernel(data: Lab) -> dict[str, Any]:
    """Return the facts about boot, kernel and host system; without a kernel of one's own they are empty."""
    if not own_kernel():
        kinds = {"boot": Boot(), "config": Config(), "firewalld": Firewalld(), "headers": Headers(),
                 "selinux": Selinux(), "surroundings": Surroundings(), "swap": Swap()}  # fmt: skip
        return {name: kind.process([]) for name, kind in kinds.items()}
    options = {name for group in hostchecks.KERNEL_OPTIONS.values() for name in group}
    options |= set(compatibility.kepler(data.stack.kepler).get("options", ()))
    return {
        "boot": boot(),
        "config": host.get_fact(Config, names=sorted(options)),
        "firewalld": host.get_fact(Firewalld, rules=False),
        "headers": headers(),
        "selinux": selinux(),
        "surroundings": host.get_fact(Surroundings),
        "swap": host.get_fact(Swap),
    }


def _installed(names: list[str]) -> dict[str, Any]:
    """Return the versions of these packages, as the machine's own manager has them."""
    if family() == "el":
        rpms = host.get_fact(Rpms, names=names).get("packages", {})
        return {name: ", ".join(versions) for name, versions in rpms.items()}
    debs = host.get_fact(Debs, names=names).get("packages", {})
    return {name: package["version"] for name, package in debs.items()}


def _write(problems: list[Problem]) -> None:
    if path := os.environ.get(REPORT):
        rows: list[dict[str, Any]] = [dataclasses.asdict(problem) for problem in problems]
        Path(path).write_text(json.dumps(rows, indent=2))
