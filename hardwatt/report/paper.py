"""Files for a paper from the results of a table: figures, the contrasts as CSV and LaTeX, methods, references."""

from __future__ import annotations

import csv
import hashlib
import io
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardwatt.analysis.sections import ResultFigure
from hardwatt.analysis.tables.model import TableContrast, TableResults
from hardwatt.core.errors import RefusedError
from hardwatt.core.files import sha256, write_atomic
from hardwatt.report import references, table_plots
from hardwatt.report.numbers import MINUS, NARROW, interval, machine, p_value, point
from hardwatt.report.plots import WIDE, Plot
from hardwatt.report.scene import FIRST, GRID, INK, SECOND, SOFT, Box, Dot, Item, Line, Scene, Words, pdf, svg

SUMS = "figures.sha256"
"""Checksums of the files of a folder, as ``sha256sum -c`` reads them."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", MINUS: "$-$", NARROW: r"\,", "\N{NO-BREAK SPACE}": "~", "µ": r"\textmu{}",
}  # fmt: skip


def write(results: TableResults, folder: Path) -> list[Path]:
    """Write figures, tables, the paragraph of methods and the references into *folder*; return the files."""
    files: dict[str, str | bytes] = {
        "contrasts.csv": contrasts_csv(results),
        "contrasts.tex": contrasts_tex(results),
        "methods.tex": methods_tex(results),
        "references.bib": references.bibtex(references.used(results), results.versions.get("hardwatt", "unknown")),
    }
    for name, scene in scenes(results):
        files |= {f"{name}.svg": svg(scene), f"{name}.pdf": pdf(scene)}
    return put(files, folder)


def put(files: Mapping[str, str | bytes], folder: Path) -> list[Path]:
    """Write *files* and their checksums into *folder*; return their paths.

    A file of an earlier call is replaced, which the checksums prove. Raises `RefusedError` before anything is written
    for a file of these names that somebody else made or changed.
    """
    content = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    listed = folder / SUMS
    own = set(listed.read_bytes().splitlines()) if listed.is_file() else set()
    for name, checksum in sums.items():
        path = folder / name
        if path.is_file() and (now := sha256(path)) != checksum and f"{now}  {name}".encode() not in own:
            away = shlex.join(["mv", str(path), f"{path}.kept"])
            raise RefusedError(
                f"{path} exists, and it was not written by this command or was changed since",
                hint=f"give another folder to --figures, or {away}, then the same command",
            )
    lines = [f"{checksum}  {name}\n".encode() for name, checksum in sums.items()]
    # Old and new ones at first: an interrupted call can then be run again.
    write_atomic(listed, b"".join([*lines, *(line + b"\n" for line in sorted(own))]))
    for name, data in content.items():
        write_atomic(folder / name, data)
    write_atomic(listed, b"".join(lines))
    return [folder / name for name in (*files, SUMS)]


def scenes(results: TableResults) -> Iterator[tuple[str, Scene]]:
    """Yield each figure by name: every contrast with its interval, and the values of every arm."""
    unit, about = results.primary.estimate.unit, f"{results.primary.outcome}, {results.primary.estimate.unit}"
    if plot := table_plots.contrasts(results, WIDE):
        yield "contrasts", Scene(WIDE, plot.height, f"Contrasts: {about}", tuple(contrast_items(plot, unit)))
    if plot := table_plots.strips(results, WIDE):
        yield "values", Scene(WIDE, plot.height, f"Values: {about}", tuple(_strips(plot, unit)))


def axis(plot: Plot, label: str) -> Iterator[Item]:
    """Yield grid, ticks and label of the axis below."""
    bottom = plot.height - 46
    for tick in plot.ticks:
        yield Line(tick.at, 6, tick.at, bottom, GRID)
        yield Words(tick.at, bottom + 17, tick.label, "middle", SOFT)
    yield Words(plot.width - 16, bottom + 36, label, "end", SOFT)


def contrast_items(plot: Plot, label: str) -> Iterator[Item]:
    """Yield the items of contrasts with their intervals around zero."""
    yield from axis(plot, label)
    yield Line(plot.extra["zero"], 6, plot.extra["zero"], plot.height - 46, INK, 1.2)
    for row in plot.rows:
        colour, width = (SOFT, 1.6) if row["inside"] else (INK, 3.0)
        yield Words(4, row["y"] - 10, row["label"], bold=not row["inside"])
        if row["low"] is not None:
            yield Line(row["low"], row["y"], row["high"], row["y"], colour, width)
            for bound in (row["low"], row["high"]):
                yield Line(bound, row["y"] - 5, bound, row["y"] + 5, colour, width)
        yield Dot(row["x"], row["y"], 4 if row["inside"] else 5, colour)


def _strips(plot: Plot, label: str) -> Iterator[Item]:
    yield from axis(plot, label)
    for row in plot.rows:
        yield Words(4, row["y"] - 24, row["label"])
        yield Line(row["least"], row["y"], row["largest"], row["y"], SOFT)
        yield Box(row["lower"], row["y"] - 17, row["upper"] - row["lower"], 34)
        yield Line(row["median"], row["y"] - 17, row["median"], row["y"] + 17, INK, 2)
    yield from (Dot(mark.x, mark.y, 3, SECOND if mark.arm else FIRST) for mark in plot.marks)


def contrasts_csv(results: TableResults) -> str:
    """Return every contrast, and each inside its stratum, with plain numbers."""
    paired = results.design.paired
    sizes = ("rank_biserial", "d_z") if paired else ("cliffs_delta", "hedges_g")
    named = ("difference", "relative_percent", "hodges_lehmann", *sizes)
    header = ["baseline", "arm", "stratum", "n_baseline", "n_arm", "unit", "level_percent"]
    header += [f"{name}{suffix}" for name in named for suffix in ("", "_low", "_high")] + ["p", "p_holm", "method"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    level = _plain(results.primary.level.value)
    for row in results.contrasts:
        counts = [_plain(row.n[row.baseline].value), _plain(row.n[row.arm].value)]
        figures = (row.estimate, row.relative, row.shift, row.dominance, row.size)
        numbers = [text for figure in figures for text in bounds(figure)]
        tests = [_plain(row.p.value if row.p else None), _plain(row.adjusted.value if row.adjusted else None)]
        writer.writerow([row.baseline, row.arm, "", *counts, row.estimate.unit, level, *numbers, *tests, row.method])
        for inside in row.strata:
            counts = [_plain(inside.n[row.baseline].value), _plain(inside.n[row.arm].value)]
            rest = ["", "", "", "", "", "", "", "", "", "", "", "", "", ""]
            known = [*bounds(inside.estimate), *rest, inside.why]
            writer.writerow(
                [row.baseline, row.arm, " / ".join(inside.levels), *counts, row.estimate.unit, level, *known]
            )
    return out.getvalue()


def bounds(figure: ResultFigure | None) -> list[str]:
    """Return value, low and high as plain digits; empty texts where they are unknown."""
    return [_plain(value) for value in ((figure.value, figure.low, figure.high) if figure else (None, None, None))]


def _plain(value: float | None) -> str:
    return "" if value is None else machine(value)


def contrasts_tex(results: TableResults) -> str:
    """Return the contrasts as a table of LaTeX, for the package booktabs."""
    paired = results.design.paired
    ranked, sized = ("rank-biserial", "$d_z$") if paired else ("Cliff's $\\delta$", "Hedges' $g$")
    holm = " (Holm)" if len(results.contrasts) > 1 else ""
    first = tex(results.contrasts[0].baseline)
    head = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{lrlrll}",
        "\\toprule",
        f"Minus {first} & Difference, {tex(results.primary.estimate.unit)} & "
        f"{tex(point(results.primary.level))}\\,\\% interval & $p${holm} & {ranked} & {sized} \\\\",
        "\\midrule",
    ]
    return "\n".join([*head, *(_row(row) for row in results.contrasts), "\\bottomrule", "\\end{tabular}", ""])


def _row(row: TableContrast) -> str:
    p = tex(p_value(row.adjusted)).replace("under ", "$<$") if row.adjusted else "--"
    cells = [tex(row.arm), tex(point(row.estimate, True)), tex(interval(row.estimate, True)) or "--", p]
    for figure in (row.dominance, row.size):
        between = f" ({tex(interval(figure, True))})" if figure and interval(figure, True) else ""
        cells.append(f"{tex(point(figure, True))}{between}" if figure else "--")
    return " & ".join(cells) + " \\\\"


def methods_tex(results: TableResults) -> str:
    """Return the paragraph of methods with its references, for LaTeX."""
    keys = ",".join(key for key in references.used(results))
    return f"{tex(results.methods)}\n\\cite{{{keys}}}\n"


def tex(text: str) -> str:
    """Return foreign text for LaTeX: nothing of it is a command."""
    return "".join(_LATEX.get(letter, letter if letter.isprintable() else " ") for letter in text)
