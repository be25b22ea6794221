"""The design of a table, and its file, as sections of the results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hardwatt.analysis.figures import count
from hardwatt.analysis.tables.design import Design, stated
from hardwatt.analysis.tables.model import Cell, SeenColumn, TableDesign, TableSource
from hardwatt.analysis.tables.select import Selected
from hardwatt.core.files import sha256


@dataclass(frozen=True)
class Read:
    """A table whose design is known, before any statistics."""

    path: Path
    design: Design
    selected: Selected


def section(table: Read) -> TableDesign:
    """Return the design that the answer rests on."""
    design, selected, asked = table.design, table.selected, table.design.asked
    cells = Counter(zip(selected.arm.tolist(), selected.stratum.tolist(), strict=True))
    shown = [
        Cell(name, list(levels), count(cells.get((arm, number), 0), "rows", "usable rows"))
        for number, levels in enumerate(selected.strata)
        for arm, name in enumerate(selected.arms)
    ]
    return TableDesign(
        value=design.value,
        arm=design.arm,
        factors=list(design.factors),
        pair=list(asked.columns.pairs),
        order=asked.order or "",
        paired=selected.pair is not None,
        columns=seen_columns(design),
        cells=shown[:500],
        repetitions=count(max(cells.values()), "rows", "of an arm in one cell"),
        guessed=list(design.guessed),
        command=stated(design, table.path.name),
    )


def seen_columns(design: Design) -> list[SeenColumn]:
    """Return the columns and what they are used for."""
    asked = design.asked
    roles = dict.fromkeys(design.factors, "factor") | {name: "filter" for name, _ in asked.filters}
    roles |= dict.fromkeys(asked.columns.pairs, "pair") | ({asked.order: "order"} if asked.order else {})
    roles |= {design.value: "value", design.arm: "arm"}
    return [
        SeenColumn(
            column.name,
            column.kind,
            count(column.distinct, "values", "different values"),
            count(column.blanks, "rows", "blank"),
            list(column.levels[:12]) if column.kind != "number" or column.distinct <= 12 else [],
            roles.get(column.name, ""),
        )
        for column in design.columns.values()
    ]


def source(table: Read, copy: str) -> TableSource:
    """Return the file that the values come from; *copy* is the name of the copy beside the results."""
    layout = table.design.grid.layout
    return TableSource(
        file=table.path.name,
        sha256=sha256(table.path),
        kind=layout.kind,
        encoding=layout.encoding,
        separator=layout.separator,
        decimal=layout.decimal,
        compression=layout.compression,
        rows=count(table.selected.rows, "rows", table.path.name),
        copy=copy,
    )
