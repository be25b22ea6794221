"""Sources of energy, found by doing: each powercap zone is read for a moment and judged by what it did.

``powercap_probe.py`` watches (here, or on a node through ``python3 -``), ``judge`` says what each zone is, what it
covers, whether it works, and which zones together are the CPU packages.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hardwatt.core import process
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.meter import powercap_probe

PROBE = Path(powercap_probe.__file__)
SECONDS = 2.0
"""How long zones are watched: long enough for a counter that is written ten times a second."""

HERE = "this machine"
PYTHON = '"$(command -v python3 || echo /usr/libexec/platform-python)"'
"""The host's own Python, as a shell finds it; a small RHEL 8 has its platform's alone."""

Kind = Literal["package", "core", "uncore", "dram", "psys", "other"]
_NAME = re.compile(r"(?P<kind>package|core|uncore|dram|psys)(?:-(?P<socket>\d+))?(?:-die-(?P<die>\d+))?")
_WATTS_LIMIT = 20_000.0


@dataclass(frozen=True)
class Zone:
    """One zone and what it did while it was watched.

    ``watts`` and ``updates`` (a second; ``at_least``: every reading was a new one, so it may be more often) are None
    where it did not work; ``wraps_in`` is seconds at these watts. ``counted``: it is part of the CPU packages' sum.
    ``problem`` says in words why it is of no use, ``remedy`` what helps.
    """

    entry: str
    path: str
    name: str
    kind: Kind
    socket: int | None
    covers: str
    watts: float | None
    updates: float | None
    at_least: bool
    wraps_in: float | None
    problem: str
    remedy: str
    counted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the zone as a row for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Sources:
    """Every zone of a machine, and what the node's energy would be read from."""

    zones: tuple[Zone, ...]
    place: str = HERE
    """The machine whose zones these are, in words."""

    @property
    def source(self) -> Literal["rapl", "modelled", "none"]:
        """The kind of the zones that count."""
        counted = [zone for zone in self.zones if zone.counted]
        if not counted:
            return "none"
        return "modelled" if all(_synthetic(zone.entry) for zone in counted) else "rapl"

    @property
    def sentence(self) -> str:
        """What the node's energy is read from, in words."""
        counted = [zone for zone in self.zones if zone.counted]
        if not counted:
            return "no zone works: energy can only be modelled from CPU-seconds (source modelled)"
        watts = sum(zone.watts or 0.0 for zone in counted)
        names = " + ".join(zone.entry for zone in counted)
        return f"source {self.source}: {names}, {watts:.1f} W now"


def roots_here() -> tuple[str, ...]:
    """Return the sysfs roots of this machine, in which its own counters are."""
    return ("/sys",)


def here(roots: Sequence[str] = (), seconds: float | None = None, **doubles: Any) -> Sources:
    """Watch the zones of this machine. ``roots`` are sysfs roots; ``doubles`` are the probe's clock and read."""
    vendor = powercap_probe.vendor()
    watched = powercap_probe.watch(list(roots or roots_here()), SECONDS if seconds is None else seconds, **doubles)
    return judge(watched, vendor)


def here_as_root() -> Sources:
    """Watch the zones of this machine as root, whose counters they are to read.

    Raises ``LabError`` where sudo asks for a password.
    """
    if os.geteuid() == 0:
        return here()
    return on_node(
        lambda text, **more: process.run(process.root(["sh", "-c", text]), **more), roots_here(), SECONDS, place=HERE
    )


