"""Ports that are taken and networks that are already there."""

import re
from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase


class Ports(FactBase[dict[int, str]]):
    """Return the TCP ports that something listens on, with the name of the program."""

    default = dict

    def requires_command(self) -> str:
        return "ss"

    def command(self) -> str:
        return ": facts.ports\nss -Hltnp"

    def process(self, output: Iterable[str]) -> dict[int, str]:
        programs = {}
        for line in output:
            fields = line.split()
            if len(fields) < 4 or not fields[3].rpartition(":")[2].isdigit():
                continue
            program = re.search(r'users:\(\("([^"]+)"', line)
            programs[int(fields[3].rpartition(":")[2])] = program.group(1) if program else "?"
        return programs


class Routes(FactBase[dict[str, str]]):
    """Return the networks that the node has routes to, with their interface; no default route."""

    default = dict

    def requires_command(self) -> str:
        return "ip"

    def command(self) -> str:
        return ": facts.routes\nip -o route show"

    def process(self, output: Iterable[str]) -> dict[str, str]:
        devices = {}
        for line in output:
            fields = line.split()
            if fields and fields[0][0].isdigit() and "dev" in fields:
                devices[fields[0]] = fields[fields.index("dev") + 1]
        return devices


class Unmanaged(FactBase[dict[str, Any]]):
    """Return whether NetworkManager ``runs``, and the ``text`` of a file of its configuration."""

    def command(self, file: str) -> str:
        return (
            ": facts.unmanaged\necho read=yes\n"
            "if systemctl is-active --quiet NetworkManager; then echo runs=yes; fi\n"
            f"if test -e {file}; then sed 's/^/line=/' {file}; fi"
        )

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        lines = list(output)
        text = "".join(line.removeprefix("line=") + "\n" for line in lines if line.startswith("line="))
        return {"runs": "runs=yes" in lines, "text": text}
