"""Delimited text to a table: the separator, the header and the decimal mark are recognised, and said."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hardwatt.analysis.tables.decode import Decoded
from hardwatt.analysis.tables.grid import COMMA_NUMBER, NUMBER, Grid, Layout, is_blank, listed, shown
from hardwatt.core.errors import LabError

SEPARATORS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
_LOOKED_AT: Final = 200
"""Rows by which the separator is recognised."""
_LONGEST_FIELD: Final = 1 << 20


@dataclass(frozen=True)
class _Rows:
    header: list[str]
    columns: list[list[str]]
    lines: list[int]


def read(decoded: Decoded, file: str, separator: str = "", decimal: str = "") -> Grid:
    """Read delimited text.

    Raises `LabError` with line, column, value, reason and the option that helps.
    """
    mark = _named(separator) if separator else _separator(decoded.text, file)
    rows = _rows(decoded.text, mark, file)
    names, twice = _names(rows.header)
    columns = {name: column for name, column in zip(names, rows.columns, strict=True) if name not in twice}
    point = _decimal(decimal) if decimal else _recognised_decimal(columns)
    layout = Layout("plain", _encoding(decoded), mark, point, decoded.compression)
    return Grid(file, tuple(names), columns, rows.lines, layout, twice)


def word(separator: str) -> str:
    """Return the name of a separator."""
    return next((name for name, mark in SEPARATORS.items() if mark == separator), separator)


def _encoding(decoded: Decoded) -> str:
    return f"{decoded.encoding} with a byte order mark" if decoded.byte_order_mark else decoded.encoding


def _named(asked: str) -> str:
    mark = SEPARATORS.get(asked, asked)
    if len(mark) != 1:
        raise LabError(f"unknown separator {shown(asked)}", hint=f"--separator {' or '.join(SEPARATORS)}")
    return mark


def _decimal(asked: str) -> str:
    marks = {"comma": ",", "point": ".", ",": ",", ".": "."}
    if asked not in marks:
        raise LabError(f"unknown decimal mark {shown(asked)}", hint="--decimal comma or --decimal point")
    return marks[asked]


def _separator(text: str, file: str) -> str:
    """Return the separator that splits the first rows into the most equal fields."""
    start = text[: 1 << 18]
    scores: dict[str, tuple[float, int]] = {}
    for mark in (",", ";", "\t", "|"):
        if mark not in start:
            continue
        counts = [len(row) for row, _ in zip(_parsed(start, mark), range(_LOOKED_AT), strict=False) if row]
        if len(counts) > 2 and len(start) < len(text):
            counts.pop()  # the last one may be cut
        width = counts[0] if counts else 0
        if width > 1:
            scores[mark] = (sum(count == width for count in counts) / len(counts), width)
    if not scores:
        first = text.partition("\n")[0].strip()
        if not any(mark in start for mark in ",;\t|") and " " in first:
            raise LabError(
                f"{file}, line 1: no separator was recognised in {shown(first)}", hint="name it: --separator space"
            )
        return ","
    return max(scores, key=lambda mark: scores[mark])


def _parsed(text: str, mark: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    yield from csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)


def _rows(text: str, mark: str, file: str) -> _Rows:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=True)
    known: dict[str, str] = {}
    keep = known.setdefault
    header: list[str] = []
    columns: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if row[0].startswith("#") and len(row) == 1 and len(header) != 1:
                continue
            if not header:
                header = _header([name.strip() for name in row], file)
                columns = [[] for _ in header]
                continue
            if len(row) != len(header):
                row = _fitted(row, header, mark, file, reader.line_num)
            lines.append(reader.line_num)
            for column, value in zip(columns, row, strict=True):
                value = value.strip()
                column.append(keep(value, value))
    except csv.Error as error:
        raise LabError(
            f"{file}, line {reader.line_num}: {error}", hint="look for a quotation mark that is not closed"
        ) from None
    if not header:
        raise LabError(f"{file} has no header line")
    if not lines:
        raise LabError(f"{file} has no rows below its header: {listed(header)}")
    return _Rows(header, columns, lines)


def _header(names: list[str], file: str) -> list[str]:
    """Return the first line's names. Raises `LabError` if they are values: the table has no header."""
    decimals = sum("." in name and NUMBER.fullmatch(name) is not None for name in names)
    if 2 * decimals >= len(names):
        raise LabError(
            f"{file}, line 1: {listed(names)} look like values, and the first line has the names of the columns",
            hint="write a first line with a name for each column",
        )
    return names


def _fitted(row: list[str], header: Sequence[str], mark: str, file: str, line: int) -> list[str]:
    """Return a row without empty fields behind its last column. Raises `LabError` for any other width."""
    width = len(header)
    if len(row) > width and not any(value.strip() for value in row[width:]):
        return row[:width]
    if len(row) < width:
        raise LabError(
            f"{file}, line {line}: {len(row)} of the {width} fields of the header: {listed(header)}",
            hint="complete the line; an empty field still needs its separator",
        )
    reason, hint = "a field may hold the separator without quotation marks", "put the field into quotation marks"
    places = [k for k in range(len(row) - 1) if row[k].strip().lstrip("+-").isdigit() and row[k + 1].strip().isdigit()]
    if mark == "," and places:
        pair = f"{row[places[-1]].strip()},{row[places[-1] + 1].strip()}"
        reason = f"{shown(pair)} is likely one number with a decimal comma"
        hint = "export with semicolons between columns, or with decimal points"
    raise LabError(f"{file}, line {line}: {len(row)} fields, and the header has {width}; {reason}", hint=hint)


def _names(header: Sequence[str]) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """Return the columns' names, and those that several columns have."""
    names = [name or f"column {place}" for place, name in enumerate(header, start=1)]
    counted = Counter(names)
    twice = {
        name: tuple(place for place, other in enumerate(names, start=1) if other == name)
        for name, times in counted.items()
        if times > 1
    }
    return names, twice


def _recognised_decimal(columns: dict[str, list[str]]) -> str:
    """Return a comma only if no other reading is possible.

    A column then has nothing but numbers with commas, at least one of which cannot be a thousands separator, and no
    column has a number with a point.
    """
    sure = False
    for texts in columns.values():
        own = [text for text in texts if not is_blank(text)]
        with_comma = [text for text in own if "," in text]
        if any("." in text and NUMBER.fullmatch(text) for text in own):
            return "."
        if with_comma and all(COMMA_NUMBER.fullmatch(text) for text in own):
            sure = sure or any(_surely_decimal(text) for text in with_comma)
    return "," if sure else "."


def _surely_decimal(text: str) -> bool:
    whole, _, rest = text.lstrip("+-").partition(",")
    return len(rest) != 3 or whole.startswith("0") or len(whole) > 3
