"""The virtual machine's disk image: a fresh installation of this host's distribution with a kernel of its own.

It is made without root: mmdebstrap in a user namespace, a file system by ``mkfs.ext4 -d`` in
another one, and GRUB for a BIOS from two of its own pieces. It is kept in the user's cache,
keyed by its recipe; labs take a copy (``vmdisk``). Nothing of Kubernetes is in it.
"""

import dataclasses
import hashlib
import io
import os
import struct
import tarfile
import uuid
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.limits import BUILD
from hardwatt.machines import rootfs
from hardwatt.machines.embedded.node_files import MASKED, SSHD, SYSTEM_CONF
from hardwatt.machines.host_facts import search_path
from hardwatt.machines.rootfs import Sources

RECIPE = 1
"""Raised with every change below that the text of the recipe does not show."""

PACKAGES = (
    *rootfs.PACKAGES,
    "udev",
    "e2fsprogs",
    "grub-pc",  # update-grub and grub-install are real in there
    "firewalld",  # on, as a hardened host has it
    "polkitd",  # firewall-cmd asks it
)
KERNELS = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
"""The kernel for virtual machines, by the ID of os-release."""

DISK = 12 * 1024**3
"""Bytes of the sparse disk: about 2.5 GB are used by a node with all its images."""
OFFSET = 2048 * 512
"""Bytes before the one partition."""
_SECTOR = 512
UUID = uuid.uuid5(uuid.NAMESPACE_DNS, "root.hardwatt.invalid")
"""Of the root file system: the same in every image, so that images of one recipe do not differ in it."""

NETWORK = """\
[Match]
Name=en* eth*

[Network]
Address={address}/24
Gateway={gateway}
DNS={dns}
LinkLocalAddressing=no
IPv6AcceptRA=no

[Link]
RequiredForOnline=routable
"""


@dataclasses.dataclass(frozen=True)
class Addresses:
    """QEMU's user network as the guest sees it; every virtual machine has one of its own, and the same."""

    guest: str = "10.0.2.15"
    host: str = "10.0.2.2"
    """The loopback of the machine that QEMU runs on."""
    dns: str = "10.0.2.3"


USER_NETWORK = Addresses()


@dataclasses.dataclass(frozen=True)
class Image:
    """A finished image in the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def release(self) -> str:
        """The kernel's release, as ``uname -r`` says it."""
        return (self.folder / "release").read_text().strip()

    def exists(self) -> bool:
        return self.folder.is_dir()


def key(distribution: str, codename: str) -> str:
    """Return the name of the image in the cache: the same recipe gives the same name."""
    files = "".join(f"{path}{mode:o}{text}" for path, (mode, text) in sorted(_files().items()))
    hooks = "".join(_hooks())
    text = "\n".join([str(RECIPE), codename, KERNELS[distribution], *PACKAGES, *MASKED, files, hooks, _MAKE_DISK])
    return f"{codename}-x86_64-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def image(cache: Path, distribution: str, codename: str) -> Image:
    """Return the image, whether it exists or not."""
    return Image(cache / "vm" / key(distribution, codename))


def build(target: Image, distribution: str, sources: Sources, *, log: Path) -> bool:
    """Make the image unless it is there; return whether it was made."""

    def make(work: Path) -> Path:
        archive = work / "root.tar"
        kernel = KERNELS[distribution]
        rootfs.bootstrap(
            work, sources, log, lambda options, auth: build_command(archive, kernel, sources, options, auth),
            target.folder.parent,
        )  # fmt: skip
        _overlay(work / "overlay.tar", sources)
        script = _MAKE_DISK.format(uuid=UUID, offset=OFFSET, size=DISK, blocks=f"{(DISK - OFFSET) // 1024}K")
        command = [*rootfs.with_us("KILL"), *rootfs.as_owner_of_all(), "sh", "-ec", script, "sh", str(work)]
        process.run(command, env={"PATH": search_path()}, log=log, timeout=BUILD.whole)
        made = work / "image"
        _write_boot_sectors(made)
        return made

    return rootfs.cached(target.folder, make)


def build_command(target: Path, kernel: str, sources: Sources, options: Path, copy_auth: bool) -> list[str]:
    """Return the mmdebstrap command that writes the tree as an archive, with or without root."""
    command = rootfs.build_command(target, sources, options, copy_auth)
    mode = "root" if os.geteuid() == 0 else "unshare"
    changed = {"--mode=root": f"--mode={mode}"}
    start = [changed.get(part, part) for part in command if not part.startswith(("--include=", "--customize-hook="))]
    at = start.index("--variant=minbase")
    hooks = [f"--customize-hook={hook}" for hook in _hooks()]
    # apt's lists stay, so that the guest's first look at them fetches what is new alone
    keep = "--skip=cleanup/apt"
    return [*start[:at], keep, f"--include={','.join([*PACKAGES, kernel])}", *hooks, *start[at:]]


