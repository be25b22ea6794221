"""Sentences of the results: the verdict, the notes, and the paragraph of methods for a paper."""

from __future__ import annotations

import platform
from importlib import metadata

from hardwatt.analysis.sections import EquivalenceResult, Verdict, VerdictWord
from hardwatt.analysis.tables.blocks import EXACT_UP_TO
from hardwatt.analysis.tables.contrasts import FEWEST_PAIRS, FEWEST_RUNS, Compared
from hardwatt.analysis.tables.design import Design
from hardwatt.analysis.tables.grid import shown
from hardwatt.analysis.tables.select import Selected
from hardwatt.analysis.verdicts import decided


def verdict(
    compared: Compared, p: float | None, level: float, contrasts: int, equal: EquivalenceResult | None
) -> Verdict:  # fmt: skip
    """Say what the headline allows to say. *p* is adjusted over the contrasts."""
    estimate = compared.estimate
    if not compared.scatter:
        why = (
            "No scatter: every value of an arm is the same, or every difference. The interval has no width, and says "
            "nothing about further runs. Check that the instrument resolves the values."
        )
        return Verdict("description", why)
    if not compared.enough:
        fewest = f"{FEWEST_PAIRS} pairs" if compared.pairs else f"{FEWEST_RUNS} runs in each arm"
        return Verdict("description", f"Below {fewest} no verdict is given: the values and their interval describe.")
    if p is None or estimate.low is None or estimate.high is None:
        return Verdict("description", "Without an interval no verdict is given.")
    shown = p < 1 - level
    if shown and estimate.low <= 0 <= estimate.high and not (equal and equal.equivalent):
        word: VerdictWord = "more" if estimate.value > 0 else "less"
        return Verdict(word, "A difference is shown by Holm's test; the simultaneous interval still holds zero.")
    if shown or (equal and equal.equivalent):
        return decided(estimate.low, estimate.high, equal, shown=shown)
    among = f" among {contrasts} contrasts" if contrasts > 1 else ""
    return Verdict("open", f"A difference is not shown{among}, and neither is it shown that there is none.")


def notes(design: Design, selected: Selected, compared: Compared, contrasts: int) -> list[str]:
    """Say what is not known, and which choices shaped the answer."""
    made = ["Whether outcome, arms and level were chosen before the data were seen is not known."]
    if design.asked.order is None:
        made.append("No run order is declared: trend, carry-over and memory between runs are not shown.")
    if compared.pairs and compared.pairs.repetitions > 1:
        made.append(
            f"A pair has up to {compared.pairs.repetitions} rows of an arm: they are repetitions, and their mean "
            "counts once. Counted as pairs they would be pseudo-replication."
        )
    made += _nested_pairs(design, selected)
    if selected.averaged:
        made.append(f"{selected.averaged} rows are averaged by {shown(design.asked.average or '')}.")
    if len(compared.used) > 1 and not compared.pairs:
        made.append(
            "The estimate is the mean over the combinations of the further factors, each with equal weight. Rank "
            "statistics need one combination: keep one with --where."
        )
    if contrasts > 1:
        made.append(
            f"{contrasts} contrasts: intervals are simultaneous (Bonferroni), p-values are adjusted by Holm, in the "
            "headline too."
        )
    lower = [name.casefold() for name in selected.arms]
    if len(set(lower)) < len(lower):
        made.append("Some arms differ in upper and lower case only; they count as different arms.")
    return [*made, *design.grid.layout.notes, *design.notes]


def _nested_pairs(design: Design, selected: Selected) -> list[str]:
    """Name a pair column that is coarser than the pairs: its levels may be the independent units."""
    names = design.asked.columns.pairs
    if len(names) < 2 or selected.pair is None:
        return []
    pairs = len(set(selected.pair))
    counted = {name: len(set(design.grid.columns[name])) for name in names}
    name = min(counted, key=lambda column: counted[column])
    return [
        f"{pairs} pairs lie in {counted[name]} levels of {shown(name)}. If these levels are the independent units, "
        f"pairs inside them are pseudo-replication: --pair {name} alone compares their means."
    ]


def methods(design: Design, selected: Selected, compared: Compared, contrasts: int, level: float) -> str:
    """Return a paragraph for a paper, made of the design and of the statistics that were used."""
    percent = f"{100 * level:.4g} %"
    n, names = compared.n, (selected.arms[0], selected.arms[compared.arm])
    unit = f" ({design.unit})" if design.unit and design.unit not in design.value else ""
    said = [f"The outcome is {design.value}{unit}; {names[1]} is compared with the baseline {names[0]}."]
    if compared.pairs:
        said.append(
            f"The design is paired by {', '.join(design.asked.columns.pairs)}: {n[0]} complete pairs. The estimate is "
            f"the mean paired difference with its {percent} t interval."
        )
        if compared.rank:
            how = "exact" if n[0] <= EXACT_UP_TO else "the normal approximation"
            said.append(
                f"Beside it stand the Hodges-Lehmann estimate with the interval of the signed-rank test ({how}), "
                "Wilcoxon's signed-rank test with Pratt's zeros, a sign-flip permutation test and the matched-pairs "
                "rank-biserial correlation."
            )
    else:
        said.append(
            f"Runs are independent samples of {n[0]} and {n[1]} values. The estimate is the difference of the means "
            f"with Welch's {percent} interval."
        )
        if len(compared.used) > 1:
            said.append(
                f"It is stratified by {', '.join(design.factors)}: the mean over {len(compared.used)} combinations "
                "with equal weight and Satterthwaite's degrees of freedom."
            )
        elif compared.rank and compared.shift:
            how = compared.shift.method.rpartition(", ")[2]
            said.append(
                f"Beside it stand the Mann-Whitney test, the Hodges-Lehmann shift ({how}), Cliff's delta with Cliff's "
                "asymmetric interval, and Hedges' g with the interval of the noncentral t distribution."
            )
    if contrasts > 1:
        said.append(
            f"{contrasts} contrasts with the baseline: p-values are adjusted by Holm's procedure, and intervals are "
            "simultaneous by Bonferroni."
        )
    if selected.left_out:
        said.append(f"{len(selected.left_out)} of {selected.rows} rows were excluded, for the reasons listed.")
    said.append(f"Computed with hardwatt {version()}, numpy {_of('numpy')} and scipy {_of('scipy')}.")
    return " ".join(said)


def version() -> str:
    """Return the version of hardwatt."""
    return _of("hardwatt")


def _of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def versions() -> dict[str, str]:
    """Return the versions of what computes the results."""
    return {"python": platform.python_version(), **{name: _of(name) for name in ("hardwatt", "numpy", "scipy")}}
