"""How Invoke reads a command line here: ``--help`` in any place, and wrong usage ends with exit code 2.

Invoke itself passes the word after a task's name to its argument, be it ``--help`` or an unknown option, ends wrong
usage with 1, and a wrong number with a traceback. It has no setting for either, so its state machine is replaced by a
subclass: whoever types ``invoke`` in a checkout gets it through ``tasks.py``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from invoke import Exit, ParseError, Task
from invoke.parser import Argument, ParserContext
from invoke.parser import parser as invokes

from hardwatt.core import former_names
from hardwatt.core.nearest import nearest

USAGE = 2
"""Exit code of wrong usage, as argparse has it."""
_HELP = ("--help", "-h")
_KINDS = {int: "a whole number", float: "a number"}


class UsageError(ParseError, Exit):
    """Wrong usage: ends the program with its exit code; completion of a half-typed line goes on with its context."""

    def __init__(self, text: str, context: ParserContext | None) -> None:
        self.args = (text,)
        self.context = context
        Exit.__init__(self, code=USAGE)  # without a message: Invoke prints a ParseError already


class LabTask(Task[Any]):
    """A task whose options leave ``-h`` to the help, and whose arguments may say of which kind they are."""

    kinds: Mapping[str, Any] = {}

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        """Return how an argument is named on the command line."""
        found = super().arg_opts(name, default, taken_names | {"h"})
        return {**found, "kind": self.kinds[name]} if name in self.kinds else found


class Machine(invokes.ParseMachine):
    """Invoke's parser, in which ``--help`` wins and no unknown option is taken for an argument."""

    _helped = False

    def handle(self, token: str) -> None:
        """Take one word of the command line. Raises ``UsageError`` where it is no task and no option of the task."""
        if self._helped:
            return
        if self.current_state == "unknown":
            super().handle(token)
        elif self._unknown_word(token):
            if word := self._open_word():
                word.value = token
            else:
                self._refuse_word(token)
        elif not self._in_task():
            super().handle(token)
        elif token in _HELP:  # in the place of a value too: whoever types it wants to read, and help changes nothing
            self.initial.flags["--help"].value = self.context.name
            self._helped = True
        elif self._unknown_option(token):
            free = [argument.name for argument in self.context.missing_positional_args]
            dash = f" (a value that begins with a dash: --{free[0]}=VALUE)" if free else ""
            more = _asked(token, [*self.context.flags, *self.context.inverse_flags]) or dash
            self.error(f"{self.context.name} has no option {token}{more}")
        else:
            super().handle(token)

    def see_value(self, value: Any) -> None:
        """Take the value of an option. Raises ``UsageError`` where a number is expected and this is not one."""
        try:
            super().see_value(value)
        except ValueError:
            assert self.flag
            wanted = _KINDS.get(self.flag.kind, self.flag.kind.__name__)
            self.error(f"--{self.flag.names[0]} takes {wanted}, and {value!r} is not one")

    def complete_flag(self) -> None:
        """End an option. Raises ``UsageError`` where its value is missing; after ``--help`` none is.

        Invoke itself takes an option that may be repeated for one that may go without a value.
        """
        if self._helped:
            return
        flag = self.flag
        if flag and flag.takes_value and not flag.optional and not self.flag_got_value:
            self.error(f"--{flag.names[0]} needs a value")
        super().complete_flag()

    def complete_context(self) -> None:
        """End a task. After ``--help`` no argument is missing."""
        if not self._helped:
            super().complete_context()

    def error(self, msg: str) -> None:
        """Refuse the command line. Raises ``UsageError`` with the command that shows what is allowed."""
        hint = f"invoke {self.context.name} --help" if self._in_task() else "invoke --list"
        raise UsageError(f"error: {msg}\n  next: {hint}", self.context)

    def _unknown_word(self, token: str) -> bool:
        """Return whether a word has no place here: no option, no value, no task."""
        if self.ignore_unknown or self.waiting_for_flag_value or self.context.missing_positional_args:
            return False
        if self._in_task() and token.startswith("-"):
            return False
        known = (self.contexts, self.context.flags, self.context.inverse_flags, self.initial.flags)
        return not any(token in names for names in known)

    def _open_word(self) -> Argument | None:
        """Return the argument that a further word belongs to: one that may be left out, or that takes many."""
        words = self.context.positional_args if self._in_task() else []
        return next((word for word in words if word.kind is list or word.raw_value is None), None)

    def _refuse_word(self, token: str) -> None:
        if token.startswith("-"):
            self.error(f"invoke has no option {token}{_asked(token, self.initial.flags)}")
        if said := former_names.refusal(token, former_names.TASKS):
            raise UsageError(f"error: {said}\n  next: invoke {former_names.TASKS[token]}", self.context)
        more = _asked(token, self.contexts)
        here = f"{self.context.name} takes no further word, and " if self._in_task() else ""
        self.error(f"{here}there is no task {token}{more}")

    def _in_task(self) -> bool:
        return bool(self.context and self.context.name)

    def _unknown_option(self, token: str) -> bool:
        if len(token) == 1 or not token.startswith("-") or self.waiting_for_flag_value:
            return False
        return not any(token in known for known in (self.context.flags, self.context.inverse_flags, self.initial.flags))


def _asked(word: str, known: Iterable[str]) -> str:
    """Return the question after the nearest name; empty where there is none, or for a single letter."""
    names = [name for name in known if name.startswith("--") == word.startswith("-")]
    near = nearest(word, names) if len(word) > 2 else ""
    return f"; did you mean {near}?" if near else ""


# the states are kept with the class that declares them, and a subclass begins without any
Machine._class_states = invokes.ParseMachine._class_states
Machine._class_transitions = invokes.ParseMachine._class_transitions


def install() -> None:
    """Have Invoke parse with ``Machine`` from now on."""
    invokes.ParseMachine = Machine  # type: ignore[misc]
