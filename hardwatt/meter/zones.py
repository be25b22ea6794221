"""The one rule that says which energy zones count, for every reader of powercap's counters.

Pure, standard library only, Python 3.6 syntax: the daemon on the node imports it too.

A node's energy of one kind (``package``, ``dram``) is the sum over its meters. A meter is named by its socket and die,
never by an index, which follows the order of folders. It may be shown by several zones, of which one counts:

* The register (``intel-rapl:0``) comes first, its memory-mapped twin (``intel-rapl-mmio:0``) counts where the register
  does not work.
* Dies of a socket count where no zone of the whole socket works.
* Zones whose counters are equal and move together are one meter, whatever their names say: some processors show the
  package's register once for each die.
* A model (``synthetic-model:0``) counts only where the real zones have no sum.

``core`` and ``uncore`` lie inside the package, ``psys`` holds the packages: they are kinds of their own and never add
up. A meter without any zone that works is lacking: the sum over the others would be too low, so it is refused.
"""

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

Meter = Tuple[str, str]
"""The identity of a meter: its socket and its die, in words; the die is empty where a zone is the whole socket's."""
Readings = Sequence[Tuple[float, float]]
"""Moments in seconds, each with the counter's value."""
SYNTHETIC = "synthetic-model"
SKEW_SECONDS = 0.05
"""Two readings of one counter, said to be of one moment, may be this far apart: the zones are read one by one."""
EQUAL = "equal values that move together"
_STRAYS = 20
"""One pair of readings in so many may be anyhow far apart: a reader that was held up, or a wrap in between."""
_BURSTS = 1.25
"""So much further apart than the mean pace makes them may pairs be in the mean, because power comes in bursts."""
_NAME = re.compile(r"(package|core|uncore|dram|psys)(?:[-_]([0-9]{1,9}))?(?:[-_]die[-_]([0-9]{1,9}))?")
_METRIC = re.compile(r"node_rapl_(.+)_joules_total")
KEPLERS = "kepler_node_cpu_joules_total"
"""Kepler's copy of the zones, each by its label ``zone``. It counts only where node_exporter shows no zone."""
_DIGITS = re.compile(r"[0-9]{1,9}")
_SHOWN = 60
_OTHER_CONTROLS = ("dtpm",)
"""Control types of powercap that are no energy counters of the processor."""


class Zone(NamedTuple):
    """One zone as its files or labels name it."""

    name: str
    """Content of the file ``name``: package-0. From a metric, its part with the index where that is the socket."""
    folder: str = ""
    """Last part of its path: intel-rapl:0:1. Empty: not known."""


class Place(NamedTuple):
    """Kind of a zone, and the socket and die that its own name tells."""

    kind: str
    socket: Optional[int]
    die: Optional[int]


class Choice(NamedTuple):
    """Zones of one kind, by their positions in the sequence that was given."""

    counted: List[int]
    """Zones that add up, one for each meter."""
    left_out: Dict[int, str]
    """Zones that do not add up although they are of this kind: the reason, in words."""
    lacking: List[int]
    """For each meter without a zone that works, its first zone. Where there is one, there is no sum."""


def place(name: str) -> Place:
    """Return what a zone's name says; the kind ``other`` where it is no known name."""
    matched = _NAME.fullmatch(name.strip())
    if matched is None:
        return Place("other", None, None)
    kind, socket, die = matched.groups()
    return Place(kind, None if socket is None else int(socket), None if die is None else int(die))


def of_labels(metric: str, labels: Mapping[str, str]) -> Optional[Zone]:
    """Return the zone behind a series of node_exporter; None where the series is no counter of a zone.

    node_exporter cuts a number off the name where it is the name's whole end, so ``package-0`` is ``package`` with
    the index 0, and ``package-0-die-1`` is ``package_0_die_1``. The index of a name without a number follows the
    order of folders: it tells zones apart only where no path does. A label ``zone`` is the name itself.
    """
    if metric == KEPLERS:
        return Zone(labels["zone"], labels.get("path", "").rpartition("/")[2]) if labels.get("zone") else None
    matched = _METRIC.fullmatch(metric)
    if matched is None:
        return None
    name = labels.get("zone") or matched.group(1)
    folder, index = labels.get("path", "").rpartition("/")[2], labels.get("index", "")
    numbered = _DIGITS.fullmatch(index) and place(name).socket is None
    if numbered and (place(name).kind == "package" or not folder):
        name = "%s-%s" % (name, index)
    return Zone(name, folder)


def choose(
    zones: Sequence[Zone],
    problems: Sequence[str],
    kind: str = "package",
    readings: Optional[Sequence[Readings]] = None,
    skew: float = SKEW_SECONDS,
) -> Choice:
    """Return which zones of a kind add up.

    ``problems`` holds for each zone why it does not work, the empty text where it does. ``readings`` holds for each
    zone its readings as (moment in seconds, value); without them equal counters are not looked for. ``skew``: see
    ``one_meter``.
    """
    own = [number for number, zone in enumerate(zones) if _kind(zone) == kind]
    models = [number for number in own if synthetic(zones[number])]
    real = _among([number for number in own if number not in models], zones, problems, readings, skew)
    if models and not (real.counted and not real.lacking):
        return _among(models, zones, problems, readings, skew)
    real.left_out.update((number, "a model beside a counter that works") for number in models)
    return real


