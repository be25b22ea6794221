"""Places where a lab's node stands: embedded here, in a virtual machine, or on somebody's host."""

from hardwatt.errors import LabError
from hardwatt.files import read_json
from hardwatt.lab import Lab
from hardwatt.machines import hostfacts
from hardwatt.machines.base import Machine, Status
from hardwatt.machines.embedded import EmbeddedMachine
from hardwatt.machines.hostfacts import Problem
from hardwatt.machines.ssh_host import SshMachine
from hardwatt.machines.vm import VmMachine

__all__ = ["Machine", "Problem", "Status", "embedded_problems", "machine_for"]

_KINDS: dict[str, type[EmbeddedMachine] | type[SshMachine] | type[VmMachine]] = {
    "embedded": EmbeddedMachine,
    "ssh": SshMachine,
    "vm": VmMachine,
}


def embedded_problems(lab: Lab) -> list[Problem]:
    """Return what keeps the embedded node from this host; empty: it can stand here."""
    return hostfacts.gather(lab.dir).embedded_problems()


def machine_for(lab: Lab) -> Machine:
    """Return the lab's machine: the kind that the settings name, or for ``auto`` the one that fits.

    A machine that is there already stays what it is.

    Raises ``LabError`` where no kind fits, with every reason.
    """
    asked = lab.settings.machine
    if asked != "auto":
        return _KINDS[asked](lab, f'machine = "{asked}" in the settings')
    there = read_json(lab.dir / "machine.json", {}).get("kind")
    if there in _KINDS:
        return _KINDS[there](lab, "the lab has this machine already")
    if lab.settings.host.address:
        return SshMachine(lab, f"[host] in lab.toml names {lab.settings.host.address}")
    problems = embedded_problems(lab)
    if not problems:
        return EmbeddedMachine(lab, "no [host] in lab.toml, and this host can carry the embedded node")
    raise LabError(
        "no machine fits: " + "; ".join(problem.text for problem in problems),
        hint="; ".join(dict.fromkeys(problem.remedy for problem in problems)),
    )
