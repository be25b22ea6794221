"""From the record to the commands that give a host back: what ``lab.up`` did, in reverse.

Pure: ``deploys/reset.py`` runs them. Each group can be run again after it was cut off; the record
itself goes last, so a ``lab.down`` that was killed goes on from it.
"""

import dataclasses
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from deploys.facts.boot import DROP_IN
from deploys.facts.firewalld import CONFIG as FIREWALLD
from deploys.facts.firewalld import ZONES
from deploys.facts.record import FOLDER, KEPT
from deploys.operations.boot import require_reboot
from deploys.operations.network import FILE as UNMANAGED
from deploys.operations.selinux import root
from deploys.undo_packages import erase, purge

UNITS = (
    "hardwatt-git.service",
    "hardwatt-services.service",
    "hardwatt-meter.service",
    "var-lib-hardwatt-meter-record.mount",
    "var-lib-hardwatt-meter-sysfs.mount",
    "var-lib-hardwatt-meter-textfile.mount",
)
FILES = (
    "/etc/sysctl.d/60-hardwatt.conf",
    "/etc/modules-load.d/hardwatt.conf",
    "/etc/cni/net.d/10-hardwatt.conflist",
    "/etc/containerd/config.toml",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
)
FOLDERS = ("/etc/hardwatt", "/usr/local/lib/hardwatt", "/var/log/hardwatt", "/srv/git", "/etc/containerd/certs.d")
SOURCES = (
    "/etc/apt/sources.list.d/hardwatt*.sources",
    "/etc/apt/keyrings/hardwatt*.asc",
    "/etc/yum.repos.d/hardwatt*.repo",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt*",
)
CLUSTER_FOLDERS = (
    "/etc/kubernetes",
    "/var/lib/kubelet",
    "/var/lib/etcd",
    "/var/lib/cni",
    "/etc/cni/net.d",
    "/usr/libexec/kubernetes",
)
CONTAINERD_FOLDERS = ("/var/lib/containerd", "/run/containerd", "/etc/containerd", "/opt/containerd")


@dataclasses.dataclass(frozen=True)
class Group:
    """One thing that is undone."""

    title: str
    commands: tuple[str, ...]


def groups(record: dict[str, Any], *, family: str, new_packages: Sequence[str], keep_packages: bool) -> list[Group]:
    """Return what is to be done, in order.

    + record: the fact ``Record``
    + new_packages: those of the lab's packages that were not there before it
    """
    items: dict[str, list[str]] = {}
    for kind, item in record["entries"]:
        items.setdefault(kind, []).append(item)
    made = [
        Group("the cluster and all data in it", tuple(_cluster())),
        Group(f"units: {', '.join(UNITS)}", tuple(_units())),
        # with semanage, which may be one of the packages
        *_labels(items),
        *_packages(new_packages, items.get("brought", []), family, keep_packages),
        *_files(record["kept"], items.get("user", [])),
        Group("package sources and their keys", tuple(_sources(family))),
        *_firewall(items),
        *_swap(items),
        *_kernel(items),
        *_boot(items),
        Group("the record of this host", (_remove([FOLDER, "/var/lib/hardwatt/meter"]), _rmdir("/var/lib/hardwatt"))),
    ]
    return [group for group in made if group.commands]


def _cluster() -> Iterable[str]:
    yield (
        "if test -e /etc/hardwatt/kubeadm.yaml && command -v kubeadm >/dev/null; then "
        "kubeadm reset --force --cri-socket unix:///run/containerd/containerd.sock; fi"
    )
    yield _off("kubelet.service")
    yield "if systemctl is-active --quiet kubepods.slice; then systemctl stop kubepods.slice; fi"
    # what kubeadm leaves: the bridge, and the rules of kube-proxy and the plugins
    yield "if ip link show cni0 >/dev/null 2>&1; then ip link delete cni0; fi"
    for tool in ("iptables", "ip6tables"):
        yield (
            f'if test -n "$(command -v {tool}-save)" && {tool}-save | grep -q -e KUBE- -e CNI-; then '
            f"{tool}-save | grep -v -e KUBE- -e CNI- | {tool}-restore; fi"
        )
    yield _remove(CLUSTER_FOLDERS)
    yield _rmdir("/etc/cni")


