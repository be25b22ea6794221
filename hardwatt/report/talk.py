"""Writes docs/talk.md: ``python -m hardwatt.report.talk docs/talk.md``. Renders, computes nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hardwatt.analysis import talk
from hardwatt.files import write_atomic


def page() -> str:
    """Return the page as Markdown."""
    environment = Environment(  # noqa: S701 - Markdown of our own data, not HTML
        loader=PackageLoader("hardwatt.report"), undefined=StrictUndefined, keep_trailing_newline=False
    )
    template = environment.get_template("talk.md.j2")
    window = {"node_watts": talk.NODE_WATTS, "window_minutes": talk.WINDOW_MINUTES}
    return template.render(t=talk.reanalysed(), **window) + "\n"


def main(argv: Sequence[str]) -> int:
    """Write the page to the file that is named, or print it."""
    if argv:
        write_atomic(Path(argv[0]), page())
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
