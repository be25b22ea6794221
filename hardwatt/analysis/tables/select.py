"""From the design to the numbers that are compared: filters, exclusions with reasons, averages, cells and order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardwatt.analysis.tables import units
from hardwatt.analysis.tables.design import Design
from hardwatt.analysis.tables.grid import is_blank, reader, shown, why_no_number
from hardwatt.analysis.tables.request import TableRequest, command
from hardwatt.core.errors import LabError

MOST_STRATA: Final = 200
_SMALLEST, _LARGEST = 1e-100, 1e100
"""Sizes between which squares and their sums are floats."""
_WRAPPED: Final = 3.0
"""A value below zero whose size is so many times the largest other one may be a counter that wrapped."""
_FEW: Final = 0.2
"""Share of values below zero up to which they may be wrapped counters."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class LeftOut:
    """A row that no estimate uses."""

    place: str
    arm: str
    reason: str


@dataclass(frozen=True)
class Selected:
    """The rows that count. All arrays have one entry for each of them."""

    arms: tuple[str, ...]
    """Baseline first, the headline's arm second."""
    strata: tuple[tuple[str, ...], ...]
    """Combinations of the levels of the further factors."""
    values: Floats
    texts: tuple[str, ...]
    arm: Codes
    stratum: Codes
    pair: tuple[str, ...] | None
    order: Floats | None
    left_out: tuple[LeftOut, ...]
    rows: int
    """Rows of the table that the filters keep."""
    averaged: int = 0
    """Rows that went into averages; 0: every value is a row."""

    def of(self, arm: int, stratum: int | None = None) -> Floats:
        """Return the values of an arm, of one stratum or of all."""
        mask = self.arm == arm
        chosen: Floats = self.values[mask if stratum is None else mask & (self.stratum == stratum)]
        return chosen


def select(design: Design) -> Selected:
    """Return the rows that count.

    Raises `LabError` with line, column, value and reason if a value is not a number, and if no comparison is left.
    """
    grid, asked = design.grid, design.asked
    kept = _filtered(design)
    arm_texts = grid.columns[design.arm]
    unfinished = dict(grid.left_out)
    numbers = _numbers(design, kept, unfinished)
    reasons = dict(_reasons(design, kept, unfinished, numbers, arm_texts))
    used = [row for row in kept if row not in reasons]
    left_out = tuple(
        LeftOut(_place(design, row, numbers), arm_texts[row], reasons[row]) for row in kept if row in reasons
    )
    if not used:
        raise LabError(
            f"no row of {grid.file} can be used: {_counted(left_out)}", hint="name another column with --value"
        )
    arms = _arm_names(asked, [arm_texts[row] for row in kept])
    cells = list(zip(*([grid.columns[name][row] for row in used] for name in design.factors), strict=True))
    strata = tuple(dict.fromkeys(cells)) or ((),)
    if len(strata) > MOST_STRATA:
        raise LabError(
            f"the factors {', '.join(map(shown, design.factors))} have {len(strata)} combinations, and at most "
            f"{MOST_STRATA} can be compared",
            hint=f"keep one level of a factor with --where, or say --ignore {design.factors[0]}",
        )
    place_of_arm = {name: number for number, name in enumerate(arms)}
    place_of_cell = {cell: number for number, cell in enumerate(strata)}
    selected = Selected(
        arms,
        strata,
        np.array([numbers[row] for row in used]),
        tuple(grid.columns[design.value][row] for row in used) if asked.columns.pairs else (),
        np.array([place_of_arm[arm_texts[row]] for row in used], dtype=np.int64),
        np.array([place_of_cell[cell] for cell in cells] or [0] * len(used), dtype=np.int64),
        _pairs(design, used),
        _order(design, used),
        left_out,
        len(kept),
    )
    return _averaged(design, selected, used) if asked.average else selected


def _place(design: Design, row: int, numbers: dict[int, float]) -> str:
    """Return where a row stands, with its value if that has been read."""
    place = design.grid.place(row)
    return f"{place}: {design.grid.columns[design.value][row]}" if row in numbers else place


def _filtered(design: Design) -> Sequence[int]:
    kept: Sequence[int] = range(design.grid.rows)
    for name, level in design.asked.filters:
        texts = design.grid.columns[name]
        kept = [row for row in kept if texts[row] == level]
    if not kept:
        raise LabError("no row has all the levels that --where names", hint="keep fewer --where")
    return kept


def _numbers(design: Design, kept: Sequence[int], unfinished: dict[int, str]) -> dict[int, float]:
    """Return row to value, for rows that have one. Raises `LabError` at the first that is not a number."""
    grid = design.grid
    texts, number = grid.columns[design.value], reader(grid.layout.decimal)
    numbers: dict[int, float] = {}
    for row in kept:
        text = texts[row]
        value = number(text)
        if value is not None and (value == 0 or _SMALLEST < abs(value) < _LARGEST):
            numbers[row] = value
        elif not is_blank(text) and row not in unfinished:
            where = f"{grid.file}, {grid.place(row)}: {shown(text)} in the column {shown(design.value)}"
            if value is not None:
                raise LabError(f"{where} is no size that is measured", hint="correct the line, or write another unit")
            reason, hint = why_no_number(text)
            raise LabError(f"{where} is not a number: {reason}", hint=hint)
    return numbers


