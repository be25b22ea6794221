"""Facts of this machine that decide if it can carry a virtual one, and how large."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.problem import Problem, error
from hardwatt.machines import host_facts, rootfs
from hardwatt.machines.host_facts import ELSEWHERE, disk_free, memory, release, search_path
from hardwatt.machines.vm import qemu
from hardwatt.machines.vm.image import KERNELS

TOOLS = {
    qemu.PROGRAM: "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "flock": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
    "apt-get": "apt",
}
_USER_TOOLS = {"newuidmap": "uidmap"}
"""Needed where we are not root."""

MIN_DISK = 8 * 1024**3
"""Bytes: the image 0.6 GB, its copy with a node in it 3 GB, and a day of samples."""
MIN_MEMORY = 6 * 1024**3
"""Bytes: 4 GiB for the guest, and room for who sits here."""
_IDS = "100000-165535"
_AMPLE = 12 * 1024**3


def problems(place: Path) -> list[Problem]:
    """Return everything that keeps a virtual machine from this host; ``place`` is where the lab will lie."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        text = f"the virtual machine needs Linux on x86_64, and this is {platform.system()} on {platform.machine()}"
        return [error("os", text, ELSEWHERE)]
    return list(_problems_on_linux(place))


def _problems_on_linux(place: Path) -> Iterator[Problem]:
    wanted = TOOLS if os.geteuid() == 0 else {**TOOLS, **_USER_TOOLS}
    if missing := [tool for tool in wanted if shutil.which(tool, path=search_path()) is None]:
        packages = " ".join(sorted({wanted[tool] for tool in missing}))
        text = f"missing for the virtual machine: {', '.join(missing)}"
        yield error("tools", text, f"make setup (Debian and Ubuntu: packages {packages})")
    elif not _may_map_users():
        text = "this user may not map others in a user namespace, which making the image takes"
        yield error("user-namespaces", text, f"sudo usermod --add-subuids {_IDS} --add-subgids {_IDS} $USER")
    if distribution() not in KERNELS:
        text = f"images are made from {' and '.join(sorted(KERNELS))}, and this is {distribution()}"
        yield error("distribution", text, ELSEWHERE)
    sizes = (("disk", "on disk", disk_free(place), MIN_DISK), ("memory", "of memory", memory(), MIN_MEMORY))
    for name, what, there, needed in sizes:
        if there < needed:
            text = f"{there / 1024**3:.1f} GiB {what}, and a virtual machine needs {needed / 1024**3:.0f} GiB"
            yield error(name, text, ELSEWHERE)


def _may_map_users() -> bool:
    return os.geteuid() == 0 or process.run([*rootfs.as_owner_of_all(), "true"], check=False).returncode == 0


def distribution() -> str:
    """Return the ID of this machine's distribution."""
    return release().get("ID", "")


def codename() -> str:
    """Return the release of this machine's distribution, such as ``bookworm``."""
    return host_facts.codename(release())


def guest_memory(asked: int) -> int:
    """Return the MiB that a guest gets: what was asked for, or more where this machine has plenty."""
    if asked:
        return asked
    return 6144 if memory() >= _AMPLE else 4096
