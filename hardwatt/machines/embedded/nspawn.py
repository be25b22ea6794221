"""Arguments that boot the machine, and nothing else, so that every kind of host can be tested.

Source of the options: systemd-nspawn(1), systemd.resource-control(5); each one's reason is beside it.
"""

from collections.abc import Sequence
from pathlib import Path

from hardwatt.machines.embedded import cgroups, network
from hardwatt.machines.host_facts import HostFacts

INIT = "/usr/lib/hardwatt/init"
"""The node's first program (written by ``tree``): it makes cgroups and network ready, then becomes systemd."""

ENVIRONMENT = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}
"""kubelet and kube-proxy set sysctls, so /proc/sys and /sys are writable in the machine."""

ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"'
"""Shell text that goes into cgroups and becomes the given program, under the same process number."""


def machine_name(ident: str) -> str:
    """Return the name under which systemd-nspawn runs the machine."""
    return f"hw-{ident}"


def nspawn(facts: HostFacts, ident: str, hostname: str, root: Path) -> list[str]:
    """Return the systemd-nspawn command of a machine."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        f"--machine={machine_name(ident)}",
        f"--hostname={hostname}",
        "--register=no",  # systemd-machined needs systemd as the host's first process
        "--keep-unit",  # stay in the cgroups that were made for it
        f"--network-veth-extra={network.link_name(ident)}:{network.NODE_LINK}",
        "--capability=all",  # containerd and kubelet need most of them; not a security boundary
        "--system-call-filter=@known",
        "--resolv-conf=off",  # written into the tree: the host's name servers are not reachable from the node
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
        "--kill-signal=SIGRTMIN+4",  # what systemd as init takes for "power off"
        *(f"--bind={device}" for device in facts.devices),
        "--",
        INIT,
    ]


def command(facts: HostFacts, ident: str, hostname: str, root: Path, enter: Sequence[Path], log: Path) -> list[str]:
    """Return the whole command that starts a machine inside its own cgroups.

    On a host with systemd it runs as a transient service with delegated cgroups: otherwise it
    would die with the login session, and systemd would take its cgroups for its own. ``log``
    takes the machine's console there; elsewhere the caller's output does.
    """
    inside = ["sh", "-c", ENTER, machine_name(ident), *map(str, enter), "--"]
    inside += nspawn(facts, ident, hostname, root)
    if not facts.systemd:
        return inside
    return [
        "systemd-run",
        f"--unit={cgroups.unit(ident)}",
        "--slice=system.slice",
        "--service-type=exec",
        "--collect",
        "--quiet",
        f"--description=hardwatt machine of the lab {hostname}",
        "-p", "Delegate=yes",
        "-p", "KillMode=mixed",
        "-p", "TasksMax=infinity",
        "-p", "CPUAccounting=yes",
        "-p", "MemoryAccounting=yes",
        "-p", "IOAccounting=yes",
        "-p", "DevicePolicy=auto",
        "-p", f"StandardOutput=append:{log}",
        "-p", f"StandardError=append:{log}",
        *(f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()),
        "--",
        *(part.replace("$", "$$") for part in inside),  # systemd takes $$ for $, and $NAME for a variable
    ]  # fmt: skip
