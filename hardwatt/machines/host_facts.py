"""Facts about the host that the embedded node stands on, gathered and never assumed.

Everything is read below a root folder, so that a test can construct a host: one with
systemd as first process, with cgroup v2, with NetworkManager or with Docker.
"""

import dataclasses
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import CommandError
from hardwatt.core.problem import Problem, combined, error

TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "flock": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "apt-get": "apt",
}
"""Programs that the embedded node needs on its host, and their packages."""

MIN_DISK = 8 * 1024**3
"""Bytes: root filesystem with images and etcd 3.3 GB, its archive, and room for a day of samples."""
MIN_MEMORY = 3 * 1024**3
"""Bytes: control plane, Flux and Prometheus take about 2 GB."""
_UNFIT = frozenset({"overlay", "nfs", "nfs4", "9p", "drvfs", "cifs", "smb3", "vfat", "exfat", "fuseblk", "ecryptfs"})
"""File systems without owners and device nodes, or on which overlayfs (containerd's images) does not work."""
ELSEWHERE = "use a host over SSH: [host] in lab.toml (see lab.example.toml)"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup hierarchy of the host."""

    mount: Path
    controllers: tuple[str, ...]
    """Names as in /proc/self/cgroup: controllers, ``name=systemd``, or none for the unified tree."""

    @property
    def unified(self) -> bool:
        return not self.controllers


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """Facts of the host that machines depend on."""

    system: str
    architecture: str
    is_root: bool
    can_sudo: bool
    systemd: bool
    """systemd is the first process, so that a service of its own keeps the machine."""
    cgroup_version: int
    hierarchies: tuple[Hierarchy, ...]
    cgroup_namespaces: bool
    network_manager: bool
    networkd: bool
    docker: bool
    firewalld: bool
    codename: str
    """Release of the distribution, such as ``bookworm``; empty where os-release names none."""
    missing: tuple[str, ...]
    """Programs of ``TOOLS`` that are not there."""
    devices: tuple[str, ...]
    """Device nodes that the machine gets from the host."""
    filesystem: str
    """Type of the file system that the lab lies on."""
    disk_free: int
    """Bytes free where the lab lies."""
    memory: int
    """Bytes of memory."""

    def embedded_problems(self) -> list[Problem]:
        """Return everything that keeps the embedded node from this host; empty: it can stand here."""
        if self.system != "Linux":
            return [error("os", f"the embedded node needs Linux, and this is {self.system}", ELSEWHERE)]
        return list(self._problems_on_linux())

    def _problems_on_linux(self) -> Iterator[Problem]:
        if self.architecture != "x86_64":
            text = f"the embedded node is tested on x86_64 only, and this is {self.architecture}"
            yield error("arch", text, ELSEWHERE)
        if not self.is_root and not self.can_sudo:
            text = "the embedded node needs root, and sudo does not let us without a password"
            yield error("root", text, f"run `sudo -v` first, or {ELSEWHERE}")
        if self.missing:
            packages = " ".join(sorted({TOOLS[tool] for tool in self.missing}))
            text = f"missing on this host: {', '.join(self.missing)}"
            yield error("tools", text, f"make setup (Debian and Ubuntu: packages {packages})")
        if not self.hierarchies:
            yield error("cgroup", "no cgroup hierarchy is mounted on this host", "mount cgroup2 on /sys/fs/cgroup")
        if not self.cgroup_namespaces:
            yield error("cgroup-namespaces", "this kernel has no cgroup namespaces (CONFIG_CGROUPS)", ELSEWHERE)
        if self.filesystem in _UNFIT:
            text = f"the lab lies on {self.filesystem}, which cannot hold a node's files and images"
            yield error("filesystem", text, "put the checkout on a disk of this host (ext4, xfs, btrfs)")
        if self.disk_free < MIN_DISK:
            text = f"{_gib(self.disk_free)} free on disk, and a lab needs {_gib(MIN_DISK)}"
            yield error("disk", text, "free some space, or invoke lab.down --caches")
        if self.memory < MIN_MEMORY:
            text = f"{_gib(self.memory)} of memory, and a lab needs {_gib(MIN_MEMORY)}"
            yield error("memory", text, ELSEWHERE)


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"


def gather(place: Path, *, root: Path = Path("/")) -> HostFacts:
    """Return the facts of this host; ``place`` is where the lab will lie."""
    names = release(root)
    hierarchies = _hierarchies(root)
    return HostFacts(
        system=platform.system(),
        architecture=platform.machine(),
        is_root=os.geteuid() == 0,
        can_sudo=os.geteuid() != 0 and _can_sudo(),
        systemd=(root / "run/systemd/system").is_dir(),
        cgroup_version=1 if any(not hierarchy.unified for hierarchy in hierarchies) else 2,
        hierarchies=hierarchies,
        cgroup_namespaces=(root / "proc/self/ns/cgroup").exists() or (root / "proc/self/ns/cgroup").is_symlink(),
        network_manager=(root / "run/NetworkManager").is_dir(),
        networkd=(root / "run/systemd/netif/state").exists(),
        docker=(root / "run/docker.sock").exists(),
        firewalld=(root / "run/firewalld").is_dir(),
        codename=codename(names),
        missing=tuple(tool for tool in TOOLS if _which(tool) is None),
        devices=tuple(name for name in ("/dev/kmsg", "/dev/fuse") if (root / name.lstrip("/")).exists()),
        filesystem=_filesystem(root, place),
        disk_free=disk_free(place),
        memory=memory(root),
    )


def require_embedded(facts: HostFacts) -> None:
    """Raise ``LabError`` with every problem at once where the embedded node cannot stand here."""
    if problems := facts.embedded_problems():
        raise combined(problems)


def search_path() -> str:
    """Return PATH with the folders of system programs, which a user's own often lacks."""
    return f"{os.environ.get('PATH', '')}:{_SBIN}"


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=search_path())


