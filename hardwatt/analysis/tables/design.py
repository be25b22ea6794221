"""The design that a table shows, before any statistics: value, arm, factors, pairs, and what is still to be said."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hardwatt.analysis.tables import columns as kinds
from hardwatt.analysis.tables import units
from hardwatt.analysis.tables.columns import Column
from hardwatt.analysis.tables.grid import Grid, listed, shown
from hardwatt.analysis.tables.request import ChoiceMissingError, Columns, TableRequest, command
from hardwatt.core.errors import LabError

Choose = Callable[[str, str, Sequence[str]], str]
"""Option, question and possible answers to the answer; empty: nobody answers."""
WIDE_ARM, WIDE_VALUE, WIDE_ROW = "arm", "value", "row"


@dataclass(frozen=True)
class Design:
    """A table and the columns that it is analysed by. Every guess is an option of *asked*."""

    file: str
    """As it was named."""
    grid: Grid
    columns: dict[str, Column]
    asked: TableRequest
    """Complete: the command line that it gives needs no guess."""
    value: str
    arm: str
    factors: tuple[str, ...]
    unit: str
    guessed: tuple[str, ...] = ()
    """The options that were recognised and not given."""
    notes: tuple[str, ...] = ()


@dataclass
class _Open:
    """Choices that nobody has made yet."""

    choose: Choose
    missing: list[str] = field(default_factory=list)

    def ask(self, option: str, question: str, choices: Sequence[str]) -> str:
        answer = self.choose(option, question, choices)
        if answer:
            if answer not in choices:
                raise LabError(f"{shown(answer)} is none of: {listed(choices)}", hint=f"choose one with {option}")
            return answer
        self.missing.append(f"{question} ({option}: {listed(choices)})")
        return choices[0]


def nobody(option: str, question: str, choices: Sequence[str]) -> str:
    """Answer no question: the command ends with the options that are missing."""
    return ""


def recognise(grid: Grid, file: str, asked: TableRequest, choose: Choose = nobody) -> Design:
    """Return the design of a table.

    Raises `ChoiceMissingError` with a complete command if an option is missing that cannot be recognised, and
    `LabError` if an option names what the table does not have.
    """
    if asked.arms:
        grid, asked = widened(grid, asked), replace(asked, columns=_wide_columns(asked))
    seen = kinds.columns_of(grid)
    for option, name in _named(asked):
        grid.column(name, option)
    still = _Open(choose)
    value = _value(grid, seen, asked, still)
    arm = _arm(grid, seen, asked, value, still)
    if value == arm:
        raise LabError(f"{shown(value)} cannot be the value and the arm", hint="name another column with --arm")
    first, against = _arms(grid, asked, arm)
    used = [value, arm, *asked.columns.pairs, *([asked.order] if asked.order else [])]
    factors, notes = _factors(grid, seen, asked, arm, used)
    notes += _series_note(seen, value)
    unit = asked.unit or grid.roles.unit * (value == grid.roles.value) or units.of_name(value)
    chosen = Columns(value, arm, asked.columns.pairs or None)
    if asked.arms:
        chosen = Columns(pair=asked.columns.pairs or None)
    complete = replace(
        asked, columns=chosen, baseline=first, against=against, factors=tuple(factors) or None, unit=unit or None
    )
    if still.missing:
        raise ChoiceMissingError("; ".join(still.missing), hint=command(file, complete))
    complete = replace(complete, columns=Columns(value, arm, chosen.pair))
    return Design(file, grid, seen, complete, value, arm, tuple(factors), unit, _guesses(asked, complete), tuple(notes))


def stated(design: Design, file: str) -> str:
    """Return the command line that makes every guess explicit."""
    asked = design.asked
    return command(file, replace(asked, columns=replace(asked.columns, value=None, arm=None)) if asked.arms else asked)


def _wide_columns(asked: TableRequest) -> Columns:
    if asked.columns.value or asked.columns.arm:
        raise LabError("--arms names the columns of a wide table, which has no --value and no --arm")
    return Columns(WIDE_VALUE, WIDE_ARM, asked.columns.pair)


def widened(grid: Grid, asked: TableRequest) -> Grid:
    """Return a wide table, a column for each arm, as one row for each value.

    Raises `LabError` for fewer than two arms.
    """
    if len(set(asked.arms)) < 2:
        raise LabError("--arms names two columns or more, separated by commas", hint="for example: --arms before,after")
    texts = [grid.column(name, "--arms") for name in asked.arms]
    times = len(asked.arms)
    rest = [name for name in grid.columns if name not in asked.arms]
    columns = {name: [text for text in grid.columns[name] for _ in range(times)] for name in rest}
    columns[WIDE_ROW] = [str(number) for number in range(1, grid.rows + 1) for _ in range(times)]
    columns[WIDE_ARM] = list(asked.arms) * grid.rows
    columns[WIDE_VALUE] = [text for row in zip(*texts, strict=True) for text in row]
    lines = [line for line in grid.lines for _ in range(times)]
    left_out = tuple((row * times + place, why) for row, why in grid.left_out for place in range(times))
    return replace(grid, names=tuple(columns), columns=columns, lines=lines, left_out=left_out, twice={})


def _named(asked: TableRequest) -> list[tuple[str, str]]:
    columns = asked.columns
    named = [("--value", columns.value), ("--arm", columns.arm), ("--order", asked.order), ("--average", asked.average)]
    named += [("--pair", name) for name in columns.pairs] + [("--factor", name) for name in asked.factors or ()]
    named += [("--ignore", name) for name in asked.ignore] + [("--where", name) for name, _ in asked.filters]
    return [(option, name) for option, name in named if name]


def _value(grid: Grid, seen: dict[str, Column], asked: TableRequest, still: _Open) -> str:
    if asked.columns.value:
        return asked.columns.value
    for name in (grid.roles.value, "value"):
        if name and (name in seen or name in grid.twice):
            grid.column(name, "--value")
            return name
    choices = [name for name in kinds.measured(grid, seen) if name not in _taken(asked)]
    choices = choices or [name for name in kinds.nearly_measured(grid, seen) if name not in _taken(asked)]
    if not choices:
        mixed = [name for name, column in seen.items() if column.kind == "text"]
        raise LabError(
            f"{grid.file} has no column of numbers that may be the outcome; it has: {listed(grid.names)}",
            hint=f"name the column with --value, for example: --value {shown((mixed or list(grid.names))[0])}",
        )
    return choices[0] if len(choices) == 1 else still.ask("--value", "which column is the outcome?", choices)


def _taken(asked: TableRequest) -> set[str]:
    return {name for option, name in _named(asked) if option not in ("--ignore", "--where")}


def _arm(grid: Grid, seen: dict[str, Column], asked: TableRequest, value: str, still: _Open) -> str:
    if asked.columns.arm:
        return asked.columns.arm
    for name in (grid.roles.arm, "arm"):
        if name and (name in seen or name in grid.twice):
            grid.column(name, "--arm")
            return name
    without = [value, *_taken(asked), *asked.ignore, *(name for name, _ in asked.filters)]
    choices = kinds.factors(grid, seen, without)
    if not choices:
        choices = kinds.possible_arms(grid, seen, without)
    if not choices:
        raise LabError(
            f"{grid.file} has no column whose values could be arms; it has: {listed(grid.names)}",
            hint="name the column with --arm, or the columns of a wide table with --arms A,B; if the file has the runs "
            "of one arm, put all arms into one file, with a column that names the arm",
        )
    return choices[0] if len(choices) == 1 else still.ask("--arm", "which column is the arm?", choices)


def _arms(grid: Grid, asked: TableRequest, arm: str) -> tuple[str, str]:
    """Return baseline and headline arm. Raises `LabError` if the rows that are kept have fewer than two arms."""
    kept = [True] * grid.rows
    for name, level in asked.filters:
        texts = grid.columns[name]
        if level not in set(texts):
            raise LabError(
                f"no row has {shown(name)} = {shown(level)}; there are: {listed(list(dict.fromkeys(texts)))}",
                hint=f"for example: --where {name}={next(iter(texts))}",
            )
        kept = [here and text == level for here, text in zip(kept, texts, strict=True)]
    arms = list(dict.fromkeys(text for text, here in zip(grid.columns[arm], kept, strict=True) if here and text))
    if len(arms) < 2:
        raise LabError(
            f"a comparison needs two arms or more; the column {shown(arm)} has: {listed(arms)}",
            hint="name another column with --arm, or another level with --where",
        )
    given: tuple[tuple[str, str | None], ...] = (("--baseline", asked.baseline), ("--against", asked.against))
    for option, arm_name in given:
        if arm_name is not None and arm_name not in arms:
            raise LabError(
                f"no row has the arm {shown(arm_name)}; there are: {listed(arms)}",
                hint=f"for example: {option} {shlex.quote(arms[0])}",
            )
    if asked.baseline is not None and asked.baseline == asked.against:
        raise LabError(f"--baseline and --against are both {shown(asked.baseline)}", hint="name two different arms")
    first = asked.baseline or next(name for name in arms if name != asked.against)
    return first, asked.against or next(name for name in arms if name != first)


def _factors(
    grid: Grid, seen: dict[str, Column], asked: TableRequest, arm: str, used: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the further factors, and notes on columns that are not taken for one."""
    filtered = [name for name, _ in asked.filters]
    if asked.factors is not None:
        return [name for name in asked.factors if name not in (*used, *filtered)], []
    without = [*used, *filtered, *asked.ignore, *([asked.average] if asked.average else [])]
    factors, notes = kinds.factors(grid, seen, without), []
    for name in sorted(factors, key=lambda name: -seen[name].distinct):
        others = [other for other in factors if other != name]
        if grid.roles.factors is None and kinds.numbered(grid, [arm, *others], name):
            factors.remove(name)
            notes.append(
                f"The column {shown(name)} has one row for each arm and level. It is not used: if rows with an equal "
                f"value belong together, say --pair {name}."
            )
    for name in list(factors):
        if kinds.nested(grid, arm, name)[1] and grid.roles.factors is None:
            factors.remove(name)
            notes.append(
                f"Every value of {shown(name)} lies in one arm. Rows with an equal value may be repetitions of one "
                f"unit; counted as separate rows they are pseudo-replication. --average {name} averages them."
            )
    return factors, notes + _pair_notes(grid, seen, asked, arm, factors)


