"""``hardwatt``: what a laptop needs, with the base dependencies only and no lab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hardwatt.core.errors import LabError

SHIPPED = Path(__file__).parent.parent / "data" / "shipped-bundle"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 refused with a reason, 2 wrong usage, 130 Ctrl-C."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], None] = arguments.run
    try:
        run(arguments)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command begins again", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hardwatt",
        description="Analyse a bundle of measurements on any machine: no lab, no cluster, no root.",
        epilog="A lab of your own is made with `make lab` or `invoke lab.up` in a checkout.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="analyse a bundle, write results.json, report.html and report.md")
    _bundle(report)
    _output(report, "results/ in the bundle")
    report.add_argument("--sci", type=Path, help="settings file of SCI (default: the one that is shipped)")
    report.set_defaults(run=_report)
    deviations = commands.add_parser("analyse", help="like report, but other than planned, and it says so")
    _bundle(deviations)
    _output(deviations, "results/otherwise/ in the bundle")
    deviations.add_argument("--sci", type=Path, help="settings file of SCI (default: the one that is shipped)")
    deviations.add_argument("--outcome", help="node_cpu_seconds or node_joules")
    deviations.add_argument("--confidence", type=float, help="level of the interval, for example 0.9")
    deviations.add_argument("--margin", type=float, help="margin of the test of equivalence, in the outcome's unit")
    deviations.add_argument("--without-flagged", action="store_true", help="leave out pairs with a flagged window")
    deviations.add_argument("--without-repeated", action="store_true", help="leave out pairs that were repeated")
    deviations.set_defaults(run=_analyse)
    comparison = commands.add_parser("compare", help="several bundles side by side: machines, versions, repeats")
    comparison.add_argument("bundles", nargs="+", type=Path, help="folders, two or more")
    _output(comparison, "results/compare in the current folder")
    comparison.set_defaults(run=_compare)
    table = commands.add_parser(
        "table", help="somebody else's CSV: pair,arm,value or experiment-runner's run_table.csv"
    )
    table.add_argument("file", type=Path)
    table.add_argument("--value", default="value", help="column of the outcome (default: value)")
    table.add_argument("--arm", default="arm", help="column of the arm (default: arm)")
    table.add_argument("--pair", help="column of the pair or block (default: pair, or the repetition)")
    table.add_argument("--baseline", help="the arm that others are compared with (default: that of the first row)")
    table.add_argument("--unit", default="1", help="unit of the value, for example J")
    table.add_argument("--confidence", type=float, default=0.95, help="level of the interval (default: 0.95)")
    table.add_argument("--margin", type=float, help="margin of the test of equivalence, in the value's unit")
    _output(table, "results/FILE in the current folder")
    table.set_defaults(run=_table)
    verify = commands.add_parser("verify", help="compare every file of a bundle with its checksum")
    _bundle(verify)
    verify.set_defaults(run=_verify)
    return parser


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", nargs="?", type=Path, default=SHIPPED, help="folder; left out: the shipped one")


def _output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--output", type=Path, help=f"folder to write to (default: {default})")


def _report(given: argparse.Namespace) -> None:
    from hardwatt.report.render import report

    print(report(given.bundle, output=given.output, carbon=given.sci))


def _analyse(given: argparse.Namespace) -> None:
    from hardwatt.analysis.deviations import Deviations
    from hardwatt.report.render import report

    names = ("outcome", "confidence", "margin", "without_flagged", "without_repeated")
    wanted = Deviations(**{name: getattr(given, name) for name in names})
    print(report(given.bundle, output=given.output, carbon=given.sci, deviations=wanted))


def _compare(given: argparse.Namespace) -> None:
    from hardwatt.report.render import comparison

    print(comparison(given.bundles, output=given.output or Path("results") / "compare"))


def _table(given: argparse.Namespace) -> None:
    from hardwatt.analysis.deviations import Deviations
    from hardwatt.analysis.external_table import Columns, TableRequest
    from hardwatt.report.render import table

    Deviations(confidence=given.confidence, margin=given.margin)  # refuses a level or a margin that is none
    columns = Columns(value=given.value, arm=given.arm, pair=given.pair)
    asked = TableRequest(columns, given.baseline, given.unit, given.confidence, given.margin)
    print(table(given.file, asked, output=given.output or Path("results") / given.file.stem))


def _verify(given: argparse.Namespace) -> None:
    from hardwatt.bundle.reader import Bundle

    bundle = Bundle.open(given.bundle)
    bundle.verify()
    files, source = len(bundle.manifest.files), bundle.manifest.source
    print(f"{given.bundle}: {files} files are as they were made, source of energy: {source}")


if __name__ == "__main__":
    sys.exit(main())
