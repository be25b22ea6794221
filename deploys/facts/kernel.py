"""Kernel modules that may be built in, and kernel settings that may be read-only."""

import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

from deploys.facts import pairs

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
        modules = {}
        for line in output:
            name, present, loadable = line.split()
            modules[name] = {"present": present == "yes", "loadable": loadable == "yes"}
        return modules


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
        settings: dict[str, dict[str, Any]] = {}
        for line in output:
            name, _, rest = line.strip().partition(" ")
            writable, _, value = rest.partition(" ")
            settings[name] = {"value": " ".join(value.split()) if rest else None, "writable": writable == "yes"}
        return settings


class Headers(FactBase[dict[str, Any]]):
    """Return whether the headers of the *running* kernel are there, and whether they can be had.

    ``release``: what ``uname -r`` says; ``installed``: a build against that very kernel would find
    its files; ``known``: the package lists of this machine have the matching package; ``lists``:
    there are such lists at all. ``package`` and ``build``: of which rpm the running kernel is, without
    ``-core`` (``kernel``, ``kernel-rt``, ``kernel-ml``), and its version, release and architecture.
    """

    def command(self) -> str:
        return r""": facts.headers
release=$(uname -r)
echo "release=$release"
if test -e "/lib/modules/$release/build/Makefile"; then echo installed=yes
elif command -v apt-cache >/dev/null 2>&1; then
  if test -n "$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -n 1)"; then echo lists=yes; fi
  if apt-cache show "linux-headers-$release" >/dev/null 2>&1; then echo known=yes; fi
fi
# distributions and ELRepo build several kernels; the one that runs owns its own image and list of modules
owner= build=
if command -v rpm >/dev/null 2>&1; then
  for file in "/lib/modules/$release/vmlinuz" "/lib/modules/$release/modules.builtin" "/boot/vmlinuz-$release" \
    "/lib/modules/$release/modules.order" "/lib/modules/$release"; do
    said=$(rpm --query --file --queryformat '%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\n' "$file" 2>/dev/null |
      grep '^kernel' | head -n 1)
    if test -n "$said"; then owner=${said%% *} build=${said#* }; break; fi
  done
fi
for part in -core -modules -image; do owner=${owner%$part}; done
echo "package=${owner:-kernel}"
echo "build=${build:-${release%%+*}}"
if command -v dnf >/dev/null 2>&1 && ! test -e "/lib/modules/$release/build/Makefile"; then
  devel=${owner:-kernel}-devel
  if dnf --quiet --cacheonly repoquery "$devel" >/dev/null 2>&1; then echo lists=yes; fi
  if test -n "$(dnf --quiet --cacheonly repoquery "$devel-${build:-${release%%+*}}" 2>/dev/null)"; then
    echo known=yes
  fi
fi
"""

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        values = pairs(output)
        release = values.get("release", "")
        return {
            "release": release,
            "package": values.get("package", "") or "kernel",
            "build": values.get("build", "") or release.partition("+")[0],
            **{name: values.get(name) == "yes" for name in ("installed", "known", "lists")},
        }


class Config(FactBase[dict[str, Any]]):
    """Return the kernel's build configuration: ``read``, ``btf``, and ``options`` (``y``, ``m`` or a value).

    Read where distributions leave it: /proc/config.gz, /boot/config-RELEASE, the module tree. An
    option that is not set is not in ``options``; where nothing can be read, ``read`` is false.
    """

    def command(self, names: list[str]) -> str:
        wanted = "|".join(sorted(names))
        return rf""": facts.config
release=$(uname -r)
echo probed=yes
if test -r /sys/kernel/btf/vmlinux; then echo btf=yes; fi
for file in /proc/config.gz "/boot/config-$release" "/lib/modules/$release/config" "/usr/lib/modules/$release/config" \
  "/lib/modules/$release/build/.config"; do
  if test -r "$file"; then
    echo read=yes
    case $file in *.gz) zcat "$file" ;; *) cat "$file" ;; esac | grep -E '^CONFIG_({wanted})='
    break
  fi
done
"""

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        values = pairs(output)
        options = {key.removeprefix("CONFIG_"): value for key, value in values.items() if key.startswith("CONFIG_")}
        return {"read": values.get("read") == "yes", "btf": values.get("btf") == "yes", "options": options}
