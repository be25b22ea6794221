"""``hardwatt``: what a laptop needs, with the base dependencies only and no lab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardwatt.errors import LabError

SHIPPED = Path(__file__).parent / "data" / "shipped-bundle"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 refused with a reason, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "report":
            _report(arguments.bundle, arguments.output)
        else:
            _verify(arguments.bundle)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hardwatt",
        description="Analyse a bundle of measurements on any machine: no lab, no cluster, no root.",
        epilog="A lab of your own is made with `make lab` or `invoke lab.up` in a checkout.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="analyse a bundle, write results.json, report.html and report.md")
    report.add_argument("bundle", nargs="?", type=Path, default=SHIPPED, help="folder; left out: the shipped one")
    report.add_argument("--output", type=Path, help="folder to write to (default: results/ in the bundle)")
    verify = commands.add_parser("verify", help="compare every file of a bundle with its checksum")
    verify.add_argument("bundle", nargs="?", type=Path, default=SHIPPED, help="folder; left out: the shipped one")
    return parser


def _report(bundle: Path, output: Path | None) -> None:
    from hardwatt.report import report

    print(report(bundle, output=output))


def _verify(path: Path) -> None:
    from hardwatt.bundle import Bundle

    bundle = Bundle.open(path)
    bundle.verify()
    print(
        f"{path}: {len(bundle.manifest.files)} files are as they were made, source of energy: {bundle.manifest.source}"
    )


if __name__ == "__main__":
    sys.exit(main())
