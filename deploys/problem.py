"""Input and result of a check."""

import dataclasses
from typing import Any, Literal, get_args

from deploys.labdata import CONTAINERS

Severity = Literal["error", "warning", "note"]
"""``error``: lab.up stops before it changes anything; ``warning``: lab.up continues; ``note``: lab.up handles it, or
it is for information."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst first."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a host; fields and severities are those of ``hardwatt/core/problem.py``."""

    severity: Severity
    name: str
    what: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything that the checks look at; where the kernel is not the machine's own, much of it is empty."""

    system: dict[str, Any]
    cgroup: dict[str, Any]
    boot: dict[str, Any]
    record: dict[str, Any]
    surroundings: dict[str, Any]
    headers: dict[str, Any]
    config: dict[str, Any]
    firewalld: dict[str, Any]
    selinux: dict[str, Any]
    swap: dict[str, Any]
    powercap: dict[str, Any]
    modules: dict[str, dict[str, bool]]
    settings: dict[str, dict[str, Any]]
    ports: dict[int, str]
    routes: dict[str, str]
    kubeadm: dict[str, bool]
    made_with: dict[str, str]
    packages: dict[str, str]
    """The versions of what the lab pins, where it is installed."""
    asked: tuple[float, float]
    """Seconds since 1970 on the controller, before and after the node's clock was read."""

    @property
    def own_kernel(self) -> bool:
        """Return whether the kernel's configuration and boot arguments are this machine's own."""
        return bool(self.system["virtualization"] not in CONTAINERS)
