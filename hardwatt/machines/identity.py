"""Names and keys of a lab's machine, made once and known from birth."""

import hashlib
import os
import tempfile
from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.connect.ssh_routes import known_name
from hardwatt.core import process
from hardwatt.core.files import sync_folder, write_atomic

CLIENT_KEY = "ssh"
HOST_KEY = "host_ed25519"
GIT_PORT = 2222
"""The node's second sshd serves git under the same host key."""


def ident(lab: Lab) -> str:
    """Return eight characters that tell this lab from every other one on the host.

    They come from the lab's folder: another checkout's lab of the same name has other ones.
    """
    return hashlib.sha256(os.fsencode(lab.dir)).hexdigest()[:8]


def ensure_key(lab: Lab, name: str) -> Path:
    """Make an Ed25519 key pair in the lab's keys unless it is there; return the private one's path."""
    path = lab.keys / name
    public = path.with_name(f"{name}.pub")
    lab.keys.mkdir(parents=True, exist_ok=True)
    lab.keys.chmod(0o700)
    if path.exists() and public.exists():
        return path
    with tempfile.TemporaryDirectory(prefix=".new-", dir=lab.keys) as folder:
        made = Path(folder, name)
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"hardwatt {lab.name} {name}", "-f", made])
        made.with_name(f"{name}.pub").replace(public)
        made.replace(path)
    sync_folder(lab.keys)
    return path


def learn(lab: Lab, address: str, public_key: str, *, port: int = 22) -> None:
    """Write a host key into the lab's known hosts, in place of an older one of this address and port.

    The node's git server answers on a port of its own, with the same key.
    """
    name = known_name(address, port)
    kept = [line for line in _known(lab) if name not in _hosts(line)]
    names = dict.fromkeys([name, known_name(address, GIT_PORT)])
    key = " ".join(public_key.split()[:2])
    write_atomic(lab.known_hosts, "".join(f"{line}\n" for line in [*kept, f"{','.join(names)} {key}"]))


def forget(lab: Lab, address: str) -> None:
    """Remove the lines of an address from the lab's known hosts; the file goes with the last line."""
    kept = [line for line in _known(lab) if address not in _hosts(line)]
    if kept:
        write_atomic(lab.known_hosts, "".join(f"{line}\n" for line in kept))
    else:
        lab.known_hosts.unlink(missing_ok=True)


def _known(lab: Lab) -> list[str]:
    return lab.known_hosts.read_text().splitlines() if lab.known_hosts.exists() else []


def _hosts(line: str) -> list[str]:
    return line.split(" ", 1)[0].split(",")
