"""The way to a node that is not reached directly: through a jump host, or at ports of another number.

Everything here is OpenSSH's own, with the lab's key and the lab's known hosts and no others, at both ends.
"""

import contextlib
import dataclasses
import re
import shlex
import socket
from pathlib import Path

from hardwatt.config.settings import ROOT
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import process
from hardwatt.core.errors import CommandError, LabError, SettingsError
from hardwatt.core.limits import REMOTE

CONNECT = 20
"""Seconds for a connection with its greeting."""
ALIVE_INTERVAL, ALIVE_COUNT = 15, 4
"""Seconds between signs of life, and how many may be missing before a connection is given up."""
ANSWER_TIMEOUT = 60.0
"""Seconds for the greeting of an SSH server behind another host."""
_PLAIN = re.compile(r"[\w@+,./:-]+", re.ASCII)
"""Paths that OpenSSH takes as they are."""
_UNSPEAKABLE = {"\n": "a line break", "${": "'${'"}
"""OpenSSH reads its options a line at a time, and has no escape for the name of a variable."""
_KEY_TOKENS = re.compile(r"~|%[Cdhlru]")
"""What paramiko's reader of ssh_config replaces in the path of a key; it knows no escape."""
_FILE_ENDS = re.compile(r"\s")
"""Where pyinfra cuts the names of known_hosts files apart; it knows no quotes."""


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


def quoted(path: Path) -> str:
    """Return a path as a value of OpenSSH's options takes it: blanks in quotes, per cent signs doubled.

    Raises ``SettingsError`` where OpenSSH has no way to write it.
    """
    text = str(path)
    if bad := next((shown for sequence, shown in _UNSPEAKABLE.items() if sequence in text), ""):
        raise SettingsError(f"OpenSSH cannot use a path with {bad} in it: {text!r}",
                            hint="move the checkout (or the key of host.key) to a path without it")  # fmt: skip
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def options(key: Path, known_hosts: Path) -> list[str]:
    """Return ssh's options for one key and one file of known hosts: strict, and without a question."""
    return [
        "-F", "none",
        "-o", f"IdentityFile={quoted(key)}",  # -i looks for the file before it reads %%
        "-o", "IdentitiesOnly=yes",
        "-o", "IdentityAgent=none",
        "-o", f"UserKnownHostsFile={quoted(known_hosts)}",
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes",
        "-o", "BatchMode=yes",
        "-o", f"ConnectTimeout={CONNECT}",
        "-o", f"ServerAliveInterval={ALIVE_INTERVAL}",
        "-o", f"ServerAliveCountMax={ALIVE_COUNT}",
    ]  # fmt: skip


def proxy_command(endpoint: Endpoint, target: str = "%h:%p") -> str:
    """Return the command through which a connection to ``target`` goes; empty where none is needed.

    ``%h:%p`` is what ssh itself fills in. The command is for a program that starts it as it is; ``proxy_options``
    gives the form
    that ssh reads.
    """
    if not endpoint.jump:
        return ""
    hop = Hop.parse(endpoint.jump)
    start = ["ssh", *options(endpoint.key, endpoint.known_hosts), "-p", str(hop.port)]
    return f"{shlex.join(start)} -W {target} {shlex.quote(f'{hop.user}@{hop.address}')}"


def proxy_options(endpoint: Endpoint) -> list[str]:
    """Return ssh's options that lead through the jump host, if there is one."""
    if not endpoint.jump:
        return []
    before, target, after = proxy_command(endpoint).rpartition("%h:%p")
    return ["-o", f"ProxyCommand={before.replace('%', '%%')}{target}{after}"]


def ssh_config(endpoint: Endpoint) -> str:
    """Return the text of an ssh_config that knows the way to the node and nothing else (pyinfra reads it).

    pyinfra goes through a jump host by itself; with a ProxyCommand it never ends, because paramiko
    reads on after the command's end. Its reader has neither quotes nor escapes, so files of the checkout are named
    from there: that is where pyinfra runs. Raises ``SettingsError`` for another file whose path it would misread.
    """
    if not endpoint.jump:
        return ""
    hop = Hop.parse(endpoint.jump)
    key, known_hosts = _for_pyinfra(endpoint.key, _KEY_TOKENS), _for_pyinfra(endpoint.known_hosts, _FILE_ENDS)
    return (
        f"Host {endpoint.address}\n    ProxyJump {hop}\n"
        f"Host {hop.address}\n    IdentityFile {key}\n    IdentitiesOnly yes\n    IdentityAgent none\n"
        f"    UserKnownHostsFile {known_hosts}\n    StrictHostKeyChecking yes\n    ConnectTimeout 20\n"
    )


def _for_pyinfra(path: Path, misread: re.Pattern[str]) -> Path:
    near = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    if bad := misread.search(str(near)):
        raise SettingsError(
            f"behind a jump host, pyinfra cannot read a path with {bad.group()!r} in it: {str(near)!r}",
            hint="copy the file to a path without it (host.key in lab.toml)",
        )
    return near


def git_proxy_options(endpoint: Endpoint, port: int) -> list[str]:
    """Return ssh's options with which git, asked for the node's own address and ``port``, gets there from here."""
    here = endpoint.port_here(port)
    if here != port:
        alias = f"[{endpoint.node_address}]:{port}"
        return ["-o", f"HostName={endpoint.address}", "-o", f"Port={here}", "-o", f"HostKeyAlias={alias}"]
    return proxy_options(endpoint)


def direct(endpoint: Endpoint) -> bool:
    """Return whether this machine reaches the node's own address."""
    return not endpoint.jump and not endpoint.forwards


def ssh_answers(endpoint: Endpoint, port: int, *, timeout: float = 0) -> bool:
    """Return whether an SSH server answers at a port of the node: a forwarded port alone always takes connections.

    ``timeout`` replaces the limit, which is longer behind another host.
    """
    host = endpoint.address if endpoint.forwards else endpoint.node_address
    talk = shlex.split(proxy_command(endpoint, f"{endpoint.node_address}:{port}"))
    if talk:
        try:
            done = process.run(talk, check=False, stdin="", timeout=timeout or ANSWER_TIMEOUT)
        except CommandError:  # the host on the way says nothing
            return False
        return done.stdout.startswith("SSH-")
    limit = timeout or REMOTE.patient().connect
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, endpoint.port_here(port)), timeout=limit) as sock,
        sock.makefile("rb") as lines,
    ):
        return lines.read(4) == b"SSH-"
    return False
