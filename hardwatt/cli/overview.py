"""Pages of help over many commands: all of ``hardwatt``, or one group."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator

from hardwatt.cli.commands import COMMANDS, members
from hardwatt.cli.execution import lacking
from hardwatt.cli.registry import Command

_OPTIONS = {
    "-h, --help": "print this page; after a command or a group, print its help",
    "--print-completion-script SHELL": "print what bash, zsh or fish reads to complete commands, options and values",
}


def overview() -> str:
    """Return the help of ``hardwatt``: every command, grouped by what it needs, and what is missing here."""
    missing = lacking()
    lines = [
        "usage: hardwatt COMMAND [arguments], or hardwatt COMMAND --help",
        "",
        "Measure what delivering software costs in energy: build a lab, run experiments, analyse bundles.",
    ]
    for needs in dict.fromkeys(command.needs for command in COMMANDS.values()):
        absent = [need for need in needs if need in missing]
        title = f"commands that need {' and '.join(needs)}" if needs else "commands that need this package alone"
        here = f" (missing here: {', '.join(absent)})" if absent else ""
        lines += ["", f"{title}{here}:", *_listed(command for command in COMMANDS.values() if command.needs == needs)]
    lines += ["", "options:", *_columns(_OPTIONS.items())]
    more = (
        "In a checkout, `make setup` installs the lab extra, `make lab` builds a lab on this machine, and"
        " `invoke COMMAND` runs the same commands; report is experiment.report there."
    )
    return "\n".join([*lines, "", *textwrap.wrap(more, _width())])


def of_group(group: str) -> str:
    """Return the help of a group: its commands."""
    return "\n".join([f"commands of {group}:", *_listed(members(group), aliases=False)])


def _listed(commands: Iterable[Command], *, aliases: bool = True) -> Iterator[str]:
    return _columns(((aliases and command.alias) or command.name, command.summary) for command in commands)


def _columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield two columns in the width of the terminal; a long name has a line of its own."""
    for name, text in rows:
        first, *further = textwrap.wrap(text, _width() - 24) or [""]
        if len(name) > 20:
            yield f"  {name}"
            name = ""
        yield f"  {name:20}  {first}".rstrip()
        yield from (f"{'':24}{line}" for line in further)


def _width() -> int:
    return max(60, shutil.get_terminal_size((100, 24)).columns - 1)
