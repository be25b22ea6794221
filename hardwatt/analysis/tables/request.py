"""The options of an analysis, and the command line that states them all."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from hardwatt.analysis.paired import LEVEL
from hardwatt.analysis.tables.grid import shown
from hardwatt.core.errors import LabError


@dataclass(frozen=True)
class Columns:
    """The columns to use; ``None``: recognised where only one can be meant."""

    value: str | None = None
    arm: str | None = None
    pair: str | tuple[str, ...] | None = None
    """Columns whose equal values make a pair. ``None``: the design is unpaired."""

    @property
    def pairs(self) -> tuple[str, ...]:
        return (self.pair,) if isinstance(self.pair, str) else self.pair or ()


@dataclass(frozen=True)
class TableRequest:
    """Options of the analysis of a table. Those that are left out are recognised where only one reading is possible."""

    columns: Columns = field(default_factory=Columns)
    baseline: str | None = None
    """The arm that the others are compared with; ``None``: that of the first row."""
    unit: str | None = None
    level: float = LEVEL
    margin: float | None = None
    seed: int = 0
    against: str | None = None
    """The arm of the headline; ``None``: the first one beside the baseline."""
    where: tuple[str, ...] = ()
    """``FACTOR=LEVEL``: rows that are kept."""
    order: str | None = None
    """The column with the run order: a number or a moment."""
    arms: tuple[str, ...] = ()
    """Columns of a wide table, one for each arm."""
    factors: tuple[str, ...] | None = None
    """Further factors; ``None``: recognised by their levels."""
    ignore: tuple[str, ...] = ()
    """Columns that are not factors."""
    average: str | None = None
    """Rows of an arm with an equal value in this column are repetitions of one unit, and are averaged."""
    signed: bool = False
    """Values below zero are allowed in a unit of energy, power or time."""
    separator: str = ""
    decimal: str = ""
    encoding: str = ""

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """Column and level of every filter. Raises `LabError` for a word without ``=``."""
        pairs = []
        for text in self.where:
            name, mark, level = text.partition("=")
            if not mark or not name.strip():
                raise LabError(f"--where {shown(text)} is not FACTOR=LEVEL", hint="for example: --where workload=small")
            pairs.append((name.strip(), level.strip()))
        return tuple(pairs)


class ChoiceMissingError(LabError):
    """Options that only the person with the table can give; the hint is the command with one possible choice."""

    exit_code = 2


def command(file: str, asked: TableRequest) -> str:
    """Return the command line that states every option."""
    words = ["hardwatt", "table", quoted(file)]
    for option, value in _options(asked):
        if value is None:
            words.append(option)
        else:  # a value that begins with a dash would be taken for an option
            words.append(f"{option}{'=' if value.startswith('-') else ' '}{quoted(value)}")
    return " ".join(words)


def quoted(text: str) -> str:
    """Return a word as a shell reads it; control characters are written as escapes of bash and zsh."""
    if not any(unicodedata.category(letter).startswith("C") for letter in text):
        return shlex.quote(text)
    plain = {*range(32, 127)} - {*b"'\\"}
    return "$'" + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in text.encode()) + "'"


def _options(asked: TableRequest) -> Iterator[tuple[str, str | None]]:
    """Yield option and value; a flag has no value."""
    columns = asked.columns
    single = (
        ("--separator", asked.separator), ("--decimal", asked.decimal), ("--encoding", asked.encoding),
        ("--arms", ",".join(asked.arms)), ("--value", columns.value), ("--arm", columns.arm),
        ("--baseline", asked.baseline), ("--against", asked.against),
    )  # fmt: skip
    yield from ((option, value) for option, value in single if value)
    yield from (("--where", text) for text in asked.where)
    yield from (("--pair", name) for name in columns.pairs)
    yield from (("--factor", name) for name in asked.factors or ())
    yield from (("--ignore", name) for name in asked.ignore)
    late = (("--average", asked.average), ("--order", asked.order), ("--unit", asked.unit))
    yield from ((option, value) for option, value in late if value)
    if asked.margin is not None:
        yield "--margin", f"{asked.margin:.12g}"
    if asked.level != LEVEL:
        yield "--confidence", f"{asked.level:.12g}"
    if asked.seed:
        yield "--seed", str(asked.seed)
    if asked.signed:
        yield "--signed", None
