"""Checks that a machine can carry the node: facts in, every problem out, each with its remedy.

Pure: nothing here touches a host. ``deploys/preflight.py`` gathers the facts.
"""

import fnmatch
import ipaddress
from collections.abc import Callable, Iterable

from deploys import hostchecks
from deploys.contract import Lab
from deploys.labdata import el_release, family_of
from deploys.modules_sysctls import SETTINGS
from deploys.problem import SEVERITIES, Facts, Problem, Severity

MEMORY_MIB = {"supported": 3072, "legacy": 3072, "embedded": 2048}
"""What the control plane, Flux and Prometheus hold when idle, with room for an experiment."""
DISK_MIB = 6144
"""Images, etcd and a day of samples."""
CPUS = 2
EL_RELEASES = ("8", "9")
"""Releases of RHEL and its relatives whose packages the steps know by name."""
CODENAMES = ("bookworm", "noble")
"""Releases of Debian and Ubuntu that the steps were made for."""
CLOCK_SECONDS = 5
"""More than this apart, and the times of commits and samples do not fit together."""

OWN_PORTS = {
    2379: "etcd",
    2380: "etcd",
    2381: "etcd",
    6443: "kube-apiserver",
    10250: "kubelet",
    10257: "kube-controller",
    10259: "kube-scheduler",
}
"""Ports of the control plane, and who may have them (as ss names programs: at most 15 letters)."""

WORKLOAD_PORTS = {2222: "sshd", 9100: "node_exporter"}
"""Ports of the git server and of the exporter, which use the node's own network."""

INIT_PROGRAMS = ("systemd", "init", "xinetd", "inetd")
"""Programs that listen for others: ssh.socket, for one."""
LOGIN_PROGRAMS = (*INIT_PROGRAMS, "sshd", "dropbear", "tinysshd", "openssh", "autossh", "ssh", "tailscaled")
"""Beginnings of the names of programs through which a person may have come in."""

OWN_INTERFACES = ("cni0",)


def problems(facts: Facts, lab: Lab) -> list[Problem]:
    """Return all problems, errors first."""
    problems = [problem for check in CHECKS for problem in check(facts, lab)]
    return sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))


def _os(facts: Facts, lab: Lab) -> Iterable[Problem]:
    system = facts.system
    family, major = family_of(system), el_release(system).partition(".")[0]
    if family != "debian" and not (family == "el" and major in EL_RELEASES):
        yield Problem(
            "error", "os", f"{system['os']} {system['os_version']} is no Debian, no Ubuntu and no RHEL 8 or 9",
            "use a host with Debian 12, Ubuntu 24.04, RHEL 8 or 9 or a relative of it",
        )  # fmt: skip
    elif family == "debian" and system["codename"] not in CODENAMES:
        name = " ".join(word for word in (system["os"], system["os_version"], system["codename"]) if word)
        yield Problem(
            "warning", "release", f"{name} is not a release that the lab was made for",
            "use Debian 12 or Ubuntu 24.04; another release may lack a package or have one of another name",
        )  # fmt: skip
    if system["arch"] != "x86_64":
        yield Problem("error", "arch", f"the processor is {system['arch']}", "use an x86_64 host")
    if system["init"] != "systemd":
        yield Problem("error", "init", f"process 1 is {system['init']}, not systemd", "use a host that systemd starts")
    if not system["root"]:
        yield Problem(
            "error", "root", "the commands do not run as root",
            "let the user of lab.toml use sudo, or set user = \"root\"",
        )  # fmt: skip


def _size(facts: Facts, lab: Lab) -> Iterable[Problem]:
    system, memory = facts.system, MEMORY_MIB[lab.preset]
    if system["cpus"] < CPUS:
        yield Problem("error", "cpus", f"{system['cpus']} processor", f"kubeadm wants {CPUS}: give the machine more")
    if system["memory_mib"] < memory:
        yield Problem(
            "error", "memory", f"{system['memory_mib']} MiB of memory", f"the lab wants {memory} MiB: give it more"
        )
    # a node that is already made has its images: only room to go on is wanted
    wanted = DISK_MIB if not facts.kubeadm["done"] else DISK_MIB // 6
    if system["disk_free_mib"] < wanted:
        yield Problem(
            "error", "disk", f"{system['disk_free_mib']} MiB are free under /var/lib",
            f"free {wanted - system['disk_free_mib']} MiB more",
        )  # fmt: skip


