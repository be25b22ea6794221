"""Places of marks in the plots of a table: every contrast with its interval, and the values of every arm.

Long tables are drawn by values that were chosen evenly by rank, and rows of contrasts are capped; the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardwatt.analysis.figures import known
from hardwatt.analysis.sections import ResultFigure
from hardwatt.analysis.tables.model import TableResults
from hardwatt.report.numbers import interval, number, point
from hardwatt.report.plots import WIDE, Mark, Plot, Scale

MOST_ROWS = 40
"""Contrasts and strata that are drawn."""
MOST_ARMS = 24
_STEP = 46.0


def cut(text: str, width: int) -> str:
    """Return a name that fits above its lane."""
    most = 84 if width >= WIDE else 36
    return text if len(text) <= most else text[: most - 1] + "…"


def contrasts(results: TableResults, width: int) -> Plot | None:
    """Every contrast with its interval around zero, and below it the same inside each stratum."""
    return intervals([row for row in _estimates(results) if row[1].value is not None], width)


def intervals(named: Sequence[tuple[str, ResultFigure, bool]], width: int) -> Plot | None:
    """Estimates of one unit, each with name, its interval around zero, and whether it is drawn as a lesser one."""
    rows = named[:MOST_ROWS]
    if not rows:
        return None
    top = 16
    bounds = [bound for _, figure, _ in rows for bound in (figure.low, figure.value, figure.high) if bound is not None]
    scale = Scale.over([0.0, *bounds], 16, width - 16)
    laid = []
    for place, (name, figure, inside) in enumerate(rows):
        ends = [None if bound is None else scale.at(bound) for bound in (figure.low, figure.high)]
        words = f"{name}: {point(figure, True)} {figure.unit} ({interval(figure, True) or 'no interval'})"
        laid.append(
            {
                "label": cut(name, width), "title": words, "y": top + _STEP * place + 26, "x": scale.at(known(figure)),
                "low": ends[0], "high": ends[1], "inside": inside,
            }
        )  # fmt: skip
    height = top + _STEP * len(rows) + 46
    first = rows[0][1]
    extra = {"zero": scale.at(0.0)}
    return Plot(
        width, height, scale, scale.ticks(7 if width >= WIDE else 4), first.unit, first.source, rows=laid, extra=extra
    )


def _estimates(results: TableResults) -> Iterator[tuple[str, ResultFigure, bool]]:
    """Yield name, figure and whether it stands inside a stratum."""
    for contrast in results.contrasts:
        yield contrast.direction, contrast.estimate, False
        for stratum in contrast.strata:
            if stratum.estimate is not None:
                yield f"{' / '.join(stratum.levels)}: {contrast.direction}", stratum.estimate, True


def strips(results: TableResults, width: int) -> Plot | None:
    """Each arm on a lane: its values, the middle half as a box, and the median."""
    samples = results.samples[:MOST_ARMS]
    if not samples:
        return None
    top, step = 10, 62.0
    every = [known(point_) for sample in samples for point_ in sample.points]
    scale = Scale.over(every, 16, width - 16)
    marks, lanes = [], []
    for lane, sample in enumerate(samples):
        middle = top + step * lane + 38
        five = {name: scale.at(known(figure)) for name, figure in vars(sample.five).items()}
        lanes.append({"label": cut(sample.arm, width), "y": middle, **five})
        for place, value in enumerate(map(known, sample.points)):
            # Dots are spread over the lane in their order, so that equal values stay visible.
            y = round(middle - 14 + 28 * ((place * 7) % 11) / 10, 2)
            text = f"{sample.arm}: {number(value, 3)} {sample.mean.unit}"
            marks.append(Mark(scale.at(value), y, "" if lane == 0 else "other", text))
    height = top + step * len(samples) + 46
    mean = samples[0].mean
    return Plot(width, height, scale, scale.ticks(7 if width >= WIDE else 4), mean.unit, mean.source, marks, lanes)
