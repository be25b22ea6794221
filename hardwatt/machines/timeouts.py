"""Multiplier for the timeouts of a command, which its lab's machine decides."""

import contextlib
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core.files import read_json
from hardwatt.core.wait import set_timeout_factor

EMULATED = 5.0
"""Multiplier for a machine with an emulated processor: it is about ten times slower, and waits are three times what is
usual."""
RECORD = "machine.json"
"""The lab's record of its machine, in the lab's folder."""


def factor(lab: Lab) -> float:
    """Return the multiplier from the settings and the lab's record of its machine; nothing is probed."""
    settings, record = lab.settings, _record(lab)
    kind = settings.machine if settings.machine != "auto" else record.get("kind")
    if kind == "ssh" or (not kind and settings.host.address):
        return settings.host.timeout_factor
    return EMULATED if kind == "vm" and record.get("accel") == "tcg" else 1.0


def _record(lab: Lab) -> dict[str, Any]:
    """Return the lab's record of its machine; empty if missing or damaged, which commands for a machine report."""
    with contextlib.suppress(OSError, ValueError):
        record = read_json(lab.dir / RECORD, {})
        return record if isinstance(record, dict) else {}
    return {}


def apply(lab: Lab) -> None:
    """Set this process's multiplier to that of the lab's machine."""
    set_timeout_factor(factor(lab))
