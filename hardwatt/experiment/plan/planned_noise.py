"""The noise that a study meets on this machine, read off the noise curve and never beyond it."""

import math
from collections.abc import Mapping, Sequence

from hardwatt.experiment.plan.noise_curve import NoiseCurve, NoiseRow, pair_sd
from hardwatt.experiment.plan.study_model import Study


def in_window(rows: Sequence[NoiseRow]) -> float:
    """Return the standard deviation to plan with in CPU-s or J of one window, from the rows of one length."""
    return pair_sd(rows) * rows[0].window_seconds / 1000


def noise_of(study: Study, curve: NoiseCurve | None) -> float | str:
    """Return the standard deviation of paired differences of a study, in the primary's unit for one window.

    Between two measured lengths it is interpolated (its logarithm over that of the length); beyond them nothing is
    known, as noise need not grow with the root of the length. A text then says why it is not known.
    """
    if curve is None:
        return "this machine was not qualified (invoke experiment.qualify)"
    table, seconds = curve.of(study.primary.outcome), study.estimand.window_seconds
    if not table:
        return f"the noise curve has no {study.primary.outcome}"
    known = {length: in_window(_of_arms(study, rows)) for length, rows in table.items()}
    shortest, longest = min(known), max(known)
    if seconds < shortest or seconds > longest:
        side, there = ("longer", longest) if seconds > longest else ("shorter", shortest)
        return (
            f"the window of {seconds:g} s is {side} than the noise curve of this machine reaches ({there:g} s), and "
            "noise is not scaled beyond what was measured" + (_asked(longest) if side == "longer" else "")
        )
    return _between(known, seconds)


def _asked(longest: float) -> str:
    return "" if longest >= 600 else "; invoke experiment.qualify --long measures up to 600 s"


def _of_arms(study: Study, rows: Mapping[str, NoiseRow]) -> list[NoiseRow]:
    """Return a row for each arm: its own, or the noisiest where the arm was not measured."""
    noisiest = max(rows.values(), key=lambda row: row.sd_upper)
    return [rows.get(study.code_of(arm), noisiest) for arm in study.arms]


def _between(known: Mapping[float, float], seconds: float) -> float:
    if seconds in known:
        return known[seconds]
    below = max(length for length in known if length < seconds)
    above = min(length for length in known if length > seconds)
    if not known[below] or not known[above]:
        return max(known[below], known[above])
    share = math.log(seconds / below) / math.log(above / below)
    return float(known[below] * (known[above] / known[below]) ** share)


def per_deployment(value: float, commits: int, seconds: float, outcome: str) -> tuple[float, str]:
    """Return an effect in a window (CPU-s or J) in the unit that people compare: per deployment, or per time."""
    unit = "CPU-ms" if outcome == "node_cpu_seconds" else "mJ"
    if commits:
        return 1000 * value / commits, f"{unit} per deployment"
    return 1000 * value / seconds, "CPU-ms per s" if unit == "CPU-ms" else "mW"
