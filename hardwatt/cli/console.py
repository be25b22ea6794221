"""``hardwatt``: what a laptop needs, with the base dependencies only and no lab.

A task of ``invoke`` (``hardwatt lab.up``) is handed on to it where there is a lab's checkout, and refused with what is
missing where there is none.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from hardwatt.cli import completion, registry
from hardwatt.cli.bundle_commands import COMMANDS, SHIPPED
from hardwatt.core.errors import LabError, RefusedError

__all__ = ["SHIPPED", "main"]
USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 refused with a reason, 2 wrong usage, 130 Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if words[:1] == ["--complete"]:
        print("\n".join(completion.candidates(parser, _commands(parser), words[1:])))
        return 0
    try:
        if words and "." in words[0] and not words[0].startswith("-"):
            return _task(words)
        given = _read(parser, words)
        registry.run(given.run, vars(given))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command begins again", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hardwatt",
        description="Analyse a bundle of measurements on any machine: no lab, no cluster, no root.",
        epilog="A lab of your own is made with `make lab` or `invoke lab.up` in a checkout.",
    )
    parser.add_argument(
        "--print-completion-script",
        choices=tuple(completion.SCRIPTS),
        metavar="SHELL",
        action=completion.PrintScript,
        help="print what bash, zsh or fish reads to complete commands and options",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        registry.add_to(commands, command)
    return parser


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def _read(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. Ends the program where a command or option is unknown, with the nearest right one."""
    commands = _commands(parser)
    if words and not words[0].startswith("-") and words[0] not in commands:
        _refuse(parser, f"there is no command {words[0]}", words[0], commands)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        used = commands[given.command]
        option = unknown[0].partition("=")[0]
        if option.startswith("-"):
            _refuse(used, f"{given.command} has no option {option}", option, completion.options(used))
        _refuse(used, f"{given.command} takes no further word {option}", "", ())
    return given


def _refuse(parser: argparse.ArgumentParser, text: str, word: str, known: Iterable[str]) -> NoReturn:
    from hardwatt.core.nearest import nearest

    near = nearest(word, known) if len(word) > 2 else ""
    more = f"; did you mean {near}?" if near else ""
    parser.print_usage(sys.stderr)
    print(f"error: {text}{more}\n  next: {parser.prog} --help", file=sys.stderr)
    sys.exit(USAGE)


def _task(words: Sequence[str]) -> int:
    """Hand a task on to Invoke. Raises ``RefusedError`` naming what is missing for it."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "deploys" / "node.py").is_file():
        raise RefusedError(
            f"{words[0]} works on a lab and needs a checkout of hardwatt, and this is the installed package alone",
            hint=f"in a checkout: make setup, then .venv/bin/invoke {words[0]}; without one: hardwatt --help",
        )
    if missing := [name for name in ("invoke", "pyinfra", "kubernetes") if importlib.util.find_spec(name) is None]:
        raise RefusedError(
            f"{words[0]} needs the extra lab of hardwatt, and this environment has no {', '.join(missing)}",
            hint=f"make setup, then .venv/bin/invoke {words[0]}",
        )
    from hardwatt.cli import namespace

    return namespace.run(words)


if __name__ == "__main__":
    sys.exit(main())
