"""Reasons why SSH to a node fails, in words, each with the next command."""

import dataclasses
import errno
import re
import shlex
import socket
from pathlib import Path

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from hardwatt.config.settings import Host
from hardwatt.connect import ssh_routes
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError

AGAIN = "then invoke lab.check"
REBOOT = "invoke lab.machine.stop && invoke lab.up"
"""The next command where a machine on this host does not answer: it boots again."""
_SAID = {
    "name": r"[Cc]ould not resolve hostname|Name or service not known",
    "refused": r"Connection refused",
    "silent": r"timed out",
    "route": r"No route to host|Network is unreachable",
    "login": r"Permission denied \(|Too many authentication failures",
    "forwarding": r"administratively prohibited",
}
"""How OpenSSH reports each reason on the route through a jump host."""
_BEHIND = re.compile(r"open failed|stdio forwarding failed")
"""OpenSSH reached the jump host, and the jump host did not reach the node."""
_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}


@dataclasses.dataclass(frozen=True)
class Place:
    """An SSH server that a connection needs: the host of lab.toml, or its jump host."""

    user: str
    address: str
    port: int
    setting: str = "address"
    """Key in [host] of lab.toml that names the server."""
    key: Path | None = None
    through: str = ""
    """Jump host on the route to this server; empty: none."""

    @classmethod
    def of(cls, endpoint: Endpoint) -> "Place":
        """Return the node's own SSH server."""
        return cls(endpoint.user, endpoint.address, endpoint.port, key=endpoint.key, through=endpoint.jump)

    @classmethod
    def named(cls, host: Host) -> "Place":
        """Return the server that [host] of lab.toml names."""
        return cls(host.user, host.address, host.port)

    @classmethod
    def on_the_way(cls, endpoint: Endpoint) -> "Place":
        """Return the SSH server of the node's jump host."""
        hop = ssh_routes.Hop.parse(endpoint.jump)
        return cls(hop.user, hop.address, hop.port, "jump", endpoint.key)

    def __str__(self) -> str:
        return str(ssh_routes.Hop(self.user, self.address, self.port))


def explained(endpoint: Endpoint, error: Exception, said: str = "") -> LabError:
    """Return the error for a connection that failed.

    Args:
        endpoint: The node that was to be reached.
        error: What paramiko or the socket raised.
        said: What OpenSSH printed on the route through a jump host.
    """
    place, kind = Place.of(endpoint), _kind(error)
    if endpoint.jump:
        kind = next((kind for kind, pattern in _SAID.items() if re.search(pattern, said)), kind if not said else "")
        if said and not _BEHIND.search(said):
            place = Place.on_the_way(endpoint)
    explanation = trouble(place, kind, error, said)
    if endpoint.kind != "ssh":
        return LabError(explanation.message, hint=REBOOT)
    if place.setting == "jump":
        explanation.message += f" (the jump host of {endpoint.user}@{endpoint.address}:{endpoint.port})"
    return explanation


def mute(endpoint: Endpoint, seconds: float) -> LabError:
    """Return the error for a node that took a connection and did not go on with it."""
    through = f" through {endpoint.jump}" if endpoint.jump else ""
    return LabError(
        f"no SSH to {Place.of(endpoint)}{through}: no answer within {seconds:.0f} s", hint=by_hand(endpoint)
    )


def broken(endpoint: Endpoint, error: Exception) -> LabError:
    """Return the error for a connection that broke off while it was used."""
    return LabError(f"SSH to {Place.of(endpoint)} broke off: {error}", hint=f"invoke lab.check; {by_hand(endpoint)}")


def garbled(endpoint: Endpoint) -> LabError:
    """Return the error for a node that answers something else than what it was asked."""
    return LabError(f"the answer of {Place.of(endpoint)} is not understood", hint=by_hand(endpoint))


