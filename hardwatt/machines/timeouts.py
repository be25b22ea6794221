"""Multiplier for the timeouts of a command, which its lab's machine decides."""

from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import state_files
from hardwatt.core.ports import number
from hardwatt.core.process import Process
from hardwatt.core.wait import set_timeout_factor

EMULATED = 5.0
"""Multiplier for a machine with an emulated processor: it is about ten times slower, and waits are three times what is
usual."""
RECORD = "machine.json"
"""The lab's record of its machine, in the lab's folder."""
_WITH_ENDPOINT = {"embedded": ("subnet",), "vm": ("ports", "accel")}
"""Kinds of machine that are recorded, and what a record holds besides the endpoint."""


def factor(lab: Lab) -> float:
    """Return the multiplier from the settings and the lab's record of its machine; nothing is probed."""
    settings = lab.settings
    record = state_files.cached(lab.dir / RECORD, _checked) or {}  # commands for a machine report a damaged one
    kind = settings.machine if settings.machine != "auto" else record.get("kind")
    if kind == "ssh" or (not kind and settings.host.address):
        return settings.host.timeout_factor
    return EMULATED if kind == "vm" and record.get("accel") == "tcg" else 1.0


def record(lab: Lab) -> dict[str, Any]:
    """Return the lab's record of its machine; empty if the lab has none. Raises ``LabError`` for a damaged one."""
    what = "the lab's record of its machine,"
    return state_files.read(lab.dir / RECORD, _checked, what=what, then="invoke lab.up") or {}


def _checked(value: Any) -> dict[str, Any]:
    """Return a record that ``LocalMachine`` and its kinds can use as it is. Raises ``ValueError`` or its like."""
    state = state_files.mapping(value)
    if state["kind"] not in _WITH_ENDPOINT:
        raise ValueError(f"the kind of machine {state['kind']!r} is unknown")
    present = [key for key in _CHECKS if state.get(key)]
    needed = _WITH_ENDPOINT[state["kind"]] if state.get("endpoint") else ()  # the last of what a start writes down
    for key in dict.fromkeys((*present, *needed)):
        _CHECKS[key](state[key])
    return state


def _accelerator(value: Any) -> None:
    if value not in ("kvm", "tcg"):
        raise ValueError(f"the acceleration {value!r} is unknown")


_CHECKS: dict[str, Callable[[Any], object]] = {
    "process": Process.from_dict,
    "endpoint": Endpoint.from_dict,
    "subnet": lambda subnet: IPv4Network(state_files.text(subnet)),
    "ports": lambda ports: [number(port) for port in (ports["ssh"], *ports.values())],
    "accel": _accelerator,
    "ident": state_files.text,
    "uuid": state_files.text,
}
"""Check of each entry of a record."""


def apply(lab: Lab) -> None:
    """Set this process's multiplier to that of the lab's machine."""
    set_timeout_factor(factor(lab))
