"""The keys of the lab's git server: who they are, what they may do, and how git uses them."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploys import contract
from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.host_keys import known_keys
from hardwatt.connect.ssh_routes import quoted
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic

PORT = 2222
ROOT = "/srv/git"
ACCESS: dict[str, dict[str, str]] = {
    "controller": {"lab": "rw", "workload": "rw"},
    "flux": {"lab": "ro", "workload": "ro"},
    "runner": {"workload": "ro"},
}
"""Key name -> repository -> what it may do."""


def path(lab: Lab, name: str) -> Path:
    """Return where the private key ``name`` of the git server lies."""
    return lab.keys / f"git-{name}"


def ensure(lab: Lab) -> dict[str, str]:
    """Make the keys that are missing; return name -> public key (``ssh-ed25519 AAAA...``)."""
    lab.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {name: _public(path(lab, name)) for name in ACCESS}


def _public(private: Path) -> str:
    if not private.exists():
        text = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        write_atomic(private, text, mode=0o600)
    key = paramiko.Ed25519Key.from_private_key_file(str(private))
    return f"{key.get_name()} {key.get_base64()}"


def node_data(lab: Lab) -> contract.Git:
    """Return the host data that ``deploys/git_server.py`` reads; makes missing keys."""
    return contract.Git(git_keys=ensure(lab), git_access=ACCESS, git_port=PORT)


@dataclasses.dataclass(frozen=True)
class Remote:
    """The git server of a node, as controller and cluster both reach it."""

    address: str
    known_host: str
    """The line that an SSH client must know: ``[ADDRESS]:PORT ssh-ed25519 AAAA...``."""

    @property
    def host(self) -> str:
        return f"{self.address}:{PORT}"

    def url(self, repository: str) -> str:
        return f"ssh://git@{self.host}{ROOT}/{repository}.git"


def remote(endpoint: Endpoint) -> Remote:
    """Return the git server of a node, with the host key that the lab knows for the node.

    Raises ``LabError`` where no ed25519 key of the node is known.
    """
    name = endpoint.address if endpoint.port == 22 else f"[{endpoint.address}]:{endpoint.port}"
    known = known_keys(endpoint.known_hosts).lookup(name)
    key = known.get("ssh-ed25519") if known else None
    if key is None:
        raise LabError(
            f"no ed25519 host key of {name} is known in {endpoint.known_hosts}",
            hint=f"invoke lab.trust {endpoint.address}",
        )
    address = endpoint.node_address
    return Remote(address, f"[{address}]:{PORT} ssh-ed25519 {key.get_base64()}")


def ssh_command(key: Path, known_hosts: Path, algorithm: str = "ssh-ed25519", way: Sequence[str] = ()) -> str:
    """Return GIT_SSH_COMMAND for one key: that key alone, the known host key alone, no questions.

    ``way`` are options that lead to a node that is not reached directly (``hardwatt.connect.ssh_routes``).
    """
    options = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": quoted(key),
        "UserKnownHostsFile": quoted(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlgorithms": "rsa-sha2-512,rsa-sha2-256" if algorithm == "ssh-rsa" else algorithm,
        "BatchMode": "yes",
        "ConnectTimeout": "10",
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return shlex.join(["ssh", "-F", "none", *flags, *way])
