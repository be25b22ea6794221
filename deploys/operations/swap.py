"""Swap off, now and after the next boot, in a way that can be undone."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.swap import Swap
from deploys.operations import Commands
from deploys.operations.record import note


@operation()
def off() -> Commands:
    """Switch all swap off. /etc/fstab stays as it is: the units that read it are masked."""
    found = host.get_fact(Swap)
    if not found["devices"] and not found["units"]:
        host.noop("no swap is on")
        return
    for device in found["devices"]:
        yield note("swap", device)
    for unit in found["units"]:
        yield note("mask", unit)
    if found["units"]:
        yield f"systemctl mask {' '.join(shlex.quote(unit) for unit in found['units'])}"
    if found["devices"]:
        yield "swapoff --all"
