"""Hosts that nobody has recorded: answers constructed from the documentation of five distributions.

They stand in for machines that were not within reach: plans are made for them
(``tests/deploys/plans``) and the guide ``docs/the-hard-way.md`` is written for one. Versions of kernels
are those of each release's installation media; sizes and addresses are invented.
"""

import dataclasses
import re
import time
from typing import Any

from deploys import contract
from hardwatt.testing import fake_host

_RAPL = "read=yes\nfirst package-0@intel-rapl:0 1000\nsecond package-0@intel-rapl:0 2500\ndriver intel_rapl_msr"
_FIREWALLD = "read=yes\nactive=yes\nzone=public\nflush=yes"
_V1 = """\
version=1
usable=blkio cpu cpuacct cpuset devices freezer memory pids
unit=4:memory:/system.slice/run-u7.service 1:name=systemd:/system.slice/run-u7.service"""


@dataclasses.dataclass(frozen=True)
class Constructed:
    """One host: what it answers, and what it was constructed from."""

    name: str
    constructed_from: str
    answers: dict[str, str]


def _system(**values: str) -> str:
    """Return the answer of the good host with other values."""
    good = dict(line.split("=", 1) for line in fake_host.answers()[": facts.system"].splitlines())
    return "\n".join(f"{key}={value}" for key, value in {**good, **values}.items())


def _el(release: str, kernel: str, ident: str, like: str, **more: str) -> dict[str, str]:
    return {
        "system": _system(os=ident, os_version=release, codename="", os_like=like, kernel=kernel, cpus="16",
                          memory_kib="65811456", swap_kib="4194300"),
        "headers": f"release={kernel}\nlists=yes\nknown=yes",
        "boot": "cmdline ro crashkernel=auto rhgb quiet\nloader grubby\nentry ro crashkernel=auto rhgb quiet",
        "firewalld": _FIREWALLD,
        "selinux": "read=yes\nmode Enforcing",
        "swap": "read=yes\ndevice /dev/dm-1\nunit dev-dm\\x2d1.swap",
        "unmanaged": "read=yes\nruns=yes",
        "modules": "overlay no yes\nbr_netfilter no yes\nintel_rapl_msr no yes",
        "powercap": _RAPL,
        "rpms": "read=yes",
        "keys": "sha256 ",
        **more,
    }  # fmt: skip


def _debian(**more: str) -> dict[str, str]:
    return {"modules": "overlay no yes\nbr_netfilter no yes\nintel_rapl_msr no yes", "powercap": _RAPL, **more}


RHEL86 = _el("8.6", "4.18.0-372.9.1.el8.x86_64", "rhel", "fedora", cgroup=_V1)
UNIFIED = "systemd.unified_cgroup_hierarchy=1"

HOSTS = {
    host.name: host
    for host in (
        Constructed("rhel-8.6", "RHEL 8.6's installation: cgroup v1, SELinux, firewalld, swap on LVM", RHEL86),
        Constructed(
            "rhel-8.6-rebooted",
            "the same after its boot arguments were set: the unified hierarchy",
            {
                **RHEL86,
                "cgroup": fake_host.answers()[": facts.cgroup"],
                "boot": f"cmdline ro crashkernel=auto rhgb quiet {UNIFIED}\nloader grubby\n"
                f"entry ro crashkernel=auto rhgb quiet {UNIFIED}",
                "record": f"read=yes\nlab fake\nentry bootarg {UNIFIED.partition('=')[0]}",
            },
        ),
        Constructed(
            "rocky-8.10",
            "Rocky Linux 8.10's installation, switched to the unified hierarchy before",
            _el("8.10", "4.18.0-553.el8_10.x86_64", "rocky", "rhel centos fedora"),
        ),
        Constructed(
            "rocky-9",
            "Rocky Linux 9.5's installation: the unified hierarchy",
            _el("9.5", "5.14.0-503.14.1.el9_5.x86_64", "rocky", "rhel centos fedora"),
        ),
        Constructed("debian-12", "Debian 12's installation without swap", _debian()),
        Constructed(
            "ubuntu-24.04",
            "Ubuntu Server 24.04's installation: /swap.img, systemd-resolved",
            _debian(
                system=_system(os="ubuntu", os_version="24.04", codename="noble", os_like="debian",
                               kernel="6.8.0-31-generic", swap_kib="4194300", nameservers="127.0.0.53"),
                headers="release=6.8.0-31-generic\nlists=yes\nknown=yes",
                swap="read=yes\ndevice /swap.img\nunit swap.img.swap",
            ),
        ),
    )
}  # fmt: skip


def lab(name: str, **changed: Any) -> dict[str, Any]:
    """Return the data of a lab on one host, from this lab's mirror, as ``hardwatt.provision.node_data`` writes it."""
    data = fake_host.lab(meter={**fake_host.LAB.meter.to_dict(), "config": {"source": "rapl"}})
    if name.startswith(("rhel", "rocky")):
        data["packages"] = {
            group: {package: version.replace("+lab.", "-1.lab.") for package, version in pins.items()}
            for group, pins in data["packages"].items()
        }
        data["distribution_packages"] = ["conntrack-tools", "container-selinux", "iproute-tc", "runc"]
        data["repository"] = contract.RpmRepository(
            url="http://127.0.0.1:8701/rpm",
            key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
            fingerprint="567E347AD0044ADE55BA8A5F199E2F91FD431D51",
        ).to_dict()
    return fake_host.lab(**{**data, **changed})


def host(name: str, lab: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return one of the hosts as an inventory gives it."""
    responses = fake_host.answers(**HOSTS[name].answers)
    # an invented machine's clock is right when it is asked
    clock = f"time={int(time.time())}"
    responses[": facts.record"] = responses[": facts.record"].replace("lab fake", f"lab {lab['name']}")
    responses[": facts.system"] = re.sub(r"^time=\d+$", clock, responses[": facts.system"], flags=re.MULTILINE)
    return "@fake/node-1", {
        "fake_responses": responses, "fake_delay": 0, "fake_delay_jitter": 0, "lab": lab, **fake_host.GIT,
    }  # fmt: skip
