"""Somebody's host over SSH, from ``[host]`` in lab.toml. It is theirs: it is never powered off here."""

import contextlib
import dataclasses
import ipaddress
import socket
from pathlib import Path
from typing import Any

import paramiko

from hardwatt import reach
from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError, RefusedError
from hardwatt.lab import Lab
from hardwatt.machines import identity
from hardwatt.machines.base import Status, ssh_argv
from hardwatt.progress import say
from hardwatt.reach import Hop
from hardwatt.settings import Host
from hardwatt.ssh import Ssh, fingerprint
from hardwatt.wait import be_patient


@dataclasses.dataclass(frozen=True)
class SshMachine:
    """The host that lab.toml names."""

    lab: Lab
    why: str = "lab.toml says so"
    kind: str = "ssh"

    def start(self) -> Endpoint:
        """Check that the host answers, with the host key that the lab knows."""
        end = self.endpoint()
        require_known(end)
        with Ssh(end) as ssh:
            ssh.run("true")
        return end

    def stop(self) -> None:
        say(f"{self._host.address} is somebody's host: it stays on")

    def destroy(self) -> None:
        say(f"{self._host.address} is somebody's host: nothing to remove of the machine itself")

    def status(self) -> Status:
        host = self._host
        try:
            self.start()
        except LabError as error:
            return Status(self.lab.name, self.kind, "dead", host.address, error.message)
        return Status(self.lab.name, self.kind, "running", host.address)

    def endpoint(self) -> Endpoint:
        host = self._host
        key = Path(host.key).expanduser() if host.key else identity.ensure_key(self.lab, identity.CLIENT_KEY)
        if not key.exists():
            raise LabError(f"the key file {key} is not there", hint="host.key in lab.toml")
        jump = str(Hop.parse(host.jump)) if host.jump else ""
        be_patient(host.patience)
        return Endpoint(
            name=self.lab.name,
            kind=self.kind,
            address=host.address,
            port=host.port,
            user=host.user,
            key=key,
            known_hosts=self.lab.known_hosts,
            # a host behind another one rarely reaches us: what we serve comes to its own loopback through SSH
            controller_address="127.0.0.1" if jump else own_address(host),
            node_address=numeric(host) if jump else resolve(host),
            data={"cgroup_root": "/", "proc_stat": "node"},
            reverse=bool(jump),
            jump=jump,
        )

    def shell_argv(self) -> list[str]:
        return ssh_argv(self.endpoint())

    @property
    def _host(self) -> Host:
        host = self.lab.settings.host
        if not host.address:
            raise LabError('machine = "ssh" needs a host', hint="set address in [host] of lab.toml")
        return host


def resolve(host: Host) -> str:
    """Return the host's address as a number."""
    try:
        return str(socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise LabError(f"the host {host.address} is not found: {error}", hint="address in [host] of lab.toml") from None


def numeric(host: Host) -> str:
    """Return the address of a host behind a jump host, which must be a number: its name means nothing here."""
    try:
        return str(ipaddress.ip_address(host.address))
    except ValueError:
        raise LabError(f"the host {host.address} is behind {host.jump}, so its name may be known there only",
                       hint="write its IP address into [host] of lab.toml") from None  # fmt: skip


def own_address(host: Host) -> str:
    """Return this machine's address on the way to the host (no packet is sent)."""
    family, _, _, _, target = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(target)
        except OSError as error:
            raise LabError(f"there is no way to {host.address}: {error}", hint="look at `ip route`") from None
        return str(probe.getsockname()[0])


def require_known(end: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host, or of the one on the way to it."""
    keys = paramiko.HostKeys(str(end.known_hosts)) if end.known_hosts.exists() else paramiko.HostKeys()
    hops = [Hop.parse(end.jump)] if end.jump else []
    for address, port in [*((hop.address, hop.port) for hop in hops), (end.address, end.port)]:
        if keys.lookup(identity.known_name(address, port)) is None:
            raise LabError(f"the lab does not know the host key of {identity.known_name(address, port)}",
                           hint=f"invoke lab.trust {address}, with the fingerprint from the host itself")  # fmt: skip


def offered_key(lab: Lab, address: str) -> paramiko.PKey:
    """Return the host key that the host of lab.toml, or its jump host, offers now; it proves nothing by itself."""
    host = lab.settings.host
    hop = Hop.parse(host.jump) if host.jump else None
    port = hop.port if hop and address == hop.address else host.port
    try:
        with contextlib.ExitStack() as stack:
            if hop and address != hop.address:
                end = SshMachine(lab).endpoint()
                sock: Any = paramiko.ProxyCommand(reach.proxy_command(end, f"{address}:{port}"))
                stack.callback(sock.close)
            else:
                sock = stack.enter_context(socket.create_connection((address, port), timeout=10))
            transport = paramiko.Transport(sock)
            stack.callback(transport.close)
            transport.start_client(timeout=30)
            return transport.get_remote_server_key()
    except (OSError, paramiko.SSHException) as error:
        through = f" through {host.jump}" if hop and address != hop.address else ""
        hint = f"invoke lab.trust {hop.address} first; [host] in lab.toml" if through and hop else "[host] in lab.toml"
        raise LabError(f"no SSH at {address}:{port}{through}: {error}", hint=hint) from error


def trust(lab: Lab, expected: str, address: str = "") -> str:
    """Learn the key of the host, or of its jump host, if its fingerprint is the expected one; return the fingerprint.

    ``expected`` comes from the host itself: its console, its administrator, or
    ``ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`` there.

    Raises ``LabError`` for an address that lab.toml does not name, and ``RefusedError`` with both
    fingerprints where they differ.
    """
    host = lab.settings.host
    hop = Hop.parse(host.jump) if host.jump else None
    address = address or host.address
    named = [host.address, *([hop.address] if hop else [])]
    if address not in named:
        raise LabError(f"lab.toml names the host {' and '.join(map(repr, named))}, not {address!r}",
                       hint="[host] in lab.toml")  # fmt: skip
    key = offered_key(lab, address)
    offered = fingerprint(key)
    if offered != expected.strip():
        raise RefusedError(f"{address} offers the host key {offered}, and not {expected.strip()}",
                           hint="read the fingerprint on the host itself, and find out who answers")  # fmt: skip
    port = hop.port if hop and address == hop.address else host.port
    identity.learn(lab, address, f"{key.get_name()} {key.get_base64()}", port=port)
    return offered
