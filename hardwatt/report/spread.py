"""Where marks stand in the plots of how values lie: gates before the windows, spread by arm, and normal quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardwatt.report.numbers import number
from hardwatt.report.plots import WIDE, Mark, Plot, Scale, columns, places


def gates(results: Mapping[str, Any], width: int) -> Plot | None:
    """How busy the node was at the gate of each run, and at its baseline. ``None`` where no gate was recorded."""
    runs = results.get("runs", [])
    known = [run["gate"] for run in runs if run["gate"]]
    if not known:
        return None
    left, top, bottom = 56, 12, 130
    values = [gate[key]["value"] for gate in known for key in ("cores", "baseline")]
    scale = Scale.over([0.0, *values], bottom, top)
    across = columns(len(runs), left, width)
    half = round(min(14.0, (width - left) / max(1, len(runs)) * 0.4), 2)
    marks, levels = [], []
    for run, x in zip(runs, across, strict=True):
        if gate := run["gate"]:
            cores, baseline = gate["cores"], gate["baseline"]
            text = f"run {run['position']}, {run['arm']}: {number(cores['value'], 3)} {cores['unit']}"
            marks.append(Mark(x, scale.at(cores["value"]), run["arm"], text))
            levels.append({"x": x, "y": scale.at(baseline["value"]), "half": half})
    extra = {"bottom": bottom, "left": left, "places": places(runs, across, width), "levels": levels}
    source = known[0]["cores"]["source"]
    unit = known[0]["cores"]["unit"]
    return Plot(width, bottom + 44, scale, scale.ticks(3), unit, source, marks=marks, extra=extra)


def strips(results: Mapping[str, Any], width: int) -> Plot | None:
    """Each arm on a lane: every window, the middle half as a box, and the median. ``None`` without a pair."""
    if not results["pairs"]:
        return None
    names = [arm if isinstance(arm, str) else arm["name"] for arm in results["arms"]][:2]
    first = results["primary"]["estimate"]
    left, top, step = 64, 10, 58.0
    columns_ = {name: [row["values"][name] for row in results["pairs"]] for name in names}
    scale = Scale.over((one["value"] for own in columns_.values() for one in own), left + 8, width - 16)
    marks, lanes = [], []
    for lane, name in enumerate(names):
        middle = top + step * (lane + 0.5)
        five = {key: scale.at(one["value"]) for key, one in results["distribution"]["arms"][name].items()}
        lanes.append({"label": name, "y": middle, **five})
        for index, one in enumerate(columns_[name]):
            # Dots are spread over the lane in their order, so that equal values stay visible.
            y = round(middle - 16 + 32 * ((index * 7) % 11) / 10, 2)
            text = f"pair {results['pairs'][index]['pair']}, {name}: {number(one['value'], 3)} {one['unit']}"
            marks.append(Mark(scale.at(one["value"]), y, name, text))
    height = top + step * len(names) + 46
    wanted = 7 if width >= WIDE else 4
    return Plot(width, height, scale, scale.ticks(wanted), first["unit"], first["source"], marks, lanes)


def quantiles(results: Mapping[str, Any], width: int) -> Plot | None:
    """Differences over those of a normal distribution: on the line they would be normal. ``None`` below six pairs."""
    rows = results["distribution"]["quantiles"] if results["distribution"] else []
    if not rows:
        return None
    left, top, bottom = 64, 12, 250
    both = [row[key]["value"] for row in rows for key in ("expected", "difference")]
    down = Scale.over(both, bottom, top)
    along = Scale(down.low, down.high, left, min(width - 16, 460))
    marks = [
        Mark(
            along.at(row["expected"]["value"]),
            down.at(row["difference"]["value"]),
            "",
            f"pair {row['pair']}: {number(row['difference']['value'], 3)} {row['difference']['unit']}",
        )
        for row in rows
    ]
    extra = {"bottom": bottom, "left": left, "right": along.end, "along": along.ticks(5)}
    one = rows[0]["difference"]
    return Plot(width, bottom + 46, down, down.ticks(4), one["unit"], one["source"], marks=marks, extra=extra)
