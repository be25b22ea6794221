"""The record on the node: what a lab changed there, and what it was before."""

import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

FOLDER = "/var/lib/hardwatt/record"
JOURNAL = f"{FOLDER}/journal"
"""``KIND ITEM`` a line, the oldest first, each written before the change that it describes."""
PACKAGES = f"{FOLDER}/packages"
"""Names of all packages that were installed before the lab."""
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
        record: dict[str, Any] = {"lab": "", "entries": [], "kept": []}
        for line in output:
            what, _, rest = line.partition(" ")
            if what == "lab":
                record["lab"] = rest
            elif what == "kept":
                record["kept"].append(rest)
            elif what == "entry":
                kind, _, item = rest.partition(" ")
                record["entries"].append([kind, item])
        return record


class NewPackages(FactBase[list[str]]):
    """Return which of these packages are installed and were not when the record began."""

    default = list

    def command(self, names: list[str]) -> str:
        wanted = " ".join(shlex.quote(name) for name in names)
        return f""": facts.newpackages
test -e {PACKAGES} || exit 0
for name in {wanted}; do
  if grep -qxF "$name" {PACKAGES}; then continue; fi
  if command -v rpm >/dev/null 2>&1; then
    if rpm -q "$name" >/dev/null 2>&1; then echo "$name"
    # asked for by what it provides: python3 is in python36
    else rpm -q --whatprovides --qf '%{{NAME}}\n' "$name" 2>/dev/null | grep -v ' ' | grep -vxFf {PACKAGES}; fi
  elif test "$(dpkg-query -W -f='${{db:Status-Status}}' "$name" 2>/dev/null)" = installed; then echo "$name"; fi
done
"""

    def process(self, output: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(line for line in output if line))
