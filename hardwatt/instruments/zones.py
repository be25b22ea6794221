"""Energy of one node in a window, from the counters of its zones: for runs, imports and live queries alike.

Which zones add up is decided by ``hardwatt.meter.zones``. A zone works where its samples carry the window. A real
counter never stands still, so a sample that repeats the one before it is no new reading: a range query repeats the
last scrape, and a dead target is a gap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.frames import pl
from hardwatt.instruments.power import MAX_WATTS
from hardwatt.instruments.windows import FRESH_TIMES, NO_FRESH_START, Rule, WindowError, integrate
from hardwatt.meter.zones import EQUAL, KEPLERS, Choice, Zone, choose, of_labels, place, shown

HOSTS = ("node", "node_name", "nodename", "host", "hostname", "instance")
"""Labels that name the host of a series, the surest first."""
_NAMED = 5


@dataclass(frozen=True)
class ZoneCounter:
    """A zone with its joules: ``points`` has series_id, ts (ms) and value; ``wrap`` is where it wraps, if known."""

    zone: Zone
    points: pl.DataFrame
    wrap: float | None = None


@dataclass(frozen=True)
class _Gain:
    """The gain of one counter in a window, with bounds, or the reason why that is not known."""

    sums: tuple[float, float, float]
    problem: str


def metric_of(kind: str) -> str:
    """Return node_exporter's metric of a kind of zone."""
    return f"node_rapl_{kind}_joules_total"


def zone_of(labels: Mapping[str, str], metric: str = "") -> Zone | None:
    """Return the zone of a series by its labels; None where it is none. ``metric``: its name, if no label has it."""
    return of_labels(labels.get("__name__", metric), labels)


