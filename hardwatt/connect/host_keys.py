"""Host keys of nodes and jump hosts: fingerprints, and the refusal of a key that is unknown or has changed."""

import base64
import hashlib
from collections.abc import Mapping

import paramiko

from hardwatt.connect import ssh_routes
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError, RefusedError


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as OpenSSH prints it (``SHA256:...``)."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def require_known(endpoint: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host, or of the one on the way to it."""
    keys = paramiko.HostKeys(str(endpoint.known_hosts)) if endpoint.known_hosts.exists() else paramiko.HostKeys()
    hops = [ssh_routes.Hop.parse(endpoint.jump)] if endpoint.jump else []
    for address, port in [*((hop.address, hop.port) for hop in hops), (endpoint.address, endpoint.port)]:
        name = ssh_routes.known_name(address, port)
        if keys.lookup(name) is None:
            raise LabError(f"the lab does not know the host key of {name}", hint=f"invoke lab.trust {address}")


def changed(endpoint: Endpoint, offered: str) -> RefusedError:
    """Return the error for a jump host whose key is not the known one."""
    hop = ssh_routes.Hop.parse(endpoint.jump)
    known: Mapping[str, paramiko.PKey] = paramiko.HostKeys(str(endpoint.known_hosts)).lookup(hop.known_as) or {}
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
