"""Ports that are taken and networks that are already there."""

import re
from collections.abc import Iterable

from pyinfra.api import FactBase


class Ports(FactBase[dict[int, str]]):
    """Return the TCP ports that something listens on, with the name of the program."""

    default = dict

    def requires_command(self) -> str:
        return "ss"

    def command(self) -> str:
        return ": facts.ports\nss -Hltnp"

    def process(self, output: Iterable[str]) -> dict[int, str]:
        found = {}
        for line in output:
            fields = line.split()
            if len(fields) < 4 or not fields[3].rpartition(":")[2].isdigit():
                continue
            program = re.search(r'users:\(\("([^"]+)"', line)
            found[int(fields[3].rpartition(":")[2])] = program.group(1) if program else "?"
        return found


class Routes(FactBase[dict[str, str]]):
    """Return the networks that the node has routes to, with their interface; no default route."""

    default = dict

    def requires_command(self) -> str:
        return "ip"

    def command(self) -> str:
        return ": facts.routes\nip -o route show"

    def process(self, output: Iterable[str]) -> dict[str, str]:
        found = {}
        for line in output:
            fields = line.split()
            if fields and fields[0][0].isdigit() and "dev" in fields:
                found[fields[0]] = fields[fields.index("dev") + 1]
        return found
