"""A command, described once: ``hardwatt`` and ``invoke`` are two views of the same description.

A command's function has the arguments, their kinds and defaults; the standard library is enough to read them.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

CHECKOUT = "a checkout"
EXTRA = "the lab extra"
LAB = (CHECKOUT, EXTRA)
"""Needs of a command that works on a lab."""
KINDS = {int: "a whole number", float: "a number"}
"""Kind of an argument's value -> its name in an error."""
Values = Iterable[str] | Callable[[], Iterable[str]]
"""Values of an argument that completion offers."""
_NONE: Mapping[str, Any] = types.MappingProxyType({})


@dataclass(frozen=True)
class Argument:
    """One argument of a command."""

    name: str
    kind: Callable[[str], Any]
    default: Any
    many: bool
    help: str
    short: str
    """Letter of the short option; empty: none."""
    known: Values = ()

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def values(self) -> list[str]:
        """Return the values that completion offers; empty: any value, or a file."""
        return list(self.known() if callable(self.known) else self.known)


@dataclass(frozen=True)
class Command:
    """A command: its function's keyword-only arguments are options, the others words.

    The function returns the exit code, or None for 0. A first parameter ``lab`` receives the open lab.
    """

    name: str
    """With its group, as ``invoke`` has it: ``lab.up``."""
    function: Callable[..., int | None]
    needs: tuple[str, ...] = ()
    """Out of ``CHECKOUT`` and ``EXTRA``; empty: the installed package alone."""
    alias: str = ""
    """A second name that ``hardwatt`` has for the command: ``report``."""
    help: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, Values] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").partition("\n")[0]

    @property
    def takes_lab(self) -> bool:
        return next(iter(inspect.signature(self.function).parameters), "") == "lab"

    @property
    def words(self) -> list[Argument]:
        return self._arguments[0]

    @property
    def options(self) -> list[Argument]:
        return self._arguments[1]

    @cached_property
    def _arguments(self) -> tuple[list[Argument], list[Argument]]:
        # the class of a lab is there for type checkers alone: to import it takes longer than all of this
        signature = inspect.signature(self.function, eval_str=True, locals={"Lab": object})
        parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "lab"]
        shorts = _short_options([parameter.name for parameter in parameters])
        words: list[Argument] = []
        options: list[Argument] = []
        for parameter in parameters:
            place = options if parameter.kind is inspect.Parameter.KEYWORD_ONLY else words
            place.append(self._argument(parameter, shorts[parameter.name]))
        return words, options

    def _argument(self, parameter: inspect.Parameter, short: str) -> Argument:
        name, annotation = parameter.name, parameter.annotation
        many = typing.get_origin(annotation) is tuple
        kinds = typing.get_args(annotation) if many or isinstance(annotation, types.UnionType) else (annotation,)
        text = self.help.get(name, "")
        return Argument(name, kinds[0], parameter.default, many, text, short, self.known.get(name, ()))

    def converted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all arguments by name, the defaults too; text becomes what each argument takes."""
        values = {}
        for argument in (*self.words, *self.options):
            value = given[argument.name] if argument.required else given.get(argument.name, argument.default)
            values[argument.name] = (
                tuple(value or ()) if argument.many else argument.kind(value) if isinstance(value, str) else value
            )
        return values


def command(
    name: str,
    *,
    needs: tuple[str, ...] = (),
    alias: str = "",
    arguments: Mapping[str, str] = _NONE,
    values: Mapping[str, Values] = _NONE,
) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function.

    Args:
        name: As ``Command.name``.
        needs: As ``Command.needs``.
        alias: As ``Command.alias``.
        arguments: Argument -> its help.
        values: Argument -> the values that completion offers.
    """

    def described(function: Callable[..., int | None]) -> Command:
        return Command(name, function, needs, alias, arguments, values)

    return described


def declared(*modules: types.ModuleType) -> list[Command]:
    """Return the commands of modules, in the order of their declaration."""
    return [value for module in modules for value in vars(module).values() if isinstance(value, Command)]


def _short_options(names: Iterable[str]) -> dict[str, str]:
    """Return name -> the first letter of it that is free, as Invoke chooses it; ``-h`` is the help's."""
    taken = {"h", *names}
    shorts = {}
    for name in names:
        shorts[name] = next((letter for letter in name if letter != name and letter not in taken), "")
        taken.add(shorts[name])
    return shorts
