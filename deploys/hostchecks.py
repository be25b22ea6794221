"""Checks of a machine with a kernel of its own: what it was built with, what lives on it, what it can count.

Nothing here asks a version where the thing itself can be looked at.
"""

import datetime
import re
from collections.abc import Callable, Iterable

import hardwatt.meter.zones as zone_rule
from deploys import compatibility
from deploys.contract import Lab
from deploys.labdata import family_of
from deploys.operations.headers import choices
from deploys.problem import Facts, Problem

KERNEL_OPTIONS = {
    0: (
        "CGROUPS", "CGROUP_PIDS", "CGROUP_SCHED", "CPUSETS", "FAIR_GROUP_SCHED", "INET", "IPC_NS", "MEMCG",
        "NAMESPACES", "NET_NS", "PID_NS", "PROC_FS", "UTS_NS",
    ),
    1: ("CGROUP_CPUACCT", "CGROUP_DEVICE", "CGROUP_FREEZER"),
    2: ("CGROUP_BPF",),
}  # fmt: skip
"""What kubeadm's SystemVerification asks of a kernel: always, and by cgroup version."""
SAME_UUIDS = ("03000200-0400-0500-0006-000700080009", "00000000-0000-0000-0000-000000000000")
"""product_uuid of boards whose maker never wrote one: many machines have it."""
CLUSTERS = ("k0s", "k3s", "microk8s", "rke2")


