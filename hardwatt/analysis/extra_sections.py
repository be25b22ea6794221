"""Sections beside the answer that not every study has: the break-even rate, and further arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardwatt.analysis import breakeven as crossing
from hardwatt.analysis import ties
from hardwatt.analysis.figures import Json, count, figure, of_estimate
from hardwatt.analysis.multi_arm import Several, several
from hardwatt.analysis.sections import ArmContrast, BreakEvenResult, FurtherArms
from hardwatt.analysis.table import Table, complete, vector
from hardwatt.bundle.model import Run
from hardwatt.core.errors import LabError

RATE = "commits per hour"


def break_even(table: Table, level: float) -> BreakEvenResult:
    """Return the commits by hour at which the second arm becomes the cheaper one; in words where that is not known."""
    values = vector(table, table.outcome)
    if values is None or not table.pairs:
        return _unknown("No pair is complete.")
    windows = [[pair.runs[arm] for arm in table.arms] for pair in table.pairs]
    if any(first.commits != second.commits for first, second in windows):
        return _unknown("The two windows of a pair had different numbers of commits.")
    commits = np.array([float(first.commits) for first, _ in windows])
    hours = np.array([(first.seconds + second.seconds) / 2 / crossing.HOUR for first, second in windows])
    # Windows differ by milliseconds: that is no other rate of commits.
    hours = np.full_like(hours, hours.mean()) if np.ptp(hours) < 0.01 * hours.mean() else hours
    if not ties.varies(commits / hours):
        return _unknown(
            "Every window had as many commits, so what an arm costs by being there cannot be told from what a commit "
            "costs. It takes a study with windows of few commits and of many."
        )
    try:
        crossed = crossing.break_even(values, commits, hours, level)
    except LabError as error:
        return _unknown(str(error).split("\n")[0].capitalize() + ".")
    sample = table.primary(windows[0][0])
    return BreakEvenResult(
        word=crossed.word,
        why=_sentence(crossed, *table.arms),
        rate=figure(crossed.rate, RATE, f"-a/b of {table.outcome}, Fieller's interval", crossed.low, crossed.high),
        by_hour=of_estimate(crossed.by_hour, f"{sample.unit} per hour", f"{sample.source}, without commits"),
        by_commit=of_estimate(crossed.by_commit, f"{sample.unit} per commit", sample.source),
    )


def _unknown(why: str) -> BreakEvenResult:
    return BreakEvenResult("unknown", why, figure(None, RATE, "not identified"), by_hour=None, by_commit=None)


def _sentence(crossed: crossing.BreakEven, first: str, second: str) -> str:
    if crossed.word in ("always", "never"):
        word = "less" if crossed.word == "always" else "more"
        return f"{second} costs {word} than {first} at every rate of commits: there is no break-even."
    if crossed.word == "open":
        rate = "a break-even at any rate above the lower bound" if crossed.low else "a break-even at any rate, or none"
        return f"The data allow {rate}: which of {first} and {second} is cheaper at a given rate is open."
    return f"{second} is the cheaper one {crossed.word} the break-even rate, {first} on the other side of it."


def further_arms(
    runs: Sequence[Run], figures: Mapping[tuple[str, str], Any], arms: Sequence[str], outcome: str, plan: Json
) -> FurtherArms | None:
    """Every arm against the first, where there are more than two: paired contrasts with Holm, and the mixed model.

    *plan* holds ``level`` and ``seed``. Blocks count in which every arm has a usable run.
    """
    if len(arms) < 3:
        return None
    blocks = complete(runs, figures, arms, outcome)
    if not blocks:
        return FurtherArms(count(0, "blocks", "runs table of the bundle"), contrasts=[], f=None, friedman=None)
    columns = {arm: [figures[block[arm].run_id, outcome].number for block in blocks] for arm in arms}
    places = {arm: [_place(block, arm) for block in blocks] for arm in arms}
    sample = figures[blocks[0][arms[0]].run_id, outcome]
    return _several(several(columns, places, plan["level"], plan["seed"]), len(blocks), arms[0], sample)


def _place(block: Mapping[str, Run], arm: str) -> int:
    return sorted(block, key=lambda other: block[other].t0_ms).index(arm)


def _several(tested: Several, blocks: int, baseline: str, sample: Any) -> FurtherArms:
    rows = []
    for contrast in tested.contrasts:
        row = ArmContrast(
            arm=contrast.arm,
            direction=f"{contrast.arm} minus {baseline}",
            difference=of_estimate(contrast.paired, sample.unit, sample.source, sample.share),
            mixed=of_estimate(contrast.mixed, sample.unit, sample.source, sample.share) if contrast.mixed else None,
            method=contrast.mixed.method if contrast.mixed else contrast.paired.method,
            p=None if contrast.p is None else figure(contrast.p, "1", "sign-flip permutation, Holm over the contrasts"),
        )
        rows.append(row)
    f = None if tested.f_p is None else figure(tested.f_p, "1", "F test of all arms in the mixed model, p-value")
    friedman = None if tested.friedman_p is None else figure(tested.friedman_p, "1", "Friedman's test, p-value")
    return FurtherArms(count(blocks, "blocks", "runs table of the bundle"), rows, f, friedman)
