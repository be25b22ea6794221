"""Write what a paper takes from a bundle: figures, the contrasts as CSV and LaTeX, methods, references, manifest."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from hardwatt.analysis.model import Results
from hardwatt.analysis.sections import ResultFigure
from hardwatt.analysis.tables.words import versions
from hardwatt.core.errors import LabError
from hardwatt.report import paper, plots, references, table_plots
from hardwatt.report.numbers import interval, machine, p_value, plain, point
from hardwatt.report.paper import bounds, tex
from hardwatt.report.plots import WIDE, Plot
from hardwatt.report.scene import INK, SOFT, Dot, Item, Line, Scene, Words, pdf, svg


@dataclass(frozen=True)
class Row:
    """One contrast of the main table."""

    kind: str
    """``primary``, ``arm``, ``arm, mixed model`` or ``secondary``."""
    outcome: str
    label: str
    baseline: str
    arm: str
    blocks: ResultFigure
    difference: ResultFigure
    means: tuple[ResultFigure | None, ResultFigure | None] = (None, None)
    """Of the baseline and of the arm."""
    p: ResultFigure | None = None
    """Adjusted by Holm."""


def write(results: Results, manifest: bytes, folder: Path) -> list[Path]:
    """Write figures, table, methods, references and the *manifest* of the data into *folder*; return the files.

    Raises `LabError` for a bundle without an answer, before anything is written, and as `paper.put`.
    """
    if results.primary.estimate.value is None:
        raise LabError(
            "the bundle has no answer, because no pair of windows is complete: there are no figures to write",
            hint="the same command without --figures; its report names the runs that are excluded",
        )
    files: dict[str, str | bytes] = {
        "contrasts.csv": contrasts_csv(results),
        "contrasts.tex": contrasts_tex(results),
        "methods.tex": f"{tex(methods(results, manifest))}\n\\cite{{{','.join(references.of_bundle(results))}}}\n",
        "references.bib": references.bibtex(references.of_bundle(results), versions()["hardwatt"]),
        "manifest.json": manifest,
    }
    for name, scene in scenes(results):
        files |= {f"{name}.svg": svg(scene), f"{name}.pdf": pdf(scene)}
    return paper.put(files, folder)


def rows(results: Results) -> Iterator[Row]:
    """Yield the primary contrast, those of all arms where there are more than two, and the secondaries."""
    first, names = results.primary, plots.arm_names(results)
    two = (names[0], names[1])
    means = (first.arms[two[0]], first.arms[two[1]])
    yield Row("primary", first.outcome, first.direction, *two, results.n, first.estimate, means)
    if several := results.several:
        for contrast in several.contrasts:
            about = (first.outcome, contrast.direction, names[0], contrast.arm, several.blocks)
            yield Row("arm", *about, contrast.difference, p=contrast.p)
            if contrast.mixed:
                yield Row("arm, mixed model", *about, contrast.mixed)
    for further in results.secondaries:
        means = (further.arms[two[0]], further.arms[two[1]])
        yield Row("secondary", further.name, further.label, *two, results.n, further.difference, means, further.p)


def scenes(results: Results) -> Iterator[tuple[str, Scene]]:
    """Yield each figure by name: the primary's pairs with its interval, and every contrast with its interval."""
    first = results.primary
    if plot := plots.changes(results, WIDE):
        title = f"Pairs: {first.outcome}, {first.direction}, {first.estimate.unit}"
        yield "pairs", Scene(WIDE, plot.height, title, tuple(_pairs(plot)))
    height, items = 0.0, list[Item]()
    own = first.estimate.unit
    known = [row for row in rows(results) if row.difference.value is not None]
    known.sort(key=lambda row: (row.difference.unit != own, row.difference.unit))  # a panel a unit, the primary's first
    for unit, panel in groupby(known, key=lambda row: row.difference.unit):
        drawn = table_plots.intervals([(_name(row), row.difference, row.kind == "secondary") for row in panel], WIDE)
        if drawn:
            items += [_lower(item, height) for item in paper.contrast_items(drawn, unit)]
            height += drawn.height
    if items:
        yield "contrasts", Scene(WIDE, height, f"Contrasts: {first.direction}", tuple(items))


def _name(row: Row) -> str:
    if row.kind == "primary":
        return f"{row.outcome}, {row.label}"
    return row.label + row.kind.removeprefix("arm") if row.kind.startswith("arm") else row.label


def _lower(item: Item, by: float) -> Item:
    """Return the item further down, for panels below each other."""
    if isinstance(item, Line):
        return replace(item, y1=item.y1 + by, y2=item.y2 + by)
    return replace(item, y=item.y + by)


def _pairs(plot: Plot) -> Iterator[Item]:
    yield from paper.axis(plot, plot.unit)
    mean = plot.extra
    yield Line(mean["zero"], 6, mean["zero"], plot.height - 46, INK, 1.2)
    for row in plot.rows:
        yield Words(4, row["mark"].y + 4, table_plots.cut(row["label"], 0), colour=SOFT)
        yield Dot(row["mark"].x, row["mark"].y, 3, SOFT)
    yield Words(4, mean["y"] + 4, "estimate", bold=True)
    if mean["low"] is not None:
        yield Line(mean["low"], mean["y"], mean["high"], mean["y"], INK, 3)
        for bound in (mean["low"], mean["high"]):
            yield Line(bound, mean["y"] - 5, bound, mean["y"] + 5, INK, 3)
    yield Dot(mean["x"], mean["y"], 5, INK)


