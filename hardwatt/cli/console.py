"""``hardwatt``: every command of the registry, in any folder.

With the base dependencies alone a laptop analyses bundles. A command that works on a lab runs where a checkout and the
extra are installed, and is refused with what is missing where they are not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from hardwatt.cli import completion, output
from hardwatt.cli.bundle_commands import SHIPPED
from hardwatt.cli.commands import COMMANDS, GROUPS, lookup, members
from hardwatt.cli.execution import execute
from hardwatt.cli.registry import KINDS, Argument, Command

__all__ = ["SHIPPED", "main"]
USAGE = 2
_HELP = ("--help", "-h")
_OVERVIEW = "hardwatt --help"
_WORDS = (
    (re.compile(r"^argument (?:-\w/)?(\S+): (?:expected one argument)?"), r"\1 "),
    (re.compile(r"^(\S+) $"), r"\1 needs a value"),
    (re.compile(r"^the following arguments are required: (.*)"), r"missing: \1"),
)
"""Words of argparse -> words here."""


class Parser(argparse.ArgumentParser):
    """A parser that refuses in the words of the other view: the reason, then the next command."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line and end the program."""
        for pattern, words in _WORDS:
            message = pattern.sub(words, message)
        refuse(message, f"{self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: that of the command, or 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with output.reader_may_leave():
            if words[:1] == ["--complete"]:
                completion.offer(completion.candidates(words[1:]))
                return 0
            command, given = read(words)
            return execute(command, vars(given))
    except output.ReaderLeftError:
        return output.READER_LEFT


def read(words: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Return the command of a command line and the values of its arguments.

    Ends the program after help, and where a command or option is unknown, with the nearest right one.
    """
    asked = any(word in _HELP for word in words[: words.index("--") if "--" in words else None])
    names = [word for word in words if not word.startswith("-")]
    if words and words[0].startswith("-") and not (asked and names):
        _own_options(words)
    if not names:
        refuse("a command is missing", _OVERVIEW)
    command = lookup(names[0]) or _no_command(names[0], asked)
    parser = parser_of(command)
    if asked:
        parser.print_help()
        sys.exit(0)
    given, unknown = parser.parse_known_intermixed_args(list(words[1:]))
    if unknown:
        option = unknown[0].partition("=")[0]
        if option.startswith("-"):
            known = [argument.option for argument in command.options]
            refuse(f"{words[0]} has no option {option}{_asked(option, known)}", f"{parser.prog} --help")
        refuse(f"{words[0]} takes no further word {option}", f"{parser.prog} --help")
    return command, given


def parser_of(command: Command) -> Parser:
    """Return the parser of a command's arguments."""
    parser = Parser(prog=f"hardwatt {command.alias or command.name}", description=command.summary, allow_abbrev=False)
    for word in command.words:
        more = {} if word.required else {"nargs": "*" if word.many else "?", "default": word.default}
        parser.add_argument(word.name, type=_value_of(word), help=word.help, **more)
    for option in command.options:
        _add(parser, option)
    return parser


def _add(parser: Parser, option: Argument) -> None:
    names = [f"-{option.short}", option.option] if option.short else [option.option]
    if option.kind is bool:
        parser.add_argument(*names, action="store_true", help=option.help)
    elif option.many:
        parser.add_argument(*names, type=_value_of(option), action="append", help=option.help)
    else:
        parser.add_argument(*names, type=_value_of(option), default=option.default, help=option.help)


def _value_of(argument: Argument) -> Callable[[str], Any]:
    """Return the conversion of an argument's text."""

    def convert(text: str) -> Any:
        try:
            return argument.kind(text)
        except ValueError:
            name = KINDS.get(argument.kind, argument.name)  # type: ignore[call-overload]
            raise argparse.ArgumentTypeError(f"takes {name}, and {text!r} is not one") from None

    return convert


def _own_options(words: Sequence[str]) -> None:
    """Answer the options of the program itself, which end it."""
    if any(word in _HELP for word in words):
        from hardwatt.cli import overview

        print(overview.overview())
        sys.exit(0)
    parser = Parser(prog="hardwatt", add_help=False, allow_abbrev=False)
    parser.add_argument(completion.SCRIPT, choices=tuple(completion.SCRIPTS), metavar="SHELL")
    given, unknown = parser.parse_known_args(words)
    if given.print_completion_script:
        print(completion.SCRIPTS[given.print_completion_script], end="")
        sys.exit(0)
    option = unknown[0].partition("=")[0]
    refuse(f"hardwatt has no option {option}{_asked(option, completion.OWN_OPTIONS)}", _OVERVIEW)


def _no_command(word: str, asked: bool) -> NoReturn:
    """Answer a word that is no command: the group that it names, a former name, or the nearest command."""
    from hardwatt.cli import overview
    from hardwatt.core import former_names

    if word in GROUPS:
        if asked:
            print(overview.of_group(word))
            sys.exit(0)
        refuse(f"{word} is a group of commands: {', '.join(c.name for c in members(word))}", f"hardwatt {word} --help")
    if said := former_names.refusal(word, former_names.TASKS):
        refuse(said, f"hardwatt {former_names.TASKS[word]}")
    kind = "task" if "." in word else "command"
    refuse(f"there is no {kind} {word}{_asked(word, [*completion.names(), *COMMANDS])}", _OVERVIEW)


def refuse(reason: str, following: str) -> NoReturn:
    """End the program for wrong usage, with the reason and the next command."""
    from hardwatt.core import terminal  # only where something is wrong

    terminal.complain(f"error: {reason}\n  next: {following}")
    sys.exit(USAGE)


def _asked(word: str, known: Iterable[str]) -> str:
    """Return the question after the nearest name; empty where there is none, or for a single letter."""
    from hardwatt.core.nearest import nearest

    near = nearest(word, known) if len(word) > 2 else ""
    return f"; did you mean {near}?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
