"""A file to a table: the format is recognised by its content."""

from __future__ import annotations

from pathlib import Path

from hardwatt.analysis.tables import csv_tools, delimited, json_tools, openmetrics
from hardwatt.analysis.tables.decode import decode
from hardwatt.analysis.tables.grid import Grid


def read(path: Path, separator: str = "", decimal: str = "", encoding: str = "") -> Grid:
    """Read a table. Raises `hardwatt.core.errors.LabError` that names what cannot be understood."""
    decoded = decode(path, encoding)
    start = decoded.text[:4096].lstrip()
    if start.startswith(("{", "[")):
        return json_tools.read(decoded, path.name)
    if openmetrics.recognised(start):
        return openmetrics.read(decoded, path.name)
    return csv_tools.known(delimited.read(decoded, path.name, separator, decimal))