def shown_once(series: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the series that are counters of zones, each counter by one exporter: Kepler copies node_exporter's."""
    counters = [labels for labels in series if zone_of(labels)]
    own = [labels for labels in counters if labels.get("__name__") != KEPLERS]
    return own or counters


def hosts_of(series: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the hosts of series by their labels, sorted; those without such a label are one, with an empty name."""
    return sorted({host_of(labels) for labels in series})


def host_of(labels: Mapping[str, str]) -> str:
    """Return the host of a series; empty where no label names it."""
    return next((labels[name] for name in HOSTS if labels.get(name)), "")


def refuse_many(hosts: Sequence[str]) -> None:
    """Raise WindowError where samples are of more than one host: their joules are not one node's."""
    if len(hosts) > 1:
        raise WindowError(f"the samples are of {len(hosts)} hosts ({named(hosts)}): one has to be chosen")


def named(hosts: Sequence[str]) -> str:
    """Return hosts in words. The names may be a stranger's."""
    words = [shown(Zone(host)) or "without a name" for host in hosts[:_NAMED]]
    return ", ".join([*words, *(["..."] if len(hosts) > _NAMED else [])])


def energy(
    counters: Sequence[ZoneCounter], kind: str, t0_ms: float, t1_ms: float, gap_ms: float
) -> tuple[tuple[float, float, float], list[Zone], str]:
    """Return value, low and high in joules of all zones of a kind that count, which those are, and a note on the rest.

    The note names zones whose names say that they are meters of their own, and whose counters say that they are not.

    ``counters`` may hold zones of other kinds, which tell the socket that a zone lies in. Raise WindowError where a
    meter has no zone that carries the window: the sum over the others would be too low.
    """
    gains = [
        _gain(counter, t0_ms, t1_ms, gap_ms) if place(counter.zone.name).kind == kind else _Gain((0.0, 0.0, 0.0), "")
        for counter in counters
    ]
    readings = [_readings(counter, t0_ms, t1_ms, gap_ms) for counter in counters]
    zones = [counter.zone for counter in counters]
    choice = choose(zones, [gain.problem for gain in gains], kind, readings)
    if choice.lacking:
        whose = f" of {shown(zones[choice.lacking[0]])}" if len(choice.lacking) + len(choice.counted) > 1 else ""
        raise WindowError(f"{metric_of(kind)}{whose}: {gains[choice.lacking[0]].problem}{beside(zones, kind)}")
    if not choice.counted:
        raise WindowError(f"no samples of {metric_of(kind)}{beside(zones, kind)}")
    value, low, high = (sum(gains[number].sums[part] for number in choice.counted) for part in range(3))
    return (value, low, high), [zones[number] for number in choice.counted], note_on(zones, choice)


def note_on(zones: Sequence[Zone], choice: Choice) -> str:
    """Return a note on zones that do not count because their counters are those of zones that do; empty: none."""
    equal = [shown(zones[number]) for number, why in choice.left_out.items() if EQUAL in why]
    return f"{', '.join(equal)} left out: {EQUAL} as those of a zone that counts" if equal else ""


def between(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """Return the joules of the CPU packages between two pages of node_exporter; None where these two do not tell.

    ``before`` and ``after`` map series, as the exporter writes them, to values. A counter that wrapped tells nothing.
    """
    zones = {series: zone for series in after if (zone := of_labels(series.partition("{")[0], labels_of(series)))}
    gains = {series: after[series] - before.get(series, after[series]) for series in zones}
    problems = ["" if gain > 0 else "stands still or wrapped" for gain in gains.values()]
    readings = [[(0.0, before.get(series, 0.0)), (1.0, after[series])] for series in zones]
    choice = choose(list(zones.values()), problems, "package", readings)
    if choice.lacking or not choice.counted:
        return None
    rises = list(gains.values())
    return sum(rises[number] for number in choice.counted)


def beside(zones: Sequence[Zone], kind: str) -> str:
    """Name the platform's zone where the packages have no sum: it is tempting, and another quantity."""
    platform = kind == "package" and any(place(zone.name).kind == "psys" for zone in zones)
    return "; psys is there, but it is the whole platform's energy" if platform else ""


def _gain(counter: ZoneCounter, t0_ms: float, t1_ms: float, gap_ms: float) -> _Gain:
    rule = Rule(max_gap_ms=gap_ms, max_rate=MAX_WATTS, wrap=counter.wrap)
    told = fresh(counter.points)
    if told.height < 2:
        return _Gain((0.0, 0.0, 0.0), "stands still" if counter.points.height > 1 else "one sample is no window")
    if counter.wrap is None and _falls(told):
        return _Gain((0.0, 0.0, 0.0), NO_FRESH_START)
    result = integrate(told, t0_ms, t1_ms, rule).row(0, named=True)
    problem = str(result["problem"])
    if problem and told.height < counter.points.height:
        # Where all samples carry the window, those that are no new readings are what is wrong with it.
        every = integrate(counter.points, t0_ms, t1_ms, rule).row(0, named=True)
        problem = problem if every["problem"] else f"stands still in it ({problem})"
    return _Gain((result["value"], result["low"], result["high"]), problem)


def fresh(points: pl.DataFrame) -> pl.DataFrame:
    """Return the samples that are new readings, by time. A value that is repeated was read no later than its first.

    The first value of all, if it is repeated, was read at a moment that nobody knows: it is left out.
    """
    frame = points.filter(pl.col("value").is_finite()).unique(["ts", "value"]).sort("ts", "value")
    values = frame["value"].to_numpy()
    new = np.ones(values.size, dtype=np.bool_)
    new[1:] = values[1:] != values[:-1]
    if values.size > 1 and not new[1]:
        new[0] = False
    return frame.filter(pl.Series(new))


def _falls(told: pl.DataFrame) -> bool:
    """Tell whether a counter falls to more than it can have gained since a fresh start, by its fastest rise.

    The rise right after a fall does not tell: a single wrong reading falls and comes back.
    """
    steps = told.select(seconds=pl.col("ts").diff() / 1000, gain=pl.col("value").diff(), after="value").slice(1)
    rises = steps.filter((pl.col("gain") > 0) & (pl.col("gain").shift(1).fill_null(0) >= 0))
    fastest = rises.select((pl.col("gain") / pl.col("seconds")).max()).item() if rises.height else 0.0
    drops = steps.filter(pl.col("gain") < 0)
    return bool((drops["after"] > FRESH_TIMES * (fastest or 0.0) * drops["seconds"]).any())


def _readings(counter: ZoneCounter, t0_ms: float, t1_ms: float, gap_ms: float) -> list[tuple[float, float]]:
    near = counter.points.filter(pl.col("ts").is_between(t0_ms - gap_ms, t1_ms + gap_ms)).sort("ts")
    return [(at / 1000, value) for at, value in near.select("ts", "value").iter_rows()]
