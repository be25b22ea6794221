"""How Invoke reads a command line here: ``--help`` in any place, and wrong usage ends with exit code 2.

Invoke itself passes the word after a task's name to its argument, be it ``--help`` or an unknown option, ends wrong
usage with 1, and a wrong number with a traceback. It has no setting for either, so its state machine is replaced by a
subclass: whoever types ``invoke`` in a checkout gets it through ``tasks.py``.
"""

from typing import Any

from invoke import Exit, Task
from invoke.parser import parser as invokes

USAGE = 2
"""Exit code of wrong usage, as argparse has it."""
_HELP = ("--help", "-h")
_KINDS = {int: "a whole number", float: "a number"}


class LabTask(Task[Any]):
    """A task whose options leave ``-h`` to the help."""

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        """Return how an argument is named on the command line."""
        return super().arg_opts(name, default, taken_names | {"h"})


class Machine(invokes.ParseMachine):
    """Invoke's parser, in which ``--help`` wins and no unknown option is taken for an argument."""

    _helped = False

    def handle(self, token: str) -> None:
        """Take one word of the command line. Raises ``Exit`` where it is an option that the task does not have."""
        if self._helped:
            return
        if not self._in_task() or self.current_state == "unknown":
            super().handle(token)
        elif token in _HELP:  # in the place of a value too: whoever types it wants to read, and help changes nothing
            self.initial.flags["--help"].value = self.context.name
            self._helped = True
        elif self._unknown_option(token):
            free = [argument.name for argument in self.context.missing_positional_args]
            dash = f" (a value that begins with a dash: --{free[0]}=VALUE)" if free else ""
            self.error(f"{self.context.name} has no option {token}{dash}")
        else:
            super().handle(token)

    def see_value(self, value: Any) -> None:
        """Take the value of an option. Raises ``Exit`` where a number is expected and this is not one."""
        try:
            super().see_value(value)
        except ValueError:
            assert self.flag
            wanted = _KINDS.get(self.flag.kind, self.flag.kind.__name__)
            self.error(f"--{self.flag.names[0]} takes {wanted}, and {value!r} is not one")

    def complete_flag(self) -> None:
        """End an option. Raises ``Exit`` where its value is missing; after ``--help`` none is.

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
        """Refuse the command line. Raises ``Exit`` with the command that shows what is allowed."""
        hint = f"invoke {self.context.name} --help" if self._in_task() else "invoke --list"
        raise Exit(f"error: {msg}\n  next: {hint}", code=USAGE)

    def _in_task(self) -> bool:
        return bool(self.context and self.context.name)

    def _unknown_option(self, token: str) -> bool:
        if len(token) == 1 or not token.startswith("-") or self.waiting_for_flag_value:
            return False
        return not any(token in known for known in (self.context.flags, self.context.inverse_flags, self.initial.flags))


# the states are kept with the class that declares them, and a subclass begins without any
Machine._class_states = invokes.ParseMachine._class_states
Machine._class_transitions = invokes.ParseMachine._class_transitions


def install() -> None:
    """Have Invoke parse with ``Machine`` from now on."""
    invokes.ParseMachine = Machine  # type: ignore[misc]
