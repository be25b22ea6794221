"""Names and keys of a lab's machine, made once and known from birth."""

import hashlib
import os
import tempfile
from pathlib import Path

from hardwatt import door
from hardwatt.files import sync_folder, write_atomic
from hardwatt.lab import Lab

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
        door.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"hardwatt {lab.name} {name}", "-f", made])
        made.with_name(f"{name}.pub").replace(public)
        made.replace(path)
    sync_folder(lab.keys)
    return path


def learn(lab: Lab, address: str, public_key: str) -> None:
    """Write the machine's host key into the lab's known hosts, in place of an older one of this address."""
    host = f"{address},[{address}]:{GIT_PORT}"
    kept = [line for line in _known(lab) if address not in _hosts(line)]
    key = " ".join(public_key.split()[:2])
    write_atomic(lab.known_hosts, "\n".join([*kept, f"{host} {key}"]) + "\n")


def forget(lab: Lab, address: str) -> None:
    """Remove the lines of an address from the lab's known hosts."""
    if lab.known_hosts.exists():
        kept = [line for line in _known(lab) if address not in _hosts(line)]
        write_atomic(lab.known_hosts, "".join(f"{line}\n" for line in kept))


def _known(lab: Lab) -> list[str]:
    return lab.known_hosts.read_text().splitlines() if lab.known_hosts.exists() else []


def _hosts(line: str) -> list[str]:
    return line.split(" ", 1)[0].split(",")
