"""The commands on bundles: they need no lab, no cluster, no root, and the base dependencies only."""

from __future__ import annotations

from pathlib import Path

from hardwatt.cli.registry import command

SHIPPED = Path(__file__).parent.parent / "data" / "shipped-bundle"
_BUNDLE = {"bundle": "a bundle's folder, or the word shipped: the one that comes with the toolkit (left out: that one)"}
_REPORT = {
    **_BUNDLE,
    "output": "folder to write to (default: results/ in the bundle)",
    "sci": "settings file of SCI (default: the one that is shipped)",
}


def bundle_folder(word: str) -> Path:
    """Return the folder that is meant: the word ``shipped`` is the bundle that comes with the toolkit."""
    return SHIPPED if word == "shipped" else Path(word)


@command(
    "experiment.report",
    alias="report",
    arguments={
        **_REPORT,
        "figures": "folder for figures (SVG, PDF), the contrasts as CSV and LaTeX, methods, BibTeX and the manifest",
    },
)
def report(
    bundle: str = "shipped", *, output: Path | None = None, sci: Path | None = None, figures: Path | None = None
) -> None:
    """Analyse a bundle, write results.json, report.html and report.md; needs no lab, no root, no cluster."""
    from hardwatt.report.render import report

    print(report(bundle_folder(bundle), output=output, carbon=sci, figures=figures))


@command(
    "experiment.analyse",
    alias="analyse",
    arguments={
        **_REPORT,
        "output": "folder to write to (default: results/otherwise/ in the bundle)",
        "outcome": "node_cpu_seconds or node_joules, instead of the plan's",
        "confidence": "level of the interval, instead of the plan's, for example 0.9",
        "margin": "margin of the test of equivalence in the outcome's unit, instead of the plan's",
        "without_flagged": "leave out pairs with a flagged window",
        "without_repeated": "leave out pairs that were repeated",
    },
    values={"outcome": ("node_cpu_seconds", "node_joules")},
)
def analyse(
    bundle: str = "shipped",
    *,
    output: Path | None = None,
    sci: Path | None = None,
    outcome: str | None = None,
    confidence: float | None = None,
    margin: float | None = None,
    without_flagged: bool = False,
    without_repeated: bool = False,
) -> None:
    """Analyse a bundle, other than planned where options ask for it; its report then says so first."""
    from hardwatt.analysis.deviations import Deviations
    from hardwatt.report.render import report

    wanted = Deviations(outcome, confidence, margin, without_flagged, without_repeated)
    print(report(bundle_folder(bundle), output=output, carbon=sci, deviations=wanted))


@command(
    "experiment.compare",
    alias="compare",
    arguments={
        "first": "a bundle's folder",
        "second": "another one",
        "also": "further ones",
        "output": "folder to write to (default: results/compare in the current folder)",
    },
)
def compare(first: str, second: str, also: tuple[str, ...] = (), *, output: Path | None = None) -> None:
    """Put bundles side by side: machines, versions, repeats; prints the path of the page."""
    from hardwatt.report.render import comparison

    bundles = [bundle_folder(word) for word in (first, second, *also)]
    print(comparison(bundles, output=output or Path("results") / "compare"))


@command(
    "experiment.pool",
    alias="pool",
    arguments={
        "first": "a bundle's folder: one session",
        "second": "another session of the same protocol, from any machine",
        "also": "further ones",
        "output": "folder to write to (default: results/pool in the current folder)",
    },
)
def pool(first: str, second: str, also: tuple[str, ...] = (), *, output: Path | None = None) -> None:
    """Pool sessions of one protocol: the answer over sessions, and its spread; prints the path of the page."""
    from hardwatt.report.render import pooled

    bundles = [bundle_folder(word) for word in (first, second, *also)]
    print(pooled(bundles, output=output or Path("results") / "pool"))


