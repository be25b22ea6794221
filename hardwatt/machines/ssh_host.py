"""Somebody's host over SSH, from ``[host]`` in lab.toml. It is theirs: it is never powered off here."""

import dataclasses
import socket
from pathlib import Path

import paramiko

from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError
from hardwatt.lab import Lab
from hardwatt.machines import identity
from hardwatt.machines.base import Status, ssh_argv
from hardwatt.progress import say
from hardwatt.settings import Host
from hardwatt.ssh import Ssh


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
        return Endpoint(
            name=self.lab.name,
            kind=self.kind,
            address=host.address,
            port=host.port,
            user=host.user,
            key=key,
            known_hosts=self.lab.known_hosts,
            controller_address=own_address(host),
            node_address=resolve(host),
            data={"cgroup_root": "/", "proc_stat": "node"},
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


def own_address(host: Host) -> str:
    """Return this machine's address on the way to the host (no packet is sent)."""
    family, _, _, _, target = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(target)
        except OSError as error:
            raise LabError(f"there is no way to {host.address}: {error}", hint="look at `ip route`") from None
        return str(probe.getsockname()[0])


def known_name(end: Endpoint) -> str:
    """Return the name under which OpenSSH keeps a host's key."""
    return end.address if end.port == 22 else f"[{end.address}]:{end.port}"


def require_known(end: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host."""
    keys = paramiko.HostKeys(str(end.known_hosts)) if end.known_hosts.exists() else paramiko.HostKeys()
    if keys.lookup(known_name(end)) is None:
        raise LabError(f"the lab does not know the host key of {known_name(end)}",
                       hint="invoke lab.trust, and compare the fingerprint with the host's own")  # fmt: skip
