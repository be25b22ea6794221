"""Completion of ``hardwatt`` at a shell: the words that may stand next, asked of the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

SCRIPTS = {
    "bash": """_complete_hardwatt() {
    COMPREPLY=( $(compgen -W "$(hardwatt --complete "${COMP_WORDS[@]:1:COMP_CWORD}")" -- "$2") )
}
complete -o default -F _complete_hardwatt hardwatt
""",
    "zsh": """(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_complete_hardwatt() {
    local -a names=( $(hardwatt --complete "${(@)words[2,CURRENT]}") )
    (( $#names )) && compadd -- $names || _files
}
compdef _complete_hardwatt hardwatt
""",
    "fish": """complete --command hardwatt --no-files --condition 'test (count (commandline -opc)) -lt 2'
complete --command hardwatt --arguments '(hardwatt --complete (commandline -opc)[2..] (commandline -ct))'
""",
}
"""Shell -> what it reads. Where nothing is offered, each of them completes names of files."""


class PrintScript(argparse.Action):
    """``--print-completion-script SHELL``, as Invoke has it: prints the script and ends."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        """Print the script of the shell that was asked for."""
        print(SCRIPTS[values], end="")
        parser.exit()


def candidates(
    parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser], words: Sequence[str]
) -> list[str]:
    """Return what may stand in the place of the last word; empty: a value or a file.

    Args:
        parser: Of the program.
        commands: Name -> parser of each of its commands.
        words: The command line up to the cursor, without the program.
    """
    *before, typed = words or [""]
    if typed.startswith("-"):
        return options(commands.get(before[0], parser) if before else parser)
    return [] if before else list(commands)


def options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options of a parser."""
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