@command(
    "experiment.table",
    alias="table",
    arguments={
        "file": "CSV, or what a measurement tool writes; .gz and .zst are unpacked",
        "value": "column of the outcome (recognised: value, or the only column of numbers)",
        "arm": "column of the arms (recognised: arm, or the only factor)",
        "baseline": "the arm that others are compared with (default: that of the first row)",
        "against": "the arm of the first lines of the page (default: the next one)",
        "where": "FACTOR=LEVEL: keep these rows only (may be given several times)",
        "pair": "rows with an equal value in this column were made together; without it runs are not paired "
        "(may be given several times)",
        "factor": "a further factor; arms are compared inside its levels (may be given several times)",
        "ignore": "a column that is not a factor (may be given several times)",
        "average": "average the rows of an arm that have an equal value in this column",
        "order": "column with the run order: a number or a moment",
        "arms": "A,B: the columns of a wide table, one for each arm",
        "unit": "unit of the value, for example J",
        "signed": "values below zero are allowed in a unit of energy, power or time",
        "margin": "margin of the test of equivalence, in the value's unit",
        "confidence": "level of the interval (default: 0.95)",
        "seed": "of what is drawn by lot (default: 0)",
        "separator": "comma, semicolon, tab, bar or space (recognised)",
        "decimal": "comma or point (recognised beyond doubt)",
        "encoding": "utf-8, utf-16, latin-1 or cp1252 (recognised)",
        "figures": "folder for figures (SVG, PDF), the contrasts as CSV and LaTeX, methods and BibTeX",
        "output": "folder to write to (default: results/FILE in the current folder)",
    },
)
def table(
    file: Path,
    *,
    value: str | None = None,
    arm: str | None = None,
    baseline: str | None = None,
    against: str | None = None,
    where: tuple[str, ...] = (),
    pair: tuple[str, ...] = (),
    factor: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    average: str | None = None,
    order: str | None = None,
    arms: str | None = None,
    unit: str | None = None,
    signed: bool = False,
    margin: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    separator: str = "",
    decimal: str = "",
    encoding: str = "",
    figures: Path | None = None,
    output: Path | None = None,
) -> None:
    """Print the design of a table that somebody measured, compare its arms, and write a page."""
    from hardwatt.analysis.deviations import Deviations
    from hardwatt.analysis.tables.request import Columns, TableRequest
    from hardwatt.cli.table_terminal import choose, say
    from hardwatt.report.render import table

    Deviations(confidence=confidence, margin=margin)  # refuses a level or a margin that is none
    asked = TableRequest(
        Columns(value, arm, pair or None),
        baseline=baseline,
        against=against,
        where=where,
        factors=factor or None,
        ignore=ignore,
        average=average,
        order=order,
        arms=tuple(name.strip() for name in arms.split(",")) if arms else (),
        unit=unit,
        signed=signed,
        margin=margin,
        level=confidence,
        seed=seed,
        separator=separator,
        decimal=decimal,
        encoding=encoding,
    )
    folder = output or Path("results") / file.stem
    print(table(file, asked, output=folder, say=say, choose=choose, figures=figures))


@command("experiment.verify", alias="verify", arguments=_BUNDLE)
def verify(bundle: str = "shipped") -> None:
    """Compare every file of a bundle with its checksum."""
    from hardwatt.bundle.reader import Bundle

    folder = bundle_folder(bundle)
    opened = Bundle.open(folder)
    unlisted = opened.verify()
    print(f"{folder}: {len(opened.manifest.files)} files are as they were made, "
          f"source of energy: {opened.manifest.source}")  # fmt: skip
    for name in unlisted:
        print(f"no checksum covers {folder / name}")


@command("experiment.talk", alias="talk", arguments={"bundle": "a bundle of the study talk-at-rest"})
def talk(bundle: str) -> None:
    """Print what Flux's controllers cost at rest here, beside the table of the talk of 2022."""
    from hardwatt.bundle.reader import Bundle
    from hardwatt.report.pages import beside_the_talk

    folder = bundle_folder(bundle)
    Bundle.open(folder).verify()
    print(beside_the_talk(folder), end="")
