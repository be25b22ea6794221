"""From a file to results.json: read, recognise the design, select rows, compare, assemble."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from hardwatt.analysis import multi_arm, paired
from hardwatt.analysis.contract import as_json
from hardwatt.analysis.distribution import five_numbers
from hardwatt.analysis.equivalence import holm
from hardwatt.analysis.figures import Json, as_written, count, figure, of_estimate, text
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.sections import EquivalenceResult, Exclusion, PairResult, Primary, ResultFigure, Robust
from hardwatt.analysis.tables import (
    blocks,
    columns,
    contrasts,
    describe,
    reading,
    robust,
    several,
    shown_design,
    unpaired,
    words,
)
from hardwatt.analysis.tables.contrasts import Compared
from hardwatt.analysis.tables.design import Choose, Design, nobody, recognise
from hardwatt.analysis.tables.grid import shown
from hardwatt.analysis.tables.model import (
    ReasonCount,
    Sample,
    Stratum,
    TableContrast,
    TableResults,
)
from hardwatt.analysis.tables.request import TableRequest, command
from hardwatt.analysis.tables.select import LeftOut, Selected, select
from hardwatt.analysis.tables.shown_design import Read
from hardwatt.core.files import write_atomic

SCHEMA: Final = "hardwatt.table/2"
MOST_EXCLUSIONS: Final = 200
MOST_PAIRS: Final = 500
MOST_POINTS: Final = 200
MOST_COPIED: Final = 64 << 20
"""Bytes of a table up to which a copy is kept beside the results."""


def read(path: Path | str, asked: TableRequest | None = None, choose: Choose = nobody) -> Read:
    """Read a table and recognise its design.

    Raises `LabError` that names what cannot be understood, and
    `hardwatt.analysis.tables.request.ChoiceMissingError` if an option is missing that cannot be recognised.
    """
    file, asked = Path(path), asked or TableRequest()
    grid = reading.read(file, asked.separator, asked.decimal, asked.encoding)
    design = recognise(grid, str(file), asked, choose)
    return Read(file, design, select(design))


def analyse_table(path: Path | str, asked: TableRequest | None = None, output: Path | None = None) -> Json:
    """Analyse a table; with *output*, write results.json and a copy of the table there.

    Returns `hardwatt.analysis.tables.model.TableResults` as plain dicts and lists, and raises as `read` does.
    """
    plain: Json = as_json(analysed_table(read(path, asked), output))
    return plain


def analysed_table(table: Read, output: Path | None = None) -> TableResults:
    """Return the results of a table that was read; with *output*, write them and a copy of the table there."""
    results = as_written(_results(table, _copied(table.path, output) if output else ""))
    if output:
        write_atomic(output / "results.json", text(results))
    return results


def _copied(path: Path, output: Path) -> str:
    """Copy the table beside the results, under a name that the table does not choose; empty if it is too large."""
    if path.stat().st_size > MOST_COPIED:
        return ""
    ending = "".join(suffix for suffix in path.suffixes[-2:] if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix)) or ".txt"
    name = f"data{ending}"
    write_atomic(output / name, path.read_bytes())
    return name


def _results(table: Read, copy: str) -> TableResults:
    design, selected, asked = table.design, table.selected, table.design.asked
    compared = _compared(design, selected)
    level = _level(asked, len(compared))
    adjusted = holm({str(contrast.arm): contrast.test.p for contrast in compared if contrast.test and contrast.enough})
    first = compared[0]
    names = (selected.arms[0], selected.arms[first.arm])
    unit, source = design.unit or "1", f"column {design.value} of {design.grid.file}"
    equal = _equivalence(first, asked, len(compared), unit, source)
    verdict = words.verdict(
        first, adjusted.get(str(first.arm)), asked.level, len(compared), bool(equal and equal.equivalent)
    )
    left_out = [*selected.left_out, *_incomplete(compared)]
    n = count(first.n[0], "pairs", "complete pairs") if first.pairs else count(sum(first.n), "rows", "both arms")
    return TableResults(
        schema=SCHEMA,
        arms=list(selected.arms),
        n=n,
        primary=_primary(first, design, names, level, unit, source),
        verdict=verdict,
        contrasts=[_contrast(contrast, selected, adjusted, level, asked.level, unit, source) for contrast in compared],
        together=_together(selected, asked, compared),
        samples=_samples(selected, unit, source),
        pairs=_pairs(first, names, unit, source),
        equivalence=equal,
        robustness=robust.robustness(first, selected, unit, source, level, asked.seed),
        checks=robust.checks(first, selected, names),
        exclusions=[Exclusion(row.place, row.arm, row.reason) for row in left_out[:MOST_EXCLUSIONS]],
        excluded=_reasons(left_out),
        design=shown_design.section(table),
        methods=words.methods(design, selected, first, len(compared), level),
        versions=words.versions(),
        seed=figure(asked.seed, "1", "given, or 0"),
        table=shown_design.source(table, copy),
        notes=words.notes(design, selected, first, len(compared)),
    )


def _level(asked: TableRequest, contrasts_: int) -> float:
    return 1 - (1 - asked.level) / contrasts_


def _compared(design: Design, selected: Selected) -> list[Compared]:
    """Compare every arm with the baseline, the headline first. An arm that cannot be compared is left aside.

    Raises `NothingToCompareError` if the headline cannot be compared.
    """
    level = _level(design.asked, len(selected.arms) - 1)
    runs = blocks.runs_by_pair(selected) if selected.pair is not None else None
    answers = []
    for arm in range(1, len(selected.arms)):
        try:
            if runs is None:
                answers.append(contrasts.unpaired_contrast(selected, arm, level))
            else:
                answers.append(contrasts.paired_contrast(selected, runs, arm, level))
        except contrasts.NothingToCompareError as error:
            if arm == 1:
                error.hint = _instead(design)
                raise
    return answers


def _instead(design: Design) -> str:
    """Return what helps where the headline's arms share no cell or no pair."""
    asked = design.asked
    if asked.columns.pairs:
        unpaired_ = replace(asked, columns=replace(asked.columns, pair=None))
        return f"compare runs that are not paired: {command(design.file, unpaired_)}"
    if not design.factors:
        return "name two arms that have values with --baseline and --against"
    measure = "measure the missing combinations, or name two arms that share one with --baseline and --against"
    renames = [name for name in design.factors if columns.nested(design.grid, design.arm, name)[0]]
    if not renames:  # each level was planned with several arms: to ignore it would compare unequal combinations
        return measure
    others = tuple(name for name in design.factors if name not in renames)
    fewer = replace(asked, factors=others or None, ignore=(*asked.ignore, *renames))
    return f"{measure}; if {', '.join(map(shown, renames))} only renames the arm: {command(design.file, fewer)}"


