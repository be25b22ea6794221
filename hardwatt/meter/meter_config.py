"""The meter's configuration: its defaults, and what is wrong with one. ``hardwatt_meter`` describes the keys.

Standard library only, Python 3.6 syntax: it runs on the node, and where a node's configuration is made.
"""

import difflib
import json
import os
from typing import Any, Dict, List, Tuple

DEFAULTS: Dict[str, Any] = {
    "source": "modelled",
    "force_model": False,
    "cpu": "procstat",
    "cpus": 0,
    "units": [],
    "unit": "hardwatt-meter.service",
    "named": {},
    "model": {},
    "zone": "package-0",
    "max_energy_range_uj": 262143328850,
    "tick_seconds": 0.1,
    "units_seconds": 1.0,
    "write_seconds": 0.1,
    "record": "/var/lib/hardwatt/meter/record/recording",
    "record_bytes": 67108864,
    "sysfs": "/var/lib/hardwatt/meter/sysfs",
    "textfile": "/var/lib/hardwatt/meter/textfile/hardwatt.prom",
    "podfile": "/var/lib/hardwatt/meter/textfile/hardwatt_pods.prom",
    "state": "/var/lib/hardwatt/meter/state.json",
    "powercap": "/sys/class/powercap",
    "proc": "/proc",
    "cgroups": "/sys/fs/cgroup",
    "pod_logs": "/var/log/pods",
}

SUBZONES = ("core", "dram", "uncore")
INSIDE = ("core", "uncore")


class ConfigError(Exception):
    """The configuration cannot be used, or must not be."""


def load_config(text: str) -> Dict[str, Any]:
    """Return the configuration with defaults; raise ConfigError that names every mistake."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError("not JSON: %s" % error) from None
    if not isinstance(given, dict):
        raise ConfigError("not a JSON object")
    problems = []
    for key in sorted(set(given) - set(DEFAULTS)):
        near = difflib.get_close_matches(key, list(DEFAULTS), 1)
        problems.append("unknown key %r%s" % (key, ", did you mean %r?" % near[0] if near else ""))
    config = dict(DEFAULTS)
    config.update(given)
    config["cpus"] = config["cpus"] or os.cpu_count() or 1
    problems += check_values(config)
    if problems:
        raise ConfigError("; ".join(problems))
    return config


def check_values(config: Dict[str, Any]) -> List[str]:
    """Return what is wrong with the values."""
    problems = []
    if config["source"] not in ("modelled", "rapl"):
        problems.append("source is %r, not modelled or rapl" % config["source"])
    for key in ("cpus", "max_energy_range_uj", "tick_seconds", "units_seconds", "write_seconds", "record_bytes"):
        value = config[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            problems.append("%s is %r, not a number above zero" % (key, value))
    if not isinstance(config["units"], list) or not all(isinstance(unit, str) for unit in config["units"]):
        problems.append("units is not a list of names")
    named = config["named"]
    if not isinstance(named, dict) or not all(isinstance(folder, str) for folder in named.values()):
        problems.append("named is not a table of names and folders")
    if config["source"] == "modelled":
        problems += check_model(config["model"])
    return problems


def neighbours(items: List[Any]) -> List[Tuple[Any, Any]]:
    """Return each item with the one after it."""
    return [(items[i], items[i + 1]) for i in range(len(items) - 1)]


def check_model(model: Dict[str, Any]) -> List[str]:
    """Return what is wrong with a power model."""
    if not isinstance(model, dict) or not {"name", "points"} <= set(model) <= {"name", "points", "zones"}:
        return ["model needs exactly name and points, and may have zones"]
    problems = check_points("model points", model["points"])
    zones = model.get("zones", {})
    if not isinstance(zones, dict) or not set(zones) <= set(SUBZONES):
        return problems + ["model zones are not among %s" % ", ".join(SUBZONES)]
    for name in sorted(zones):
        faults = check_points("points of zone %s" % name, zones[name])
        if not faults and not problems and name in INSIDE:
            loads = [load for load, _ in model["points"]] + [load for load, _ in zones[name]]
            if any(watts_at(zones[name], load) > watts_at(model["points"], load) for load in loads):
                faults = ["zone %s draws more than the package that it lies in" % name]
        problems += faults
    return problems


def check_points(what: str, given: Any) -> List[str]:
    """Return what is wrong with the points of one zone."""
    try:
        points = [(float(load), float(watts)) for load, watts in given]
    except (TypeError, ValueError):
        return ["%s are not pairs of numbers" % what]
    loads, watts = [load for load, _ in points], [power for _, power in points]
    if len(points) < 2 or loads[0] != 0 or loads[-1] != 1 or any(b <= a for a, b in neighbours(loads)):
        return ["%s do not rise from utilisation 0 to 1" % what]
    if watts[0] <= 0 or any(b < a for a, b in neighbours(watts)):
        return ["%s: watts are not above zero and rising" % what]
    return []


def watts_at(points: List[List[float]], load: float) -> float:
    """Return the watts at a utilisation.

    Above full load the last line goes on: a counter that was late and catches up must not lose what it caught up.
    """
    load = max(0.0, load)
    for (low, at_low), (high, at_high) in neighbours(points):
        if load <= high or high == points[-1][0]:
            return float(at_low + (at_high - at_low) * (load - low) / (high - low))
    raise ConfigError("a model without points")
