"""Boot of the machine: arguments of this boot and of the next."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

REQUIRED = "/run/hardwatt/reboot-required"
"""One reason a line, written by what needs a reboot; /run is empty after one."""
DROP_IN = "/etc/default/grub.d/zz-hardwatt.cfg"
"""Our arguments on Debian and Ubuntu. update-grub reads the folder in order: ours come last, and systemd takes
the last of two that contradict each other."""

_GRUB_CFG = "/boot/grub/grub.cfg"

_SCRIPT = f""": facts.boot
echo "cmdline $(cat /proc/cmdline)"
if command -v grubby >/dev/null 2>&1; then
  echo "loader grubby"
  grubby --info=ALL 2>/dev/null | sed -n 's/^args="\\(.*\\)"$/entry \\1/p'
elif command -v update-grub >/dev/null 2>&1 && test -e {_GRUB_CFG}; then
  echo "loader grub"
  sed -n 's/^[[:space:]]*linux[^[:space:]]*[[:space:]]*[^[:space:]]*/entry/p' {_GRUB_CFG} | head -n 1
fi
if test -e {DROP_IN}; then sed 's/^/file /' {DROP_IN}; fi
if test -e {REQUIRED}; then sed 's/^/required /' {REQUIRED}; fi
"""


class Boot(FactBase[dict[str, Any]]):
    """Return ``loader`` (``grub``, ``grubby`` or empty), and what the kernel was and will be told.

    ``running``: the arguments of this boot; ``next``: those of the next one (of every entry that
    grubby lists, of grub.cfg's first); ``file``: our drop-in; ``required``: why a reboot is wanted.
    """

    def command(self) -> str:
        return _SCRIPT

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        state: dict[str, Any] = {"loader": "", "running": [], "next": [], "file": "", "required": []}
        entries = []
        for line in output:
            key, _, rest = line.partition(" ")
            if key == "cmdline":
                state["running"] = rest.split()
            elif key == "loader":
                state["loader"] = rest
            elif key == "entry":
                entries.append(rest.split())
            elif key == "file":
                state["file"] += rest + "\n"
            elif key == "required":
                state["required"].append(rest)
        if entries:
            state["next"] = [argument for argument in entries[0] if all(argument in entry for entry in entries)]
        return state
