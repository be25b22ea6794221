"""Kernel modules that may be built in, and kernel settings that may be read-only."""

import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

# Where a module shows that it works, whether it is loaded or built in. modprobe's exit status says
# nothing where the kernel has everything built in and no module tree.
_EFFECTS = {
    "overlay": "grep -qw overlay /proc/filesystems",
    "br_netfilter": "test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "test -e /proc/sys/net/netfilter/nf_conntrack_max",
}


class Modules(FactBase[dict[str, dict[str, bool]]]):
    """Return for each module whether it is ``present`` and whether modprobe could load it."""

    def command(self, names: list[str]) -> str:
        lines = [": facts.modules"]
        for name in names:
            effect = _EFFECTS.get(name, f"test -d /sys/module/{shlex.quote(name)}")
            quoted = shlex.quote(name)
            lines += [
                f"if {effect}; then present=yes; else present=no; fi",
                # a built-in module is not loadable: modprobe answers "builtin", not "insmod"
                f"if modprobe --dry-run --ignore-install --show-depends {quoted} 2>/dev/null | grep -q '^insmod '; "
                "then loadable=yes; else loadable=no; fi",
                f'echo "{name} $present $loadable"',
            ]
        return "\n".join(lines)

    def process(self, output: Iterable[str]) -> dict[str, dict[str, bool]]:
        found = {}
        for line in output:
            name, present, loadable = line.split()
            found[name] = {"present": present == "yes", "loadable": loadable == "yes"}
        return found


class Settings(FactBase[dict[str, dict[str, Any]]]):
    """Return the value of each sysctl (None where the kernel has it not) and whether we may set it."""

    def command(self, names: list[str]) -> str:
        lines = [": facts.settings"]
        for name in names:
            path = shlex.quote("/proc/sys/" + name.replace(".", "/"))
            lines += [
                f"if test -e {path}; then "
                f'value=$(cat {path}); test -w {path} && writable=yes || writable=no; echo "{name} $writable $value"; '
                f'else echo "{name}"; fi'
            ]
        return "\n".join(lines)

    def process(self, output: Iterable[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for line in output:
            name, _, rest = line.strip().partition(" ")
            writable, _, value = rest.partition(" ")
            found[name] = {"value": " ".join(value.split()) if rest else None, "writable": writable == "yes"}
        return found
