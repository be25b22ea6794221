"""CSV files of measurement tools, known by their header: what each tool is known to put where."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from hardwatt.analysis.tables.grid import Grid, Roles, is_blank, shown
from hardwatt.core.errors import LabError

_RUN: Final = re.compile(r"run_(\d+)(?:_repetition_(\d+))?")
_DONE: Final = {"DONE": True, "TODO": False}
COMBINATION, REPETITION = "combination", "repetition"
_CODECARBON: Final = ("timestamp", "project_name", "run_id", "duration", "emissions", "energy_consumed")
_BRIDGE: Final = ("Delta", "Time")


def known(grid: Grid) -> Grid:
    """Return the table with what its tool is known to write; a plain table as it is.

    Raises `LabError` if a word of the tool is not understood.
    """
    for columns, read in _TOOLS:
        if set(columns) <= set(grid.columns):
            return read(grid)
    return grid


def _experiment_runner(grid: Grid) -> Grid:
    """run_table.csv: ``run_3_repetition_0`` numbers the combination of factors and its repetition."""
    left_out = []
    for row, text in enumerate(grid.columns["__done"]):
        done = _DONE.get(text.rpartition(".")[2].upper())
        if done is None:
            raise LabError(
                f"{grid.file}, {grid.place(row)}: {shown(text)} in the column '__done' is neither DONE nor TODO",
                hint="correct the word, or leave the row out with --where __done=DONE",
            )
        if not done:
            left_out.append((row, f"the run is {text} in the table"))
    matches = [_RUN.fullmatch(text) for text in grid.columns["__run_id"]]
    named: tuple[str, ...] = ("__run_id", "__done")
    factors: tuple[str, ...] | None = None
    if all(matches):
        parts = [match.groups() for match in matches if match]
        for name, place in ((COMBINATION, 0), (REPETITION, 1)):
            if name not in grid.columns and all(part[place] is not None for part in parts):
                grid, named = grid.with_column(name, [part[place] or "" for part in parts]), (*named, name)
        factors = _constant_within(grid, [part[0] or "" for part in parts], named)
    return replace(
        grid,
        layout=replace(grid.layout, kind="experiment-runner"),
        roles=Roles(labels=named, factors=factors),
        left_out=tuple(left_out),
    )


def _constant_within(grid: Grid, combinations: Sequence[str], without: Sequence[str]) -> tuple[str, ...] | None:
    """Return the columns whose value the combination decides; ``None`` if every combination has one row."""
    if len(set(combinations)) == len(combinations):
        return None
    names = []
    for name, texts in grid.columns.items():
        pairs = set(zip(combinations, texts, strict=True))
        if name not in without and len(pairs) == len(set(combinations)) and len(set(texts)) > 1:
            names.append(name)
    return tuple(name for name in names if not all(map(is_blank, grid.columns[name]))) or None


def _codecarbon(grid: Grid) -> Grid:
    """emissions.csv: a row for each run of a tracker; energies are in kWh and may be estimates."""
    note = (
        "CodeCarbon writes energy in kWh. Depending on the machine it reads counters or multiplies a constant power by "
        "time; the table does not say which."
    )
    labels = ("timestamp", "run_id", "experiment_id")
    return replace(
        grid,
        layout=replace(grid.layout, kind="CodeCarbon", notes=(note,)),
        roles=Roles("energy_consumed", "project_name", "kWh", factors=(), labels=labels, order="timestamp"),
    )


def _energibridge(grid: Grid) -> Grid:
    energies = [name for name in grid.columns if name.endswith("_ENERGY (J)")]
    hint = "hardwatt table A1.csv A2.csv A3.csv B1.csv B2.csv B3.csv (one file for each run; the name is the arm)"
    if energies:
        raise LabError(
            f"{grid.file} has the samples of one run by EnergiBridge ({grid.rows} rows, {shown(energies[0])}), and a "
            "comparison needs runs of two arms",
            hint=hint,
        )
    raise LabError(f"{grid.file} has samples by EnergiBridge without a column of energy in joules", hint=hint)


_TOOLS: Final[tuple[tuple[tuple[str, ...], Callable[[Grid], Grid]], ...]] = (
    (("__run_id", "__done"), _experiment_runner),
    (_CODECARBON, _codecarbon),
    (_BRIDGE, _energibridge),
)
