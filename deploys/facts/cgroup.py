"""Control groups: which version, which controllers, and whether they really work."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

from deploys.facts import pairs

NEEDED = {
    1: ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"),
    2: ("cpu", "cpuset", "freezer", "memory", "pids"),
}
"""The controllers that kubelet and runc use, by cgroup version (the freezer of v2 is a file)."""

# A group is made and removed again: what the kernel says it has and what this machine may use
# differ in containers and on distributions that backport.
_SCRIPT = r""": facts.cgroup
probe=hardwatt-probe.$$
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  echo version=2
  if mkdir /sys/fs/cgroup/$probe; then
    # what may be handed down: systemd hands some of them down only when a unit asks (cpuset, on a host of its own)
    usable=$(cat /sys/fs/cgroup/cgroup.controllers)
    [ -e /sys/fs/cgroup/$probe/cgroup.freeze ] && usable="$usable freezer"
    rmdir /sys/fs/cgroup/$probe
    echo "usable=$usable"
  fi
else
  echo version=1
  usable=
  for name in blkio cpu cpuacct cpuset devices freezer memory pids; do
    if mkdir /sys/fs/cgroup/$name/$probe; then
      rmdir /sys/fs/cgroup/$name/$probe
      usable="$usable $name"
    fi
  done
  echo "usable=$usable"
fi 2>/dev/null
unit() { systemd-run --quiet --wait --pipe --collect -p MemoryAccounting=yes "$@" 2>/dev/null; }
echo "unit=$(unit cat /proc/self/cgroup | tr '\n' ' ')"
"""


class Cgroup(FactBase[dict[str, Any]]):
    """Return ``version``, ``usable`` and ``missing`` controllers, and the ``driver`` that works.

    The driver is ``systemd`` where a unit's memory is really accounted in a group of its own, and
    ``cgroupfs`` where systemd has no controllers to give (in a container of a v1 host).
    """

    def command(self) -> str:
        return _SCRIPT

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        values = pairs(output)
        version = int(values.get("version") or 0)
        usable = sorted(values.get("usable", "").split())
        return {
            "version": version,
            "usable": usable,
            "missing": [name for name in NEEDED.get(version, ()) if name not in usable],
            "driver": "systemd" if _in_group_of_its_own(values.get("unit", ""), version, usable) else "cgroupfs",
        }


def _in_group_of_its_own(memberships: str, version: int, usable: list[str]) -> bool:
    groups = {}
    for entry in memberships.split():
        _, controllers, path = entry.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    if version == 2:
        return "memory" in usable and groups.get("", "").endswith(".service")
    return groups.get("memory", "").endswith(".service")