def _series_note(seen: dict[str, Column], value: str) -> list[str]:
    """Name the columns beside the outcome that may be repetitions of each row: only the outcome is used."""
    series = kinds.numbered_series(seen, value)
    if not series:
        return []
    return [
        f"The outcome {shown(value)} is one of {len(series)} numbered columns, {shown(series[0])} to "
        f"{shown(series[-1])}, and the others are not used. If they are repetitions of a row, write one row for each "
        "value with a column for the repetition, or one column with their mean."
    ]


def _pair_notes(
    grid: Grid, seen: dict[str, Column], asked: TableRequest, arm: str, factors: Sequence[str]
) -> list[str]:
    """Name columns that could pair runs: nothing but the person who measured knows whether they do."""
    if asked.columns.pairs:
        return []
    could = [name for name, column in seen.items() if name in ("pair", "block", WIDE_ROW) and column.distinct > 1]
    return [
        f"Runs are not paired, because no option says so. If runs with an equal value of {shown(name)} were made "
        f"together, say --pair {name}."
        for name in could
        if name not in (arm, *factors)
    ]


def _guesses(asked: TableRequest, complete: TableRequest) -> tuple[str, ...]:
    pairs = (
        ("--value", asked.columns.value or asked.arms, complete.columns.value),
        ("--arm", asked.columns.arm or asked.arms, complete.columns.arm),
        ("--baseline", asked.baseline, complete.baseline), ("--against", asked.against, complete.against),
        ("--unit", asked.unit, complete.unit),
        ("--factor", asked.factors, ",".join(complete.factors or ())),
    )  # fmt: skip
    return tuple(option for option, given, used in pairs if not given and used)
