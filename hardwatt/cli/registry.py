"""A command, described once: ``hardwatt`` and ``invoke`` both derive theirs from it.

Its function has the arguments, their kinds and defaults; nothing but the standard library is needed to read them.
"""

from __future__ import annotations

import argparse
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument of a command."""

    name: str
    kind: Callable[[str], Any]
    default: Any
    many: bool
    help: str

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Command:
    """A command that needs no lab: its function's keyword-only arguments are options, the others words."""

    name: str
    """As ``hardwatt`` has it; ``invoke`` has it as ``experiment.NAME``."""
    function: Callable[..., None]
    help: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").partition("\n")[0]

    @property
    def words(self) -> list[Argument]:
        return self._arguments(inspect.Parameter.POSITIONAL_OR_KEYWORD)

    @property
    def options(self) -> list[Argument]:
        return self._arguments(inspect.Parameter.KEYWORD_ONLY)

    def _arguments(self, kind: Any) -> list[Argument]:
        parameters = inspect.signature(self.function, eval_str=True).parameters.values()
        return [self._argument(parameter) for parameter in parameters if parameter.kind is kind]

    def _argument(self, parameter: inspect.Parameter) -> Argument:
        annotation = parameter.annotation
        many = typing.get_origin(annotation) is tuple
        kinds = typing.get_args(annotation) if many or isinstance(annotation, types.UnionType) else (annotation,)
        text = self.help.get(parameter.name, "")
        return Argument(parameter.name, kinds[0], parameter.default, many, text)


def add_to(commands: argparse._SubParsersAction[Any], command: Command) -> None:
    """Add a command to the parser of ``hardwatt``."""
    parser = commands.add_parser(command.name, help=command.summary, description=command.summary)
    for word in command.words:
        more = {} if word.required else {"nargs": "*" if word.many else "?", "default": word.default}
        parser.add_argument(word.name, type=word.kind, help=word.help, **more)
    for option in command.options:
        name = "--" + option.name.replace("_", "-")
        if option.kind is bool:
            parser.add_argument(name, action="store_true", help=option.help)
        else:
            parser.add_argument(name, type=option.kind, default=option.default, help=option.help)
    parser.set_defaults(run=command)


def run(command: Command, given: Mapping[str, Any]) -> None:
    """Run a command with the values of its arguments by name; words that are text still become of their kind."""
    values = {}
    for argument in (*command.words, *command.options):
        value = given[argument.name]
        values[argument.name] = (
            tuple(value) if argument.many else argument.kind(value) if isinstance(value, str) else value
        )
    command.function(**values)
