"""The design of a table in lines for a terminal, before any statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hardwatt.analysis.tables.delimited import word
from hardwatt.analysis.tables.design import stated
from hardwatt.analysis.tables.grid import shown
from hardwatt.analysis.tables.shown_design import Read, seen_columns

MOST_CELLS = 40
_MOST_COLUMNS = 40


def lines(table: Read) -> list[str]:
    """Return what was recognised in a table: layout, columns, cells, missing rows, and the complete command."""
    return list(_lines(table))


def _lines(table: Read) -> Iterator[str]:
    design, selected = table.design, table.selected
    grid, layout = design.grid, design.grid.layout
    words = [f"{grid.rows} rows", f"{len(grid.names)} columns", layout.kind, layout.encoding]
    words += [f"separator {word(layout.separator)}"] if layout.separator else []
    words += [f"decimal {'comma' if layout.decimal == ',' else 'point'}"] if layout.decimal else []
    words += [f"packed with {layout.compression}"] if layout.compression else []
    yield f"{shown(grid.file)}: {', '.join(words)}"
    yield from _columns(table)
    yield f"value: {shown(design.value)}, unit: {design.unit or 'not known (--unit)'}"
    yield f"arms: {', '.join(map(shown, selected.arms))} in {shown(design.arm)}; differences are minus the first"
    if design.factors:
        yield f"further factors: {', '.join(map(shown, design.factors))}"
    pairs = design.asked.columns.pairs
    yield f"paired by {', '.join(map(shown, pairs))}" if pairs else "unpaired: no --pair"
    yield from _cells(table)
    yield from _left_out(table)
    for note in design.notes:
        yield f"note: {note}"
    guessed = f"recognised: {', '.join(design.guessed)}; " if design.guessed else ""
    yield f"{guessed}the same, stated in full: {stated(design, str(table.path))}"


def _columns(table: Read) -> Iterator[str]:
    columns = seen_columns(table.design)
    for column in columns[:_MOST_COLUMNS]:
        role = f" [{column.role}]" if column.role else ""
        levels = f": {', '.join(map(shown, column.levels[:8]))}" if column.levels else ""
        more = ", …" if column.levels and (column.distinct.value or 0) > 8 else ""
        blanks = f", {column.blanks.value:g} blank" if column.blanks.value else ""
        yield f"  {shown(column.name)}{role}: {column.kind}, {column.distinct.value:g} different{blanks}{levels}{more}"
    if len(columns) > _MOST_COLUMNS:
        yield f"  and {len(columns) - _MOST_COLUMNS} more columns"


def _cells(table: Read) -> Iterator[str]:
    selected = table.selected
    counted = Counter(zip(selected.stratum.tolist(), selected.arm.tolist(), strict=True))
    for number, levels in enumerate(selected.strata[:MOST_CELLS]):
        counts = ", ".join(f"{shown(arm)} {counted[number, place]}" for place, arm in enumerate(selected.arms))
        where = " / ".join(map(shown, levels)) if levels else "rows by arm"
        empty = "  <- empty cell" if any(not counted[number, place] for place in range(len(selected.arms))) else ""
        yield f"  {where}: {counts}{empty}"
    if len(selected.strata) > MOST_CELLS:
        yield f"  and {len(selected.strata) - MOST_CELLS} more combinations"


def _left_out(table: Read) -> Iterator[str]:
    selected = table.selected
    if outside := table.design.grid.rows - selected.rows:
        yield f"{outside} rows are left out by --where"
    reasons = Counter(row.reason for row in selected.left_out)
    first = {row.reason: row.place for row in reversed(selected.left_out)}
    for reason, times in reasons.most_common(10):
        yield f"{times} {'row' if times == 1 else 'rows'} excluded: {reason} (first: {first[reason]})"
    if not reasons:
        yield "no row is excluded"
