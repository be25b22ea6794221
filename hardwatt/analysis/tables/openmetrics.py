"""OpenMetrics text to a table: a row for each set of labels, a column for each metric."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from hardwatt.analysis.tables.decode import Decoded
from hardwatt.analysis.tables.grid import Grid, shown
from hardwatt.analysis.tables.json_tools import IMPORT, by_labels
from hardwatt.core.errors import LabError

_SAMPLE: Final = re.compile(
    r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?[ \t]+(?P<value>\S+)(?:[ \t]+[-+.\deE]+)?(?:[ \t]+#.*)?"
)
_LABEL: Final = re.compile(r'\s*([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES: Final = {"n": "\n", '"': '"', "\\": "\\"}


def recognised(text: str) -> bool:
    """Return True if a text begins as an exposition does."""
    return bool(re.match(r"\s*# (TYPE|HELP|UNIT) ", text))


def read(decoded: Decoded, file: str) -> Grid:
    """Read an exposition.

    Raises `LabError` with the line of a mistake, and if a series has several moments, which are samples and not runs.
    """
    seen: dict[str, int] = {}
    series = []
    for number, labels, value, whole in _samples(decoded.text, file):
        if whole in seen:
            raise LabError(
                f"{file}, line {number}: {shown(whole)} stands in line {seen[whole]} already: samples of one series "
                "are no runs",
                hint=IMPORT,
            )
        seen[whole] = number
        series.append((labels, value))
    return by_labels(series, file, decoded, "OpenMetrics")


def _samples(text: str, file: str) -> Iterator[tuple[int, dict[str, str], str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line.strip())
        if match is None:
            raise LabError(f"{file}, line {number}: {shown(line)} is not a sample of OpenMetrics")
        labels = {"__name__": match["name"]} | _labels(match["labels"] or "", file, number)
        yield number, labels, match["value"], f"{match['name']}{{{match['labels'] or ''}}}"


def _labels(text: str, file: str, number: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _LABEL.match(text, place)
        if match is None:
            raise LabError(f"{file}, line {number}: {shown(text[place:])} is not a label")
        labels[match[1]] = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match[2])
        place = match.end()
    return labels
