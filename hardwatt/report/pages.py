"""Writes the pages of docs/ that are made of computed numbers: ``python -m hardwatt.report.pages docs``.

Renders, computes nothing; a test holds each page against what this gives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hardwatt.analysis import coverage, session_coverage, talk, talk_comparison
from hardwatt.analysis.tables import coverage as table_coverage
from hardwatt.core.files import write_atomic


def _render(template: str, **values: object) -> str:
    environment = Environment(  # noqa: S701 - Markdown of our own data, not HTML
        loader=PackageLoader("hardwatt.report"), undefined=StrictUndefined, keep_trailing_newline=False
    )
    return environment.get_template(template).render(**values) + "\n"


def talk_page() -> str:
    """Return docs/talk.md."""
    return _render("talk.md.j2", t=talk.reanalysed(), node_watts=talk.NODE_WATTS, window_minutes=talk.WINDOW_MINUTES)


def beside_the_talk(bundle: Path) -> str:
    """Return the talk's figures and those of a bundle of the study ``talk-at-rest`` as one table."""
    return _render("beside_talk.md.j2", rows=talk_comparison.beside_the_talk(bundle))


def coverage_page() -> str:
    """Return docs/coverage.md; runs every simulation."""
    cells = coverage.table()
    rows = [(kind, about, [c for c in cells if c.kind == kind]) for kind, (about, _) in coverage.KINDS.items()]
    samples = table_coverage.table()
    unpaired = [(kind.about, [c for c in samples if c.kind == name]) for name, kind in table_coverage.KINDS.items()]
    series = session_coverage.table()
    by_design = [(design, spread) for design in session_coverage.DESIGNS for spread in session_coverage.SPREADS]
    sessions = [(*key, [cell for cell in series if (cell.design, cell.spread) == key]) for key in by_design]
    return _render(
        "coverage.md.j2",
        session_rows=sessions,
        session_counts=session_coverage.SESSIONS,
        session_draws=session_coverage.DRAWS,
        rows=rows,
        pairs=coverage.PAIRS,
        draws=coverage.DRAWS,
        unpaired=unpaired,
        sizes=table_coverage.SIZES,
        unpaired_draws=table_coverage.DRAWS,
    )


PAGES: dict[str, Callable[[], str]] = {"talk.md": talk_page, "coverage.md": coverage_page}


def main(argv: Sequence[str]) -> int:
    """Write every page into the folder that is named (``docs`` where none is)."""
    parser = argparse.ArgumentParser(prog="python -m hardwatt.report.pages", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"), help="default: docs")
    folder = parser.parse_args(argv).folder
    for name, page in PAGES.items():
        write_atomic(folder / name, page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
