"""Somebody's host over SSH, from ``[host]`` in lab.toml. It is theirs: it is never powered off here."""

import dataclasses
import socket
from pathlib import Path

import paramiko

from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError, RefusedError
from hardwatt.lab import Lab
from hardwatt.machines import identity
from hardwatt.machines.base import Status, ssh_argv
from hardwatt.progress import say
from hardwatt.settings import Host
from hardwatt.ssh import Ssh, fingerprint


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
        if host.jump:
            raise LabError(
                f"host.jump = {host.jump!r}: hosts behind a jump host cannot be reached yet",
                hint="remove host.jump from lab.toml and run from a machine that reaches the host itself",
            )
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


def require_known(end: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host."""
    keys = paramiko.HostKeys(str(end.known_hosts)) if end.known_hosts.exists() else paramiko.HostKeys()
    if keys.lookup(identity.known_name(end.address, end.port)) is None:
        raise LabError(f"the lab does not know the host key of {identity.known_name(end.address, end.port)}",
                       hint=f"invoke lab.trust {end.address}, with the fingerprint from the host itself")  # fmt: skip


def offered_key(lab: Lab) -> paramiko.PKey:
    """Return the host key that the host of lab.toml offers now, which proves nothing by itself."""
    host = lab.settings.host
    try:
        with socket.create_connection((host.address, host.port), timeout=10) as connection:
            transport = paramiko.Transport(connection)
            try:
                transport.start_client(timeout=10)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, paramiko.SSHException) as error:
        raise LabError(f"no SSH at {host.address}:{host.port}: {error}", hint="[host] in lab.toml") from error


def trust(lab: Lab, expected: str) -> str:
    """Learn the host's key if its fingerprint is the expected one; return the fingerprint.

    ``expected`` comes from the host itself: its console, its administrator, or
    ``ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`` there.

    Raises ``RefusedError`` with both fingerprints where they differ.
    """
    key = offered_key(lab)
    offered = fingerprint(key)
    if offered != expected.strip():
        raise RefusedError(f"{lab.settings.host.address} offers the host key {offered}, and not {expected.strip()}",
                           hint="read the fingerprint on the host itself, and find out who answers")  # fmt: skip
    host = lab.settings.host
    identity.learn(lab, host.address, f"{key.get_name()} {key.get_base64()}", port=host.port)
    return offered
