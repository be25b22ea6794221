"""The record on the node: what a lab changed there, and what it was before."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

FOLDER = "/var/lib/hardwatt/record"
JOURNAL = f"{FOLDER}/journal"
"""``KIND ITEM`` a line, the oldest first, each written before the change that it describes."""
LAB = f"{FOLDER}/lab"
KEPT = f"{FOLDER}/files"
"""Files that were there before, under their whole path."""

_SCRIPT = f""": facts.record
echo read=yes
if test -e {LAB}; then sed 's/^/lab /' {LAB}; fi
if test -e {JOURNAL}; then sed 's/^/entry /' {JOURNAL}; fi
if test -d {KEPT}; then find {KEPT} -type f | sed 's,^{KEPT},kept ,'; fi
"""


class Record(FactBase[dict[str, Any]]):
    """Return ``lab`` (whose node this is), ``entries`` (kind and item, oldest first) and ``kept`` files."""

    def command(self) -> str:
        return _SCRIPT

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {"lab": "", "entries": [], "kept": []}
        for line in output:
            what, _, rest = line.partition(" ")
            if what == "lab":
                found["lab"] = rest
            elif what == "kept":
                found["kept"].append(rest)
            elif what == "entry":
                kind, _, item = rest.partition(" ")
                found["entries"].append([kind, item])
        return found