SUDO_TIMEOUT = 30.0
"""Seconds for an answer of sudo, which may wait for a directory service."""


def _can_sudo() -> bool:
    if shutil.which("sudo") is None:
        return False
    try:
        return process.run(["sudo", "-n", "true"], check=False, timeout=SUDO_TIMEOUT).returncode == 0
    except CommandError:  # a directory service that does not answer, say
        return False


def release(root: Path = Path("/")) -> dict[str, str]:
    """Return the host's os-release; empty where there is none."""
    path = root / "etc/os-release"
    if not path.exists():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {key: value.strip().strip("\"'") for key, _, value in lines}


def codename(names: Mapping[str, str]) -> str:
    """Return the release whose repositories a machine with this os-release uses, such as ``bookworm``.

    A derivative (Mint, LMDE) has a codename of its own that no repository knows. Empty where none is named.
    """
    keys = ("UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME")
    return next((value for key in keys if (value := names.get(key, ""))), "")


def _hierarchies(root: Path) -> tuple[Hierarchy, ...]:
    """Return the host's cgroup hierarchies with controllers, from its mounts and its own membership."""
    mounts = root / "proc/self/mountinfo"
    if not mounts.exists():
        return ()
    hierarchies: list[Hierarchy] = []
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = mount_point(left)
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            hierarchies.append(Hierarchy(mount, ()))
        elif kind == "cgroup":
            hierarchies.append(Hierarchy(mount, _controllers(root, options)))
    return tuple(hierarchies)


def _controllers(root: Path, options: str) -> tuple[str, ...]:
    """Return the controllers of a v1 mount: those of its options that the kernel lists."""
    lines = (root / "proc/self/cgroup").read_text().splitlines()
    known = {name for line in lines for name in line.split(":")[1].split(",") if name}
    return tuple(name for name in options.split(",") if name in known)


def _filesystem(root: Path, place: Path) -> str:
    """Return the type of the innermost mount around ``place``; of several at one point, the last one."""
    mounts = root / "proc/self/mountinfo"
    if not mounts.exists():
        return ""
    best, kind = -1, ""
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = mount_point(left)
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    return kind


def mount_point(line: str) -> Path:
    """Return the mount point of a line of mountinfo, in which blanks and backslashes are written in octal."""
    field = line.split()[4]
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return Path(field)


def disk_free(place: Path) -> int:
    """Return the bytes that are free where ``place`` is, or will be."""
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(existing).free


def memory(root: Path = Path("/")) -> int:
    """Return the host's bytes of memory."""
    path = root / "proc/meminfo"
    if not path.exists():
        return 0
    first = next(line for line in path.read_text().splitlines() if line.startswith("MemTotal:"))
    return int(first.split()[1]) * 1024