def _reasons(
    design: Design, kept: Sequence[int], unfinished: dict[int, str], numbers: dict[int, float], arms: Sequence[str]
) -> Iterator[tuple[int, str]]:
    """Yield rows that do not count, each with its reason."""
    grid = design.grid
    texts, columns = grid.columns[design.value], [grid.columns[name] for name in design.factors]
    pairs = [(name, grid.columns[name]) for name in design.asked.columns.pairs]
    never = _below_zero(design, numbers)
    for row in kept:
        if row in unfinished:
            yield row, unfinished[row]
        elif not arms[row]:
            yield row, f"the column {shown(design.arm)} is blank"
        elif row not in numbers:
            text = texts[row]
            yield row, f"the column {shown(design.value)} " + ("is blank" if not text else f"says {shown(text)}")
        elif never and numbers[row] < 0:
            yield row, f"{design.unit} below zero, which {never}"
        elif blank := next((name for name, column in pairs if not column[row]), None):
            yield row, f"the column {shown(blank)} is blank"
        elif any(not column[row] for column in columns):
            yield row, "the level of a factor is blank"


def _below_zero(design: Design, numbers: dict[int, float]) -> str:
    """Return why values below zero cannot be right; empty: they can.

    Raises `LabError` if too many are below zero, and if only the unit can tell whether a few are wrong.
    """
    negative = [row for row, value in numbers.items() if value < 0]
    if not negative or design.asked.signed:
        return ""
    grid, first = design.grid, negative[0]
    about = f"{grid.file}, {grid.place(first)}: {shown(grid.columns[design.value][first])}"
    if units.never_negative(design.unit, design.value):
        if len(negative) > _FEW * len(numbers):
            raise LabError(
                f"{about}; {len(negative)} of {len(numbers)} values are below zero, and a run has no negative "
                f"{design.unit}",
                hint=f"if the column holds differences: {command(design.file, replace(design.asked, signed=True))}",
            )
        return "a run cannot have: a counter that wrapped, or a wrong subtraction"
    largest = max(numbers.values())
    lowest = min(numbers.values())
    if design.asked.unit is None and len(negative) <= _FEW * len(numbers) and -lowest > _WRAPPED * largest > 0:
        raise LabError(
            f"{about} is far below zero and the others are above: a counter may have wrapped",
            hint="--signed counts values below zero; to exclude them: "
            + command(design.file, replace(design.asked, unit="J")),
        )
    return ""


def _arm_names(asked: TableRequest, texts: Sequence[str]) -> tuple[str, ...]:
    first, second = asked.baseline or "", asked.against or ""
    return tuple(name for name in dict.fromkeys([first, second, *texts]) if name)


def _pairs(design: Design, used: Sequence[int]) -> tuple[str, ...] | None:
    names = design.asked.columns.pairs
    if not names:
        return None
    columns = [design.grid.columns[name] for name in names]
    return tuple(" / ".join(column[row] for column in columns) for row in used)


def _order(design: Design, used: Sequence[int]) -> Floats | None:
    """Return the run order as numbers. Raises `LabError` at a text that is neither a number nor a moment."""
    name = design.asked.order
    if name is None:
        return None
    number, grid = reader(design.grid.layout.decimal), design.grid
    places = []
    for row in used:
        text = grid.columns[name][row]
        place = number(text)
        if place is None:
            try:
                place = datetime.fromisoformat(text).timestamp()
            except ValueError:
                raise LabError(
                    f"{grid.file}, {grid.place(row)}: {shown(text)} in the column {shown(name)} is neither a number "
                    "nor a moment such as 2026-11-30T10:00:00",
                    hint="name another column with --order, or leave the option out",
                ) from None
        places.append(place)
    return np.array(places)


def _averaged(design: Design, selected: Selected, used: Sequence[int]) -> Selected:
    """Return one value, the mean, for rows of an arm and stratum that are repetitions of one unit."""
    column = design.grid.columns[design.asked.average or ""]
    groups: dict[tuple[int, int, str, str], list[int]] = {}
    for place, row in enumerate(used):
        pair = selected.pair[place] if selected.pair else ""
        key = (int(selected.arm[place]), int(selected.stratum[place]), column[row], pair)
        groups.setdefault(key, []).append(place)
    values = np.array([selected.values[places].mean() for places in groups.values()])
    order = None
    if selected.order is not None:
        order = np.array([selected.order[places].min() for places in groups.values()])
    keys = list(groups)
    return Selected(
        selected.arms,
        selected.strata,
        values,
        tuple(repr(float(value)) for value in values) if selected.pair else (),
        np.array([key[0] for key in keys], dtype=np.int64),
        np.array([key[1] for key in keys], dtype=np.int64),
        tuple(key[3] for key in keys) if selected.pair else None,
        order,
        selected.left_out,
        selected.rows,
        averaged=len(used),
    )


def _counted(left_out: Sequence[LeftOut]) -> str:
    reasons = Counter(row.reason for row in left_out)
    return "; ".join(f"{reason} ({times} rows)" for reason, times in reasons.most_common(3))
