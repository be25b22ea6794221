"""A file to a table: the format is recognised by its content."""

from __future__ import annotations

from pathlib import Path

from hardwatt.analysis.tables import csv_tools, delimited
from hardwatt.analysis.tables.decode import decode
from hardwatt.analysis.tables.grid import Grid


def read(path: Path, separator: str = "", decimal: str = "", encoding: str = "") -> Grid:
    """Read a table. Raises `hardwatt.core.errors.LabError` that names what cannot be understood."""
    decoded = decode(path, encoding)
    return csv_tools.known(delimited.read(decoded, path.name, separator, decimal))
