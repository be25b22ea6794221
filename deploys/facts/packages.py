"""Installed packages with their exact versions."""

import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase


class Debs(FactBase[dict[str, Any]]):
    """Return ``packages`` (name to version and held; only what is wholly installed) and ``broken``.

    ``broken`` is true where an earlier run of dpkg was cut off.
    """

    default = dict

    def requires_command(self, names: list[str]) -> str:
        return "dpkg-query"

    def command(self, names: list[str]) -> str:
        wanted = " ".join(shlex.quote(name) for name in names)
        return (
            ": facts.debs\n"
            r"dpkg-query -W -f='package ${Package} ${db:Status-Want} ${db:Status-Status} ${Version}\n' "
            f"{wanted} 2>/dev/null\n"
            'if [ -n "$(dpkg --audit)" ]; then echo broken; fi'
        )

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        packages, broken = {}, False
        for line in output:
            fields = line.split()
            if fields == ["broken"]:
                broken = True
            elif len(fields) == 5 and fields[3] == "installed":
                packages[fields[1]] = {"version": fields[4], "held": fields[2] == "hold"}
        return {"packages": packages, "broken": broken}
