"""Renders results: one self-contained HTML file and its Markdown twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_eval_context, select_autoescape
from jinja2.nodes import EvalContext
from markupsafe import Markup

from hardwatt.analysis.comparison import compared
from hardwatt.analysis.contract import parse
from hardwatt.analysis.deviations import Deviations
from hardwatt.analysis.figures import as_written, text
from hardwatt.analysis.model import Results
from hardwatt.analysis.results import analysed, destination, refuse_among
from hardwatt.analysis.sections import Section
from hardwatt.analysis.sessions import pooled_sessions
from hardwatt.analysis.tables import seen
from hardwatt.analysis.tables.analyse import analysed_table, read
from hardwatt.analysis.tables.design import Choose, nobody
from hardwatt.analysis.tables.request import TableRequest
from hardwatt.analysis.tables.result_rows import MOST_POINTS
from hardwatt.core.files import write_atomic
from hardwatt.core.terminal import printable
from hardwatt.report import bundle_paper, numbers, paper, plots, spread, table_plots

Drawn = TypeVar("Drawn")


def report(
    bundle_path: Path | str,
    *,
    output: Path | None = None,
    carbon: Path | None = None,
    deviations: Deviations | None = None,
    figures: Path | None = None,
) -> Path:
    """Analyse a bundle, write report.html and report.md beside results.json, return report.html.

    They go to ``BUNDLE/results``, to *output* where it is given, and to ``./results/NAME`` where the
    bundle is not ours to write; see `hardwatt.analysis.results.analyse` for *carbon* and *deviations*, and for what is
    raised. *figures* is a folder for what a paper takes, as `hardwatt.report.bundle_paper.write` makes it.
    """
    refuse_among(bundle_path, output, figures)
    results = analysed(bundle_path, carbon=carbon, deviations=deviations)
    if figures:
        bundle_paper.write(as_written(results), (Path(bundle_path) / "manifest.json").read_bytes(), figures)
    return write(results, output or destination(Path(bundle_path), results.departures))


def write(results: Results, folder: Path) -> Path:
    """Write results.json and its pages into *folder*, and return report.html."""
    results = as_written(results)
    write_atomic(folder / "results.json", text(results))
    write_atomic(folder / "report.md", markdown(results))
    page = folder / "report.html"
    write_atomic(page, html(results))
    return page


def comparison(paths: Sequence[Path | str], *, output: Path) -> Path:
    """Compare bundles; write compare.json, compare.md and compare.html into *output*, return compare.html.

    Raises `hardwatt.core.errors.LabError` as `hardwatt.analysis.comparison.compare` does.
    """
    for path in paths:
        refuse_among(path, output)
    return _over_bundles("compare", "c", as_written(compared(paths)), output)


def pooled(paths: Sequence[Path | str], *, output: Path) -> Path:
    """Pool sessions of one protocol; write pool.json, pool.md and pool.html into *output*, return pool.html.

    Raises `hardwatt.core.errors.LabError` as `hardwatt.analysis.sessions.pool_sessions` does.
    """
    for path in paths:
        refuse_among(path, output)
    return _over_bundles("pool", "p", as_written(pooled_sessions(paths)), output)


def _over_bundles(name: str, variable: str, results: Section, output: Path) -> Path:
    """Write what was found over several bundles as NAME.json, NAME.md and NAME.html; return the last."""
    environment = _environment()
    css = PackageLoader("hardwatt.report").get_source(environment, "style.css")[0]
    write_atomic(output / f"{name}.json", text(results))
    write_atomic(output / f"{name}.md", environment.get_template(f"{name}.md.j2").render({variable: results}) + "\n")
    page = output / f"{name}.html"
    write_atomic(page, environment.get_template(f"{name}.html.j2").render({variable: results, "css": css}) + "\n")
    return page


def table(
    path: Path | str,
    asked: TableRequest | None = None,
    *,
    output: Path,
    say: Callable[[Sequence[str]], None] | None = None,
    choose: Choose = nobody,
    figures: Path | None = None,
) -> Path:
    """Analyse somebody else's table; write results.json, report.md and report.html into *output*, return report.html.

    *say* receives the lines of the design before the statistics begin; *choose* answers what is missing; *figures* is a
    folder for what a paper takes (`hardwatt.report.paper`). Raises `hardwatt.core.errors.LabError` as
    `hardwatt.analysis.tables.analyse.read` does.
    """
    opened = read(path, asked, choose)
    if say:
        say(seen.lines(opened))
    results = analysed_table(opened, output)
    if figures:
        paper.write(results, figures)
    environment = _environment()
    write_atomic(output / "report.md", environment.get_template("table.md.j2").render(r=results) + "\n")
    page = output / "report.html"
    css = PackageLoader("hardwatt.report").get_source(environment, "style.css")[0]
    drawn = {
        name: _every_width(make, results)
        for name, make in (("contrasts", table_plots.contrasts), ("strips", table_plots.strips))
    }
    values = {"r": results, "names": results.arms[:2], "css": css, "plots": drawn, "most_points": MOST_POINTS}
    write_atomic(page, environment.get_template("table.html.j2").render(**values) + "\n")
    return page


def html(results: Results | Mapping[str, Any]) -> str:
    """Return the page: inline style and pictures, no script, no request.

    Raises `hardwatt.core.errors.LabError` if *results* are not as their schema demands.
    """
    return _page("report.html.j2", parse(Results, results))


def _page(template: str, results: Results) -> str:
    environment = _environment()
    css = PackageLoader("hardwatt.report").get_source(environment, "style.css")[0]
    page = environment.get_template(template)
    return page.render(r=results, names=plots.arm_names(results)[:2], css=css, plots=_plots(results)) + "\n"


def markdown(results: Results | Mapping[str, Any]) -> str:
    """Return the Markdown twin: the same tables without pictures; raises as `html` does."""
    typed = parse(Results, results)
    return _environment().get_template("report.md.j2").render(r=typed, names=plots.arm_names(typed)) + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hardwatt.report"),
        finalize=_escape_markdown,
        autoescape=select_autoescape(("html.j2", "svg.j2")),
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
    environment.filters.update(
        {
            "code": _code,
            "interval": numbers.interval,
            "items": lambda mapping: list(mapping.items()),
            "machine": numbers.machine,
            "md": lambda text: Markup(numbers.markdown(text)),  # noqa: S704 - for Markdown
            "p": numbers.p_value,
            "place": _place,
            "bounds": numbers.bounds,
            "plain": numbers.plain,
            "point": numbers.point,
            "said": numbers.said,
            "scaled": numbers.scaled,
            "shared": numbers.shared,
            "size": numbers.size,
            "unit": numbers.unit,
        }
    )
    return environment


@pass_eval_context
def _escape_markdown(context: EvalContext, value: object) -> object:
    """Return what is printed of a value: in Markdown, foreign text is escaped unless a filter did so already."""
    if context.autoescape or not isinstance(value, str) or isinstance(value, Markup):
        return value
    return numbers.markdown(value)


def _code(text: object) -> Markup:
    """Return one line for a block of code, which foreign text cannot end."""
    return Markup(printable(str(text)).replace("\n", " ").replace("```", "` ` `").replace("<", "&lt;"))  # noqa: S704 - for Markdown


def _place(name: str, names: Sequence[str]) -> str:
    """Return the class of an arm: its colour and shape follow its place in the plan, not its name."""
    return "second" if name == names[1] else "first"


_PLOTS = {
    "pairs": plots.pairs,
    "changes": plots.changes,
    "strips": spread.strips,
    "quantiles": spread.quantiles,
    "sequence": plots.sequence,
    "gates": spread.gates,
    "ready": plots.ready,
}


def _plots(results: Results) -> dict[str, list[tuple[str, plots.Plot]]]:
    """Each plot for a wide and a narrow screen; an empty list where there is nothing to draw."""
    return {name: _every_width(make, results) for name, make in _PLOTS.items()}


def _every_width(make: Callable[[Drawn, int], plots.Plot | None], results: Drawn) -> list[tuple[str, plots.Plot]]:
    widths = (("wide", plots.WIDE), ("narrow", plots.NARROW))
    return [(kind, plot) for kind, width in widths if (plot := make(results, width)) is not None]
