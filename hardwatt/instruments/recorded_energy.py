"""Joules of a recorded window: the zones that count by the one rule, each read to its own bounds."""

from collections.abc import Iterator, Sequence

import numpy as np

from hardwatt.bundle.frames import pl
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.recording import Counter
from hardwatt.instruments import formula
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.interface import Found
from hardwatt.instruments.power import MAX_WATTS
from hardwatt.instruments.recorded_figures import or_reason
from hardwatt.instruments.recorded_window import Gain, Limits, Span, gained
from hardwatt.instruments.windows import WindowError
from hardwatt.instruments.zones import beside, metric_of, note_on
from hardwatt.meter.accuracy import published
from hardwatt.meter.zones import Zone, choose, place, shown, synthetic

RAPL_UPDATE_SECONDS = 0.002
"""RAPL's registers are renewed about once a millisecond."""
MODEL_UPDATE_SECONDS = 0.1
"""A modelled register is renewed at each tick of the meter."""
STILL_TICKS = 2
"""A counter of energy that keeps its value for more ticks stands still. So that one that stops just before the end is
seen too, as many ticks beyond the window are looked at."""


def energy(bundle: Bundle, window: Span) -> Found:
    """Yield joules of the CPU packages and of the memory, and modelled ones by their formula."""
    modelled = bundle.manifest.source == "modelled"
    counters = [counter for counter in window.recording.of("energy") if synthetic(_zone(counter)) == modelled]
    yield "node_joules", or_reason(lambda: _joules(bundle, window, counters, "package", "CPU packages"))
    if any(place(counter.zone).kind == "dram" for counter in counters):
        yield "node_dram_joules", or_reason(lambda: _joules(bundle, window, counters, "dram", "memory"))
    if modelled and len(bundle.manifest.power_model.get("points", [])) > 1:
        yield "check.joules_of_formula", or_reason(lambda: _of_formula(bundle, window, counters))


def _zone(counter: Counter) -> Zone:
    return Zone(counter.zone, counter.name)


def _joules(bundle: Bundle, window: Span, counters: Sequence[Counter], kind: str, covers: str) -> Figure:
    modelled = bundle.manifest.source == "modelled"
    limits = Limits(MAX_WATTS, MODEL_UPDATE_SECONDS if modelled else RAPL_UPDATE_SECONDS)
    gains: dict[int, Gain] = {}
    problems = []
    for number, counter in enumerate(counters):
        problem = "" if place(counter.zone).kind != kind else _problem(counter, window)
        if not problem and place(counter.zone).kind == kind:
            try:
                gains[number] = gained([counter], window, limits)
            except WindowError as error:
                problem = error.reason
        problems.append(problem)
    zones = [_zone(counter) for counter in counters]
    several = sum(place(counter.zone).kind == kind for counter in counters) > 1
    readings = [list(_readings(counter, window)) for counter in counters] if several else None
    choice = choose(zones, problems, kind, readings)
    if choice.lacking:
        lacks = choice.lacking[0]
        raise WindowError(f"{metric_of(kind)} of {shown(zones[lacks])}: {problems[lacks]}{beside(zones, kind)}")
    if not choice.counted:
        raise WindowError(f"the recording has no zone of {covers}{beside(zones, kind)}")
    value, low, high = (
        sum(getattr(gains[number], part) for number in choice.counted) for part in ("value", "low", "high")
    )
    model = bundle.manifest.power_model.get("name", "unnamed")
    source = f"modelled from CPU-seconds by the power model {model}" if modelled else f"RAPL, {covers}"
    note = note_on(zones, choice)
    accuracy = published(zones[choice.counted[0]])
    return Figure(value, "J", f"{source}; {note}" if note else source, low, high, accuracy=accuracy)


def _problem(counter: Counter, window: Span) -> str:
    """Return why a zone's counter does not carry the window; empty: it does."""
    begin = max(counter.first_tick, window.first - STILL_TICKS - 1)
    stop = min(len(window.recording.m_ns) - 1, window.last + STILL_TICKS + 1)
    moved = counter.ticks[(counter.ticks > begin) & (counter.ticks <= stop)]
    marks = np.concatenate([[begin], moved, [stop]])
    longest = int(np.diff(marks).max())
    if longest > STILL_TICKS:
        return f"stands still for {longest * window.recording.tick_seconds:.0f} s"
    if counter.ended is not None and counter.ended.tick < window.last:
        return "ends in it"
    if counter.wraps_at and (problem := _unsure_wraps(counter, window)):
        return problem
    return ""


def _unsure_wraps(counter: Counter, window: Span) -> str:
    """Return a problem where the recorder was silent for so long that a wrap may have gone unseen."""
    recording = window.recording
    total = counter.rise(window.first, window.last) * counter.scale
    pace = total / recording.seconds(window.first, window.last)
    silence = max((seconds for _, seconds in recording.gaps(window.first, window.last)), default=0.0)
    unsure = 2 * pace * silence > counter.wraps_at * counter.scale
    return f"may have wrapped unseen in a silence of {silence:.0f} s" if unsure else ""


def _readings(counter: Counter, window: Span) -> Iterator[tuple[float, float]]:
    """Yield (seconds, value) at every tick of the window, for a look at counters that move together."""
    m = window.recording.m_ns
    for tick in range(window.first, window.last + 1):
        reading = window.recording.reading(counter, tick)
        if reading is not None:
            yield int(m[tick]) / 1e9, reading.value * counter.scale


def _of_formula(bundle: Bundle, window: Span, counters: Sequence[Counter]) -> Figure:
    model, recording = bundle.manifest.power_model, window.recording
    told = _joules(bundle, window, counters, "package", "CPU packages")
    node = recording.node
    ticks = range(window.first, window.last + 1)
    rows = [(int(recording.m_ns[tick]) / 1e6, node.rise(window.first, tick) * node.scale) for tick in ticks]
    points = pl.DataFrame(rows, schema={"ts": pl.Float64, "value": pl.Float64}, orient="row")
    begin, until = rows[0][0], rows[-1][0]
    value, low, high = formula.joules(points, begin, until, model["points"], float(model.get("cpus", 0) or 1))
    scaled = window.seconds / ((until - begin) / 1000)
    value, low, high = value * scaled, low * scaled, high * scaled
    ratios = [float(part) for part in (told.value / value, told.low / high, told.high / low)]
    return Figure(ratios[0], "ratio", "modelled joules by the formula", ratios[1], ratios[2])
