"""Prometheus' text format, as far as counters read at an edge need it."""

import re
from collections.abc import Sequence

from hardwatt.core.errors import VerifyError

_LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?)\s+(\S+)(?:\s+-?\d+)?')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse_exposition(text: str, prefixes: Sequence[str] = ("",)) -> dict[str, float]:
    """Return ``series text -> value`` for the series whose name starts with one of ``prefixes``.

    Raise VerifyError at a line that is no sample: a page cut off in the middle must not pass for a whole one.
    """
    values: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise VerifyError(f"line {number} of the exporter's page is not a sample: {line[:120]}")
        if match[1].startswith(tuple(prefixes)):
            values[match[1]] = float(match[2])
    return values


def labels_of(series: str) -> dict[str, str]:
    """Return the labels of a series text, its metric name as ``__name__``."""
    name, _, rest = series.partition("{")
    labels = {"__name__": name}
    for key, value in _LABEL.findall(rest):
        labels[key] = re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), value)
    return labels
