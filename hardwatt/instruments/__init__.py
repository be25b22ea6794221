"""Which series, how a window becomes CPU-seconds or joules, and how sure.

Names of outcomes: node_cpu_seconds (primary where the source is modelled), node_joules, git_cpu_seconds,
UNIT_cpu_seconds (kubelet, containerd, ssh), cpu_seconds.NAMESPACE, deliveries_ready, commit_to_ready_seconds;
cross-checks start with ``check.`` or ``closure.``; what Kepler says starts with ``kepler_``.
"""

from hardwatt.instruments.crosschecks import Crosscheck, judged
from hardwatt.instruments.figure import Figure, Measured, Outcome, Refusal
from hardwatt.instruments.interface import Instrument
from hardwatt.instruments.outcomes import INSTRUMENTS, measure, outcomes
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
    "outcomes",
]
