"""Units that a column's name shows, and units whose values cannot be below zero."""

from __future__ import annotations

import re
from typing import Final

_KNOWN: Final = {
    "j": "J", "joule": "J", "joules": "J", "uj": "uJ", "µj": "uJ", "mj": "mJ", "kj": "kJ", "nj": "nJ",
    "microjoules": "uJ", "millijoules": "mJ", "wh": "Wh", "kwh": "kWh", "mwh": "mWh", "uwh": "uWh",
    "w": "W", "watt": "W", "watts": "W", "mw": "mW", "uw": "uW", "kw": "kW",
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "ms": "ms", "milliseconds": "ms", "us": "us", "µs": "us",
    "ns": "ns", "nanoseconds": "ns", "min": "min", "minutes": "min", "kg": "kg", "g": "g", "mg": "mg",
    "gco2": "gCO2", "gco2e": "gCO2e", "gco2eq": "gCO2eq", "kgco2e": "kgCO2e", "kgco2eq": "kgCO2eq",
}  # fmt: skip
NEVER_NEGATIVE: Final = frozenset(unit for unit in _KNOWN.values() if unit not in {"kg", "g", "mg"})
"""Energy, power, time and emissions of a run."""
_BRACKETS: Final = re.compile(r"[(\[{]\s*([^()\[\]{}]+?)\s*[)\]}]\s*$")
_LAST_WORD: Final = re.compile(r"(?:[_\s./-])([A-Za-zµμ0-9]+)\s*$")
_DIFFERENCE: Final = re.compile(r"(?:^|[^a-z])(?:diff|difference|delta|change|saving|savings)(?:[^a-z]|$)")


def of_name(column: str) -> str:
    """Return the unit that a column's name is or ends with, ``joules`` or ``energy_J``; empty where none is known."""
    whole = column.strip()
    if len(whole) > 2 and whole.lower() in _KNOWN and whole.lower() != "min":
        return "MWh" if whole.startswith("MW") else _KNOWN[whole.lower()]
    for pattern in (_BRACKETS, _LAST_WORD):
        if match := pattern.search(column):
            word = match[1].replace("μ", "µ")
            if word in ("MJ", "MW", "MWh", "Mwh"):
                return word.replace("Mwh", "MWh")
            if unit := _KNOWN.get(word.lower()):
                return unit
    return ""


def never_negative(unit: str, column: str) -> bool:
    """Return True if a value of a run cannot be below zero. A difference can, as its column's name says."""
    known = unit in NEVER_NEGATIVE or unit in ("MJ", "MW", "MWh")
    return known and not _DIFFERENCE.search(column.lower())
