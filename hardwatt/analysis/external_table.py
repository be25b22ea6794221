"""Somebody else's table through the same primary and robustness path: a plain CSV, or experiment-runner's.

A plain CSV has a row a run with the columns ``pair``, ``arm`` and ``value`` (other names can be given), and may have
``commits`` and ``seconds``. experiment-runner's run_table.csv is known by ``__run_id`` and ``__done``: its repetition
is taken for the pair, and rows that are not DONE are exclusions. Rows stand in the order in which they ran.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from hardwatt.analysis import answer, distribution, extra_sections, robustness, table, ties
from hardwatt.analysis.contract import as_json
from hardwatt.analysis.figures import Json, count, figure, text
from hardwatt.analysis.model import ColumnNames, TableResults, TableSource
from hardwatt.analysis.paired import LEVEL
from hardwatt.analysis.sections import Exclusion
from hardwatt.bundle.model import Run
from hardwatt.core.errors import LabError
from hardwatt.core.files import sha256, write_atomic
from hardwatt.instruments.figure import Figure, Measured, Outcome

SCHEMA: Final = "hardwatt.table/1"
_REPETITION = re.compile(r"^run_(\d+)_repetition_(\d+)$")
_STEP_MS = 1_000_000
_MOST_DIGITS = sys.int_info.str_digits_check_threshold
"""Of a name that is taken for a number: Python converts so many whatever its limit is set to."""


@dataclass(frozen=True)
class Columns:
    """Which column holds what. ``pair`` left out: ``pair``, or experiment-runner's repetition."""

    value: str = "value"
    arm: str = "arm"
    pair: str | None = None


@dataclass(frozen=True)
class TableRequest:
    """How to analyse the table. A table carries no plan, so what is not given is the usual."""

    columns: Columns = field(default_factory=Columns)
    baseline: str | None = None
    """The first arm; left out: that of the first row."""
    unit: str = "1"
    level: float = LEVEL
    margin: float | None = None
    seed: int = 0


def analyse_table(path: Path | str, asked: TableRequest | None = None, output: Path | None = None) -> Json:
    """Analyse a table; with *output*, write results.json there.

    Returns `hardwatt.analysis.model.TableResults` as plain dicts and lists.

    Raises `LabError` that names row and column of a mistake.
    """
    file, asked = Path(path), asked or TableRequest()
    rows, foreign = _rows(file, asked)
    runs, measured = _runs(rows, asked, file.name)
    arms = _arms(runs, asked.baseline)
    data = replace(table.build(runs, measured, arms[:2], asked.columns.value), level=asked.level)
    source = TableSource(
        file=file.name,
        sha256=sha256(file),
        kind="experiment-runner" if foreign else "plain",
        columns=ColumnNames(asked.columns.value, asked.columns.arm, _pair_column(asked, foreign)),
        rows=count(len(rows), "rows", file.name),
    )
    results = _results(data, runs, arms, asked, source)
    if output:
        write_atomic(output / "results.json", text(results))
    found: Json = as_json(results)
    return found


def _pair_column(asked: TableRequest, foreign: bool) -> str:
    return asked.columns.pair or ("repetition in __run_id" if foreign else "pair")


def _rows(file: Path, asked: TableRequest) -> tuple[list[dict[str, str]], bool]:
    """Return the rows and whether they are experiment-runner's."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            rows, header = [dict(row) for row in reader], list(reader.fieldnames or [])
    except FileNotFoundError:
        raise LabError(f"there is no table at {file}") from None
    except IsADirectoryError:
        raise LabError(f"{file} is a directory", hint="name the CSV file in it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabError(f"{file} is not a CSV file: {error}") from None
    foreign = {"__run_id", "__done"} <= set(header)
    needed = [asked.columns.value, asked.columns.arm]
    needed += [asked.columns.pair] if asked.columns.pair else [] if foreign else ["pair"]
    missing = [name for name in needed if name not in header]
    if missing:
        raise LabError(
            f"{file} has no column {', '.join(map(repr, missing))}; it has: {', '.join(header) or 'nothing'}",
            hint="name the columns with --value, --arm and --pair",
        )
    if not rows:
        raise LabError(f"{file} has no rows")
    return rows, foreign


def _runs(rows: Sequence[Mapping[str, str | None]], asked: TableRequest, source: str) -> tuple[list[Run], Measured]:
    runs, outcomes, blocks = [], [], _Numbers()
    for number, row in enumerate(rows, start=1):
        where = f"row {number} of {source}"
        arm, block = (row[asked.columns.arm] or "").strip(), blocks.of(_pair(row, asked, where))
        done = (row.get("__done") or "DONE").strip().upper() == "DONE"
        start = number * _STEP_MS
        seconds = _number(row.get("seconds"), "seconds", where) if row.get("seconds") else 1.0
        run = Run(
            run_id=f"row-{number}",
            block=block,
            position=number,
            arm=arm,
            repeat=0,
            status="done" if done else "failed",
            reason="" if done else f"is {row.get('__done')} in the table",
            t0_ms=start,
            t1_ms=start + max(1, round(seconds * 1000)),
            commits=round(_number(row.get("commits"), "commits", where)) if row.get("commits") else 0,
        )
        runs.append(run)
        if done:
            value = _number(row[asked.columns.value], asked.columns.value, where)
            exact = ties.exact(row[asked.columns.value] or "")
            one = Figure(value, asked.unit, f"column {asked.columns.value} of {source}", value, value, exact)
            outcomes.append(Outcome(run.run_id, arm, block, number, asked.columns.value, one))
    return runs, Measured(tuple(outcomes), ())


class _Numbers:
    """Numbers for names of pairs, in the order in which they come; a name that is a number keeps it."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, name: str) -> int:
        number = name.isdecimal() and len(name) <= _MOST_DIGITS
        return self._known.setdefault(name, int(name) if number else 1_000_000 + len(self._known))


