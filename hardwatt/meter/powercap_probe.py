#!/usr/bin/env python3
"""Reads every powercap zone of a machine for a moment and prints what it saw as JSON. It judges nothing.

One file, standard library only, Python 3.6 syntax: it is sent to a node through ``python3 -`` and leaves nothing
there. Arguments: seconds of watching, then one or more sysfs roots.
"""

import argparse
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional

PAUSE_SECONDS = 0.002
KEPT_SECONDS = 0.04
"""Readings that are kept one by one are this far apart: the zones' counters are compared by them."""
DROPS = 20


def read_file(path: str) -> str:
    """Return the text of a small file."""
    with open(path) as file:
        return file.read()


def zones(sysfs: str, read: Callable[[str], str] = read_file) -> List[Dict[str, Any]]:
    """Return the zones of a sysfs root, not yet watched. What has no name is a control type and no zone."""
    base = os.path.join(sysfs, "class/powercap")
    listed = []
    for entry in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        path = os.path.join(base, entry)
        try:
            name = read(os.path.join(path, "name")).strip()
        except OSError:
            continue
        zone: Dict[str, Any] = {"entry": entry, "path": path, "name": name, "error": "", "reads": 0, "changes": 0}
        try:
            zone["range_uj"] = int(read(os.path.join(path, "max_energy_range_uj")))
        except (OSError, ValueError):
            zone["range_uj"] = None
        zone.update({"first": None, "last": None, "rises_uj": 0, "drops": [], "readings": []})
        listed.append(zone)
    return listed


def look(zone: Dict[str, Any], now: float, read: Callable[[str], str], keep: bool = False) -> None:
    """Read one counter once and add it up, and ``keep`` the reading; a zone that failed once is not read again."""
    if zone["error"]:
        return
    try:
        value = int(read(os.path.join(zone["path"], "energy_uj")))
    except (OSError, ValueError) as error:
        zone["error"] = getattr(error, "strerror", None) or "not a number"
        return
    zone["reads"] += 1
    if zone["first"] is None:
        zone["first"] = [now, value]
    elif value != zone["last"][1]:
        zone["changes"] += 1
        if value > zone["last"][1]:
            zone["rises_uj"] += value - zone["last"][1]
        elif len(zone["drops"]) < DROPS:
            zone["drops"].append([zone["last"][1], value])
    zone["last"] = [now, value]
    if keep:
        zone["readings"].append([now, value])


def watch(
    roots: List[str], seconds: float, clock: Any = time, read: Callable[[str], str] = read_file
) -> List[Dict[str, Any]]:
    """Return every zone of the roots after watching all of them for so many seconds."""
    watched = [zone for root in roots for zone in zones(root, read)]
    deadline = clock.monotonic() + seconds
    kept_at = deadline - seconds - KEPT_SECONDS
    while watched:
        keep = clock.monotonic() >= kept_at + KEPT_SECONDS
        if keep:
            kept_at = clock.monotonic()
        for zone in watched:
            look(zone, clock.monotonic(), read, keep)
        if clock.monotonic() >= deadline:
            break
        clock.sleep(PAUSE_SECONDS)
    return watched


def vendor(cpuinfo: str = "/proc/cpuinfo", read: Callable[[str], str] = read_file) -> str:
    """Return the processor's vendor, or the empty text."""
    try:
        lines = read(cpuinfo).splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def main(argv: Optional[List[str]] = None) -> int:
    """Print the zones of the roots."""
    parser = argparse.ArgumentParser(prog="powercap_probe.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", type=float, help="how long the counters are watched")
    parser.add_argument("roots", nargs="*", default=["/sys"], metavar="ROOT", help="sysfs (default: /sys)")
    given = parser.parse_args(argv)
    print(json.dumps({"vendor": vendor(), "zones": watch(given.roots, given.seconds)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
