"""Every command of the toolkit, once: what ``hardwatt`` and ``invoke`` both list, complete and run."""

from __future__ import annotations

from collections.abc import Mapping

from hardwatt.cli import bundle_commands, bundles, energy, experiment, gitops, lab, meter, mirror
from hardwatt.cli.registry import Command, declared

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in declared(bundle_commands, lab, mirror, gitops, experiment, bundles, energy, meter)
}
"""Name -> command, in the order in which ``hardwatt --help`` lists them."""
GROUPS = tuple(dict.fromkeys(command.group for command in COMMANDS.values()))


def lookup(word: str) -> Command | None:
    """Return the command with a name, or with an alias of ``hardwatt``."""
    by_alias = {command.alias: command for command in COMMANDS.values() if command.alias}
    return COMMANDS.get(word) or by_alias.get(word)


def members(group: str) -> list[Command]:
    """Return the commands of a group, and of the groups in it."""
    return [command for command in COMMANDS.values() if command.name.startswith(f"{group}.")]
