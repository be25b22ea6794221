"""Places where a lab's node stands: embedded here, in a virtual machine, or on somebody's host."""

from hardwatt.config.lab import Lab
from hardwatt.core.problem import Problem, combined
from hardwatt.machines import host_facts, timeouts
from hardwatt.machines.base import Machine
from hardwatt.machines.embedded.machine import EmbeddedMachine
from hardwatt.machines.remote import SshMachine
from hardwatt.machines.vm import facts, qemu
from hardwatt.machines.vm.machine import VmMachine

_KINDS: dict[str, type[EmbeddedMachine] | type[SshMachine] | type[VmMachine]] = {
    "embedded": EmbeddedMachine,
    "ssh": SshMachine,
    "vm": VmMachine,
}


def embedded_problems(lab: Lab) -> list[Problem]:
    """Return what keeps the embedded node from this host; empty: it can stand here."""
    return host_facts.gather(lab.dir).embedded_problems()


def problems(lab: Lab) -> list[Problem]:
    """Return what keeps the lab's machine from this host; empty: it can stand here, or on somebody's host."""
    asked = lab.settings.machine
    there = timeouts.record(lab).get("kind") if asked == "auto" else asked
    if there == "ssh" or (not there and lab.settings.host.address):
        return []
    if there == "vm":
        return facts.problems(lab.dir)
    if there == "embedded":
        return embedded_problems(lab)
    embedded, virtual = embedded_problems(lab), facts.problems(lab.dir)
    return list(dict.fromkeys([*embedded, *virtual])) if embedded and virtual else []


def machine_for(lab: Lab) -> Machine:
    """Return the lab's machine: the kind that the settings name, or for ``auto`` the one that fits.

    That is the virtual machine where KVM works, else the embedded node where there is root, else
    the virtual machine by emulation. A machine that is there already stays what it is.

    Raises ``LabError`` where no kind fits, with every reason.
    """
    return _machine(lab, boot=False)


def resolve_machine(lab: Lab) -> Machine:
    """Return the lab's machine as ``machine_for`` does, but try first whether KVM works if only a boot tells.

    That takes a disk image, which is made if the cache has none.
    """
    return _machine(lab, boot=True)


def _machine(lab: Lab, *, boot: bool) -> Machine:
    asked = lab.settings.machine
    if asked != "auto":
        return _KINDS[asked](lab, f'machine = "{asked}" in the settings')
    there = timeouts.record(lab).get("kind")
    if there in _KINDS:
        return _KINDS[there](lab, "the lab has this machine already")
    if lab.settings.host.address:
        return SshMachine(lab, f"[host] in lab.toml names {lab.settings.host.address}")
    return _automatic(lab, boot=boot)


def _automatic(lab: Lab, *, boot: bool) -> Machine:
    virtual = facts.problems(lab.dir)
    accel, why = ("tcg", virtual[0].what) if virtual else qemu.acceleration(lab.cache, None)
    if accel is None and boot:
        accel, why = qemu.acceleration(lab.cache, VmMachine(lab).image())
    if not virtual and accel != "tcg":
        works = "KVM works here" if accel == "kvm" else "KVM may work here, which the first start finds out"
        return VmMachine(lab, f"no [host] in lab.toml, and {works}", acceleration=(accel, why) if accel else None)
    embedded = embedded_problems(lab)
    if not embedded:
        return EmbeddedMachine(lab, f"no [host] in lab.toml, no virtual machine by KVM ({why}), and there is root")
    if not virtual:
        slow = "about ten times slower than by KVM, so a first lab.up takes half an hour"
        return VmMachine(lab, f"no KVM ({why}) and no embedded node ({embedded[0].what}); by emulation: {slow}",
                             acceleration=("tcg", why))  # fmt: skip
    raise combined([*embedded, *virtual], "no machine fits: ")
