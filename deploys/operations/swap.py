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
    swap = host.get_fact(Swap)
    if not swap["devices"] and not swap["units"]:
        host.noop("no swap is on")
        return
    for device in swap["devices"]:
        yield note("swap", device)
    for unit in swap["units"]:
        yield note("mask", unit)
    if swap["units"]:
        yield f"systemctl mask {' '.join(shlex.quote(unit) for unit in swap['units'])}"
    if swap["devices"]:
        yield "swapoff --all"
