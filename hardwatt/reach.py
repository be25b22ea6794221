"""The way to a node that is not reached directly: through a jump host, or at ports of another number.

Everything here is OpenSSH's own, with the lab's key and the lab's known hosts and no others, at both ends.
"""

import contextlib
import dataclasses
import shlex
import socket
from pathlib import Path

from hardwatt import door
from hardwatt.endpoint import Endpoint
from hardwatt.errors import LabError

ANSWER_TIMEOUT = 60.0
"""Seconds for the greeting of an SSH server behind another host."""


def known_name(address: str, port: int) -> str:
    """Return the name under which OpenSSH keeps the key of a host."""
    return address if port == 22 else f"[{address}]:{port}"


@dataclasses.dataclass(frozen=True)
class Hop:
    """A host on the way: ``USER@HOST:PORT``, user and port may be left out."""

    user: str
    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Hop":
        user, _, rest = text.rpartition("@")
        if rest.startswith("["):
            address, _, port = rest[1:].partition("]")
            port = port.removeprefix(":")
        else:
            address, _, port = rest.partition(":")
        if not address or not (port or "22").isdigit():
            raise LabError(f"{text!r} is no host to go through", hint='host.jump = "USER@HOST:PORT" in lab.toml')
        return cls(user or "root", address, int(port or 22))

    @property
    def known_as(self) -> str:
        """The name under which its host key is kept."""
        return known_name(self.address, self.port)

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.user}@{address}:{self.port}"


def options(key: Path, known_hosts: Path) -> list[str]:
    """Return ssh's options for one key and one file of known hosts: strict, and without a question."""
    return [
        "-F", "none",
        "-i", str(key),
        "-o", "IdentitiesOnly=yes",
        "-o", "IdentityAgent=none",
        "-o", f"UserKnownHostsFile={known_hosts}",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes",
        "-o", "BatchMode=yes",
        "-o", "ConnectTimeout=20",
    ]  # fmt: skip


def proxy_command(end: Endpoint, target: str = "%h:%p") -> str:
    """Return the command through which a connection to ``target`` goes; empty where none is needed.

    ``%h:%p`` is what ssh itself fills in.
    """
    if not end.jump:
        return ""
    hop = Hop.parse(end.jump)
    start = ["ssh", *options(end.key, end.known_hosts), "-p", str(hop.port)]
    return f"{shlex.join(start)} -W {target} {shlex.quote(f'{hop.user}@{hop.address}')}"


def way(end: Endpoint) -> list[str]:
    """Return ssh's options that lead through the jump host, if there is one."""
    command = proxy_command(end)
    return ["-o", f"ProxyCommand={command}"] if command else []


def ssh_config(end: Endpoint) -> str:
    """Return the text of an ssh_config that knows the way to the node and nothing else (pyinfra reads it).

    pyinfra goes through a jump host by itself; with a ProxyCommand it never ends, because paramiko
    reads on after the command's end.
    """
    if not end.jump:
        return ""
    hop = Hop.parse(end.jump)
    return (
        f"Host {end.address}\n    ProxyJump {hop}\n"
        f"Host {hop.address}\n    IdentityFile {end.key}\n    IdentitiesOnly yes\n    IdentityAgent none\n"
        f"    UserKnownHostsFile {end.known_hosts}\n    StrictHostKeyChecking yes\n    ConnectTimeout 20\n"
    )


def git_way(end: Endpoint, port: int) -> list[str]:
    """Return ssh's options with which git, asked for the node's own address and ``port``, gets there from here."""
    here = end.port_here(port)
    if here != port:
        alias = f"[{end.node_address}]:{port}"
        return ["-o", f"HostName={end.address}", "-o", f"Port={here}", "-o", f"HostKeyAlias={alias}"]
    return way(end)


def direct(end: Endpoint) -> bool:
    """Return whether this machine reaches the node's own address."""
    return not end.jump and not end.forwards


def ssh_answers(end: Endpoint, port: int) -> bool:
    """Return whether an SSH server answers at a port of the node: a forwarded port alone always takes connections."""
    host = end.address if end.forwards else end.node_address
    talk = shlex.split(proxy_command(end, f"{end.node_address}:{port}"))
    if talk:
        return door.run(talk, check=False, stdin="", timeout=ANSWER_TIMEOUT).stdout.startswith("SSH-")
    with contextlib.suppress(OSError), socket.create_connection((host, end.port_here(port)), timeout=10) as sock:
        return sock.recv(4) == b"SSH-"
    return False
