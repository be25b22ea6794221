"""One lab's disk: a sparse copy of the image, with what tells this machine from every other one.

The files are written into the copy's file system by ``debugfs`` (e2fsprogs), which mounts nothing
and needs no root.
"""

import dataclasses
import tempfile
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic
from hardwatt.machines.host_facts import search_path
from hardwatt.machines.vm.image import OFFSET, USER_NETWORK, UUID, Image

TCG_ARGUMENTS = ("tsc=reliable", "mitigations=off")
"""Kernel arguments under emulation alone: without the first the clock falls back to a slow one, and
mitigations of processor faults that an emulated processor has not are paid for in emulation."""
V1_ARGUMENTS = ("systemd.unified_cgroup_hierarchy=0", "systemd.legacy_systemd_cgroup_controller=1")
"""What makes systemd mount cgroup v1 and nothing else, as RHEL 8 does by default (systemd(1))."""

_GRUB = """\
set timeout=0
linux /boot/vmlinuz-{release} root=UUID={uuid} ro {arguments}
initrd /boot/initrd.img-{release}
boot
"""
_DEFAULTS = """\
# Written once when the machine was made; update-grub reads it.
GRUB_TIMEOUT=0
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="{arguments}"
"""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Name, keys and kernel arguments that turn a copy of the image into this lab's machine."""

    hostname: str
    machine_id: str
    """32 hexadecimal digits."""
    host_key: str
    """Private host key, OpenSSH format."""
    host_public_key: str
    authorized_keys: str
    arguments: tuple[str, ...]
    """Kernel arguments."""


def arguments(*, emulated: bool, cgroup: str) -> tuple[str, ...]:
    """Return the kernel arguments of a fresh machine."""
    return (
        "console=ttyS0",
        *(TCG_ARGUMENTS if emulated else ()),
        *(V1_ARGUMENTS if cgroup == "v1" else ()),
    )


def files(who: Identity, release: str) -> dict[str, tuple[int, str]]:
    """Return the machine's own files: path to mode and text."""
    text = " ".join(who.arguments)
    hosts = f"127.0.0.1 localhost\n{USER_NETWORK.guest} {who.hostname}\n::1 localhost ip6-localhost\n"
    return {
        "/etc/hostname": (0o644, f"{who.hostname}\n"),
        "/etc/hosts": (0o644, hosts),
        "/etc/machine-id": (0o444, f"{who.machine_id}\n"),
        "/etc/ssh/ssh_host_ed25519_key": (0o600, who.host_key),
        "/etc/ssh/ssh_host_ed25519_key.pub": (0o644, who.host_public_key),
        "/root/.ssh/authorized_keys": (0o600, who.authorized_keys),
        "/boot/grub/grub.cfg": (0o644, _GRUB.format(release=release, uuid=UUID, arguments=text)),
        "/etc/default/grub.d/10-machine.cfg": (0o644, _DEFAULTS.format(arguments=text)),
    }


def make(target: Path, image: Image, who: Identity) -> bool:
    """Make the lab's disk unless it is there; return whether it was made. A half-made one is made anew."""
    if target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o700)  # it holds the host key
    fresh = target.with_name(f"{target.name}.new")
    process.run(["cp", "--sparse=always", "--reflink=auto", image.disk, fresh])
    write_into(fresh, files(who, image.release))
    fresh.replace(target)
    return True


def write_into(disk: Path, wanted: dict[str, tuple[int, str]]) -> None:
    """Write files, as root's, into the file system on a disk that nothing else uses; their folders are there.

    Raises ``LabError`` where one of them is not there afterwards.
    """
    where = f"{disk.name}?offset={OFFSET}"  # from its own folder: debugfs would end a path at its first question mark
    with tempfile.TemporaryDirectory(prefix=".identity-", dir=disk.parent) as folder:
        lines: list[str] = []
        for number, (path, (mode, text)) in enumerate(wanted.items()):
            source = Path(folder, str(number))
            write_atomic(source, text, mode=0o600)
            lines += [
                f"rm {path}",
                f"write {source.relative_to(disk.parent)} {path}",
                f"set_inode_field {path} mode 0100{mode:o}",
            ]
            lines += [f"set_inode_field {path} {field} 0" for field in ("uid", "gid")]
        commands = Path(folder, "commands")
        write_atomic(commands, "\n".join(lines) + "\n")
        process.run(["debugfs", "-w", "-f", commands, where], cwd=disk.parent, env={"PATH": search_path()})
    for path, (_, text) in wanted.items():
        shown = process.run(["debugfs", "-R", f"cat {path}", where], cwd=disk.parent, env={"PATH": search_path()})
        if shown.stdout != text:
            raise LabError(f"{path} could not be written into {disk}", hint="free some space, then invoke lab.up")
