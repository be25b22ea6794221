"""Figures as results.json holds them, and the one way in which it is written.

A figure has ``value``, ``unit``, ``source``, ``low`` and ``high``; ``low`` and ``high`` are ``None`` where nothing is
known about the bounds, and ``value`` is ``None`` where there was nothing to measure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar

from hardwatt.analysis.contract import as_json
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.sections import ResultFigure, Section, Systematic
from hardwatt.core.errors import LabError

DIGITS = 9
FEWEST_FOR_A_TEST = 6
"""Pairs: below, no two-sided permutation test can reach five percent."""
Json = dict[str, Any]
Kind = TypeVar("Kind", bound="Section | Json")


def figure(
    value: float | None,
    unit: str,
    source: str,
    low: float | None = None,
    high: float | None = None,
    *,
    share: float | None = None,
) -> ResultFigure:
    """Make a figure; numbers are kept as they are until `text` writes them.

    *share* of the truth is what the counter's scale may be off by, either way. That error is common to all windows, so
    it scales every sum and difference of the counter's values, and is no noise.
    """
    return ResultFigure(value, unit, source, low, high, _scaled(value, share))


def _scaled(value: float | None, share: float | None) -> Systematic | None:
    if value is None or share is None:
        return None
    ends = value / (1 + share), value / (1 - share)
    return Systematic(min(ends), max(ends))


def known(measured: ResultFigure) -> float:
    """Return the value of a figure that has one by its making; raise `LabError` where it has none."""
    if measured.value is None:
        raise LabError(f"a figure has no value: {measured.source}")
    return measured.value


def count(value: int, unit: str, source: str) -> ResultFigure:
    """Make the figure of something that was counted, which has no bounds beside itself."""
    return figure(value, unit, source, value, value)


def of_estimate(estimate: Estimate, unit: str, source: str, share: float | None = None) -> ResultFigure:
    """Make the figure of an estimate; its bounds are the interval between pairs. *share*: see `figure`."""
    return figure(estimate.value, unit, source, estimate.low, estimate.high, share=share)


def as_written(results: Kind) -> Kind:
    """Return results as their file holds them: nine significant digits, and names in order.

    Pages render these, so that a page and the file beside it show the same. Raises `LabError` for a number that is not
    finite.
    """
    written: Kind = _fixed(results, "results")
    return written


def text(results: Section | Json) -> str:
    """Write results as JSON: sorted keys, nine significant digits, LF, so that equal results are equal bytes."""
    return (
        json.dumps(as_json(as_written(results)), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _fixed(node: Any, where: str) -> Any:
    if is_dataclass(node) and not isinstance(node, type):
        return replace(node, **{name: _fixed(value, f"{where}.{name}") for name, value in vars(node).items()})
    if isinstance(node, Mapping):
        return {str(key): _fixed(value, f"{where}.{key}") for key, value in sorted(node.items())}
    if isinstance(node, list | tuple):
        return [_fixed(value, f"{where}[{index}]") for index, value in enumerate(node)]
    if isinstance(node, float):
        if not math.isfinite(node):
            raise LabError(f"{where} is not a finite number")
        # Sums of floats may differ in their last bits between processors; nine digits do not.
        rounded = float(f"{node:.{DIGITS}g}")
        return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
    return node
