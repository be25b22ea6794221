"""The link between a machine and its host: an address range of its own, and nothing else of the host's network."""

import dataclasses
import ipaddress
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic
from hardwatt.machines.host_facts import HostFacts

Network = ipaddress.IPv4Network
RANGE = Network("10.77.0.0/16")
"""Labs take their networks from here; the whole range is private (RFC 1918)."""
NODE_LINK = "host0"
BARRIER_METRIC = 4_000_000_000
"""Metric of a lab's unreachable route: every other route to the lab's network is preferred to it."""


@dataclasses.dataclass(frozen=True)
class Addresses:
    """The network of one lab: the host's end and the node's end."""

    subnet: str

    @property
    def host(self) -> str:
        return str(Network(self.subnet)[1])

    @property
    def node(self) -> str:
        return str(Network(self.subnet)[2])

    @property
    def prefix(self) -> int:
        return Network(self.subnet).prefixlen


def link_name(ident: str) -> str:
    """Return the name of the host's end: at most 15 characters, and no pattern of systemd-networkd's own files."""
    return f"hw-{ident}"


def taken() -> list[Network]:
    """Return the networks that this host has addresses in or routes to (IPv4)."""
    addresses = process.run(["ip", "-4", "-json", "address"]).stdout
    routes = process.run(["ip", "-4", "-json", "route", "show", "table", "all"]).stdout
    return parse_taken(addresses, routes)


def parse_taken(addresses: str, routes: str) -> list[Network]:
    """Return the networks in ``ip -json``'s addresses and routes, without the default route."""
    networks = [
        Network(f"{entry['local']}/{entry['prefixlen']}", strict=False)
        for link in json.loads(addresses or "[]")
        for entry in link.get("addr_info", [])
        if entry.get("family") == "inet"
    ]
    for route in json.loads(routes or "[]"):
        if route["dst"] != "default":
            networks.append(Network(route["dst"], strict=False))
    return [network for network in dict.fromkeys(networks) if network.prefixlen > 0]


def pick(busy: Iterable[Network]) -> str:
    """Return the first free /24 of the range.

    Raises ``LabError`` where none is free.
    """
    networks = list(busy)
    for candidate in RANGE.subnets(new_prefix=24):
        if not any(candidate.overlaps(network) for network in networks):
            return str(candidate)
    raise LabError(f"every network of {RANGE} is taken on this host",
                   hint="invoke lab.down in labs that are not needed, or look at `ip route`")  # fmt: skip


def up(ident: str, addresses: Addresses) -> list[list[str]]:
    """Return the commands that configure the host's end."""
    link = link_name(ident)
    return [
        ["ip", "address", "replace", f"{addresses.host}/{addresses.prefix}", "dev", link],
        ["ip", "link", "set", link, "up"],
    ]


def barrier(subnet: str) -> list[str]:
    """Return the unreachable route of a lab's network, as ``ip route`` takes it.

    Without it, a request for the node leaves by the default route as soon as the machine's link is down, and something
    else may answer.
    """
    return ["unreachable", subnet, "metric", str(BARRIER_METRIC)]


def parse_barriers(routes: str) -> list[str]:
    """Return the networks of the unreachable routes of labs in ``ip -json``'s routes."""
    return [
        route["dst"]
        for route in json.loads(routes or "[]")
        if route.get("type") == "unreachable" and route.get("metric") == BARRIER_METRIC
    ]


def barriers() -> list[str]:
    """Return the networks of labs that have their unreachable route on this host."""
    return parse_barriers(process.run(["ip", "-4", "-json", "route", "show", "type", "unreachable"]).stdout)


def raise_barrier(subnet: str) -> None:
    """Add the unreachable route of a lab's network, unless it exists."""
    if subnet not in barriers():
        process.run(["ip", "route", "add", *barrier(subnet)])


def drop_barrier(subnet: str) -> None:
    """Remove the unreachable route of a lab's network, if it exists."""
    if subnet in barriers():
        process.run(["ip", "route", "delete", *barrier(subnet)], check=False)


def unmanaged_files(facts: HostFacts, ident: str) -> dict[Path, str]:
    """Return files that keep the host's network managers off the link (gone with the next boot).

    Sources: NetworkManager.conf(5) ``unmanaged-devices``, systemd.network(5) ``Unmanaged=``.
    """
    link = link_name(ident)
    files: dict[Path, str] = {}
    if facts.network_manager:
        text = f"[keyfile]\nunmanaged-devices+=interface-name:{link}\n"
        files[Path(f"/run/NetworkManager/conf.d/{link}.conf")] = text
    if facts.networkd:
        text = f"[Match]\nName={link}\n\n[Link]\nUnmanaged=yes\n"
        files[Path(f"/run/systemd/network/10-{link}.network")] = text
    return files


