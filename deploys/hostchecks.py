"""Checks of a machine with a kernel of its own: what it was built with, what lives on it, what it can count.

Nothing here asks a version where the thing itself can be looked at.
"""

import datetime
import ipaddress
import itertools
import re
from collections.abc import Callable, Iterable

import hardwatt.meter.zones as zone_rule
from deploys import compatibility
from deploys.contract import Lab
from deploys.labdata import el_release, family_of
from deploys.operations.headers import choices, devel_package
from deploys.problem import Facts, Problem
from deploys.repositories import key_ends

KERNEL_OPTIONS = {
    0: (
        "CGROUPS", "CGROUP_PIDS", "CGROUP_SCHED", "CPUSETS", "FAIR_GROUP_SCHED", "INET", "IPC_NS", "MEMCG",
        "NAMESPACES", "NET_NS", "PID_NS", "PROC_FS", "UTS_NS",
    ),
    1: ("CGROUP_CPUACCT", "CGROUP_DEVICE", "CGROUP_FREEZER"),
    2: ("CGROUP_BPF",),
}  # fmt: skip
"""What kubeadm's SystemVerification asks of a kernel: always, and by cgroup version."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NODE = 12
"""Digits at a UUID's end: some makers write zeros and the board's MAC address."""
KEY_DAYS = 45
"""Before the last day of a repository's key from which on it is said."""
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
        el=el_release(facts.system) if family_of(facts.system) == "el" else "",
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


def _repository_keys(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Keys of upstream's repositories that end soon, or have ended: then nothing more is installed from there."""
    if lab.upstream is None:
        return
    today = datetime.datetime.fromtimestamp(facts.asked[0], datetime.UTC).date()
    for name, last in key_ends().items():
        left = (last - today).days
        if left < KEY_DAYS:
            yield Problem(
                "warning", f"key-{name}",
                f"the key of the repository {name} ends on {last}" if left >= 0
                else f"the key of the repository {name} ended on {last}",
                "read the new fingerprint from the publisher into deploys/repositories.toml; or take packages from the "
                'lab\'s own mirror: mode = "auto" in [mirror]',
            )  # fmt: skip


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
    name = f"linux-headers-{headers['release']}" if family_of(facts.system) == "debian" else devel_package(headers)
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
    if facts.surroundings["proxies"] and (asked := _proxied(facts.surroundings.get("no_proxy", ()), lab)):
        names = ", ".join(facts.surroundings["proxies"])
        yield Problem(
            "warning", "proxy", f"{names} is set on the host: the cluster's own addresses would be asked of the proxy",
            f"add {','.join(asked)} to no_proxy",
        )  # fmt: skip


def _proxied(no_proxy: Iterable[str], lab: Lab) -> list[str]:
    """Return the networks and addresses of the cluster that ``no_proxy`` does not except from the proxy."""
    if "*" in no_proxy:
        return []
    excepted = []
    for entry in no_proxy:
        try:
            excepted.append(
                ipaddress.ip_network(entry.partition(":")[0] if entry.count(":") == 1 else entry, strict=False)
            )
        except ValueError:
            continue  # the name of a host or a domain
    wanted = [ipaddress.ip_network(text) for text in (lab.networks.pod_cidr, lab.networks.service_cidr)]
    wanted.append(ipaddress.ip_network(lab.node.address))
    return [
        str(network).removesuffix("/32")
        for network in wanted
        if not any(network.version == other.version and network.subnet_of(other) for other in excepted)  # type: ignore[arg-type]
    ]


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
    if not _is_drawn(uuid):
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


def _is_drawn(uuid: str) -> bool:
    """Return whether a product_uuid can be this board's alone: makers that never wrote one leave a pattern."""
    digits = uuid.replace("-", "")
    return bool(_UUID.fullmatch(uuid)) and (not _is_pattern(digits) or not _is_pattern(digits[-_NODE:]))


def _is_pattern(digits: str) -> bool:
    """Return whether hexadecimal digits repeat or count up, as a person writes them.

    Of 32 drawn digits an eighth of the neighbours do; two in five happens once in three thousand times.
    """
    steps = [(int(right, 16) - int(left, 16)) % 16 for left, right in itertools.pairwise(digits)]
    return (
        len(set(digits)) < 6
        or digits.count("0") > len(digits) // 2
        or sum(step < 2 for step in steps) > len(steps) * 0.4
    )


def _release(facts: Facts, lab: Lab) -> Iterable[Problem]:
    """RHEL: whether updates would move the host to another minor release."""
    version = el_release(facts.system)
    if family_of(facts.system) != "el" or "." not in version:
        return
    locked = facts.surroundings["release_lock"]
    if "." not in locked:  # a major release alone locks nothing
        if not version.startswith("8.") or version == "8.10":
            return
        yield Problem(
            "note", "release-lock", f"no release lock, of subscription-manager or in /etc/dnf/vars: the next "
            f"`dnf update` moves {version} to 8.10",
            f"subscription-manager release --set={version} (RHEL), if it is to stay; lab.up itself updates nothing",
        )  # fmt: skip
    elif locked != version:
        yield Problem(
            "warning", "release-lock", f"the host is {version}, and its repositories are locked to {locked}",
            "make both agree, or packages of two releases are mixed",
        )  # fmt: skip


CHECKS: tuple[Callable[[Facts, Lab], Iterable[Problem]], ...] = (
    _matrix,
    _repository_keys,
    _config,
    _headers,
    _power,
    _security,
    _company,
    _identity,
    _release,
)
