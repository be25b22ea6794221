"""Host keys of nodes and jump hosts: fingerprints, and the refusal of a key that is unknown or has changed."""

import base64
import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path

import paramiko
from paramiko.hostkeys import InvalidHostKey

from hardwatt.connect import ssh_routes
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError, RefusedError


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as OpenSSH prints it (``SHA256:...``)."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def known_keys(file: Path) -> paramiko.HostKeys:
    """Return the keys in a lab's known_hosts; none where the file is missing.

    Raises ``LabError`` naming the first line that cannot be read, or is a marker such as ``@revoked``: paramiko
    knows none, and would trust the key if another line has it too.
    """
    if not file.exists():
        return paramiko.HostKeys()
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        if line.startswith("@"):
            raise LabError(
                f"line {number} of {file} is marked {line.split()[0]}, and the lab's file is of trusted keys alone",
                hint=f"remove the line and every line with that key, then: invoke lab.trust {_host_of(line)}",
            )
    try:
        return paramiko.HostKeys(str(file))
    except InvalidHostKey as error:
        lines = [line.strip() for line in file.read_text().splitlines()]
        number = lines.index(error.line) + 1
        raise LabError(
            f"line {number} of {file} is not a host key", hint=f"sed -i {number}d {shlex.quote(str(file))}"
        ) from None


def _host_of(line: str) -> str:
    """Return the first host that a marked line of known_hosts names, as lab.toml would."""
    names = (line.split() + [""] * 2)[1]
    return shlex.quote(names.split(",")[0].removeprefix("[").partition("]")[0] or "HOST")


def require_known(endpoint: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host, or of the one on the way to it."""
    keys = known_keys(endpoint.known_hosts)
    hops = [ssh_routes.Hop.parse(endpoint.jump)] if endpoint.jump else []
    for address, port in [*((hop.address, hop.port) for hop in hops), (endpoint.address, endpoint.port)]:
        name = ssh_routes.known_name(address, port)
        if keys.lookup(name) is None:
            raise LabError(f"the lab does not know the host key of {name}", hint=f"invoke lab.trust {address}")


def changed(endpoint: Endpoint, offered: str) -> RefusedError:
    """Return the error for a jump host whose key is not the known one."""
    hop = ssh_routes.Hop.parse(endpoint.jump)
    known: Mapping[str, paramiko.PKey] = known_keys(endpoint.known_hosts).lookup(hop.known_as) or {}
    return RefusedError(
        f"the host key of {hop.known_as}, on the way to {endpoint.address}, has changed: known is "
        f"{' and '.join(map(fingerprint, known.values()))}, offered is {offered}",
        hint=f"find out why; if the machine was really made anew: invoke lab.trust {hop.address}",
    )


class Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses a host whose key is not known."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raise ``RefusedError`` with the offered fingerprint and the command that learns the key."""
        raise RefusedError(
            f"the host key of {hostname} is not known; the host offers {fingerprint(key)}",
            # the name as known_hosts has it, [ADDRESS]:PORT, is no host of lab.toml
            hint=f"invoke lab.trust {hostname[1:].partition(']')[0] if hostname.startswith('[') else hostname}",
        )