def by_hand(endpoint: Endpoint) -> str:
    """Return the next command where a node is silent: OpenSSH, which shows how far it gets."""
    jump = ["-J", endpoint.jump] if endpoint.jump else []
    argv = [
        "ssh",
        "-v",
        "-i",
        str(endpoint.key),
        *jump,
        "-p",
        str(endpoint.port),
        f"{endpoint.user}@{endpoint.address}",
        "true",
    ]
    return f"{shlex.join(argv)}; for a slow host, timeout_factor in [host] of lab.toml"


def failed(place: Place, error: Exception) -> LabError:
    """Return the error for a server that could not be connected to at all."""
    return trouble(place, _kind(error), error)


def bad_key(endpoint: Endpoint, error: Exception) -> LabError:
    """Return the error for a private key file that cannot be used."""
    # a key that is encrypted is the one thing for which cryptography raises TypeError
    encrypted = isinstance(error, TypeError)
    reason = "is encrypted, and no passphrase is asked for" if encrypted else f"cannot be used: {error}"
    files = f"{shlex.quote(str(endpoint.key))} {shlex.quote(f'{endpoint.key}.pub')}"
    remedy = f'set key = "" in [host] of lab.toml, which uses the lab\'s own key; {AGAIN}'
    anew = f"rm -f {files} && invoke lab.down && invoke lab.up"
    return LabError(
        f"no SSH to {Place.of(endpoint)}: the key {endpoint.key} {reason}",
        hint=remedy if endpoint.kind == "ssh" else anew,
    )


def _kind(error: Exception) -> str:
    if isinstance(error, NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    if isinstance(error, socket.gaierror):
        return "name"
    if isinstance(error, paramiko.AuthenticationException):
        return "login"
    if isinstance(error, TimeoutError):
        return "silent"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, OSError) and error.errno in _ROUTE:
        return "route"
    if "protocol version" in str(error):
        return "banner"
    return "mute" if "protocol banner" in str(error) else ""


def trouble(place: Place, kind: str, error: Exception, said: str = "") -> LabError:
    """Return the error for one reason (``kind``); an unknown reason has the words of OpenSSH or of ``error``."""
    where = f"{place.setting} in [host] of lab.toml"
    port = where if place.setting == "jump" else "port in [host] of lab.toml"
    reason, remedy = {
        "name": (
            f"the name {place.address} does not resolve",
            f"correct {where}, or write the IP address there; {AGAIN}",
        ),
        "refused": (
            "connection refused, nothing listens at this port",
            f"start sshd on {place.address}, or correct {port}; {AGAIN}",
        ),
        "silent": (
            str(error) if str(error).startswith("no host key within") else "no answer in time",
            f"check power, network and firewall of {place.address}, and {where}; {AGAIN}",
        ),
        "route": (
            "no route to this address",
            f"`ip route get {place.address}` shows the route; correct it, or {where}; {AGAIN}",
        ),
        "login": (f"the host refuses the login of {place.user} with the key {place.key}", _copy(place)),
        "mute": (
            "the connection is taken, and no SSH server greets",
            f"check sshd on {place.address}, and {port}; {AGAIN}",
        ),
        "banner": (
            "something accepts connections there, and it is not an SSH server",
            f"correct {port}; {AGAIN}",
        ),
        "forwarding": (
            "the jump host forbids forwarding",
            f"set AllowTcpForwarding yes in sshd_config of {ssh_routes.Hop.parse(place.through).address}; {AGAIN}"
            if place.through
            else AGAIN,
        ),
    }.get(kind, (_printable(said or str(error)), f"check address, port, user and key in [host] of lab.toml; {AGAIN}"))
    through = f" through {place.through}" if place.through else ""
    detail = f" ({_printable(said)})" if said and kind else ""
    return LabError(f"no SSH to {place}{through}: {reason}{detail}", hint=remedy)


def _printable(text: str) -> str:
    """Return the text without control characters: some of it may be the server's."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _copy(place: Place) -> str:
    """Return the command that lets the lab's key in; it asks for the password of the user there."""
    jump = ["-o", f"ProxyJump={place.through}"] if place.through else []
    command = ["ssh-copy-id", "-i", f"{place.key}.pub", "-p", str(place.port), *jump, f"{place.user}@{place.address}"]
    return f"{shlex.join(command)} && invoke lab.check"