def _hooks() -> list[str]:
    return [
        'mkdir -p "$1"/boot/grub/i386-pc "$1"/etc/default/grub.d',
        'cp "$1"/usr/lib/grub/i386-pc/*.mod "$1"/usr/lib/grub/i386-pc/*.lst "$1"/boot/grub/i386-pc/',
        'chroot "$1" grub-mkimage -O i386-pc -p "(hd0,msdos1)/boot/grub" -o /boot/grub/i386-pc/core.img '
        "biosdisk part_msdos ext2",
        'chroot "$1" systemctl enable systemd-networkd.service firewalld.service',
        # what the headers of this kernel depend on is installed (a compiler takes minutes to unpack by emulation), and
        # they themselves lie in apt's cache: the repository may have moved on when a node asks for them
        'chroot "$1" apt-get clean',
        'r=$(basename "$1"/boot/vmlinuz-*); export DEBIAN_FRONTEND=noninteractive; '
        'get() { chroot "$1" apt-get -y --no-install-recommends "$2" install "linux-headers-${r#vmlinuz-}"; }; '
        'more=$(get "$1" --simulate | sed -n "s/^Inst \\([^ ]*\\) .*/\\1/p" | grep -v ^linux-headers); '
        'chroot "$1" apt-get -y --no-install-recommends install $more && chroot "$1" apt-get clean && '
        'get "$1" --download-only',
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/hosts "$1"/etc/apt/auth.conf',
        'rm -rf "$1"/etc/apt/auth.conf.d "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
        # an emulated processor takes half a minute for it
        'chroot "$1" apt-cache gencaches',
    ]


_MAKE_DISK = """\
cd "$1"
mkdir tree image
tar --numeric-owner --exclude='./dev/*' -xpf root.tar -C tree
tar --numeric-owner -xpf overlay.tar -C tree
cp tree/boot/vmlinuz-* image/vmlinuz
basename tree/boot/vmlinuz-* | sed s/^vmlinuz-// > image/release
cp tree/usr/lib/grub/i386-pc/boot.img tree/boot/grub/i386-pc/core.img image/
truncate -s {size} image/disk.raw
mkfs.ext4 -q -F -U {uuid} -L hardwatt -E offset={offset},lazy_itable_init=0,lazy_journal_init=0 \\
  -d tree image/disk.raw {blocks}
rm -rf tree root.tar
"""
"""Shell text that makes the file system; it runs as root, or in a user namespace as what is root there."""


def _files() -> dict[str, tuple[int, str]]:
    """Return the image's own files: path to mode and text. What tells one lab from another is not among them."""
    net = USER_NETWORK
    return {
        "etc/fstab": (0o644, f"UUID={UUID} / ext4 errors=remount-ro 0 1\n"),
        "etc/resolv.conf": (0o644, f"nameserver {net.dns}\noptions timeout:2 attempts:2\n"),
        "etc/ssh/sshd_config.d/10-hardwatt.conf": (0o644, SSHD),
        "etc/systemd/system.conf.d/10-hardwatt.conf": (0o644, SYSTEM_CONF),
        "etc/systemd/network/10-hardwatt.network": (
            0o644, NETWORK.format(address=net.guest, gateway=net.host, dns=net.dns),
        ),
    }  # fmt: skip


def reachable(option: str) -> str:
    """Return one of apt's settings as the guest can use it: this machine's loopback is another address there."""
    for here in ("//127.0.0.1", "//localhost"):
        option = option.replace(here, f"//{USER_NETWORK.host}")
    return option


def _overlay(target: Path, sources: Sources) -> None:
    """Write the image's own files as an archive in which everything is root's."""
    files = _files()
    files["etc/apt/apt.conf.d/50hardwatt"] = (0o644, "".join(f"{reachable(line)}\n" for line in sources.options))
    with tarfile.open(target, "w") as archive:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for path, (mode, text) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        for unit in MASKED:
            link = tarfile.TarInfo(f"etc/systemd/system/{unit}")
            link.type, link.linkname = tarfile.SYMTYPE, "/dev/null"
            archive.addfile(link)


def _write_boot_sectors(folder: Path) -> None:
    """Make the disk bootable: GRUB's first stage and the partition table in sector 0, its core after it."""
    boot, core = (folder / "boot.img").read_bytes(), (folder / "core.img").read_bytes()
    with (folder / "disk.raw").open("r+b") as disk:
        disk.write(first_sector(boot))
        disk.write(core)
    for name in ("boot.img", "core.img"):
        (folder / name).unlink()


def first_sector(boot: bytes) -> bytes:
    """Return sector 0: 440 bytes of GRUB's boot.img, a signature, and one active Linux partition to the disk's end."""
    start, count = OFFSET // _SECTOR, (DISK - OFFSET) // _SECTOR
    partition = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", start, count)
    return boot[:440] + struct.pack("<IH", UUID.time_low, 0) + partition + bytes(48) + b"\x55\xaa"