def _among(
    own: Sequence[int],
    zones: Sequence[Zone],
    problems: Sequence[str],
    readings: Optional[Sequence[Readings]],
    skew: float,
) -> Choice:
    """Return which of these zones, all of one kind, add up."""
    out: Dict[int, str] = {}
    groups: Dict[Meter, List[int]] = {}
    for number in sorted(own, key=lambda position: (_rank(zones[position]), position)):
        groups.setdefault(_meter(zones[number], zones), []).append(number)
    picked: Dict[Meter, int] = {}
    lacking: Dict[Meter, int] = {}
    for meter, members in groups.items():
        works = [number for number in members if not problems[number]]
        (picked if works else lacking)[meter] = (works or members)[0]
        for number in members:
            if works and number != works[0]:
                out[number] = "the same counter as %s%s" % (shown(zones[works[0]]), _through(zones[number]))
    _whole_sockets_before_dies(zones, picked, lacking, out)
    counted = _one_of_equals(zones, sorted(picked.values()), out, readings, skew)
    return Choice(counted, out, sorted(lacking.values()))


def one_meter(first: Readings, second: Readings, skew: float = SKEW_SECONDS) -> bool:
    """Return True if two counters have equal values at equal moments, and move.

    Sequences of one length are taken pair by pair, others by equal moments. With fewer than three pairs the values
    have to be equal exactly. ``skew``: seconds that two readings said to be of one moment may be apart.
    """
    pairs = _pairs(first, second)
    if len(pairs) < 2:
        return False
    seconds = pairs[-1][0] - pairs[0][0]
    gains = [_rise([pair[side] for pair in pairs]) for side in (1, 2)]
    if min(gains) <= 0 or seconds <= 0:
        return False
    apart = sorted(abs(value - other) for _, value, other in pairs)
    if len(pairs) < 3:
        return apart[-1] == 0
    slack = max(gains) / seconds * skew
    step = max(abs(pairs[i + 1][1] - pairs[i][1]) for i in range(len(pairs) - 1))
    apart = apart[: len(apart) - len(apart) // _STRAYS]
    return apart[-1] <= max(slack, step) and sum(apart) / len(apart) <= _BURSTS * slack


def synthetic(zone: Zone) -> bool:
    """Return True if a zone is written by the meter's power model."""
    return zone.folder.startswith(SYNTHETIC + ":")


def memory_mapped(zone: Zone) -> bool:
    """Return True if a zone shows its counter through memory, beside the register."""
    return "mmio" in zone.folder.partition(":")[0]


def _kind(zone: Zone) -> str:
    control = zone.folder.partition(":")[0]
    return "other" if control in _OTHER_CONTROLS else place(zone.name).kind


def _rank(zone: Zone) -> int:
    """Return the place of a zone among those of its meter: the register, anything else, through memory, a model."""
    if zone.folder.startswith("intel-rapl:"):
        return 0
    return 3 if synthetic(zone) else 2 if memory_mapped(zone) else 1


def _meter(zone: Zone, zones: Sequence[Zone]) -> Meter:
    """Return what a zone's meter is known by: socket and die, of the zone that it lies in where its name has none."""
    named = place(zone.name)
    if named.socket is None and zone.folder.count(":") > 1:
        above = zone.folder.rpartition(":")[0]
        outer = next((other for other in zones if other.folder == above), None)
        if outer is not None:
            return _meter(outer, zones)
        return "entry " + above.partition(":")[2], ""
    if named.socket is None:
        return ("entry " + zone.folder.partition(":")[2]) if zone.folder else "", ""
    return "socket %d" % named.socket, "" if named.die is None else "die %d" % named.die


def _whole_sockets_before_dies(
    zones: Sequence[Zone],
    picked: Dict[Meter, int],
    lacking: Dict[Meter, int],
    out: Dict[int, str],
) -> None:
    """Leave out dies of a socket that has a zone of its own; leave the socket's zone out where only its dies work."""
    for meter in [meter for meter in sorted(picked) if meter[1]]:
        whole = picked.get((meter[0], ""))
        if whole is not None:
            out[picked.pop(meter)] = "inside %s" % shown(zones[whole])
        elif (meter[0], "") in lacking:
            out[lacking.pop((meter[0], ""))] = "does not work; the dies of its socket count"
    for meter in [meter for meter in sorted(lacking) if meter[1] and (meter[0], "") in picked]:
        out[lacking.pop(meter)] = "inside %s" % shown(zones[picked[(meter[0], "")]])


def _one_of_equals(
    zones: Sequence[Zone],
    picked: List[int],
    out: Dict[int, str],
    readings: Optional[Sequence[Readings]],
    skew: float,
) -> List[int]:
    counted: List[int] = []
    for number in picked:
        same = (
            [] if readings is None else [kept for kept in counted if one_meter(readings[kept], readings[number], skew)]
        )
        if same:
            out[number] = "the same counter as %s: %s" % (shown(zones[same[0]]), EQUAL)
        else:
            counted.append(number)
    return counted


def _pairs(first: Readings, second: Readings) -> List[Tuple[float, float, float]]:
    if len(first) == len(second):
        return [(first[i][0], first[i][1], second[i][1]) for i in range(len(first))]
    values = dict(second)
    return [(at, value, values[at]) for at, value in first if at in values]


def _rise(values: Sequence[float]) -> float:
    return sum(max(0.0, values[i + 1] - values[i]) for i in range(len(values) - 1))


def _through(zone: Zone) -> str:
    return ", through memory" if memory_mapped(zone) else ""


def shown(zone: Zone) -> str:
    """Return a zone in words. Its name may be a stranger's: what does not print is left out, and so is the rest."""
    return "".join(sign if sign.isprintable() else "?" for sign in (zone.folder or zone.name)[:_SHOWN])
