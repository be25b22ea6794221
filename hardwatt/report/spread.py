"""The places of marks in the plots of distributions: gates before the windows, spread by arm, normal quantiles."""

from __future__ import annotations

from hardwatt.analysis.figures import known
from hardwatt.analysis.model import Results
from hardwatt.report.numbers import number
from hardwatt.report.plots import WIDE, Mark, Plot, Scale, arm_names, columns, places, recorded


def gates(results: Results, width: int) -> Plot | None:
    """Plot the load of the node at the gate of each run, and at its baseline. ``None`` where no gate was recorded."""
    runs = recorded(results)
    gates_ = [run.gate for run in runs if run.gate]
    if not gates_:
        return None
    left, top, bottom = 56, 12, 130
    values = [known(figure) for gate in gates_ for figure in (gate.cores, gate.baseline)]
    scale = Scale.over([0.0, *values], bottom, top)
    across = columns(len(runs), left, width)
    half = round(min(14.0, (width - left) / max(1, len(runs)) * 0.4), 2)
    marks, levels = [], []
    for run, x in zip(runs, across, strict=True):
        if gate := run.gate:
            cores, baseline = gate.cores, gate.baseline
            text = f"run {run.position}, {run.arm}: {number(known(cores), 3)} {cores.unit}"
            marks.append(Mark(x, scale.at(known(cores)), run.arm, text))
            levels.append({"x": x, "y": scale.at(known(baseline)), "half": half})
    extra = {"bottom": bottom, "left": left, "places": places(runs, across, width), "levels": levels}
    unit, source = gates_[0].cores.unit, gates_[0].cores.source
    return Plot(width, bottom + 44, scale, scale.ticks(3), unit, source, marks=marks, extra=extra)


def strips(results: Results, width: int) -> Plot | None:
    """Each arm on a lane: every window, the middle half as a box, and the median. ``None`` without a pair."""
    if not results.pairs or results.distribution is None:
        return None
    names = arm_names(results)[:2]
    first = results.primary.estimate
    left, top, step = 64, 10, 58.0
    columns_ = {name: [row.values[name] for row in results.pairs] for name in names}
    scale = Scale.over((known(window) for own in columns_.values() for window in own), left + 8, width - 16)
    marks, lanes = [], []
    for lane, name in enumerate(names):
        middle = top + step * (lane + 0.5)
        five = {key: scale.at(known(figure)) for key, figure in vars(results.distribution.arms[name]).items()}
        lanes.append({"label": name, "y": middle, **five})
        for index, window in enumerate(columns_[name]):
            # Dots are spread over the lane in their order, so that equal values stay visible.
            y = round(middle - 16 + 32 * ((index * 7) % 11) / 10, 2)
            text = f"pair {results.pairs[index].pair}, {name}: {number(known(window), 3)} {window.unit}"
            marks.append(Mark(scale.at(known(window)), y, name, text))
    height = top + step * len(names) + 46
    wanted = 7 if width >= WIDE else 4
    return Plot(width, height, scale, scale.ticks(wanted), first.unit, first.source, marks, lanes)


def quantiles(results: Results, width: int) -> Plot | None:
    """Differences over those of a normal distribution: on the line they would be normal. ``None`` below six pairs."""
    rows = results.distribution.quantiles if results.distribution else []
    if not rows:
        return None
    left, top, bottom = 64, 12, 250
    both = [known(figure) for row in rows for figure in (row.expected, row.difference)]
    down = Scale.over(both, bottom, top)
    along = Scale(down.low, down.high, left, min(width - 16, 460))
    marks = [
        Mark(
            along.at(known(row.expected)),
            down.at(known(row.difference)),
            "",
            f"pair {row.pair}: {number(known(row.difference), 3)} {row.difference.unit}",
        )
        for row in rows
    ]
    extra = {"bottom": bottom, "left": left, "right": along.stop, "along": along.ticks(5)}
    sample = rows[0].difference
    return Plot(width, bottom + 46, down, down.ticks(4), sample.unit, sample.source, marks=marks, extra=extra)
