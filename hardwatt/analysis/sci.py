"""Software Carbon Intensity (ISO/IEC 21031:2024, SCI 1.1): ((E x I) + M) per R, with the interval of E.

Two E are reported, because the specification asks for all energy of hardware that is reserved, and a decision needs
what it changes. *Reserved*: all energy of the node in a window, and its share of the embodied carbon. *Marginal*: the
energy above the node's floor (what it draws with idle processors), without embodied carbon, because no window makes
the machine; where the floor is not known it is left out. In the difference of both arms floor and machine cancel.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hardwatt.analysis import paired
from hardwatt.analysis.bundle_sections import SciResult, SciRow
from hardwatt.analysis.figures import figure
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.sections import ByArm, ResultFigure
from hardwatt.analysis.table import Table
from hardwatt.core.errors import LabError, SettingsError

DEFAULT = Path(__file__).parents[1] / "data" / "sci.toml"
JOULES = "node_joules"
JOULES_PER_KWH = 3.6e6
SECONDS_PER_YEAR = 365 * 86_400.0
HOUR = 3600.0


class Value(BaseModel):
    """One input with its unit, its source and bounds where they are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    value: float = Field(ge=0)
    unit: str
    source: str = Field(min_length=3)
    low: float | None = Field(None, ge=0)
    high: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Value:
        if not self.least <= self.value <= self.most:
            raise ValueError("low, value and high must be in this order")
        return self

    @property
    def least(self) -> float:
        """The lower bound, or the value where none is known."""
        return self.value if self.low is None else self.low

    @property
    def most(self) -> float:
        """The upper bound, or the value where none is known."""
        return self.value if self.high is None else self.high

    def figure(self) -> ResultFigure:
        """Return the input as results.json holds it."""
        return figure(self.value, self.unit, self.source, self.low, self.high)


_UNITS = {
    "intensity": "gCO2e per kWh",
    "pue": "1",
    "embodied": "kg CO2e",
    "lifespan": "years",
    "share": "1",
    "threads": "1",
}


class Sci(BaseModel):
    """The settings file: everything in SCI that is not measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    intensity: Value
    pue: Value
    embodied: Value
    lifespan: Value
    share: Value | None = None
    """Part of the machine's making that the node takes; left out: it follows from ``threads``."""
    threads: Value | None = None
    """Threads of the machine whose making ``embodied`` is."""

    @model_validator(mode="after")
    def _units(self) -> Sci:
        given = {name: getattr(self, name) for name in _UNITS if getattr(self, name) is not None}
        wrong = [f"{name} is in {_UNITS[name]}" for name, value in given.items() if value.unit != _UNITS[name]]
        if wrong:
            raise ValueError("; ".join(wrong))
        if self.share is None and self.threads is None:
            raise ValueError("share or threads is missing")
        if self.lifespan.least <= 0 or self.pue.least < 1 or (self.share is not None and self.share.most > 1):
            raise ValueError("the lifespan is above zero, pue at least 1, share at most 1")
        if self.threads is not None and self.threads.least < 1:
            raise ValueError("the machine has one thread or more")
        return self

    def share_of(self, node_threads: float | None) -> Value:
        """Return the part of the machine's making that belongs to the energy: both have one boundary.

        *node_threads*: the threads whose energy is counted; ``None``: that of the whole machine.
        """
        if self.share is not None:
            return self.share
        if node_threads is None or self.threads is None:
            return Value(value=1.0, unit="1", source="the energy is that of the whole machine, and so is its making")
        parts = [min(1.0, node_threads / of) for of in (self.threads.value, self.threads.most, self.threads.least)]
        source = f"energy is counted of {node_threads:g} threads; the machine has {self.threads.value:g}"
        return Value(value=parts[0], unit="1", source=source, low=parts[1], high=parts[2])


def settings(path: Path | None = None) -> Sci:
    """Read the settings file; the one that is shipped where *path* is left out. Raises `SettingsError`."""
    file = path or DEFAULT
    try:
        return Sci.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {file}", hint=f"copy {DEFAULT.name} of the package") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}", hint=f"compare it with {DEFAULT.name}") from None
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"{file}: {lines}", hint=f"compare it with {DEFAULT.name} of the package") from None


def embodied_grams(total_kg: float, seconds: float, years: float, share: float = 1.0) -> float:
    """M = TE x (TiR / EL) x (RR / ToR), in grams: the part of a machine's making that falls on a time."""
    if years <= 0:
        raise LabError("a machine's lifespan is above zero years")
    return total_kg * 1000 * seconds / (years * SECONDS_PER_YEAR) * share


def operational_grams(joules: float, intensity: float, pue: float = 1.0) -> float:
    """E x I in grams, *intensity* in grams by kWh."""
    return joules / JOULES_PER_KWH * pue * intensity