def _incomplete(compared: Sequence[Compared]) -> list[LeftOut]:
    rows = [row for contrast in compared if contrast.pairs for row in contrast.pairs.left_out]
    return list(dict.fromkeys(rows))


def _reasons(left_out: Sequence[LeftOut]) -> list[ReasonCount]:
    counted = Counter(row.reason for row in left_out)
    return [ReasonCount(reason, count(times, "rows", "rows of the table")) for reason, times in counted.most_common(50)]


def _primary(
    compared: Compared, design: Design, names: tuple[str, str], level: float, unit: str, source: str
) -> Primary:
    means = {
        name: of_estimate(paired.mean_difference(values, design.asked.level), unit, source)
        for name, values in zip(names, compared.columns, strict=True)
    }
    estimator = "mean paired difference" if compared.pairs else "difference of means"
    return Primary(
        outcome=design.value,
        estimator=estimator,
        estimate=of_estimate(compared.estimate, unit, source),
        method=compared.estimate.method,
        level=figure(level * 100, "%", "given, or the usual one; shared by all contrasts"),
        direction=f"{names[1]} minus {names[0]}",
        arms=means,
        relative=_relative(compared),
        detectable=figure(_detectable(compared), unit, source),
    )


def _detectable(compared: Compared) -> float | None:
    if compared.pairs:
        return paired.detectable_effect(compared.pairs.differences) if compared.n[0] > 1 else None
    return unpaired.detectable_effect(compared.columns[0], compared.columns[1]) if len(compared.used) == 1 else None


