"""A table as text, column by column, with where it stood in the file; and what a value of it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hardwatt.core.errors import LabError

NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
COMMA_NUMBER: Final = re.compile(r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
BLANKS: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "?", "nil", "missing", "#n/a"})
"""Words that stand for a missing value, in lower case."""
_LONGEST = 60


@dataclass(frozen=True)
class Layout:
    """Layout of the file. Separator and decimal are empty in JSON."""

    kind: str
    """``plain``, or the tool that wrote the file."""
    encoding: str
    separator: str = ""
    decimal: str = ""
    compression: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Roles:
    """Roles that the tool that wrote a file gives its columns; empty where nothing is known."""

    value: str = ""
    arm: str = ""
    unit: str = ""
    factors: tuple[str, ...] | None = None
    """The columns that the tool knows as factors; ``None``: not known, so that they are recognised by their levels."""
    labels: tuple[str, ...] = ()
    """Columns that only number or name runs."""
    order: str = ""
    """A column with the moment of a run."""


@dataclass(frozen=True)
class Grid:
    """A table as text. Every column has one text for each row."""

    file: str
    names: tuple[str, ...]
    """Columns in the order of the file."""
    columns: dict[str, list[str]]
    lines: Sequence[int]
    """Line of each row in the file; of JSON the number of the row."""
    layout: Layout
    twice: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """A name that several columns have, to their places from 1 on."""
    roles: Roles = field(default_factory=Roles)
    left_out: tuple[tuple[int, str], ...] = ()
    """Row and reason of rows that the tool itself marks as unfinished."""
    line_word: str = "line"

    @property
    def rows(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Return where a row stands, for an error or an exclusion."""
        return f"{self.line_word} {self.lines[row]}"

    def column(self, name: str, option: str) -> list[str]:
        """Return a column that *option* names. Raises `LabError` if it is missing or stands twice."""
        if name in self.twice:
            places = " and ".join(f"column {place}" for place in self.twice[name])
            raise LabError(
                f"{self.file} has several columns {shown(name)}: {places}",
                hint=f"rename one of them in the first line, and name the right one with {option}",
            )
        if name not in self.columns:
            raise LabError(
                f"{self.file} has no column {shown(name)}; it has: {listed(self.names)}",
                hint=f"name a column of the file with {option}",
            )
        return self.columns[name]

    def with_column(self, name: str, texts: list[str]) -> Grid:
        """Return the table with one more column."""
        return replace(self, names=(*self.names, name), columns={**self.columns, name: texts})


def shown(text: str) -> str:
    """Return foreign text for a message: quoted, cut, without control characters."""
    start = text[: _LONGEST + 1]
    printable = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in start)
    return repr(printable if len(printable) <= _LONGEST else printable[:_LONGEST] + "…")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names for a message, as many as can be read at once."""
    words = ", ".join(shown(name) for name in names[:most])
    return words + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"


def is_blank(text: str) -> bool:
    """Return True if a text stands for a missing value."""
    return not text or (len(text) <= 8 and text.lower() in BLANKS)


def point_number(text: str) -> float | None:
    """Return the number that a text shows with a decimal point; ``None`` for anything else."""
    return float(text) if NUMBER.fullmatch(text) else None


def comma_number(text: str) -> float | None:
    """Return the number that a text shows with a decimal comma; ``None`` for anything else."""
    return float(text.replace(",", ".")) if COMMA_NUMBER.fullmatch(text) else None


def reader(decimal: str) -> Callable[[str], float | None]:
    """Return the function that reads the numbers of a table."""
    return comma_number if decimal == "," else point_number


def why_no_number(text: str) -> tuple[str, str]:
    """Return the likely reason why a text is not a number, and what helps."""
    correct = "correct the line, or name another column with --value"
    if "_" in text and NUMBER.fullmatch(text.replace("_", "")):
        return "an underscore is not part of a number", correct
    if COMMA_NUMBER.fullmatch(text):
        return "a comma may separate decimals or thousands", "--decimal comma, or write the numbers without thousands"
    if "." in text and "," in text and NUMBER.fullmatch(text.replace(",", "")):
        return "it has a thousands separator", "write the numbers without thousands separators"
    if re.fullmatch(r"[+-]?inf(inity)?", text, re.IGNORECASE):
        return "an infinite value is not a measurement", correct
    if re.fullmatch(r"[+-]?\d+\.?\d*(?:[eE][+-]?\d+)?\s*[A-Za-zµμ%°].*", text):
        return "it has a unit behind the number", "write the numbers alone, and name the unit with --unit"
    return "no number can be read from it", correct
