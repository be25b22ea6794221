"""Sources of energy, found by doing: each powercap zone is read for a moment and judged by what it did.

``powercap_probe.py`` watches (here, or on a node through ``python3 -``), ``judge`` says what each zone is, what it
covers, whether it works, and which zones together are the CPU packages.
"""

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hardwatt.core import process
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.meter import powercap_probe, zones
from hardwatt.meter.accuracy import Accuracy, published

PROBE = Path(powercap_probe.__file__)
SECONDS = 2.0
"""Seconds for which zones are watched: long enough for a counter that is written ten times a second."""

SKEW_SECONDS = 0.02
"""Zones are read one right after the other, and a slow register takes so long."""

HERE = "this machine"
PYTHON = '"$(command -v python3 || echo /usr/libexec/platform-python)"'
"""The host's own Python, as a shell finds it; a small RHEL 8 has its platform's alone."""

Kind = Literal["package", "core", "uncore", "dram", "psys", "other"]
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

    @property
    def accuracy(self) -> Accuracy | None:
        """The published accuracy of the counter; None where none is known."""
        return published(zones.Zone(self.name, self.entry))

    def to_dict(self) -> dict[str, Any]:
        """Return the zone as a row for JSON."""
        return {**vars(self), "accuracy": vars(self.accuracy) if self.accuracy else None}


@dataclass(frozen=True)
class Sources:
    """Every zone of a machine, and what the node's energy would be read from."""

    zones: tuple[Zone, ...]
    place: str = HERE
    """The machine whose zones these are, in words."""
    lacking: tuple[Zone, ...] = ()
    """CPU packages without a counter that works: while there is one, no zone counts."""

    @property
    def source(self) -> Literal["rapl", "modelled", "none"]:
        """The kind of the zones that count."""
        counted = [zone for zone in self.zones if zone.counted]
        if not counted:
            return "none"
        return "modelled" if all(_synthetic(zone.entry) for zone in counted) else "rapl"

    @property
    def sentence(self) -> str:
        """The source of the node's energy, in words."""
        counted = [zone for zone in self.zones if zone.counted]
        if not counted:
            return f"{self._why_none}: energy can only be modelled from CPU-seconds (source modelled)"
        watts = sum(zone.watts or 0.0 for zone in counted)
        names = " + ".join(zone.entry for zone in counted)
        return f"source {self.source}: {names}, {watts:.1f} W now"

    @property
    def _why_none(self) -> str:
        works = [zone for zone in self.zones if zone.watts is not None and not zone.problem]
        lacking = [f"{zone.entry} ({zone.name}) {zone.problem}" for zone in self.lacking]
        others = f"{', '.join(zone.entry for zone in works)} {'work' if len(works) > 1 else 'works'}"
        if not works:
            return "no zone works"
        if not lacking:
            return f"{others}, but no CPU package has a zone"
        return f"{others}, but the CPU packages have no sum, because {' and '.join(lacking)}"


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
    paces = [_pace(zone) for zone in seen]
    problems = [_problem(zone, pace[0]) for zone, pace in zip(seen, paces, strict=True)]
    named = [zones.Zone(zone["name"], zone["entry"]) for zone in seen]
    readings = [[(at, value) for at, value in zone.get("readings", ())] for zone in seen]
    choices = {
        kind: zones.choose(named, [problem for problem, _ in problems], kind, readings, SKEW_SECONDS)
        for kind in {zones.place(zone.name).kind for zone in named}
    }
    for choice in choices.values():
        for number, reason in choice.left_out.items():
            problems[number] = _left_out(reason, problems[number])
    packages = choices.get("package", zones.Choice([], {}, []))
    counted = () if packages.lacking else packages.counted
    whole = tuple(
        _judged(zone, vendor, paces[number], problems[number], number in counted) for number, zone in enumerate(seen)
    )
    return Sources(whole, place, tuple(whole[number] for number in packages.lacking))


def _left_out(reason: str, problem: tuple[str, str]) -> tuple[str, str]:
    """Return why a zone is left out, and what helps: its own fault comes first."""
    if problem[0]:
        return problem
    return reason, "source rapl" if reason.startswith("a model") else "none needed: it is not added twice"


def _judged(zone: Mapping[str, Any], vendor: str, pace: "_Pace", fault: tuple[str, str], counted: bool) -> Zone:
    kind, socket, die = zones.place(zone["name"])
    watts, updates, at_least = pace
    problem, remedy = fault
    limit = zone["range_uj"]
    return Zone(
        entry=zone["entry"],
        path=zone["path"],
        name=zone["name"],
        kind=kind,  # type: ignore[arg-type] # one of Kind, by the rule
        socket=socket,
        covers=_covers(kind, socket, die, vendor, zone["entry"]),
        watts=watts,
        updates=updates,
        at_least=at_least,
        wraps_in=limit / 1e6 / watts if limit and watts else None,
        problem=problem,
        remedy=remedy,
        counted=counted,
    )


_Pace = tuple[float | None, float | None, bool]


def _pace(zone: Mapping[str, Any]) -> _Pace:
    """Return watts, changes a second, and whether every reading was a new one."""
    if not zone["first"] or zone["last"][0] <= zone["first"][0]:
        return None, None, False
    seconds = zone["last"][0] - zone["first"][0]
    wraps = sum(after - before + zone["range_uj"] for before, after in zone["drops"]) if zone["range_uj"] else 0
    at_least = zone["changes"] >= 0.9 * (zone["reads"] - 1)
    return (zone["rises_uj"] + wraps) / 1e6 / seconds, zone["changes"] / seconds, at_least


def _problem(zone: Mapping[str, Any], watts: float | None) -> tuple[str, str]:
    """Return what is wrong with a zone, and what helps; two empty texts where it works."""
    if zone["error"] in ("Permission denied", "Operation not permitted"):
        return "only root may read it", "read it as root, as the meter and node_exporter do"
    if zone["error"]:
        return f"cannot be read: {zone['error']}", "another zone, or source modelled"
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


def _covers(kind: str, socket: int | None, die: int | None, vendor: str, entry: str) -> str:
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
    return zones.synthetic(zones.Zone("", entry))


def refuse_none(watched: Sources) -> Sources:
    """Return the sources; raise LabError where there is not even a zone that does not work."""
    if not watched.zones:
        raise LabError(
            f"{watched.place} has no powercap zone",
            hint="modprobe intel_rapl_msr on bare metal; in a virtual machine there is none: source modelled",
        )
    return watched