def _relative(compared: Compared) -> ResultFigure:
    source = "exp(mean log ratio) - 1" if compared.pairs else "ratio of the means - 1, delta method"
    estimate = compared.relative
    if estimate is None:
        return figure(None, "%", source)
    bounds = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if bound is None else 100 * float(np.expm1(min(bound, 700.0))) for bound in bounds)
    return figure(value, "%", source, low, high)


def _p(value: float | None, source: str) -> ResultFigure | None:
    return None if value is None else figure(value, "1", source)


def _of(estimate: Estimate | None, unit: str, source: str) -> ResultFigure | None:
    return None if estimate is None else of_estimate(estimate, unit, source)


def _contrast(
    compared: Compared,
    selected: Selected,
    adjusted: dict[str, float],
    level: float,
    asked_level: float,
    unit: str,
    source: str,
) -> TableContrast:
    names = (selected.arms[0], selected.arms[compared.arm])
    tested = compared.test if compared.enough else None
    p = adjusted.get(str(compared.arm))
    rank = compared.rank if compared.enough else None
    outside = robust.without_flagged(compared, level)
    return TableContrast(
        arm=names[1],
        baseline=names[0],
        direction=f"{names[1]} minus {names[0]}",
        headline=compared.arm == 1,
        n={name: count(n, "rows", source) for name, n in zip(names, compared.n, strict=True)},
        estimate=of_estimate(compared.estimate, unit, source),
        method=compared.estimate.method,
        p=_p(tested.p if tested else None, tested.method if tested else ""),
        adjusted=_p(p, "adjusted by Holm over the contrasts"),
        relative=_relative(compared),
        shift=_of(compared.shift, unit, source),
        shift_method=compared.shift.method if compared.shift else "",
        rank=_p(rank.p if rank else None, rank.method if rank else ""),
        rank_method=rank.method if rank else "",
        dominance=_of(compared.dominance, "1", compared.dominance.method if compared.dominance else ""),
        size=_of(compared.size, "1", compared.size.method if compared.size else ""),
        without_flagged=_of(outside, unit, outside.method if outside else ""),
        strata=_strata(compared, selected, names, unit, source) if len(selected.strata) > 1 else [],
        word=words.verdict(compared, p, asked_level, 1, False).word,
    )


def _strata(compared: Compared, selected: Selected, names: tuple[str, str], unit: str, source: str) -> list[Stratum]:
    return [
        Stratum(
            levels=list(selected.strata[inside.stratum]),
            n={name: count(n, "rows", source) for name, n in zip(names, inside.n, strict=True)},
            estimate=_of(inside.estimate, unit, source),
            why=inside.why,
        )
        for inside in compared.strata
    ]


def _together(selected: Selected, asked: TableRequest, compared: Sequence[Compared]) -> list[Robust]:
    """Test all arms at once, where there are more than two and one combination of factors."""
    if len(selected.arms) < 3 or len(selected.strata) > 1:
        return []
    if selected.pair is not None:
        return _blocks_together(selected)
    samples = [selected.of(arm) for arm in range(len(selected.arms))]
    samples = [sample for sample in samples if sample.size]
    if len(samples) < 3 or min(map(len, samples)) < contrasts.FEWEST_RUNS:
        return []
    one_way, ranks = several.welch_one_way(samples), several.kruskal_wallis(samples)
    named = (("Welch's one-way", one_way), ("Kruskal-Wallis", ranks))
    return [Robust(name, figure(test.p, "1", "p-value"), test.method) for name, test in named if test]


