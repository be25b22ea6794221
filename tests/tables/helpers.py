"""Tables for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardwatt.analysis import Columns, TableRequest, analyse_table

# Student (1908): extra hours of sleep of ten patients with two drugs; R: data(sleep).
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
PAIRED = TableRequest(Columns(pair="pair"))


def write(path: Path, lines: Sequence[str], encoding: str = "utf-8", end: str = "\n") -> Path:
    """Write lines as a file, and return its path."""
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def long(rows: Sequence[Sequence[object]], arms: Sequence[str] = ("a", "b", "c"), separator: str = ",") -> list[str]:
    """Return the lines of a table with a row for each pair and arm."""
    lines = [separator.join(("pair", "arm", "value"))]
    for pair, row in enumerate(rows, start=1):
        lines += [separator.join((str(pair), arm, str(value))) for arm, value in zip(arms, row, strict=False)]
    return lines


def sleep(path: Path) -> Path:
    return write(path, long(list(zip(DRUG_1, DRUG_2, strict=True)), ("drug 1", "drug 2")))


def answer(path: Path, asked: TableRequest | None = None) -> dict[str, Any]:
    found: dict[str, Any] = analyse_table(path, asked)
    return found


def bounds(results: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return value, low and high of the headline."""
    estimate = results["primary"]["estimate"]
    return estimate["value"], estimate["low"], estimate["high"]


def robust(results: dict[str, Any]) -> dict[str, float]:
    return {row["name"]: row["figure"]["value"] for row in results["robustness"]}


def reasons(results: dict[str, Any]) -> dict[str, int]:
    return {row["reason"]: row["rows"]["value"] for row in results["excluded"]}