def _units() -> Iterable[str]:
    for unit in UNITS:
        path = f"/etc/systemd/system/{unit}"
        yield f"if test -e {path}; then systemctl disable --now {unit}; rm -f {path}; fi"
    yield "systemctl daemon-reload"


def _packages(names: Sequence[str], brought: Sequence[str], family: str, keep: bool) -> Iterable[Group]:
    text = ", ".join(names)
    if keep:
        unhold = f"apt-mark unhold {' '.join(names)}" if names and family == "debian" else ""
        yield Group(f"packages stay, but are no longer held: {text}", (unhold,) if unhold else ())
        return
    commands = [_off("containerd.service")] if "containerd.io" in names else []
    commands += purge(names, brought) if family == "debian" else erase(names)
    if "containerd.io" in names:
        commands.append(_remove(CONTAINERD_FOLDERS))
    # of a run that was killed in between, what came along may be left alone
    yield Group(f"packages that were not there before: {text or 'what came along'}", tuple(commands))


def _files(kept: Sequence[str], users: Sequence[str]) -> Iterable[Group]:
    commands = [f"rm -f {' '.join(path for path in FILES if path not in kept)}"]
    commands += [f"cp -p {shlex.quote(KEPT + path)} {shlex.quote(path)}" for path in kept]
    commands += [f"if id {user} >/dev/null 2>&1; then userdel {user}; fi" for user in users]
    commands.append(_remove(FOLDERS))
    restored = f"; as they were: {', '.join(kept)}" if kept else ""
    yield Group(f"files and folders of the lab, its git repositories included{restored}", tuple(commands))


def _sources(family: str) -> Iterable[str]:
    if family == "el":
        yield (
            "for key in /etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt*; do test -e $key || continue; "
            "id=$(gpg --with-colons --show-keys $key | "
            "sed -n 's/^pub:[^:]*:[^:]*:[^:]*:........\\([^:]*\\):.*/\\1/p' | "
            'tr A-F a-f); rpm --query gpg-pubkey | grep "^gpg-pubkey-$id-" | '
            "xargs --no-run-if-empty rpm --erase; done"
        )
    yield f"rm -f {' '.join(SOURCES)}"


# firewalld writes a zone into a file of its own at its first change, and keeps the one before as .old. Somebody else's
# changes in it stay, in the copy if this is killed between its two looks.
_UNCHANGED_ZONE = """\
if systemctl is-active --quiet firewalld; then
  zone={zones}/{zone}.xml copy={zones}/{zone}.lab
  if test -e $copy; then mv -f $copy $zone; fi
  if test -e $zone; then
    cp -p $zone $copy.part; mv -f $copy.part $copy
    said() {{ firewall-cmd --permanent --zone={zone} --list-all; }}
    has=$(said)
    # fails for a zone that firewalld has no defaults of
    if firewall-cmd --quiet --permanent --load-zone-defaults={zone} && test "${{has:-?}}" = "$(said)"
    then rm -f $zone $zone.old $copy; else mv -f $copy $zone; fi
  fi
  rm -f $copy.part
fi"""


def _firewall(items: dict[str, list[str]]) -> Iterable[Group]:
    commands = []
    for source in items.get("firewallsource", []):
        commands += _closed("trusted", f"source={source}")
    for item in items.get("firewallport", []):
        port, _, zone = item.partition("=")
        commands += _closed(zone, f"port={port}")
    commands += [_UNCHANGED_ZONE.format(zone=zone, zones=ZONES) for zone in items.get("firewallzone", [])]
    if items.get("firewallflush"):
        commands.append(f"sed -i 's/^FlushAllOnReload=no$/FlushAllOnReload=yes/' {FIREWALLD}")
    opened = [*items.get("firewallsource", []), *(item.partition("=")[0] for item in items.get("firewallport", []))]
    if commands:
        yield Group(f"firewalld lets through no more: {', '.join(opened)}", tuple(commands))
    yield Group(
        "NetworkManager's exception for pods",
        (f"if test -e {UNMANAGED}; then rm -f {UNMANAGED}; nmcli general reload conf; fi",),
    )