def _swap(facts: Facts, lab: Lab) -> Iterable[Problem]:
    swap = facts.system["swap_mib"]
    if not swap:
        return
    if facts.own_kernel:
        devices = ", ".join(facts.swap["devices"])
        yield Problem(
            "note", "swap", f"{swap} MiB of swap are on ({devices})", "lab.up switches it off, lab.down on again"
        )
    else:
        severity: Severity = "warning" if lab.preset == "embedded" else "error"
        yield Problem(
            severity, "swap", f"the host has {swap} MiB of swap", "swapoff -a on the host makes figures steadier"
        )


def _cgroup(facts: Facts, lab: Lab) -> Iterable[Problem]:
    cgroup = facts.cgroup
    if cgroup["version"] not in (1, 2):
        yield Problem("error", "cgroup", "/sys/fs/cgroup is no cgroup tree", "mount it (systemd does so at boot)")
        return
    if cgroup["missing"]:
        names = ", ".join(cgroup["missing"])
        yield Problem(
            "error", "cgroup", f"no cgroup can be made with: {names} (cgroup v{cgroup['version']})",
            "boot with these controllers on; in a container, delegate them",
        )  # fmt: skip
    yield from _preset(cgroup["version"], facts, lab)


def _preset(version: int, facts: Facts, lab: Lab) -> Iterable[Problem]:
    """Each preset wants one version of cgroups; the embedded node takes what the host has."""
    if lab.preset == "supported" and version == 1:
        if facts.boot["loader"]:
            yield Problem(
                "note", "cgroup-v1", "the host runs on cgroup v1, which Kubernetes 1.35 and later refuse",
                "lab.up sets the boot argument systemd.unified_cgroup_hierarchy=1 and reboots the host once",
            )  # fmt: skip
        else:
            yield Problem(
                "error", "cgroup-v1", "cgroup v1, which Kubernetes 1.35 and later refuse, and no boot loader that is "
                "known here (grubby, or GRUB with update-grub)",
                "boot with systemd.unified_cgroup_hierarchy=1, or set preset = \"legacy\"",
            )  # fmt: skip
    if lab.preset != "legacy":
        return
    if version == 2:
        yield Problem(
            "error", "cgroup-v2", "preset legacy is for hosts on cgroup v1, and this one is on cgroup v2",
            "set preset = \"supported\" (or \"auto\")",
        )  # fmt: skip
    nokmem = "cgroup.memory=nokmem"
    if facts.system["kernel"].startswith("4.") and nokmem not in facts.boot["running"]:
        yield Problem(
            "warning", "nokmem", f"kernel {facts.system['kernel']} may leave pods stuck on cgroup v1 without {nokmem} "
            "(kubernetes issue 138388)",
            "set disable_kmem_accounting = true in [host]: lab.up then reboots the host once",
        )  # fmt: skip


def _kernel(facts: Facts, lab: Lab) -> Iterable[Problem]:
    for name, state in facts.modules.items():
        if not state["present"] and not state["loadable"]:
            remedy = f"modprobe {name} on the host" if lab.preset == "embedded" else f"install a kernel with {name}"
            yield Problem("error", f"module-{name}", f"the kernel module {name} is neither loaded nor built in", remedy)
    for name, setting in facts.settings.items():
        wanted = SETTINGS.get(name)
        if wanted is not None and setting["value"] not in (None, wanted) and not setting["writable"]:
            yield Problem(
                "error", f"sysctl-{name}", f"{name} is {setting['value']} and may not be set here",
                f"sysctl -w {name}={wanted} on the host",
            )  # fmt: skip


def _ports(facts: Facts, lab: Lab) -> Iterable[Problem]:
    for port, owner in sorted({**OWN_PORTS, **WORKLOAD_PORTS}.items()):
        holder = facts.ports.get(port)
        ours = facts.kubeadm["config"] and holder == owner
        if holder is not None and not ours:
            yield Problem("error", f"port-{port}", f"port {port} is taken by {holder}", _port_remedy(port, holder))


def _port_remedy(port: int, holder: str) -> str:
    """Return what to do about a program on a port of ours; one that may carry the login is never to be stopped."""
    if holder == "?":
        return f"find out what listens there (ss -ltnp 'sport = :{port}'), and have it use another port"
    if not holder.startswith(LOGIN_PROGRAMS):
        return f"stop {holder} on the node"
    where = f"systemctl list-sockets names the unit of {port}" if holder in INIT_PROGRAMS else "Port in its own file"
    return (
        f"choose another port for it ({where}) and set it as port in [host]; do not stop it first: it may be your "
        "own way in"
    )


