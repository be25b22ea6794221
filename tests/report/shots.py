"""Takes pictures of every kind of report, to be looked at: ``python -m tests.report.shots FOLDER [KIND ...]``.

A quick run, a simulated full run, a failed run, the shipped bundle, several arms, a comparison and somebody's table,
each at 390, 1280 and 1920 pixels in light and dark, and as a PDF on A4.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
from pathlib import Path

from tests.report.cases import CASES
from tests.report.chrome import chromium, show

WIDTHS = (390, 1280, 1920)
SCHEMES = ("light", "dark")


def main(folder: Path, kinds: Sequence[str]) -> None:
    with chromium() as chrome:
        for name in kinds or CASES:
            page = CASES[name](folder / "bundles" / name)
            for width in WIDTHS:
                for scheme in SCHEMES:
                    show(chrome, page, width, scheme)
                    wanted = {"captureBeyondViewport": True, "format": "png"}
                    shot = chrome.execute_cdp_cmd("Page.captureScreenshot", wanted)["data"]
                    (folder / f"{name}-{width}-{scheme}.png").write_bytes(base64.b64decode(shot))
            (folder / f"{name}.pdf").write_bytes(base64.b64decode(chrome.print_page()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.report.shots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(CASES)} (default: all)")
    main(*vars(parser.parse_args()).values())