def _matrix(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Yield the versions that do not go together."""
    if not facts.own_kernel:
        return
    stack = compatibility.Stack(
        kubernetes=lab.kubernetes_version,
        kernel=facts.system["kernel"],
        cgroup=facts.cgroup["version"],
        runtime=("containerd", lab.stack.containerd),
        flux=lab.stack.flux,
        cni=lab.stack.cni,
        el=facts.system["os_version"] if family_of(facts.system) == "el" else "",
    )
    today = datetime.datetime.fromtimestamp(facts.asked[0], datetime.UTC).date()
    remedies = {
        "end-of-life": 'preset = "supported" has a supported version',
        "kernel": "nothing to do where kubeadm only says so, else a newer kernel",
    }
    for item in compatibility.judge(stack, today):
        if item.name != "cgroup-v1":  # the presets have their own words for it
            severity = "note" if (item.severity, item.name) == ("warning", "kernel") else item.severity
            yield Problem(severity, item.name, item.what, remedies.get(item.name, "choose another version in the lock"))


def _config(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Check the kernel's configuration: for kubeadm, and for the Kepler that was chosen."""
    if not facts.own_kernel:
        return
    version = compatibility.minor(lab.stack.kepler)
    era = compatibility.kepler(lab.stack.kepler)
    wanted = [*KERNEL_OPTIONS[0], *KERNEL_OPTIONS.get(facts.cgroup["version"], ())]
    if not facts.config["read"]:
        yield Problem(
            "warning", "kernel-config", "the kernel's configuration cannot be read, so nothing is known about it",
            f"install the file /boot/config-{facts.system['kernel']}",
        )  # fmt: skip
    else:
        options = facts.config["options"]
        if lacking := [name for name in wanted if name not in options]:
            yield Problem(
                "error", "kernel-config", f"the kernel was built without {', '.join(lacking)}, which kubeadm wants",
                "use the distribution's own kernel",
            )  # fmt: skip
        if lacking := [name for name in era.get("options", ()) if name not in options]:
            yield Problem(
                "error", "kepler-flags", f"Kepler {version} wants eBPF, and the kernel was built without "
                f"{', '.join(lacking)}",
                "use another kernel, or Kepler 0.10 or later, which needs no eBPF",
            )  # fmt: skip
    if era.get("btf") and not facts.config["btf"]:
        yield Problem(
            "error", "kepler-btf", f"Kepler {version} wants /sys/kernel/btf/vmlinux, and it is not there",
            "use a kernel with DEBUG_INFO_BTF, or Kepler 0.10 or later",
        )  # fmt: skip


def _headers(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Headers of the very kernel that runs."""
    headers, choice = facts.headers, lab.boot.kernel_headers
    if not facts.own_kernel or headers["installed"]:
        return
    if choice == "none":
        if compatibility.kepler(lab.stack.kepler).get("headers"):
            yield Problem(
                "error", "headers", f"Kepler {lab.stack.kepler} compiles against the running kernel's headers, "
                'and kernel_headers = "none"',
                'set kernel_headers = "matching" in [host]',
            )  # fmt: skip
        return
    if headers["known"] or not headers["lists"]:
        return
    package = "linux-headers" if family_of(facts.system) == "debian" else "kernel-devel"
    name = f"{package}-{headers['release']}"
    if choice == "update":
        yield Problem(
            "note", "headers", f"the package repositories have no {name} (any more)",
            'kernel_headers = "update": lab.up updates the kernel and reboots the host once',
        )  # fmt: skip
    else:
        what, _, remedy = choices(name, headers["release"]).partition(". ")
        yield Problem("error", "headers", what, remedy)


def _power(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """An energy counter that can be read and that counts, where the lab is to read one."""
    zones: dict[str, bool | None] = facts.powercap["zones"]
    if lab.meter.config.get("source") != "rapl":
        return
    if not (why := _no_sum(zones)):
        for name in sorted(name for name, counts in zones.items() if counts is False):
            yield Problem(
                "note", "powercap", f"the energy counter {name} stands still", "it is left out: invoke meter.list"
            )
        return
    virtual = facts.system["virtualization"] not in ("", "none")
    where = f"a virtual machine ({facts.system['virtualization']}) has none" if virtual else why
    if not zones and facts.powercap["drivers"] and not virtual:
        yield Problem("note", "powercap", "no energy counter shows yet", f"lab.up loads {facts.powercap['drivers'][0]}")
        return
    yield Problem(
        "error", "powercap", f"the CPU packages have no energy counter under /sys/class/powercap that counts: {where}",
        'set source = "modelled" in [meter] (the result is then CPU-seconds), or use hardware with RAPL; '
        "invoke meter.list shows every zone",
    )  # fmt: skip


def _no_sum(zones: dict[str, bool | None]) -> str:
    """Return why the zones that the instruments read, those of the CPU packages, have no sum; empty: they have one.

    ``zones`` maps ``NAME@FOLDER`` to whether the counter moves; None: it cannot be read.
    """
    named = [zone_rule.Zone(*name.split("@", 1)) for name in zones]
    problems = ["" if counts else "cannot be read" if counts is None else "stands still" for counts in zones.values()]
    packages = zone_rule.choose(named, problems)
    if packages.counted and not packages.lacking:
        return ""
    faults = [f"{named[number].name} {problems[number]}" for number in packages.lacking]
    platform = [zone.name for zone, fault in zip(named, problems, strict=True) if zone.name == "psys" and not fault]
    told = [*faults, *(f"{name} counts, but it is the whole platform" for name in platform)]
    return "; ".join(told) or "there is no zone of a package"


def _security(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Firewall, SELinux and FIPS: what is on stays on."""
    if not facts.own_kernel:
        return
    if facts.firewalld["active"] and facts.firewalld["flush"]:
        yield Problem(
            "note", "firewalld", "firewalld has FlushAllOnReload=yes: a reload would throw away kube-proxy's rules",
            "lab.up sets it to no, lab.down back",
        )  # fmt: skip
    mode = facts.selinux["mode"]
    if family_of(facts.system) == "el" and mode in ("Permissive", "Disabled", ""):
        yield Problem(
            "warning", "selinux", f"SELinux is {mode.lower() or 'not there'}; the lab runs with it enforcing too",
            "set SELINUX=enforcing in /etc/selinux/config and reboot, if this host is to be as a review wants it",
        )  # fmt: skip
    if facts.surroundings["fips"]:
        yield Problem(
            "warning", "fips", "FIPS mode is on, and upstream's and the mirror's Kubernetes use Go's own cryptography",
            "do not count this node as FIPS validated",
        )  # fmt: skip


def _company(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Other software that would be in the way of the cluster, or of a measurement."""
    for name in facts.surroundings["foreign"]:
        if name in CLUSTERS or name == "docker":
            yield Problem(
                "error", f"foreign-{name}", f"{name} runs on the host, and wants the same ports, rules or containerd",
                f"stop and remove {name}, or use another host",
            )  # fmt: skip
        else:
            yield Problem(
                "warning", f"foreign-{name}", f"{name} runs on the host: what it does is in the node's figures too",
                f"stop {name} for the time of the measurement",
            )  # fmt: skip
    if facts.surroundings["proxies"]:
        names = ", ".join(facts.surroundings["proxies"])
        networks = f"{lab.networks.pod_cidr},{lab.networks.service_cidr}"
        yield Problem(
            "warning", "proxy", f"{names} is set on the host: the cluster's own addresses would be asked of the proxy",
            f"add {networks} and the node's address to no_proxy",
        )  # fmt: skip


def _identity(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Check what identifies this machine among others: its name, its board, its clock."""
    if not facts.own_kernel:
        return
    name = facts.system["hostname"]
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", name) or name.startswith("localhost"):
        yield Problem(
            "warning", "hostname", f"the host name {name!r} is no good as a name in a network",
            "hostnamectl set-hostname NAME, with small letters, digits and hyphens",
        )  # fmt: skip
    uuid = facts.surroundings["uuid"].lower()
    if not uuid or uuid in SAME_UUIDS:
        yield Problem(
            "warning", "product-uuid", f"the board has no serial number of its own (product_uuid is {uuid or 'empty'})",
            "nothing, with one node; a second node needs another one",
        )  # fmt: skip
    if facts.surroundings["synchronised"] is False:
        yield Problem(
            "warning", "clock-sync", "nothing keeps the host's clock right",
            "systemctl enable --now chronyd (or systemd-timesyncd)",
        )  # fmt: skip
    if facts.system["virtualization"] not in ("", "none"):
        yield Problem(
            "note", "virtualization", f"this is a virtual machine ({facts.system['virtualization']}): it has no energy "
            "counter, and time may be stolen from it",
            "figures are CPU-seconds; for joules use bare metal",
        )  # fmt: skip


def _release(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """RHEL: whether updates would move the host to another minor release."""
    version = facts.system["os_version"]
    if family_of(facts.system) != "el" or not version.startswith("8."):
        return
    locked = facts.surroundings["release_lock"]
    if not locked and version != "8.10":
        yield Problem(
            "note", "release-lock", f"no release lock in /etc/dnf/vars: the next `dnf update` moves {version} to 8.10",
            f"subscription-manager release --set={version} (RHEL), if it is to stay; lab.up itself updates nothing",
        )  # fmt: skip
    elif locked and locked != version:
        yield Problem(
            "warning", "release-lock", f"the host is {version}, and its repositories are locked to {locked}",
            "make both agree, or packages of two releases are mixed",
        )  # fmt: skip


CHECKS: tuple[Callable[[Facts, Lab], Iterable[Problem]], ...] = (
    _matrix,
    _config,
    _headers,
    _power,
    _security,
    _company,
    _identity,
    _release,
)
