"""Kind of the machine, and its capabilities."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

from deploys.facts import number, pairs

CAPABILITIES = {"net_admin": 12, "sys_admin": 21, "sys_resource": 24}
"""The capabilities that the node's parts want, by their bit (capability.h)."""

_SCRIPT = r""": facts.system
. /etc/os-release
echo "os=$ID"
echo "os_version=${VERSION_ID-}"
# a derivative has a codename of its own, and the repositories of the release that it is made from
echo "codename=${UBUNTU_CODENAME:-${DEBIAN_CODENAME:-${VERSION_CODENAME-}}}"
echo "platform=${PLATFORM_ID-}"
echo "os_like=${ID_LIKE-}"
echo "arch=$(uname -m)"
echo "kernel=$(uname -r)"
echo "hostname=$(cat /proc/sys/kernel/hostname)"
echo "init=$(cat /proc/1/comm)"
echo "uid=$(id -u)"
echo "cpus=$(nproc)"
echo "memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
total=0; while read -r _ _ size _; do case $size in *[0-9]) total=$((total + size));; esac; done </proc/swaps
echo "swap_kib=$total"
echo "disk_free_kib=$(df -Pk /var/lib | sed -n '2p' | { read -r _ _ _ free _; echo "$free"; })"
echo "time=$(date +%s)"
echo "nameservers=$(sed -n 's/^nameserver *//p' /etc/resolv.conf | tr '\n' ' ')"
echo "virtualization=$(systemd-detect-virt || :)"
echo "capabilities=$(sed -n 's/^CapBnd:[^0-9a-f]*//p' /proc/self/status)"
"""


class System(FactBase[dict[str, Any]]):
    """Return the machine's kind, sizes (MiB), clock (s since 1970) and missing capabilities."""

    def command(self) -> str:
        return _SCRIPT

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        values = pairs(output)
        bound = int(values.get("capabilities") or "0", 16)
        return {
            "os": values.get("os", ""),
            "os_version": values.get("os_version", "").strip('"'),
            "codename": values.get("codename", ""),
            "platform": values.get("platform", "").strip('"'),
            "os_like": values.get("os_like", "").strip('"').split(),
            "arch": values.get("arch", ""),
            "kernel": values.get("kernel", ""),
            "hostname": values.get("hostname", ""),
            "init": values.get("init", ""),
            "root": values.get("uid") == "0",
            "cpus": number(values.get("cpus", "")),
            "memory_mib": number(values.get("memory_kib", "")) // 1024,
            "swap_mib": number(values.get("swap_kib", "")) // 1024,
            "disk_free_mib": number(values.get("disk_free_kib", "")) // 1024,
            "time": number(values.get("time", "")),
            "nameservers": values.get("nameservers", "").split(),
            "virtualization": values.get("virtualization", ""),
            "missing_capabilities": [name for name, bit in sorted(CAPABILITIES.items()) if not bound >> bit & 1],
        }
