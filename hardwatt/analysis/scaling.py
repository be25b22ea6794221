"""Arms that are levels of one number (applications, seconds of an interval): what one step more costs.

Theil-Sen over all complete blocks, each block's own level taken out first, so that drift between blocks is in no slope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardwatt.analysis import order, paired, ties
from hardwatt.analysis.bundle_sections import LevelMean, Scaling
from hardwatt.analysis.figures import count, figure, of_estimate
from hardwatt.analysis.table import complete
from hardwatt.bundle.model import Run

FEWEST_LEVELS = 3


def levels(definition: Mapping[str, Any], arms: Sequence[str]) -> tuple[str, dict[str, float]] | None:
    """Return the one factor with a number for each of some arms, and those arms' levels; ``None`` without one.

    Arms count that use the same code (Flux suspended is no Flux that looks every minute) and have the same levels of
    every other factor; with fewer than three different numbers no slope is told from a step.
    """
    settings = definition.get("arm") or {}
    own = {arm: dict(settings.get(arm, {}).get("levels") or {}) for arm in arms}
    for name in definition.get("factors") or {}:
        alike: dict[str, dict[str, float]] = {}
        for arm, given in own.items():
            if _is_number(given.get(name)):
                rest = sorted((key, repr(value)) for key, value in given.items() if key != name)
                alike.setdefault(repr((settings[arm].get("use"), rest)), {})[arm] = float(given[name])
        for numbers in alike.values():
            if len(set(numbers.values())) >= FEWEST_LEVELS:
                return name, numbers
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def scaling(
    definition: Mapping[str, Any],
    runs: Sequence[Run],
    figures: Mapping[tuple[str, str], Any],
    arms: Sequence[str],
    asked: tuple[str, float],
) -> Scaling | None:
    """Slope of an outcome over a factor that is a number; *asked* is (outcome, level of the interval).

    ``None`` where no factor is one, or no block is complete.
    """
    factor, (outcome, level) = levels(definition, arms), asked
    if factor is None:
        return None
    name, numbers = factor
    blocks = complete(runs, figures, list(numbers), outcome)
    if not blocks:
        return None
    sample = figures[blocks[0][next(iter(numbers))].run_id, outcome]
    y = np.array([[figures[block[arm].run_id, outcome].value for arm in numbers] for block in blocks])
    x = np.array(list(numbers.values()))
    centred = ties.settled((y - y.mean(axis=1, keepdims=True)).ravel(), float(np.abs(y).max()))
    slope = order.theil_sen(centred, np.tile(x, len(blocks)), level)
    by_block = paired.mean_difference([np.polyfit(x, row, 1)[0] for row in y], level)
    unit = f"{sample.unit} per {name}"
    return Scaling(
        factor=name,
        blocks=count(len(blocks), "blocks", "runs table of the bundle"),
        levels=[
            LevelMean(
                arm=arm,
                level=figure(numbers[arm], name, "plan"),
                mean=of_estimate(paired.mean_difference(y[:, k], level), sample.unit, sample.source),
            )
            for k, arm in enumerate(numbers)
        ],
        slope=of_estimate(slope, unit, sample.source),
        method=f"{slope.method}, blocks centred",
        by_block=of_estimate(by_block, unit, sample.source),
        by_block_method=f"mean of the blocks' least-squares slopes, t interval, {len(blocks) - 1} degrees",
    )