def contrasts_csv(results: Results) -> str:
    """Return every contrast with plain numbers."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = ["kind", "outcome", "label", "baseline", "arm", "blocks", "unit", "level_percent"]
    for name in ("baseline_mean", "arm_mean", "difference"):
        header += [name, f"{name}_low", f"{name}_high"]
    header += ["difference_systematic_low", "difference_systematic_high"]
    writer.writerow([*header, "p_holm"])
    level = bounds(results.primary.level)[0]
    for row in rows(results):
        about = [row.kind, row.outcome, row.label, row.baseline, row.arm, bounds(row.blocks)[0], row.difference.unit]
        numbers = [text for figure in (*row.means, row.difference) for text in bounds(figure)]
        apart = row.difference.systematic
        scaled = [machine(apart.low), machine(apart.high)] if apart else ["", ""]
        writer.writerow([*about, level, *numbers, *scaled, bounds(row.p)[0]])
    return out.getvalue()


def contrasts_tex(results: Results) -> str:
    """Return the contrasts as a table of LaTeX, for the package booktabs."""
    first, second = plots.arm_names(results)[:2]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{tabular}{llrrrll}",
            "\\toprule",
            f"Outcome & Unit & {tex(first)} & {tex(second)} & Difference & "
            f"{tex(point(results.primary.level))}\\,\\% interval & $p$ (Holm) \\\\",
            "\\midrule",
            *map(_tex_row, rows(results)),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def _tex_row(row: Row) -> str:
    means = [tex(point(mean)) if mean else "--" for mean in row.means]
    between = tex(interval(row.difference, True)) or "--"
    p = tex(p_value(row.p)).replace("under ", "$<$") if row.p else "--"
    cells = [tex(_name(row)), tex(row.difference.unit), *means, tex(point(row.difference, True)), between, p]
    return " & ".join(cells) + " \\\\"


def methods(results: Results, manifest: bytes) -> str:
    """Return a paragraph made of the design and of the statistics that the results have."""
    return " ".join([*_design(results), *_statistics(results), *_origin(results, manifest)])


def _design(results: Results) -> Iterator[str]:
    first, names = results.primary, plots.arm_names(results)
    others = [contrast.arm for contrast in results.several.contrasts] if results.several else []
    compared = f"{', '.join(others or names[1:])} with the baseline {names[0]}"
    yield f"The study {results.study.name} compares {compared} in paired windows of {plain(results.window)}."
    yield f"The outcome is {first.outcome} ({first.estimate.unit}; {first.estimate.source})."
    yield f"Source of energy: {results.source.energy}; {results.source.formula}."
    if accuracy := results.source.accuracy:
        error = f"up to {plain(accuracy)} of the true energy ({accuracy.source})"
        yield f"The counter's own error, {error}, is the same in all windows: it scales differences, in no interval."
    if results.departures:
        yield f"The analysis departs from the plan: {' '.join(results.departures)}"
    else:
        yield "The plan was hashed before the first run, and the analysis follows it."


def _statistics(results: Results) -> Iterator[str]:
    first = results.primary
    yield f"The estimate rests on {plain(results.n)}: {first.method}; level {plain(first.level)}."
    if results.exclusions:
        yield f"Runs that the estimate does not use: {len(results.exclusions)}, for the reasons in the report."
    if equal := results.equivalence:
        yield f"Equivalence is tested by two one-sided t tests with the planned margin {plain(equal.margin)}."
    known = [row for row in results.robustness if row.figure.value is not None]
    if known:
        yield f"Further statistics: {'; '.join(f'{row.name} ({row.method})' for row in known)}."
    if several := results.several:
        yield f"Arms against the first: paired t intervals in {plain(several.blocks)}, not simultaneous."
        if any(row.p for row in several.contrasts):
            yield "Their p-values are from sign-flip permutation, adjusted by Holm's procedure over these contrasts."
        yield from sorted({f"Also fitted: {row.method}." for row in several.contrasts if row.mixed})
        if several.friedman:
            yield "All arms together are compared by Friedman's test."
    if results.secondaries:
        tested = sum(row.p is not None for row in results.secondaries)
        how = "paired t intervals, not simultaneous"
        if tested:
            how += f"; {tested} of them have p-values from sign-flip permutation, adjusted by Holm's procedure"
        else:
            how += ", and no test"
        yield f"Secondary outcomes ({len(results.secondaries)}): {how}."


def _origin(results: Results, manifest: bytes) -> Iterator[str]:
    made, checksum = versions(), hashlib.sha256(manifest).hexdigest()
    yield f"Computed with hardwatt {made['hardwatt']}, numpy {made['numpy']} and scipy {made['scipy']}."
    yield f"SHA-256 of the plan: {results.study.plan_sha256}; of the data's manifest: {checksum}."