def _closed(zone: str, what: str) -> list[str]:
    """Return commands that close it now and for the next start; firewalld may be off by now."""
    now = f"firewall-cmd --quiet --zone={zone} --remove-{what}"
    later = f"firewall-cmd --quiet --permanent --zone={zone} --remove-{what}"
    return [f"if systemctl is-active --quiet firewalld; then {now}; {later}; fi"]


def _labels(items: dict[str, list[str]]) -> Iterable[Group]:
    paths, ports, commands = items.get("label", []), items.get("labelport", []), []
    for item in paths:
        pattern, _, before = item.partition("=")
        quoted, top = shlex.quote(pattern), shlex.quote(root(pattern))
        commands.append(f"{_relabel('fcontext', before, quoted)}; if test -e {top}; then restorecon -R {top}; fi")
    if paths:
        commands.append("for path in /opt/cni/bin /opt/cni; do if test -d $path; then "
                        "rmdir --ignore-fail-on-non-empty $path; fi; done")  # fmt: skip
    for item in ports:
        port, _, before = item.partition("=")
        number, _, protocol = port.partition("/")
        commands.append(_relabel("port", before, f"--proto {protocol} {number}", listed=rf" {protocol} .*\<{number}\>"))
    if commands:
        names = [item.partition("=")[0] for item in [*paths, *ports]]
        yield Group(f"SELinux labels: {', '.join(names)}", tuple(commands))


def _relabel(kind: str, before: str, what: str, listed: str = "") -> str:
    """Return the command that gives a label back as it was before the lab, where there is one."""
    look = f"grep -q {shlex.quote(listed)}" if listed else f"grep -qF {what}"
    change = f"--modify --type {before}" if before else "--delete"
    return f"if semanage {kind} --list --locallist --noheading | {look}; then semanage {kind} {change} {what}; fi"


def _swap(items: dict[str, list[str]]) -> Iterable[Group]:
    units, devices = items.get("mask", []), items.get("swap", [])
    commands = [f"systemctl unmask {shlex.quote(unit)}" for unit in units]
    for device in devices:
        quoted = shlex.quote(device)
        commands.append(f"if ! grep -q {shlex.quote(f'^{device} ')} /proc/swaps; then swapon {quoted}; fi")
    if commands:
        yield Group(f"swap on again: {', '.join(devices or units)}", tuple(commands))


def _kernel(items: dict[str, list[str]]) -> Iterable[Group]:
    commands = []
    for item in items.get("sysctl", []):
        name = item.partition("=")[0]
        path = shlex.quote("/proc/sys/" + name.replace(".", "/"))
        commands.append(f"if test -e {path}; then sysctl --quiet --write {shlex.quote(item)}; fi")
    if commands:
        yield Group(f"{len(commands)} kernel settings as they were", tuple(commands))
    modules = items.get("module", [])
    if modules:
        tries = [f"modprobe --remove {name} || echo '{name} is in use, and stays until a boot'" for name in modules]
        yield Group(f"kernel modules: {', '.join(modules)}", tuple(tries))


def _boot(items: dict[str, list[str]]) -> Iterable[Group]:
    commands = []
    if items.get("bootfile"):
        commands.append(f"if test -e {DROP_IN}; then rm -f {DROP_IN}; update-grub; fi")
    for item in items.get("bootarg", []):
        change = f"--args={shlex.quote(item)}" if "=" in item else f"--remove-args={shlex.quote(item)}"
        commands.append(f"grubby --update-kernel=ALL {change}")
    if commands:
        commands.append(require_reboot("boot arguments are as before the lab from the next boot on"))
        yield Group("boot arguments as they were; they count from the next boot on", tuple(commands))


def _off(unit: str) -> str:
    """Return the command that stops and disables a unit, running or not, where it is known."""
    return f"if systemctl list-unit-files {unit} | grep -q {unit}; then systemctl disable --now {unit}; fi"


def _remove(paths: Sequence[str]) -> str:
    """Return the command that removes folders, what is mounted in them unmounted before."""
    pattern = "|".join(paths)
    return (
        f"awk '$2 ~ \"^({pattern})/\" {{print $2}}' /proc/mounts | sort -r | xargs --no-run-if-empty umount; "
        f"rm -rf --one-file-system {' '.join(paths)}"
    )


def _rmdir(path: str) -> str:
    return f"if test -d {path}; then rmdir --ignore-fail-on-non-empty {path}; fi"