def _pair(row: Mapping[str, str | None], asked: TableRequest, where: str) -> str:
    column = asked.columns.pair or ("pair" if "__run_id" not in row else None)
    if column is not None:
        if not (name := (row[column] or "").strip()):
            raise LabError(f"{where}: the column {column!r} is empty")
        return name
    found = _REPETITION.match((row["__run_id"] or "").strip())
    if not found:
        raise LabError(
            f"{where}: {row['__run_id']!r} names no repetition", hint="name the column that holds the pair with --pair"
        )
    return found[2]


def _number(text_: str | None, column: str, where: str) -> float:
    try:
        value = float(text_ or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabError(f"{where}: {text_!r} in the column {column!r} is not a number")
    return value


def _arms(runs: Sequence[Run], baseline: str | None) -> list[str]:
    arms = list(dict.fromkeys(run.arm for run in runs))
    if baseline is not None and baseline not in arms:
        raise LabError(f"no row has the arm {baseline!r}; there are: {', '.join(arms)}")
    if len(arms) < 2 or "" in arms:
        raise LabError(f"a comparison needs two arms or more with names; the table has: {', '.join(arms) or 'none'}")
    first = baseline or arms[0]
    counted = Counter((run.block, run.arm) for run in runs if run.status == "done")
    doubled = [f"{block} {arm}" for (block, arm), number in counted.items() if number > 1]
    if doubled:
        raise LabError(
            f"more than one row for the same pair and arm ({', '.join(doubled[:3])})",
            hint="a row is a run; keep one factor for --arm and leave other treatments out",
        )
    return [first, *(arm for arm in arms if arm != first)]


def _results(
    data: table.Table, runs: Sequence[Run], arms: Sequence[str], asked: TableRequest, source: TableSource
) -> TableResults:
    planned = {"outcome": data.outcome, "unit": asked.unit, "confidence": asked.level, "margin": asked.margin}
    first, equal = answer.primary(data, planned), answer.equivalent(data, planned)
    options = {"level": asked.level, "seed": asked.seed}
    commits = any(run.commits for run in runs)
    robust = robustness.robustness(data, asked.seed, asked.level)
    return TableResults(
        schema=SCHEMA,
        arms=list(arms),
        n=count(len(data.pairs), "pairs", "rows of the table"),
        primary=first,
        verdict=answer.verdict(data, first, equal),
        pairs=answer.pairs(data, None),
        distribution=distribution.distribution(data),
        equivalence=equal,
        robustness=robust,
        several=extra_sections.further_arms(runs, data.figures, arms, data.outcome, options),
        break_even=extra_sections.break_even(data, asked.level) if commits else None,
        scaling=None,
        checks=robustness.memory_check(data),
        exclusions=[Exclusion(e.run_id, e.arm, e.reason) for e in data.exclusions],
        seed=figure(asked.seed, "1", "given, or 0"),
        table=source,
        notes=_notes(source.kind == "experiment-runner" and asked.columns.pair is None, arms, bool(robust)),
    )


def _notes(by_repetition: bool, arms: Sequence[str], tested: bool) -> list[str]:
    notes = ["The table carries no plan: whether outcome, arms and level were chosen before the data is not known."]
    if by_repetition:
        notes.append(
            "Pairs are repetitions with the same number. experiment-runner may shuffle all runs, so the two runs of a "
            "pair may lie far apart in time; drift then widens the interval."
        )
    if len(arms) > 2:
        notes.append(f"The first lines compare {arms[1]} with {arms[0]}; every arm is in the table of contrasts.")
    if not tested:
        notes.append("Below six pairs there are no p-values, no rank intervals and no verdict.")
    return notes
