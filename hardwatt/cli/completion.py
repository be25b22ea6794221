"""Completion at a shell: the words that may stand next, asked of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hardwatt.cli.commands import COMMANDS, GROUPS, lookup
from hardwatt.cli.registry import Argument, Command

SCRIPT = "--print-completion-script"
OWN_OPTIONS = ("--help", SCRIPT)
SCRIPTS = {
    "bash": """_complete_hardwatt() {
    COMPREPLY=( $(compgen -W "$(hardwatt --complete "${COMP_WORDS[@]:1:COMP_CWORD}")" -- "${2#=}") )
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
    "fish": """function _complete_hardwatt
    set -l typed (commandline -ct)
    hardwatt --complete (commandline -opc)[2..] "$typed"
end
complete --command hardwatt --no-files --condition 'count (_complete_hardwatt) >/dev/null' \\
    --arguments '(_complete_hardwatt)'
""",
}
"""Shell -> what it reads. Where nothing is offered, each of them completes names of files."""


def offer(words: Sequence[str]) -> None:
    """Print candidates, one a line; without any print nothing, because fish counts an empty line."""
    for word in words:
        print(word)


def names() -> list[str]:
    """Return the names of all commands as ``hardwatt`` lists them."""
    return [command.alias or command.name for command in COMMANDS.values()]


def candidates(words: Sequence[str]) -> list[str]:
    """Return what may stand in the place of the last word of ``hardwatt``; empty: any value or a file.

    Args:
        words: The command line up to the cursor, without the program.
    """
    *before, typed = words or [""]
    if before and (command := lookup(before[0])):
        return of_command(command, before[1:], typed)
    if before and before[-1] == SCRIPT:
        return list(SCRIPTS)
    if typed.startswith("-"):
        return list(OWN_OPTIONS)
    return [] if before and before != ["--help"] else names()


def of_command(command: Command, before: Sequence[str], typed: str) -> list[str]:
    """Return what may stand in the place of ``typed`` after the words ``before`` of a command."""
    before = list(before)
    if typed == "=" and before:  # bash makes --option=value three words
        typed = ""
    elif before and before[-1] == "=":
        before.pop()
    options = _options(command)
    if before and (asked := options.get(before[-1])) and asked.kind is not bool:
        return asked.values
    if typed.startswith("--") and "=" in typed:
        name = typed.partition("=")[0]
        return [f"{name}={value}" for value in options[name].values] if name in options else []
    if typed.startswith("-"):
        return [*(option.option for option in command.options), "--help"]
    place = _words_given(before, options)
    words = command.words
    return words[place].values if place < len(words) else []


def _options(command: Command) -> dict[str, Argument]:
    """Return each option of a command by its long and its short name."""
    return {name: option for option in command.options for name in (option.option, f"-{option.short}")}


def _words_given(before: Sequence[str], options: Mapping[str, Argument]) -> int:
    """Return how many of the words before are words of the command: no options, and no values of options."""
    count, value = 0, False
    for word in before:
        if value:
            value = word == "="
        elif word.startswith("-"):
            value = word in options and options[word].kind is not bool
        else:
            count += 1
    return count


def of_invoke(tokens: Sequence[str], core: Sequence[str]) -> list[str]:
    """Return what may stand at the end of a command line of ``invoke``.

    Invoke's scripts do not tell whether a blank follows the last word. Both is offered, what the last word may become
    and what may follow it, and the shell keeps what begins with the word at the cursor.

    Args:
        tokens: The words, without the program.
        core: Invoke's own options.
    """
    following = _of_invoke(tokens, "", core)
    if not tokens:
        return following
    whole = [name for name in _of_invoke(tokens[:-1], tokens[-1], core) if name.startswith(tokens[-1])]
    if tokens[-1].startswith("-") and tokens[-1] in whole:
        return following
    return list(dict.fromkeys([*whole, *following]))


def _of_invoke(before: Sequence[str], typed: str, core: Sequence[str]) -> list[str]:
    place = max((place for place, word in enumerate(before) if word in COMMANDS), default=-1)
    if place < 0:
        return _of_invoke_itself(before[-1] if before else "", typed, core)
    command, given = COMMANDS[before[place]], before[place + 1 :]
    own = of_command(command, given, typed)
    return own if own or typed.startswith("-") or _lacks_word(command, given) else list(COMMANDS)


def _of_invoke_itself(last: str, typed: str, core: Sequence[str]) -> list[str]:
    if last in ("--help", "-h"):
        return [*COMMANDS, *GROUPS]
    if last in ("--list", "-l"):
        return list(GROUPS)
    if last == SCRIPT:
        return list(SCRIPTS)
    return list(core) if typed.startswith("-") else list(COMMANDS)


def _lacks_word(command: Command, given: Sequence[str]) -> bool:
    """Return True if the next word belongs to the command: an option's value, or a required word."""
    options = _options(command)
    if given and (option := options.get(given[-1])) and option.kind is not bool:
        return True
    return _words_given(given, options) < sum(word.required for word in command.words)
