"""The host over SSH that lab.toml names, reached before a command says anything about it."""

from hardwatt.config.lab import Lab
from hardwatt.connect import sudo
from hardwatt.machines.lab_context import LabContext


def require(lab: Lab, *, root: bool = False) -> None:
    """Check that the lab's host answers and lets its user in, with ``root`` that the user becomes root there.

    Labs whose node is on this machine are not looked at.

    Raises ``LabError`` naming host, reason and next command.
    """
    settings = lab.settings
    if settings.machine != "ssh" and not (settings.machine == "auto" and settings.host.address):
        return
    context = LabContext.of(lab)
    if context.machine.kind != "ssh":
        return
    endpoint = context.start()
    if root:
        sudo.prefix(endpoint)