def on_node(run: Callable[..., Any], roots: Sequence[str], seconds: float = SECONDS, *, place: str) -> Sources:
    """Watch the zones of a node; ``run(command, stdin=..., check=...)`` is that of an SSH connection.

    Raises ``LabError`` where the node runs no Python, ``VerifyError`` where its answer is not the script's.
    """
    words = " ".join([PYTHON, "-", str(seconds), *map(shlex.quote, roots)])
    done = run(words, stdin=PROBE.read_text(), check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise LabError(f"the counters of {place} were not read with its python3: {said or done.returncode}",
                       hint=f"install python3 on {place}, which lab.up does; then invoke meter.list")  # fmt: skip
    try:
        document = json.loads(done.stdout)
        return judge(document["zones"], document["vendor"], place)
    except (ValueError, KeyError, TypeError) as error:
        raise VerifyError(f"the counters of {place} came back as something else: {error}",
                          hint="invoke lab.status") from None  # fmt: skip


def judge(seen: Sequence[Mapping[str, Any]], vendor: str = "", place: str = HERE) -> Sources:
    """Return what each watched zone is worth. ``vendor`` as in /proc/cpuinfo: AMD's core zone is another thing."""
    whole = [_judged(zone, vendor, _twin(zone, seen)) for zone in seen]
    real = any(zone.counted and not _synthetic(zone.entry) for zone in whole)
    return Sources(tuple(_not_beside_real(zone) if real and _synthetic(zone.entry) else zone for zone in whole), place)


def _judged(zone: Mapping[str, Any], vendor: str, twin: str) -> Zone:
    kind, socket, die = _named(zone["name"])
    watts, updates, at_least = _pace(zone)
    problem, remedy = _problem(zone, watts, twin)
    limit = zone["range_uj"]
    return Zone(
        entry=zone["entry"],
        path=zone["path"],
        name=zone["name"],
        kind=kind,
        socket=socket,
        covers=_covers(kind, socket, die, vendor, zone["entry"]),
        watts=watts,
        updates=updates,
        at_least=at_least,
        wraps_in=limit / 1e6 / watts if limit and watts else None,
        problem=problem,
        remedy=remedy,
        counted=kind == "package" and not problem,
    )


def _named(name: str) -> tuple[Kind, int | None, int | None]:
    found = _NAME.fullmatch(name)
    if found is None:
        return "other", None, None
    socket, die = found["socket"], found["die"]
    return found["kind"], int(socket) if socket else None, int(die) if die else None  # type: ignore[return-value]


def _pace(zone: Mapping[str, Any]) -> tuple[float | None, float | None, bool]:
    """Return watts, changes a second, and whether every reading was a new one."""
    if not zone["first"] or zone["last"][0] <= zone["first"][0]:
        return None, None, False
    seconds = zone["last"][0] - zone["first"][0]
    wraps = sum(after - before + zone["range_uj"] for before, after in zone["drops"]) if zone["range_uj"] else 0
    at_least = zone["changes"] >= 0.9 * (zone["reads"] - 1)
    return (zone["rises_uj"] + wraps) / 1e6 / seconds, zone["changes"] / seconds, at_least


def _problem(zone: Mapping[str, Any], watts: float | None, twin: str) -> tuple[str, str]:
    """Return what is wrong with a zone, and what helps; two empty texts where it works."""
    if zone["error"] in ("Permission denied", "Operation not permitted"):
        return "only root may read it", "read it as root, as the meter and node_exporter do"
    if zone["error"]:
        return f"cannot be read: {zone['error']}", "another zone, or source modelled"
    if twin:
        return f"the same counter as {twin}, through memory", "none needed: it is not added twice"
    limit = zone["range_uj"]
    if not limit:
        return "does not say where it wraps (max_energy_range_uj)", "source modelled: a wrap could not be told"
    if zone["changes"] == 0:
        return "stands still", "a virtual machine's empty counter, or powercap switched off: source modelled"
    if any(before - after < limit / 2 for before, after in zone["drops"]):
        return "goes back without a wrap", "do not measure with it: source modelled"
    if watts is not None and watts > _WATTS_LIMIT:
        return f"rises faster than any machine ({watts:.0f} W)", "do not measure with it: source modelled"
    return "", ""


def _twin(zone: Mapping[str, Any], seen: Sequence[Mapping[str, Any]]) -> str:
    """Return the register's own entry of a zone that is shown through memory too; the empty text where it is alone."""
    if "mmio" not in zone["entry"]:
        return ""
    same = (other for other in seen if other["name"] == zone["name"] and other["entry"].startswith("intel-rapl:"))
    # A register that nobody can read is no reason to leave its readable twin out.
    return next((str(other["entry"]) for other in same if not other["error"] and other["changes"]), "")


def _covers(kind: Kind, socket: int | None, die: int | None, vendor: str, entry: str) -> str:
    """Return in words what a zone's energy includes, and how it stands to the others."""
    where = "" if socket is None else f" of socket {socket}" + ("" if die is None else f", die {die}")
    if _synthetic(entry):
        return "what the power model says of the node's CPU-seconds; measured by nothing"
    if kind == "core" and vendor in ("AuthenticAMD", "HygonGenuine"):
        return "one core of the socket only (AMD counts cores apart): not the node's"
    return {
        "package": f"whole CPU package{where}: cores, caches, memory controller, built-in graphics",
        "core": "all cores of its package; inside the package, never add to it",
        "uncore": "graphics or uncore of its package; inside the package, never add to it",
        "dram": "memory of its package; beside the package, not inside it",
        "psys": "the platform (on laptops all of it), packages included; never add to them",
        "other": "not known to this tool",
    }[kind]


def _synthetic(entry: str) -> bool:
    return entry.startswith("synthetic-model:")


def _not_beside_real(zone: Zone) -> Zone:
    problem = zone.problem or "a model beside a counter that works"
    return Zone(**{**vars(zone), "counted": False, "problem": problem, "remedy": zone.remedy or "source rapl"})


def refuse_none(found: Sources) -> Sources:
    """Return the sources; raise LabError where there is not even a zone that does not work."""
    if not found.zones:
        raise LabError(
            f"{found.place} has no powercap zone",
            hint="modprobe intel_rapl_msr on bare metal; in a virtual machine there is none: source modelled",
        )
    return found