def reload_commands(facts: HostFacts) -> list[list[str]]:
    """Return the commands that make the host's network managers read those files."""
    commands: list[list[str]] = []
    if facts.network_manager:
        commands.append(["nmcli", "general", "reload", "conf"])
    if facts.networkd:
        commands.append(["networkctl", "reload"])
    return commands


def firewall_commands(facts: HostFacts, ident: str, *, add: bool) -> list[list[str]]:
    """Return the commands that let the node reach the lab's mirror through the host's firewall.

    firewalld's zone is set at runtime only. Docker's rules concern forwarding, which a lab does not need.
    """
    if not facts.firewalld:
        return []
    verb = "--add-interface" if add else "--remove-interface"
    return [["firewall-cmd", "--zone=trusted", f"{verb}={link_name(ident)}"]]


def filters_input(rules: str) -> bool:
    """Return whether ``iptables -S INPUT`` shows a firewall, such as ufw's, that may drop what the node sends."""
    lines = [line for line in rules.splitlines() if line]
    return bool(lines) and lines != ["-P INPUT ACCEPT"]


def input_rule(ident: str) -> list[str]:
    """Return the rule that lets in what comes over the machine's own link, to ports that nobody chose.

    The kernel gives them to programs that choose none: the mirror's servers are among them, and so are the answers to
    what this host asks of the node. A service of the host's own has a port of another number.
    """
    first, last = local_ports()
    return [
        "INPUT", "-i", link_name(ident), "-p", "tcp", "--dport", f"{first}:{last}",
        "-m", "comment", "--comment", "hardwatt", "-j", "ACCEPT",
    ]  # fmt: skip


def _former_input_rule(ident: str) -> list[str]:
    """Return the rule of an older version, which opened every port."""
    return ["INPUT", "-i", link_name(ident), "-m", "comment", "--comment", "hardwatt", "-j", "ACCEPT"]


def local_ports(file: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> tuple[int, int]:
    """Return the first and the last port of those that the kernel gives to programs which choose none."""
    first, last = file.read_text().split()
    return int(first), int(last)


def _has_iptables() -> bool:
    return shutil.which("iptables", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _is_there(rule: Sequence[str]) -> bool:
    return _has_iptables() and process.run(["iptables", "-C", *rule], check=False).returncode == 0


def _open_firewall(ident: str) -> None:
    if not _has_iptables() or _is_there(input_rule(ident)):
        return
    if filters_input(process.run(["iptables", "-S", "INPUT"], check=False).stdout):
        process.run(["iptables", "-I", *input_rule(ident)])


def protect(facts: HostFacts, ident: str) -> None:
    """Keep the host's network managers and firewall off the machine's link."""
    for path, text in unmanaged_files(facts, ident).items():
        write_atomic(path, text)
    _run_all(reload_commands(facts), check=False)
    _run_all(firewall_commands(facts, ident, add=True), check=True)
    if not facts.firewalld:
        _open_firewall(ident)


def release(facts: HostFacts, ident: str) -> None:
    """Undo ``protect``."""
    present = [path for path in unmanaged_files(facts, ident) if path.exists()]
    for path in present:
        path.unlink()
    if present:
        _run_all(reload_commands(facts), check=False)
    _run_all(firewall_commands(facts, ident, add=False), check=False)
    for rule in (input_rule(ident), _former_input_rule(ident)):
        while _is_there(rule):
            process.run(["iptables", "-D", *rule])


def _run_all(commands: Sequence[Sequence[str]], *, check: bool) -> None:
    for command in commands:
        process.run(command, check=check)


def configured(ident: str, addresses: Addresses) -> bool:
    """Return whether the host's end is up and has its address, and the unreachable route is behind it."""
    return not fault(ident, addresses) and addresses.subnet in barriers()


def fault(ident: str, addresses: Addresses) -> str:
    """Return why requests to the node do not go over the machine's link; empty: they do."""
    name = link_name(ident)
    if not exists(ident):
        return f"the machine's link {name} is gone"
    shown = json.loads(process.run(["ip", "-4", "-json", "address", "show", "dev", name, "up"]).stdout or "[]")
    links = [link for link in shown if link]  # one that is down is an empty entry
    if not links:
        return f"the machine's link {name} is down"
    if not any(info.get("local") == addresses.host for link in links for info in link.get("addr_info", [])):
        return f"the machine's link {name} has no address {addresses.host}"
    routes = json.loads(process.run(["ip", "-4", "-json", "route", "get", addresses.node], check=False).stdout or "[]")
    through = routes[0].get("dev", "") if routes else ""
    return "" if through == name else f"the route to {addresses.node} does not go over the machine's link {name}"


def exists(ident: str) -> bool:
    """Return whether the host's end of the link is there."""
    return Path("/sys/class/net", link_name(ident)).exists()


def remove(ident: str) -> bool:
    """Remove the host's end of the link, if it is there; return whether it was."""
    if not exists(ident):
        return False
    process.run(["ip", "link", "delete", link_name(ident), "type", "veth"], check=False)
    return True
