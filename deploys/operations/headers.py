"""Headers of the running kernel, and never another's."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.kernel import Headers
from deploys.operations import Commands
from deploys.operations.boot import require_reboot
from deploys.operations.packages import INSTALL
from deploys.operations.packages import install as apt
from deploys.operations.record import note


@operation()
def matching(family: str, renew: str = "") -> Commands:
    """Install the headers of the kernel that runs.

    Where the repository has them no longer, fail with the choices; with ``renew`` the newest kernel
    and its headers are installed instead, and a reboot is asked for.

    + family: ``debian`` or ``el``
    + renew: the reason for that reboot; empty: the kernel stays as it is
    """
    headers = host.get_fact(Headers)
    release = headers["release"]
    if headers["installed"]:
        host.noop(f"the headers of {release} are there")
        return
    if family == "debian":
        # a source that does not answer (this lab's own, between two runs) is no reason to fail: what counts is
        # whether the package is then known
        name, lists = f"linux-headers-{release}", "apt-get update --quiet -o DPkg::Lock::Timeout=300"
        there, install = f"apt-cache show {shlex.quote(name)} >/dev/null 2>&1", list(apt(shlex.quote(name)))
        newest = [f"linux-image-{flavour(release)}", f"linux-headers-{flavour(release)}"]
        renewal = f"{INSTALL} {' '.join(shlex.quote(package) for package in newest)}"
    else:
        name, lists = devel_package(headers), "dnf --quiet makecache"
        there = f'test -n "$(dnf --quiet repoquery {shlex.quote(name)})"'
        install = [f"dnf install --assumeyes {shlex.quote(name)}"]
        newest = [headers["package"], f"{headers['package']}-devel"]
        renewal = f"dnf install --assumeyes {' '.join(shlex.quote(package) for package in newest)}"
    yield lists
    if renew:
        yield note("kernel", *newest)
        yield renewal
        yield require_reboot(renew)
        return
    yield f"{there} || {{ echo {shlex.quote(choices(name, release))} >&2; false; }}"
    yield note("package", name)
    yield from install


def devel_package(headers: Mapping[str, Any]) -> str:
    """Return the rpm of the running kernel's headers, such as ``kernel-rt-devel-4.18.0-372.9.1.rt7.166.el8.x86_64``.

    + headers: the fact ``Headers``
    """
    return f"{headers['package']}-devel-{headers['build']}"


def flavour(release: str) -> str:
    """Return which of the distribution's kernels this is: ``amd64``, ``cloud-amd64``, ``generic``.

    Both ``6.1.0-28-cloud-amd64`` and ``6.12.57+deb13-amd64`` are in use.
    """
    match = re.match(r"[0-9][^-]*-(?:[0-9.]+-)?(.+)$", release)
    return match.group(1) if match else release


def choices(name: str, release: str) -> str:
    """Return what a person can do where the headers of the running kernel are gone."""
    return (
        f"the package repositories have no {name} (any more), and headers of another kernel than {release} are of no "
        'use. Choose in [host] of lab.toml: kernel_headers = "update" (update the kernel and reboot once), '
        'kernel_headers = "none" (Kepler 0.10 and later read none), or add a repository that has it; '
        "then run the same command again"
    )
