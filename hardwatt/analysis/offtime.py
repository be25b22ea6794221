"""The time that something must be off before turning it off has paid for waking it up again.

With arms that are on, off for the whole window, and asleep for a part f of it: the saving by second is
``(on - off) / T``, the wake-up is ``sleep - (1 - f) on - f off``, and their ratio is the break-even off time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from hardwatt.analysis import paired, ties
from hardwatt.analysis.breakeven import fieller
from hardwatt.analysis.bundle_sections import OffTime
from hardwatt.analysis.figures import count, figure, of_estimate
from hardwatt.analysis.table import complete
from hardwatt.bundle.model import Run

STATES = ("on", "zero", "sleep")


def arms_of(definition: Mapping[str, Any], arms: Sequence[str]) -> dict[str, str] | None:
    """Return state -> arm of a study whose arms have the factor ``state``; ``None`` where one is missing."""
    own = {arm: (definition.get("arm") or {}).get(arm, {}).get("levels") or {} for arm in arms}
    by_state = {str(given["state"]): arm for arm, given in own.items() if "state" in given}
    return {state: by_state[state] for state in STATES} if set(STATES) <= set(by_state) else None


def off_time(
    definition: Mapping[str, Any],
    runs: Sequence[Run],
    figures: Mapping[tuple[str, str], Any],
    arms: Sequence[str],
    asked: tuple[str, float],
) -> OffTime | None:
    """Saving, wake-up and break-even off time of an outcome; *asked* is (outcome, level of the interval).

    ``None`` where the study has no such arms, or no block is complete.
    """
    arm_of, (outcome, level) = arms_of(definition, arms), asked
    blocks = complete(runs, figures, list(arm_of.values()), outcome) if arm_of else []
    if not arm_of or not blocks:
        return None
    seconds = float(definition["estimand"]["window_seconds"])
    given = definition["arm"][arm_of["sleep"]]["levels"]
    share = (float(given["sleep_until"]) - float(given["sleep_from"])) / seconds
    on, off, sleep = (
        np.array([figures[block[arm_of[state]].run_id, outcome].value for block in blocks]) for state in STATES
    )
    sample = figures[blocks[0][arm_of["on"]].run_id, outcome]
    largest = float(np.abs([on, off, sleep]).max())
    saved = ties.settled(on - off, largest) / seconds
    wake = ties.settled(sleep - (1 - share) * on - share * off, largest)
    value, low, high = _ratio(wake, saved, level)
    return OffTime(
        blocks=count(len(blocks), "blocks", "runs table of the bundle"),
        saved=of_estimate(paired.mean_difference(saved, level), f"{sample.unit} per s", sample.source),
        wake_up=of_estimate(paired.mean_difference(wake, level), sample.unit, sample.source),
        seconds=figure(value, "s", f"wake-up over saving, {outcome}, Fieller's interval", low, high),
        why=_why(value, low, high),
    )


def _ratio(wake: Any, saved: Any, level: float) -> tuple[float | None, float | None, float | None]:
    """Return the ratio of two means with Fieller's interval; no value without a saving."""
    n, a, b = len(wake), float(wake.mean()), float(saved.mean())
    if b <= 0:
        return None, None, None
    value = max(0.0, a / b)
    if n < 2:
        return value, None, None
    (v_aa, v_ab), (_, v_bb) = np.cov(wake, saved) / n
    parts = fieller(a, b, float(v_aa), float(v_ab), float(v_bb), float(stats.t.ppf(0.5 + level / 2, n - 1)))
    if len(parts) != 1 or not np.isfinite(parts[0]).all():
        return value, None, None
    return value, max(0.0, parts[0][0]), max(0.0, parts[0][1])


def _why(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "Nothing was saved by turning off, so no off time pays for the wake-up."
    if value == 0:
        return "The wake-up costs nothing that can be seen: every off time pays."
    if low is None or high is None:
        return "Being off pays from this off time on; how sure that is, these blocks do not say."
    return "Being off for longer than this has paid for the wake-up."
