"""Measured series, and their way to CPU-seconds and joules of a window, with uncertainty.

Names of outcomes: node_cpu_seconds (primary where the source is modelled), node_joules, git_cpu_seconds,
UNIT_cpu_seconds (kubelet, containerd, ssh), cpu_seconds.NAMESPACE, deliveries_ready, commit_to_ready_seconds;
cross-checks start with ``check.`` or ``closure.``; figures of Kepler start with ``kepler_``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardwatt.instruments.crosschecks import Crosscheck, judged
    from hardwatt.instruments.figure import Figure, Measured, Outcome, Refusal
    from hardwatt.instruments.interface import Instrument
    from hardwatt.instruments.outcomes import INSTRUMENTS, measure
    from hardwatt.instruments.windows import Rule, WindowError, integrate

__all__ = [
    "INSTRUMENTS",
    "Crosscheck",
    "Figure",
    "Instrument",
    "Measured",
    "Outcome",
    "Refusal",
    "Rule",
    "WindowError",
    "integrate",
    "judged",
    "measure",
]
_LEAF = {
    "Crosscheck": "hardwatt.instruments.crosschecks",
    "Figure": "hardwatt.instruments.figure",
    "INSTRUMENTS": "hardwatt.instruments.outcomes",
    "Instrument": "hardwatt.instruments.interface",
    "Measured": "hardwatt.instruments.figure",
    "Outcome": "hardwatt.instruments.figure",
    "Refusal": "hardwatt.instruments.figure",
    "Rule": "hardwatt.instruments.windows",
    "WindowError": "hardwatt.instruments.windows",
    "integrate": "hardwatt.instruments.windows",
    "judged": "hardwatt.instruments.crosschecks",
    "measure": "hardwatt.instruments.outcomes",
}
"""Public name -> the module that defines it, which is imported when the name is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LEAF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LEAF[name]), name)
