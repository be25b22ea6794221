"""CSV files of measurement tools, known by their header: what each tool is known to put where."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from numpy import trapezoid

from hardwatt.analysis.tables.grid import Grid, Roles, is_blank, listed, point_number, shown
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
    if len(left_out) == grid.rows:
        raise LabError(
            f"no row of {grid.file} can be used: the run is TODO in every row", hint="run the experiment first"
        )
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
    """Return the factors: the first columns, as long as the combination decides their value; then results begin.

    ``None`` if every combination has one row, which decides every column.
    """
    different = len(set(combinations))
    if different == len(combinations):
        return None
    names = []
    for name, texts in grid.columns.items():
        if name in without:
            continue
        if len(set(zip(combinations, texts, strict=True))) > different or all(map(is_blank, texts)):
            break
        names.append(name)
    return tuple(name for name in names if len(set(grid.columns[name])) > 1) or None


def _codecarbon(grid: Grid) -> Grid:
    """emissions.csv: a row for each flush of a tracker, whose energies in kWh add up from its start.

    The last row of a run has its total.
    """
    note = (
        "CodeCarbon writes energy in kWh. Depending on the machine it reads counters or multiplies a constant power by "
        "time; the table does not say which."
    )
    labels = ("timestamp", "run_id", "experiment_id")
    last = {run: row for row, run in enumerate(grid.columns["run_id"])}
    early = [row for row, run in enumerate(grid.columns["run_id"]) if last[run] != row]
    return replace(
        grid,
        left_out=tuple((row, "a later row has the total of the same run") for row in early),
        layout=replace(grid.layout, kind="CodeCarbon", notes=(note,)),
        roles=Roles("energy_consumed", "project_name", "kWh", factors=(), labels=labels, order="timestamp"),
    )


def _energibridge(grid: Grid) -> Grid:
    """A file of EnergiBridge has the samples of one run: refused, with the row that it is in a table of runs."""
    energies = [name for name in ("PACKAGE_ENERGY (J)", "CPU_ENERGY (J)") if name in grid.columns]
    powers = [name for name in ("SYSTEM_POWER (Watts)", "CPU_POWER (Watts)") if name in grid.columns]
    name = (energies or powers or [""])[0]
    if not name:
        raise LabError(f"{grid.file} has samples by EnergiBridge and no column of energy: {listed(grid.names)}")
    total = _total(grid, name, bool(energies))
    raise LabError(
        f"{grid.file} has the {grid.rows} samples of one run by EnergiBridge, and a comparison needs several runs of "
        f"two arms. This run: {total}",
        hint="write a row for each run into a CSV with the columns arm,joules, and then: hardwatt table RUNS.csv; "
        "docs/table.md has a script that makes this table",
    )


def _total(grid: Grid, name: str, energy: bool) -> str:
    """Return the energy of a run in words: the difference of a counter, or the integral of a power."""
    values = [point_number(text) for text in grid.columns[name]]
    moments = [point_number(text) for text in grid.columns["Time"]]
    known = [value for value in values if value is not None]
    times = [moment for moment in moments if moment is not None]
    if len(known) < len(values):
        return f"{name} has blanks: the sensor was not read"
    if energy:
        if any(later < earlier for earlier, later in pairwise(known)):
            return f"{name} falls: the counter wrapped"
        return f"{known[-1] - known[0]:.9g} joules, the last value of {name} minus the first"
    if len(times) < len(moments) or any(later < earlier for earlier, later in pairwise(times)):
        return "the moments in the column Time are not complete and in order"
    joules = trapezoid(known, times) / 1000
    return f"{joules:.9g} joules, the integral of {name} over Time in milliseconds"


_TOOLS: Final[tuple[tuple[tuple[str, ...], Callable[[Grid], Grid]], ...]] = (
    (("__run_id", "__done"), _experiment_runner),
    (_CODECARBON, _codecarbon),
    (_BRIDGE, _energibridge),
)
