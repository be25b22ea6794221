"""Samples out of an answer of the API, without an object for each of them.

A range selector's answer is ``{"status":"success","data":{"resultType":"matrix","result":[{"metric":{...},
"values":[[SECONDS,"VALUE"],...]},...]}}``. Labels are read by the JSON decoder; the numbers between ``[[`` and ``]]``
hold no text, so polars reads them at once as a table. An answer of any other shape is read by the JSON decoder.
"""

import functools
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Block, SeriesSamples

_START = '"resultType":"matrix","result":['
_METRIC, _VALUES, _END = '{"metric":', ',"values":[[', "]]"
_SEPARATOR = "],["


class OddError(ValueError):
    """An answer that is none: not JSON, not a success, or one that says itself that it is not all."""


class _OtherShapeError(ValueError):
    """Not the shape that the quick way reads."""


def matrix(text: str) -> list[SeriesSamples]:
    """Return every series of a range selector's answer, as ``block`` does."""
    return block(text).series()


def block(text: str) -> Block:
    """Return every series of a range selector's answer in one piece; raise OddError where it is not one.

    Native histograms, which have no single value, are left out: the untouched answer holds them.
    """
    try:
        return _quick(text)
    except (ValueError, IndexError):  # another shape, no JSON, or text where numbers should be
        return Block.of(_whole(text))


def data(text: str) -> Any:
    """Return ``data`` of an answer; raise OddError unless the answer is a success without warnings."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise OddError(str(error)) from None
    if not isinstance(document, dict) or document.get("status") != "success" or "data" not in document:
        raise OddError("it is no success")
    if warnings := document.get("warnings"):
        raise OddError(f"the server says that it is not all: {warnings}")
    return document["data"]


def result(text: str) -> list[dict[str, Any]]:
    """Return ``data.result`` of an instant query's answer; raise OddError where it is not one."""
    answer = data(text)
    return rows(answer.get("result") if isinstance(answer, dict) else None)


def rows(decoded: Any) -> list[dict[str, Any]]:
    """Return a decoded result; raise OddError unless it is a list."""
    if not isinstance(decoded, list):
        raise OddError("there is no result in it")
    return decoded


def names(decoded: Any) -> list[str]:
    """Return decoded label values; raise OddError unless they are a list."""
    if not isinstance(decoded, list):
        raise OddError("there are no label values in it")
    return [str(name) for name in decoded]


_LATEST_SECONDS = 2.0**62 / 1000
"""A moment in milliseconds is a whole number of 64 bits."""


def _quick(text: str) -> Block:
    begin = text.find(_START, 0, 200)
    if begin < 0 or not text.startswith('{"status":"success"'):
        raise _OtherShapeError
    at = begin + len(_START)
    labels, numbers = [], []
    while text.startswith(_METRIC, at):
        # Inside a label a quotation mark has a backslash before it: this cannot be a part of one.
        middle = text.index(_VALUES, at)
        labels.append(_labels(text[at + len(_METRIC) : middle]))
        last = text.index(_END, middle)
        numbers.append(text[middle + len(_VALUES) : last])
        at = last + len(_END)
        if text[at] != "}":
            raise _OtherShapeError
        at += 2 if text[at + 1] == "," else 1
    if text[at] != "]" or '"warnings"' in text[at:]:
        raise _OtherShapeError
    return _numbers(labels, numbers)


@functools.lru_cache(100_000)
def _labels(text: str) -> Mapping[str, str]:
    """Read a label set; the same ones come with every answer of a long dump."""
    labels = json.loads(text)
    if not isinstance(labels, dict):
        raise _OtherShapeError
    return labels


def _numbers(labels: Sequence[Mapping[str, str]], numbers: Sequence[str]) -> Block:
    """Read the numbers of every series as one table of ``SECONDS,"VALUE"``."""
    if not labels:
        return Block.of([])
    counts = np.array([own.count(_SEPARATOR) + 1 for own in numbers], dtype=np.int64)
    table = _SEPARATOR.join(numbers).replace(_SEPARATOR, "\n").encode()
    try:
        frame = pl.read_csv(io.BytesIO(table), has_header=False, schema={"s": pl.Float64, "v": pl.Float64})
    except pl.exceptions.PolarsError:
        raise _OtherShapeError from None
    if frame.height != counts.sum() or frame.null_count().row(0) != (0, 0):
        raise _OtherShapeError
    return Block(labels, counts, _ms(frame["s"].to_numpy()), frame["v"].to_numpy())


def _whole(text: str) -> list[SeriesSamples]:
    series = []
    for row in result(text):
        try:
            pairs = row.get("values", [])
            seconds = np.array([pair[0] for pair in pairs], dtype=np.float64)
            values = np.array([float(pair[1]) for pair in pairs], dtype=np.float64)
            series.append(SeriesSamples(dict(row["metric"]), _ms(seconds), values))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise OddError(f"a series without labels or values: {error!r}") from None
    return series


def _ms(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if not (np.isfinite(seconds) & (np.abs(seconds) < _LATEST_SECONDS)).all():
        raise OddError("a moment is not a time in seconds")
    return np.rint(seconds * 1000).astype(np.int64)
