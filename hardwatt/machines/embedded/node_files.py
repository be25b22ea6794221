"""Files that the machine writes into a node's tree before the boot: name, keys, network and first program."""

import dataclasses
from pathlib import Path

from hardwatt.core.errors import RefusedError
from hardwatt.core.files import write_atomic
from hardwatt.machines.embedded.network import NODE_LINK, Addresses
from hardwatt.machines.embedded.nspawn import INIT

_INIT = """\
#!/bin/sh
# The first program of this machine. systemd-nspawn hands cgroup v1 controllers over read-only;
# kubelet and containerd need them writable before the first unit starts.
for controller in /sys/fs/cgroup/*; do
    if mountpoint -q "$controller"; then mount -o remount,bind,rw "$controller"; fi
done
ip link set {link} up
ip address replace {address}/{prefix} dev {link}
ip route replace default via {gateway}
exec /sbin/init
"""

SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 100
MaxSessions 100
"""

SYSTEM_CONF = """\
[Manager]
DefaultTimeoutStopSec=5s
"""

# Work by the clock that would be measured as the cluster's, and consoles that nobody looks at.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "motd-news.timer",
    "console-getty.service",
    "getty.target",
)
_OWN_NETWORK = (  # the machine's first program sets the addresses up
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
)


FOLDERS = (
    str(Path(INIT.lstrip("/")).parent), "etc/ssh/sshd_config.d", "etc/systemd/system", "etc/systemd/system.conf.d",
    "etc/apt", "root/.ssh",
)  # fmt: skip
"""Folders of the tree, with those above them, that files are written to."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Name, network and keys that turn a fresh tree into this lab's node."""

    hostname: str
    addresses: Addresses
    host_key: str
    """Private host key, OpenSSH format."""
    host_public_key: str
    authorized_keys: str


def write(root: Path, who: Identity) -> None:
    """Write the machine's files into the tree; the deploys' own files are not touched."""
    net = who.addresses
    require_own_folders(root)
    init = _INIT.format(link=NODE_LINK, address=net.node, prefix=net.prefix, gateway=net.host)
    write_atomic(root / INIT.lstrip("/"), init, mode=0o755)
    write_atomic(root / "etc/hostname", f"{who.hostname}\n")
    write_atomic(root / "etc/ssh/ssh_host_ed25519_key", who.host_key, mode=0o600)
    write_atomic(root / "etc/ssh/ssh_host_ed25519_key.pub", who.host_public_key)
    write_atomic(root / "etc/ssh/sshd_config.d/10-hardwatt.conf", SSHD)
    write_atomic(root / "etc/systemd/system.conf.d/10-hardwatt.conf", SYSTEM_CONF)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    write_atomic(ssh / "authorized_keys", who.authorized_keys, mode=0o600)
    _once(root / "etc/hosts", f"127.0.0.1 localhost\n{net.node} {who.hostname}\n::1 localhost ip6-localhost\n")
    # The host's end answers "refused" at once: names outside are not found, without waiting, and
    # CoreDNS has a server to forward to that is not itself.
    _once(root / "etc/resolv.conf", f"nameserver {net.host}\noptions timeout:1 attempts:1\n")
    _once(root / "etc/apt/sources.list", "# This node installs from its lab's mirror.\n")
    for unit in (*MASKED, *_OWN_NETWORK):
        _mask(root / "etc/systemd/system" / unit)


def require_own_folders(root: Path) -> None:
    """Refuse a tree in which a folder of our files is a link: whoever is root in the node chose where it leads.

    The node does not run while its tree is written. Raises ``RefusedError``.
    """
    for folder in FOLDERS:
        path = root
        for part in Path(folder).parts:
            path = path / part
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise RefusedError(
                    f"{path} of the node is a link or a file: files would be written through it as this host's root",
                    hint="invoke lab.down, then lab.up: the node is made anew",
                )


def _once(path: Path, text: str) -> None:
    """Write a file that is the node's own from then on."""
    if not path.exists() and not path.is_symlink():
        write_atomic(path, text)


def _mask(path: Path) -> None:
    if not path.is_symlink() and not path.exists():
        path.symlink_to("/dev/null")
