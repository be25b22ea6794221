"""Measured series, and their way to CPU-seconds and joules of a window, with uncertainty.

Names of outcomes: node_cpu_seconds (primary where the source is modelled), node_joules, git_cpu_seconds,
UNIT_cpu_seconds (kubelet, containerd, ssh), cpu_seconds.NAMESPACE, deliveries_ready, commit_to_ready_seconds;
cross-checks start with ``check.`` or ``closure.``; figures of Kepler start with ``kepler_``.
"""

from typing import TYPE_CHECKING

from hardwatt.core.lazy_names import lazy_names

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

__getattr__ = lazy_names(
    __name__,
    {
        "crosschecks": ("Crosscheck", "judged"),
        "figure": ("Figure", "Measured", "Outcome", "Refusal"),
        "interface": ("Instrument",),
        "outcomes": ("INSTRUMENTS", "measure"),
        "windows": ("Rule", "WindowError", "integrate"),
    },
)
