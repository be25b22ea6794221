"""From a file to results.json: read, recognise the design, select rows, compare, assemble."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from hardwatt.analysis.contract import as_json
from hardwatt.analysis.equivalence import holm
from hardwatt.analysis.figures import Json, as_written, count, figure, text
from hardwatt.analysis.sections import Exclusion
from hardwatt.analysis.tables import (
    blocks,
    columns,
    contrasts,
    reading,
    result_rows,
    robust,
    shown_design,
    words,
)
from hardwatt.analysis.tables.contrasts import Compared
from hardwatt.analysis.tables.design import Choose, Design, nobody, recognise
from hardwatt.analysis.tables.grid import shown
from hardwatt.analysis.tables.model import (
    ReasonCount,
    TableResults,
)
from hardwatt.analysis.tables.request import TableRequest, command
from hardwatt.analysis.tables.select import LeftOut, Selected, select
from hardwatt.analysis.tables.shown_design import Read
from hardwatt.core.files import write_atomic

SCHEMA: Final = "hardwatt.table/2"
MOST_EXCLUSIONS: Final = 200
MOST_COPIED: Final = 64 << 20
"""Bytes of a table up to which a copy is kept beside the results."""


def read(path: Path | str, asked: TableRequest | None = None, choose: Choose = nobody) -> Read:
    """Read a table and recognise its design.

    Raises `LabError` that names what cannot be understood, and
    `hardwatt.analysis.tables.request.ChoiceMissingError` if an option is missing that cannot be recognised.
    """
    file, asked = Path(path), asked or TableRequest()
    grid = reading.read(file, asked.separator, asked.decimal, asked.encoding)
    design = recognise(grid, str(file), asked, choose)
    return Read(file, design, select(design))


def analyse_table(path: Path | str, asked: TableRequest | None = None, output: Path | None = None) -> Json:
    """Analyse a table; with *output*, write results.json and a copy of the table there.

    Returns `hardwatt.analysis.tables.model.TableResults` as plain dicts and lists, and raises as `read` does.
    """
    plain: Json = as_json(analysed_table(read(path, asked), output))
    return plain


def analysed_table(table: Read, output: Path | None = None) -> TableResults:
    """Return the results of a table that was read; with *output*, write them and a copy of the table there."""
    results = as_written(_results(table, _copied(table.path, output) if output else ""))
    if output:
        write_atomic(output / "results.json", text(results))
    return results


def _copied(path: Path, output: Path) -> str:
    """Copy the table beside the results, under a name that the table does not choose; empty if it is too large."""
    if path.stat().st_size > MOST_COPIED:
        return ""
    ending = "".join(suffix for suffix in path.suffixes[-2:] if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix)) or ".txt"
    name = f"data{ending}"
    write_atomic(output / name, path.read_bytes())
    return name


def _results(table: Read, copy: str) -> TableResults:
    design, selected, asked = table.design, table.selected, table.design.asked
    compared = _compared(design, selected)
    level = _level(asked, len(compared))
    adjusted = holm({str(contrast.arm): contrast.test.p for contrast in compared if contrast.test and contrast.enough})
    first = compared[0]
    names = (selected.arms[0], selected.arms[first.arm])
    unit, source = design.unit or "1", f"column {design.value} of {design.grid.file}"
    equal = result_rows.equivalent_within(first, asked, len(compared), unit, source)
    verdict = words.verdict(first, adjusted.get(str(first.arm)), asked.level, len(compared), equal)
    left_out = [*selected.left_out, *_incomplete(compared)]
    n = count(first.n[0], "pairs", "complete pairs") if first.pairs else count(sum(first.n), "rows", "both arms")
    return TableResults(
        schema=SCHEMA,
        arms=list(selected.arms),
        n=n,
        primary=result_rows.primary(first, design, names, level, unit, source),
        verdict=verdict,
        contrasts=[
            result_rows.contrast(contrast, selected, adjusted, level, asked.level, unit, source)
            for contrast in compared
        ],
        together=result_rows.together(selected, asked, compared),
        samples=result_rows.samples(selected, unit, source),
        pairs=result_rows.pairs(first, names, unit, source),
        equivalence=equal,
        robustness=robust.robustness(first, selected, unit, source, level, asked.seed),
        checks=robust.checks(first, selected, names),
        exclusions=[Exclusion(row.place, row.arm, row.reason) for row in left_out[:MOST_EXCLUSIONS]],
        excluded=_reasons(left_out),
        design=shown_design.section(table),
        methods=words.methods(design, selected, first, len(compared), level),
        versions=words.versions(),
        seed=figure(asked.seed, "1", "given, or 0"),
        table=shown_design.source(table, copy),
        notes=words.notes(design, selected, first, len(compared)),
    )


def _level(asked: TableRequest, contrasts_: int) -> float:
    return 1 - (1 - asked.level) / contrasts_


def _compared(design: Design, selected: Selected) -> list[Compared]:
    """Compare every arm with the baseline, the headline first. An arm that cannot be compared is left aside.

    Raises `NothingToCompareError` if the headline cannot be compared.
    """
    level = _level(design.asked, len(selected.arms) - 1)
    runs = blocks.runs_by_pair(selected) if selected.pair is not None else None
    answers = []
    for arm in range(1, len(selected.arms)):
        try:
            if runs is None:
                answers.append(contrasts.unpaired_contrast(selected, arm, level))
            else:
                answers.append(contrasts.paired_contrast(selected, runs, arm, level))
        except contrasts.NothingToCompareError as error:
            if arm == 1:
                error.hint = _instead(design)
                raise
    return answers


def _instead(design: Design) -> str:
    """Return what helps where the headline's arms share no cell or no pair."""
    asked = design.asked
    if asked.columns.pairs:
        unpaired_ = replace(asked, columns=replace(asked.columns, pair=None))
        return f"compare runs that are not paired: {command(design.file, unpaired_)}"
    if not design.factors:
        return "name two arms that have values with --baseline and --against"
    measure = "measure the missing combinations, or name two arms that share one with --baseline and --against"
    renames = [name for name in design.factors if columns.nested(design.grid, design.arm, name)[0]]
    if not renames:  # each level was planned with several arms: to ignore it would compare unequal combinations
        return measure
    others = tuple(name for name in design.factors if name not in renames)
    fewer = replace(asked, factors=others or None, ignore=(*asked.ignore, *renames))
    return f"{measure}; if {', '.join(map(shown, renames))} only renames the arm: {command(design.file, fewer)}"


def _incomplete(compared: Sequence[Compared]) -> list[LeftOut]:
    rows = [row for contrast in compared if contrast.pairs for row in contrast.pairs.left_out]
    return list(dict.fromkeys(rows))


def _reasons(left_out: Sequence[LeftOut]) -> list[ReasonCount]:
    counted = Counter(row.reason for row in left_out)
    return [ReasonCount(reason, count(times, "rows", "rows of the table")) for reason, times in counted.most_common(50)]
