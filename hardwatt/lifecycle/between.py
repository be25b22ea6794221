"""The lab between two sessions of an experiment: a fresh cluster, a reboot, or nothing.

The caller holds the lab's lock throughout; ``lab.down`` and ``lab.up`` go on under it.
"""

import contextlib

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.core.nearest import did_you_mean
from hardwatt.experiment.run.series_state import CLUSTER, KINDS, NOTHING, REBOOT
from hardwatt.lifecycle import up as lifecycle
from hardwatt.machines import lab_lock, timeouts
from hardwatt.machines.lab_context import LabContext
from hardwatt.provision import reboot


def chosen(lab: Lab, asked: str) -> str:
    """Return what is done between sessions: what was asked for, or the default of the lab's machine.

    That is a fresh cluster, where making it does not take an hour: an emulated machine is rebooted instead.
    Raises ``SettingsError`` for an unknown word.
    """
    if asked and asked not in KINDS:
        raise SettingsError(f"--between {asked!r} is unknown; {did_you_mean(asked, KINDS, 'known words')}")
    if asked:
        return asked
    return REBOOT if timeouts.record(lab).get("accel") == "tcg" else CLUSTER


def announced(lab: Lab, kind: str) -> str:
    """Return what is going to be done between sessions, for the person at the terminal, before it starts."""
    if kind == NOTHING:
        return "between sessions nothing is done: they share one cluster, and its spread between clusters stays unseen"
    on_host = _machine_kind(lab) == "ssh"
    if kind == REBOOT:
        return f"between sessions {'the host' if on_host else 'the node'} is rebooted; its cluster stays"
    where = "the cluster on the host is reset (packages stay)" if on_host else "the machine is removed"
    return (
        f"between sessions {where} and the lab is made anew: what was put into it by hand is lost (--between nothing "
        "or --between reboot keeps it)"
    )


def perform(lab: Lab, kind: str) -> str:
    """Do it, and return in words what was done.

    Interrupted, it is done again from its beginning. Raises ``LabError`` from the step that failed.
    """
    machine = _machine_kind(lab)
    if kind == CLUSTER:
        lifecycle.down(lab, keep_packages=True)
        lifecycle.up(lab)
        return {
            "ssh": "fresh cluster: kubeadm reset on the host, lab.up",
            "vm": "fresh cluster in a fresh virtual machine: lab.down, lab.up",
        }.get(machine, "fresh cluster on a fresh embedded node: lab.down, lab.up")
    if kind == REBOOT:
        return _rebooted(lab, machine)
    return "nothing: the cluster of the session before"


def _rebooted(lab: Lab, machine: str) -> str:
    if machine == "ssh":
        reboot.reboot(LabContext.of(lab).endpoint)
        lab_lock.renew(lab)
    else:
        LabContext.of(lab).machine.stop()
    lifecycle.up(lab)
    if machine == "embedded":
        return "the embedded node was stopped and booted again (its kernel is the host's and went on)"
    return f"{'the host' if machine == 'ssh' else 'the virtual machine'} was rebooted"


def _machine_kind(lab: Lab) -> str:
    """Return the kind of the lab's machine; ``embedded`` where none can be told yet."""
    with contextlib.suppress(LabError):
        return LabContext.of(lab).machine.kind
    return "embedded"