def section(
    table: Table, given: Sci, floor_watts: float | None, modelled: bool, level: float, node_threads: float | None = None
) -> SciResult | None:
    """SCI of both arms and of their difference, by deployment and by application-hour.

    ``None`` where the energy of a window is missing. *floor_watts* is what the node draws with idle processors,
    ``None`` where nobody knows it. *node_threads*: the threads whose energy is counted, see `Sci.share_of`.
    """
    columns = table.columns(JOULES)
    if columns is None or not table.pairs:
        return None
    given = given.model_copy(update={"share": given.share_of(node_threads)})
    parts = {arm: _arm(table, arm, [window.value for window in columns[arm]], floor_watts) for arm in table.arms}
    rows = [row for unit in ("deployment", "application-hour") if (row := _row(table, parts, unit, given, level))]
    return SciResult(
        rows=rows,
        settings={name: getattr(given, name).figure() for name in _UNITS if getattr(given, name) is not None},
        floor=figure(floor_watts, "W", "power model" if floor_watts is not None else "not known"),
        says=f"{_says(modelled, floor_watts)} {_largest(parts[table.arms[0]], given, floor_watts)}",
    )


def _says(modelled: bool, floor: float | None) -> str:
    lines = ["Reserved: all energy of the node in a window, and its part of the machine's making."]
    if floor is None:
        lines.append("What the node draws with idle processors is not known here, so there is no marginal figure.")
    else:
        lines.append("Marginal: energy above what the node draws with idle processors, without the machine's making.")
    if modelled:
        lines.append("No watt was measured, so these are CPU-seconds in other units: a size to imagine, no evidence.")
    lines.append("Intervals are those between pairs, widened by the bounds of the settings where they give any.")
    return " ".join(lines)


def _largest(part: _Arm, given: Sci, floor: float | None) -> str:
    """Name the largest part of the reserved figure, in the first arm."""
    seconds, joules = float(part.seconds.sum()), float(part.joules["reserved"].sum())
    idle = 0.0 if floor is None else min(joules, floor * seconds)
    share = 1.0 if given.share is None else given.share.value
    making = embodied_grams(given.embodied.value, seconds, given.lifespan.value, share)
    grams = {
        "the machine's making, which is assumed and not measured": making,
        "the energy of idle processors": operational_grams(idle, given.intensity.value, given.pue.value),
        "the energy of work" if floor is not None else "the energy of the node": operational_grams(
            joules - idle, given.intensity.value, given.pue.value
        ),
    }
    name = max(grams, key=lambda each: grams[each])
    whole = sum(grams.values())
    return f"The largest part of the reserved figure is {name}: {100 * grams[name] / whole:.0f} %." if whole else ""


class _Arm:
    """Joules above the floor and in all, seconds, deployments and application-hours of each window; shapes (n,)."""

    def __init__(self, joules: Sequence[float], seconds: Sequence[float], ready: Sequence[float], floor: float | None):
        self.seconds = np.asarray(seconds)
        self.units = {"deployment": np.asarray(ready), "application-hour": self.seconds / HOUR}
        self.joules = {"reserved": np.asarray(joules)}
        if floor is not None:
            self.joules["marginal"] = self.joules["reserved"] - floor * self.seconds


def _arm(table: Table, arm: str, joules: Sequence[float], floor: float | None) -> _Arm:
    runs = [pair.runs[arm] for pair in table.pairs]
    return _Arm(joules, [table.seconds(run) for run in runs], [float(run.ready) for run in runs], floor)


def _row(table: Table, parts: Mapping[str, _Arm], unit: str, given: Sci, level: float) -> SciRow | None:
    """One unit R: both kinds of energy, both arms; ``None`` where a window has none of the unit."""
    if any((part.units[unit] <= 0).any() for part in parts.values()):
        return None

    def by_arm(kind: str) -> ByArm:
        return {arm: _bounded(_by_window(part, kind, unit, given), unit, level) for arm, part in parts.items()}

    marginal = by_arm("marginal") if all("marginal" in part.joules for part in parts.values()) else None
    first, second = (parts[arm] for arm in table.arms)
    change = _by_window(second, "reserved", unit, given) - _by_window(first, "reserved", unit, given)
    return SciRow(unit, by_arm("reserved"), marginal, _bounded(change, unit, level))


def _by_window(part: _Arm, kind: str, unit: str, given: Sci) -> Any:
    """Grams by window of each bound of the settings: shape (n, 3) for value, low, high."""
    rows = []
    for bound in ("value", "least", "most"):
        intensity, pue = getattr(given.intensity, bound), getattr(given.pue, bound)
        other = {"value": "value", "least": "most", "most": "least"}[bound]
        years = getattr(given.lifespan, other)  # a long life makes a small part
        share = 1.0 if given.share is None else getattr(given.share, bound)
        making = embodied_grams(getattr(given.embodied, bound), 1.0, years, share)
        embodied = part.seconds * making if kind == "reserved" else 0.0
        rows.append((operational_grams(1.0, intensity, pue) * part.joules[kind] + embodied) / part.units[unit])
    return np.column_stack(rows)


def _bounded(grams: Any, unit: str, level: float) -> ResultFigure:
    """Mean with its interval; the outer bounds of the settings' bounds."""
    estimates: list[Estimate] = [paired.mean_difference(grams[:, k], level) for k in range(3)]
    lows = [estimate.low for estimate in estimates if estimate.low is not None]
    highs = [estimate.high for estimate in estimates if estimate.high is not None]
    source = "SCI of the node's joules and the settings file"
    low, high = (min(lows), max(highs)) if lows else (None, None)
    return figure(estimates[0].value, f"gCO2e per {unit}", source, low, high)
