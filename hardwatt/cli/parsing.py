"""How Invoke reads a command line here: ``--help`` in any place, and wrong usage ends with exit code 2.

Invoke itself passes the word after a task's name to its argument, be it ``--help`` or an unknown option, ends wrong
usage with 1, and a wrong number with a traceback. It has no setting for either, so its state machine is replaced by a
subclass: whoever types ``invoke`` in a checkout gets it through ``tasks.py``. Help on a group of tasks, values in
completion and a reader that leaves are answered here for the same reason.
"""

import contextlib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import invoke.program
from invoke import Exit, ParseError, Program, Task
from invoke.parser import Argument, ParserContext
from invoke.parser import parser as invokes

from hardwatt.cli import completion, output, overview
from hardwatt.cli.commands import GROUPS
from hardwatt.cli.registry import KINDS
from hardwatt.core import former_names
from hardwatt.core.nearest import nearest

USAGE = 2
"""Exit code of wrong usage, as argparse has it."""
_HELP = ("--help", "-h")


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
        options = super().arg_opts(name, default, taken_names | {"h"})
        return {**options, "kind": self.kinds[name]} if name in self.kinds else options


class Machine(invokes.ParseMachine):
    """Invoke's parser, in which ``--help`` wins and no unknown option is taken for an argument."""

    _helped = False
    _group = ""
    """Group of tasks that was typed in the place of a task; help on it may follow."""

    def handle(self, token: str) -> None:
        """Take one word of the command line. Raises ``UsageError`` where it is no task and no option of the task."""
        if self._helped:
            return
        if self._group:
            self._help_on_group(token)
        elif self.current_state == "unknown":
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
            wanted = KINDS.get(self.flag.kind, self.flag.kind.__name__)
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
        if self._group and not self._helped:
            raise UsageError(no_task(self._group, self.contexts), self.context)
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
        if token in GROUPS and not self._in_task():
            self._group = token
            return
        here = f"{self.context.name} takes no further word, and " if self._in_task() else ""
        raise UsageError(no_task(token, self.contexts, here), self.context)

    def _help_on_group(self, token: str) -> None:
        if token not in _HELP:
            raise UsageError(no_task(self._group, self.contexts), self.context)
        self.initial.flags["--help"].value = self._group
        self._helped = True

    def _in_task(self) -> bool:
        return bool(self.context and self.context.name)

    def _unknown_option(self, token: str) -> bool:
        if len(token) == 1 or not token.startswith("-") or self.waiting_for_flag_value:
            return False
        return not any(token in known for known in (self.context.flags, self.context.inverse_flags, self.initial.flags))


def no_task(word: str, known: Iterable[str], here: str = "") -> str:
    """Return the refusal of a word that is no task: a group, a former name, or the nearest task."""
    if word in GROUPS:
        return f"error: {here}{word} is a group of tasks\n  next: invoke --help {word}"
    if said := former_names.refusal(word, former_names.TASKS):
        return f"error: {said}\n  next: invoke {former_names.TASKS[word]}"
    return f"error: {here}there is no task {word}{_asked(word, known)}\n  next: invoke --list"


def _asked(word: str, known: Iterable[str]) -> str:
    """Return the question after the nearest name; empty where there is none, or for a single letter."""
    names = [name for name in known if name.startswith("--") == word.startswith("-")]
    near = nearest(word, names) if len(word) > 2 else ""
    return f"; did you mean {near}?" if near else ""


# the states are kept with the class that declares them, and a subclass begins without any
Machine._class_states = invokes.ParseMachine._class_states
Machine._class_transitions = invokes.ParseMachine._class_transitions


_answer_options = Program.parse_cleanup


def _answer(program: Program) -> None:
    """Answer the options of Invoke that print and end. Raises ``Exit``, and ``UsageError`` for help on no task.

    Whoever reads the answer may leave before its end.
    """
    asked = program.args.help.value
    try:
        with output.reader_may_leave():
            if isinstance(asked, str) and asked in GROUPS:
                print(overview.of_group(asked))
                raise Exit(code=0)
            if isinstance(asked, str) and asked not in program.parser.contexts:
                raise UsageError(no_task(asked, program.parser.contexts), None)
            _answer_options(program)
    except output.ReaderLeftError:
        raise Exit(code=output.READER_LEFT) from None


def _complete(names: list[str], core: Any, initial_context: ParserContext, **_: Any) -> Exit:
    """Print what may stand at the end of a half-typed command line, as Invoke's own ``complete``."""
    line = core.remainder
    words = line.split()
    with contextlib.suppress(ValueError):  # a quotation mark that is open yet
        words = shlex.split(line)
    completion.offer(completion.of_invoke(words[1:], initial_context.flag_names()))
    raise Exit(code=0)


def install() -> None:
    """Have Invoke parse with ``Machine``, answer and complete with the functions here from now on."""
    invokes.ParseMachine = Machine  # type: ignore[misc]
    Program.parse_cleanup = _answer  # type: ignore[method-assign, assignment]
    invoke.program.complete = _complete  # type: ignore[assignment]