def _networks(facts: Facts, lab: Lab) -> Iterable[Problem]:
    wanted = {name: ipaddress.ip_network(getattr(lab.networks, name)) for name in ("pod_cidr", "service_cidr")}
    if wanted["pod_cidr"].overlaps(wanted["service_cidr"]):
        yield Problem(
            "error", "cidr", f"pod_cidr {wanted['pod_cidr']} and service_cidr {wanted['service_cidr']} overlap",
            "choose others in [kubernetes] of lab.toml",
        )  # fmt: skip
    default = _default_in_parts(facts.routes)
    for route, device in sorted(facts.routes.items()):
        if device in OWN_INTERFACES or route in default:
            continue
        for name, network in wanted.items():
            if ipaddress.ip_network(route, strict=False).overlaps(network):
                yield Problem(
                    "error", "route", f"{name} {network} overlaps the node's network {route} on {device}",
                    f"choose another {name} in [kubernetes] of lab.toml",
                )  # fmt: skip
    if not facts.system["nameservers"]:
        yield Problem(
            "error", "dns", "/etc/resolv.conf names no nameserver, and CoreDNS does not start without one",
            "write one into /etc/resolv.conf (it need not answer)",
        )  # fmt: skip


def _default_in_parts(routes: Iterable[str]) -> set[str]:
    """Return the routes that together are a default route, as a VPN writes it in halves (or smaller parts).

    Parts of it lead everywhere and say nothing about which networks are in use. They cover most of all addresses;
    a VPN that leaves some networks out writes more and smaller ones.
    """
    parts = [
        ipaddress.IPv4Network(route) for route in routes if ":" not in route and int(f"{route}/32".split("/")[1]) < 8
    ]
    covered = sum(network.num_addresses for network in ipaddress.collapse_addresses(parts))
    return {str(network) for network in parts} if covered >= 3 << 30 else set()


def _clock(facts: Facts, lab: Lab) -> Iterable[Problem]:
    before, after = facts.asked
    now = facts.system["time"]
    # a slow answer is no wrong clock
    apart = now - before if now < before else max(0, now - after)
    if abs(apart) > CLOCK_SECONDS:
        yield Problem(
            "error", "clock", f"the node's clock is {apart:+.0f} s from this machine's",
            "synchronise both (chrony or systemd-timesyncd)",
        )  # fmt: skip


def _leftovers(facts: Facts, lab: Lab) -> Iterable[Problem]:
    state = facts.kubeadm
    if facts.record["lab"] not in ("", lab.name):
        other = facts.record["lab"]
        yield Problem(
            "error", "other-lab", f"the host is the node of the lab {other}",
            f"take that lab down first: HARDWATT_LAB={other} invoke lab.down",
        )  # fmt: skip
    if (state["kubelet_conf"] or state["admin"]) and not state["config"]:
        yield Problem(
            "error", "foreign-cluster", "the host is a node of a Kubernetes cluster that this lab did not make",
            "use another host, or take it out of that cluster with `kubeadm reset`",
        )  # fmt: skip
    for name, version in sorted(lab.pins.items()):
        installed = facts.packages.get(name)
        if installed and not fnmatch.fnmatchcase(installed, version) and not state["config"]:
            yield Problem(
                "error", f"package-{name}", f"{name} {installed} is installed, the lab pins {version}",
                f"remove the package {name}, or use another host",
            )  # fmt: skip


def _settled(facts: Facts, lab: Lab) -> Iterable[Problem]:
    wanted = {**lab.networks.to_dict(), "kubernetes_version": lab.kubernetes_version}
    for name, value in sorted(facts.made_with.items()):
        if value != wanted[name]:
            yield Problem(
                "error",
                f"made-with-{name}",
                f"the cluster was made with {name} {value}, and now it would be {wanted[name]}",
                "set it back, or invoke lab.down and lab.up: a cluster keeps what it was made with",
            )


CHECKS: tuple[Callable[[Facts, Lab], Iterable[Problem]], ...] = (
    _os,
    _size,
    _swap,
    _cgroup,
    _kernel,
    _ports,
    _networks,
    _clock,
    _leftovers,
    _settled,
    *hostchecks.CHECKS,
)


def table(problems: Iterable[Problem]) -> str:
    """Return the problems as a table for a person."""
    rows = [("severity", "what", "remedy"), *((p.severity, p.what, p.remedy) for p in problems)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows)