def _blocks_together(selected: Selected) -> list[Robust]:
    """Test all arms over the pairs, here blocks, in which every arm has a run."""
    arms = range(len(selected.arms))
    complete = [own for own in blocks.runs_by_pair(selected).values() if len(own) == len(selected.arms)]
    if not contrasts.FEWEST_PAIRS <= len(complete) <= blocks.EXACT_UP_TO:
        return []
    answer = multi_arm.several({selected.arms[arm]: [own[arm].number for own in complete] for arm in arms})
    among = f"{len(complete)} blocks in which every arm has a run"
    rows = []
    if answer.f is not None and answer.f_p is not None:
        method = f"mixed model with a random effect of the block, F = {answer.f:.4g}, {among}"
        rows.append(Robust("Mixed model", figure(answer.f_p, "1", "p-value"), method))
    if answer.friedman_p is not None:
        rows.append(Robust("Friedman", figure(answer.friedman_p, "1", "p-value"), f"Friedman's rank test, {among}"))
    return rows


def _samples(selected: Selected, unit: str, source: str) -> list[Sample]:
    marks = describe.flagged(selected)
    rows = []
    for arm, name in enumerate(selected.arms):
        values = selected.of(arm)
        if not values.size:
            continue
        deviation = float(values.std(ddof=1)) if values.size > 1 else None
        ordered = np.sort(values)
        chosen = np.unique(np.linspace(0, ordered.size - 1, min(ordered.size, MOST_POINTS)).round().astype(np.int64))
        rows.append(
            Sample(
                arm=name,
                n=count(int(values.size), "rows", source),
                mean=of_estimate(paired.mean_difference(values), unit, source),
                deviation=figure(deviation, unit, source),
                five=five_numbers(values, unit, source),
                flagged=count(int(marks[selected.arm == arm].sum()), "rows", "far from the median of its cell"),
                points=[figure(float(value), unit, source) for value in ordered[chosen]],
            )
        )
    return rows


def _pairs(compared: Compared, names: tuple[str, str], unit: str, source: str) -> list[PairResult]:
    if compared.pairs is None:
        return []
    rows = []
    for pair, difference in zip(compared.pairs.pairs[:MOST_PAIRS], compared.pairs.differences, strict=False):
        runs = dict(zip(names, (pair.first, pair.second), strict=True))
        known = all(run.order is not None for run in runs.values())
        row = PairResult(
            pair=pair.name,
            order=sorted(runs, key=lambda name: runs[name].order or 0.0) if known else [],
            values={name: figure(float(run.number), unit, source) for name, run in runs.items()},
            difference=figure(float(difference), unit, source),
            derived=None,
        )
        rows.append(row)
    return rows


def _equivalence(
    compared: Compared, asked: TableRequest, several_: int, unit: str, source: str
) -> EquivalenceResult | None:
    if asked.margin is None or not compared.many:
        return None
    from hardwatt.analysis import equivalence

    alpha = 0.05 / several_
    if compared.pairs:
        tost = equivalence.tost(compared.pairs.differences, asked.margin, alpha)
        answer = unpaired.Equivalence(tost.p, tost.low, tost.high, tost.level, tost.equivalent)
    else:
        if len(compared.used) > 1:
            return None
        tested = unpaired.equivalence([compared.columns], asked.margin, alpha)
        if tested is None:
            return None
        answer = tested
    return EquivalenceResult(
        margin=figure(asked.margin, unit, "--margin"),
        interval=figure(compared.estimate.value, unit, source, answer.low, answer.high),
        level=figure(answer.level * 100, "%", "twice the one-sided level of the tests"),
        p=figure(answer.p, "1", "two one-sided t tests"),
        equivalent=answer.equivalent,
    )
