"""SELinux: its mode, and the labels of paths and ports that were added to the policy on this machine."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

_SCRIPT = r""": facts.selinux
echo read=yes
if command -v getenforce >/dev/null 2>&1; then echo "mode $(getenforce)"; fi
if rpm -q container-selinux >/dev/null 2>&1; then echo "policy container-selinux"; fi
if command -v semanage >/dev/null 2>&1; then
  semanage fcontext --list --locallist --noheading 2>/dev/null |
    sed -n 's/^\(\/[^ ]*\) .*:\([a-z_]*_t\):.*/label \1 \2/p'
  semanage port --list --locallist --noheading 2>/dev/null |
    sed -n 's/^\([a-z_]*_t\) *\([a-z]*\) *\(.*\)$/port \1 \2 \3/p' | tr -d ,
fi
"""


def judges(selinux: dict[str, Any]) -> bool:
    """Return whether SELinux judges on a machine with this fact, enforcing or only telling."""
    return selinux["mode"] not in ("", "Disabled")


class Selinux(FactBase[dict[str, Any]]):
    """Return ``mode`` (``Enforcing``, ``Permissive``, ``Disabled``; empty: none), ``policy``, ``labels``, ``ports``.

    ``policy``: whether the policy of containers is installed; ``labels``: pattern to type, and ``ports``:
    ``NUMBER/PROTOCOL`` to type, of those that were added on this machine.
    """

    def command(self) -> str:
        return _SCRIPT

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        state: dict[str, Any] = {"mode": "", "policy": False, "labels": {}, "ports": {}}
        for line in output:
            fields = line.split()
            if fields[:1] == ["mode"] and len(fields) == 2:
                state["mode"] = fields[1]
            elif fields[:1] == ["policy"]:
                state["policy"] = True
            elif fields[:1] == ["label"]:
                state["labels"][fields[1]] = fields[2]
            elif fields[:1] == ["port"]:
                state["ports"].update({f"{port}/{fields[2]}": fields[1] for port in fields[3:]})
        return state
