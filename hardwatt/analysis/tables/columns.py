"""The columns of a table by what they hold: numbers, levels of a factor, labels of runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hardwatt.analysis.tables import units
from hardwatt.analysis.tables.grid import Grid, is_blank, reader

MOST_LEVELS: Final = 500
_FEWEST_BY_LEVEL: Final = 4
_MOST_NUMERIC_LEVELS: Final = 20
_LONGEST_LEVEL: Final = 8
"""Digits of a number that somebody chose; measured numbers have more."""
_EPOCH: Final = re.compile(r"1\d{9,18}(?:\.\d*)?")
"""Seconds, or smaller units, since 1970: a moment, and not a duration."""
_UUID: Final = re.compile(r"\{?[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?", re.IGNORECASE)
_NUMBERED: Final = re.compile(r"(.*?\D)(\d{1,4})")
_DURATION: Final = ("time", "duration", "latency")
_MOMENT: Final = ("stamp", "start", "end_", "_end", "begin", "date")
_ENERGY: Final = ("energy", "joule", "watt", "power", "wh", "emission")
_LABEL: Final = re.compile(
    r"^(__.*|.*\b(rep|reps|repeat|repetition|repetitions|run|runs|iteration|iter|trial|round|sample|pair|pairs|block|"
    r"replicate|seed|index|idx|id|uid|uuid|guid|no|nr|number|row|line|date|timestamp|start|end|begin)\b.*|"
    r"column \d+|#|n)$"
)


@dataclass(frozen=True)
class Column:
    """Kind and values of a column, over all rows."""

    name: str
    kind: Literal["number", "text", "constant", "empty"]
    levels: tuple[str, ...]
    """Different values in the order of the file; at most `MOST_LEVELS` and one."""
    distinct: int
    blanks: int

    @property
    def few(self) -> bool:
        return 2 <= self.distinct <= MOST_LEVELS

    @property
    def label(self) -> bool:
        """Return True if the name or the values show that the column numbers, names or dates runs."""
        if self.levels and all(_UUID.fullmatch(level) for level in self.levels):
            return True
        if units.of_name(self.name):
            return False
        name = self.name.lower()
        if "time" in name and self.levels and _EPOCH.fullmatch(self.levels[0]):
            return True
        if any(word in name for word in (*_ENERGY, *_DURATION)) and not any(word in name for word in _MOMENT):
            return False
        return bool(_LABEL.match(re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-.\s]+", " ", self.name).strip().lower())) or bool(
            _LABEL.match(self.name.lower())
        )


def columns_of(grid: Grid) -> dict[str, Column]:
    """Return every column that stands once, by name."""
    return {name: _column(name, texts, grid.layout.decimal) for name, texts in grid.columns.items()}


def _column(name: str, texts: Sequence[str], decimal: str) -> Column:
    levels = dict.fromkeys(texts)
    known = [text for text in levels if not is_blank(text)]
    number = reader(decimal)
    kind: Literal["number", "text", "constant", "empty"] = "text"
    if len(known) < 2:
        kind = "constant" if known else "empty"
    elif all(number(text) is not None for text in known):
        kind = "number"
    blank = {text for text in levels if is_blank(text)}
    blanks = sum(map(blank.__contains__, texts)) if blank else 0
    return Column(name, kind, tuple(known[: MOST_LEVELS + 1]), len(known), blanks)


def measured(grid: Grid, columns: Mapping[str, Column]) -> list[str]:
    """Return columns that may be the outcome, energies first: numbers that neither label runs nor are levels."""
    numbers = [name for name, column in columns.items() if column.kind == "number" and not column.label]
    wanted = [name for name in numbers if name not in (*(grid.roles.factors or ()), *grid.roles.labels)]
    wanted = [name for name in wanted if not _numeric_factor(grid, columns[name])] or wanted
    return sorted(wanted, key=lambda name: not any(word in name.lower() for word in _ENERGY))


def nearly_measured(grid: Grid, columns: Mapping[str, Column]) -> list[str]:
    """Return columns of which most values are numbers: one that is not, is a mistake in its line."""
    number = reader(grid.layout.decimal)

    def share(column: Column) -> float:
        return sum(number(text) is not None for text in column.levels) / max(1, len(column.levels))

    texts = [column for column in columns.values() if column.kind == "text" and not column.label]
    return [column.name for column in texts if share(column) > 0.5]


def factors(grid: Grid, columns: Mapping[str, Column], without: Sequence[str]) -> list[str]:
    """Return columns that are factors of the design: few levels, each with several rows, and not labels of runs."""
    if grid.roles.factors is not None:
        named = [name for name in grid.roles.factors if name in columns and columns[name].distinct > 1]
        return [name for name in named if name not in without]
    candidates = [
        name
        for name, column in columns.items()
        if name not in without and not column.label and name not in grid.roles.labels and _factor(grid, column)
    ]
    return candidates


def _factor(grid: Grid, column: Column) -> bool:
    if column.kind == "text":
        return column.few and column.distinct * 2 <= grid.rows and column.blanks * 2 < grid.rows
    return column.kind == "number" and _numeric_factor(grid, column)


def _numeric_factor(grid: Grid, column: Column) -> bool:
    """Return True if numbers are levels: few, short, each in about as many rows as the others."""
    if not 2 <= column.distinct <= _MOST_NUMERIC_LEVELS or column.distinct * _FEWEST_BY_LEVEL > grid.rows:
        return False
    if any(len(text) > _LONGEST_LEVEL for text in column.levels) or column.blanks:
        return False
    counts = Counter(grid.columns[column.name])
    return max(counts.values()) <= 2 * min(counts.values())


def possible_arms(grid: Grid, columns: Mapping[str, Column], without: Sequence[str]) -> list[str]:
    """Return columns that could hold arms although none is a factor: texts, else labels and short numbers that repeat.

    A number that differs in most rows is a measurement or numbers the runs, and its values are never arms.
    """
    few = [column for column in columns.values() if column.few and column.name not in without]
    texts = [column.name for column in few if column.kind == "text" and not column.label]
    return texts or [column.name for column in few if _repeats(grid, column)]


def _repeats(grid: Grid, column: Column) -> bool:
    if column.kind == "text":
        return column.distinct * 2 <= grid.rows
    return (
        column.distinct <= _MOST_NUMERIC_LEVELS
        and column.distinct * _FEWEST_BY_LEVEL <= grid.rows
        and all(len(text) <= _LONGEST_LEVEL for text in column.levels)
    )


def numbered_series(columns: Mapping[str, Column], value: str) -> tuple[str, ...]:
    """Return the columns of numbers that *value* is one of, named by one word and consecutive numbers; else nothing.

    Fewer than three are no series, and neither are percentiles, whose numbers have gaps.
    """
    match = _NUMBERED.fullmatch(value)
    if match is None:
        return ()
    places: dict[int, str] = {}
    for name, column in columns.items():
        other = _NUMBERED.fullmatch(name)
        if other and other[1] == match[1] and column.kind in ("number", "constant"):
            places[int(other[2])] = name
    numbers = sorted(places)
    if len(numbers) < 3 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return ()
    return tuple(places[number] for number in numbers)


def numbered(grid: Grid, keys: Sequence[str], candidate: str) -> bool:
    """Return True if *candidate* labels or pairs rows: its values differ in every row of a cell of *keys*."""
    others = [grid.columns[name] for name in keys]
    cells = Counter(zip(*others, strict=True)) if others else Counter({(): grid.rows})
    if max(cells.values()) < 2:
        return False
    rows = set(zip(*others, grid.columns[candidate], strict=True))
    return len(rows) == grid.rows


def nested(grid: Grid, arm: str, candidate: str) -> tuple[bool, bool]:
    """Return two answers: is every level of *candidate* in one arm, and does an arm then have several levels?"""
    arms: dict[str, set[str]] = {}
    levels: dict[str, set[str]] = {}
    for one_arm, level in set(zip(grid.columns[arm], grid.columns[candidate], strict=True)):
        if not is_blank(level) and not is_blank(one_arm):
            arms.setdefault(level, set()).add(one_arm)
            levels.setdefault(one_arm, set()).add(level)
    inside = bool(arms) and all(len(own) == 1 for own in arms.values())
    return inside, inside and any(len(own) > 1 for own in levels.values())
