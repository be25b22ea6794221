"""Data that steps may decide by: the lab's data, and facts of the machine that no step changes."""

import functools
import re
import weakref
from collections.abc import Callable
from typing import Any, cast

from pyinfra import host
from pyinfra.api import DeployError, FactBase, Host
from pyinfra.api import deploy as pyinfra_deploy
from pyinfra.context import ctx_host

from deploys.contract import ContractError, Lab
from deploys.facts.boot import Boot
from deploys.facts.cgroup import Cgroup
from deploys.facts.kernel import Headers
from deploys.facts.power import Powercap
from deploys.facts.selinux import Selinux, judges
from deploys.facts.system import System

CONTAINERS = ("docker", "lxc", "lxc-libvirt", "openvz", "podman", "pouch", "proot", "rkt", "systemd-nspawn", "wsl")
"""What systemd-detect-virt calls a machine that runs on somebody else's kernel."""
_EL_PLATFORM = re.compile(r"platform:el(\d+)")
"""PLATFORM_ID of RHEL and of what is built from its sources, whatever ID and ID_LIKE say."""
UNIFIED = "systemd.unified_cgroup_hierarchy=1"
NOKMEM = "cgroup.memory=nokmem"

_asked: weakref.WeakKeyDictionary[Host, dict[str, Any]] = weakref.WeakKeyDictionary()


def lab() -> Lab:
    """Return the lab's data of the current host, as ``hardwatt.provision.node_data`` writes it.

    Raises ``DeployError`` where the inventory has none, or something else.
    """
    data = host.data.get("lab")
    if not data:
        raise DeployError("the inventory gives no lab data; use inventory/lab.py after `invoke lab.up`")
    try:
        return Lab.from_dict(data)
    except ContractError as error:
        raise DeployError(
            f"the inventory's lab data do not fit: {error}; `invoke lab.check` writes them anew"
        ) from None


def boot() -> dict[str, Any]:
    """Return the fact ``Boot`` as it was when this run began."""
    return cast(dict[str, Any], _once(Boot))


def cgroup() -> dict[str, Any]:
    """Return the fact ``Cgroup``, asked once in a run."""
    return cast(dict[str, Any], _once(Cgroup))


def system() -> dict[str, Any]:
    """Return the fact ``System``, asked once in a run; its clock and its free space are of that moment."""
    return cast(dict[str, Any], _once(System))


def family() -> str:
    """Return ``debian`` (Ubuntu too), ``el`` (RHEL and its relatives), or an empty string."""
    return family_of(system())


def family_of(machine: dict[str, Any]) -> str:
    """Return the family of distributions of a machine with this fact ``System``."""
    names = {machine["os"], *machine["os_like"]}
    if {"debian", "ubuntu"} & names:
        return "debian"
    return "el" if {"rhel", "centos"} & names or _EL_PLATFORM.fullmatch(machine.get("platform", "")) else ""


def el_release(machine: dict[str, Any]) -> str:
    """Return the release of RHEL that a machine of its family follows: ``8.6``, or ``8`` where only that is known.

    A relative may count its own releases; its platform id names RHEL's.
    """
    version, match = str(machine["os_version"]), _EL_PLATFORM.fullmatch(machine.get("platform", ""))
    if match is None or version.partition(".")[0] == match[1]:
        return version
    return match[1]


def headers() -> dict[str, Any]:
    """Return the fact ``Headers`` as it was when this run began."""
    return cast(dict[str, Any], _once(Headers))


def powercap() -> dict[str, Any]:
    """Return the fact ``Powercap`` where the lab is to read energy counters; else an empty one."""
    if lab().meter.config.get("source") != "rapl":
        return Powercap().process([])
    return cast(dict[str, Any], _once(Powercap))


def selinux() -> dict[str, Any]:
    """Return the fact ``Selinux`` as it was when this run began."""
    return cast(dict[str, Any], _once(Selinux)) if own_kernel() else Selinux().process([])


def selinux_on() -> bool:
    """Return whether SELinux judges on this machine, enforcing or only telling."""
    return judges(selinux())


def confined() -> bool:
    """Return whether containers run confined by SELinux: where the distribution has a policy of containers."""
    return family() == "el" and selinux_on()


def own_kernel() -> bool:
    """Return whether the machine has a kernel of its own: boot arguments, headers and modules are then ours to set."""
    return system()["virtualization"] not in CONTAINERS


def wanted_arguments() -> tuple[list[str], str]:
    """Return the boot arguments that the preset wants and this boot has not, and why."""
    data = lab()
    if data.preset == "supported" and cgroup()["version"] == 1:
        return [UNIFIED], "cgroup v2 is switched on: Kubernetes 1.35 and later refuse cgroup v1"
    if data.preset == "legacy" and data.boot.disable_kmem_accounting and NOKMEM not in boot()["running"]:
        return [NOKMEM], "kernel memory accounting is switched off, as [host] disable_kmem_accounting asks"
    return [], ""


def renews_kernel() -> bool:
    """Return whether the kernel is updated in this run: its headers are gone, and [host] kernel_headers allows it."""
    if not own_kernel() or lab().boot.kernel_headers != "update":
        return False
    state = headers()
    return bool(state["lists"] and not state["installed"] and not state["known"])


def reboot_reasons() -> list[str]:
    """Return why the machine has to be rebooted before the rest of the list; empty: it need not."""
    if not own_kernel():
        return []
    wanted, reason = wanted_arguments()
    reasons = [*boot()["required"], *([reason] if wanted else [])]
    if renews_kernel():
        reasons.append(renewal_reason(headers()["release"]))
    return list(dict.fromkeys(reasons))


def renewal_reason(release: str) -> str:
    """Return why a reboot is wanted after the kernel was updated."""
    return f"the kernel is updated: the headers of {release} are gone from the repository"


def step(title: str, **defaults: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Make a deploy of a function, one that does nothing in a run that ends with a reboot.

    ``defaults`` are host data that the inventory may leave out.
    """

    def wrap(function: Callable[[], None]) -> Callable[[], None]:
        @pyinfra_deploy(title, data_defaults=defaults)
        @functools.wraps(function)
        def run() -> None:
            if not reboot_reasons():
                function()

        return cast(Callable[[], None], run)

    return wrap


def _once(fact: type[FactBase[Any]]) -> Any:
    answers = _asked.setdefault(ctx_host.get(), {})  # type: ignore[no-untyped-call] # pyinfra has no types there
    if fact.__name__ not in answers:
        answers[fact.__name__] = host.get_fact(fact)
    return answers[fact.__name__]
